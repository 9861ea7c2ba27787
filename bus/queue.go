package bus

import (
	"sync/atomic"

	"github.com/kdbus-go/kdbus/meta"
)

// A Receiver is the front-end's end of a connection. The core calls Wake when the queue of the
// connection has become non-empty, and not again until [Conn.Dequeue] has returned nothing: whoever
// was woken is the only one who takes messages out, until then. Wake is called without locks by the
// goroutine of some sender; it must not block. It should move the messages on by itself as far as
// that goes without waiting, and leave the rest to a goroutine of its own.
type Receiver interface {
	Wake()
	// Wanted says which process kinds of metadata somebody on the bus may want of the messages
	// that the connection's peer sends from now on: with none, what proves who sent a message need
	// not be asked for. It is called when that changes, by the goroutine of whoever changed it,
	// for one connection at a time; and by [Conn.Hello] if there are any. Before the first call
	// nobody wants anything. It must not block and not call back into the bus.
	Wanted(kinds meta.Kinds)
}

// queue is the receive queue of a connection. Conn.mu guards it.
type queue struct {
	woken    bool // a Wake is due or under way
	closed   bool
	noted    bool          // there was a MessagesDropped for all of untold
	news     bool          // something was held since the last MessagesHeld
	untold   atomic.Uint64 // the part of dropped that TakeDropped has not returned yet; read without the lock
	messages []*Message    // of priority 0
	head     int           // the next of them to take
	ranked   *ranked       // those of other priorities; nil if there are none
	ledger   ledger
	held     []*Message // for whoever takes the name over, at an activator
	dropped  uint64     // broadcasts and signals lost for lack of space
}

// how says what becomes of a message that finds no space.
type how uint8

const (
	reported  how = iota // the sender gets an error
	droppable            // it is dropped and counted
	copied               // as droppable; the queue's reference has been counted before
	forced               // it is queued all the same
)

// push puts m into the queue of dst. c is the acting connection, whose Flush will wake dst.
func (c *Conn) push(dst *Conn, m *Message, how how) error {
	dst.mu.Lock()
	err := c.pushLocked(dst, m, how)
	dst.mu.Unlock()
	return err
}

// pushLocked is push for callers that hold dst.mu.
func (c *Conn) pushLocked(dst *Conn, m *Message, how how) error {
	q := &dst.queue
	if q.closed {
		return errorf(ErrNoSuchConn, "connection :1.%d has left", dst.id)
	}
	if how == forced {
		q.ledger.add(q.ledger.entry(m.payer()), m)
	} else if m.special && dst.service != nil {
		if err := dst.admit(m); err != nil {
			return err
		}
	} else if over := q.ledger.charge(&dst.limits.load().Quota, m); over != nil {
		err := dst.full(m, over, how)
		if how != reported {
			c.dropLocked(dst)
		}
		return err
	}
	if how != copied {
		m.retain(1)
	}
	if m.special {
		q.addSpecial(m, dst.flags&FlagActivator != 0)
	} else {
		q.append(m)
	}
	c.touch(dst)
	return nil
}

// addSpecial puts m, which is special, where it belongs.
func (q *queue) addSpecial(m *Message, activator bool) {
	switch {
	case activator && m.Extra.via != nil:
		q.held = append(q.held, m)
		q.news = true
	case m.Extra.Priority != 0:
		if q.ranked == nil {
			q.ranked = new(ranked)
		}
		q.ranked.push(m)
	default:
		q.append(m)
	}
}

// append adds m to those of priority 0.
func (q *queue) append(m *Message) {
	if len(q.messages) == cap(q.messages) {
		q.compact()
	}
	q.messages = append(q.messages, m)
}

// compact makes space where messages have been taken, if it is so much that a message is moved
// once, on average.
func (q *queue) compact() {
	if q.head > len(q.messages)/2 {
		n := copy(q.messages, q.messages[q.head:])
		clear(q.messages[n:])
		q.messages, q.head = q.messages[:n], 0
	}
}

// touch has dst woken by c's next Flush, unless it is awake. dst.mu is held.
func (c *Conn) touch(dst *Conn) {
	if !dst.queue.woken {
		dst.queue.woken = true
		c.touched = append(c.touched, dst)
	}
}

// drop counts a message that dst does not get.
func (c *Conn) drop(dst *Conn) {
	dst.mu.Lock()
	defer dst.mu.Unlock()
	c.dropLocked(dst)
}

// dropLocked is drop for callers that hold dst.mu.
func (c *Conn) dropLocked(dst *Conn) {
	dst.queue.dropped++
	dst.queue.untold.Add(1)
	dst.queue.noted = false
	if dst.tellDropped {
		c.touch(dst)
	}
}

// Touched returns how many receivers the next Flush is going to wake. It is for the goroutine that drives c.
func (c *Conn) Touched() int { return len(c.touched) }

