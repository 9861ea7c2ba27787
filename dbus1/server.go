package dbus1

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/transport"
	"github.com/kdbus-go/kdbus/wire"
)

// Limits of a server. Zero values mean the defaults, which are those of dbus-daemon's session bus
// unless said otherwise.
type Limits struct {
	// MaxIncompleteConnections is how many peers may be connected that have not said Hello yet.
	// When there are that many, no more are accepted until one is done or gone.
	MaxIncompleteConnections int // max_incomplete_connections, 10,000
	// AuthTimeout is how long a peer may take from connecting to Hello.
	AuthTimeout time.Duration // auth_timeout, 30 s
	// MaxConnections is how many peers may have said Hello.
	MaxConnections int // max_completed_connections, 100,000
	// MaxMessageSize is the size of the longest message taken, in bytes.
	MaxMessageSize int // max_message_size, the specification's 128 MiB
	// MaxMessageFDs is how many file descriptors a message may carry.
	MaxMessageFDs int // max_message_unix_fds, 16; the kernel's limit is 253
	// MaxIncomingBytes is how much of long messages, of 4 KiB and more, that have not arrived in
	// full the connections of one user may hold together, in bytes.
	MaxIncomingBytes int // max_incoming_bytes, 1,000,000,000; in dbus-daemon for each connection
	// MaxQueueBytes is how much of one user may wait for a peer that does not read.
	MaxQueueBytes int // max_outgoing_bytes, 127 MiB as on the system bus
	// MaxQueueFDs is how many file descriptors of one user may wait for a peer that does not read.
	MaxQueueFDs int // max_outgoing_unix_fds, 64
	// MaxNames is how many names a peer may own or wait for.
	MaxNames int // max_names_per_connection, 50,000
	// MaxMatchRules is how many subscriptions a peer may have.
	MaxMatchRules int // max_match_rules_per_connection, 50,000
	// MaxPendingReplies is how many calls of a peer may wait for their replies.
	MaxPendingReplies int // max_replies_per_connection, 50,000
}

// maxFDsPerMessage is the kernel's limit of descriptors that travel together (SCM_MAX_FD).
const maxFDsPerMessage = 253

// withDefaults leaves those of the transport to it.
func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&l.MaxMessageSize, 128<<20)
	set(&l.MaxMessageFDs, 16)
	l.MaxMessageFDs = min(l.MaxMessageFDs, maxFDsPerMessage)
	set(&l.MaxQueueBytes, 127<<20)
	set(&l.MaxQueueFDs, 64)
	set(&l.MaxNames, 50_000)
	set(&l.MaxMatchRules, 50_000)
	set(&l.MaxPendingReplies, 50_000)
	return l
}

// Config describes a server.
type Config struct {
	// Endpoint is the door to the bus that the server opens. Its bus must have Subscriptions among
	// its indexes.
	Endpoint *bus.Endpoint
	// Subscriptions are the match rules of the bus.
	Subscriptions *Subscriptions
	// Native makes the protocol of peers that ask for kdbus instead of D-Bus 1. It may be nil: then
	// none can.
	Native func(*transport.Peer) transport.Protocol
	// Bloom returns the bloom filter of a signal, which those who subscribe by bloom masks are
	// found by. Nil: nobody does.
	Bloom func(h *wire.Header, body []byte) []byte
	// Log gets what an administrator should know, rate-limited where peers could flood it. Nil
	// discards.
	Log *slog.Logger
	// MachineID is the answer to org.freedesktop.DBus.Peer.GetMachineId, 32 hexadecimal digits; ""
	// if unknown.
	MachineID string
	// AllowUser decides who may connect, see [transport.Config]. Nil admits the user of this process and
	// root.
	AllowUser func(uid uint32, groups []uint32) error
	// AllowAnonymous lets peers in that do not say who they are.
	AllowAnonymous bool
	Limits         Limits
	// Reload reads the configuration of the bus again, which the method ReloadConfig asks for. Its error
	// is told to the caller. Nil: there is nothing to read.
	Reload func() error
}

// A Server speaks D-Bus 1 to the peers of one endpoint, and hands those over who ask for kdbus. It is
// the driver for all peers of the bus: see Call. Safe for concurrent use.
type Server struct {
	*transport.Server
	config   Config
	limits   Limits
	bus      *bus.Bus
	busLimit bus.Limits
	subs     *Subscriptions

	serial atomic.Uint32 // of statistics

	mu          sync.Mutex
	environment map[string]string // what UpdateActivationEnvironment has set
}

// NewServer makes a server, to be ended by Shutdown.
func NewServer(config Config) (*Server, error) {
	s := &Server{
		config: config,
		limits: config.Limits.withDefaults(),
		bus:    config.Endpoint.Bus(),
		subs:   config.Subscriptions,
	}
	s.busLimit = bus.Limits{
		Quota:    bus.Quota{Bytes: s.limits.MaxQueueBytes, FDs: s.limits.MaxQueueFDs},
		MaxNames: s.limits.MaxNames - 1, // dbus-daemon counts the unique name, too
		MaxCalls: s.limits.MaxPendingReplies,
	}
	var err error
	s.Server, err = transport.NewServer(transport.Config{
		Endpoint:       config.Endpoint,
		DBus1:          s.protocol,
		Native:         config.Native,
		Log:            config.Log,
		AllowUser:      config.AllowUser,
		AllowAnonymous: config.AllowAnonymous,
		Limits: transport.Limits{
			MaxIncompleteConnections: config.Limits.MaxIncompleteConnections,
			AuthTimeout:              config.Limits.AuthTimeout,
			MaxConnections:           config.Limits.MaxConnections,
			MaxIncomingBytes:         config.Limits.MaxIncomingBytes,
		},
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// protocol makes what speaks D-Bus 1 to a peer.
func (s *Server) protocol(p *transport.Peer) transport.Protocol {
	return &peer{Peer: p, party: party{server: s}}
}
