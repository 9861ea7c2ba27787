package kdbus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/kdbustest"
)

const activatedName = "com.example.Activated"

func TestWhatIsSentToAnActivatorsNameWaitsForAnOwner(t *testing.T) {
	address := kdbustest.Start(t).Address()
	ctx := testContext(t)
	activator := must(kdbus.DialActivator(ctx, address, activatedName))(t)
	defer activator.Close()
	caller := dial(t, address)

	_, err := caller.Object(activatedName, echoPath).With(kdbus.NoAutoStart).Call(ctx, echoIface+".Say", "x")
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("a call that starts nothing: %v", err)
	}
	file := must(os.Open("/proc/self/exe"))(t)
	defer file.Close()
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	if err := caller.Object(activatedName, echoPath).Send(ctx, echoIface+".Keep", "first", file); err != nil {
		t.Fatal(err)
	}
	go func() {
		text, err := kdbus.Call[string](ctx, caller.Object(activatedName, echoPath), echoIface+".Say", "second")
		answers <- answer{text, err}
	}()
	receive(t, activator.Waiting())

	implementer := dialWith(t, &kdbus.Dialer{Handlers: 1, Metadata: abi.AttachPIDs}, address)
	kept := make(chan *kdbus.Message, 2)
	if err := implementer.Export(echoPath, echoIface, &keeper{kept}); err != nil {
		t.Fatal(err)
	}
	must(implementer.RequestName(ctx, activatedName, 0))(t)
	for _, want := range []string{"first", "second"} {
		m := receive(t, kept)
		var got string
		var files *os.File
		into := []any{&got}
		if want == "first" {
			into = append(into, &files)
		}
		if err := m.Decode(into...); err != nil || got != want || m.Metadata() == nil || m.Metadata().PIDs.PID != uint64(os.Getpid()) {
			t.Errorf("the owner got %q (%v) of %+v, want %q", got, err, m.Metadata(), want)
		}
		if files != nil {
			files.Close()
		}
	}
	if a := receive(t, answers); a.err != nil || a.text != "second" {
		t.Errorf("the answer is %q, %v", a.text, a.err)
	}
}

// keeper keeps the calls that it is called with.
type keeper struct{ kept chan *kdbus.Message }

func (k *keeper) Keep(m *kdbus.Message, _ string, _ *os.File) error {
	k.kept <- m
	return nil
}

func (k *keeper) Say(m *kdbus.Message, text string) (string, error) {
	k.kept <- m
	return text, nil
}

func TestWhatAnOwnerHasNotReceivedGoesBackToTheActivator(t *testing.T) {
	address := kdbustest.Start(t).Address()
	ctx := testContext(t)
	activator := must(kdbus.DialActivator(ctx, address, activatedName))(t)
	defer activator.Close()
	c := dial(t, address)
	name := must(c.RequestName(ctx, activatedName, 0))(t)
	if err := name.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.NameOwner(ctx, activatedName); !errors.Is(err, kdbus.ErrNameHasNoOwner) {
		t.Errorf("the owner after the release: %v", err)
	}
	if err := c.Object(activatedName, "/").Send(ctx, "a.b.C"); err != nil {
		t.Fatal(err)
	}
	receive(t, activator.Waiting())
}

func TestANameHasOneActivatorAndAPolicyOneHolder(t *testing.T) {
	address := kdbustest.Start(t).Address()
	ctx := testContext(t)
	defer must(kdbus.DialActivator(ctx, address, activatedName))(t).Close()
	if _, err := kdbus.DialActivator(ctx, address, activatedName); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("the second activator: %v", err)
	}
	const protected = "com.example.Protected"
	defer must(kdbus.DialPolicyHolder(ctx, address, kdbus.NamePolicy{Name: protected}))(t).Close()
	if _, err := kdbus.DialPolicyHolder(ctx, address, kdbus.NamePolicy{Name: protected}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("the second policy holder: %v", err)
	}
	holder := must(kdbus.DialPolicyHolder(ctx, address, kdbus.NamePolicy{Name: "com.example.Other.*"}))(t)
	defer holder.Close()
	if err := holder.Update(ctx, kdbus.NamePolicy{Name: protected}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("an update to a name that somebody else protects: %v", err)
	}
	third := kdbus.NamePolicy{Name: "com.example.Third", Access: []kdbus.Access{{Kind: kdbus.AccessWorld, Level: kdbus.AccessTalk}}}
	if err := holder.Update(ctx, third); err != nil {
		t.Error(err)
	}
	defer must(kdbus.DialPolicyHolder(ctx, address, kdbus.NamePolicy{Name: "com.example.Other.*"}))(t).Close()
	if _, err := kdbus.DialPolicyHolder(ctx, address, third); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("another holder of what was updated to: %v", err)
	}
}

