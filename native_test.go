package kdbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/kdbustest"
)

func TestAConnectionIsNativeUnlessToldOtherwise(t *testing.T) {
	address := kdbustest.Start(t).Address()
	for _, test := range []struct {
		dialer      kdbus.Dialer
		environment string
		want        bool
	}{
		{kdbus.Dialer{}, "", true},
		{kdbus.Dialer{}, "1", true},
		{kdbus.Dialer{}, "0", false},
		{kdbus.Dialer{DBus1: true}, "", false},
	} {
		t.Setenv("KDBUS", test.environment)
		if got := dialWith(t, &test.dialer, address).Native(); got != test.want {
			t.Errorf("%+v and KDBUS=%s: native is %v", test.dialer, test.environment, got)
		}
	}
}

func TestAConnectionKnowsTheIDOfTheServer(t *testing.T) {
	listening, err := address.Parse(kdbustest.Start(t).Address())
	if err != nil {
		t.Fatal(err)
	}
	a := listening[0]
	for _, dialer := range []kdbus.Dialer{{}, {DBus1: true}} {
		if got := dialWith(t, &dialer, a.With("guid", "").String()).ServerID(); got != a.GUID() {
			t.Errorf("the server at %s is %q", a, got)
		}
	}
}

// witness keeps what is said of those who call it.
type witness struct{ seen chan *abi.Metadata }

func (w *witness) Say(m *kdbus.Message, text string) (string, error) {
	w.seen <- m.Metadata()
	return text, nil
}

// serveWitness exports a witness on a connection of the given kind.
func serveWitness(t *testing.T, d *kdbus.Dialer, address string) (*witness, *kdbus.Conn) {
	t.Helper()
	w := &witness{seen: make(chan *abi.Metadata, 1)}
	c := dialWith(t, d, address)
	if err := c.Export(echoPath, echoIface, w); err != nil {
		t.Fatal(err)
	}
	return w, c
}

func TestMetadataIsOfTheProcessThatSends(t *testing.T) {
	address := kdbustest.Start(t).Address()
	w, service := serveWitness(t, &kdbus.Dialer{Metadata: abi.AttachAny}, address)
	for _, kind := range []string{"native", "dbus1"} {
		caller := startProcess(t, callerProcess+"="+address, peerKind+"="+kind)
		caller.line(t)
		fmt.Fprintln(caller.in, service.Name())
		fmt.Fprintln(caller.in, 1)
		m := receive(t, w.seen)
		caller.line(t)
		if m == nil {
			t.Errorf("%s: there is no metadata", kind)
			continue
		}
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if m.PIDs.PID != uint64(caller.Pid) || m.Exe != exe || m.Creds.UID != uint64(os.Getuid()) ||
			!slices.Equal(m.Cmdline, []string{os.Args[0]}) || m.Timestamp.RealtimeNS == 0 {
			t.Errorf("%s: the metadata of process %d is %+v", kind, caller.Pid, m)
		}
	}
}

func TestMetadataIsWhatWasAskedFor(t *testing.T) {
	address := kdbustest.Start(t).Address()
	for _, test := range []struct {
		ask, want abi.AttachFlags
	}{
		{0, 0},
		{abi.AttachPIDs, abi.AttachPIDs},
		{abi.AttachCreds | abi.AttachConnDescription, abi.AttachCreds | abi.AttachConnDescription},
	} {
		w, service := serveWitness(t, &kdbus.Dialer{Metadata: test.ask}, address)
		c := dialWith(t, &kdbus.Dialer{Description: "the-caller"}, address)
		must(c.Object(service.Name(), echoPath).Call(testContext(t), echoIface+".Say", "x"))(t)
		m := receive(t, w.seen)
		switch {
		case test.want == 0 && m != nil, test.want != 0 && (m == nil || m.Has != test.want):
			t.Errorf("asked for %v, got %+v", test.ask, m)
		case test.want&abi.AttachConnDescription != 0 && m.Description != "the-caller":
			t.Errorf("the description is %q", m.Description)
		}
	}
}

