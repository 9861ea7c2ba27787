package native_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/transport"
)

func TestHelloTellsWhatTheBusIs(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	h := abi.Hello{PoolSize: nativetest.PoolSize, Description: "me"}
	if err := c.HelloAs(&h); err != nil {
		t.Fatal(err)
	}
	if h.Reply.ID != 1 || h.Reply.BusFlags != 2 || h.Reply.ID128 == [16]byte{} || h.Reply.Bloom != abi.DefaultBloom {
		t.Errorf("%+v", h.Reply)
	}
	if got := w.bus.Conn(1); got == nil || got.Description() != "me" {
		t.Errorf("the connection is %v", got)
	}
}

// unprivileged is a server whose peers have no privileges.
func unprivileged(_ *bus.Config, c *native.Config) { c.Privileged = func(uint32) bool { return false } }

func TestHelloIsJudged(t *testing.T) {
	page := uint64(os.Getpagesize())
	type change = func(*bus.Config, *native.Config)
	require := func(c *bus.Config, _ *native.Config) { c.Required = meta.KindCreds }
	for _, c := range []struct {
		name  string
		hello abi.Hello
		world change
		want  syscall.Errno
	}{
		{"ordinary", abi.Hello{PoolSize: page}, nil, 0},
		{"accepts descriptors", abi.Hello{PoolSize: page, Flags: abi.HelloAcceptFD}, unprivileged, 0},
		{"all attach flags", abi.Hello{PoolSize: page, AttachFlagsSend: abi.AttachAny, AttachFlagsRecv: abi.AttachAny}, nil, 0},
		{"huge pool", abi.Hello{PoolSize: page << 40}, nil, 0},
		{"no pool", abi.Hello{}, nil, syscall.EINVAL},
		{"pool of odd size", abi.Hello{PoolSize: page + 1}, nil, syscall.EINVAL},
		{"unknown flag", abi.Hello{PoolSize: page, Flags: 1 << 20}, nil, syscall.EINVAL},
		{"unknown attach flag", abi.Hello{PoolSize: page, AttachFlagsSend: 1 << 40}, nil, syscall.EINVAL},
		{"monitor", abi.Hello{PoolSize: page, Flags: abi.HelloMonitor}, nil, 0},
		{"monitor without privilege", abi.Hello{PoolSize: page, Flags: abi.HelloMonitor}, unprivileged, syscall.EPERM},
		{"activator", abi.Hello{PoolSize: page, Flags: abi.HelloActivator, Name: "org.example.A"}, nil, 0},
		{"activator without privilege", abi.Hello{PoolSize: page, Flags: abi.HelloActivator, Name: "org.example.A"}, unprivileged, syscall.EPERM},
		{"activator without name", abi.Hello{PoolSize: page, Flags: abi.HelloActivator}, nil, syscall.EINVAL},
		{"name of no activator", abi.Hello{PoolSize: page, Name: "org.example.A"}, nil, syscall.EINVAL},
		{"monitor and activator", abi.Hello{PoolSize: page, Flags: abi.HelloMonitor | abi.HelloActivator, Name: "org.example.A"}, nil, syscall.EINVAL},
		{"policy holder", abi.Hello{PoolSize: page, Flags: abi.HelloPolicyHolder, Name: "org.example.*"}, nil, 0},
		{"policy holder without privilege", abi.Hello{PoolSize: page, Flags: abi.HelloPolicyHolder, Name: "org.example.A"}, unprivileged, syscall.EPERM},
		{"policy holder without name", abi.Hello{PoolSize: page, Flags: abi.HelloPolicyHolder}, nil, syscall.EINVAL},
		{"policy holder and activator", abi.Hello{PoolSize: page, Flags: abi.HelloPolicyHolder | abi.HelloActivator, Name: "org.example.A"}, nil, syscall.EINVAL},
		{"policy of an activator", abi.Hello{PoolSize: page, Flags: abi.HelloActivator, Name: "org.example.A", Access: []abi.PolicyAccess{{Type: abi.PolicyAccessWorld}}}, nil, 0},
		{"policy that permits what does not exist", abi.Hello{PoolSize: page, Flags: abi.HelloPolicyHolder, Name: "org.example.A", Access: []abi.PolicyAccess{{Type: abi.PolicyAccessWorld, Access: 3}}}, nil, syscall.EINVAL},
		{"other credentials", abi.Hello{PoolSize: page, Creds: &abi.Creds{}}, nil, 0},
		{"other credentials without privilege", abi.Hello{PoolSize: page, Creds: &abi.Creds{}}, unprivileged, syscall.EPERM},
		{"other pid without privilege", abi.Hello{PoolSize: page, PIDs: &abi.PIDs{PID: 1}}, unprivileged, syscall.EPERM},
		{"other label without privilege", abi.Hello{PoolSize: page, SecLabel: "x"}, unprivileged, syscall.EPERM},
		{"credentials of nobody", abi.Hello{PoolSize: page, Creds: &abi.Creds{UID: 1 << 33}}, nil, syscall.EINVAL},
		{"long description", abi.Hello{PoolSize: page, Description: strings.Repeat("x", 64)}, nil, syscall.ENAMETOOLONG},
		{"withholds what is required", abi.Hello{PoolSize: page, AttachFlagsSend: abi.AttachPIDs}, require, syscall.ECONNREFUSED},
		{"sends what is required", abi.Hello{PoolSize: page, AttachFlagsSend: abi.AttachCreds}, require, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var changes []change
			if c.world != nil {
				changes = append(changes, c.world)
			}
			w := newWorld(t, changes...)
			client := w.dial()
			refuses(t, c.name, client.HelloAs(&c.hello), c.want)
			if c.want != 0 {
				// It is not the end.
				if err := client.Hello(abi.Hello{}); err != nil {
					t.Errorf("another HELLO: %v", err)
				}
			}
		})
	}
}

