package native_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/transport"
)

// fakeNodes makes endpoints, and says that it makes buses, without anything in the file system.
type fakeNodes struct {
	mu      sync.Mutex
	made    []string // what there is
	failure error    // of the next attempt
	config  native.BusConfig
	closed  chan string
}

// fakeNode is one of them. endpoint is nil if it is a bus.
type fakeNode struct {
	nodes    *fakeNodes
	name     string
	endpoint *bus.Endpoint
}

func (n *fakeNodes) add(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.failure; err != nil {
		n.failure = nil
		return err
	}
	n.made = append(n.made, name)
	return nil
}

func (n *fakeNodes) MakeEndpoint(maker native.Maker, name string, _ abi.MakeFlags, policies []bus.NamePolicy, refused func(bus.Refused)) (native.Endpoint, error) {
	if err := n.add(name); err != nil {
		return nil, err
	}
	e, err := maker.Endpoint().Bus().NewEndpoint(bus.EndpointConfig{Name: name, UID: maker.Creds().UID, Policies: policies, Refused: refused})
	if err != nil {
		(&fakeNode{nodes: n, name: name}).Close()
		return nil, err
	}
	return &fakeNode{n, name, e}, nil
}

func (n *fakeNodes) MakeBus(_ native.Maker, config native.BusConfig) (native.Node, error) {
	if err := n.add(config.Name); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.config = config
	return &fakeNode{nodes: n, name: config.Name}, nil
}

func (n *fakeNode) Path() string { return "/fake/" + n.name }

func (*fakeNode) Addresses() string { return "unix:path=/fake/bus" }

func (n *fakeNode) SetPolicies(p []bus.NamePolicy) error { return n.endpoint.SetPolicies(p) }

func (n *fakeNode) Close() {
	if n.endpoint != nil {
		n.endpoint.Close()
	}
	n.nodes.mu.Lock()
	defer n.nodes.mu.Unlock()
	for i, name := range n.nodes.made {
		if name == n.name {
			n.nodes.made = append(n.nodes.made[:i], n.nodes.made[i+1:]...)
			select {
			case n.nodes.closed <- name:
			default:
			}
			return
		}
	}
	panic("closed twice: " + n.name)
}

// makers is a world where things can be made.
type makers struct {
	*world
	nodes   *fakeNodes
	control string // the path of the socket by which buses are made

	mu     sync.Mutex
	denied []string
}

func newMakers(t testing.TB, change ...func(*native.Config)) *makers {
	t.Helper()
	m := &makers{nodes: &fakeNodes{closed: make(chan string, 1)}}
	denied := func(uid uint32, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.denied = append(m.denied, fmt.Sprintf("%d: %v", uid, err))
	}
	m.world = newWorld(t, func(_ *bus.Config, config *native.Config) {
		config.Endpoints, config.Denied = m.nodes, denied
		for _, f := range change {
			f(config)
		}
	})
	server, err := transport.NewServer(transport.Config{Native: native.New(native.Config{Buses: m.nodes, Denied: denied}).Protocol})
	if err != nil {
		t.Fatal(err)
	}
	m.control = filepath.Join(t.TempDir(), "control")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: m.control})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l, guid) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), nativetest.Patience)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), l.Close()); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return m
}

// dialControl connects to the control socket.
func (m *makers) dialControl() *nativetest.Client {
	m.t.Helper()
	c, err := nativetest.Dial(m.control)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.Close)
	return c
}

// ownName returns the name of something that this user makes.
func ownName(name string) string { return fmt.Sprintf("%d-%s", os.Getuid(), name) }

func access(level abi.PolicyType) []abi.PolicyAccess {
	return []abi.PolicyAccess{{Type: abi.PolicyAccessWorld, Access: level}}
}

