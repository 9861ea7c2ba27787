//go:build conformance

package programs

import (
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestGDBus uses every command of gdbus.
func TestGDBus(t *testing.T) {
	bus := testbus.Start(t)
	echo(t, bus, "com.example.Echo")
	service(t, bus, "service_dbus.py", "com.example.Service")
	gdbus := func(command string, args ...string) program.Result {
		return run(t, bus, append([]string{"gdbus", command, "--session"}, args...)...)
	}
	call := func(method string, args ...string) program.Result {
		return gdbus("call", append([]string{"--dest", "com.example.Service", "--object-path", "/com/example/Conformance", "--method", method}, args...)...)
	}
	t.Run("call", func(t *testing.T) {
		call("com.example.Conformance.Echo", "<{'a': <[1, 2]>}>").Expect(t, 0, `\(<\{'a': <\[1, 2\]>\}>,\)`)
		call("com.example.Conformance.WhoAmI").Expect(t, 0, `\(':[\d.]+',\)`)
	})
	t.Run("call of the bus", func(t *testing.T) {
		gdbus("call", "-d", "org.freedesktop.DBus", "-o", "/org/freedesktop/DBus", "-m", "org.freedesktop.DBus.GetNameOwner", "com.example.Echo").
			Expect(t, 0, `^\(':[\d.]+',\)\n$`)
		gdbus("call", "-d", "org.freedesktop.DBus", "-o", "/", "-m", "org.freedesktop.DBus.RequestName", "com.example.Other", "0").Expect(t, 0, `^\(uint32 1,\)\n$`)
	})
	t.Run("call that fails", func(t *testing.T) {
		call("com.example.Conformance.Fail", "on purpose").Expect(t, 1, "GDBus.Error:com.example.Conformance.Error.Failed: on purpose")
		call("com.example.Conformance.NoSuchMethod").Expect(t, 1, "org.freedesktop.DBus.Error.UnknownMethod")
		gdbus("call", "-d", "com.example.Missing", "-o", "/", "-m", "a.b.C").Expect(t, 1, "org.freedesktop.DBus.Error.ServiceUnknown")
	})
	t.Run("introspect the bus", func(t *testing.T) {
		gdbus("introspect", "-d", "org.freedesktop.DBus", "-o", "/org/freedesktop/DBus").Expect(t, 0,
			`node /org/freedesktop/DBus \{`, `interface org.freedesktop.DBus.Introspectable`, `interface org.freedesktop.DBus.Monitoring`, `interface org.freedesktop.DBus.Peer`,
			`interface org.freedesktop.DBus.Debug.Stats`, words(`RequestName\(in  s \S+,`, `in  u \S+,`, `out u \S+\);`), words(`NameOwnerChanged\(s \S+,`, `s \S+,`, `s \S+\);`),
			`BecomeMonitor`, `readonly as Features = \[.*\];`, `readonly as Interfaces = \[.*'org.freedesktop.DBus.Monitoring'.*\];`)
	})
	t.Run("introspect a service", func(t *testing.T) {
		gdbus("introspect", "-d", "com.example.Service", "-o", "/com/example/Conformance", "--recurse").Expect(t, 0,
			`interface com.example.Conformance \{`, `Ticked\(s text,`)
		gdbus("introspect", "-d", "com.example.Service", "-o", "/com/example/Conformance", "--xml").Expect(t, 0, `<interface name="com.example.Conformance">`)
	})
	t.Run("monitor", func(t *testing.T) {
		m := start(t, bus, "gdbus", "monitor", "--session", "--dest", "com.example.Service")
		m.Await(t, `The name com.example.Service is owned by :[\d.]+`)
		call("com.example.Conformance.Emit", "tick").Expect(t, 0, `\(\)`)
		m.Await(t, `/com/example/Conformance: com.example.Conformance.Ticked \('tick', uint32 4\)`)
		m.Interrupt(t)
	})
	t.Run("monitor of a name that comes and goes", func(t *testing.T) {
		m := start(t, bus, "gdbus", "monitor", "--session", "--dest", "com.example.Later")
		m.Await(t, `The name com.example.Later does not have an owner`)
		later := echo(t, bus, "com.example.Later")
		m.Await(t, `The name com.example.Later is owned by :[\d.]+`)
		later.Interrupt(t)
		m.Await(t, `(?s)is owned by.*The name com.example.Later does not have an owner`)
		m.Interrupt(t)
	})
	t.Run("wait", func(t *testing.T) {
		gdbus("wait", "--timeout", "10", "com.example.Echo").Expect(t, 0)
		w := start(t, bus, "gdbus", "wait", "--session", "--timeout", "30", "com.example.Awaited")
		echo(t, bus, "com.example.Awaited")
		if code := w.Wait(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		gdbus("wait", "--timeout", "1", "com.example.Never").Expect(t, 1)
	})
	t.Run("emit", func(t *testing.T) {
		r, err := bus.Connect(t).Call(peer.DriverCall("GetNameOwner", "s", "com.example.Echo"))
		if err != nil {
			t.Fatal(err)
		}
		owner := r.Body[0].(string)
		watch := monitor(t, bus)
		gdbus("emit", "--object-path", "/a", "--signal", "com.example.I.Everybody", "'text'", "uint32 5").Expect(t, 0)
		if m := watch.await(t, "Everybody"); m.Sig() != "su" || m.Body[0] != "text" || m.Body[1] != uint32(5) {
			t.Errorf("arrived as %s %v", m.Sig(), m.Body)
		}
		gdbus("emit", "--object-path", "/a", "--signal", "com.example.I.OnlyOne", "--dest", owner).Expect(t, 0)
		if m := watch.await(t, "OnlyOne"); m.Text(peer.FieldDestination) != owner {
			t.Errorf("arrived with destination %v, not %s", m.Text(peer.FieldDestination), owner)
		}
	})
}