func TestNameHasOneActivator(t *testing.T) {
	w := newWorld(t)
	activator := abi.Hello{Flags: abi.HelloActivator, Name: "org.example.A"}
	if err := w.dial().Hello(activator); err != nil {
		t.Fatal(err)
	}
	second := w.dial()
	refuses(t, "second activator", second.Hello(activator), syscall.EEXIST)
	if _, err := second.ReadFrame(); err == nil {
		t.Error("the second activator is still connected")
	}
}

func TestConnectionsOfOneUserAreLimited(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.join()
	}
	limited := newWorldOf(t, bus.DomainConfig{MaxConnsPerUser: 1})
	limited.join()
	refuses(t, "one too many", limited.dial().Hello(abi.Hello{}), syscall.EMFILE)
}

func TestOnlyHelloIsPossibleBeforeHello(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	for _, cmd := range []abi.Command{
		&abi.Update{}, &abi.ByeBye{}, &abi.ConnInfo{ID: 1}, &abi.BusCreatorInfo{}, &abi.List{}, &abi.Send{}, &abi.Cancel{},
		&abi.NameAcquire{Name: "org.example.A"}, &abi.NameRelease{Name: "org.example.A"}, &abi.MatchAdd{}, &abi.MatchRemove{},
	} {
		_, err := c.Do(cmd)
		refuses(t, cmd.Cmd().String(), err, syscall.EBADFD)
	}
	if err := c.Hello(abi.Hello{}); err != nil {
		t.Fatal(err)
	}
	refuses(t, "second HELLO", c.Hello(abi.Hello{}), syscall.EBADFD)
}

func TestByeByeEndsTheConnection(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	w.do(c, &abi.NameAcquire{Name: "org.example.A"})
	w.do(c, &abi.ByeBye{})
	if f, err := c.ReadFrame(); err == nil {
		t.Errorf("something follows: %+v", f)
	}
}

func TestByeByeWaitsForMessagesToBeRead(t *testing.T) {
	w := newWorld(t)
	slow, sender := w.join(func(h *abi.Hello) { h.PoolSize = 1 << 20 }), w.join()
	w.stuff(slow, sender)
	// Nothing is read before the bus has looked at BYEBYE, which is when it goes on to LIST.
	bye, tag := slow.Request(abi.CmdByeBye, 0, 0, (&abi.ByeBye{}).Append(nil)...)
	list, _ := slow.Request(abi.CmdList, abi.FrameQuiet, 0, (&abi.List{}).Append(nil)...)
	if err := slow.Write(append(bye, list...)); err != nil {
		t.Fatal(err)
	}
	peer := w.bus.Conn(bus.ID(slow.ID)).Peer().(*transport.Peer)
	w.waitFor("BYEBYE to be refused", func() bool {
		requests, _, _ := peer.Sent()
		return requests == 3
	})
	_, err := slow.Answer(tag)
	refuses(t, "BYEBYE with messages in the queue", err, syscall.EBUSY)
	for {
		_, err := slow.Do(&abi.ByeBye{}) // takes messages out of the socket
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EBUSY) {
			t.Fatal(err)
		}
	}
}

func TestUpdateChangesWhatIsAttached(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join(func(h *abi.Hello) { h.AttachFlagsRecv = abi.AttachPIDs })
	say := func() abi.Metadata {
		t.Helper()
		w.send(a, nativetest.Outgoing{Message: abi.Message{DstID: b.ID, Cookie: 1}})
		return w.recv(b).Meta
	}
	pid := abi.PIDs{PID: uint64(os.Getpid())}
	if got := say(); got.PIDs.PID != pid.PID || got.Has != abi.AttachPIDs {
		t.Errorf("%+v", got)
	}
	creds, none := abi.AttachCreds, abi.AttachFlags(0)
	w.do(b, &abi.Update{AttachFlagsRecv: &creds})
	if got := say(); got.Has != abi.AttachCreds || got.Creds.UID != uint64(os.Getuid()) {
		t.Errorf("%+v", got)
	}
	w.do(a, &abi.Update{AttachFlagsSend: &none})
	if got := say(); got.Has != 0 {
		t.Errorf("%+v", got)
	}
	_, err := a.Do(&abi.Update{Policies: []abi.Policy{{Name: "org.example.A"}}})
	refuses(t, "policy", err, syscall.EOPNOTSUPP)
	unknown := abi.AttachFlags(1 << 30)
	_, err = a.Do(&abi.Update{AttachFlagsSend: &unknown})
	refuses(t, "unknown flags", err, syscall.EINVAL)
}

