package dbus1_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// smallServer in the environment makes a process of this test binary a server with few file
// descriptors. The value is their number. It serves the listening socket that is its descriptor 3,
// logs to standard error, and ends when standard input does.
const smallServer = "DBUS1_TEST_SERVER_FILES"

func TestMain(m *testing.M) {
	if files := os.Getenv(smallServer); files != "" {
		if err := serveWithFewFiles(files); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveWithFewFiles(files string) error {
	limit, err := strconv.ParseUint(files, 10, 32)
	if err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	subscriptions := dbus1.NewSubscriptions()
	b := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{Name: "0-test", Indexes: []bus.Index{subscriptions}})
	server, err := dbus1.NewServer(dbus1.Config{
		Endpoint:      b.Endpoint(),
		Subscriptions: subscriptions,
		Log:           slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener.(*net.UnixListener), testGUID) }()
	io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return err
	}
	<-served
	return nil
}

// startSmallServer starts such a process. What is returned has no server inside.
func startSmallServer(t *testing.T, files int) (s *testServer, pid int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kdbus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s = &testServer{t: t, path: filepath.Join(dir, "bus"), log: &logBook{}}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: s.path})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	f, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), smallServer+"="+strconv.Itoa(files))
	cmd.ExtraFiles = []*os.File{f}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.log.add(lines.Text())
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-logged
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server: %v\n%s", err, strings.Join(s.log.lines(), "\n"))
		}
	})
	return s, cmd.Process.Pid
}

// cpuTime returns how long a process has been running on a processor.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // from the state on, the third one
	const tick = 10 * time.Millisecond                                            // USER_HZ, on all that Go runs on
	var total time.Duration
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		total += time.Duration(n) * tick
	}
	return total
}

// TestOutOfFileDescriptors: accepting pauses, and the log says so; those who are in do not notice,
// nothing spins, and who waits outside gets in when others leave.
func TestOutOfFileDescriptors(t *testing.T) {
	const files, clients = 64, 100
	s, pid := startSmallServer(t, files)
	others := s.watch(t)
	var all []*client
	for range clients {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if err := c.write(handshake(true)); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	eventually(t, "the log says so", func() bool { return s.log.has("not accepting", "too many open files") })
	others.progress()

	// Who is in can still do everything that takes no descriptor of the server. The order of
	// accepting is that of connecting.
	enter := func(c *client) {
		t.Helper()
		want := "OK " + testGUID + "\r\nAGREE_UNIX_FD\r\n"
		got := make([]byte, len(want))
		c.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c.conn, got); err != nil {
			t.Fatal(err)
		}
		if err := c.hello(); err != nil {
			t.Fatal(err)
		}
	}
	const first = files / 2
	for _, c := range all[:first] {
		enter(c)
		c.must(t, "AddMatch", "type='signal'")
	}
	others.stop() // which leaves room for two

	// Without traffic, nothing is to be done: neither by whoever tries to accept nor by anybody
	// else.
	before, began := cpuTime(t, pid), time.Now()
	eventually(t, "some seconds have passed", func() bool { return time.Since(began) > 3*time.Second })
	used, passed := cpuTime(t, pid)-before, time.Since(began)
	if used > passed/20 {
		t.Errorf("in %v without traffic the server used %v of a processor", passed, used)
	}
	if lines := s.log.lines(); len(lines) > 10 {
		t.Errorf("the log repeats itself:\n%s", strings.Join(lines, "\n"))
	}

	// One message with more descriptors than there are left ends its sender, and nobody else.
	sender := all[0]
	m := sender.newMessage(wire.TypeSignal, all[1].name, "Files")
	if err := sender.send(m, int(devNull()), int(devNull()), int(devNull()), int(devNull())); err != nil {
		t.Fatal(err)
	}
	if err := sender.disconnected(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log says why", func() bool { return s.log.has("disconnecting", "too many open files", sender.name) })

	for i, c := range all {
		switch {
		case i == 0:
		case i < first:
			c.must(t, "GetId")
		default:
			enter(c)
		}
		c.close()
	}
}
