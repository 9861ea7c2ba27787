package bus

import (
	"sync"
	"sync/atomic"
)

// Calls and their replies. A call that expects a reply is written down with its caller, so that the
// reply is let through, once and only from the one that was called; and in a list of the callee, so
// that the caller is told if the callee leaves. Both are guarded by the respective Conn.mu; who
// holds Bus.mu for writing may touch both, as nobody else can. What ends calls that are not answered
// in time is in deadline.go.

// callKey identifies a call among those of one caller.
type callKey struct {
	cookie uint64
	callee ID
}

// call is a call that waits for its reply.
type call struct {
	key            callKey
	caller, callee *Conn
	prev, next     *call       // in the callee's list, newest first; guarded by callee.mu
	deadline       uint64      // as Message.Deadline has it, 0 for never
	queued         atomic.Bool // the callee has it, and may answer; set with callee.mu held
}

// answerable reports whether the call, if there is one, may be answered. A callee that guesses the
// number of a call could answer before it has it, and that call would end twice.
func (w *call) answerable() bool { return w != nil && w.queued.Load() }

// awaited returns the call, if c waits for an answer to it. It stays what it is as long as Bus.mu is
// held, in any mode: nobody else than the callee, who asks, can end it then.
func (c *Conn) awaited(key callKey) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.calls[key]; w.answerable() {
		return w
	}
	return nil
}

// answeredCalls are used again. Those that end otherwise are not: they are few.
var answeredCalls = sync.Pool{New: func() any { return new(call) }}

// call queues m, which expects a reply, at dst.
func (c *Conn) call(dst *Conn, m *Message) error {
	if m.Cookie == 0 {
		return errorf(ErrInvalid, "a call that expects a reply needs a cookie")
	}
	w := answeredCalls.Get().(*call)
	w.key, w.caller, w.callee, w.deadline = callKey{m.Cookie, dst.id}, c, dst, m.Deadline()
	if err := c.expect(w, m.Extra != nil && m.Extra.Sync); err != nil {
		return err
	}
	// The caller knew of the call before dst has it, since dst may answer at once.
	dst.mu.Lock()
	err := c.pushLocked(dst, m, reported)
	if err == nil {
		dst.owe(w)
		w.queued.Store(true)
	}
	dst.mu.Unlock()
	if err != nil {
		c.mu.Lock()
		delete(c.calls, w.key)
		c.mu.Unlock()
	}
	return err
}

// expect writes w down with its caller. If the caller does nothing but wait (sync), the deadline must
// not have passed.
func (c *Conn) expect(w *call, sync bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	limits := c.limits.load()
	if len(c.calls) >= limits.MaxCalls {
		return c.tooManyCalls(limits.MaxCalls)
	}
	if c.calls[w.key] != nil {
		return errorf(ErrDuplicateCall, "call %d of connection %s to %s is still waiting for its reply", w.key.cookie, c.UniqueName(), w.key.callee)
	}
	if limits.CallTimeout != 0 {
		w.deadline = c.sooner(w.deadline, limits.CallTimeout)
	}
	if w.deadline != 0 && !c.expiry.covers(w.deadline) && c.watch(w.deadline, sync) {
		return errorf(ErrTimedOut, "the deadline of call %d of connection %s passed before it was sent", w.key.cookie, c.UniqueName())
	}
	if c.calls == nil {
		c.calls = make(map[callKey]*call)
	}
	c.calls[w.key] = w
	c.manyCalls = c.manyCalls || len(c.calls) > fewCalls
	return nil
}

// reply queues m, an answer, at dst and ends the call w that it answers; nil if there is none.
func (c *Conn) reply(dst *Conn, m *Message, w *call) error {
	if w == nil {
		return errorf(ErrUnrequested, "connection %s does not wait for an answer of %s to its call %d", dst.UniqueName(), c.UniqueName(), m.ReplyCookie)
	}
	dst.mu.Lock()
	err := c.pushLocked(dst, m, reported)
	if err == nil {
		dst.settle(w.key)
	}
	dst.mu.Unlock()
	if err == nil {
		c.mu.Lock()
		c.disown(w)
		c.mu.Unlock()
		w.caller, w.callee = nil, nil
		w.queued.Store(false)
		answeredCalls.Put(w)
	}
	return err
}

// fewCalls is how many calls a connection may have had at a time for its book to be kept when it is
// empty.
const fewCalls = 64

// settle crosses a call off the caller's book. c.mu is held.
func (c *Conn) settle(key callKey) {
	if delete(c.calls, key); len(c.calls) == 0 && c.manyCalls {
		c.calls, c.manyCalls = nil, false
	}
}

// owe enters w in the callee's list. c.mu is held.
func (c *Conn) owe(w *call) {
	if w.next = c.owed; w.next != nil {
		w.next.prev = w
	}
	c.owed = w
}

// disown takes w off the callee's list. c.mu is held.
func (c *Conn) disown(w *call) {
	if w.prev != nil {
		w.prev.next = w.next
	} else if c.owed == w {
		c.owed = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}

// abandonCalls ends all calls in which c takes part: those who wait for c are told. by is whose doing it is. Bus.mu
// is held for writing.
func (c *Conn) abandonCalls(by *Conn) {
	for _, w := range c.calls {
		w.callee.disown(w)
	}
	c.calls = nil
	c.expiry.stop()
	for w := c.owed; w != nil; w = c.owed { // the newest first, as dbus-daemon has it
		c.disown(w)
		w.caller.settle(w.key)
		by.tell(w.caller, w.key.cookie, Notification{Kind: ReplyDead, OldOwner: c.id})
	}
}

// Undeliverable tells whoever waits that m, which Dequeue returned, cannot be given to c's peer: the
// caller, if m is a call, or the peer itself, if it is the answer to one of its calls. Of others the
// peer is told by its count of dropped messages. It may be called by whoever delivers; m still has to
// be given back by Delivered.
func (c *Conn) Undeliverable(m *Message) {
	b := c.bus
	messenger := &Conn{bus: b, charged: c.charged, door: c.door}
	b.mu.Lock()
	if m.ReplyCookie != 0 && m.Dst == c.id {
		messenger.tell(c, m.ReplyCookie, Notification{Kind: ReplyDead, OldOwner: m.Src})
	} else if w := b.callOf(m, c); w != nil {
		w.caller.settle(w.key)
		c.disown(w)
		messenger.tell(w.caller, w.key.cookie, Notification{Kind: ReplyDead, OldOwner: c.id})
	} else {
		messenger.drop(c)
	}
	b.mu.Unlock()
	messenger.Flush()
}

// CancelCall gives up the call of c with this cookie, and reports whether there was one. An answer that
// comes later is refused.
func (c *Conn) CancelCall(cookie uint64) bool {
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	cancelled := false
	for key, w := range c.calls {
		if key.cookie == cookie {
			c.settle(key)
			w.callee.disown(w)
			cancelled = true
		}
	}
	return cancelled
}

// PendingCalls returns how many calls of c wait for a reply.
func (c *Conn) PendingCalls() int {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}
