// Package testbus starts message buses as processes of their own, for tests that look at them
// from outside: with few options of its own, or (Options.Config) as dbus-daemon is started, from a
// configuration file. Program gives tests a dbus-daemon for whatever starts one itself.
//
// The tests under conformance are true only if dbus-daemon passes them too, so every bus comes in
// two kinds and the environment variable KDBUS_CONFORMANCE_BUS says which one is under test:
// "kdbus" (the default: cmd/kdbus of this module, built once per test process), the path of a kdbus
// program, or "dbus-daemon". The tests that compare start one of each.
package testbus

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/internal/testlog"
)

// Kind names a bus implementation.
type Kind string

// The implementations that can be started.
const (
	KDBus      Kind = "kdbus"
	DBusDaemon Kind = "dbus-daemon"
)

// UnderTest returns the kind that KDBUS_CONFORMANCE_BUS asks for. Any other value than a kind's
// name or an absolute path is a mistake that ends the test process.
func UnderTest() Kind {
	value := os.Getenv("KDBUS_CONFORMANCE_BUS")
	switch {
	case value == "", value == string(KDBus), filepath.IsAbs(value):
		return KDBus
	case value == string(DBusDaemon):
		return DBusDaemon
	}
	panic(fmt.Sprintf("KDBUS_CONFORMANCE_BUS is %q; it may be %q, %q or an absolute path", value, KDBus, DBusDaemon))
}

// PerConnection is how many names, match rules and waiting calls a connection may have: what
// dbus-daemon's own configuration sets for session buses.
const PerConnection = 50_000

// Options change how a bus is started. The zero value is a bus with the defaults of its program.
type Options struct {
	// Files limits how many file descriptors the bus may have open, 0 leaves the limit alone.
	Files int
	// StrictReplies makes dbus-daemon refuse answers that nobody asked for, as system buses do. It
	// then refuses eavesdroppers all answers too.
	StrictReplies bool
	// PerConnection is how many names, match rules and waiting calls dbus-daemon lets a connection
	// have; zero means the constant of that name.
	PerConnection int
	// Config is a configuration file. With one every bus is started by dbus-daemon's command line,
	// and the options above but Files say nothing.
	Config string
	// Args are added to dbus-daemon's command line.
	Args []string
	// Env is added to the environment of the bus.
	Env []string
}

// Bus is a running bus.
type Bus struct {
	Kind    Kind
	Address string // as the bus printed it
	PID     int

	cmd    *exec.Cmd
	log    *testlog.Buffer
	exited chan struct{} // closed when the process has ended
}

// Start starts a bus of the kind under test and stops it when the test ends.
func Start(tb testing.TB) *Bus { return StartKind(tb, UnderTest(), Options{}) }

// StartKind starts a bus of a given kind, which is stopped when the test ends. The bus must then
// still be running, or the test fails; what it logged is shown for a failed test.
func StartKind(tb testing.TB, kind Kind, opts Options) *Bus {
	tb.Helper()
	dir, err := os.MkdirTemp("", "bus-") // tb.TempDir would be too long for a socket's path
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	b, err := launch(kind, dir, opts)
	if err != nil {
		tb.Fatalf("starting %s: %v", kind, err)
	}
	tb.Cleanup(func() {
		select {
		case <-b.exited:
			tb.Errorf("%s ended during the test: %v", kind, b.cmd.ProcessState)
		default:
		}
		if err := b.Stop(); err != nil {
			tb.Errorf("stopping %s: %v", kind, err)
		}
		if log := b.Log(); tb.Failed() && log != "" {
			tb.Logf("log of %s:\n%s", kind, lastBytes(log, 4000))
		}
	})
	return b
}

func launch(kind Kind, dir string, opts Options) (*Bus, error) {
	argv, err := commandLine(kind, dir, opts)
	if err != nil {
		return nil, err
	}
	if opts.Files > 0 {
		limit := fmt.Sprintf("ulimit -n %d && exec \"$@\"", opts.Files)
		argv = append([]string{"/bin/sh", "-c", limit, "sh"}, argv...)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := &Bus{Kind: kind, cmd: exec.Command(argv[0], argv[1:]...), log: &testlog.Buffer{}, exited: make(chan struct{})}
	b.cmd.Env = append(os.Environ(), opts.Env...)
	b.cmd.ExtraFiles = []*os.File{w} // descriptor 3
	b.cmd.Stderr = b.log
	err = b.cmd.Start()
	w.Close()
	if err != nil {
		return nil, err
	}
	b.PID = b.cmd.Process.Pid
	go func() {
		b.cmd.Wait()
		close(b.exited)
	}()
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%q printed no address: %w\n%s", argv, err, b.Log()), b.Stop())
	}
	b.Address = strings.TrimSpace(line)
	return b, nil
}

