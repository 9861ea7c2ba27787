package dbus1_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

// echo answers every call with its own body and descriptors, until the connection ends or something
// goes wrong, which is then returned.
func (c *client) echo() error {
	for {
		m, err := c.next()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("echo service: %w", err)
		}
		if m.Type != wire.TypeMethodCall {
			return fmt.Errorf("echo service: got %s", m)
		}
		reply, err := answerTo(c, m)
		if err == nil {
			err = c.send(reply, m.fds...)
		}
		closeFDs(m.fds)
		if err != nil {
			return fmt.Errorf("echo service: %w", err)
		}
	}
}

// answerTo makes the answer of c to the call m, with the values of the call in c's own byte order.
func answerTo(c *client, m *received) (*wire.Message, error) {
	reply := c.newMessage(wire.TypeMethodReturn, m.Sender, "")
	reply.ReplySerial = m.Serial
	values, err := m.Values()
	if err != nil {
		return nil, err
	}
	reply.Signature = m.Signature
	reply.Body, err = wire.AppendBodyAs(nil, c.order, m.Signature, values...)
	return reply, err
}

// bystanders are two peers that exchange calls, of different byte order, and must notice nothing of
// what else happens.
type bystanders struct {
	t       testing.TB
	callee  *client
	caller  *client
	done    atomic.Int64 // calls answered
	ending  atomic.Bool
	results chan error
}

// watch starts two bystanders.
func (s *testServer) watch(t testing.TB) *bystanders {
	t.Helper()
	b := &bystanders{
		t:       t,
		callee:  s.connectAs(t, wire.BigEndian, true),
		caller:  s.connectAs(t, wire.LittleEndian, true),
		results: make(chan error, 2),
	}
	go func() {
		defer b.callee.conn.Close() // whatever ended it, the caller should not wait
		b.results <- b.callee.echo()
	}()
	go func() { b.results <- b.exchange() }()
	return b
}

// exchange calls until told to end.
func (b *bystanders) exchange() error {
	for n := uint64(0); !b.ending.Load(); n++ {
		call := b.caller.newMessage(wire.TypeMethodCall, b.callee.name, "Echo", n, "bystander")
		if err := b.caller.send(call); err != nil {
			return fmt.Errorf("bystander: %w", err)
		}
		m, err := b.caller.next()
		if err != nil {
			return fmt.Errorf("bystander, call %d: %w", n, err)
		}
		var number uint64
		var text string
		answered := m.ReplySerial == call.Serial && m.Type == wire.TypeMethodReturn
		if !answered || m.Decode(&number, &text) != nil || number != n || text != "bystander" {
			return fmt.Errorf("bystander, call %d was answered with %s", n, m)
		}
		b.done.Add(1)
	}
	return nil
}

// progress waits until some more calls are answered.
func (b *bystanders) progress() {
	b.t.Helper()
	before := b.done.Load()
	eventually(b.t, "bystanders exchange calls", func() bool { return b.done.Load() >= before+3 || len(b.results) > 0 })
}

// stop ends the exchange and checks that there was nothing wrong with it.
func (b *bystanders) stop() {
	b.t.Helper()
	b.progress()
	b.ending.Store(true)
	if err := <-b.results; err != nil {
		b.t.Error(err)
	}
	b.callee.conn.Close()
	if err := <-b.results; err != nil {
		b.t.Error(err)
	}
	b.caller.close()
}
