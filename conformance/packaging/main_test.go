//go:build conformance

// Package packaging installs kdbus with make install and runs it as the bus of a machine: started by
// systemd, by s6, by OpenRC, and in a directory with nothing but the binary in it.
//
// Whatever would get in the way of this machine's own bus happens in namespaces. They take root,
// and a kernel that lets root make them; where it does not, as in many containers, those tests
// say so and are passed over.
package packaging

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
)

// root is the directory of this module.
const root = "../.."

// limit bounds every program that is run to its end.
const limit = 3 * time.Minute

// all are the init systems that make install knows.
const all = "INIT=systemd s6 openrc"

// makeTarget runs make.
func makeTarget(target string, variables ...string) error {
	cmd := exec.Command("make", append([]string{"-C", root, target}, variables...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s: %w\n%s", target, err, out)
	}
	return nil
}

var prefix struct {
	once sync.Once
	dir  string
	err  error
}

// installed returns a directory that everything was installed into with PREFIX set to it, where it
// can be run. It is there until the process ends.
func installed(t *testing.T) string {
	t.Helper()
	prefix.once.Do(func() {
		if prefix.dir, prefix.err = os.MkdirTemp("", "kdbus-installed-"); prefix.err != nil {
			return
		}
		if prefix.err = os.Chmod(prefix.dir, 0o755); prefix.err != nil { // the bus becomes another user
			return
		}
		prefix.err = makeTarget("install", "PREFIX="+prefix.dir, all)
	})
	if prefix.err != nil {
		t.Fatal(prefix.err)
	}
	return prefix.dir
}

func TestMain(m *testing.M) {
	code := m.Run()
	if prefix.dir != "" {
		os.RemoveAll(prefix.dir)
	}
	os.Exit(code)
}

// output runs a program that has to succeed, and returns what it prints.
func output(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := combined(t, nil, argv...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return out
}

func combined(t *testing.T, attr *syscall.SysProcAttr, argv ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = attr
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// inNamespaces runs a script of testdata as root, with processes and mounts of its own, which are gone
// with it, and returns what it prints. The script gets the directory of [installed] and further
// arguments.
func inNamespaces(t *testing.T, script string, args ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		program.CannotTest(t, "only root can replace the bus of the machine")
	}
	isolated := []string{"unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc", "--propagation=private"}
	if out, err := combined(t, nil, append(isolated, "mount", "-t", "tmpfs", "tmpfs", "/run")...); err != nil {
		program.CannotTest(t, "this system lets nobody make namespaces and mounts: %v %s", err, out)
	}
	path, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	argv := append(isolated, "sh", "-eu", path, installed(t))
	out, err := combined(t, nil, append(argv, args...)...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// expect checks that each pattern matches some lines of out, in this order.
func expect(t *testing.T, out string, patterns ...string) {
	t.Helper()
	rest := out
	for _, p := range patterns {
		at := regexp.MustCompile("(?m)" + p).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("there is no %q, or not in this order, in:\n%s", p, strings.TrimSpace(out))
		}
		rest = rest[at[1]:]
	}
}
