//go:build conformance

// Package programs runs programs of others on the bus and asserts on what they print: command line
// tools, clients and services in several languages (testdata), and mixtures of them. Every test
// starts a bus of its own.
package programs

import (
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { testbus.Main(m) }

// run runs a program on the bus to its end.
func run(t *testing.T, bus *testbus.Bus, argv ...string) program.Result {
	t.Helper()
	return program.Run(t, bus.Environ(), argv...)
}

// start starts a program on the bus. It is killed at the end of the test if it still runs.
func start(t *testing.T, bus *testbus.Bus, argv ...string) *program.Process {
	t.Helper()
	return program.Start(t, bus.Environ(), argv...)
}

// awaitName waits until a well-known name has an owner.
func awaitName(t *testing.T, bus *testbus.Bus, name string) {
	t.Helper()
	run(t, bus, "gdbus", "wait", "--session", "--timeout", "20", name).Expect(t, 0)
}

// echo starts a service that answers every call with an empty reply.
func echo(t *testing.T, bus *testbus.Bus, name string) *program.Process {
	t.Helper()
	p := start(t, bus, "dbus-test-tool", "echo", "--session", "--name="+name)
	awaitName(t, bus, name)
	return p
}

// words joins the parts of a pattern that may be separated by any blanks.
func words(parts ...string) string { return strings.Join(parts, `\s+`) }
