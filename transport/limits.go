package transport

import (
	"cmp"
	"time"
)

// Limits of a server, with what dbus-daemon calls them. Zero values mean the defaults, which are those
// of dbus-daemon's session bus unless said otherwise. Numbers below zero mean none at all.
type Limits struct {
	// MaxIncompleteConnections is how many peers may be connected that have not said Hello yet.
	// When there are that many, no more are accepted until one is done or gone.
	MaxIncompleteConnections int // max_incomplete_connections, 10,000
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumeAccepting()
}