func TestOneMayPassForAnotherProcess(t *testing.T) {
	w := newWorld(t)
	other := abi.Creds{UID: 1, EUID: 2, SUID: 3, FSUID: 4, GID: 5, EGID: 6, SGID: 7, FSGID: 8}
	a := w.join(func(h *abi.Hello) {
		h.Creds, h.PIDs, h.SecLabel = &other, &abi.PIDs{PID: 9, TID: 10, PPID: 11}, "label"
	})
	b := w.join(func(h *abi.Hello) { h.AttachFlagsRecv = abi.AttachAny })
	w.send(a, nativetest.Outgoing{Message: abi.Message{DstID: b.ID, Cookie: 1}})
	want := abi.Metadata{
		Has: abi.AttachCreds | abi.AttachPIDs | abi.AttachSecLabel, Creds: other,
		PIDs: abi.PIDs{PID: 9, TID: 10, PPID: 11}, SecLabel: "label",
	}
	got := w.recv(b).Meta
	if got.Has&^abi.AttachTimestamp != want.Has || got.Creds != want.Creds || got.PIDs != want.PIDs || got.SecLabel != want.SecLabel {
		t.Error(cmp.Diff(want, got))
	}
}

func TestActivatorReceivesNothing(t *testing.T) {
	w := newWorld(t)
	a := w.join(func(h *abi.Hello) { h.Flags, h.Name = abi.HelloActivator, "org.example.A" })
	b := w.join()
	flags := abi.AttachAll
	for name, cmd := range map[string]abi.Command{
		"acquires a name": &abi.NameAcquire{Name: "org.example.B"},
		"adds a match":    &abi.MatchAdd{},
		"changes flags":   &abi.Update{AttachFlagsSend: &flags},
	} {
		_, err := a.Do(cmd)
		refuses(t, name, err, syscall.EOPNOTSUPP)
	}
	_, err := a.Send(nativetest.Outgoing{Message: abi.Message{DstID: b.ID, Cookie: 1}})
	refuses(t, "sends", err, syscall.EOPNOTSUPP)
	_, err = b.Send(nativetest.Outgoing{Message: abi.Message{DstName: "org.example.A", Flags: abi.MsgNoAutoStart, Cookie: 1}})
	refuses(t, "is not to be started", err, syscall.EADDRNOTAVAIL)

	// What waits for the service goes to the service.
	w.send(b, nativetest.Outgoing{Message: abi.Message{DstName: "org.example.A", Cookie: 2}, Body: []byte("wake up")})
	if f, err := a.ReadFrame(); err != nil || f.Cmd != abi.CmdRecv || f.Tag != 0 || len(f.Body) != 0 {
		t.Errorf("the activator is told %+v, %v", f, err)
	}
	service := w.join()
	w.do(service, &abi.NameAcquire{Name: "org.example.A"})
	if m := w.recv(service); w.content(m) != "wake up" || m.SrcID != b.ID {
		t.Errorf("%+v", m)
	}
}

func TestMonitorSeesAllAndSaysNothing(t *testing.T) {
	w := newWorld(t)
	m := w.join(func(h *abi.Hello) { h.Flags |= abi.HelloMonitor })
	a, b := w.join(), w.join()
	for what, want := range map[string]abi.ItemType{"a joins": abi.ItemIDAdd, "b joins": abi.ItemIDAdd} {
		if got := w.recv(m).Notification.Type; got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	w.send(a, nativetest.Outgoing{Message: abi.Message{DstID: b.ID, Cookie: 1}, Body: []byte("secret")})
	if got := w.recv(m); w.content(got) != "secret" || got.SrcID != a.ID || got.DstID != b.ID {
		t.Errorf("%+v", got)
	}
	for name, cmd := range map[string]abi.Command{
		"acquires a name": &abi.NameAcquire{Name: "org.example.B"},
		"releases a name": &abi.NameRelease{Name: "org.example.B"},
		"adds a match":    &abi.MatchAdd{},
		"removes a match": &abi.MatchRemove{},
	} {
		_, err := m.Do(cmd)
		refuses(t, name, err, syscall.EOPNOTSUPP)
	}
	_, err := m.Send(nativetest.Outgoing{Message: abi.Message{DstID: b.ID, Cookie: 1}})
	refuses(t, "sends", err, syscall.EOPNOTSUPP)
	_, err = a.Do(&abi.ConnInfo{ID: m.ID})
	refuses(t, "is looked for", err, syscall.ENXIO)
}
