//go:build conformance

package programs

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestDBusSend uses dbus-send for calls of the bus, of services of its own package and of a service
// that answers with what it was sent.
func TestDBusSend(t *testing.T) {
	bus := testbus.Start(t)
	echo(t, bus, "com.example.Echo")
	service(t, bus, "service_dbus.py", "com.example.Service")
	send := func(args ...string) program.Result {
		return run(t, bus, append([]string{"dbus-send", "--session"}, args...)...)
	}

	t.Run("call", func(t *testing.T) {
		send("--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ListNames").
			Expect(t, 0, `method return time=\S+ sender=org.freedesktop.DBus -> destination=:\d+\.\d+ serial=\d+ reply_serial=2`,
				`array \[`, `string "org.freedesktop.DBus"`, `string "com.example.Echo"`)
	})
	t.Run("literal reply", func(t *testing.T) {
		r := send("--print-reply=literal", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner", "string:com.example.Echo")
		if r.Stdout != "   boolean true\n" {
			t.Errorf("printed %q", r.Stdout)
		}
	})
	t.Run("credentials", func(t *testing.T) {
		send("--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetConnectionCredentials", "string:com.example.Echo").
			Expect(t, 0, words(`string "ProcessID"`, `variant`, `uint32 \d+`), words(`string "UnixUserID"`, `variant`, `uint32 \d+`))
	})
	t.Run("every type it knows", func(t *testing.T) {
		monitor := start(t, bus, "dbus-monitor", "--session", "member=Types")
		monitor.Await(t, "member=NameLost")
		send("--print-reply", "--dest=com.example.Echo", "/a", "com.example.I.Types", "string:text", "int16:-3", "uint16:9", "int32:-4", "uint32:5",
			"int64:-6", "uint64:7", "double:1.5", "byte:8", "boolean:true", "objpath:/a/b", "variant:string:inner", "array:int32:1,2",
			"array:string:x,y", "dict:string:int32:one,1,two,2").Expect(t, 0, "method return")
		monitor.Await(t, `(?s)destination=com.example.Echo serial=\d+ path=/a; interface=com.example.I; member=Types\s+`+
			words(`string "text"`, `int16 -3`, `uint16 9`, `int32 -4`, `uint32 5`, `int64 -6`, `uint64 7`, `double 1.5`, `byte 8`, `boolean true`,
				`object path "/a/b"`, `variant`, `string "inner"`, `array \[`, `int32 1`, `int32 2`, `\]`, `array \[`, `string "x"`, `string "y"`, `\]`,
				`array \[`, `dict entry\(`, `string "one"`, `int32 1`, `\)`, `dict entry\(`, `string "two"`, `int32 2`, `\)`, `\]`))
	})
	t.Run("values in a reply", func(t *testing.T) {
		send("--print-reply", "--dest=com.example.Service", "/com/example/Conformance", "com.example.Conformance.Echo", "variant:string:back").
			Expect(t, 0, words("variant", `string "back"`))
	})
	t.Run("error", func(t *testing.T) {
		send("--print-reply", "--dest=com.example.Service", "/com/example/Conformance", "com.example.Conformance.Fail", "string:on purpose").
			Expect(t, 1, `Error com.example.Conformance.Error.Failed: on purpose`)
	})
	t.Run("unknown service", func(t *testing.T) {
		send("--print-reply", "--dest=com.example.Missing", "/", "a.b.C").
			Expect(t, 1, `Error org.freedesktop.DBus.Error.ServiceUnknown: The name com.example.Missing was not provided by any .service files`)
	})
	t.Run("unknown unique name", func(t *testing.T) {
		send("--print-reply", "--dest=:1.99999", "/", "a.b.C").Expect(t, 1, `Error org.freedesktop.DBus.Error.ServiceUnknown: .*:1.99999`)
	})
	t.Run("unknown method of the bus", func(t *testing.T) {
		send("--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NoSuch").Expect(t, 1, `Error org.freedesktop.DBus.Error.UnknownMethod`)
	})
	t.Run("signal", func(t *testing.T) {
		monitor := start(t, bus, "dbus-monitor", "--session", "interface=com.example.Sig")
		monitor.Await(t, "member=NameLost")
		send("--type=signal", "/a", "com.example.Sig.Tick", "string:hello").Expect(t, 0)
		send("--type=signal", "--dest=com.example.Echo", "/a", "com.example.Sig.Tock", "uint32:3").Expect(t, 0)
		monitor.Await(t, words(`-> destination=\(null destination\) serial=\d+ path=/a; interface=com.example.Sig; member=Tick`, `string "hello"`))
		monitor.Await(t, words(`-> destination=com.example.Echo serial=\d+ path=/a; interface=com.example.Sig; member=Tock`, `uint32 3`))
	})
	t.Run("address", func(t *testing.T) {
		run(t, bus, "dbus-send", "--bus="+bus.Address, "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.Peer.GetMachineId").
			Expect(t, 0, `string "[0-9a-f]{32}"`)
	})
}

// TestDBusMonitor looks at the same traffic in every way dbus-monitor has, by becoming a monitor
// and, on a bus that seems to have no monitors, by eavesdropping.
func TestDBusMonitor(t *testing.T) {
	bus := testbus.Start(t)
	echo(t, bus, "com.example.Echo")
	traffic := func(t *testing.T) {
		t.Helper()
		run(t, bus, "dbus-send", "--session", "--print-reply", "--dest=com.example.Echo", "/a/b", "com.example.I.Method", "string:argument").Expect(t, 0)
		run(t, bus, "dbus-send", "--session", "--type=signal", "/a/b", "com.example.I.Signal", "uint32:7").Expect(t, 0)
		run(t, bus, "dbus-send", "--session", "--print-reply", "--dest=com.example.Missing", "/a/b", "com.example.I.Lost").Expect(t, 1)
	}
	seen := func(t *testing.T, m *program.Process) {
		t.Helper()
		call := m.Await(t, words(`method call time=\S+ sender=(:[\d.]+) -> destination=com.example.Echo serial=(\d+) path=/a/b; interface=com.example.I; member=Method`, `string "argument"`))
		m.Await(t, `method return time=\S+ sender=:[\d.]+ -> destination=`+call[1]+` serial=\d+ reply_serial=`+call[2])
		m.Await(t, words(`signal time=\S+ sender=:[\d.]+ -> destination=\(null destination\) serial=\d+ path=/a/b; interface=com.example.I; member=Signal`, `uint32 7`))
	}

	t.Run("as a monitor", func(t *testing.T) {
		m := start(t, bus, "dbus-monitor", "--session")
		m.Await(t, "member=NameLost")
		traffic(t)
		seen(t, m)
		m.Await(t, words(`error time=\S+ sender=org.freedesktop.DBus -> destination=:[\d.]+ error_name=org.freedesktop.DBus.Error.ServiceUnknown reply_serial=\d+`, `string "The name com.example.Missing`))
		m.Await(t, `method return time=\S+ sender=org.freedesktop.DBus -> destination=:\S+ serial=\d+ reply_serial=1`) // the answer to another's Hello
		m.Await(t, `member=NameOwnerChanged`)
		if strings.Contains(m.Text(), "alling back to eavesdropping") {
			t.Error("it did not become a monitor")
		}
		m.Interrupt(t)
	})
	t.Run("by eavesdropping", func(t *testing.T) {
		old := busWithoutMonitors(t, bus)
		m := start(t, bus, "dbus-monitor", "--address", old)
		m.Await(t, `(?i)falling back to eavesdropping`)
		// It has added its rules once it sees a signal.
		m.Await(t, "member=NameAcquired")
		awaitOverheard(t, bus, m)
		traffic(t)
		seen(t, m)
		m.Interrupt(t)
	})
	t.Run("with rules", func(t *testing.T) {
		m := start(t, bus, "dbus-monitor", "--session", "type='signal',interface='com.example.I'", "type='error'")
		m.Await(t, "member=NameLost")
		traffic(t)
		m.Await(t, "error_name=org.freedesktop.DBus.Error.ServiceUnknown")
		m.Await(t, `signal time=.*member=Signal`)
		if strings.Contains(m.Text(), "member=Method") || strings.Contains(m.Text(), "member=Hello") {
			t.Errorf("it saw more than it asked for:\n%s", m.Text())
		}
		m.Interrupt(t)
	})
	t.Run("profile", func(t *testing.T) {
		m := start(t, bus, "dbus-monitor", "--session", "--profile")
		m.Await(t, "NameLost")
		traffic(t)
		call := m.Await(t, `mc\t[\d.]+\t(\d+)\t(:[\d.]+)\tcom.example.Echo\t/a/b\tcom.example.I\tMethod`)
		m.Await(t, `mr\t[\d.]+\t\d+\t:[\d.]+\t`+call[2]+`\t`+call[1])
		m.Await(t, `sig\t[\d.]+\t\d+\t:[\d.]+\t<none>\t/a/b\tcom.example.I\tSignal`)
		m.Await(t, `err\t[\d.]+\t\d+\torg.freedesktop.DBus\t:[\d.]+\t`)
		m.Interrupt(t)
	})
	t.Run("pcap", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "capture")
		m := start(t, bus, "sh", "-c", `exec dbus-monitor --session --pcap >"$0"`, file)
		testbus.Eventually(t, "the capture has begun", func() bool { return capturedMessages(t, file, "NameLost") > 0 })
		traffic(t)
		testbus.Eventually(t, "the capture has the signal", func() bool {
			return capturedMessages(t, file, "com.example.I") == 3 // the call, the signal, the call that is lost
		})
		m.Interrupt(t)
	})
}

