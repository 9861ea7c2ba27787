//go:build conformance

package programs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestBusctl uses every command of busctl.
func TestBusctl(t *testing.T) {
	bus := testbus.Start(t)
	tool := echo(t, bus, "com.example.Echo")
	service(t, bus, "service_gio.py", "com.example.Service")
	busctl := func(args ...string) program.Result {
		return run(t, bus, append([]string{"busctl", "--user", "--no-pager"}, args...)...)
	}
	const name, path, iface = "com.example.Service", "/com/example/Conformance", "com.example.Conformance"
	t.Run("list", func(t *testing.T) {
		pid := fmt.Sprint(tool.PID)
		busctl("list").Expect(t, 0, words("NAME", "PID", "PROCESS", "USER", "CONNECTION"), words(`(?m)^com.example.Echo`, pid, `dbus-test-tool`, `\S+`, `:[\d.]+`),
			words(`(?m)^:[\d.]+`, pid, `dbus-test-tool`), words(`(?m)^org.freedesktop.DBus`, fmt.Sprint(bus.PID)))
		r := busctl("list", "--unique")
		r.Expect(t, 0, words(`(?m)^:[\d.]+`, pid))
		if regexp.MustCompile(`(?m)^com\.`).MatchString(r.Stdout) {
			t.Errorf("--unique shows other names:\n%s", r.Stdout)
		}
		busctl("list", "--acquired").Expect(t, 0, `(?m)^com.example.Echo`)
		busctl("list", "--json=short").Expect(t, 0, `\{"name":"com.example.Echo","pid":`+pid)
	})
	t.Run("address", func(t *testing.T) {
		run(t, bus, "busctl", "--no-pager", "--address="+bus.Address, "list").Expect(t, 0, "com.example.Echo")
	})
	t.Run("status", func(t *testing.T) {
		busctl("status", "com.example.Echo").Expect(t, 0, fmt.Sprintf(`(?m)^PID=%d$`, tool.PID), fmt.Sprintf(`(?m)^UID=%d$`, os.Getuid()),
			`(?m)^Comm=dbus-test-tool$`, `(?m)^UniqueName=:[\d.]+$`, `(?m)^CommandLine=dbus-test-tool echo --session --name=com.example.Echo$`)
		busctl("status").Expect(t, 0, fmt.Sprintf(`(?m)^PID=%d$`, bus.PID), `(?m)^BusAddress=`, `(?m)^BusID=[0-9a-f]{32}$`)
		busctl("status", "com.example.Missing").Expect(t, 1)
	})
	t.Run("tree", func(t *testing.T) {
		busctl("tree", "org.freedesktop.DBus").Expect(t, 0, `/org/freedesktop/DBus`)
		busctl("tree", name).Expect(t, 0, `└─/com/example/Conformance`)
		busctl("tree", name, "org.freedesktop.DBus").Expect(t, 0, `Service org.freedesktop.DBus:\n└─/org/freedesktop/DBus`, `Service com.example.Service:\n└─/com`)
	})
	t.Run("introspect", func(t *testing.T) {
		busctl("introspect", "org.freedesktop.DBus", "/org/freedesktop/DBus").Expect(t, 0, words(`\.RequestName`, `method`, `su`, `u`), words(`\.BecomeMonitor`, `method`, `asu`),
			words(`\.GetConnectionCredentials`, `method`, `s`, `a\{sv\}`), words(`\.NameOwnerChanged`, `signal`, `sss`), words(`\.Features`, `property`, `as`, `\d+`))
		busctl("introspect", name, path).Expect(t, 0, words(`\.Greeting`, `property`, `s`, `"hello"`), words(`\.ReadFD`, `method`, `h`, `s`), words(`\.Ticked`, `signal`, `su`))
	})
	t.Run("call", func(t *testing.T) {
		busctl("call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetNameOwner", "s", "com.example.Echo").Expect(t, 0, `^s ":[\d.]+"\n$`)
		busctl("call", name, path, iface, "Echo", "v", "a{sv}", "2", "a", "u", "1", "b", "as", "2", "x", "y").
			Expect(t, 0, `v a\{sv\} 2 "a" u 1 "b" as 2 "x" "y"`)
		busctl("call", name, path, iface, "Fail", "s", "on purpose").Expect(t, 1, "on purpose")
		busctl("call", "com.example.Missing", "/", "a.b", "C").Expect(t, 1, "The name com.example.Missing was not provided by any .service files")
		busctl("call", "--expect-reply=no", "com.example.Echo", "/", "a.b", "C").Expect(t, 0, "^$")
		busctl("call", "--json=short", name, path, iface, "Echo", "v", "x", "7").Expect(t, 0, `\{"type":"v","data":\[\{"type":"x","data":7\}\]\}`)
	})
	t.Run("properties", func(t *testing.T) {
		busctl("get-property", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Features", "Interfaces").Expect(t, 0, `^as \d+( "\S+")*\nas \d+( "\S+")+\n$`)
		busctl("set-property", name, path, iface, "Greeting", "s", "set by busctl").Expect(t, 0)
		busctl("get-property", name, path, iface, "Greeting").Expect(t, 0, `s "set by busctl"`)
		busctl("get-property", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NoSuch").Expect(t, 1)
	})
	t.Run("emit", func(t *testing.T) {
		watch := monitor(t, bus)
		busctl("emit", "/a", "com.example.I", "FromBusctl", "s", "x").Expect(t, 0)
		if m := watch.await(t, "FromBusctl"); m.Body[0] != "x" {
			t.Errorf("arrived as %v", m.Body)
		}
	})
	t.Run("monitor", func(t *testing.T) {
		m := start(t, bus, "busctl", "--user", "monitor")
		m.Await(t, "Monitoring bus message stream.")
		busctl("call", name, path, iface, "Echo", "v", "s", "seen").Expect(t, 0)
		m.Await(t, `(?s)Type=method_call .*?Destination=com.example.Service  Path=/com/example/Conformance  Interface=com.example.Conformance  Member=Echo.*?STRING "seen"`)
		m.Await(t, `(?s)Type=method_return .*?STRING "seen"`)
		m.Interrupt(t)
	})
	t.Run("monitor of one service", func(t *testing.T) {
		m := start(t, bus, "busctl", "--user", "--json=short", "monitor", name)
		m.Await(t, "Monitoring bus message stream.")
		busctl("call", name, path, iface, "Emit", "s", "tick").Expect(t, 0)
		line := m.Await(t, `(?m)^.*"member":"Ticked".*$`)
		var message struct {
			Type    string `json:"type"`
			Payload struct {
				Data []any `json:"data"`
			} `json:"payload"`
		}
		if err := json.Unmarshal([]byte(line[0]), &message); err != nil || message.Type != "signal" || fmt.Sprint(message.Payload.Data) != "[tick 4]" {
			t.Errorf("%v: %+v from %s", err, message, line[0])
		}
		m.Interrupt(t)
	})
	t.Run("capture", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "capture")
		m := start(t, bus, "sh", "-c", `exec busctl --user capture >"$0"`, file)
		testbus.Eventually(t, "the capture has a call", func() bool {
			busctl("call", name, path, iface, "Echo", "v", "s", "captured").Expect(t, 0)
			return bytes.Count(packets(t, file), []byte("captured\x00")) >= 2
		})
		m.Interrupt(t)
	})
}

// packets reads what busctl captured, which must begin as a pcapng file does.
func packets(t *testing.T, file string) []byte {
	data, err := os.ReadFile(file)
	if err != nil || len(data) < 28 {
		return nil
	}
	if !bytes.HasPrefix(data, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		t.Fatalf("the capture begins with % x", data[:16])
	}
	return data
}
