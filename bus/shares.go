package bus

// Who holds how much of what is limited: for administrators, who want to know who filled a queue.

// A QueueShare is what one user, or one custom endpoint, holds of a receive queue, by the messages that it sent.
type QueueShare struct {
	Account                      Account
	Messages, Bytes, FDs, Memfds int
	MaxBytes                     int // what it may hold: with [Quota.Fair], as things are now
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

// QueueShares returns what users and custom endpoints hold of the receive queue, in no order. The bus's own answers to
// the peer are nobody's.
func (c *Conn) QueueShares() []QueueShare {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.queue.ledger
	shares := make([]QueueShare, 0, len(l.users))
	for i := range l.users {
		u := &l.users[i]
		if u.payer != busAccount {
			shares = append(shares, QueueShare{Account: c.bus.nameOf(u.payer), Messages: u.msgs, Bytes: u.bytes, FDs: int(u.fds), Memfds: int(u.memfds),
				MaxBytes: l.limit(u, &c.limits.load().Quota)})
		}
	}
	return shares
}

// UserStats is what one user, or one custom endpoint, has on a bus.
type UserStats struct {
	Conns, MaxConns      int // of a user on all buses of the domain of the same kind: see [Domain.MakeBus]
	Messages, Bytes, FDs int // that the user sent and that wait for their receivers on this bus
	FullestPercent       int // how much of its share in one receiver's queue it holds, where that is most
}

// UserStats returns what each user and each custom endpoint has who has a connection, or messages that wait. It
// looks at every connection.
func (b *Bus) UserStats() map[Account]UserStats {
	users := make(map[Account]UserStats)
	for uid, n := range b.domain.userConns(b.made) {
		users[Account{UID: uid}] = UserStats{Conns: n}
	}
	b.mu.RLock()
	for _, e := range b.doors {
		users[e.account()] = UserStats{Conns: len(e.conns)}
	}
	b.mu.RUnlock()
	for _, c := range append(b.Conns(), b.activators()...) {
		for _, share := range c.QueueShares() {
			u := users[share.Account]
			u.Messages += share.Messages
			u.Bytes += share.Bytes
			u.FDs += share.FDs
			u.FullestPercent = max(u.FullestPercent, share.Percent())
			users[share.Account] = u
		}
	}
	most := b.domain.maxConnsOf(b.made)
	for account, u := range users {
		u.MaxConns = most
		users[account] = u
	}
	return users
}

// Limits returns what the connection may have and hold.
func (c *Conn) Limits() Limits { return c.limits.Get() }

// ClaimCount returns how many well-known names the connection owns or waits for: what MaxNames limits.
func (c *Conn) ClaimCount() int {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	return len(c.claims)
}
