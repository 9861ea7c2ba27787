//go:build conformance

// Package suites runs test suites of others against the bus under test: systemd's for sd-bus,
// libdbus's, dbus-python's, jeepney's and godbus's. All but systemd's are run on dbus-daemon too,
// and what counts is that the result is the same, case by case.
package suites

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { testbus.Main(m) }

// limit bounds each run of a program.
const limit = 90 * time.Second

// python is Debian's interpreter, which sees Debian's modules whatever else is in PATH.
const python = "/usr/bin/python3"

// onBoth starts dbus-daemon and the bus under test.
func onBoth(t *testing.T) (reference, tested *testbus.Bus) {
	t.Helper()
	return testbus.StartKind(t, testbus.DBusDaemon, testbus.Options{}), testbus.Start(t)
}

// run runs a program on a bus and returns its output and exit code, -1 if it was stopped.
func run(t *testing.T, bus *testbus.Bus, dir string, env []string, argv ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var buf bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(bus.Environ(), env...), &buf, &buf
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatalf("%q: %v", argv, err)
	}
	if ctx.Err() != nil {
		t.Errorf("%q did not end within %v", argv, limit)
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
