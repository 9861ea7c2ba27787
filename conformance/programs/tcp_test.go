//go:build conformance

package programs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// askOfItself is a client that asks the bus what it knows of its caller.
const askOfItself = `
import sys, dbus, dbus.bus
bus = dbus.bus.BusConnection(sys.argv[1])
driver = dbus.Interface(bus.get_object("org.freedesktop.DBus", "/org/freedesktop/DBus"), "org.freedesktop.DBus")
me = bus.get_unique_name()
print("user", driver.GetConnectionUnixUser(me))
print("keys", sorted(driver.GetConnectionCredentials(me)))
try:
    driver.GetConnectionUnixProcessID(me)
except dbus.DBusException as e:
    print(e.get_dbus_name())
`

// config is a bus that listens somewhere, and offers what dbus-daemon does without <auth>.
const config = `<busconfig><type>session</type><listen>%s</listen>
<auth>EXTERNAL</auth><auth>DBUS_COOKIE_SHA1</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>`

// startOnTCP starts a bus with a home directory, and returns its address.
func startOnTCP(t *testing.T, listen, home string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bus.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, listen), 0o600); err != nil {
		t.Fatal(err)
	}
	bus := program.Start(t, append(testbus.Environ(), "HOME="+home, "TMPDIR="+t.TempDir()),
		testbus.Program(t, testbus.UnderTest()), "--config-file="+file, "--nofork", "--nosyslog", "--print-address=1")
	return bus.Await(t, `(?m)^((nonce-)?tcp:.*)$`)[1]
}

// Programs of others find their way in over TCP: libdbus, GLib and Python's binding, by the cookies in the
// home directory. The first one has the bus make a cookie.
func TestProgramsOverTCP(t *testing.T) {
	for _, listen := range []string{"tcp:host=127.0.0.1", "tcp:host=localhost,bind=*,family=ipv4", "nonce-tcp:host=127.0.0.1"} {
		t.Run(listen, func(t *testing.T) {
			home := t.TempDir()
			env := append(testbus.Environ(), "HOME="+home)
			address := startOnTCP(t, listen, home)
			for _, argv := range [][]string{
				{"gdbus", "call", "--address", address, "--dest", "org.freedesktop.DBus", "--object-path", "/", "--method", "org.freedesktop.DBus.GetId"},
				{"dbus-send", "--bus=" + address, "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetId"},
			} {
				program.Run(t, env, argv...).Expect(t, 0, `[0-9a-f]{32}`)
			}
			program.Run(t, env, program.Python, "-c", askOfItself, address).Expect(t, 0, fmt.Sprintf(`user %d\n`, os.Getuid()),
				`keys \[dbus.String\('UnixUserID'\)\]`, `org.freedesktop.DBus.Error.UnixProcessIdUnknown`)
			if info, err := os.Stat(filepath.Join(home, ".dbus-keyrings")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the keyring: %v, %v", info, err)
			}
		})
	}
}

// Who does not know the cookie stays outside. (GLib waits for ever then, on dbus-daemon as well.)
func TestProgramsOverTCPWithAnotherHome(t *testing.T) {
	address := startOnTCP(t, "tcp:host=127.0.0.1", t.TempDir())
	result := program.Run(t, append(testbus.Environ(), "HOME="+t.TempDir()), "dbus-send", "--bus="+address,
		"--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetId")
	result.Expect(t, 1, `Failed to register`)
}

// A bus that has become another user has made the file of its nonce that user's, and removes it at its end.
// (dbus-daemon leaves it behind, as root's.)
func TestNonceOfABusThatIsNotRoot(t *testing.T) {
	if os.Getuid() != 0 {
		program.CannotTest(t, "only root can start a bus that becomes another user")
	}
	if testbus.UnderTest() == testbus.DBusDaemon {
		return
	}
	dir, err := os.MkdirTemp("", "nonce-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	temporary, file := filepath.Join(dir, "tmp"), filepath.Join(dir, "bus.conf")
	text := fmt.Sprintf(config, "nonce-tcp:host=127.0.0.1</listen><user>nobody</user><listen>unix:dir="+dir)
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(temporary, 0), os.Chmod(temporary, os.ModeSticky|0o777), os.WriteFile(file, []byte(text), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	bus := program.Start(t, append(testbus.Environ(), "HOME="+dir, "TMPDIR="+temporary),
		testbus.Program(t, testbus.KDBus), "--config-file="+file, "--nofork", "--nosyslog", "--print-address=1")
	nonce := bus.Await(t, `noncefile=([^,;\n]+)`)[1]
	program.Run(t, testbus.Environ(), "setpriv", "--reuid=nobody", "--clear-groups", "cat", nonce).Expect(t, 0)
	program.Run(t, testbus.Environ(), "setpriv", "--reuid=daemon", "--clear-groups", "cat", nonce).Expect(t, 1, "Permission denied")
	bus.Interrupt(t)
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
