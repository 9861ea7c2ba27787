package transport

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
)

// Peers that are on their way onto the bus. Each user, and each custom endpoint, may have so many of them (max_incomplete_connections); more
// are accepted, which is the only way to know whose they are, and wait unread until one of the same user is
// done or gone. So a user whose programs connect and say nothing keeps nobody else out, as it would if the limit
// were one for all.

// arrivals are those of one account.
type arrivals struct {
	begun   int     // that are being read from
	waiting []*Peer // that are not, the oldest first
}

// ArrivalCount is how many peers of a user have not said Hello: of which something is read, and which wait until
// it is their turn.
type ArrivalCount struct{ Begun, Waiting int }

// Arrivals returns how many peers there are that have not said Hello, by user, but for those at custom endpoints and guests.
// Those of other servers with the same Poller are among them.
func (s *Server) Arrivals() map[uint32]ArrivalCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[uint32]ArrivalCount, len(s.arrivals))
	for who, a := range s.arrivals {
		if who.server == nil && !who.guest {
			counts[who.uid] = ArrivalCount{a.begun, len(a.waiting)}
		}
	}
	return counts
}

// maxWaiting is how many peers of one user may wait at most: what the kernel has in a queue of
// connections that are not accepted.
const maxWaiting = 4096

// mayWait reports whether one more peer may wait. Those that do hold descriptors of the process, of which others need
// some, so of files that it may have all together may have a quarter; and as one person can have thousands of users
// (subuid(5)), who comes when it is used up has no more than an equal part, of another quarter at most.
func mayWait(own, all, users, files int) bool {
	together := files / 4
	return own < min(together/2, maxWaiting) && (all < together || all < 2*together && own < together/users)
}

// maxFiles returns how many file descriptors this process may have.
func maxFiles() int {
	const usual = 1024
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return usual
	}
	return int(min(files.Cur, 1<<30))
}

// arrive counts a peer that was accepted, and returns true if it may begin. Else it waits, or has been
// turned away.
func (s *Server) arrive(p *Peer) bool {
	p.account = s.accountOf(p.creds.UID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		p.release()
		return false
	}
	if !s.invite() {
		p.release()
		s.excesses().Note(bus.Excess{Limit: limitGuests, Amount: int64(s.guests), Max: int64(s.guests), UID: p.creds.UID}, func() string {
			return fmt.Sprintf("%d clients are connected to what users have made, as many as may be (half of the files that this process may have); user %d was refused",
				s.guests, p.creds.UID)
		})
		return false
	}
	a := s.arrivals[p.account]
	if a == nil {
		a = new(arrivals)
		s.arrivals[p.account] = a
	}
	limit := s.maxArrivals()
	if a.begun < limit {
		p.begun(a)
		return true
	}
	away := !mayWait(len(a.waiting), s.waiting, len(s.arrivals), maxFiles())
	if away {
		s.uninvite()
		p.release()
	} else {
		a.waiting = append(a.waiting, p)
		s.waiting++
	}
	s.excesses().Note(bus.Excess{Limit: limitIncomplete, Amount: int64(a.begun), Max: int64(limit), UID: p.creds.UID}, func() string {
		text := fmt.Sprintf("%v has %d connections that have not said Hello, as many as it may (%s=%d), %s; ",
			p.account, a.begun, limitIncomplete, limit, s.mostOf(p.account, func(p *Peer) bool { return !p.counted }))
		if away {
			return text + "the next one was closed"
		}
		return text + "the next ones wait"
	})
	return false
}

// maxConfinedArrivals is how many peers may be on their way through a custom endpoint, if other limits do
// not say less.
const maxConfinedArrivals = 256

// maxArrivals returns how many peers on one account may have begun.
func (s *Server) maxArrivals() int {
	limit := s.limits.Load().MaxIncompleteConnections
	if e := s.config.Endpoint; e != nil && e.Custom() {
		return min(limit, maxConfinedArrivals)
	}
	return limit
}

// begun counts a peer that begins. Server.mu is held.
func (p *Peer) begun(a *arrivals) {
	s := p.server
	a.begun++
	s.peers[p] = struct{}{}
	s.incomplete++
	s.running.Add(1)
}

// next has the oldest of those that wait begin, if there is one and it may. ledger.mu is held.
func (l *ledger) next(a *arrivals) *Peer {
	if len(a.waiting) == 0 || a.begun >= a.waiting[0].server.maxArrivals() {
		return nil
	}
	next := a.waiting[0]
	a.waiting[0] = nil
	a.waiting = a.waiting[1:]
	l.waiting--
	next.begun(a)
	return next
}

// departed notes that a peer has said Hello or left, and returns the one that may begin instead, nil if none
// waits. s.mu is held.
func (s *Server) departed(p *Peer) (next *Peer) {
	p.counted = true
	a := s.arrivals[p.account]
	a.begun--
	next = s.next(a)
	if a.begun == 0 && len(a.waiting) == 0 {
		delete(s.arrivals, p.account)
	}
	return next
}

// admitWaiting begins with those that wait and may begin since the limit was changed.
func (s *Server) admitWaiting() {
	s.mu.Lock()
	var admitted []*Peer
	for _, a := range s.arrivals {
		for p := s.next(a); p != nil; p = s.next(a) {
			admitted = append(admitted, p)
		}
	}
	s.mu.Unlock()
	for _, p := range admitted {
		p.server.begin(p)
	}
}

// turnAway closes the connections of all who wait for this server. s.mu is held.
func (s *Server) turnAway() {
	for who, a := range s.arrivals {
		a.waiting = slices.DeleteFunc(a.waiting, func(p *Peer) bool {
			if p.server != s {
				return false
			}
			p.release()
			s.waiting--
			s.uninvite()
			return true
		})
		if a.begun == 0 && len(a.waiting) == 0 {
			delete(s.arrivals, who)
		}
	}
}

// mostOf says which process has most of the peers on an account that are in question. s.mu is held.
func (s *Server) mostOf(who account, inQuestion func(*Peer) bool) string {
	counts := make(map[uint32]int)
	most := uint32(0)
	for p := range s.peers {
		if p.account == who && inQuestion(p) {
			if counts[p.creds.PID]++; counts[p.creds.PID] > counts[most] {
				most = p.creds.PID
			}
		}
	}
	return fmt.Sprintf("%d of them of process %d", counts[most], most)
}
