package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/internal/pty"
)

// Ctrl-C reaches the command once: from the terminal, and not from kdbus run again.
func TestCtrlCReachesTheCommandOnce(t *testing.T) {
	master, tty := pty.Open(t, 0)
	ready := filepath.Join(t.TempDir(), "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("kdbus", "run", "--", "signals", ready)
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
	// Signals are passed on one after the other: had SIGINT been, it would come first.
	if err := cmd.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	expect("SIGUSR1")
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect("SIGTERM")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("kdbus run ended with %v, want the command's exit code 5", err)
	}
}

// On a terminal the demo stays up until Ctrl-C, and what happens on the bus is printed.
func TestDemoStaysUpOnATerminal(t *testing.T) {
	master, tty := pty.Open(t, 0)
	cmd := exec.Command("kdbus", "demo")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	pty.Start(t, tty, cmd)
	out := bufio.NewScanner(stdout)
	var address string
	for address == "" && out.Scan() {
		if _, err := fmt.Sscanf(out.Text(), "  export DBUS_SESSION_BUS_ADDRESS='%s", &address); err == nil {
			address = address[:len(address)-1]
		}
	}
	if err := hello([]string{address}); err != nil {
		t.Fatal(err)
	}
	for out.Scan() && out.Text() != `          STRING ":1.4";` {
	}
	if out.Err() != nil || out.Text() == "" {
		t.Fatalf("the monitor did not print that a visitor came: %v", out.Err())
	}
	if _, err := master.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	for out.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}
