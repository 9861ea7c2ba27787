package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/address"
)

func TestMain(m *testing.M) {
	// Programs with the race detector in them would each wait a second at their end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){
		"kdbus":         main,
		"dbus-daemon":   main,
		"hello":         program(hello),
		"activate":      program(activate),
		"with-notify":   program(withNotify),
		"signals":       program(signals),
		"interruptible": program(interruptible),
		"with-service":  program(withService),
		"with-sleeper":  program(withSleeper),
		"overfill":      program(overfill),
		"as-nobody":     program(asNobody),
		"during":        program(during),
		"takes":         program(takes),
	})
}

// The scripts are shell sessions with the programs above.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/script",
		Deadline: time.Now().Add(3 * time.Minute), // when something hangs, say what
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %s", cond)
		},
		Setup: func(env *testscript.Env) error {
			// Nothing of the session in which the tests run.
			for _, name := range []string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "NOTIFY_SOCKET", "LISTEN_FDS", "SYSTEMD_COLORS"} {
				env.Setenv(name, "")
			}
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
			return os.MkdirAll(filepath.Join(env.WorkDir, "tmp"), 0o700)
		},
	})
}

// program makes a command of a test of f, which gets the arguments.
func program(f func(args []string) error) func() {
	return func() {
		if err := f(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
			os.Exit(1)
		}
	}
}

// hello ADDRESS...: connect to each bus, say Hello, print "hello ADDRESS-without-guid".
func hello(args []string) error {
	for _, list := range args {
		addresses, err := address.Parse(list)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			c, err := kdbus.Dial(context.Background(), a.String())
			if err != nil {
				return err
			}
			if !strings.HasPrefix(c.Name(), ":1.") {
				return fmt.Errorf("unique name %q", c.Name())
			}
			c.Close()
			if len(a.GUID()) != 32 {
				return fmt.Errorf("%s has no guid", a)
			}
			fmt.Println("hello", a.With("guid", ""))
		}
	}
	return nil
}

// activate NAME... -- COMMAND...: what systemd does for socket units. A NAME is a path,
// "@" and an abstract name, or "stdin" for standard input instead of a socket. With
// "wrong-pid" as a NAME the sockets are meant for another process.
func activate(args []string) error {
	split := slices.Index(args, "--")
	sockets, command := args[:split], args[split+1:]
	pid := os.Getpid()
	var fds []int
	for _, name := range sockets {
		switch name {
		case "wrong-pid":
			pid++
		case "stdin":
			fds = append(fds, 0)
		default:
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
				return err
			}
			if err := unix.Listen(fd, 16); err != nil {
				return err
			}
			fds = append(fds, fd)
		}
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	os.Setenv("LISTEN_PID", strconv.Itoa(pid))
	os.Setenv("LISTEN_FDS", strconv.Itoa(len(fds)))
	// Out of the way first, then to their places, where the Go runtime may have had
	// something: it is not needed any more.
	for i, fd := range fds {
		if fds[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 100); err != nil {
			return err
		}
	}
	for i, fd := range fds {
		if err := unix.Dup3(fd, 3+i, 0); err != nil {
			return err
		}
	}
	return unix.Exec(path, command, os.Environ())
}

// withNotify [reload] COMMAND...: run the command as a service of Type=notify, end it with SIGTERM
// once it is ready, and print what it notified. With reload it has to reload before its end.
func withNotify(args []string) error {
	end := []os.Signal{unix.SIGTERM}
	if args[0] == "reload" {
		end, args = []os.Signal{unix.SIGHUP, unix.SIGTERM}, args[1:]
	}
	path, err := filepath.Abs("notify")
	if err != nil {
		return err
	}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		return err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	b := make([]byte, 100)
	for {
		n, err := l.Read(b)
		if err != nil {
			return err
		}
		fmt.Println(string(b[:n]))
		switch string(b[:n]) {
		case "READY=1":
			if err := cmd.Process.Signal(end[0]); err != nil {
				return err
			}
			end = end[1:]
		case "STOPPING=1":
			return cmd.Wait()
		}
	}
}

// signals FILE: write "ready" to the file, which may be a pipe, then print each signal
// that arrives; end with exit code 5 at SIGTERM.
func signals(args []string) error {
	arrived := make(chan os.Signal, 100)
	signal.Notify(arrived, forwarded...)
	if err := os.WriteFile(args[0], []byte("ready\n"), 0o600); err != nil {
		return err
	}
	for sig := range arrived {
		fmt.Println(unix.SignalName(sig.(unix.Signal)))
		if sig == unix.SIGTERM {
			os.Exit(5)
		}
	}
	return nil
}

// interruptible COMMAND...: run the command with SIGINT and SIGQUIT as they are by default.
func interruptible(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGQUIT) // what is caught, exec resets
	return unix.Exec(path, args, os.Environ())
}

// What a user can type is described, and the descriptions name only what there is.
func TestHelpIsComplete(t *testing.T) {
	root := newRootCommand()
	for _, cmd := range root.Commands() {
		if cmd.Hidden || cmd.Name() == "help" {
			continue
		}
		t.Run(cmd.Name(), func(t *testing.T) {
			if cmd.Short == "" || cmd.Long == "" {
				t.Error("a description is missing")
			}
			var stdout, stderr bytes.Buffer
			if code := execute([]string{cmd.Name(), "--help"}, &stdout, &stderr); code != exitOK {
				t.Errorf("--help: exit code %d, %s", code, stderr.String())
			}
			if !strings.Contains(stdout.String(), "Exit codes:") {
				t.Error("--help does not tell the exit codes")
			}
			for line := range strings.Lines(stdout.String()) {
				if n := len(strings.TrimSuffix(line, "\n")); n > 120 {
					t.Errorf("a line of %d characters: %s", n, line)
				}
			}
		})
	}
}

// asNobody COMMAND...: run the command as the user 65534, who need not be able to find it.
func asNobody(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	fd, err := unix.Open(path, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Setgroups(nil), unix.Setresgid(65534, 65534, 65534), unix.Setresuid(65534, 65534, 65534)); err != nil {
		return err
	}
	return unix.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), args, os.Environ())
}
