package kdbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/kdbus-go/kdbus/wire"
)

// This file is how messages are received, and by whom: by a goroutine of the connection that the
// runtime wakes, or by a caller that waits for its answer in the kernel. Whose turn it is (turn.go)
// routes what comes.

// read is the goroutine that receives what no caller does.
func (c *Conn) read() {
	var lost error
	err := c.transport.await(func() bool {
		if !c.turn.takeOrKnock() {
			return false
		}
		lost = c.receive(0)
		return lost != nil
	})
	if lost == nil {
		lost = err
	}
	c.fail(explainLoss(lost))
	if c.turn.takeOrKnock() {
		_ = c.receive(0) // it drops what belongs to no message; so does who has the turn
	}
	c.cancel()
	c.names.end()
	c.subs.end(c.Err())
	c.handlers.stop()
	close(c.ended)
}

// receive routes all that is there, after waiting for some patience, and ends the turn, which its
// caller has. After an error it is nobody's any more.
func (c *Conn) receive(patience time.Duration) error {
	for {
		m, err := c.transport.receive(patience)
		switch {
		case err != nil:
			c.transport.drop()
			return err
		case m != nil:
			c.route(m)
			patience = 0
		case c.turn.end():
			return nil
		default:
			patience = 0
		}
	}
}

// patience is how long a caller waits for its answer in the kernel before it leaves receiving to
// the goroutine that is there for it. An answer that comes sooner saves two changes of goroutines.
// It is short, as the caller does not look at its context meanwhile, and keeps a processor from
// other goroutines until Go's scheduler notices; but not shorter than a tick of the kernel, as
// then the timer of the processor would have to be set, which costs more than is saved.
const patience = 5 * time.Millisecond

// exchange sends a call and waits a little for what comes, which may be the answer. It does
// nothing if there is too little time for that, if somebody else receives, or if there is no room
// to send: who waits for that must not have the turn.
func (c *Conn) exchange(m *outgoing) (sent bool) {
	if len(m.fds) > 0 || !m.deadline.IsZero() && time.Until(m.deadline) < patience {
		return false
	}
	if !c.turn.take() {
		return false
	}
	c.transport.expect()
	wait := patience
	if err := c.transport.send(ended, m); err != nil {
		wait = 0
	}
	if err := c.receive(wait); err != nil {
		c.fail(explainLoss(err))
	}
	return wait > 0
}

// ended is a context that has ended: it lets nobody wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func explainLoss(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
		return fmt.Errorf("%w: the bus hung up", ErrDisconnected)
	default:
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
}

// route hands a message to whom it is for. It runs on the goroutine that receives, whichever that
// is, and never waits.
func (c *Conn) route(m *Message) {
	if c.monitored(m) {
		return
	}
	switch m.header.Type {
	case wire.TypeMethodReturn, wire.TypeError:
		c.answered(m)
	case wire.TypeMethodCall:
		c.handlers.add(m)
	case wire.TypeSignal:
		if m.header.Sender == busName && m.header.Interface == busName {
			c.names.signal(m)
			c.subs.ownerChanged(m)
		}
		c.subs.deliver(m)
	default:
		m.discard() // the specification has receivers ignore such
	}
}
