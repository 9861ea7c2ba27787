package dbus1_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/transport"
)

// The tests of the server go through its public door: a listening socket, and raw clients
// (server_client_test.go) that can send anything. Nothing depends on how long something takes:
// whatever is waited for is polled for, and patience only bounds how long a broken server can hang
// the tests.

// patience is how long a test waits for what has to happen.
const patience = time.Minute

const testGUID = "0123456789abcdef0123456789abcdef"

// testServer is a server on a socket of its own, with everything it logged.
type testServer struct {
	*dbus1.Server
	t        testing.TB
	bus      *bus.Bus
	path     string
	log      *logBook
	listener *net.UnixListener
	served   chan error // gets what Serve returned
}

// startServer starts a server that ends with the test.
func startServer(t testing.TB, change ...func(*dbus1.Config)) *testServer {
	return startServerIn(t, bus.DomainConfig{}, change...)
}

func startServerIn(t testing.TB, domain bus.DomainConfig, change ...func(*dbus1.Config)) *testServer {
	t.Helper()
	subscriptions := dbus1.NewSubscriptions()
	b := bus.NewDomain(domain).NewBus(bus.Config{Name: "0-test", Indexes: []bus.Index{subscriptions}})
	s := &testServer{t: t, bus: b, log: &logBook{}, served: make(chan error, 1)}
	config := dbus1.Config{
		Endpoint:      b.Endpoint(),
		Subscriptions: subscriptions,
		Log:           slog.New(s.log),
	}
	for _, f := range change {
		f(&config)
	}
	var err error
	if s.Server, err = dbus1.NewServer(config); err != nil {
		t.Fatalf("NewServer: %v", err)
	}
	dir, err := os.MkdirTemp("", "kdbus") // t.TempDir is too long for a socket address
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.path = filepath.Join(dir, "bus")
	if s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: s.path}); err != nil {
		t.Fatalf("listen: %v", err)
	}
	go func() { s.served <- s.Serve(s.listener, testGUID) }()
	t.Cleanup(s.stop)
	return s
}

// stop shuts the server down and checks that it ends in order. Stopping twice is fine.
func (s *testServer) stop() {
	if s.listener == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		s.t.Errorf("Shutdown: %v", err)
		return
	}
	if err := <-s.served; !errors.Is(err, transport.ErrServerClosed) {
		s.t.Errorf("Serve returned %v, want ErrServerClosed", err)
	}
	s.listener.Close()
	s.listener = nil
	if s.t.Failed() {
		s.t.Logf("the server logged:\n%s", strings.Join(s.log.lines(), "\n"))
	}
}

// logBook is a slog.Handler that keeps every line as text: the message, then key=value.
type logBook struct {
	mu   sync.Mutex
	text []string
}

func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logBook) WithGroup(string) slog.Handler            { return b }

func (b *logBook) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	b.add(line)
	return nil
}

func (b *logBook) add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, line)
}

// lines returns what has been logged so far.
func (b *logBook) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.text)
}

// has reports whether a line contains all of the parts.
func (b *logBook) has(parts ...string) bool {
	return slices.ContainsFunc(b.lines(), func(line string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
	})
}

// eventually waits until condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !within(patience, condition) {
		t.Fatalf("waited for %v in vain: %s", patience, what)
	}
}

// within waits until condition holds, or time is up: then it is false.
func within(limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		<-pause.C
	}
	return true
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) - 1 // the one that reads the directory
}
