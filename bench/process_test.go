package bench

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// privateTemp gives the test an empty $TMPDIR with a name short enough for sockets.
func privateTemp(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
}

// expectEmpty fails the test if anything is left in $TMPDIR.
func expectEmpty(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("%s was left behind", f.Name())
	}
}

// fakeBus accepts connections and hands each to serve. It returns the socket's name.
func fakeBus(t *testing.T, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c, bufio.NewReader(c))
			c.Close()
		}
	}()
	return socket
}

func TestConnectSaysWhyNot(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(net.Conn, *bufio.Reader)
		want  string
	}{
		{"bus that hangs up", func(net.Conn, *bufio.Reader) {}, "hello"},
		{"authentication refused", func(c net.Conn, r *bufio.Reader) {
			_, _ = r.ReadString('\n')
			_, _ = c.Write([]byte("REJECTED DBUS_COOKIE_SHA1\r\n"))
		}, `"REJECTED DBUS_COOKIE_SHA1"`},
		{"Hello refused", func(c net.Conn, r *bufio.Reader) {
			_, _ = r.ReadString('\n')
			_, _ = c.Write([]byte("OK 0123456789abcdef0123456789abcdef\r\n"))
			_, _ = r.ReadString('\n')
			m := errorMessage("org.example.Full", "come back later")
			_, _ = c.Write(m)
		}, "org.example.Full: come back later"},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := fakeBus(t, test.serve)
			_, err := startWorker(t.Context(), workerCommand, nil, job{Role: "caller", Socket: socket}, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), socket) {
				t.Errorf("error is %v, want one with %q and the socket", err, test.want)
			}
		})
	}
}

func TestWorkerReportsWhyItFailed(t *testing.T) {
	_, err := startWorker(t.Context(), workerCommand, nil, job{Role: "connector or so"}, nil)
	if err == nil || !strings.Contains(err.Error(), `no role "connector or so"`) {
		t.Errorf("error is %v", err)
	}
	_, err = startWorker(t.Context(), []string{"/bin/sh", "-c", "echo out of paper >&2"}, nil, job{Role: "caller"}, nil)
	if err == nil || !strings.Contains(err.Error(), "out of paper") {
		t.Errorf("error is %v, want what the worker wrote", err)
	}
}

func TestSilentBusIsNotWaitedForForever(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	socket := fakeBus(t, func(_ net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		cancel(errTimeout) // as the deadline does
		_, _ = r.ReadString('\n')
	})
	_, err := connects(ctx, site{worker: workerCommand, duration: time.Millisecond, socket: socket})
	if !errors.Is(err, errTimeout) {
		t.Errorf("error is %v, want %v", err, errTimeout)
	}
}

func TestParseResident(t *testing.T) {
	const path = "/proc/1/smaps_rollup"
	got, err := parseResident(path, []byte("55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:    4464 kB\nPss:    1000 kB\n"))
	if err != nil || got != 4464<<10 {
		t.Errorf("resident memory is %d, %v; want 4464 KiB", got, err)
	}
	for _, bad := range []string{"", "Pss: 7 kB\n", "Rss: many kB\n"} {
		if _, err := parseResident(path, []byte(bad)); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error is %v, want one that names the file", bad, err)
		}
	}
}

func TestProcessesOfTheBusAreFound(t *testing.T) {
	socket := fakeBus(t, func(net.Conn, *bufio.Reader) {})
	pid, err := busPID(socket)
	if err != nil || pid != os.Getpid() {
		t.Errorf("process of the bus is %d, %v; want us, %d", pid, err, os.Getpid())
	}
	if bytes, err := resident(pid); err != nil || bytes < 1<<20 {
		t.Errorf("our resident memory is %d, %v", bytes, err)
	}
}

func TestModelOfTheCPU(t *testing.T) {
	for _, test := range []struct{ name, info, want string }{
		{"x86", "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n\nprocessor\t: 1\nmodel name\t: Other\n", "Some CPU @ 3 GHz"},
		{"arm has none", "processor\t: 0\nBogoMIPS\t: 50\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := cpuModel([]byte(test.info)); got != test.want {
				t.Errorf("model is %q, want %q", got, test.want)
			}
		})
	}
}

func TestBusThatEndsIsExplained(t *testing.T) {
	privateTemp(t)
	// A bus that claims to listen, and then gives up.
	command := []string{"/bin/sh", "-c", `echo unix:path=/nonexistent >&3; exec 3>&-; echo giving up >&2; exit 7`}
	s, err := startServer(t.Context(), Kdbus, command, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-s.ended
	got := s.explain(errors.New("no answer")).Error()
	for _, want := range []string{"no answer", "exit status 7", "giving up"} {
		if !strings.Contains(got, want) {
			t.Errorf("error is %q and lacks %q", got, want)
		}
	}
	s.stop()
	expectEmpty(t)
}
