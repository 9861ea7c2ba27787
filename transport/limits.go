package transport

import (
	"cmp"
	"fmt"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// Limits of a server, with what dbus-daemon calls them. Zero values mean the defaults, which are those
// of dbus-daemon's session bus unless said otherwise. Numbers below zero mean none at all.
type Limits struct {
	// MaxIncompleteConnections is how many peers of one user may be connected that have not said Hello yet.
	// When there are that many, further ones wait until one is done or gone.
	MaxIncompleteConnections int // max_incomplete_connections, 10,000; in dbus-daemon for all users together
	// AuthTimeout is how long a peer may take from connecting to Hello.
	AuthTimeout time.Duration // auth_timeout, 30 s
	// MaxConnections is how many peers may have said Hello.
	MaxConnections int // max_completed_connections, 100,000
	// MaxIncomingBytes is how much of long messages, of 4 KiB and more, that have not arrived in
	// full the connections of one user may hold together, in bytes.
	MaxIncomingBytes int // max_incoming_bytes, 1,000,000,000; in dbus-daemon for each connection
	// MaxIncomingFDs is how many file descriptors of a connection may wait for the rest of their
	// messages.
	MaxIncomingFDs int // max_incoming_unix_fds, 250,000,000
	// PendingFDTimeout is how long they may wait.
	PendingFDTimeout time.Duration // pending_fd_timeout, 150 s
}

func (l Limits) withDefaults() Limits {
	l.MaxIncompleteConnections = cmp.Or(l.MaxIncompleteConnections, 10_000)
	l.AuthTimeout = cmp.Or(l.AuthTimeout, 30*time.Second)
	l.MaxConnections = cmp.Or(l.MaxConnections, 100_000)
	l.MaxIncomingBytes = cmp.Or(l.MaxIncomingBytes, 1_000_000_000)
	l.MaxIncomingFDs = cmp.Or(l.MaxIncomingFDs, 250_000_000)
	l.PendingFDTimeout = cmp.Or(l.PendingFDTimeout, 150*time.Second)
	return l
}

// SetLimits changes the limits. Peers beyond them stay; timeouts are of those who come, and of what
// comes, from now on.
func (s *Server) SetLimits(l Limits) {
	l = l.withDefaults()
	s.limits.Store(&l)
	s.admitWaiting()
}

// Limits returns the limits of now, defaults filled in.
func (s *Server) Limits() Limits { return *s.limits.Load() }

// The limits of the transport, under the names that administrators know them by.
const (
	limitIncomplete    = "max_incomplete_connections"
	limitAuthTimeout   = "auth_timeout"
	limitConnections   = "max_completed_connections"
	limitIncomingBytes = "max_incoming_bytes"
	limitIncomingFDs   = "max_incoming_unix_fds"
	limitMessageFDs    = "max_message_unix_fds"
	limitPendingFDs    = "pending_fd_timeout"
	limitGuests        = "clients of what users have made"
)

// A LimitError is why a peer is disconnected that goes beyond a limit. The log, and the account of the bus
// ([bus.Excesses]), say who it was.
type LimitError struct {
	Limit       string // as dbus-daemon calls it
	Amount, Max int64  // what was tried, and what may be
	Reason      string // what was tried, for people
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s (%s=%d)", e.Reason, e.Limit, e.Max) }

// excesses is the account of the bus.
func (s *Server) excesses() *bus.Excesses {
	if s.config.Endpoint == nil {
		return &s.noBus
	}
	return s.config.Endpoint.Bus().Excesses()
}

// reportExcess puts an excess into the log.
func (s *Server) reportExcess(e bus.Excess, times uint64) {
	args := []any{"limit", e.Limit, "max", e.Max, "amount", e.Amount, "uid", e.UID}
	if e.Conn != 0 {
		args = append(args, "connection", e.Conn.String())
	}
	if times > 1 {
		args = append(args, "times", times)
	}
	s.log.Warn("a limit was reached: "+e.Text, args...)
}

// exceeded notes that p is disconnected for going beyond a limit.
func (p *Peer) exceeded(e *LimitError) {
	excess := bus.Excess{Limit: e.Limit, Amount: e.Amount, Max: e.Max, UID: p.creds.UID}
	if p.conn != nil {
		excess.Conn = p.conn.ID()
	}
	p.server.excesses().Note(excess, func() string {
		return fmt.Sprintf("disconnecting %s of user %d, process %d: %v", cmp.Or(p.name(), "a peer"), p.creds.UID, p.creds.PID, e)
	})
}

// late notes that p is disconnected since something has taken too long. It is called when a timer has fired, for what the
// peer was when that was set.
func (p *Peer) late(limit string, timeout time.Duration, creds meta.Creds, conn *bus.Conn, what string) {
	excess := bus.Excess{Limit: limit, Amount: timeout.Milliseconds(), Max: timeout.Milliseconds(), UID: creds.UID}
	who := "a peer"
	if conn != nil {
		excess.Conn, who = conn.ID(), conn.UniqueName()
	}
	p.server.excesses().Note(excess, func() string {
		return fmt.Sprintf("disconnecting %s of user %d, process %d, that %s (%s=%v)", who, creds.UID, creds.PID, what, limit, timeout)
	})
}

// tooManyPeers notes that as many peers are on the bus as may be.
func (s *Server) tooManyPeers(p *Peer, n, limit int) {
	s.excesses().Note(bus.Excess{Limit: limitConnections, Amount: int64(n), Max: int64(limit), UID: p.creds.UID}, func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		counts := make(map[account]int)
		most := p.account
		for p := range s.peers {
			if p.counted {
				if counts[p.account]++; counts[p.account] > counts[most] {
					most = p.account
				}
			}
		}
		return fmt.Sprintf("%d connections are on the bus, as many as may be (%s=%d), %d of them of %v; user %d was refused one",
			n, limitConnections, limit, counts[most], most, p.creds.UID)
	})
}

// tooMuchIncoming says that the connections of a user hold too much. s.mu is held.
func (s *Server) tooMuchIncoming(p *Peer, held, limit int) error {
	who, most := s.accountOf(p.creds.UID), p
	for other := range s.peers {
		if other.counted && other.account == p.account && other.held > most.held {
			most = other
		}
	}
	reason := fmt.Sprintf("the connections of %v hold %d bytes of messages that have not arrived in full", who, held)
	if name := most.name(); most.held > 0 && name != "" {
		reason += fmt.Sprintf(", %d of them %s", most.held, name)
	}
	return &LimitError{Limit: limitIncomingBytes, Amount: int64(held), Max: int64(limit), Reason: reason}
}