func TestPoliciesThatCannotBeMeantSo(t *testing.T) {
	talk := []kdbus.Access{{Kind: kdbus.AccessWorld, Level: kdbus.AccessTalk}}
	for _, test := range []struct {
		what   string
		policy kdbus.NamePolicy
		fine   bool
	}{
		{"a name", kdbus.NamePolicy{Name: "a.b", Access: talk}, true},
		{"a wildcard", kdbus.NamePolicy{Name: "a.b.*"}, true},
		{"a wildcard below one element", kdbus.NamePolicy{Name: "a.*"}, true},
		{"a subtree", kdbus.NamePolicy{Name: "a.b", Subtree: true}, true},
		{"rules", kdbus.NamePolicy{Name: "a.b", Calls: []kdbus.Match{{Interface: "a.b"}}, Broadcasts: []kdbus.Match{{}}}, true},
		{"no name", kdbus.NamePolicy{Access: talk}, false},
		{"one element", kdbus.NamePolicy{Name: "a"}, false},
		{"a unique name", kdbus.NamePolicy{Name: ":1.1"}, false},
		{"a subtree of one element", kdbus.NamePolicy{Name: "a", Subtree: true}, false},
		{"a subtree of a unique name", kdbus.NamePolicy{Name: ":1", Subtree: true}, false},
		{"a subtree of a wildcard", kdbus.NamePolicy{Name: "a.b.*", Subtree: true}, false},
		{"nobody in particular", kdbus.NamePolicy{Name: "a.b", Access: []kdbus.Access{{Level: kdbus.AccessSee}}}, false},
		{"nothing in particular", kdbus.NamePolicy{Name: "a.b", Access: []kdbus.Access{{Kind: kdbus.AccessUser}}}, false},
		{"a rule that is none", kdbus.NamePolicy{Name: "a.b", Calls: []kdbus.Match{{Member: "a.b"}}}, false},
	} {
		if err := test.policy.Check(); (err == nil) != test.fine {
			t.Errorf("%s: %v", test.what, err)
		}
	}
	address := kdbustest.Start(t).Address()
	if _, err := kdbus.DialPolicyHolder(testContext(t), address, kdbus.NamePolicy{Name: "a.b", Subtree: true}); err == nil {
		t.Error("a connection holds the policy of a subtree")
	}
}

func TestAMonitorFromTheBeginningIsSeenByNobody(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		ctx := testContext(t)
		witness := dial(t, address)
		arrivals := subscribe(t, witness, kdbus.Match{Sender: "org.freedesktop.DBus", Member: "NameOwnerChanged"}, 0)
		c, traffic, err := kdbus.DialMonitor(ctx, address, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Emit(ctx, "/", "a.b.C"); !errors.Is(err, kdbus.ErrMonitor) {
			t.Errorf("a monitor sends: %v", err)
		}
		if names := must(witness.ListNames(ctx))(t); slices.Contains(names, c.Name()) {
			t.Errorf("the monitor %s is listed", c.Name())
		}
		emit(t, witness, "/", "a.b.Seen", "yes")
		for m := next(t, traffic); m.Member() != "Seen"; m = next(t, traffic) {
		}
		emit(t, witness, "/", "a.b.End")
		if witness.Native() {
			later := dial(t, address)
			for {
				var name, before, after string
				if err := next(t, arrivals).Decode(&name, &before, &after); err != nil {
					t.Fatal(err)
				}
				if name == later.Name() {
					break
				}
				if name == c.Name() {
					t.Error("the monitor was announced")
				}
			}
		}
	})
}

func TestAConnectionPassesForWhomItIsTold(t *testing.T) {
	address := kdbustest.Start(t).Address()
	ctx := testContext(t)
	w, service := serveWitness(t, &kdbus.Dialer{Metadata: abi.AttachAny}, address)
	proxy := dialWith(t, &kdbus.Dialer{Impersonate: &kdbus.Impersonation{
		Creds:    &abi.Creds{UID: 4711, EUID: 4711, SUID: abi.IDUnset, FSUID: abi.IDUnset, GID: 42, EGID: 42, SGID: abi.IDUnset, FSGID: abi.IDUnset},
		PIDs:     &abi.PIDs{PID: 12345},
		SecLabel: "confined",
	}}, address)
	must(proxy.Object(service.Name(), echoPath).Call(ctx, echoIface+".Say", "x"))(t)
	asked := must(service.PeerMetadata(ctx, proxy.Name(), abi.AttachAll))(t)
	for what, m := range map[string]*abi.Metadata{"with a message": receive(t, w.seen), "when asked": asked} {
		if m == nil || m.Creds.UID != 4711 || m.Creds.GID != 42 || m.PIDs.PID != 12345 || m.SecLabel != "confined" ||
			m.Has&(abi.AttachExe|abi.AttachCmdline|abi.AttachPIDComm|abi.AttachCGroup|abi.AttachAuxGroups|abi.AttachCaps) != 0 {
			t.Errorf("%s the bus tells %+v", what, m)
		}
	}
	driver := dialWith(t, &kdbus.Dialer{DBus1: true}, address).Object("org.freedesktop.DBus", "/org/freedesktop/DBus")
	told := must(kdbus.Call[map[string]kdbus.Variant](ctx, driver, "org.freedesktop.DBus.GetConnectionCredentials", proxy.Name()))(t)
	if len(told) != 3 || told["UnixUserID"].Value != uint32(4711) || told["ProcessID"].Value != uint32(12345) || told["LinuxSecurityLabel"].Value == nil {
		t.Errorf("D-Bus is told %v", told)
	}
	if uid := must(kdbus.Call[uint32](ctx, driver, "org.freedesktop.DBus.GetConnectionUnixUser", proxy.Name()))(t); uid != 4711 {
		t.Errorf("D-Bus is told of user %d", uid)
	}
	hidden := dialWith(t, &kdbus.Dialer{Impersonate: &kdbus.Impersonation{SecLabel: "confined"}}, address)
	for _, method := range []string{"GetConnectionUnixUser", "GetConnectionUnixProcessID"} {
		if answer, err := driver.Call(ctx, "org.freedesktop.DBus."+method, hidden.Name()); err == nil {
			t.Errorf("%s of who gives none: %v", method, answer)
		}
	}
}