func TestPeerMetadata(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		c, peer := dial(t, address), dial(t, address)
		must(peer.RequestName(testContext(t), echoName, 0))(t)
		for _, name := range []string{peer.Name(), echoName} {
			m := must(c.PeerMetadata(testContext(t), name, abi.AttachCreds|abi.AttachPIDs))(t)
			if m.Has != abi.AttachCreds|abi.AttachPIDs || m.Creds.UID != uint64(os.Getuid()) || m.PIDs.PID != uint64(os.Getpid()) {
				t.Errorf("of %s: %+v", name, m)
			}
		}
		must(c.PeerMetadata(testContext(t), "org.freedesktop.DBus", abi.AttachPIDs))(t)
		for _, name := range []string{"com.example.Nobody", ":1.99999"} {
			if _, err := c.PeerMetadata(testContext(t), name, abi.AttachPIDs); !errors.Is(err, kdbus.ErrNameHasNoOwner) {
				t.Errorf("of %s: the error is %v", name, err)
			}
		}
	})
}

// pattern is bytes of which none is like its neighbours, so that what is shifted or mixed shows.
func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

type bytesEcho struct{}

func (bytesEcho) Say(b []byte) ([]byte, error) { return b, nil }

func TestLargeBodiesCrossBetweenTheWorlds(t *testing.T) {
	address := kdbustest.Start(t).Address()
	dialers := map[string]*kdbus.Dialer{"native": {}, "D-Bus 1": {DBus1: true}}
	for from, caller := range dialers {
		for to, callee := range dialers {
			t.Run(from+" to "+to, func(t *testing.T) {
				c, service := dialWith(t, caller, address), dialWith(t, callee, address)
				if err := service.Export("/", "a.b", bytesEcho{}); err != nil {
					t.Fatal(err)
				}
				for _, size := range []int{0, 1000, 128<<10 - 1, 128 << 10, 3<<20 + 1, 20 << 20} {
					want := pattern(size)
					got := must(kdbus.Call[[]byte](testContext(t), c.Object(service.Name(), "/"), "a.b.Say", want))(t)
					if !bytes.Equal(got, want) {
						t.Errorf("of %d bytes, other %d came back", size, len(got))
					}
				}
			})
		}
	}
}

// mapped returns how many memfds of messages are mapped.
func mapped(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "memfd:kdbus message")
}

// What is decoded stays what it was when the message is gone; and the message is gone when nobody
// refers to it.
func TestNothingDecodedIsInAMapping(t *testing.T) {
	address := kdbustest.Start(t).Address()
	sender, c := dial(t, address), dial(t, address)
	s := subscribe(t, c, kdbus.Match{Interface: "a.b"}, 0)
	type value struct {
		Bytes []byte
		Texts map[string]kdbus.Variant
	}
	want := value{pattern(1 << 20), map[string]kdbus.Variant{"key": {Signature: "s", Value: strings.Repeat("text", 1000)}}}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	var kept []value
	var kept2 [][]any
	for range 20 {
		emit(t, sender, "/", "a.b.C", want)
		m := next(t, s)
		var got value
		if err := m.Decode(&got); err != nil {
			t.Fatal(err)
		}
		kept, kept2 = append(kept, got), append(kept2, must(m.Values())(t))
	}
	for i := range 1000 {
		if runtime.GC(); mapped(t) == 0 {
			break
		} else if i == 999 {
			t.Fatalf("%d messages are still mapped", mapped(t))
		}
	}
	for i, got := range kept {
		other := kept2[i][0].([]any)
		if !bytes.Equal(got.Bytes, want.Bytes) || !bytes.Equal(other[0].([]byte), want.Bytes) || got.Texts["key"] != want.Texts["key"] {
			t.Fatalf("message %d has changed", i)
		}
	}
}

func TestAnswersInMemfdsAreUnmappedAtOnce(t *testing.T) {
	address := kdbustest.Start(t).Address()
	c, service := dial(t, address), dial(t, address)
	if err := service.Export("/", "a.b", bytesEcho{}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		must(kdbus.Call[[]byte](testContext(t), c.Object(service.Name(), "/"), "a.b.Say", pattern(1<<20)))(t)
	}
	service.Close() // its handlers have ended then
	if n := mapped(t); n > 0 {
		t.Errorf("%d messages are mapped", n)
	}
}

func TestADeadlineIsTheContexts(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		_, _, obj := serveEcho(t, address)
		ctx, cancel := context.WithTimeout(testContext(t), 20*time.Millisecond)
		defer cancel()
		if _, err := obj.Call(ctx, echoIface+".Wait"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestErrorsOfANativeBusHaveTheirErrno(t *testing.T) {
	c := dial(t, kinds["native"](t))
	_, err := c.Object("com.example.Nobody", "/").Call(testContext(t), "a.b.C")
	var e *kdbus.Error
	if !errors.As(err, &e) || !errors.Is(err, kdbus.ErrServiceUnknown) || e.Unwrap() == nil {
		t.Errorf("the error is %#v", err)
	}
}
