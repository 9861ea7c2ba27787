package native

import (
	"os"
	"sync"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
	"github.com/kdbus-go/kdbus/wire"
)

// DriverName is the name by which peers call the bus itself.
const DriverName = "org.freedesktop.DBus"

// Driver is the bus as a peer among others, to be called by D-Bus messages.
type Driver interface {
	// Call handles a message of c's peer to DriverName: h and body as D-Bus has it, with the true
	// sender in h. The message has not been shown to the bus yet (see [bus.Conn.SendToBus]).
	// Everything is valid during the call only.
	//
	// Answers are delivered to c in D-Bus 1 format (see [bus.Conn.Deliver]) with m.Cookie as their
	// ReplyCookie. An error, a [*bus.Error], is that the message was not taken at all.
	Call(c *bus.Conn, m *bus.Message, h *wire.Header, body []byte) error
}

// Rules are the D-Bus match rules of a bus.
type Rules interface {
	// Add subscribes c to what a match rule says, under a cookie that several may have; with
	// replace, those with the same cookie are removed. The errors, each a [*bus.Error], are EINVAL
	// for a bad rule, and EMFILE.
	Add(c *bus.Conn, cookie uint64, rule string, replace bool) error
	// Remove removes all rules that c has under this cookie. The error is [bus.ErrNoSuchMatch].
	Remove(c *bus.Conn, cookie uint64) error
	// View returns what a message is to those rules, for [bus.Message.View]. It is valid as long as
	// h and body are.
	View(h *wire.Header, body []byte) any
	// Describe returns what is in the header of a message, as far as that is known.
	Describe(m *bus.Message) (path, iface, member string)
	// Compile reads a match rule, to be a condition among others. The error, a [*bus.Error], is
	// EINVAL.
	Compile(rule string) (bus.Rule, error)
}

// Config describes a server.
type Config struct {
	// Driver is called by those who call DriverName. Nil: nobody has this name.
	Driver Driver
	// Rules keeps D-Bus match rules. Nil: there are none (EOPNOTSUPP).
	Rules Rules
	// Privileged decides who may be a monitor, an activator or a policy holder, or pass for another
	// process, and make endpoints; at custom endpoints nobody may. Nil means root and the user of this process.
	Privileged func(uid uint32) bool
	// Denied is told what peers of a user are denied since they are not privileged; nil for nobody. It must not
	// block.
	Denied func(uid uint32, err error)
	// Tells are the kinds of metadata that are told about who made the bus, of those that it has. Nil means all.
	Tells *meta.Kinds
	// Endpoints makes custom endpoints. Nil: there are none (EOPNOTSUPP).
	Endpoints Endpoints
	// Buses makes buses. If it is not nil, the socket is not that of a bus, but of a domain: that is
	// all that can be done by it, and nothing else of Config matters but Denied.
	Buses Buses
}

// A Server has what the native peers of a bus share. Safe for concurrent use.
type Server struct {
	config  Config
	handles handles
}

// New makes a server.
func New(config Config) *Server {
	if config.Privileged == nil {
		own := uint32(os.Getuid())
		config.Privileged = func(uid uint32) bool { return uid == 0 || uid == own }
	}
	return &Server{config: config}
}

// Protocol makes the protocol of one peer, for [transport.Config].
func (s *Server) Protocol(p *transport.Peer) transport.Protocol {
	return &conn{server: s, peer: socketPeer{p}}
}

// parts is what a command is decoded into. It is lent to one request at a time.
type parts struct {
	send    abi.Send
	message abi.Message
}

var partsPool = sync.Pool{New: func() any { return new(parts) }}
