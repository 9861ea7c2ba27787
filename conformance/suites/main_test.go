//go:build conformance

// Package suites runs test suites of others against the bus under test: systemd's for sd-bus,
// libdbus's (with its collection of configuration files), dbus-python's, jeepney's and godbus's.
// Most are run on dbus-daemon too, and what counts is that the result is the same, case by case.
// The bus is always started as dbus-daemon is: by the suite itself under that name, or on the
// configuration that comes with dbus-daemon.
package suites

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/container"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { container.OwnTmp(m) }

// limit bounds each run of a program.
const limit = 90 * time.Second

// onEach has a suite run with dbus-daemon and with the bus under test, at the same time: suites
// mostly wait.
func onEach(suite func(testbus.Kind) verdicts) (reference, tested verdicts) {
	done := make(chan verdicts)
	go func() { done <- suite(testbus.DBusDaemon) }()
	tested = suite(testbus.UnderTest())
	return <-done, tested
}

// stockSession is the configuration of session buses that dbus-daemon comes with.
const stockSession = "/usr/share/dbus-1/session.conf"

// session starts a session bus on a socket of its own.
func session(t *testing.T, kind testbus.Kind) *testbus.Bus {
	t.Helper()
	return testbus.StartKind(t, kind, testbus.Options{Config: stockSession, Args: []string{"--address=unix:tmpdir=/tmp"}})
}

// onBoth starts a session bus of dbus-daemon's and one under test.
func onBoth(t *testing.T) (reference, tested *testbus.Bus) {
	t.Helper()
	return session(t, testbus.DBusDaemon), session(t, testbus.UnderTest())
}

// run runs a program on a bus and returns its output and exit code, -1 if it was stopped.
func run(t *testing.T, bus *testbus.Bus, dir string, env []string, argv ...string) (output string, code int) {
	t.Helper()
	return invocation{dir: dir, env: append(bus.Environ(), env...), argv: argv}.run(t)
}

// invocation is how a program is run. Its environment is what is given here, complete; without a
// user it runs as the one who tests.
type invocation struct {
	argv []string
	dir  string
	env  []string
	user *syscall.Credential
}

// run runs the program to its end and returns its output and exit code, -1 if it was stopped.
func (i invocation) run(t *testing.T) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var buf bytes.Buffer
	cmd := exec.CommandContext(ctx, i.argv[0], i.argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = i.dir, i.env, &buf, &buf
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: i.user}
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("%q: %v", i.argv, err)
		return "", -1
	}
	if ctx.Err() != nil {
		t.Errorf("%q did not end within %v", i.argv, limit)
	}
	return buf.String(), cmd.ProcessState.ExitCode()
}

// verdicts is the result of a suite: for each case "pass", "fail" or "skip".
type verdicts map[string]string

// compare checks that both results are the same and that a number of cases passed at all.
func compare(t *testing.T, want, got verdicts, atLeast int) {
	t.Helper()
	passed := 0
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if want[name] != got[name] {
			t.Errorf("%s: %q on dbus-daemon, %q here", name, want[name], got[name])
		}
		if got[name] == "pass" {
			passed++
		}
	}
	t.Logf("%d of %d cases passed", passed, len(names))
	if passed < atLeast {
		t.Errorf("only %d cases passed, there should be at least %d", passed, atLeast)
	}
}

// tail returns the end of a long text.
func tail(s string) string {
	const most = 3000
	if len(s) > most {
		return "[...]" + s[len(s)-most:]
	}
	return s
}
