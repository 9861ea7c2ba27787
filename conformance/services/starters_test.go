//go:build conformance

package services

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// The programs here start "dbus-daemon" themselves, each with options of its own. In every case
// what they start has to be the bus under test.

// underTest checks that a process, given as a program printed it, runs the bus under test.
func underTest(t *testing.T, pid string) {
	t.Helper()
	got, err := os.Stat(filepath.Join("/proc", pid, "exe"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat("/usr/bin/dbus-daemon")
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(got, want) {
		t.Errorf("process %s is not the bus under test", pid)
	}
}

// busPID is a shell command that prints the number of the bus's process, and nothing else.
const busPID = `busctl --user call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus GetConnectionUnixProcessID s org.freedesktop.DBus | sed 's/^u //'`

// ended waits until a process is gone.
func ended(t *testing.T, pid string) {
	t.Helper()
	testbus.Eventually(t, "process "+pid+" is gone", func() bool {
		_, err := os.Stat(filepath.Join("/proc", pid))
		return err != nil
	})
}

// TestDBusRunSession runs commands with dbus-run-session: on its default configuration, on one that
// it is given, and with a command that fails.
func TestDBusRunSession(t *testing.T) {
	w := world{env: append(testbus.Environ(), home(t)...)}
	for _, args := range [][]string{nil, {"--config-file=" + sessionConf}, {"--dbus-daemon=dbus-daemon"}} {
		// The command goes on when it may read, as then it has been looked at which program the bus is.
		p := w.start(t, append(append([]string{"dbus-run-session"}, args...), "--", "sh", "-c", busPID+"; read line")...)
		pid := p.Await(t, `(?m)^(\d+)\n`)[1]
		underTest(t, pid)
		if _, err := p.Stdin.Write([]byte("\n")); err != nil {
			t.Error(err)
		}
		if code := p.Wait(t); code != 0 {
			t.Errorf("%q ended with exit code %d", p.Argv, code)
		}
		ended(t, pid)
	}
	w.try(t, fails(7, ``, "dbus-run-session", "--", "sh", "-c", "exit 7"))
}

// TestDBusLaunch starts buses with dbus-launch, which has them go into the background and is told
// their address and process.
func TestDBusLaunch(t *testing.T) {
	w := world{env: append(testbus.Environ(), home(t)...)}
	for _, args := range [][]string{{"--sh-syntax"}, {"--sh-syntax", "--config-file=" + sessionConf}} {
		r := w.run(t, append([]string{"sh", "-c", `eval "$("$@")" && echo "$DBUS_SESSION_BUS_PID" && ` + busPID, "sh", "dbus-launch"}, args...)...)
		r.Expect(t, 0)
		lines := strings.Split(r.Stdout, "\n")
		if len(lines) < 2 || lines[0] != lines[1] {
			t.Fatalf("dbus-launch and the bus disagree about its process: %q", lines)
		}
		underTest(t, lines[0])
		pid, err := strconv.Atoi(lines[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		ended(t, lines[0])
	}
}

// TestGTestDBus has GLib's helper for tests start a bus, with service files of the test's own.
func TestGTestDBus(t *testing.T) {
	services := t.TempDir()
	file := "[D-BUS Service]\nName=com.example.Echo\nExec=/usr/bin/dbus-test-tool echo --session --name=com.example.Echo\n"
	if err := os.WriteFile(filepath.Join(services, "com.example.Echo.service"), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	w := world{env: append(testbus.Environ(), home(t)...)}
	r := w.run(t, program.Python, "testdata/gtestdbus.py", services)
	r.Expect(t, 0)
	if !regexp.MustCompile(`^address unix:.*\npid \d+\nreply \(\)\ndown\n$`).MatchString(r.Stdout) {
		t.Errorf("it printed %s", r.Stdout)
	}
}

// TestSocketActivation starts the system bus as its systemd unit does: on a socket that it is passed,
// when somebody connects, and it tells systemd when it is ready.
func TestSocketActivation(t *testing.T) {
	dir, err := os.MkdirTemp("", "socket-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	notify := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, path := range []string{dir, notify} { // the bus is another user by the time it is ready
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "bus")
	w := world{env: append(testbus.Environ(), "NOTIFY_SOCKET="+notify, "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+socket)}
	p := w.start(t, "systemd-socket-activate", "--listen="+socket, "-E", "NOTIFY_SOCKET", "/usr/bin/dbus-daemon",
		"--system", "--address=systemd:", "--nofork", "--nopidfile", "--systemd-activation", "--syslog-only")
	p.Await(t, "Listening on")
	w.try(t, succeeds(fmt.Sprintf(`^u %d\n`, p.PID), "busctl", "--system", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixProcessID", "s", "org.freedesktop.DBus"))
	underTest(t, fmt.Sprint(p.PID))
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for said := ""; !strings.Contains(said, "READY=1"); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("the bus has told systemd only %q: %v", said, err)
		}
		said += string(buf[:n])
	}
}
