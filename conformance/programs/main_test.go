//go:build conformance

// Package programs runs programs of others on the bus and asserts on what they print: command line
// tools, clients and services in several languages (testdata), and mixtures of them. Every test
// starts a bus of its own.
package programs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { testbus.Main(m) }

// limit bounds every program that is run to its end, and every wait for output.
const limit = 20 * time.Second

// python is Debian's interpreter, which sees Debian's modules whatever else is in PATH.
const python = "/usr/bin/python3"

// result is what a program left behind.
type result struct {
	argv           []string
	stdout, stderr string
	code           int
}

// run runs a program on the bus to its end.
func run(t *testing.T, bus *testbus.Bus, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = bus.Environ(), &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", argv, err)
	}
	if ctx.Err() != nil {
		t.Errorf("%q did not end within %v", argv, limit)
	}
	return result{argv, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// expect checks the exit code and that each pattern is in the output, anywhere.
func (r result) expect(t *testing.T, code int, patterns ...string) {
	t.Helper()
	failed := r.code != code
	if failed {
		t.Errorf("exit code %d, expected %d", r.code, code)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(r.stdout + r.stderr) {
			t.Errorf("no match for %q", p)
			failed = true
		}
	}
	if failed {
		t.Logf("%q printed:\n%s%s", r.argv, r.stdout, r.stderr)
	}
}

// program is one that runs beside the test.
type program struct {
	argv  []string
	stdin io.WriteCloser
	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	output bytes.Buffer  // standard output and error
	grown  chan struct{} // closed and replaced when output grows
}

// start starts a program on the bus. It is killed at the end of the test if it still runs.
func start(t *testing.T, bus *testbus.Bus, argv ...string) *program {
	t.Helper()
	p := &program{argv: argv, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{}), grown: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = bus.Environ(), p, p
	p.cmd.WaitDelay = time.Second
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%q printed:\n%s", argv, p.text())
		}
	})
	return p
}

// Write takes the program's output.
func (p *program) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.grown)
	p.grown = make(chan struct{})
	return p.output.Write(data)
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// await waits until the output has a match of pattern and returns the match with its groups.
func (p *program) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(limit)
	for {
		p.mu.Lock()
		match, grown := re.FindStringSubmatch(p.output.String()), p.grown
		p.mu.Unlock()
		if match != nil {
			return match
		}
		select {
		case <-grown:
		case <-p.ended:
			// The last output may have come with the end.
			if match := re.FindStringSubmatch(p.text()); match != nil {
				return match
			}
			t.Fatalf("%q ended (%v) and has not printed %q but:\n%s", p.argv, p.cmd.ProcessState, pattern, p.text())
		case <-timeout:
			t.Fatalf("%q has not printed %q but:\n%s", p.argv, pattern, p.text())
		}
	}
}

// interrupt ends a program as Ctrl-C does and waits for it.
func (p *program) interrupt(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
}

// wait waits for the end of a program and returns its exit code, -1 for a signal.
func (p *program) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		t.Fatalf("%q has not ended, it printed:\n%s", p.argv, p.text())
	}
	return p.cmd.ProcessState.ExitCode()
}

// awaitName waits until a well-known name has an owner.
func awaitName(t *testing.T, bus *testbus.Bus, name string) {
	t.Helper()
	run(t, bus, "gdbus", "wait", "--session", "--timeout", "20", name).expect(t, 0)
}

// echo starts a service that answers every call with an empty reply.
func echo(t *testing.T, bus *testbus.Bus, name string) *program {
	t.Helper()
	p := start(t, bus, "dbus-test-tool", "echo", "--session", "--name="+name)
	awaitName(t, bus, name)
	return p
}

// words joins the parts of a pattern that may be separated by any blanks.
func words(parts ...string) string { return strings.Join(parts, `\s+`) }
