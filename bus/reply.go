package bus

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// Calls and their replies. A call that expects a reply is written down with its caller, so that the
// reply is let through, once and only from the one that was called; and in a list of the callee, so
// that the caller is told if the callee leaves. Both are guarded by the respective Conn.mu; who
// holds Bus.mu for writing may touch both, as nobody else can.

// callKey identifies a call among those of one caller.
type callKey struct {
	cookie uint64
	callee ID
}

// call is a call that waits for its reply.
type call struct {
	key            callKey
	caller, callee *Conn
	prev, next     *call // in the callee's list, newest first; guarded by callee.mu
	deadline       time.Time
	heapIndex      int         // in timers, when there is a deadline
	queued         atomic.Bool // the callee has it, and may answer; set with callee.mu held
}

// answerable reports whether the call, if there is one, may be answered. A callee that guesses the
// number of a call could answer before it has it, and that call would end twice.
func (w *call) answerable() bool { return w != nil && w.queued.Load() }

// awaits reports whether c waits for an answer to the call.
func (c *Conn) awaits(key callKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[key].answerable()
}

// call queues m, which expects a reply, at dst.
func (c *Conn) call(dst *Conn, m *Message) error {
	if m.Cookie == 0 {
		return errorf(ErrInvalid, "a call that expects a reply needs a cookie")
	}
	w := &call{key: callKey{m.Cookie, dst.id}, caller: c, callee: dst}
	if timeout := m.Timeout(); timeout > 0 {
		w.deadline = time.Now().Add(timeout)
	}
	if err := c.expect(w); err != nil {
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
		return err
	}
	if !w.deadline.IsZero() {
		c.bus.timers.add(w) // should it be answered already, expire will see that
	}
	return nil
}

// expect writes w down with its caller.
func (c *Conn) expect(w *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) >= c.limits.MaxCalls {
		return errorf(ErrTooManyCalls, "%d calls of connection %s wait for a reply, as many as may (max_replies_per_connection=%d)",
			len(c.calls), c.UniqueName(), c.limits.MaxCalls)
	}
	if c.calls[w.key] != nil {
		return errorf(ErrDuplicateCall, "call %d of connection %s to %s is still waiting for its reply", w.key.cookie, c.UniqueName(), w.key.callee)
	}
	if c.calls == nil {
		c.calls = make(map[callKey]*call)
	}
	c.calls[w.key] = w
	c.manyCalls = c.manyCalls || len(c.calls) > fewCalls
	return nil
}

// reply queues m, an answer, at dst and ends the call that it answers.
func (c *Conn) reply(dst *Conn, m *Message, requested bool) error {
	key := callKey{m.ReplyCookie, c.id}
	if !requested {
		return errorf(ErrUnrequested, "connection %s does not wait for an answer of %s to its call %d", dst.UniqueName(), c.UniqueName(), m.ReplyCookie)
	}
	dst.mu.Lock()
	w := dst.calls[key]
	if !w.answerable() {
		dst.mu.Unlock()
		return errorf(ErrUnrequested, "the call %d of connection %s was given up", m.ReplyCookie, dst.UniqueName())
	}
	err := c.pushLocked(dst, m, reported)
	if err == nil {
		dst.settle(key)
	}
	dst.mu.Unlock()
	if err == nil {
		c.mu.Lock()
		c.disown(w)
		c.mu.Unlock()
		c.bus.timers.remove(w)
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

// abandonCalls ends all calls in which c takes part: those who wait for c are told. Bus.mu is held
// for writing.
func (c *Conn) abandonCalls() {
	for _, w := range c.calls {
		w.callee.disown(w)
		c.bus.timers.remove(w)
	}
	c.calls = nil
	for w := c.owed; w != nil; w = c.owed { // the newest first, as dbus-daemon has it
		c.disown(w)
		c.bus.timers.remove(w)
		w.caller.settle(w.key)
		c.tell(w.caller, w.key.cookie, Notification{Kind: ReplyDead, OldOwner: c.id})
	}
}

// Undeliverable tells whoever waits that m, which Dequeue returned, cannot be given to c's peer: the
// caller, if m is a call, or the peer itself, if it is the answer to one of its calls. It may be
// called by whoever delivers; m still has to be given back by Delivered.
func (c *Conn) Undeliverable(m *Message) {
	b := c.bus
	messenger := &Conn{bus: b, uid: c.uid}
	b.mu.Lock()
	if m.ReplyCookie != 0 && m.Dst == c.id {
		messenger.tell(c, m.ReplyCookie, Notification{Kind: ReplyDead, OldOwner: m.Src})
	} else if caller := b.conns[m.Src]; caller != nil {
		if w := caller.calls[callKey{m.Cookie, c.id}]; w != nil {
			caller.settle(w.key)
			c.disown(w)
			b.timers.remove(w)
			messenger.tell(caller, w.key.cookie, Notification{Kind: ReplyDead, OldOwner: c.id})
		}
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
			b.timers.remove(w)
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

// timers ends calls that are not answered in time. Only calls that were given a timeout come here.
type timers struct {
	bus *Bus

	mu    sync.Mutex
	heap  deadlines
	timer *time.Timer
}

func (t *timers) add(w *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	heap.Push(&t.heap, w)
	if t.heap[0] == w {
		t.arm()
	}
}

func (t *timers) remove(w *call) {
	if w.deadline.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.heapIndex < len(t.heap) && t.heap[w.heapIndex] == w {
		heap.Remove(&t.heap, w.heapIndex)
	}
}

// arm sets the timer to the first deadline. t.mu is held.
func (t *timers) arm() {
	wait := time.Until(t.heap[0].deadline)
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.expire)
	} else {
		t.timer.Reset(wait)
	}
}

// due takes the calls whose time is up off the heap.
func (t *timers) due() (late []*call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for len(t.heap) > 0 && !t.heap[0].deadline.After(now) {
		late = append(late, heap.Pop(&t.heap).(*call))
	}
	if len(t.heap) > 0 {
		t.arm()
	}
	return late
}

// expire tells the callers of calls whose time is up.
func (t *timers) expire() {
	// The clock acts as a connection of its own, which is not on the bus.
	clock := &Conn{bus: t.bus}
	t.bus.mu.Lock()
	for _, w := range t.due() {
		if w.caller.calls[w.key] != w {
			continue // answered meanwhile
		}
		w.caller.settle(w.key)
		w.callee.disown(w)
		clock.uid = w.callee.uid
		clock.tell(w.caller, w.key.cookie, Notification{Kind: ReplyTimeout, OldOwner: w.callee.id})
	}
	t.bus.mu.Unlock()
	clock.Flush()
}

// deadlines is a heap, the earliest first.
type deadlines []*call

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].deadline.Before(d[j].deadline) }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].heapIndex, d[j].heapIndex = i, j
}
func (d *deadlines) Push(x any) {
	w := x.(*call)
	w.heapIndex = len(*d)
	*d = append(*d, w)
}
func (d *deadlines) Pop() any {
	old := *d
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	return w
}
