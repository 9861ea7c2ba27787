// Package program runs programs of others, for tests that assert on what they print: Run runs one to
// its end, Start leaves one running beside the test. CannotTest is for what a system lacks.
package program

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Python is Debian's interpreter, which sees Debian's modules whatever else is in PATH.
const Python = "/usr/bin/python3"

// limit bounds every program that is run to its end, and every wait for output.
const limit = 20 * time.Second

// Result is what a program left behind.
type Result struct {
	Argv           []string
	Stdout, Stderr string
	Code           int // exit code, -1 for a signal
}

// Run runs a program to its end. The environment is complete.
func Run(t *testing.T, env []string, argv ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v\n%s%s", argv, err, &stdout, &stderr)
	}
	if ctx.Err() != nil {
		t.Errorf("%q did not end within %v", argv, limit)
	}
	return Result{argv, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// Expect checks the exit code and that each pattern is in the output, anywhere.
func (r Result) Expect(t *testing.T, code int, patterns ...string) {
	t.Helper()
	failed := r.Code != code
	if failed {
		t.Errorf("exit code %d, expected %d", r.Code, code)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(r.Stdout + r.Stderr) {
			t.Errorf("no match for %q", p)
			failed = true
		}
	}
	if failed {
		t.Logf("%q printed:\n%s%s", r.Argv, r.Stdout, r.Stderr)
	}
}

// Process is a program that runs beside the test.
type Process struct {
	Argv  []string
	PID   int
	Stdin io.WriteCloser

	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	output bytes.Buffer  // standard output and error
	grown  chan struct{} // closed and replaced when output grows
}

// Start starts a program. The environment is complete. It is killed at the end of the test if it
// still runs.
func Start(t *testing.T, env []string, argv ...string) *Process {
	t.Helper()
	p := &Process{Argv: argv, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{}), grown: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, p, p
	p.cmd.WaitDelay = time.Second
	var err error
	if p.Stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.PID = p.cmd.Process.Pid
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%q printed:\n%s", argv, p.Text())
		}
	})
	return p
}

// Write takes the program's output.
func (p *Process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.grown)
	p.grown = make(chan struct{})
	return p.output.Write(data)
}

// Text returns what the program has printed so far.
func (p *Process) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// Await waits until the output has a match of pattern and returns the match with its groups.
func (p *Process) Await(t *testing.T, pattern string) []string {
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
			if match := re.FindStringSubmatch(p.Text()); match != nil {
				return match
			}
			t.Fatalf("%q ended (%v) and has not printed %q but:\n%s", p.Argv, p.cmd.ProcessState, pattern, p.Text())
		case <-timeout:
			t.Fatalf("%q has not printed %q but:\n%s", p.Argv, pattern, p.Text())
		}
	}
}

// AwaitWhile is Await for what may have to be provoked more than once: it calls provoke again and again,
// with pauses, until the output has a match.
func (p *Process) AwaitWhile(t *testing.T, pattern string, provoke func()) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(limit); !re.MatchString(p.Text()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q has not printed %q but:\n%s", p.Argv, pattern, p.Text())
		}
		provoke()
	}
}

// Interrupt ends a program as Ctrl-C does and waits for it.
func (p *Process) Interrupt(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	p.Wait(t)
}

// Wait waits for the end of a program and returns its exit code, -1 for a signal.
func (p *Process) Wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		t.Fatalf("%q has not ended, it printed:\n%s", p.Argv, p.Text())
	}
	return p.cmd.ProcessState.ExitCode()
}
