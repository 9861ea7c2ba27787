// Package kdbustest starts a message bus inside a Go test:
//
//	b := kdbustest.Start(t)
//	conn, err := dbus.Connect(b.Address()) // godbus, or any other D-Bus client
//
// The bus is a real one, the same as the command kdbus runs, in the test's own process:
// nothing has to be installed, no process is started, and any number of tests can have
// one each in parallel. It ends with the test and leaves nothing behind, however the
// test ends. TestGreeter in example_test.go is a whole test with a service and a client.
package kdbustest

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/kdbus-go/kdbus/daemon"
)

// Bus is a running bus. Its methods are safe for concurrent use.
type Bus struct {
	daemon *daemon.Daemon
}

// Start starts a bus that ends with the test t and its subtests. Clients are admitted as
// on a session bus. When the test fails, what the bus logged is part of its output.
//
// Disconnect clients before the test ends, or do not mind that they lose the bus:
// functions that the test gives to t.Cleanup after Start run while the bus is still
// there.
func Start(t testing.TB) *Bus {
	t.Helper()
	log := new(lockedBuffer)
	d, err := daemon.StartPrivate(daemon.Config{
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatalf("start a message bus: %v", err)
	}
	t.Cleanup(func() {
		t.Helper()
		d.Shutdown()
		if t.Failed() && log.Len() > 0 {
			t.Logf("log of the message bus at %s:\n%s", d.Address(), log.String())
		}
	})
	return &Bus{daemon: d}
}

// Address returns the D-Bus address clients can connect to, for example to be put in the
// environment of programs as DBUS_SESSION_BUS_ADDRESS.
func (b *Bus) Address() string { return b.daemon.Address() }

// lockedBuffer is a buffer that goroutines may write to while others read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is io.Writer's.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Len()
}
