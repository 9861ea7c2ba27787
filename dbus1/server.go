package dbus1

import (
	"log/slog"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/keyring"
	"github.com/kdbus-go/kdbus/transport"
	"github.com/kdbus-go/kdbus/wire"
)

// Config describes a server.
type Config struct {
	// Endpoint is the door to the bus that the server opens. Its bus must have Subscriptions among
	// its indexes.
	Endpoint *bus.Endpoint
	// Subscriptions are the match rules of the bus.
	Subscriptions *Subscriptions
	// Poller is shared with other servers, see [transport.Config]. May be nil.
	Poller *transport.Poller
	// Native makes the protocol of peers that ask for kdbus instead of D-Bus 1. It may be nil: then
	// none can.
	Native func(*transport.Peer) transport.Protocol
	// Bloom returns the bloom filter of a signal, which those who subscribe by bloom masks are
	// found by. Nil: nobody does.
	Bloom func(h *wire.Header, body []byte) []byte
	// Log gets what an administrator should know, rate-limited where peers could flood it. Nil
	// discards.
	Log *slog.Logger
	// Denied is told what the driver denies to c because c is not privileged, as dbus-daemon logs that; nil
	// for nobody. It must not block.
	Denied func(c *bus.Conn, err error)
	// Guests: the bus is one that a user has made, see [transport.Config].
	Guests bool
	// MachineID is the answer to org.freedesktop.DBus.Peer.GetMachineId, 32 hexadecimal digits; ""
	// if unknown.
	MachineID string
	// AllowUser decides who may connect, see [transport.Config]. Nil admits the user of this process and
	// root.
	AllowUser func(uid uint32, groups []uint32) error
	// AllowAnonymous lets peers in that do not say who they are.
	AllowAnonymous bool
	// Mechanisms are those by which peers may authenticate, see [transport.Config].
	Mechanisms []string
	// Keyring has the cookies of the user of the bus, see [transport.Config].
	Keyring *keyring.Ring
	Limits  Limits
	// Reload reads the configuration of the bus again, which the method ReloadConfig asks for. Its error
	// is told to the caller. Nil: there is nothing to read.
	Reload func() error
	// Activation starts services. Nil: there are none.
	Activation Activation
}

// A Server speaks D-Bus 1 to the peers of one endpoint, and hands those over who ask for kdbus. It is
// the driver for all peers of the bus: see Call. Safe for concurrent use.
type Server struct {
	*transport.Server
	config Config
	limits limits
	bus    *bus.Bus
	subs   *Subscriptions

	serial atomic.Uint32 // of statistics
}

// NewServer makes a server, to be ended by Shutdown.
func NewServer(config Config) (*Server, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		config: config,
		bus:    config.Endpoint.Bus(),
		subs:   config.Subscriptions,
	}
	s.setLimits(config.Limits)
	var err error
	s.Server, err = transport.NewServer(transport.Config{
		Endpoint:       config.Endpoint,
		Poller:         config.Poller,
		Guests:         config.Guests,
		DBus1:          s.protocol,
		Native:         config.Native,
		Log:            config.Log,
		AllowUser:      config.AllowUser,
		AllowAnonymous: config.AllowAnonymous,
		Mechanisms:     config.Mechanisms,
		Keyring:        config.Keyring,
		Limits:         config.Limits.transport(),
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