// Stop ends the bus with SIGTERM and waits for it. A kdbus then has to exit with 0, which one built
// with the race detector does not after a race.
func (b *Bus) Stop() error {
	select {
	case <-b.exited:
		return nil
	default:
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-b.exited:
		if code := b.cmd.ProcessState.ExitCode(); code != 0 && b.Kind == KDBus {
			return fmt.Errorf("it ended with exit code %d", code)
		}
		return nil
	case <-time.After(20 * time.Second):
		return errors.Join(errors.New("it did not end within 20 s of SIGTERM"), b.cmd.Process.Kill())
	}
}

// Log returns what the bus has written to its standard error so far.
func (b *Bus) Log() string { return b.log.String() }

// Environ returns the environment of this process with every variable that leads to a bus
// replaced by one that leads to b.
func (b *Bus) Environ() []string {
	return append(Environ(), "DBUS_SESSION_BUS_ADDRESS="+b.Address, "DBUS_SYSTEM_BUS_ADDRESS="+b.Address)
}

// Environ returns the environment of this process without what leads to any bus.
func Environ() []string {
	env := []string{"NO_AT_BRIDGE=1", "LC_ALL=C.UTF-8"}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS", "DBUS_STARTER_ADDRESS", "DBUS_STARTER_BUS_TYPE",
			"NO_AT_BRIDGE", "LC_ALL", "LANG", "LANGUAGE", "XDG_RUNTIME_DIR":
		default:
			env = append(env, kv)
		}
	}
	return env
}

// SocketPath returns the file system path of the socket of a bus that was started here.
func (b *Bus) SocketPath() string {
	_, path, _ := strings.Cut(b.Address, "path=")
	path, _, _ = strings.Cut(path, ",")
	return path
}

// Stat returns a number from /proc/PID/status of the bus, such as VmRSS (in kB) or Threads.
func (b *Bus) Stat(tb testing.TB, field string) int {
	tb.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.PID))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				tb.Fatal(err)
			}
			return n
		}
	}
	tb.Fatalf("/proc/%d/status has no %s", b.PID, field)
	return 0
}

// OpenFiles returns how many file descriptors the bus has open.
func (b *Bus) OpenFiles(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.PID))
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}

// CPUTime returns the processor time the bus has used so far, in user and kernel mode together.
func (b *Bus) CPUTime(tb testing.TB) time.Duration {
	tb.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.PID))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest) // begins with field 3, the state; utime and stime are 14 and 15
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / 100
}

// commandLine returns how a bus of that kind is started so that it prints its address on
// descriptor 3.
func commandLine(kind Kind, dir string, opts Options) ([]string, error) {
	if opts.Config != "" {
		program, err := dbusDaemon(kind)
		return append([]string{program, "--config-file=" + opts.Config, "--nofork", "--nopidfile", "--print-address=3"}, opts.Args...), err
	}
	address := "unix:path=" + filepath.Join(dir, "bus")
	if kind == KDBus {
		program, err := kdbusProgram()
		return []string{program, "daemon", "--address", address, "--print-address=3"}, err
	}
	config, policy := filepath.Join(dir, "session.conf"), ""
	perConnection := PerConnection
	if opts.PerConnection > 0 {
		perConnection = opts.PerConnection
	}
	if opts.StrictReplies {
		policy = strictReplies
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, sessionConfig, address, policy, perConnection), 0o644); err != nil {
		return nil, err
	}
	return []string{debianDBusDaemon, "--config-file=" + config, "--nofork", "--nopidfile", "--nosyslog", "--print-address=3"}, nil
}

// strictReplies is what the configuration of system buses says about answers.
const strictReplies = `<deny send_type="method_return" send_requested_reply="false"/>
    <deny send_type="error" send_requested_reply="false"/>`

// sessionConfig is a bus for one user with nothing to activate and the limits that dbus-daemon's
// own configuration sets for session buses.
const sessionConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>%[1]s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    %s
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_incoming_unix_fds">250000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_outgoing_unix_fds">250000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="auth_timeout">240000</limit>
  <limit name="pending_fd_timeout">150000</limit>
  <limit name="max_completed_connections">100000</limit>
  <limit name="max_incomplete_connections">10000</limit>
  <limit name="max_connections_per_user">100000</limit>
  <limit name="max_names_per_connection">%[3]d</limit>
  <limit name="max_match_rules_per_connection">%[3]d</limit>
  <limit name="max_replies_per_connection">%[3]d</limit>
</busconfig>
`

func lastBytes(s string, n int) string {
	if len(s) > n {
		return "[...]" + s[len(s)-n:]
	}
	return s
}
