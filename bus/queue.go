package bus

import "github.com/kdbus-go/kdbus/meta"

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
	messages []*Message
	head     int // the next message to take
	ledger   ledger
	dropped  uint64 // broadcasts and signals lost for lack of space
	untold   uint64 // the part of dropped that TakeDropped has not returned yet
	woken    bool   // a Wake is due or under way
	closed   bool
}

// how says what becomes of a message that finds no space.
type how uint8

const (
	reported  how = iota // the sender gets an error
	droppable            // it is dropped and counted
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
		q.ledger.add(q.ledger.entry(m.uid), m.size, len(m.FDs))
	} else if err := q.ledger.charge(&dst.limits.Quota, m.uid, m.size, len(m.FDs)); err != nil {
		if how == droppable {
			q.dropped++
			q.untold++
		}
		return err
	}
	m.retain()
	if len(q.messages) == cap(q.messages) && q.head > len(q.messages)/2 { // a message is moved once, on average
		n := copy(q.messages, q.messages[q.head:])
		clear(q.messages[n:])
		q.messages, q.head = q.messages[:n], 0
	}
	q.messages = append(q.messages, m)
	if !q.woken {
		q.woken = true
		c.touched = append(c.touched, dst)
	}
	return nil
}

// Flush wakes the receivers of everything that c sent since the last Flush. Only the goroutine that
// drives c may call it.
func (c *Conn) Flush() {
	for i, dst := range c.touched {
		c.touched[i] = nil
		dst.receiver.Wake()
	}
	c.touched = c.touched[:0]
}

// Dequeue takes the oldest messages out of the queue and appends them to dst, as far as its
// capacity goes. The caller owns them and has to give each back with [Conn.Delivered]. When there
// is nothing it returns dst as it was, and the next message will cause a Wake.
func (c *Conn) Dequeue(dst []*Message) []*Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.queue
	n := min(len(q.messages)-q.head, cap(dst)-len(dst))
	if n == 0 {
		if q.head == len(q.messages) {
			q.woken = false
		}
		return dst
	}
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
	return dst
}

// smallQueue is the capacity that an empty queue may keep.
const smallQueue = 64

// Delivered gives back messages that Dequeue returned: they are off the account of their senders.
func (c *Conn) Delivered(messages []*Message) {
	c.mu.Lock()
	for _, m := range messages {
		c.queue.ledger.release(m.uid, m.size, len(m.FDs))
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
	rest := q.messages[q.head:]
	q.messages, q.head, q.closed = nil, 0, true
	for _, m := range rest {
		q.ledger.release(m.uid, m.size, len(m.FDs))
	}
	c.mu.Unlock()
	for _, m := range rest {
		m.Release()
	}
}

// QueueStats tells how a receive queue is used.
type QueueStats struct {
	Messages int    // waiting to be taken
	Bytes    int    // of messages not yet delivered
	FDs      int    // of messages not yet delivered
	Dropped  uint64 // broadcasts and signals lost so far because the queue was full

	PeakBytes, PeakFDs int // the most that Bytes and FDs have been
}

// TakeDropped returns how many broadcasts and signals were lost for lack of space since it was
// called last. It is for whoever delivers, who tells the peer.
func (c *Conn) TakeDropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.queue.untold
	c.queue.untold = 0
	return n
}

// QueueStats returns the state of the receive queue.
func (c *Conn) QueueStats() QueueStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.queue
	return QueueStats{
		Messages:  len(q.messages) - q.head,
		Bytes:     q.ledger.total,
		FDs:       q.ledger.fds,
		Dropped:   q.dropped,
		PeakBytes: q.ledger.peak,
		PeakFDs:   q.ledger.peakFDs,
	}
}
