//go:build conformance

package services

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestDBusMock runs the tests of python-dbusmock: it starts system and session buses of its own in the
// background, dbus-daemon by name, and mocks services of the system that real clients call.
func TestDBusMock(t *testing.T) {
	files, err := filepath.Glob("/usr/share/doc/python3-dbusmock/examples/test_*.py")
	if err != nil || len(files) == 0 {
		t.Fatalf("the tests of python-dbusmock are not installed: %v", err)
	}
	// They sleep most of the time.
	const atOnce = 4
	type result struct {
		out string
		err error
	}
	results, free := make([]result, len(files)), make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, file := range files {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			out, err := dbusMock(t, file)
			results[i] = result{out, err}
		})
	}
	wg.Wait()
	passed := 0
	for i, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r := results[i]
			if m := regexp.MustCompile(`(\d+) passed`).FindStringSubmatch(r.out); m != nil {
				n, _ := strconv.Atoi(m[1])
				passed += n
			}
			if r.err != nil {
				t.Errorf("%v\n%s", r.err, r.out)
			}
		})
	}
	t.Logf("%d cases passed", passed)
	// Others skip themselves for want of programs that Debian does not have or that are not installed.
	if passed < 147 {
		t.Errorf("only %d cases passed, there should be at least 147", passed)
	}
}

// dbusMock runs the cases of a file. It is an error if one fails.
func dbusMock(t *testing.T, file string) (output string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var buf bytes.Buffer
	cmd := exec.CommandContext(ctx, program.Python, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", "--color=no", file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &buf, &buf
	cmd.Env = append(testbus.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PATH=/usr/bin:/bin:/usr/sbin:/sbin")
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	const nothingRun = 5 // pytest's exit code
	if code := cmd.ProcessState.ExitCode(); err != nil && code == nothingRun {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return buf.String(), err
}
