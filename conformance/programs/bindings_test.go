//go:build conformance

package programs

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// service starts a program of testdata that offers com.example.Conformance under a name.
func service(t *testing.T, bus *testbus.Bus, script, name string) *program.Process {
	t.Helper()
	p := start(t, bus, program.Python, filepath.Join("testdata", script), name)
	p.Await(t, "^ready\n")
	return p
}

// TestBindings lets clients in several languages try everything that services written with
// dbus-python and with GDBus offer: every type, errors, signals, properties, file descriptors.
func TestBindings(t *testing.T) {
	services := map[string]string{"dbus-python service": "service_dbus.py", "GDBus service": "service_gio.py"}
	clients := []struct{ name, interpreter, script string }{
		{"dbus-python", program.Python, "client_dbus.py"},
		{"GDBus", program.Python, "client_gio.py"},
		{"jeepney", program.Python, "client_jeepney.py"},
		{"dbus-next", program.Python, "client_dbus_next.py"},
		{"pydbus", program.Python, "client_pydbus.py"},
		{"Net::DBus", "perl", "client.pl"},
		{"ruby-dbus", "ruby", "client.rb"},
	}
	for name, script := range services {
		t.Run(name, func(t *testing.T) {
			bus := testbus.Start(t)
			p := service(t, bus, script, "com.example.Service")
			for _, c := range clients {
				t.Run(c.name+" client", func(t *testing.T) {
					judge(t, run(t, bus, c.interpreter, filepath.Join("testdata", c.script), "com.example.Service"))
				})
			}
			t.Run("qdbus client", func(t *testing.T) { qdbus(t, bus) })
			t.Run("dbus-send ends it", func(t *testing.T) {
				run(t, bus, "dbus-send", "--session", "--print-reply", "--dest=com.example.Service", "/com/example/Conformance", "com.example.Conformance.Quit").
					Expect(t, 0, "method return")
				if code := p.Wait(t); code != 0 {
					t.Errorf("the service ended with exit code %d", code)
				}
			})
		})
	}
}

// judge turns the lines "ok WHAT" and "not ok WHAT: WHY" of a client into results.
func judge(t *testing.T, r program.Result) {
	t.Helper()
	r.Expect(t, 0, `(?m)^done$`)
	for line := range strings.Lines(r.Stdout) {
		if why, failed := strings.CutPrefix(line, "not ok "); failed {
			t.Error(strings.TrimSpace(why))
		}
	}
	if n := strings.Count("\n"+r.Stdout, "\nok "); n < 4 {
		t.Errorf("it reports %d successes only", n)
	}
}

func qdbus(t *testing.T, bus *testbus.Bus) {
	q := func(args ...string) program.Result {
		return run(t, bus, append([]string{"qdbus", "--bus", bus.Address}, args...)...)
	}
	q().Expect(t, 0, `(?m)^ ?com.example.Service$`, `(?m)^org.freedesktop.DBus$`)
	q("com.example.Service").Expect(t, 0, `(?m)^/com/example/Conformance$`)
	q("com.example.Service", "/com/example/Conformance").Expect(t, 0, `method .*com.example.Conformance.Echo`, `signal .*com.example.Conformance.Ticked`)
	q("com.example.Service", "/com/example/Conformance", "com.example.Conformance.WhoAmI").Expect(t, 0, `^:[\d.]+\n$`)
	q("com.example.Service", "/com/example/Conformance", "com.example.Conformance.Fail", "on purpose").Expect(t, 2, "on purpose")
	q("org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner", "com.example.Service").Expect(t, 0, "^true\n$")
}

