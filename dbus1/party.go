package dbus1

import (
	"cmp"
	"fmt"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/wire"
)

// party is a connection that the driver deals with: that of a D-Bus 1 peer, or of one that uses
// another front-end and calls the driver, too.
type party struct {
	server *Server
	conn   *bus.Conn
	name   string // the unique name
	cookie uint64 // of the call that is being answered, where that is more than its serial
}

// Identity is what the driver wants to know of the peer behind a connection, whatever front-end
// serves it: what [bus.Conn.Peer] returns has to be one. Safe for concurrent use.
type Identity interface {
	// Creds returns who connected.
	Creds() meta.Creds
	// Known reports whether the peer is who Creds says.
	Known() bool
	// Groups returns all groups of the peer, the primary one included.
	Groups() (groups []uint32, ok bool)
	// SecurityLabel returns what the security module calls the peer, or "".
	SecurityLabel() string
	// PIDFD returns a new pidfd of the peer's process, which is the caller's.
	PIDFD() (fd int, ok bool)
	// Sent returns how many messages the peer has sent, how many bytes they were, and how many
	// file descriptors.
	Sent() (messages, bytes, fds uint64)
}

// identityOf returns who is behind a connection.
func identityOf(c *bus.Conn) Identity { return c.Peer().(Identity) }

// privileged reports whether the peer may do what concerns all others: it is root, or the user whose
// the bus is. Nobody is who came by a custom endpoint.
func (p *party) privileged() bool { return p.conn.Privileged() }

// driverSerial is the serial of all messages of the driver: nobody answers them.
const driverSerial uint32 = 1<<32 - 1

// reply answers the call h with values.
func (p *party) reply(h *wire.Header, values ...any) error {
	m, err := p.replyMessage(h, values...)
	if err != nil {
		return err
	}
	return p.post(m)
}

// replyMessage makes the answer to the call h.
func (p *party) replyMessage(h *wire.Header, values ...any) (*message, error) {
	body, signature, err := wire.AppendBody(nil, wire.LittleEndian, values...)
	if err != nil {
		return nil, fmt.Errorf("answer %s: %w", h.Member, err)
	}
	return p.compose(&wire.Header{
		Type:        wire.TypeMethodReturn,
		Flags:       wire.NoReplyExpected,
		ReplySerial: h.Serial,
		Signature:   string(signature),
	}, body, nil), nil
}

// fail answers the message h with an error.
func (p *party) fail(h *wire.Header, e *Error) error {
	m, err := p.errorMessage(h, e)
	if err != nil {
		return err
	}
	return p.post(m)
}

// errorMessage makes the error that answers the message h.
func (p *party) errorMessage(h *wire.Header, e *Error) (*message, error) {
	body, signature, err := wire.AppendBody(nil, wire.LittleEndian, e.Message)
	if err != nil {
		return nil, fmt.Errorf("answer with %s: %w", e.Name, err)
	}
	return p.compose(&wire.Header{
		Type:        wire.TypeError,
		Flags:       wire.NoReplyExpected,
		ErrorName:   e.Name,
		ReplySerial: h.Serial,
		Signature:   string(signature),
	}, body, nil), nil
}

// deliver queues a message of the driver, with the descriptors fds, for the peer.
func (p *party) deliver(h *wire.Header, body []byte, fds []int) error {
	return p.post(p.compose(h, body, fds))
}

// compose makes a message of the driver for the peer.
func (p *party) compose(h *wire.Header, body []byte, fds []int) *message {
	h.Order = wire.LittleEndian
	h.Sender = driverName
	h.Destination = p.name
	h.Serial = driverSerial
	h.BodySize = uint32(len(body))
	h.UnixFDs = uint32(len(fds))
	m := newMessage()
	m.FDs = fds
	m.pieces[0] = append(h.Append(m.space(headerBound(h)+len(body))), body...)
	m.Payload = m.pieces[:1]
	m.Cookie = uint64(driverSerial)
	m.ReplyCookie = cmp.Or(p.cookie, uint64(h.ReplySerial))
	return m
}

// post queues a message that compose has made. It takes the caller's reference over.
func (p *party) post(m *message) error {
	defer m.Release()
	if err := p.conn.Deliver(&m.Message); err != nil {
		return fmt.Errorf("the peer does not read what it asked for: %w", err)
	}
	return nil
}

// refused answers a message that the bus did not take.
func (p *party) refused(h *wire.Header, err error) error {
	if isDisconnect(err) {
		return err
	}
	return p.fail(h, p.dbusError(h, err))
}
