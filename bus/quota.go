package bus

// A Quota limits what the receive queue of a connection holds for its senders, counted by the user
// who sent. That is what keeps a receiver that does not read from costing anybody but its senders.
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

// usage is what one user holds of a queue.
type usage struct {
	uid              uint32
	memfds           uint32
	bytes, msgs, fds int
}

// ledger is the account book of one queue: an entry for each user that has something in it.
type ledger struct {
	total   int // bytes of all users
	peak    int // the most that total has been
	fds     int // of all users
	peakFDs int // the most that fds has been
	users   []usage
}

func (l *ledger) entry(uid uint32) *usage {
	for i := range l.users {
		if l.users[i].uid == uid {
			return &l.users[i]
		}
	}
	// Not usage{uid: uid}: that goes through memory, in pieces that the processor waits for.
	l.users = append(l.users, usage{})
	u := &l.users[len(l.users)-1]
	u.uid = uid
	return u
}

// charge enters a message, or says which limit it would break.
func (l *ledger) charge(q *Quota, m *Message) error {
	u := l.entry(m.uid)
	if err := l.check(u, q, m); err != nil {
		l.forget(u)
		return err
	}
	l.add(u, m)
	return nil
}

func (l *ledger) add(u *usage, m *Message) {
	size, fds := m.Size(), len(m.FDs)
	u.bytes += size
	u.msgs++
	u.fds += fds
	if m.special {
		u.memfds += uint32(len(m.Extra.Memfds))
	}
	l.fds += fds
	l.peakFDs = max(l.peakFDs, l.fds)
	l.total += size
	l.peak = max(l.peak, l.total)
}

func (l *ledger) check(u *usage, q *Quota, m *Message) error {
	size, fds := m.Size(), len(m.FDs)
	if q.Fair {
		half := q.Bytes / 2
		if 3*(l.total+size) > half { // less is within anybody's share
			if err := l.checkFair(u, half, size); err != nil {
				return err
			}
		}
	} else if u.bytes >= q.Bytes {
		return errorf(ErrQueueFull, "user %d already has %d bytes in the receiver's queue (limit %d)", u.uid, u.bytes, q.Bytes)
	}
	// Answers of the bus are many and small if a peer asks much at a time: their bytes count.
	if q.Messages > 0 && u.msgs >= q.Messages && u.uid != busUID {
		return errorf(ErrQueueFull, "user %d already has %d messages in the receiver's queue (limit %d)", u.uid, u.msgs, q.Messages)
	}
	if fds > 0 && u.fds+fds > q.FDs {
		return errorf(ErrTooManyFDs, "user %d already has %d file descriptors in the receiver's queue (limit %d)", u.uid, u.fds, q.FDs)
	}
	if m.special && len(m.Extra.Memfds) > 0 {
		return u.checkMemfds(q, len(m.Extra.Memfds))
	}
	return nil
}

// checkFair checks the rule of Fair. half is what senders have, and what the owner has, for the bus's
// answers to it.
func (l *ledger) checkFair(u *usage, half, size int) error {
	if u.uid == busUID {
		if u.bytes+size > half {
			return errorf(ErrQueueFull, "answers of the bus of %d bytes already wait in the queue", u.bytes)
		}
		return nil
	}
	free := half - l.total
	for i := range l.users {
		if l.users[i].uid == busUID {
			free += l.users[i].bytes
		}
	}
	if free < 0 || (free+u.bytes)/3-u.bytes < size {
		return errorf(ErrQueueFull, "user %d already has %d bytes in the receiver's queue, a third of what other users have left there", u.uid, u.bytes)
	}
	return nil
}

func (u *usage) checkMemfds(q *Quota, memfds int) error {
	limit := q.Memfds
	if limit == 0 {
		limit = DefaultLimits.Quota.Memfds
	}
	if int(u.memfds)+memfds > limit {
		return errorf(ErrTooManyFDs, "user %d already has %d memfds in the receiver's queue (limit %d)", u.uid, u.memfds, limit)
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
		if l.users[i].uid == busUID {
			free += l.users[i].bytes
		}
	}
	return max(free/3, 0)
}

// A QueueShare is what one user holds of a receive queue, by the messages that it sent.
type QueueShare struct {
	UID                          uint32
	Messages, Bytes, FDs, Memfds int
	MaxBytes                     int // what it may hold: with [Quota.Fair], as things are now
}

// QueueShares returns what users hold of the receive queue, in no order. The bus's own answers to the
// peer are no user's.
func (c *Conn) QueueShares() []QueueShare {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.queue.ledger
	shares := make([]QueueShare, 0, len(l.users))
	for i := range l.users {
		u := &l.users[i]
		if u.uid != busUID {
			shares = append(shares, QueueShare{UID: u.uid, Messages: u.msgs, Bytes: u.bytes, FDs: u.fds, Memfds: int(u.memfds),
				MaxBytes: l.limit(u, &c.limits.Quota)})
		}
	}
	return shares
}

// UserStats is what one user has on a bus.
type UserStats struct {
	Conns, MaxConns      int // on all buses of the domain
	Messages, Bytes, FDs int // that the user sent and that wait for their receivers on this bus
	FullestPercent       int // how much of its share in one receiver's queue it holds, where that is most
}

// UserStats returns what each user has who has a connection, or messages that wait. It looks at
// every connection.
func (b *Bus) UserStats() map[uint32]UserStats {
	users := make(map[uint32]UserStats)
	for uid, n := range b.domain.userConns() {
		users[uid] = UserStats{Conns: n}
	}
	for _, c := range b.Conns() {
		for _, share := range c.QueueShares() {
			u := users[share.UID]
			u.Messages += share.Messages
			u.Bytes += share.Bytes
			u.FDs += share.FDs
			u.FullestPercent = max(u.FullestPercent, share.Percent())
			users[share.UID] = u
		}
	}
	for uid, u := range users {
		u.MaxConns = b.domain.config.MaxConnsPerUser
		users[uid] = u
	}
	return users
}

// Percent returns how much of what it may hold the user holds.
func (s QueueShare) Percent() int {
	switch {
	case s.Bytes == 0:
		return 0
	case s.MaxBytes == 0:
		return 100
	}
	return int(100 * int64(s.Bytes) / int64(s.MaxBytes))
}

// release takes a message off the books.
func (l *ledger) release(m *Message) {
	size, fds := m.Size(), len(m.FDs)
	u := l.entry(m.uid)
	if m.special {
		u.memfds -= uint32(len(m.Extra.Memfds))
	}
	u.bytes -= size
	u.msgs--
	u.fds -= fds
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
