package main

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/internal/pty"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// terminalSession is a command on a terminal.
type terminalSession struct {
	await, typed string   // once that has been printed, this is typed
	environment  []string // beside that of a terminal with colours
	columns      uint16   // how wide the terminal is; 0 does not say
	code         int      // the exit code
	said         func()   // is called once the command has said something on standard error
}

// run runs the command on a terminal and a bus until it ends, and returns all that it printed.
func (s terminalSession) run(t *testing.T, addr string, args ...string) string {
	t.Helper()
	master, tty := pty.Open(t, s.columns)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kdbus", args...)
	cmd.Env = append(append(cmd.Environ(), "DBUS_SESSION_BUS_ADDRESS="+addr, "TERM=xterm", "NO_COLOR=", "SYSTEMD_COLORS=", "PAGER=cat", "LANG=C.UTF-8"), s.environment...)
	cmd.Stdout, cmd.Stderr = tty, &announcing{said: s.said}
	pty.Start(t, tty, cmd)
	tty.Close()
	var printed bytes.Buffer
	b := make([]byte, 4096)
	for {
		n, err := master.Read(b)
		printed.Write(b[:n])
		if err != nil {
			break // the command has ended, and nobody has the terminal any more
		}
		if s.typed != "" && strings.Contains(printed.String(), s.await) {
			if _, err := master.WriteString(s.typed); err != nil {
				t.Fatal(err)
			}
			s.typed = ""
		}
	}
	_ = cmd.Wait() // how it ended says the exit code
	if code := cmd.ProcessState.ExitCode(); code != s.code {
		t.Errorf("%q: exit code %d\n%q", args, code, printed.String())
	}
	return strings.ReplaceAll(printed.String(), "\r\n", "\n")
}

// announcing is standard error of a command.
type announcing struct {
	said func()
	once sync.Once
}

func (a *announcing) Write(b []byte) (int, error) {
	if a.said != nil {
		a.once.Do(a.said)
	}
	return len(b), nil
}

func TestTerminalsGetColours(t *testing.T) {
	addr := kdbustest.Start(t).Address()
	printed := terminalSession{}.run(t, addr, "list", "--user")
	for _, want := range []string{"\x1b[4mNAME\x1b[0m", "\x1b[1morg.freedesktop.DBus\x1b[0m"} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in %q", want, printed)
		}
	}
	for _, environment := range []string{"NO_COLOR=1", "TERM=dumb", "TERM="} {
		printed := terminalSession{environment: []string{environment}}.run(t, addr, "list", "--user")
		if strings.Contains(printed, "\x1b") || !strings.HasPrefix(printed, "NAME ") {
			t.Errorf("with %s: %q", environment, printed)
		}
		if !strings.HasPrefix(environment, "TERM") {
			continue
		}
		printed = terminalSession{environment: []string{environment}}.run(t, addr, "top", "--user", "--interval=10ms")
		if strings.Contains(printed, "\x1b") || !strings.HasPrefix(printed, "CONNECTION ") {
			t.Errorf("top with %s: %q", environment, printed)
		}
	}
}

// However narrow a terminal is, nothing is cut off; a pager may do that.
func TestNarrowTerminalsGetAll(t *testing.T) {
	addr := kdbustest.Start(t).Address()
	plain := []string{"NO_COLOR=1"}
	wide := terminalSession{environment: plain, columns: 300}.run(t, addr, "introspect", "--user", busName, "/org/freedesktop/DBus")
	narrow := terminalSession{environment: plain, columns: 20}.run(t, addr, "introspect", "--user", busName, "/org/freedesktop/DBus")
	if narrow != wide || !strings.Contains(narrow, "\n.GetConnectionCredentials ") {
		t.Errorf("on a narrow terminal: %q, on a wide one: %q", narrow, wide)
	}
}

func TestPagersAreUsedOnTerminalsOnly(t *testing.T) {
	addr := kdbustest.Start(t).Address()
	s := terminalSession{environment: []string{"KDBUS_PAGER=sed s/^NAME/PAGED/", "NO_COLOR=1"}}
	if printed := s.run(t, addr, "list", "--user"); !strings.HasPrefix(printed, "PAGED") {
		t.Errorf("printed %q", printed)
	}
	if printed := s.run(t, addr, "list", "--user", "--no-pager"); !strings.HasPrefix(printed, "NAME") {
		t.Errorf("with --no-pager: %q", printed)
	}
	s.environment[0] = "KDBUS_PAGER=head -n 1" // which ends before all was written
	if printed := s.run(t, addr, "introspect", "--user", busName, "/org/freedesktop/DBus"); strings.Count(printed, "\n") != 1 {
		t.Errorf("with a pager that shows a line: %q", printed)
	}
	s.environment[0] = "KDBUS_PAGER=no-such-pager"
	if printed := s.run(t, addr, "list", "--user"); !strings.HasPrefix(printed, "NAME") {
		t.Errorf("with a pager that is not there: %q", printed)
	}
}

func TestJSONIsForPeopleOnTerminals(t *testing.T) {
	addr := kdbustest.Start(t).Address()
	printed := terminalSession{}.run(t, addr, "call", "--user", "-j", busName, "/", busName, "NameHasOwner", "s", busName)
	if want := "{\n\t\"type\" : \"b\",\n\t\"data\" : [\n\t\ttrue\n\t]\n}\n"; strings.NewReplacer("        ", "\t").Replace(printed) != want {
		t.Errorf("printed %q, want %q", printed, want)
	}
}

func TestCapturesAreNotForTerminals(t *testing.T) {
	if printed := (terminalSession{code: exitFailure}).run(t, kdbustest.Start(t).Address(), "capture", "--user"); printed != "" {
		t.Errorf("printed %q", printed)
	}
}

// Ctrl-C is how a monitor is ended. It leaves the terminal as it was.
func TestCtrlCEndsAMonitor(t *testing.T) {
	addr := kdbustest.Start(t).Address()
	conn, err := kdbus.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	printed := terminalSession{await: "Member=C", typed: "\x03", said: func() {
		if err := conn.Emit(t.Context(), "/a", "a.b.C"); err != nil {
			t.Error(err)
		}
	}}.run(t, addr, "monitor", "--user", "--match=interface='a.b'")
	shown, _, _ := strings.Cut(printed, "^C")
	if !strings.HasPrefix(shown, " \x1b[1mType=signal\x1b[0m  Endian=") || strings.Count(shown, "\x1b[1m") != strings.Count(shown, "\x1b[0m") {
		t.Errorf("printed %q", printed)
	}
}

// Ctrl-C ends top in good order, and the terminal is as it was.
func TestTopLeavesTheTerminalClean(t *testing.T) {
	printed := terminalSession{await: "CONNECTION", typed: "\x03"}.run(t, kdbustest.Start(t).Address(), "top", "--user", "--interval=10ms")
	if !strings.HasPrefix(printed, "\x1b[?1049h\x1b[?25l") || !strings.HasSuffix(printed, "\x1b[?25h\x1b[?1049l") {
		t.Errorf("printed %q", printed)
	}
	if strings.Contains(printed, syscall.EINTR.Error()) {
		t.Errorf("printed %q", printed)
	}
}
