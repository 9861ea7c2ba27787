//go:build conformance

package sandbox

import (
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// withDBusPython is a program that owns a name, calls another, and hears of it.
const withDBusPython = `
import dbus, dbus.mainloop.glib, sys
from gi.repository import GLib
dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
print("names", sorted(n for n in bus.list_names() if not n.startswith(":")))
try:
    bus.request_name("com.example.Hidden")
except dbus.DBusException as e:
    print("own hidden", e.get_dbus_name())
print("own", bus.request_name("com.example.Own.Name") == dbus.bus.REQUEST_NAME_REPLY_PRIMARY_OWNER)
for name in "com.example.Open", "com.example.Seen", "com.example.Hidden":
    try:
        print(name, bus.call_blocking(name, "/o", "com.example.I", "M", "", ()))
    except dbus.DBusException as e:
        print(name, e.get_dbus_name())
`

func TestRealProgramsAreConfined(t *testing.T) {
	bus := testbus.StartKind(t, testbus.KDBus, testbus.Options{})
	service, err := peer.Connect(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	for _, name := range []string{"com.example.Open", "com.example.Seen", "com.example.Hidden"} {
		owner := service
		if name != "com.example.Open" {
			if owner, err = peer.Connect(bus.Address); err != nil {
				t.Fatal(err)
			}
			defer owner.Close()
		}
		if reply, err := owner.Call(peer.DriverCall("RequestName", "su", name, uint32(0))); err != nil || reply.Type != peer.TypeReply {
			t.Fatal(err)
		}
	}
	go func() { // answers until it is closed
		for {
			m, err := service.Receive()
			if err != nil {
				if peer.Disconnected(err) || t.Context().Err() != nil {
					return
				}
				continue
			}
			if m.Type == peer.TypeCall {
				service.Send(peer.Reply(m.Text(peer.FieldSender), m.Serial, "s", "answer"))
			}
		}
	}()
	run := func(argv ...string) program.Result {
		t.Helper()
		flags := []string{kdbus(t), "sandbox", "--see=com.example.Seen", "--call=com.example.Open=com.example.I.M@/o", "--own=com.example.Own.*", "--"}
		return program.Run(t, bus.Environ(), append(flags, argv...)...)
	}
	t.Run("gdbus", func(t *testing.T) {
		call := func(name, member string) program.Result {
			return run("gdbus", "call", "--session", "--dest", name, "--object-path", "/o", "--method", member)
		}
		call("com.example.Open", "com.example.I.M").Expect(t, 0, `^\('answer',\)\n$`)
		call("com.example.Open", "com.example.I.Other").Expect(t, 1, "AccessDenied")
		call("com.example.Seen", "com.example.I.M").Expect(t, 1, "AccessDenied")
		call("com.example.Hidden", "com.example.I.M").Expect(t, 1, "ServiceUnknown")
	})
	t.Run("busctl", func(t *testing.T) {
		call := func(name, member string) program.Result {
			return run("busctl", "--user", "call", name, "/o", "com.example.I", member)
		}
		call("com.example.Open", "M").Expect(t, 0, `^s "answer"\n$`)
		call("com.example.Seen", "M").Expect(t, 1, "")
		call("com.example.Hidden", "M").Expect(t, 1, "")
		run("busctl", "--user", "--no-pager", "--acquired", "list").Expect(t, 0, `com\.example\.Seen`, `com\.example\.Open`)
		if r := run("busctl", "--user", "--no-pager", "list"); strings.Contains(r.Stdout, "Hidden") {
			t.Errorf("busctl lists what is hidden:\n%s", r.Stdout)
		}
		run("busctl", "--user", "monitor").Expect(t, 1, "")
	})
	t.Run("python3-dbus", func(t *testing.T) {
		run(program.Python, "-c", withDBusPython).Expect(t, 0, `names .*com.example.Open.*com.example.Seen.*org.freedesktop.DBus`,
			"own hidden org.freedesktop.DBus.Error.AccessDenied", "own True", "com.example.Open answer",
			"com.example.Seen org.freedesktop.DBus.Error.AccessDenied", "com.example.Hidden org.freedesktop.DBus.Error.ServiceUnknown")
	})
}
