package bus

// A Quota limits what the receive queue of a connection holds for its senders, counted by the user
// who sent, or by the custom endpoint. That is what keeps a receiver that does not read from costing anybody but its senders.
//
// With Fair the rule is kdbus's: half of Bytes is the owner's, for what it asks the bus, and a user may
// hold a third of what the other users have left of the other half. Users who come first are
// favoured, but there is always something left for the next one. Without it each user may fill the
// queue up to Bytes, and a message is taken as long as that limit has not been reached before it,
// which is what dbus-daemon does.
type Quota struct {
	Bytes    int // payload bytes
	Messages int // messages per user; 0 is no limit
	FDs      int // file descriptors per user, memfds of the payload excepted
	Memfds   int // memfds of the payload per user; 0 means that of DefaultLimits
	Fair     bool
}

// usage is what one user, or one custom endpoint, holds of a queue.
type usage struct {
	payer       Payer
	bytes, msgs int
	fds, memfds uint32
}

// ledger is the account book of one queue: an entry for each payer that has something in it.
type ledger struct {
	total   int // bytes of all users
	peak    int // the most that total has been
	fds     int // of all users
	peakFDs int // the most that fds has been
	users   []usage
}

func (l *ledger) entry(p Payer) *usage {
	for i := range l.users {
		if l.users[i].payer == p {
			return &l.users[i]
		}
	}
	// Not usage{payer: p}: that goes through memory, in pieces that the processor waits for.
	l.users = append(l.users, usage{})
	u := &l.users[len(l.users)-1]
	u.payer = p
	return u
}

// breach is a limit that a message would break, with what its user has of it already.
type breach struct {
	limit       string
	what        string // that is counted
	amount, max int
}

// charge enters a message, or says which limit it would break.
func (l *ledger) charge(q *Quota, m *Message) *breach {
	u := l.entry(m.payer())
	if over := l.check(u, q, m); over != nil {
		l.forget(u)
		return over
	}
	l.add(u, m)
	return nil
}

func (l *ledger) add(u *usage, m *Message) {
	size, fds := m.Size(), len(m.FDs)
	u.bytes += size
	u.msgs++
	u.fds += uint32(fds)
	if m.special {
		u.memfds += uint32(len(m.Extra.Memfds))
	}
	l.fds += fds
	l.peakFDs = max(l.peakFDs, l.fds)
	l.total += size
	l.peak = max(l.peak, l.total)
}

func (l *ledger) check(u *usage, q *Quota, m *Message) *breach {
	size, fds := m.Size(), len(m.FDs)
	if q.Fair {
		half := q.Bytes / 2
		if 3*(l.total+size) > half { // less is within anybody's share
			if over := l.checkFair(u, q, size); over != nil {
				return over
			}
		}
	} else if u.bytes >= q.Bytes {
		return &breach{limitQueueBytes, "bytes", u.bytes, q.Bytes}
	}
	// Answers of the bus are many and small if a peer asks much at a time: their bytes count.
	if q.Messages > 0 && u.msgs >= q.Messages && u.payer != busAccount {
		return &breach{limitMessages, "messages", u.msgs, q.Messages}
	}
	if fds > 0 && int(u.fds)+fds > q.FDs {
		return &breach{limitQueueFDs, "file descriptors", int(u.fds), q.FDs}
	}
	if m.special && len(m.Extra.Memfds) > 0 {
		return u.checkMemfds(q, len(m.Extra.Memfds))
	}
	return nil
}

// checkFair checks the rule of Fair. Half of the queue is what senders have, and half what the owner
// has, for the bus's answers to it.
func (l *ledger) checkFair(u *usage, q *Quota, size int) *breach {
	half := q.Bytes / 2
	if u.payer == busAccount {
		if u.bytes+size > half {
			return &breach{limitPool, "bytes", u.bytes, half}
		}
		return nil
	}
	free := half - l.total
	for i := range l.users {
		if l.users[i].payer == busAccount {
			free += l.users[i].bytes
		}
	}
	if free < 0 || (free+u.bytes)/3-u.bytes < size {
		return &breach{limitPool, "bytes", u.bytes, l.limit(u, q)}
	}
	return nil
}

func (u *usage) checkMemfds(q *Quota, memfds int) *breach {
	limit := q.Memfds
	if limit == 0 {
		limit = DefaultLimits.Quota.Memfds
	}
	if int(u.memfds)+memfds > limit {
		return &breach{limitMemfds, "memfds", int(u.memfds), limit}
	}
	return nil
}

// limit returns how many bytes a user may hold, as check sees it.
func (l *ledger) limit(u *usage, q *Quota) int {
	if !q.Fair {
		return q.Bytes
	}
	free := q.Bytes/2 - l.total + u.bytes
	for i := range l.users {
		if l.users[i].payer == busAccount {
			free += l.users[i].bytes
		}
	}
	return max(free/3, 0)
}

// release takes a message off the books.
func (l *ledger) release(m *Message) {
	size, fds := m.Size(), len(m.FDs)
	u := l.entry(m.payer())
	if m.special {
		u.memfds -= uint32(len(m.Extra.Memfds))
	}
	u.bytes -= size
	u.msgs--
	u.fds -= uint32(fds)
	l.fds -= fds
	l.total -= size
	l.forget(u)
}

// forget drops an entry that holds nothing.
func (l *ledger) forget(u *usage) {
	if u.msgs == 0 {
		last := len(l.users) - 1
		if end := &l.users[last]; u != end {
			*u = *end
		}
		l.users = l.users[:last]
	}
}
