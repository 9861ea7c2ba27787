package peer

import (
	"errors"
	"fmt"
)

// Message types of the specification, section "Message Format".
const (
	TypeCall   = 1
	TypeReply  = 2
	TypeError  = 3
	TypeSignal = 4
)

// Flags of a message header.
const (
	NoReplyExpected = 1
	NoAutoStart     = 2
)

// Codes of header fields.
const (
	FieldPath        = 1
	FieldInterface   = 2
	FieldMember      = 3
	FieldErrorName   = 4
	FieldReplySerial = 5
	FieldDestination = 6
	FieldSender      = 7
	FieldSignature   = 8
	FieldUnixFDs     = 9
)

// The message bus's own name, object and interfaces.
const (
	DriverName     = "org.freedesktop.DBus"
	DriverPath     = "/org/freedesktop/DBus"
	DriverIface    = "org.freedesktop.DBus"
	PeerIface      = "org.freedesktop.DBus.Peer"
	PropsIface     = "org.freedesktop.DBus.Properties"
	IntrospectFace = "org.freedesktop.DBus.Introspectable"
	MonitorIface   = "org.freedesktop.DBus.Monitoring"
	StatsIface     = "org.freedesktop.DBus.Debug.Stats"
)

// Field is one header field as it is on the wire.
type Field struct {
	Code  byte
	Value Variant
}

// Message is one D-Bus message. The zero Order means little-endian, the zero Version means 1, and
// a zero Serial is replaced by [Client.Send] unless KeepSerial is set.
type Message struct {
	Order      byte // 'l' or 'B'
	Type       byte
	Flags      byte
	Version    byte
	Serial     uint32
	KeepSerial bool
	Fields     []Field
	Body       []any // one value per complete type of the signature field

	// BodySig, if it is not empty, is what the body is encoded with in place of the signature
	// field, so that the two can disagree.
	BodySig string

	// FDs are file descriptors: on sending they are the caller's and stay open, on receiving
	// they are the caller's to close.
	FDs []int
}

// Call makes a method call. An empty dest, path, iface, member or sig leaves that field out.
func Call(dest, path, iface, member, sig string, body ...any) *Message {
	m := &Message{Type: TypeCall, Body: body}
	return m.text(FieldPath, "o", path).text(FieldInterface, "s", iface).
		text(FieldMember, "s", member).text(FieldDestination, "s", dest).text(FieldSignature, "g", sig)
}

// DriverCall is a call of a method of org.freedesktop.DBus on the bus itself.
func DriverCall(member, sig string, body ...any) *Message {
	return Call(DriverName, DriverPath, DriverIface, member, sig, body...)
}

// Signal makes a signal; an empty dest makes it a broadcast.
func Signal(dest, path, iface, member, sig string, body ...any) *Message {
	m := Call(dest, path, iface, member, sig, body...)
	m.Type = TypeSignal
	return m
}

// Reply makes a method return.
func Reply(dest string, serial uint32, sig string, body ...any) *Message {
	m := &Message{Type: TypeReply, Body: body}
	return m.text(FieldDestination, "s", dest).With(FieldReplySerial, "u", serial).text(FieldSignature, "g", sig)
}

// Error makes an error reply.
func Error(dest string, serial uint32, name, sig string, body ...any) *Message {
	m := Reply(dest, serial, sig, body...)
	m.Type = TypeError
	return m.text(FieldErrorName, "s", name)
}

func (m *Message) text(code byte, sig, s string) *Message {
	if s == "" {
		return m
	}
	return m.With(code, sig, s)
}

// With appends a header field and returns m.
func (m *Message) With(code byte, sig string, v any) *Message {
	m.Fields = append(m.Fields, Field{code, Variant{sig, v}})
	return m
}

// Without removes every field of that code and returns m.
func (m *Message) Without(code byte) *Message {
	kept := m.Fields[:0]
	for _, f := range m.Fields {
		if f.Code != code {
			kept = append(kept, f)
		}
	}
	m.Fields = kept
	return m
}