// Flush wakes the receivers of everything that c sent since the last Flush. Only the goroutine that
// drives c may call it.
func (c *Conn) Flush() {
	if c.refusals != nil {
		c.tellRefused()
	}
	for i, dst := range c.touched {
		c.touched[i] = nil
		dst.receiver.Wake()
	}
	c.touched = c.touched[:0]
}

// Dequeue takes messages out of the queue, those with the lowest priority number first and the
// oldest among them first, and appends them to dst, as far as its capacity goes. The caller owns
// them and has to give each back with [Conn.Delivered]. When there is nothing it returns dst as it
// was, and the next message will cause a Wake.
//
// Behind the last message there may be one more, a notification that is made here: that messages
// were dropped, if ConnConfig asks for it; or, for an activator, that messages are held, which
// Dequeue does not give out.
func (c *Conn) Dequeue(dst []*Message) []*Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.queue
	before := len(dst)
	if q.ranked != nil {
		dst = q.takeRanked(dst, true)
	}
	if n := min(len(q.messages)-q.head, cap(dst)-len(dst)); n > 0 {
		taken := q.messages[q.head : q.head+n]
		dst = append(dst, taken...)
		clear(taken)
		if q.head += n; q.head == len(q.messages) {
			q.head = 0
			q.messages = q.messages[:0]
			if cap(q.messages) > smallQueue {
				q.messages = nil
			}
		}
	}
	if q.ranked != nil {
		dst = q.takeRanked(dst, q.head < len(q.messages))
	}
	if len(dst) == before && q.head == len(q.messages) && q.ranked == nil {
		switch {
		case len(dst) == cap(dst):
		case c.tellDropped && q.untold.Load() > 0 && !q.noted:
			q.noted = true
			return append(dst, c.note(Notification{Kind: MessagesDropped}))
		case q.news:
			q.news = false
			return append(dst, c.note(Notification{Kind: MessagesHeld, Name: c.activates}))
		default:
			q.woken = false
		}
	}
	return dst
}

// note makes a notification for c that is delivered at once. c.mu is held.
func (c *Conn) note(n Notification) *Message {
	m := c.notify(c.id, 0, n)
	m.uid, m.door = busUID, 0
	m.account()
	ledger := &c.queue.ledger
	ledger.add(ledger.entry(busAccount), m)
	return m
}

// takeRanked appends messages of other priorities than 0 to dst, as far as its capacity goes; with
// urgent, only those that go before.
func (q *queue) takeRanked(dst []*Message, urgent bool) []*Message {
	for len(dst) < cap(dst) && q.ranked.len() > 0 && (!urgent || q.ranked.before(0)) {
		dst = append(dst, q.ranked.pop())
	}
	if q.ranked.len() == 0 {
		q.ranked = nil
	}
	return dst
}

// smallQueue is the capacity that an empty queue may keep.
const smallQueue = 64

// Delivered gives back messages that Dequeue returned: they are off the account of their senders.
func (c *Conn) Delivered(messages []*Message) {
	c.mu.Lock()
	for _, m := range messages {
		c.queue.ledger.release(m)
	}
	c.mu.Unlock()
	for i, m := range messages {
		messages[i] = nil
		m.Release()
	}
}

// shut empties the queue for good.
func (c *Conn) shut() {
	c.mu.Lock()
	q := &c.queue
	rest := append(q.messages[q.head:], q.held...)
	for q.ranked.len() > 0 {
		rest = append(rest, q.ranked.pop())
	}
	q.messages, q.head, q.ranked, q.held, q.closed = nil, 0, nil, nil, true
	for _, m := range rest {
		q.ledger.release(m)
		c.discharge(m)
	}
	c.mu.Unlock()
	for _, m := range rest {
		m.Release()
	}
}

// QueueStats tells how a receive queue is used.
type QueueStats struct {
	Messages int    // waiting to be taken
	Held     int    // waiting, at an activator, for whoever takes its name over
	Bytes    int    // of messages not yet delivered
	FDs      int    // of messages not yet delivered
	Dropped  uint64 // broadcasts and signals lost so far because the queue was full

	PeakBytes, PeakFDs int // the most that Bytes and FDs have been
}

// HasDropped reports whether TakeDropped has something to return.
func (c *Conn) HasDropped() bool { return c.queue.untold.Load() > 0 }

// TakeDropped returns how many broadcasts and signals were lost, for lack of space in the queue,
// since it was called last. It is for whoever delivers, who tells the peer with the next message.
func (c *Conn) TakeDropped() uint64 {
	if !c.HasDropped() { // asked with every message
		return 0
	}
	return c.queue.untold.Swap(0)
}

// QueueStats returns the state of the receive queue.
func (c *Conn) QueueStats() QueueStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.queue
	return QueueStats{
		Messages:  len(q.messages) - q.head + q.ranked.len(),
		Held:      len(q.held),
		Bytes:     q.ledger.total,
		FDs:       q.ledger.fds,
		Dropped:   q.dropped,
		PeakBytes: q.ledger.peak,
		PeakFDs:   q.ledger.peakFDs,
	}
}
