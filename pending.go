package kdbus

import (
	"context"
	"sync"
	"time"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// This file is about calls that wait for their answers.

// pendingCall waits for the answer to a call.
type pendingCall struct {
	answer chan *Message // of one; nil if the connection failed
	dest   string
	hook   func(*Message)
}

var pendingCalls = sync.Pool{New: func() any { return &pendingCall{answer: make(chan *Message, 1)} }}

// answered hands an answer to the call that waits for it, if any still does.
func (c *Conn) answered(m *Message) {
	c.mu.Lock()
	p := c.pending[m.header.ReplySerial]
	if p == nil || !mayAnswer(m.header.Sender, p.dest) {
		c.mu.Unlock()
		m.discard()
		return
	}
	delete(c.pending, m.header.ReplySerial)
	c.madeRoom()
	c.mu.Unlock()
	if p.hook != nil {
		p.hook(m)
	}
	p.answer <- m
}

// mayAnswer reports whether a call to dest can be answered by sender. Some buses let through
// answers that nobody asked for; who owns a well-known name is theirs to know.
func mayAnswer(sender, dest string) bool {
	return sender == dest || sender == busName || sender == "" || dest != busName && !wire.IsUniqueName(dest)
}

// send sends m, which needs no answer, and releases it.
func (c *Conn) send(ctx context.Context, m *outgoing) error {
	defer m.release()
	m.header.Serial = c.nextSerial()
	if err := m.check(); err != nil {
		return err
	}
	return c.transport.send(ctx, m)
}

// call sends the call m, releases it, and waits for the answer. An error message is returned as
// an *Error. The hook, if there is one, is called with the answer before that, by the goroutine
// that receives: nothing that came later has been looked at then.
func (c *Conn) call(ctx context.Context, m *outgoing, hook func(*Message)) (*Message, error) {
	noAutoStart := m.header.Flags&NoAutoStart != 0
	reply, err := c.callOnce(ctx, m, hook)
	if err != nil && noAutoStart {
		err = notStarted(err)
	}
	return reply, err
}

func (c *Conn) callOnce(ctx context.Context, m *outgoing, hook func(*Message)) (*Message, error) {
	serial := c.nextSerial()
	m.header.Serial = serial
	err := m.check()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		m.release()
		return nil, err
	}
	m.deadline, _ = ctx.Deadline()
	p := pendingCalls.Get().(*pendingCall)
	p.dest, p.hook = m.header.Destination, hook
	c.mu.Lock()
	for len(c.pending) >= maxPending && c.err == nil && err == nil {
		err = c.waitForRoom(ctx)
	}
	if err == nil {
		err = c.err
	}
	if err == nil {
		c.pending[serial] = p
	}
	alone := len(c.pending) == 1
	c.mu.Unlock()
	if err != nil {
		m.release()
		return nil, err
	}
	// Of several callers none waits in the kernel: what the others have to do comes first.
	begin := time.Now()
	inKernel := alone && c.pace.inKernel() && c.exchange(m)
	if !inKernel {
		err = c.transport.send(ctx, m)
	}
	m.release()
	if err != nil {
		c.forget(serial, p)
		return nil, err
	}
	reply, err := c.wait(ctx, serial, p)
	if alone && err == nil {
		c.pace.took(inKernel, time.Since(begin))
	}
	return reply, err
}

// maxPending is how many calls of a connection may be under way; others wait. Buses refuse more:
// kdbus by its quota, and dbus-daemon has the same limit unless it is configured otherwise.
const maxPending = abi.ConnMaxRequestsPending

// waitForRoom waits until fewer calls are under way. It is called with the lock, which it gives up
// meanwhile.
func (c *Conn) waitForRoom(ctx context.Context) error {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	room := c.room
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// madeRoom wakes those who wait for room. The lock is held.
func (c *Conn) madeRoom() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// wait waits for the answer to a call that was sent.
func (c *Conn) wait(ctx context.Context, serial uint32, p *pendingCall) (*Message, error) {
	var reply *Message
	if done := ctx.Done(); done == nil {
		reply = <-p.answer
	} else {
		select {
		case reply = <-p.answer:
		case <-done:
			c.forget(serial, p)
			return nil, ctx.Err()
		}
	}
	*p = pendingCall{answer: p.answer}
	pendingCalls.Put(p)
	if reply == nil {
		return nil, c.Err()
	}
	if reply.header.Type == wire.TypeError {
		err := errorOf(reply)
		reply.discard()
		return nil, err
	}
	return reply, nil
}

// forget ends the wait for an answer. One that comes later is thrown away.
func (c *Conn) forget(serial uint32, p *pendingCall) {
	c.mu.Lock()
	_, waiting := c.pending[serial]
	delete(c.pending, serial)
	c.madeRoom()
	c.mu.Unlock()
	if waiting {
		c.registry.cancelCall(serial)
	} else {
		if late := <-p.answer; late != nil {
			late.discard()
		}
	}
	*p = pendingCall{answer: p.answer}
	pendingCalls.Put(p)
}

func (c *Conn) nextSerial() uint32 {
	for {
		if n := c.serial.Add(1); n != 0 {
			return n
		}
	}
}