// TestQueuedWhileAsleep sends 20,000 calls without replies to a service that does not read, lets
// the bus confirm that it has taken them, and wakes the service.
func TestQueuedWhileAsleep(t *testing.T) {
	const calls = 20_000
	bus := testbus.Start(t)
	sleeper := start(t, bus, program.Python, "testdata/sleeper.py", fmt.Sprint(calls-1))
	sleeper.Await(t, "asleep")
	c := bus.Connect(t)
	for i := range uint32(calls) {
		if _, err := c.Send(peer.Call("com.example.Sleeper", "/", "com.example.Sleeper", "Note", "us", i, "some text to make it heavier").WithFlags(peer.NoReplyExpected)); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if r, err := c.Call(peer.DriverCall("GetId", "")); err != nil || r.Type != peer.TypeReply {
		t.Fatalf("after the calls the bus does not answer: %v, %v", r, err)
	}
	if _, err := sleeper.Stdin.Write([]byte("wake up\n")); err != nil {
		t.Fatal(err)
	}
	sleeper.Await(t, fmt.Sprintf("%d in order", calls))
}

// TestEavesdroppingMatchRules has a client that is no monitor overhear calls, replies and signals
// between two others.
func TestEavesdroppingMatchRules(t *testing.T) {
	bus := testbus.Start(t)
	service(t, bus, "service_gio.py", "com.example.Service")
	for _, c := range []struct{ rule, prints string }{
		{"type='method_call',member='Echo'", `MethodCallMessage Echo overheard\n`},
		{"type='method_return'", `MethodReturnMessage None overheard\n`},
		{"type='method_call',destination='com.example.Service'", `MethodCallMessage Echo overheard\n`},
		{"type='error'", `ErrorMessage None on purpose\n`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p := start(t, bus, program.Python, "testdata/eavesdropper.py", c.rule)
			p.Await(t, "ready")
			for _, call := range []string{"Echo variant:string:overheard", "Fail string:on\x00purpose"} {
				args := strings.Fields("dbus-send --session --print-reply --dest=com.example.Service /com/example/Conformance com.example.Conformance." + call)
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "\x00", " ")
				}
				run(t, bus, args...)
			}
			p.Await(t, c.prints)
		})
	}
}

// TestByteOrders has two clients of different byte order call, answer and signal each other, and
// the bus.
func TestByteOrders(t *testing.T) {
	bus := testbus.Start(t)
	const sig = "ynqiuxtdsogbva{sv}a(yx)aay"
	body := []any{byte(1), int16(-2), uint16(3), int32(-4), uint32(5), int64(-6), uint64(7), 8.5, "nine", "/ten", "a{sv}", true,
		peer.Variant{Sig: "(ut)", Value: []any{uint32(1), uint64(2)}},
		[]any{peer.Entry{Key: "k", Value: peer.Variant{Sig: "i", Value: int32(-1)}}},
		[]any{[]any{byte(1), int64(2)}, []any{byte(3), int64(4)}}, []any{[]byte("x"), []byte{}}}
	same := func(t *testing.T, m *peer.Message, order byte) {
		t.Helper()
		if m.Sig() != sig || peer.Format(m.Body) != peer.Format(body) {
			t.Errorf("arrived as %s %s", m.Sig(), peer.Format(m.Body))
		}
	}
	for _, orders := range []string{"lB", "Bl", "BB", "ll"} {
		t.Run(orders, func(t *testing.T) {
			a, b := bus.Connect(t), bus.Connect(t)
			a.Order, b.Order = orders[0], orders[1]
			for _, c := range []*peer.Client{a, b} {
				if r, err := c.Call(peer.DriverCall("AddMatch", "s", "interface='com.example.Sig'")); err != nil || r.Type != peer.TypeReply {
					t.Fatal(r, err)
				}
			}
			receive := func(c *peer.Client) *peer.Message {
				t.Helper()
				m, err := c.Receive()
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			send := func(c *peer.Client, m *peer.Message) uint32 {
				t.Helper()
				serial, err := c.Send(m)
				if err != nil {
					t.Fatal(err)
				}
				return serial
			}
			serial := send(a, peer.Call(b.Name, "/", "com.example.I", "M", sig, body...))
			call := receive(b)
			same(t, call, a.Order)
			send(b, peer.Reply(a.Name, call.Serial, sig, body...))
			reply := receive(a)
			same(t, reply, b.Order)
			if reply.ReplySerial() != serial {
				t.Errorf("the reply answers %d, the call was %d", reply.ReplySerial(), serial)
			}
			send(a, peer.Call(b.Name, "/", "com.example.I", "M", ""))
			send(b, peer.Error(a.Name, receive(b).Serial, "com.example.Error", sig, body...))
			failure := receive(a)
			same(t, failure, b.Order)
			if failure.Text(peer.FieldErrorName) != "com.example.Error" {
				t.Errorf("the error arrived as %q", failure.ErrorText())
			}
			send(a, peer.Signal("", "/", "com.example.Sig", "S", sig, body...))
			same(t, receive(a), a.Order)
			same(t, receive(b), a.Order)
			send(b, peer.Signal(a.Name, "/", "com.example.Sig", "S", sig, body...))
			same(t, receive(a), b.Order)
		})
	}
}
