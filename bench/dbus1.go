package bench

import (
	"fmt"

	"github.com/kdbus-go/kdbus/wire"
)

// dbus1 is the protocol that every bus speaks. Its messages are in message.go.
type dbus1 struct{}

func (dbus1) negotiation() []question { return nil }

func (dbus1) hello() []byte { return busCall("Hello", "") }

func (dbus1) welcome(answer []byte) (string, error) {
	_, name, err := firstString(answer)
	if err == nil {
		err = wire.CheckBusName(name)
	}
	if err != nil {
		return "", fmt.Errorf("read the reply to Hello: %w", err)
	}
	return name, nil
}

func (dbus1) size(b []byte) (int, error) { return wire.MessageSize(b) }

func (dbus1) headerSize() int { return wire.HeaderFixedSize }

func (dbus1) kind(m []byte) kind {
	switch typeOf(m) {
	case wire.TypeMethodCall:
		return kindCall
	case wire.TypeMethodReturn:
		return kindReply
	case wire.TypeSignal:
		return kindSignal
	case wire.TypeError:
		return kindFailure
	}
	return kindOther
}

func (dbus1) failure(m []byte) error { return errorOf(m) }

func (dbus1) call(peer string, payload int) ([]byte, error) { return benchCall(peer, payload), nil }

func (dbus1) reply(peer string) ([]byte, error) { return benchReply(peer), nil }

func (dbus1) signal() []byte { return benchSignal() }

func (dbus1) subscription() []byte { return busCall("AddMatch", benchMatch) }

func (dbus1) own() []byte {
	body := order.AppendUint32(nil, uint32(len(serviceName)))
	body = append(append(body, serviceName...), 0)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	return newMessage(wire.Header{
		Type: wire.TypeMethodCall, Path: "/org/freedesktop/DBus", Interface: "org.freedesktop.DBus",
		Member: "RequestName", Destination: "org.freedesktop.DBus", Signature: "su",
	}, order.AppendUint32(body, 0))
}

func (dbus1) number(m []byte, serial uint32) { setSerial(m, serial) }

func (dbus1) answer(reply, call []byte) { setReplySerial(reply, serialOf(call)) }
