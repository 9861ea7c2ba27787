package bench

import (
	"fmt"

	"github.com/kdbus-go/kdbus/wire"
)

// order is the byte order of all messages we send, on every machine.
const order = wire.LittleEndian

// Where a prebuilt message is patched before each use. That the reply serial is the
// first field, and so has a fixed place, holds for benchReply.
const (
	serialAt      = 8
	replySerialAt = 20
)

// The object that the benchmark's service is, and its signal.
const (
	servicePath      = "/org/kdbus/Bench"
	serviceInterface = "org.kdbus.Bench"
	serviceSignal    = "Tick"
)

// benchMatch is the rule that receivers of benchSignal subscribe with.
const benchMatch = "type='signal',path='" + servicePath + "',interface='" + serviceInterface + "',member='" + serviceSignal + "'"

// newMessage returns a whole message with serial 1.
func newMessage(h wire.Header, body []byte) []byte {
	h.Order, h.Serial, h.BodySize = order, 1, uint32(len(body))
	return append(h.Append(nil), body...)
}

// busCall returns a call of the bus driver, with one string as its argument unless that
// is empty.
func busCall(member, argument string) []byte {
	h := wire.Header{
		Type:        wire.TypeMethodCall,
		Path:        "/org/freedesktop/DBus",
		Interface:   "org.freedesktop.DBus",
		Member:      member,
		Destination: "org.freedesktop.DBus",
	}
	if argument == "" {
		return newMessage(h, nil)
	}
	h.Signature = "s"
	body := order.AppendUint32(nil, uint32(len(argument)))
	return newMessage(h, append(append(body, argument...), 0))
}

// benchCall returns the call that is measured: payload bytes as one argument of type
// ay, no argument when payload is 0.
func benchCall(destination string, payload int) []byte {
	h := wire.Header{
		Type:        wire.TypeMethodCall,
		Path:        servicePath,
		Interface:   serviceInterface,
		Member:      "Call",
		Destination: destination,
	}
	if payload == 0 {
		return newMessage(h, nil)
	}
	h.Signature = "ay"
	return newMessage(h, benchBody(payload))
}

// benchBody returns the body of a benchCall with payload.
func benchBody(payload int) []byte {
	return append(order.AppendUint32(make([]byte, 0, 4+payload), uint32(payload)), make([]byte, payload)...)
}

// benchReply returns the empty reply to a benchCall, to be patched for each.
func benchReply(destination string) []byte {
	return newMessage(wire.Header{
		Type:        wire.TypeMethodReturn,
		Flags:       wire.NoReplyExpected,
		ReplySerial: 1,
		Destination: destination,
	}, nil)
}

// benchSignal returns the broadcast that is measured, with a number as its argument.
func benchSignal() []byte {
	return newMessage(wire.Header{
		Type:      wire.TypeSignal,
		Flags:     wire.NoReplyExpected,
		Path:      servicePath,
		Interface: serviceInterface,
		Member:    serviceSignal,
		Signature: "t",
	}, make([]byte, 8))
}

func setSerial(m []byte, serial uint32) { order.PutUint32(m[serialAt:], serial) }

func setReplySerial(m []byte, serial uint32) { order.PutUint32(m[replySerialAt:], serial) }

// serialOf returns the serial of a message that we may not have sent.
func serialOf(m []byte) uint32 { return wire.Order(m[0]).Uint32(m[serialAt:]) }

func typeOf(m []byte) wire.Type { return wire.Type(m[1]) }

// firstString returns the header of m and the first argument if that is a string.
func firstString(m []byte) (h wire.Header, s string, err error) {
	body, err := h.Parse(m)
	if err != nil {
		return h, "", err
	}
	if h.Signature == "" || h.Signature[0] != 's' {
		return h, "", nil
	}
	if err := wire.ValidateBody(h.Order, h.Signature, m[body:]); err != nil {
		return h, "", err
	}
	m = m[body:]
	return h, string(m[4 : 4+h.Order.Uint32(m)]), nil
}

// errorOf returns what an error message says.
func errorOf(m []byte) error {
	h, text, err := firstString(m)
	if err != nil {
		return fmt.Errorf("the bus sent an error that cannot be read: %w", err)
	}
	return fmt.Errorf("the bus answered %s: %s", h.ErrorName, text)
}
