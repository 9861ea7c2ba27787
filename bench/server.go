package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
)

// The buses that can be started for a comparison.
const (
	Kdbus      = "kdbus"
	DBusDaemon = "dbus-daemon"
	DBusBroker = "dbus-broker"
)

// server is a bus that was started for one measurement.
type server struct {
	socket string // as in net.UnixAddr
	pid    int
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended, if there is one
	dir    string        // private directory, removed in the end
	stderr bytes.Buffer  // to be read when the process has ended
	// release ends what the bus needs of us, such as a controller. It may be nil.
	release func()
}

// startServer starts a bus with an affinity and a number of policy files, in a directory of its own, and
// returns when it listens.
func startServer(ctx context.Context, kind string, kdbus []string, policies int, cpus *unix.CPUSet) (*server, error) {
	dir, err := os.MkdirTemp("", "kdbus-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for %s: %w", kind, err)
	}
	s := &server{dir: dir, socket: filepath.Join(dir, "bus")}
	switch kind {
	case Kdbus:
		err = s.startKdbus(ctx, cpus, kdbus, policies)
	case DBusDaemon:
		err = s.startDaemon(ctx, cpus, policies)
	case DBusBroker:
		err = s.startBroker(ctx, cpus)
	default:
		err = fmt.Errorf("unknown bus; the known ones are %s, %s and %s", Kdbus, DBusDaemon, DBusBroker)
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("start %s: %w%s", kind, err, quote(s.stderr.Bytes()))
	}
	return s, nil
}

// explain adds to an error of a client that the bus has ended, if that is so.
func (s *server) explain(err error) error {
	select {
	case <-s.ended:
		return fmt.Errorf("%w; the bus has ended (%v)%s", err, s.cmd.ProcessState, quote(s.stderr.Bytes()))
	case <-time.After(100 * time.Millisecond):
		// Clients see their connection close a little before the bus is gone.
		return err
	}
}

// quote returns the end of what a process wrote as the end of an error's text.
func quote(text []byte) string {
	const most = 500
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return ""
	}
	if len(text) > most {
		return "; it wrote in the end: " + string(text[len(text)-most:])
	}
	return "; it wrote: " + string(text)
}

// findServer returns the path of a foreign bus's program.
func findServer(kind string) (string, error) {
	path, err := exec.LookPath(kind)
	if err == nil {
		return path, nil
	}
	// Where Debian has what only root is expected to start.
	if path, err := exec.LookPath("/usr/sbin/" + kind); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is not installed; install it (Debian: apt-get install %s) or leave it out with --against", kind, kind)
}

// startPrinting starts a bus that writes its address to file descriptor 3 once it
// listens, and then waits for that.
func (s *server) startPrinting(ctx context.Context, cpus *unix.CPUSet, command []string) error {
	out, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer out.Close()
	err = s.run(cpus, command, in)
	in.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { out.Close() })
	defer stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return errors.New("it ended, or closed file descriptor 3, before it printed its address there")
	}
	list, err := address.Parse(strings.TrimSpace(line))
	if err != nil {
		return fmt.Errorf("it printed no valid address: %w", err)
	}
	s.socket, err = list[0].UnixName()
	return err
}

// run starts the process of the bus with side as file descriptor 3.
func (s *server) run(cpus *unix.CPUSet, command []string, side *os.File) error {
	s.cmd = newCommand(context.Background(), command) // stop ends it
	s.cmd.Dir = s.dir
	s.cmd.Stderr = &s.stderr
	s.cmd.ExtraFiles = []*os.File{side}
	s.cmd.WaitDelay = time.Second
	if err := startOn(cpus, s.cmd); err != nil {
		s.cmd = nil
		return err
	}
	s.pid = s.cmd.Process.Pid
	s.ended = make(chan struct{})
	go func() {
		// How it ended is in ProcessState.
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	return nil
}

// stop ends the bus and removes its directory.
func (s *server) stop() {
	if s.cmd != nil {
		// In good manners first: it may have something to clean up.
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
		<-s.ended
		kill.Stop()
	}
	if s.release != nil {
		s.release()
	}
	_ = os.RemoveAll(s.dir)
}

// everythingAllowed is the policy of a session bus.
const everythingAllowed = `<policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>`

// daemonConfig is how a session bus is configured on Debian: everybody may do
// everything, and the limits are far away.
const daemonConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>%s</listen>
  <auth>EXTERNAL</auth>
  %s
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="service_start_timeout">120000</limit>
  <limit name="auth_timeout">240000</limit>
  <limit name="pending_fd_timeout">150000</limit>
  <limit name="max_completed_connections">100000</limit>
  <limit name="max_incomplete_connections">10000</limit>
  <limit name="max_connections_per_user">100000</limit>
  <limit name="max_pending_service_starts">10000</limit>
  <limit name="max_names_per_connection">50000</limit>
  <limit name="max_match_rules_per_connection">50000</limit>
  <limit name="max_replies_per_connection">50000</limit>
</busconfig>
`

// startKdbus starts our bus: without policies it needs no configuration.
func (s *server) startKdbus(ctx context.Context, cpus *unix.CPUSet, command []string, policies int) error {
	command = append(command[:len(command):len(command)], "--address", address.UnixPath(s.socket).String(), "--print-address=3")
	if policies > 0 {
		config, err := s.writeConfig(policies)
		if err != nil {
			return err
		}
		command = append(command, "--config-file="+config)
	}
	return s.startPrinting(ctx, cpus, command)
}

// writeConfig writes a configuration of dbus-daemon and returns its path.
func (s *server) writeConfig(policies int) (path string, err error) {
	rules := everythingAllowed
	if policies > 0 {
		if rules, err = writePolicies(s.dir, policies); err != nil {
			return "", err
		}
	}
	path = filepath.Join(s.dir, "bus.conf")
	if err := os.WriteFile(path, fmt.Appendf(nil, daemonConfig, address.UnixPath(s.socket), rules), 0o600); err != nil {
		return "", fmt.Errorf("write its configuration: %w", err)
	}
	return path, nil
}

// startDaemon starts dbus-daemon.
func (s *server) startDaemon(ctx context.Context, cpus *unix.CPUSet, policies int) error {
	program, err := findServer(DBusDaemon)
	if err != nil {
		return err
	}
	config, err := s.writeConfig(policies)
	if err != nil {
		return err
	}
	return s.startPrinting(ctx, cpus, []string{program, "--config-file=" + config, "--nofork", "--nopidfile", "--print-address=3"})
}