func TestSpecialConnectionsAreNative(t *testing.T) {
	address := kdbustest.Start(t).Address()
	t.Setenv("KDBUS", "0")
	ctx := testContext(t)
	for what, dial := range map[string]func() error{
		"an activator": func() error { _, err := kdbus.DialActivator(ctx, address, activatedName); return err },
		"a policy holder": func() error {
			_, err := kdbus.DialPolicyHolder(ctx, address, kdbus.NamePolicy{Name: "a.b"})
			return err
		},
		"an impersonation": func() error {
			_, err := (&kdbus.Dialer{Impersonate: new(kdbus.Impersonation)}).Dial(ctx, address)
			return err
		},
		"a list":          func() error { _, err := dialWith(t, new(kdbus.Dialer), address).List(ctx, abi.ListNames); return err },
		"what the bus is": func() error { _, err := dialWith(t, new(kdbus.Dialer), address).BusInfo(ctx, 0); return err },
	} {
		if err := dial(); !errors.Is(err, kdbus.ErrNotNative) {
			t.Errorf("%s on D-Bus 1: %v", what, err)
		}
	}
}

func TestSpecialConnectionsLeaveNothingBehind(t *testing.T) {
	address := kdbustest.Start(t).Address()
	leakCheck(t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a := must(kdbus.DialActivator(ctx, address, activatedName))(t)
		if _, err := kdbus.DialActivator(ctx, address, activatedName); err == nil {
			t.Error("two activators")
		}
		p := must(kdbus.DialPolicyHolder(ctx, address, kdbus.NamePolicy{Name: "a.b"}))(t)
		m, _, err := kdbus.DialMonitor(ctx, address, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []interface{ Close() error }{a, p, m} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := a.Err(); !errors.Is(err, kdbus.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		receive(t, ended(a.Done()))
	})
}

// ended makes of a channel that is closed one on which something comes.
func ended(done <-chan struct{}) <-chan bool {
	c := make(chan bool, 1)
	<-done
	c <- true
	return c
}

func TestARefusedCallSaysWhichLimitAndWhoFilledIt(t *testing.T) {
	for _, dialer := range []kdbus.Dialer{{}, {DBus1: true}} {
		address := kdbustest.Start(t).Address()
		ctx := testContext(t)
		activator := must(kdbus.DialActivator(ctx, address, activatedName))(t)
		defer activator.Close()
		filler, caller := dialWith(t, &dialer, address), dialWith(t, &dialer, address)
		file := must(os.Open("/proc/self/exe"))(t)
		defer file.Close()
		for range abi.ConnMaxFDsPerUser {
			if err := filler.Object(activatedName, "/").Send(ctx, "a.b.C", file); err != nil {
				t.Fatal(err)
			}
		}
		must(filler.ListNames(ctx))(t) // all of it is with the bus
		_, err := caller.Object(activatedName, "/").Call(ctx, "a.b.C", file)
		var e *kdbus.Error
		if !errors.As(err, &e) || !errors.Is(err, kdbus.ErrLimitsExceeded) || caller.Native() != errors.Is(err, syscall.EMFILE) {
			t.Errorf("the error is %v", err)
			continue
		}
		for _, want := range []string{
			fmt.Sprintf("user %d already has %d file descriptors in the queue of connection", os.Getuid(), abi.ConnMaxFDsPerUser),
			fmt.Sprintf("=%d)", abi.ConnMaxFDsPerUser),
		} {
			if !strings.Contains(e.Message, want) {
				t.Errorf("it does not say %q: %s", want, e.Message)
			}
		}
	}
}