func TestEndpointMakeIsJudged(t *testing.T) {
	m := newMakers(t)
	keeper := m.dial()
	m.do(keeper, &abi.EndpointMake{Name: ownName("taken")})
	long := ownName(strings.Repeat("a", 64))
	for name, c := range map[string]struct {
		cmd  abi.EndpointMake
		want syscall.Errno
	}{
		"without policies":            {abi.EndpointMake{Name: ownName("a")}, 0},
		"a name without a user":       {abi.EndpointMake{Name: "door"}, syscall.EINVAL},
		"the default endpoint's name": {abi.EndpointMake{Name: "bus"}, syscall.EINVAL},
		"another user's name":         {abi.EndpointMake{Name: fmt.Sprintf("%d-door", os.Getuid()+1)}, syscall.EINVAL},
		"a name that only begins so":  {abi.EndpointMake{Name: fmt.Sprintf("%d0-door", os.Getuid())}, syscall.EINVAL},
		"a path":                      {abi.EndpointMake{Name: ownName("a/b")}, syscall.EINVAL},
		"no name":                     {abi.EndpointMake{}, syscall.EINVAL},
		"a long name":                 {abi.EndpointMake{Name: long}, syscall.ENAMETOOLONG},
		"a name that is taken":        {abi.EndpointMake{Name: ownName("taken")}, syscall.EEXIST},
		"unknown flags":               {abi.EndpointMake{Name: ownName("b"), Flags: 1 << 5}, syscall.EINVAL},
		"a bad rule":                  {abi.EndpointMake{Name: ownName("c"), Policies: []abi.Policy{{Name: "a.b", Calls: []string{"bad"}}}}, syscall.EINVAL},
		"a bad rule of broadcasts":    {abi.EndpointMake{Name: ownName("c"), Policies: []abi.Policy{{Name: "a.b", Broadcasts: []string{"", "bad"}}}}, syscall.EINVAL},
		"rules":                       {abi.EndpointMake{Name: ownName("d"), Policies: []abi.Policy{{Name: "a.b", Subtree: true, Access: access(abi.PolicyOwn), Calls: []string{"Get"}}}}, 0},
	} {
		maker := m.dial()
		f, err := maker.Do(&c.cmd)
		refuses(t, name, err, c.want)
		if err != nil {
			// A connection that has made nothing can still become anything.
			if err := maker.Hello(abi.Hello{}); err != nil {
				t.Errorf("%s: HELLO afterwards: %v", name, err)
			}
			continue
		}
		_, items, err := abi.CutStruct(f.Body, "answer")
		if err != nil || len(f.Body)-len(items) != 24 {
			t.Errorf("%s: %d bytes, of which %d are items: %v", name, len(f.Body), len(items), err)
		}
		if addresses, err := abi.DecodeAddress(items); err != nil || addresses != "unix:path=/fake/bus" {
			t.Errorf("%s: the bus is at %q, %v", name, addresses, err)
		}
		if path, err := abi.DecodePath(items); err != nil || path != "/fake/"+c.cmd.Name {
			t.Errorf("%s: it is at %q, %v", name, path, err)
		}
	}
}

func TestEndpointMakeNegotiates(t *testing.T) {
	m := newMakers(t)
	c := m.dial()
	cmd := &abi.EndpointMake{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemNameSubtree, abi.ItemCreds, abi.ItemPolicyCall}}}
	f := m.do(c, cmd)
	flags, items, err := abi.CmdEndpointMake.Negotiated(f.Body)
	if err != nil || flags != uint64(abi.MakeAccessGroup|abi.MakeAccessWorld) ||
		len(items) != 3 || items[0] != abi.ItemNameSubtree || items[1] != 0 || items[2] != abi.ItemPolicyCall {
		t.Errorf("flags %#x, items %v, %v", flags, items, err)
	}
	m.do(c, &abi.EndpointMake{Name: ownName("a")}) // nothing was made before
}

func TestOnlyTheOwnerOfTheBusMakesEndpoints(t *testing.T) {
	m := newMakers(t, func(c *native.Config) { c.Privileged = func(uint32) bool { return false } })
	_, err := m.dial().Do(&abi.EndpointMake{Name: "nonsense"}) // whatever it is
	refuses(t, "of somebody else", err, syscall.EPERM)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.denied) != 1 || !strings.Contains(m.denied[0], "may not make endpoints") {
		t.Errorf("the log has %q", m.denied)
	}
}

