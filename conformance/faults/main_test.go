//go:build conformance

// Package faults looks from outside at what clients can do to the bus: garbage, silence, numbers,
// file descriptors that nobody takes. Whatever a client does may cost that client its connection and
// its senders an error, but nobody else anything, and the bus neither memory without bounds nor
// descriptors.
//
// These tests are of kdbus: dbus-daemon has other limits.
package faults

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { testbus.Main(m) }

// limit bounds every wait.
const limit = 30 * time.Second

// bystanders are two clients that call each other while something happens to the bus.
type bystanders struct {
	stop, done chan struct{}
	calls      atomic.Int64
	slowest    time.Duration
	err        error
}

// standBy starts bystanders. When the test ends they must never have been disturbed.
func standBy(t *testing.T, bus *testbus.Bus) *bystanders {
	t.Helper()
	a, b := bus.Connect(t), bus.Connect(t)
	s := &bystanders{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for tick := time.NewTicker(2 * time.Millisecond); s.err == nil; {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				s.exchange(a, b)
			}
		}
	}()
	t.Cleanup(func() {
		close(s.stop)
		<-s.done
		if s.err != nil {
			t.Errorf("after %d calls between two others: %v", s.calls.Load(), s.err)
		}
		if s.slowest > 5*time.Second {
			t.Errorf("a call between two others took %v", s.slowest)
		}
		t.Logf("%d calls between two others, the slowest took %v", s.calls.Load(), s.slowest)
	})
	return s
}

func (s *bystanders) exchange(a, b *peer.Client) {
	begin := time.Now()
	var serial uint32
	if serial, s.err = a.Send(peer.Call(b.Name, "/", "com.example.Bystander", "M", "u", uint32(s.calls.Load()))); s.err != nil {
		return
	}
	// A message of somebody else that was damaged may have become one for a bystander.
	var call, reply *peer.Message
	if call, s.err = b.ReceiveMatching(func(m *peer.Message) bool { return m.Text(peer.FieldInterface) == "com.example.Bystander" }); s.err != nil {
		return
	}
	if _, s.err = b.Send(peer.Reply(a.Name, call.Serial, call.Sig(), call.Body...)); s.err != nil {
		return
	}
	if reply, s.err = a.ReceiveMatching(func(m *peer.Message) bool { return m.ReplySerial() == serial }); s.err != nil {
		return
	}
	if reply.Type != peer.TypeReply {
		s.err = &unexpected{reply.ErrorText()}
	}
	s.calls.Add(1)
	s.slowest = max(s.slowest, time.Since(begin))
}

// awaitMore waits until the bystanders have exchanged some more calls.
func (s *bystanders) awaitMore(t *testing.T) {
	t.Helper()
	before := s.calls.Load()
	testbus.Eventually(t, "two others exchange calls", func() bool {
		select {
		case <-s.done:
			t.Fatalf("two others cannot exchange calls: %v", s.err)
		default:
		}
		return s.calls.Load() >= before+10
	})
}

type unexpected struct{ text string }

func (e *unexpected) Error() string { return "unexpected answer: " + e.text }

// ping makes sure that the bus has dealt with everything c sent before, and returns the errors that
// came for it.
func ping(t *testing.T, c *peer.Client) (errors []*peer.Message) {
	t.Helper()
	serial, err := c.Send(peer.Call(peer.DriverName, peer.DriverPath, peer.PeerIface, "Ping", ""))
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.ReplySerial() == serial {
			return errors
		}
		if m.Type == peer.TypeError {
			errors = append(errors, m)
		}
	}
}
