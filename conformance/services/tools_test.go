//go:build conformance

package services

import (
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
)

// TestTools looks at a session bus of the stock configuration with everything that people look at
// buses with. What these programs do on a bus with few rules is tested in more depth in package
// programs.
func TestTools(t *testing.T) {
	const bus, path = "org.freedesktop.DBus", "/org/freedesktop/DBus"
	w := sessionBus(t)
	for _, c := range []struct {
		name string
		client
	}{
		{"dbus-send", succeeds(`string "org.freedesktop.DBus"`, "dbus-send", "--session", "--print-reply", "--dest="+bus, path, bus+".ListNames")},
		{"dbus-send, credentials", succeeds(`"UnixUserID"`, "dbus-send", "--session", "--print-reply", "--dest="+bus, path, bus+".GetConnectionCredentials", "string:"+bus)},
		{"dbus-send to nobody", fails(1, `Error org.freedesktop.DBus.Error.ServiceUnknown: The name no.such.Service was not provided by any .service files`,
			"dbus-send", "--session", "--print-reply", "--dest=no.such.Service", "/", "a.b.C")},
		{"gdbus call", succeeds(`org.freedesktop.DBus`, "gdbus", "call", "--session", "-d", bus, "-o", path, "-m", bus+".ListNames")},
		{"gdbus introspect", succeeds(`BecomeMonitor`, "gdbus", "introspect", "--session", "-d", bus, "-o", path)},
		{"gdbus introspect /", succeeds(`node /org`, "gdbus", "introspect", "--session", "-d", bus, "-o", "/", "--recurse")},
		{"busctl list", succeeds(`(?m)^org.freedesktop.DBus `, "busctl", "--user", "--no-pager", "list")},
		{"busctl list --unique", succeeds(`(?m)^:1\.\d+ `, "busctl", "--user", "--no-pager", "--unique", "list")},
		{"busctl list --activatable", succeeds(`(?m)^ca.desrt.dconf .*activatable`, "busctl", "--user", "--no-pager", "--activatable", "list")},
		{"busctl introspect", succeeds(`GetConnectionCredentials`, "busctl", "--user", "--no-pager", "introspect", bus, path)},
		{"busctl get-property", succeeds(`^as \d`, "busctl", "--user", "get-property", bus, path, bus, "Features")},
		{"busctl status", succeeds(`(?m)^PID=\d+$`, "busctl", "--user", "--no-pager", "status", bus)},
		{"busctl tree", succeeds(`/org/freedesktop/DBus`, "busctl", "--user", "--no-pager", "tree", bus)},
		{"statistics", succeeds(`^a\{sv\} `, "busctl", "--user", "call", bus, path, bus+".Debug.Stats", "GetStats")},
		{"statistics of a connection", succeeds(`UniqueName`, program.Python, "-c", `
import dbus
b = dbus.SessionBus()
print(b.call_blocking("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Debug.Stats", "GetConnectionStats", "s", [b.get_unique_name()]))`)},
		{"statistics of match rules", succeeds(`^a\{sas\} `, "busctl", "--user", "call", bus, path, bus+".Debug.Stats", "GetAllMatchRules")},
		{"qdbus", succeeds(`(?m)^org.freedesktop.DBus$`, "qdbus", "--bus", w.Address)},
		{"qdbus, a call", succeeds(`(?m)^true$`, "qdbus", "--bus", w.Address, bus, "/", bus+".NameHasOwner", bus)},
		{"Net::DBus", succeeds(`(?m)^org.freedesktop.DBus$`, "perl", "-MNet::DBus", "-e",
			`print "$_\n" for @{Net::DBus->session->get_service("org.freedesktop.DBus")->get_object("/org/freedesktop/DBus")->ListNames}`)},
		{"ruby-dbus", succeeds(`org.freedesktop.DBus`, "ruby", "-rdbus", "-e", `puts DBus::SessionBus.instance.proxy.ListNames[0]`)},
		{"GDBus", succeeds(`org.freedesktop.DBus`, program.Python, "-c", `
from gi.repository import Gio
print(Gio.bus_get_sync(Gio.BusType.SESSION).call_sync("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ListNames", None, None, 0, -1, None).unpack())`)},
		{"pydbus", succeeds(`org.freedesktop.DBus`, program.Python, "-c", `import pydbus; print(pydbus.SessionBus().get(".DBus").ListNames())`)},
		{"dbus-next", succeeds(`org.freedesktop.DBus`, program.Python, "-c", `
import asyncio
from dbus_next import Message
from dbus_next.aio import MessageBus
async def main():
    bus = await MessageBus().connect()
    print((await bus.call(Message("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ListNames"))).body)
asyncio.run(main())`)},
	} {
		t.Run(c.name, func(t *testing.T) { w.try(t, c.client) })
	}
}

// TestMonitors watches a signal pass a session bus of the stock configuration, in every way there is.
func TestMonitors(t *testing.T) {
	for _, argv := range [][]string{
		{"busctl", "--user", "monitor"},
		{"busctl", "--user", "capture"},
		{"dbus-monitor", "--session"},
		{"dbus-monitor", "--session", "--pcap"},
		{"dbus-monitor", "--session", "--profile"},
		{"gdbus", "monitor", "--session", "-d", "com.example.Monitored"},
	} {
		name := filepath.Base(argv[0])
		for _, arg := range argv[1:] {
			name += " " + arg
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := sessionBus(t)
			m := w.start(t, argv...)
			watched(t, w, m)
			m.Interrupt(t)
		})
	}
}

// watched has something to see pass until the monitor has seen it: when it is ready it does not say.
func watched(t *testing.T, w world, m *program.Process) {
	t.Helper()
	ticker := w.start(t, program.Python, "-c", `
import sys, dbus, dbus.lowlevel
bus = dbus.SessionBus()
bus.request_name("com.example.Monitored")
for line in sys.stdin:
    bus.send_message(dbus.lowlevel.SignalMessage("/com/example/Monitored", "com.example.Monitored", "Tick"))
    bus.flush()
    print("sent", line, flush=True)
`)
	m.AwaitWhile(t, `Tick`, func() {
		_, _ = ticker.Stdin.Write([]byte("again\n"))
	})
}

// TestDBusTestTool has services that answer, and that do not, on a session bus of the stock
// configuration.
func TestDBusTestTool(t *testing.T) {
	w := sessionBus(t)
	for _, s := range []struct{ kind, name string }{{"echo", "com.example.Echo"}, {"black-hole", "com.example.Hole"}} {
		w.start(t, "dbus-test-tool", s.kind, "--session", "--name="+s.name)
		w.try(t, succeeds(``, "gdbus", "wait", "--session", "--timeout", "15", s.name))
	}
	w.try(t,
		succeeds(``, "dbus-test-tool", "spam", "--session", "--dest=com.example.Echo", "--count=2000", "--queue=20", "--string"),
		succeeds(``, "dbus-test-tool", "spam", "--session", "--dest=com.example.Echo", "--count=200", "--bytes"),
		fails(1, `Error org.freedesktop.DBus.Error.NoReply`, "dbus-send", "--session", "--print-reply", "--reply-timeout=200", "--dest=com.example.Hole", "/", "a.b.C"))
}