func TestABusWithoutEndpointsSaysSo(t *testing.T) {
	w := newWorld(t)
	_, err := w.dial().Do(&abi.EndpointMake{Name: ownName("a")})
	refuses(t, "ENDPOINT_MAKE", err, syscall.EOPNOTSUPP)
}

// kdbus: a file descriptor that has made something is for nothing else.
func TestAMakersConnectionDoesNothingElse(t *testing.T) {
	m := newMakers(t)
	endpoint, aBus := m.dial(), m.dialControl()
	m.do(endpoint, &abi.EndpointMake{Name: ownName("a")})
	m.do(aBus, &abi.BusMake{Name: ownName("b"), Bloom: abi.DefaultBloom})
	for name, c := range map[string]*nativetest.Client{
		"endpoint": endpoint, "bus": aBus, "not a maker yet": m.dialControl(), "on the bus": m.join(),
	} {
		for _, cmd := range []abi.Command{
			&abi.EndpointMake{Name: ownName("c")}, &abi.Hello{PoolSize: 1 << 20}, &abi.EndpointUpdate{}, &abi.ByeBye{},
			&abi.List{Flags: abi.ListNames}, &abi.NameAcquire{Name: "a.b"}, &abi.BusMake{Name: ownName("c"), Bloom: abi.DefaultBloom},
		} {
			kind := cmd.Cmd()
			fine := name == "endpoint" && kind == abi.CmdEndpointUpdate || name == "not a maker yet" && kind == abi.CmdBusMake ||
				name == "on the bus" && (kind == abi.CmdByeBye || kind == abi.CmdList || kind == abi.CmdNameAcquire)
			want := syscall.EBADFD
			if fine {
				want = 0
			}
			_, err := c.Do(cmd)
			refuses(t, fmt.Sprintf("%s: %v", name, kind), err, want)
			if name == "on the bus" && kind == abi.CmdByeBye {
				c = m.join()
			}
		}
	}
	if _, err := endpoint.Send(nativetest.Outgoing{Message: abi.Message{DstID: 1, Cookie: 1}, Body: []byte("x")}); !errors.Is(err, syscall.EBADFD) {
		t.Errorf("SEND: %v", err)
	}
}

func TestAnEndpointIsUpdatedAtOnceOrNotAtAll(t *testing.T) {
	m := newMakers(t)
	c := m.dial()
	m.do(c, &abi.EndpointMake{Name: ownName("a"), Policies: []abi.Policy{{Name: "a.b", Access: access(abi.PolicyOwn)}}})
	for name, u := range map[string]struct {
		policies []abi.Policy
		want     syscall.Errno
	}{
		"nothing":  {nil, 0},
		"rules":    {[]abi.Policy{{Name: "a.*", Calls: []string{""}}, {Name: "a", Subtree: true}}, syscall.EINVAL},
		"bad rule": {[]abi.Policy{{Name: "a.b"}, {Name: "a.c", Calls: []string{"bad"}}}, syscall.EINVAL},
		"fine":     {[]abi.Policy{{Name: "a.*", Access: access(abi.PolicySee)}, {Name: "a.b", Subtree: true, Broadcasts: []string{"M"}}}, 0},
	} {
		_, err := c.Do(&abi.EndpointUpdate{Policies: u.policies})
		refuses(t, name, err, u.want)
	}
	if _, err := c.Raw(abi.CmdEndpointUpdate, (&abi.BusMake{Flags: 1}).Append(nil)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("with flags: %v", err)
	}
}

func TestWhatIsMadeGoesWithItsMaker(t *testing.T) {
	m := newMakers(t)
	for name, c := range map[string]*nativetest.Client{"endpoint": m.dial(), "bus": m.dialControl()} {
		if name == "endpoint" {
			m.do(c, &abi.EndpointMake{Name: ownName(name)})
		} else {
			m.do(c, &abi.BusMake{Name: ownName(name), Bloom: abi.DefaultBloom})
		}
		c.Close()
		if gone := <-m.nodes.closed; gone != ownName(name) {
			t.Errorf("%s went", gone)
		}
	}
}

