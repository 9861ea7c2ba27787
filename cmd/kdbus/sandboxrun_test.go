package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/internal/pty"
)

// Ctrl-C reaches a command in a sandbox once, and other signals as well, through both who wait for it.
func TestCtrlCReachesTheSandboxedCommandOnce(t *testing.T) {
	master, tty := pty.Open(t, 0)
	ready := filepath.Join(t.TempDir(), "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("kdbus", "run", "--", "kdbus", "sandbox", "--", "signals", ready)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	pty.Start(t, tty, cmd)
	if _, err := os.ReadFile(ready); err != nil { // until it is ready
		t.Fatal(err)
	}
	out := bufio.NewScanner(stdout)
	expect := func(want string) {
		t.Helper()
		if !out.Scan() || out.Text() != want {
			t.Fatalf("the command got %q, want %s", out.Text(), want)
		}
	}
	if _, err := master.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	expect("SIGINT")
	for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGTERM} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		expect(unix.SignalName(sig))
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("it ended with %v, want the command's exit code 5", err)
	}
}

// A shell has jobs there, in the foreground and in the background.
func TestAShellInASandboxControlsItsJobs(t *testing.T) {
	master, tty := pty.Open(t, 0)
	cmd := exec.Command("kdbus", "run", "--", "kdbus", "sandbox", "--", "bash", "--norc", "--noprofile", "-i")
	cmd.Env = append(os.Environ(), "PS1=", "TERM=dumb")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pty.Start(t, tty, cmd)
	if _, err := master.WriteString("sleep 1000 &\njobs\nkill %1\nfg >/dev/null 2>&1\necho done $?\nexit 4\n"); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for out := bufio.NewScanner(stdout); out.Scan(); {
		lines = append(lines, out.Text())
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("it ended with %v, want 4\n%s", err, stderr.String())
	}
	if text := strings.Join(lines, "\n"); !strings.Contains(text, "Running") || !strings.Contains(text, "done ") {
		t.Errorf("it printed %s", text)
	}
	if strings.Contains(stderr.String(), "no job control") || strings.Contains(stderr.String(), "cannot set") {
		t.Errorf("the shell complains: %s", stderr.String())
	}
}
