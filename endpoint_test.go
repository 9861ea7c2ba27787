package kdbus_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// ownName returns a name for what this user makes.
func ownName(name string) string { return fmt.Sprintf("%d-%s", os.Getuid(), name) }

// world permits everybody something with a name.
func world(name string, level kdbus.AccessLevel) kdbus.NamePolicy {
	return kdbus.NamePolicy{Name: name, Access: []kdbus.Access{{Kind: kdbus.AccessWorld, Level: level}}}
}

func makeEndpoint(t *testing.T, address string, policies ...kdbus.NamePolicy) *kdbus.Endpoint {
	t.Helper()
	e := must(kdbus.MakeEndpoint(testContext(t), address, kdbus.EndpointConfig{Name: ownName(strings.ToLower(t.Name()[:8])), Policies: policies}))(t)
	t.Cleanup(func() { e.Close() })
	return e
}

// serveNamed has a connection own a name, and answer.
func serveNamed(t *testing.T, address, name string) *kdbus.Conn {
	t.Helper()
	c := dial(t, address)
	if err := c.Export(echoPath, echoIface, &witness{seen: make(chan *abi.Metadata, 64)}); err != nil {
		t.Fatal(err)
	}
	must(c.RequestName(testContext(t), name, kdbus.DoNotQueue))(t)
	return c
}

func say(t *testing.T, c *kdbus.Conn, name string) error {
	_, err := c.Object(name, echoPath).Call(testContext(t), echoIface+".Say", "x")
	return err
}

func TestWhoComesThroughAnEndpointIsConfined(t *testing.T) {
	address := kdbustest.Start(t).Address()
	seen := serveNamed(t, address, "com.example.Seen")
	serveNamed(t, address, "com.example.Talked")
	serveNamed(t, address, "com.example.Hidden")
	serveNamed(t, address, "org.example.tree.a.B")
	tree := world("org.example.tree", kdbus.AccessTalk)
	tree.Subtree = true
	e := makeEndpoint(t, address, world("com.example.Seen", kdbus.AccessSee), world("com.example.Talked", kdbus.AccessTalk),
		world("com.example.Owned", kdbus.AccessOwn), tree)
	if got := e.BusAddresses(); got != address {
		t.Errorf("the bus is at %s, want %s", got, address)
	}
	if info, err := os.Stat(e.Path()); err != nil || info.Mode().Type() != os.ModeSocket || !filepath.IsAbs(e.Path()) {
		t.Errorf("the endpoint is %v, %v", info, err)
	}
	for _, dialer := range []kdbus.Dialer{{}, {DBus1: true}} {
		t.Run(fmt.Sprintf("D-Bus 1 is %v", dialer.DBus1), func(t *testing.T) {
			ctx := testContext(t)
			c := dialWith(t, &dialer, e.Address())
			if err := say(t, c, "com.example.Talked"); err != nil {
				t.Errorf("a call of what it may talk to: %v", err)
			}
			if err := say(t, c, "org.example.tree.a.B"); err != nil {
				t.Errorf("a call of what is below a name that it may talk to: %v", err)
			}
			for _, name := range []string{"com.example.Hidden", "com.example.Nobodys"} {
				if err := say(t, c, name); !errors.Is(err, kdbus.ErrServiceUnknown) {
					t.Errorf("a call of %s: %v", name, err)
				}
			}
			if err := say(t, c, "com.example.Seen"); err == nil {
				t.Error("a name that it may see only was called")
			}
			if got := must(c.NameOwner(ctx, "com.example.Seen"))(t); got != seen.Name() {
				t.Errorf("the owner of what it may see is %s", got)
			}
			names := must(c.ListNames(ctx))(t)
			for name, want := range map[string]bool{"com.example.Seen": true, "com.example.Talked": true, "com.example.Hidden": false, c.Name(): true} {
				if slices.Contains(names, name) != want {
					t.Errorf("of %s the list says %v: %q", name, !want, names)
				}
			}
			must(c.RequestName(ctx, "com.example.Owned", kdbus.DoNotQueue))(t)
			if _, err := c.RequestName(ctx, "com.example.Talked2", kdbus.DoNotQueue); !errors.Is(err, kdbus.ErrAccessDenied) {
				t.Errorf("it owns what nothing permits: %v", err)
			}
		})
	}
}

