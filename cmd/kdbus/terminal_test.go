package main

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/kdbustest"
)

// onTerminal runs the command on a terminal until it has printed what is awaited, then sends what is
// typed, and returns all that it printed.
func onTerminal(t *testing.T, await, typed string, args ...string) string {
	t.Helper()
	bus := kdbustest.Start(t)
	master, terminal := openTerminal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kdbus", args...)
	cmd.Env = append(cmd.Environ(), "DBUS_SESSION_BUS_ADDRESS="+bus.Address(), "TERM=xterm", "NO_COLOR=", "PAGER=cat", "LANG=C.UTF-8")
	cmd.Stdout, cmd.Stderr = terminal, io.Discard
	startOnTerminal(t, terminal, cmd)
	terminal.Close()
	var printed bytes.Buffer
	b := make([]byte, 4096)
	for {
		n, err := master.Read(b)
		printed.Write(b[:n])
		if err != nil {
			break // the command has ended, and nobody has the terminal any more
		}
		if typed != "" && strings.Contains(printed.String(), await) {
			if _, err := master.WriteString(typed); err != nil {
				t.Fatal(err)
			}
			typed = ""
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%q: %v\n%q", args, err, printed.String())
	}
	return printed.String()
}

func TestTerminalsGetColours(t *testing.T) {
	printed := onTerminal(t, "", "", "list", "--user")
	for _, want := range []string{"\x1b[4mNAME\x1b[0m", "\x1b[1morg.freedesktop.DBus\x1b[0m"} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in %q", want, printed)
		}
	}
}

// Ctrl-C ends top in good order, and the terminal is as it was.
func TestTopLeavesTheTerminalClean(t *testing.T) {
	printed := onTerminal(t, "CONNECTION", "\x03", "top", "--user", "--interval=10ms")
	if !strings.HasPrefix(printed, "\x1b[?1049h\x1b[?25l") || !strings.HasSuffix(printed, "\x1b[?25h\x1b[?1049l") {
		t.Errorf("printed %q", printed)
	}
	if strings.Contains(printed, syscall.EINTR.Error()) {
		t.Errorf("printed %q", printed)
	}
}
