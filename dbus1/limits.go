package dbus1

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/transport"
)

// Limits of a server, with what dbus-daemon(1) calls them. Zero values mean the defaults, which are those
// of dbus-daemon's session bus unless said otherwise. Numbers below zero mean none at all.
type Limits struct {
	// MaxIncompleteConnections is how many peers of one user may be connected that have not said Hello yet.
	// When there are that many, further ones wait until one is done or gone.
	MaxIncompleteConnections int // max_incomplete_connections, 10,000; in dbus-daemon for all users together
	// AuthTimeout is how long a peer may take from connecting to Hello.
	AuthTimeout time.Duration // auth_timeout, 30 s
	// MaxConnections is how many peers may have said Hello.
	MaxConnections int // max_completed_connections, 100,000
	// MaxConnectionsPerUser is how many of them may be of one user. It is a limit of the domain, for
	// all its buses and front-ends; zero leaves it as it is.
	MaxConnectionsPerUser int // max_connections_per_user
	// MaxMessageSize is the size of the longest message taken, in bytes.
	MaxMessageSize int // max_message_size, the specification's 128 MiB
	// MaxMessageFDs is how many file descriptors a message may carry.
	MaxMessageFDs int // max_message_unix_fds, 16; the kernel's limit is 253
	// MaxIncomingBytes is how much of long messages, of 4 KiB and more, that have not arrived in
	// full the connections of one user may hold together, in bytes.
	MaxIncomingBytes int // max_incoming_bytes, 1,000,000,000; in dbus-daemon for each connection
	// MaxIncomingFDs is how many file descriptors of a connection may wait for the rest of their
	// messages.
	MaxIncomingFDs int // max_incoming_unix_fds, 250,000,000
	// PendingFDTimeout is how long they may wait.
	PendingFDTimeout time.Duration // pending_fd_timeout, 150 s
	// MaxQueueBytes is how much of one user may wait for a peer that does not read.
	MaxQueueBytes int // max_outgoing_bytes, 127 MiB as on the system bus
	// MaxQueueFDs is how many file descriptors of one user may wait for a peer that does not read.
	MaxQueueFDs int // max_outgoing_unix_fds, 64
	// MaxNames is how many names a peer may own or wait for, the unique one included.
	MaxNames int // max_names_per_connection, 50,000
	// MaxMatchRules is how many subscriptions a peer may have.
	MaxMatchRules int // max_match_rules_per_connection, 50,000
	// MaxPendingReplies is how many calls of a peer may wait for their replies.
	MaxPendingReplies int // max_replies_per_connection, 50,000
	// ReplyTimeout is how long a call waits for its reply. Zero, and less, is for ever.
	ReplyTimeout time.Duration // reply_timeout
}

// maxFDsPerMessage is the kernel's limit of descriptors that travel together (SCM_MAX_FD).
const maxFDsPerMessage = 253

// withDefaults leaves those of the transport to it.
func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
		*v = max(*v, 0)
	}
	set(&l.MaxMessageSize, 128<<20)
	set(&l.MaxMessageFDs, 16)
	l.MaxMessageFDs = min(l.MaxMessageFDs, maxFDsPerMessage)
	set(&l.MaxQueueBytes, 127<<20)
	set(&l.MaxQueueFDs, 64)
	set(&l.MaxNames, 50_000)
	set(&l.MaxMatchRules, 50_000)
	set(&l.MaxPendingReplies, 50_000)
	l.ReplyTimeout = max(l.ReplyTimeout, 0)
	return l
}

// transport returns the limits that the transport enforces.
func (l Limits) transport() transport.Limits {
	return transport.Limits{
		MaxIncompleteConnections: l.MaxIncompleteConnections,
		AuthTimeout:              l.AuthTimeout,
		MaxConnections:           l.MaxConnections,
		MaxIncomingBytes:         l.MaxIncomingBytes,
		MaxIncomingFDs:           l.MaxIncomingFDs,
		PendingFDTimeout:         l.PendingFDTimeout,
	}
}

// bus returns the limits that the core enforces.
func (l Limits) bus() bus.Limits {
	return bus.Limits{
		Quota:       bus.Quota{Bytes: l.MaxQueueBytes, FDs: l.MaxQueueFDs},
		MaxNames:    l.MaxNames - 1, // dbus-daemon counts the unique name, too
		MaxCalls:    l.MaxPendingReplies,
		CallTimeout: l.ReplyTimeout,
	}
}

// limits are those of a server, as they are now.
type limits struct {
	own atomic.Pointer[Limits] // with defaults
	bus bus.SharedLimits       // of the connections of D-Bus 1 peers
}

// load returns the limits of now, which must not be changed.
func (l *limits) load() *Limits { return l.own.Load() }

// SetLimits changes the limits, for all peers at once: zero values mean the defaults, as in Config. What
// a peer has beyond them it keeps, but it gets no more; timeouts are of what begins from now on.
func (s *Server) SetLimits(l Limits) {
	s.setLimits(l)
	s.Server.SetLimits(l.transport())
}

func (s *Server) setLimits(l Limits) {
	if l.MaxConnectionsPerUser != 0 {
		s.bus.Domain().SetMaxConnsPerUser(l.MaxConnectionsPerUser)
	}
	l = l.withDefaults()
	s.limits.own.Store(&l)
	s.subs.most.Store(int64(l.MaxMatchRules))
	s.limits.bus.Set(l.bus())
}

// The limits of D-Bus 1 peers, under the names that administrators know them by.
const (
	limitMessageSize = "max_message_size"
	limitMessageFDs  = "max_message_unix_fds"
	limitNames       = "max_names_per_connection"
	limitMatchRules  = "max_match_rules_per_connection"
)

// exceeded notes that a connection has as much of what there is a limit for as it may, n; which is what it
// is told, too.
func exceeded(conn *bus.Conn, limit string, n, most int, what string) *Error {
	text := fmt.Sprintf("Connection \"%s\" is not allowed to %s (increase limits in configuration file if required; %s=%d)",
		conn.UniqueName(), what, limit, most)
	conn.Bus().Excesses().Note(bus.Excess{Limit: limit, Amount: int64(n), Max: int64(most), UID: conn.UID(), Conn: conn.ID()}, func() string {
		return fmt.Sprintf("%s: it has %d, and is of user %d", text, n, conn.UID())
	})
	return dbusErrorf("LimitsExceeded", "%s: user %d has %d", text, conn.UID(), n)
}