func TestAnEndpointIsUpdatedWhileItIsUsed(t *testing.T) {
	address := kdbustest.Start(t).Address()
	serveNamed(t, address, "com.example.First")
	serveNamed(t, address, "com.example.Second")
	e := makeEndpoint(t, address, world("com.example.First", kdbus.AccessTalk))
	c := dial(t, e.Address())
	for i, step := range []struct {
		update        []kdbus.NamePolicy
		bad           bool
		first, second bool
	}{
		{nil, false, false, false},
		{[]kdbus.NamePolicy{world("com.example.Second", kdbus.AccessTalk)}, false, false, true},
		{[]kdbus.NamePolicy{world("com.example.First", kdbus.AccessTalk), world("com.example.First", kdbus.AccessSee), {Name: "nodots"}}, true, false, true},
		{[]kdbus.NamePolicy{world("com.example.*", kdbus.AccessTalk)}, false, true, true},
	} {
		if i > 0 || step.update != nil {
			if err := e.Update(testContext(t), step.update...); (err != nil) != step.bad {
				t.Fatalf("step %d: %v", i, err)
			}
		} else if err := e.Update(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if err := say(t, c, "com.example.First"); (err == nil) != step.first {
			t.Errorf("step %d: a call of the first: %v", i, err)
		}
		if err := say(t, c, "com.example.Second"); (err == nil) != step.second {
			t.Errorf("step %d: a call of the second: %v", i, err)
		}
	}
}

func TestAnEndpointLetsSingleMessagesThrough(t *testing.T) {
	address := kdbustest.Start(t).Address()
	service := serveNamed(t, address, "com.example.Rules")
	e := makeEndpoint(t, address, kdbus.NamePolicy{
		Name:       "com.example.Rules",
		Calls:      []kdbus.Match{{Interface: echoIface, Member: "Say", Path: echoPath}},
		Broadcasts: []kdbus.Match{{Member: "Loud"}},
	})
	for _, dialer := range []kdbus.Dialer{{}, {DBus1: true}} {
		c := dialWith(t, &dialer, e.Address())
		if err := say(t, c, "com.example.Rules"); err != nil {
			t.Errorf("a call that a rule describes: %v", err)
		}
		if _, err := c.Object("com.example.Rules", echoPath).Call(testContext(t), "org.freedesktop.DBus.Peer.Ping"); !errors.Is(err, kdbus.ErrAccessDenied) {
			t.Errorf("a call that none does: %v", err)
		}
		s := subscribe(t, c, kdbus.Match{Interface: "a.b"}, 0)
		emit(t, service, "/", "a.b.Quiet")
		emit(t, service, "/", "a.b.Loud")
		if m := next(t, s); m.Member() != "Loud" {
			t.Errorf("%s came through", m.Member())
		}
	}
}

func TestAnEndpointGoesWithItsMaker(t *testing.T) {
	address := kdbustest.Start(t).Address()
	e := makeEndpoint(t, address)
	native, dbus1 := dial(t, e.Address()), dialWith(t, &kdbus.Dialer{DBus1: true}, e.Address())
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range []*kdbus.Conn{native, dbus1} {
		receive(t, ended(c.Done()))
		if !errors.Is(c.Err(), kdbus.ErrDisconnected) {
			t.Errorf("who came through it: %v", c.Err())
		}
	}
	if err := e.Update(testContext(t)); !errors.Is(err, kdbus.ErrClosed) {
		t.Errorf("an update of what was closed: %v", err)
	}
	if _, err := kdbus.Dial(testContext(t), e.Address()); err == nil {
		t.Error("it can be connected to")
	}
}

func TestEndpointsThatCannotBeMade(t *testing.T) {
	address := kdbustest.Start(t).Address()
	e := makeEndpoint(t, address)
	taken := filepath.Base(e.Path())
	for _, test := range []struct {
		what, address, name string
		want                error
	}{
		{"without a user", address, "x", syscall.EINVAL},
		{"of another user", address, "4711-x", syscall.EINVAL},
		{"with a slash", address, ownName("../x"), syscall.EINVAL},
		{"with a name that is taken", address, taken, syscall.EEXIST},
		{"too long a name", address, ownName(strings.Repeat("x", 64)), syscall.ENAMETOOLONG},
		{"of an endpoint", e.Address(), ownName("x"), syscall.EPERM},
	} {
		if _, err := kdbus.MakeEndpoint(testContext(t), test.address, kdbus.EndpointConfig{Name: test.name}); !errors.Is(err, test.want) {
			t.Errorf("one %s: %v, want %v", test.what, err, test.want)
		}
	}
	t.Setenv("KDBUS", "0")
	if _, err := kdbus.MakeEndpoint(testContext(t), address, kdbus.EndpointConfig{Name: ownName("x")}); !errors.Is(err, kdbus.ErrNotNative) {
		t.Errorf("by D-Bus 1: %v", err)
	}
}

func TestWhoMayConnectToAnEndpointIsInItsMode(t *testing.T) {
	address := kdbustest.Start(t).Address()
	for flags, want := range map[abi.MakeFlags]os.FileMode{
		0: 0o600, abi.MakeAccessGroup: 0o660, abi.MakeAccessWorld: 0o666, abi.MakeAccessGroup | abi.MakeAccessWorld: 0o666,
	} {
		e := must(kdbus.MakeEndpoint(testContext(t), address, kdbus.EndpointConfig{Name: ownName("mode"), Access: flags}))(t)
		info, err := os.Stat(e.Path())
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%v: the mode is %v, want %v", flags, got, want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		// The bus may not have noticed yet.
		for _, err := os.Stat(e.Path()); err == nil; _, err = os.Stat(e.Path()) {
		}
	}
}

func TestEndpointsLeaveNothingBehind(t *testing.T) {
	address := kdbustest.Start(t).Address()
	n := 0
	leakCheck(t, func() {
		n++
		e := must(kdbus.MakeEndpoint(testContext(t), address, kdbus.EndpointConfig{Name: ownName(fmt.Sprint("leak", n))}))(t)
		c := must(kdbus.Dial(testContext(t), e.Address()))(t)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		receive(t, ended(c.Done()))
		c.Close()
	})
}
