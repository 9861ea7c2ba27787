package native

import (
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
)

// peer is who gives a connection its commands: one at the other end of a socket (socketPeer), or who holds a [Handle].
type peer interface {
	Maker
	// Known reports whether the peer is who Creds says.
	Known() bool
	// Collect returns what can be known of the process that gave the command at hand.
	Collect(want meta.Kinds) meta.Data
	// Join gives the peer a connection to the bus.
	Join(config bus.ConnConfig) (*bus.Conn, error)
	// Settle lets the peer stay without one. When it has gone, left is called.
	Settle(left func()) error
	// TakeLong says that what follows may take long.
	TakeLong()

	// The following are about frames.

	ClaimFDs(n uint32) ([]int, error)
	WriteEarly(b []byte) error
	Notify(b []byte) error
}

// Maker is who has a bus or an endpoint made.
type Maker interface {
	// Creds returns who that is.
	Creds() meta.Creds
	// ConnectData returns what can be known of the process. It is for the call that makes something.
	ConnectData(want meta.Kinds) meta.Data
	// Endpoint returns the one by which it has come, nil if it has come by that of a domain.
	Endpoint() *bus.Endpoint
	// HangUp ends the connection, and with it what was made. Safe for concurrent use.
	HangUp()
}

// socketPeer is a peer at a socket.
type socketPeer struct{ *transport.Peer }

// Endpoint implements Maker.
func (p socketPeer) Endpoint() *bus.Endpoint { return p.Server().Endpoint() }
