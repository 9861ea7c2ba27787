//go:build conformance

// Package services has the bus serve what dbus-daemon serves on a Debian machine, in a container
// (package container) in which it is dbus-daemon: the stock configurations of the system and the
// session bus with all policies and services that packages bring, real services and their clients,
// whatever starts dbus-daemon by itself, and the tests of python-dbusmock, which do all that. All of
// it can be run on Debian's dbus-daemon with KDBUS_CONFORMANCE_BUS=dbus-daemon.
package services

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/container"
	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { container.Main(m) }

// The configurations that dbus-daemon comes with.
const (
	systemConf  = "/usr/share/dbus-1/system.conf"
	sessionConf = "/usr/share/dbus-1/session.conf"
)

// world is a bus with the environment of the programs on it.
type world struct {
	*testbus.Bus
	env []string
}

// systemBus starts the system bus where it is on every machine, so that nothing has to be told.
// Tests that do that cannot run in parallel.
func systemBus(t *testing.T) world {
	t.Helper()
	env := append(testbus.Environ(), home(t)...)
	bus := testbus.StartKind(t, testbus.UnderTest(), testbus.Options{Config: systemConf, Env: env})
	if path := bus.SocketPath(); path != "/run/dbus/system_bus_socket" && path != "/var/run/dbus/system_bus_socket" {
		t.Errorf("the system bus is at %s", bus.Address)
	}
	return world{bus, env}
}

// sessionBus starts the session bus of a user with an empty home.
func sessionBus(t *testing.T) world {
	t.Helper()
	env := append(testbus.Environ(), home(t)...)
	bus := testbus.StartKind(t, testbus.UnderTest(), testbus.Options{Config: sessionConf, Env: env})
	return world{bus, append(env, "DBUS_SESSION_BUS_ADDRESS="+bus.Address)}
}

// home makes directories for a user and returns the variables that lead there.
func home(t *testing.T) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	runtime := filepath.Join(dir, "runtime")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + runtime}
}

// run runs a program to its end.
func (w world) run(t *testing.T, argv ...string) program.Result {
	t.Helper()
	return program.Run(t, w.env, argv...)
}

// start starts a program, which is killed at the end of the test if it still runs.
func (w world) start(t *testing.T, argv ...string) *program.Process {
	t.Helper()
	return program.Start(t, w.env, argv...)
}

// A client is a program that is run to its end, and what is known about that.
type client struct {
	argv   []string
	code   int
	prints string // a regular expression
}

// succeeds is a client that prints something and ends with 0.
func succeeds(prints string, argv ...string) client { return client{argv: argv, prints: prints} }

// fails is a client that ends with another exit code.
func fails(code int, prints string, argv ...string) client {
	return client{argv: argv, code: code, prints: prints}
}

// try runs clients, one after the other.
func (w world) try(t *testing.T, clients ...client) {
	t.Helper()
	for _, c := range clients {
		w.run(t, c.argv...).Expect(t, c.code, c.prints)
	}
}
