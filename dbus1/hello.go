package dbus1

import (
	"errors"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
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
	conn, err := p.Join(bus.ConnConfig{
		AcceptFDs:    p.TakesFDs(),
		TellOwn:      true,
		SharedLimits: &p.server.limits.bus,
		Wants:        bus.PartDBus1,
		AttachSend:   meta.AllKinds, // D-Bus 1 has no word for less
	})
	switch {
	case errors.Is(err, bus.ErrTooManyConns):
		return p.rejectEarly(h, dbusErrorf("LimitsExceeded", "The maximum number of active connections for UID %d has been reached (%v)", p.Creds().UID, err))
	case errors.Is(err, transport.ErrTooManyPeers):
		return p.rejectEarly(h, dbusErrorf("LimitsExceeded", "The maximum number of active connections has been reached (%v)", err))
	case err != nil:
		return err
	}
	p.party.conn, p.name = conn, conn.UniqueName()
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
	return p.WriteEarly(b)
}
