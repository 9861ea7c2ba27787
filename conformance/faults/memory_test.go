//go:build conformance

package faults

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

const (
	// queueLimit is how much of one user may wait for a client that does not read: dbus-daemon's
	// max_outgoing_bytes.
	queueLimit = 127 << 20
	// mostMemory is what the bus may need while one such queue is full: Go's collector lets a heap
	// grow to twice of what is in use.
	mostMemory = 2*queueLimit + 64<<20
)

// requireMemory fails if the bus needs more memory than it may with one full queue.
func requireMemory(t *testing.T, bus *testbus.Bus) {
	t.Helper()
	rss := bus.Stat(t, "VmRSS") << 10
	t.Logf("the bus needs %d MiB", rss>>20)
	if rss > mostMemory {
		t.Errorf("the bus needs %d MiB, more than %d MiB", rss>>20, mostMemory>>20)
	}
}

// TestReceiverThatNeverReads fills the queue of a client that does not read with calls. Their sender
// is told, others are not concerned, and after the client has left its senders can go on.
func TestReceiverThatNeverReads(t *testing.T) {
	bus := testbus.Start(t)
	others := standBy(t, bus)
	deaf, sender := bus.Connect(t), bus.Connect(t)
	payload := strings.Repeat("x", 1<<20)
	var refused *peer.Message
	taken := 0
	for refused == nil && taken < 4*queueLimit {
		if _, err := sender.Send(peer.Call(deaf.Name, "/", "com.example.I", "M", "s", payload)); err != nil {
			t.Fatal(err)
		}
		if errs := ping(t, sender); len(errs) > 0 {
			refused = errs[0]
		} else {
			taken += len(payload)
		}
	}
	if refused == nil {
		t.Fatalf("the bus took %d MiB for a client that does not read", taken>>20)
	}
	if name := refused.Text(peer.FieldErrorName); name != "org.freedesktop.DBus.Error.LimitsExceeded" {
		t.Errorf("the sender was told %s", refused.ErrorText())
	}
	if taken < queueLimit/2 {
		t.Errorf("the bus took only %d MiB", taken>>20)
	}
	requireMemory(t, bus)
	others.awaitMore(t)

	// It goes on being refused, and costs nothing more.
	for range 200 {
		if _, err := sender.Send(peer.Call(deaf.Name, "/", "com.example.I", "M", "s", payload).WithFlags(peer.NoReplyExpected)); err != nil {
			t.Fatal(err)
		}
	}
	ping(t, sender)
	requireMemory(t, bus)
	others.awaitMore(t)

	deaf.Close()
	reader := bus.Connect(t)
	serial, err := sender.Send(peer.Call(reader.Name, "/", "com.example.I", "M", "s", payload))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := reader.Receive(); err != nil || m.Serial != serial {
		t.Errorf("another client cannot be called: %v, %v", m, err)
	}
}

// TestSubscriberThatNeverReads broadcasts more than the bus keeps for a client that does not read.
// The sender and the other subscribers do not notice.
func TestSubscriberThatNeverReads(t *testing.T) {
	bus := testbus.Start(t)
	others := standBy(t, bus)
	deaf, reader, sender := bus.Connect(t), bus.Connect(t), bus.Connect(t)
	for _, c := range []*peer.Client{deaf, reader} {
		if r, err := c.Call(peer.DriverCall("AddMatch", "s", "interface='com.example.I'")); err != nil || r.Type != peer.TypeReply {
			t.Fatal(r, err)
		}
	}
	payload := strings.Repeat("x", 1<<20)
	const signals = queueLimit>>20 + 100
	for i := range uint32(signals) {
		if _, err := sender.Send(peer.Signal("", "/", "com.example.I", "S", "us", i, payload)); err != nil {
			t.Fatal(err)
		}
		m, err := reader.Receive()
		if err != nil || m.Type != peer.TypeSignal || m.Body[0] != i {
			t.Fatalf("instead of signal %d a subscriber received %v, %v", i, m, err)
		}
	}
	if errs := ping(t, sender); len(errs) > 0 {
		t.Errorf("the sender was told %s", errs[0].ErrorText())
	}
	requireMemory(t, bus)
	others.awaitMore(t)
}

// TestCallerThatNeverReads asks the bus itself for much and does not read the answers. The bus may
// stop reading from such a client or end the connection; it may not keep all answers.
func TestCallerThatNeverReads(t *testing.T) {
	bus := testbus.Start(t)
	others := standBy(t, bus)
	deaf := bus.Connect(t)
	call := peer.Call(peer.DriverName, peer.DriverPath, peer.IntrospectFace, "Introspect", "")
	for i := range 150_000 { // some 700 MiB of answers
		call.Serial = uint32(100 + i)
		_, err := deaf.WriteWithin(call.Encode(), 2*time.Second)
		if errors.Is(err, os.ErrDeadlineExceeded) || peer.Disconnected(err) {
			t.Logf("after %d calls: %v", i, err)
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	others.awaitMore(t)
	requireMemory(t, bus)
}

// TestIdleConnections opens 5,000 connections that do nothing.
func TestIdleConnections(t *testing.T) {
	const connections = 5000
	bus := testbus.Start(t)
	others := standBy(t, bus)
	before := bus.Stat(t, "VmRSS")
	for range connections {
		bus.Connect(t)
	}
	others.awaitMore(t)
	each := float64(bus.Stat(t, "VmRSS")-before) / connections
	t.Logf("%.1f KiB for each connection, %d threads", each, bus.Stat(t, "Threads"))
	if each > 10 {
		t.Errorf("the bus needs %.1f KiB for each idle connection", each)
	}
	c := bus.Connect(t)
	r, err := c.Call(peer.DriverCall("ListNames", ""))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Body[0].([]any)); n < connections {
		t.Errorf("%d names are listed", n)
	}
}
