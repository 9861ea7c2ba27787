package gvariant

import "github.com/kdbus-go/kdbus/wire"

// Message is a whole message of version 2.
type Message struct {
	Header
	// Body is the tuple of the values of the types in Signature, in Order; a
	// message without arguments has one of one byte, 0.
	Body []byte
}

// ParseMessage reads the one message of which b consists. It judges the header but
// not the body; [AppendMessageToDBus1] and [Message.Values] do. The strings and the
// body of the result are part of b.
func ParseMessage(b []byte) (Message, error) {
	var m Message
	begin, end, err := m.Parse(b, b, len(b))
	if err != nil {
		return Message{}, err
	}
	m.Body = b[begin:end]
	return m, nil
}

// Append appends the message to dst, and refuses a header that is not valid, see
// [Header.Check], and a message that is too long. It does not judge the body.
// After an error the result is dst.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if err := m.Check(); err != nil {
		return dst, err
	}
	if len(m.Body) > wire.MaxMessageSize {
		return dst, headerError(0, tooLong)
	}
	out := m.Header.Append(dst)
	out = append(out, m.Body...)
	out = m.AppendFooter(out, len(m.Body))
	if len(out)-len(dst) > wire.MaxMessageSize {
		return dst, headerError(0, tooLong)
	}
	return out, nil
}

// SetBody makes values the body, as [AppendBody] does, with their signature.
func (m *Message) SetBody(values ...any) error {
	body, sig, err := AppendBody(nil, m.Order, values...)
	if err != nil {
		return err
	}
	m.Body, m.Signature = body, string(sig)
	return nil
}

// Values returns the values of the body, see [Values].
func (m *Message) Values() ([]any, error) { return Values(m.Order, m.Signature, m.Body) }

// Decode stores the values of the body in what dst point to, see [Decode].
func (m *Message) Decode(dst ...any) error { return Decode(m.Order, m.Signature, m.Body, dst...) }

// AppendMessageFromDBus1 appends to dst, as a message of version 2 in byte order
// to, the message of version 1 with this header and body. The header is one that
// [wire.Header.Parse] or [wire.Header.Check] found valid, the body one that
// [wire.ValidateBody] did, in the header's order. After an error the result is dst.
func AppendMessageFromDBus1(dst []byte, to wire.Order, header *wire.Header, body []byte) ([]byte, error) {
	h := HeaderFromDBus1(header)
	h.Order = to
	out := h.Append(dst)
	begin := len(out)
	out, err := AppendFromDBus1(out, to, header.Order, header.Signature, body)
	if err != nil {
		return dst, err
	}
	out = h.AppendFooter(out, len(out)-begin)
	if len(out)-len(dst) > wire.MaxMessageSize {
		return dst, headerError(0, tooLong)
	}
	return out, nil
}

// AppendMessageToDBus1 appends to dst, as a message of version 1 in byte order to,
// the message of version 2 with this header and body. The header is one that
// [Header.Parse] or [Header.Check] found valid; whoever has to stamp a sender on
// the message sets it there. The body is judged, see [AppendToDBus1]. What is
// appended is a valid message. After an error the result is dst.
func AppendMessageToDBus1(dst []byte, to wire.Order, header *Header, body []byte) ([]byte, error) {
	h, err := header.DBus1()
	if err != nil {
		return dst, err
	}
	h.Order = to
	out := h.Append(dst)
	begin := len(out)
	out, err = AppendToDBus1(out, to, header.Order, header.Signature, body)
	if err != nil {
		return dst, err
	}
	// Only now known, and always in the second word.
	to.PutUint32(out[len(dst)+4:], uint32(len(out)-begin))
	if _, err := wire.MessageSize(out[len(dst):]); err != nil {
		return dst, err
	}
	return out, nil
}