// capturedMessages reads a file in pcap format (the classic one) and returns how many of its
// packets, each a D-Bus message, contain text. The last packet may be incomplete.
func capturedMessages(t *testing.T, file, text string) (n int) {
	data, err := os.ReadFile(file)
	if err != nil || len(data) < 24 {
		return 0
	}
	const magic, linkTypeDBus = 0xa1b2c3d4, 231
	if m, link := binary.NativeEndian.Uint32(data), binary.NativeEndian.Uint32(data[20:]); m != magic || link != linkTypeDBus {
		t.Fatalf("the capture begins with magic %#x, link type %d", m, link)
	}
	for data = data[24:]; len(data) >= 16; {
		length := int(binary.NativeEndian.Uint32(data[8:]))
		if len(data) < 16+length {
			break
		}
		packet := string(data[16 : 16+length])
		if packet[0] != 'l' && packet[0] != 'B' {
			t.Fatalf("a packet begins with %q", packet[0])
		}
		if strings.Contains(packet, text) {
			n++
		}
		data = data[16+length:]
	}
	return n
}

// TestDBusTestTool lets dbus-test-tool's parts talk to each other.
func TestDBusTestTool(t *testing.T) {
	bus := testbus.Start(t)
	echo(t, bus, "com.example.Echo")
	start(t, bus, "dbus-test-tool", "black-hole", "--session", "--name=com.example.Hole")
	awaitName(t, bus, "com.example.Hole")
	spam := func(args ...string) program.Result {
		return run(t, bus, append([]string{"dbus-test-tool", "spam", "--session"}, args...)...)
	}
	t.Run("spam and echo", func(t *testing.T) {
		spam("--dest=com.example.Echo", "--count=5000", "--queue=100", "--string").Expect(t, 0, "^$")
	})
	t.Run("spam of bytes", func(t *testing.T) {
		spam("--dest=com.example.Echo", "--count=1000", "--queue=50", "--bytes", "--seed=1").Expect(t, 0, "^$")
	})
	t.Run("spam of empty messages", func(t *testing.T) {
		spam("--dest=com.example.Echo", "--count=1000", "--queue=1", "--empty").Expect(t, 0, "^$")
	})
	t.Run("large messages", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "payload")
		if err := os.WriteFile(file, []byte(strings.Repeat("payload ", 1<<20)), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, bus, "sh", "-c", `dbus-test-tool spam --session --dest=com.example.Echo --count=10 --queue=2 --stdin <"$0"`, file).Expect(t, 0)
	})
	t.Run("spam into the black hole without replies", func(t *testing.T) {
		spam("--dest=com.example.Hole", "--count=1000", "--no-reply", "--string").Expect(t, 0, "^$")
	})
	t.Run("a black hole does not answer", func(t *testing.T) {
		run(t, bus, "dbus-send", "--session", "--print-reply", "--reply-timeout=200", "--dest=com.example.Hole", "/", "a.b.C").
			Expect(t, 1, `Error org.freedesktop.DBus.Error.NoReply`)
	})
	t.Run("a called service that goes away", func(t *testing.T) {
		hole := start(t, bus, "dbus-test-tool", "black-hole", "--session", "--name=com.example.Doomed")
		awaitName(t, bus, "com.example.Doomed")
		watch := monitor(t, bus)
		call := start(t, bus, "dbus-send", "--session", "--print-reply", "--dest=com.example.Doomed", "/", "a.b.C")
		watch.await(t, "C")
		hole.Interrupt(t)
		call.Await(t, `Error org.freedesktop.DBus.Error.NoReply: Message recipient disconnected from message bus without replying`)
	})
}