func TestBusMakeIsJudged(t *testing.T) {
	m := newMakers(t)
	for name, c := range map[string]struct {
		cmd  abi.BusMake
		want syscall.Errno
	}{
		"fine":                           {abi.BusMake{Name: ownName("a"), Bloom: abi.DefaultBloom}, 0},
		"a name without a user":          {abi.BusMake{Name: "a", Bloom: abi.DefaultBloom}, syscall.EINVAL},
		"another user's name":            {abi.BusMake{Name: fmt.Sprintf("%d-a", os.Getuid()+1), Bloom: abi.DefaultBloom}, syscall.EINVAL},
		"no bloom parameter":             {abi.BusMake{Name: ownName("b")}, syscall.EBADMSG},
		"more hashes than there are":     {abi.BusMake{Name: ownName("b"), Bloom: abi.BloomParameter{Size: 64, NHash: 1 << 40}}, syscall.EINVAL},
		"a filter that is too large":     {abi.BusMake{Name: ownName("b"), Bloom: abi.BloomParameter{Size: 8192, NHash: 1}}, syscall.EINVAL},
		"unknown flags":                  {abi.BusMake{Name: ownName("b"), Bloom: abi.DefaultBloom, Flags: 4}, syscall.EINVAL},
		"attach flags that do not exist": {abi.BusMake{Name: ownName("b"), Bloom: abi.DefaultBloom, AttachFlagsSend: 1 << 40}, syscall.EINVAL},
	} {
		_, err := m.dialControl().Do(&c.cmd)
		refuses(t, name, err, c.want)
	}
	m.nodes.mu.Lock()
	m.nodes.failure = &bus.Error{Errno: syscall.EMFILE, Detail: "too many"}
	m.nodes.mu.Unlock()
	_, err := m.dialControl().Do(&abi.BusMake{Name: ownName("b"), Bloom: abi.DefaultBloom})
	refuses(t, "what cannot be made", err, syscall.EMFILE)
}

func TestTheBusIsMadeAsAskedFor(t *testing.T) {
	m := newMakers(t)
	m.do(m.dialControl(), &abi.BusMake{
		Name: ownName("a"), Flags: abi.MakeAccessGroup, Bloom: abi.BloomParameter{Size: 128, NHash: 4},
		AttachFlagsSend: abi.AttachCreds, AttachFlagsRecv: abi.AttachAny,
	})
	want := native.BusConfig{
		Name: ownName("a"), Access: abi.MakeAccessGroup, Bloom: bus.BloomParameter{Size: 128, Hashes: 4},
		Tells: 2, Required: 1<<14 - 1,
	}
	m.nodes.mu.Lock()
	defer m.nodes.mu.Unlock()
	if got := m.nodes.config; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A review found that nobody was told of these.
func TestWhatTheUnprivilegedAreDeniedIsTold(t *testing.T) {
	m := newMakers(t, func(c *native.Config) { c.Privileged = func(uint32) bool { return false } })
	for name, h := range map[string]abi.Hello{
		"MONITOR":         {Flags: abi.HelloMonitor},
		"ACTIVATOR":       {Flags: abi.HelloActivator, Name: "a.b"},
		"POLICY_HOLDER":   {Flags: abi.HelloPolicyHolder, Name: "a.b"},
		"another process": {PIDs: &abi.PIDs{PID: 1}},
	} {
		m.mu.Lock()
		m.denied = nil
		m.mu.Unlock()
		refuses(t, name, m.dial().Hello(h), syscall.EPERM)
		m.mu.Lock()
		if len(m.denied) != 1 || !strings.Contains(m.denied[0], name) || !strings.Contains(m.denied[0], fmt.Sprintf("pid=%d", os.Getpid())) {
			t.Errorf("%s: the log has %q", name, m.denied)
		}
		m.mu.Unlock()
	}
}
