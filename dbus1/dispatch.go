package dbus1

import (
	"errors"
	"strconv"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// driverName is the bus name of the bus itself.
const driverName = "org.freedesktop.DBus"

var errNotHello = errors.New("the first message is not a call of org.freedesktop.DBus.Hello")

// message handles one complete message: see transport.Protocol for raw, owned and free. An error is a
// reason to disconnect the peer.
func (p *peer) message(s *scratch, raw []byte, owned bool, free func()) error {
	m := newMessage()
	m.Maker = p
	m.freeRaw = free
	defer m.Release()
	h := &s.header
	bodyAt, err := h.Parse(raw)
	if err != nil {
		return err
	}
	body := raw[bodyAt:]
	if err := wire.ValidateBody(h.Order, h.Signature, body); err != nil {
		return err
	}
	if m.FDs, err = p.claimFDs(h.UnixFDs); err != nil {
		return err
	}
	m.From(p.Payer())
	if p.conn == nil {
		return p.hello(m, &s.view, h, body)
	}
	p.fill(m, &s.view, h, body, owned)
	if len(raw) > wire.MaxArraySize {
		// The sender's name makes the header longer. Nobody would take a message that is too long,
		// and blame the bus.
		if _, err := wire.MessageSize(m.pieces[0]); err != nil {
			return p.fail(h, dbusErrorf("LimitsExceeded", "With its sender in the header the message is too long: %v", err))
		}
	}
	err = p.route(m, h, body)
	m.View, m.DstName = nil, "" // in s, which a message that waits in some queue must not keep
	return err
}

// fill makes the envelope of a message, with the header written anew: that is how the true sender
// gets into it, and how fields that nobody here has checked are left out.
func (p *peer) fill(m *message, view *matchMessage, h *wire.Header, body []byte, owned bool) {
	h.Sender = p.name
	size := headerBound(h)
	if !owned {
		size += len(body)
	}
	b := h.Append(m.space(size))
	m.pieces[0] = b
	m.Payload = m.pieces[:1]
	if owned {
		m.pieces[1] = body
		m.Payload = m.pieces[:2]
	} else {
		m.pieces[0] = append(b, body...)
	}
	m.Cookie = uint64(h.Serial)
	senders, destinations := view.Senders[:0], view.Destinations[:0]
	view.reset()
	view.Header, view.Body, view.Senders, view.Destinations = h, body, senders, destinations
	m.View = view
	switch h.Type {
	case wire.TypeMethodCall:
		if h.Flags&wire.NoReplyExpected == 0 {
			m.Flags |= bus.ExpectReply
		}
	case wire.TypeMethodReturn, wire.TypeError:
		m.ReplyCookie = uint64(h.ReplySerial)
	}
	if h.Flags&wire.NoAutoStart != 0 {
		m.Flags |= bus.NoAutoStart
	}
}

// headerBound returns a number of bytes in which the header h fits.
func headerBound(h *wire.Header) int {
	const fixed = wire.HeaderFixedSize + 9*16 // nine fields, each with code, signature, length, NUL and padding
	return fixed + len(h.Path) + len(h.Interface) + len(h.Member) + len(h.ErrorName) + len(h.Destination) + len(h.Sender) + len(h.Signature)
}

// route sends m where it is meant to go.
func (p *peer) route(m *message, h *wire.Header, body []byte) error {
	switch {
	case h.Type > wire.TypeSignal && h.Destination == "":
		return nil
	case h.Type > wire.TypeSignal:
		// The specification wants messages of unknown type ignored; dbus-daemon refuses them, which
		// tells the sender more.
		return p.fail(h, errUnknownType)
	case h.Destination == driverName:
		return p.callDriver(&m.Message, h, body)
	case h.Destination == "" && h.Type == wire.TypeSignal:
		m.Dst = bus.Broadcast
	case h.Destination == "":
		return p.unaddressed(&m.Message, h, body)
	case wire.IsUniqueName(h.Destination):
		m.Dst = parseUniqueName(h.Destination)
	default:
		m.DstName = h.Destination
	}
	err := p.conn.Send(&m.Message)
	if err != nil && p.activatable(h, err) {
		err = p.conn.Send(&m.Message)
	}
	if err != nil {
		return p.refused(h, err)
	}
	return nil
}

// unknownID is the id of nobody: unique names that this bus could never have given lead to it.
const unknownID = bus.Broadcast - 1

// parseUniqueName returns the id in a unique name.
func parseUniqueName(s string) bus.ID {
	const prefix = ":1."
	if len(s) <= len(prefix) || s[:len(prefix)] != prefix || s[len(prefix)] == '0' {
		return unknownID
	}
	id, err := strconv.ParseUint(s[len(prefix):], 10, 64)
	if err != nil || bus.ID(id) > unknownID {
		return unknownID
	}
	return bus.ID(id)
}

// isDisconnect reports whether what the core has to say ends the connection.
func isDisconnect(err error) bool {
	return errors.Is(err, bus.ErrMonitor) || errors.Is(err, bus.ErrDisconnected)
}
