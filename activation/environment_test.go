package activation_test

import (
	"slices"
	"strings"
	"testing"
)

func TestEnvironmentOfServices(t *testing.T) {
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("NOTIFY_SOCKET", "/x")
	t.Setenv("INHERITED", "yes")
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	c := b.connect()
	for _, vars := range []map[string]string{
		{"SET": "once", "DBUS_STARTER_BUS_TYPE": "fake", "=": "x", "": "y"},
		{"SET": "twice", "INHERITED": "changed"},
	} {
		if got := c.ask(c.toDriver("UpdateActivationEnvironment", vars)); got != "method_return" {
			t.Fatal(got)
		}
	}
	environment, facts := b.process(c, nameA)
	for _, want := range []string{
		"SET=twice", "INHERITED=changed", "DBUS_STARTER_BUS_TYPE=session",
		"DBUS_STARTER_ADDRESS=" + b.daemon.Address(), "DBUS_SESSION_BUS_ADDRESS=" + b.daemon.Address(),
	} {
		if !slices.Contains(environment, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, entry := range environment {
		if name, _, _ := strings.Cut(entry, "="); name == "LISTEN_FDS" || name == "NOTIFY_SOCKET" {
			t.Error(entry)
		}
	}
	if facts["fd0"] != "/dev/null" || facts["blocked"] != strings.Repeat("0", 16) {
		t.Errorf("%v", facts)
	}
}

func TestEnvironmentHasALimit(t *testing.T) {
	b := newBus(t, options{})
	c := b.connect()
	if got := c.ask(c.toDriver("UpdateActivationEnvironment", map[string]string{"A": strings.Repeat("x", 1<<20)})); !strings.HasPrefix(got, "error LimitsExceeded") {
		t.Error(got)
	}
}

func TestNothingIsLeftOpenForServices(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	c := b.connect()
	_, facts := b.process(c, nameA)
	for name, file := range facts {
		// Other files are those that Go itself has opened in the service.
		if strings.HasPrefix(name, "fd") && strings.HasPrefix(file, b.dir) {
			t.Errorf("%s is %s", name, file)
		}
	}
}
