package bus

import (
	"fmt"
	"time"

	"github.com/kdbus-go/kdbus/meta"
)

// What is said when something is full: the limit, whose it is, how much there is, and who filled it.

// errDropped stands for the reason why a message was dropped that nobody is told of.
var errDropped = errorf(ErrQueueFull, "the receiver's queue is full")

// full notes that m finds no space in the queue of c, and returns what its sender is told. c.mu is held.
func (c *Conn) full(m *Message, over *breach, how how) error {
	who := c.Account() // who asked for what the bus says
	if m.uid != busUID {
		who = c.bus.nameOf(m.payer())
	}
	said := ""
	text := func() string {
		if said == "" {
			said = c.queue.describeFull(c, m, over)
		}
		return said
	}
	c.bus.excesses.Note(Excess{Limit: over.limit, Amount: int64(over.amount), Max: int64(over.max), UID: who.UID, Endpoint: who.Endpoint, Conn: c.id}, text)
	if how != reported {
		return errDropped
	}
	errno := ErrQueueFull
	if over.limit == limitQueueFDs || over.limit == limitMemfds {
		errno = ErrTooManyFDs
	}
	return &Error{Errno: errno, Detail: text()}
}

func (q *queue) describeFull(c *Conn, m *Message, over *breach) string {
	if m.uid == busUID {
		return fmt.Sprintf("answers of the bus that connection %s of user %d does not read are %d %s (%s=%d)",
			c.UniqueName(), c.uid, over.amount, over.what, over.limit, over.max)
	}
	text := fmt.Sprintf("%s already has %d %s in the queue of connection %s of user %d (%s=%d)",
		c.bus.nameOf(m.payer()), over.amount, over.what, c.UniqueName(), c.uid, over.limit, over.max)
	var senders sample
	n := q.len()
	for i, step := 0, max(n/sampleSize, 1); i < n; i += step {
		if waiting := q.at(i); waiting.payer() == m.payer() {
			senders.add(waiting.Src, waiting.Size())
		}
	}
	if most, ok := senders.most(); ok {
		text += ", most of it sent by " + most.String()
	}
	return text
}

// len returns how many messages there are, those of an activator that are held for others among them.
func (q *queue) len() int { return len(q.messages) - q.head + len(q.held) + q.ranked.len() }

// at returns one of them, by its number, which says nothing about when it is its turn.
func (q *queue) at(i int) *Message {
	ordinary := q.messages[q.head:]
	if i < len(ordinary) {
		return ordinary[i]
	}
	if i -= len(ordinary); i < len(q.held) {
		return q.held[i]
	}
	return q.ranked.heap[i-len(q.held)].Message
}

// tooManyCalls notes that c has as many calls waiting as it may, and returns what it is told. c.mu is held.
func (c *Conn) tooManyCalls(limit int) error {
	text := func() string {
		var callees sample
		looked := 0
		for key := range c.calls {
			callees.add(key.callee, 1)
			if looked++; looked == sampleSize {
				break
			}
		}
		text := fmt.Sprintf("%d calls of connection %s of user %d wait for a reply, as many as may (%s=%d)",
			len(c.calls), c.UniqueName(), c.uid, limitCalls, limit)
		if most, ok := callees.most(); ok {
			text += ", most of them for " + most.String()
		}
		return text
	}
	who := c.Account()
	c.bus.excesses.Note(Excess{Limit: limitCalls, Amount: int64(len(c.calls)), Max: int64(limit), UID: who.UID, Endpoint: who.Endpoint, Conn: c.id}, text)
	return &Error{Errno: ErrTooManyCalls, Detail: text()}
}

// unanswered notes that a call has ended since its callee took too long.
func (b *Bus) unanswered(w *call, limit time.Duration) {
	caller, callee := w.caller, w.callee
	who := callee.Account()
	e := Excess{Limit: limitReplyTime, Amount: limit.Milliseconds(), Max: limit.Milliseconds(), UID: who.UID, Endpoint: who.Endpoint, Conn: callee.id}
	b.excesses.Note(e, func() string {
		return fmt.Sprintf("connection %s of user %d has not answered call %d of connection %s of user %d in time (%s=%v)",
			callee.UniqueName(), callee.uid, w.key.cookie, caller.UniqueName(), caller.uid, limitReplyTime, limit)
	})
}

// tooManyConns notes that there are as many connections on an account as may be, n, and returns what the next one is told.
func (b *Bus) tooManyConns(a Account, n, limit int) error {
	text := fmt.Sprintf("%s has %d connections, as many as it may (%s=%d)", a, n, limitUserConns, limit)
	b.excesses.Note(Excess{Limit: limitUserConns, Amount: int64(n), Max: int64(limit), UID: a.UID, Endpoint: a.Endpoint}, func() string {
		if pid, many := b.mostConnsOf(a); many > 0 {
			return text + fmt.Sprintf(", %d of them of process %d", many, pid)
		}
		return text
	})
	return &Error{Errno: ErrTooManyConns, Detail: text}
}

// mostConnsOf returns which process has the most connections on an account, and how many.
func (b *Bus) mostConnsOf(a Account) (pid uint32, many int) {
	counts := make(map[uint32]int)
	for _, c := range b.Conns() {
		if peer, ok := c.peer.(interface{ Creds() meta.Creds }); ok && c.Account() == a {
			of := peer.Creds().PID
			if counts[of]++; counts[of] > many {
				pid, many = of, counts[of]
			}
		}
	}
	return pid, many
}

// sampleSize is how many of many things are looked at to tell whose most of them are.
const sampleSize = 32

// sample adds up what connections have of something.
type sample map[ID]int

func (s *sample) add(id ID, n int) {
	if *s == nil {
		*s = make(sample)
	}
	(*s)[id] += n
}

// most returns the connection that has at least half; there may be none.
func (s sample) most() (most ID, ok bool) {
	all := 0
	for _, n := range s {
		all += n
	}
	for id, n := range s {
		if 2*n >= all && (!ok || s[most] < n) {
			most, ok = id, true
		}
	}
	return most, ok
}
