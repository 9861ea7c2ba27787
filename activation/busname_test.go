package activation_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus"
)

// busNames is a directory for .busname files of buses that are started from now on.
type busNames struct {
	*testing.T
	dir string
}

func newBusNames(t *testing.T) busNames {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	dir := filepath.Join(home, "systemd", "user")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return busNames{t, dir}
}

// put writes a file with lines of its section [BusName].
func (n busNames) put(name, lines string) {
	n.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name+".busname"), []byte("[BusName]\n"+lines+"\n"), 0o600); err != nil {
		n.Fatal(err)
	}
}

func (n busNames) remove(name string) {
	n.Helper()
	if err := os.Remove(filepath.Join(n.dir, name+".busname")); err != nil {
		n.Fatal(err)
	}
}

func TestBusNamesStartTheirUnits(t *testing.T) {
	files := newBusNames(t)
	files.put(nameA, "Service=a-by-its-busname.service")
	files.put(nameB, "")
	files.put("com.example.C", "Activating=no\nAllowWorld=talk")
	b := newBus(t, options{change: withSystemd, services: map[string]string{nameA: "/bin/false" + unit}})
	systemd, caller := b.connect(), b.connect()
	systemd.own("org.freedesktop.systemd1")
	systemd.expect("signal NameAcquired org.freedesktop.systemd1")
	for _, test := range []struct{ name, unit string }{{nameA, "a-by-its-busname.service"}, {nameB, nameB + ".service"}} {
		call := caller.send(caller.to(test.name, "Echo", "x"))
		systemd.expect("signal ActivationRequest " + test.unit)
		service := b.connect()
		service.own(test.name)
		service.expect("signal NameAcquired " + test.name)
		service.send(service.replyTo(service.next(), "y"))
		if got := describe(caller.await(call)); got != "method_return y" {
			t.Errorf("%s: %s", test.name, got)
		}
	}
	if got := caller.ask(caller.to("com.example.C", "Echo", "x")); !strings.HasPrefix(got, "error ServiceUnknown") {
		t.Errorf("a name that does not activate: %s", got)
	}
}

func TestWithoutSystemdBusNamesNeedServiceFiles(t *testing.T) {
	files := newBusNames(t)
	files.put(nameA, "")
	files.put(nameB, "")
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	c := b.connect()
	if got := c.ask(c.to(nameA, "Echo", "x")); got != "method_return x" {
		t.Error(got)
	}
	want := "error Spawn.ServiceNotValid The name com.example.B is activated by the unit com.example.B.service of " + files.dir
	if got := c.ask(c.to(nameB, "Echo", "x")); !strings.HasPrefix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}

// isProtected reports whether somebody holds a policy of a name.
func isProtected(t *testing.T, b *testBus, name string) bool {
	t.Helper()
	holder, err := kdbus.DialPolicyHolder(t.Context(), b.daemon.Address(), kdbus.NamePolicy{Name: name})
	switch {
	case err == nil:
		holder.Close()
		return false
	case !errors.Is(err, syscall.EEXIST):
		t.Fatal(err)
	}
	return true
}

func TestBusNamesAreProtectedByTheirPolicies(t *testing.T) {
	files := newBusNames(t)
	files.put("com.example.Activates", "AllowUser=0 own\nAllowWorld=talk")
	files.put("com.example.Only", "Activating=no\nAllowUser=0 own")
	files.put("com.example.Open", "")
	b := newBus(t, options{})
	check := func(when string, want map[string]bool) {
		t.Helper()
		for name, protected := range want {
			if isProtected(t, b, name) != protected {
				t.Errorf("%s: of %s it is not so that it is protected: %v", when, name, protected)
			}
		}
	}
	check("first", map[string]bool{"com.example.Activates": true, "com.example.Only": true})
	files.put("com.example.Activates", "")
	files.put("com.example.Open", "AllowWorld=see")
	files.remove("com.example.Only")
	if err := b.daemon.Reload(); err != nil {
		t.Fatal(err)
	}
	check("reloaded", map[string]bool{"com.example.Activates": false, "com.example.Only": false, "com.example.Open": true})
	if got := b.connect(); got.ask(got.toDriver("ListActivatableNames")) != "method_return [org.freedesktop.DBus com.example.Activates com.example.Open]" {
		t.Error("what does not activate is listed, or what does is not")
	}
}

func TestDescriptorsWaitWhereTheBusNameAcceptsThem(t *testing.T) {
	files := newBusNames(t)
	files.put(nameA, "AcceptFileDescriptors=no")
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	c := b.connect()
	m := c.to(nameA, "Echo", "x")
	m.UnixFDs = 1
	if got := describe(c.await(c.send(m, int(os.Stdin.Fd())))); !strings.HasPrefix(got, "error ") {
		t.Errorf("a descriptor: %s", got)
	}
	if strings.Contains(b.log.String(), "activating a service") {
		t.Error("it was started for a message that it does not get")
	}
	files.put(nameA, "AcceptFileDescriptors=yes")
	if err := b.daemon.Reload(); err != nil {
		t.Fatal(err)
	}
	m = c.to(nameA, "Echo", "x")
	m.UnixFDs = 1
	if got := describe(c.await(c.send(m, int(os.Stdin.Fd())))); got != "method_return x" {
		t.Errorf("a descriptor, accepted: %s", got)
	}
}

func TestABusNameFileThatIsWrongIsLoggedWithItsLine(t *testing.T) {
	files := newBusNames(t)
	files.put(nameA, "\nAllowUser=no-such-user own")
	b := newBus(t, options{})
	if want := filepath.Join(files.dir, nameA+".busname:3: AllowUser: there is no user"); !strings.Contains(b.log.String(), want) {
		t.Errorf("%s is not in the log:\n%s", want, b.log)
	}
}
