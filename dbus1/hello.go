package dbus1

import (
	"errors"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// What happens before a peer is on the bus: its first message has to be Hello, and answers do not
// go through the core.

// errNotJoined is the answer to calls of the driver before Hello.
var errNotJoined = dbusErrorf("AccessDenied", "Client tried to send a message other than %s without being registered", "Hello")

// hello handles the first message of a peer.
func (p *peer) hello(m *message, view *matchMessage, h *wire.Header, body []byte) error {
	if h.Destination != driverName {
		return errNotHello
	}
	if h.Type != wire.TypeMethodCall || h.Member != "Hello" || h.Interface != "" && h.Interface != driverInterface {
		return p.rejectEarly(h, errNotJoined)
	}
	if h.Signature != "" {
		return p.rejectEarly(h, dbusErrorf("InvalidArgs", "Call to %s has wrong args (%s, expected %s)\n", h.Member, h.Signature, ""))
	}
	conn, err := p.server.config.Endpoint.Connect(bus.ConnConfig{
		UID:       p.creds.UID,
		AcceptFDs: p.takesFDs,
		TellOwn:   true,
		Limits:    &p.server.busLimit,
		Receiver:  p,
		Peer:      p,
		Wants:     bus.PartDBus1,
	})
	if errors.Is(err, bus.ErrTooManyConns) {
		return p.rejectEarly(h, dbusErrorf("LimitsExceeded", "The maximum number of active connections for UID %d has been reached", p.creds.UID))
	}
	if err != nil {
		return err
	}
	if err := p.server.completed(); err != nil {
		conn.Close()
		return p.rejectEarly(h, errTooManyConnections)
	}
	p.complete = true
	p.deadline.Stop()
	p.deadline = nil
	p.conn, p.name = conn, conn.UniqueName()
	p.fill(m, view, h, body, false)
	m.DstName = driverName
	if err := conn.SendToBus(&m.Message); err != nil {
		return err
	}
	if err := p.reply(h, p.name); err != nil {
		return err
	}
	conn.Hello()
	return nil
}

// rejectEarly answers a message of a peer that is not on the bus yet.
func (p *peer) rejectEarly(h *wire.Header, e *Error) error {
	body, signature, err := wire.AppendBody(nil, wire.LittleEndian, e.Message)
	if err != nil {
		return err
	}
	answer := wire.Message{Body: body, Header: wire.Header{
		Order:       wire.LittleEndian,
		Type:        wire.TypeError,
		Flags:       wire.NoReplyExpected,
		Serial:      driverSerial,
		ReplySerial: h.Serial,
		ErrorName:   e.Name,
		Sender:      driverName,
		Signature:   string(signature),
	}}
	b, err := answer.Append(nil)
	if err != nil {
		return err
	}
	return p.writeEarly(b)
}

// writeEarly writes to a peer that is not on the bus yet. Such answers are few and short: a socket
// that has no space for one belongs to a peer that does not read.
func (p *peer) writeEarly(b []byte) error {
	_, err := syscall.Write(p.fd, b)
	return err
}