// WithFlags sets the flags and returns m.
func (m *Message) WithFlags(flags byte) *Message { m.Flags = flags; return m }

// InOrder sets the byte order, 'l' or 'B', and returns m.
func (m *Message) InOrder(order byte) *Message { m.Order = order; return m }

// WithFDs attaches file descriptors, says so in the header, and returns m.
func (m *Message) WithFDs(fds ...int) *Message {
	m.FDs = fds
	return m.With(FieldUnixFDs, "u", uint32(len(fds)))
}

// Field returns a field's value, nil when it is absent.
func (m *Message) Field(code byte) any {
	for _, f := range m.Fields {
		if f.Code == code {
			return f.Value.Value
		}
	}
	return nil
}

// Text returns a string field, "" when it is absent.
func (m *Message) Text(code byte) string { s, _ := m.Field(code).(string); return s }

// ReplySerial returns the serial that m answers, 0 when it answers none.
func (m *Message) ReplySerial() uint32 { n, _ := m.Field(FieldReplySerial).(uint32); return n }

// Sig returns the signature of the body.
func (m *Message) Sig() string { return m.Text(FieldSignature) }

// ErrorText returns the error name and message of an error reply, "" for other messages.
func (m *Message) ErrorText() string {
	if m.Type != TypeError {
		return ""
	}
	text := m.Text(FieldErrorName)
	if len(m.Body) > 0 {
		text += fmt.Sprintf(": %v", m.Body[0])
	}
	return text
}

// Encode returns the bytes of m as they go onto the socket.
func (m *Message) Encode() []byte {
	order, version := m.Order, m.Version
	if order == 0 {
		order = 'l'
	}
	if version == 0 {
		version = 1
	}
	body := newEncoder(order)
	sig := m.BodySig
	if sig == "" {
		sig = m.Sig()
	}
	for i := 0; sig != "" && i < len(m.Body); i++ {
		sig = body.value(sig, m.Body[i])
	}
	head := newEncoder(order)
	head.buf = append(head.buf, order, m.Type, m.Flags, version)
	head.value("u", uint32(len(body.buf)))
	head.value("u", m.Serial)
	fields := make([]any, len(m.Fields))
	for i, f := range m.Fields {
		fields[i] = []any{f.Code, f.Value}
	}
	head.value("a(yv)", fields)
	head.align(8)
	return append(head.buf, body.buf...)
}

// messageLength returns the length of the message that begins with head, which has at least 16
// bytes.
func messageLength(head []byte) (int, error) {
	d := newDecoder(head[0], head)
	if head[0] != 'l' && head[0] != 'B' {
		return 0, fmt.Errorf("message begins with byte %#x", head[0])
	}
	body, fields := d.order.Uint32(head[4:]), d.order.Uint32(head[12:])
	if body > 1<<27 || fields > 1<<26 {
		return 0, errors.New("message is longer than the specification allows")
	}
	return (16+int(fields)+7)/8*8 + int(body), nil
}

// Decode reads one whole message.
func Decode(data []byte) (m *Message, err error) {
	defer func() {
		if text, ok := recover().(string); ok {
			m, err = nil, errors.New("cannot read message: "+text)
		}
	}()
	m = &Message{Order: data[0], Type: data[1], Flags: data[2], Version: data[3]}
	d := newDecoder(m.Order, data)
	m.Serial = d.order.Uint32(data[8:])
	d.pos = 12
	fields, _ := d.value("a(yv)")
	for _, f := range fields.([]any) {
		f := f.([]any)
		m.Fields = append(m.Fields, Field{f[0].(byte), f[1].(Variant)})
	}
	d.align(8)
	body := newDecoder(m.Order, data[d.pos:])
	for sig := m.Sig(); sig != ""; {
		var v any
		v, sig = body.value(sig)
		m.Body = append(m.Body, v)
	}
	if body.pos != len(body.buf) {
		return nil, fmt.Errorf("message body has %d bytes, its signature %q accounts for %d", len(body.buf), m.Sig(), body.pos)
	}
	return m, nil
}
