package wire

import "bytes"

// Message is a whole message. Its strings and body are its own, and may be kept
// and changed.
type Message struct {
	Header
	// Body holds the values of the types in Signature, in Order.
	Body []byte
}

// ParseMessage reads the one message of which b consists, and judges header and
// body. It copies b.
func ParseMessage(b []byte) (*Message, error) {
	size, err := MessageSize(b)
	if err != nil {
		return nil, err
	}
	if len(b) < size {
		return nil, ErrShort
	}
	if len(b) > size {
		return nil, &Error{What: "message", Offset: size, Reason: "bytes follow it"}
	}
	b = bytes.Clone(b)
	m := new(Message)
	at, err := m.Parse(b)
	if err != nil {
		return nil, err
	}
	m.Body = b[at:]
	if err := ValidateBody(m.Order, m.Signature, m.Body); err != nil {
		return nil, err
	}
	return m, nil
}

// Append appends the message to dst. It sets BodySize, takes [LittleEndian] if
// there is no order, and refuses a header that is not valid, see [Header.Check],
// and a message that is too long. It does not judge the body; whoever did not
// have it from this package asks [ValidateBody].
func (m *Message) Append(dst []byte) ([]byte, error) {
	if m.Order == 0 {
		m.Order = LittleEndian
	}
	if len(m.Body) > MaxMessageSize {
		return dst, headerError(4, tooLong)
	}
	m.BodySize = uint32(len(m.Body))
	if err := m.Check(); err != nil {
		return dst, err
	}
	out := m.Header.Append(dst)
	if _, err := MessageSize(out[len(dst):]); err != nil {
		return dst, err
	}
	return append(out, m.Body...), nil
}

// SetBody makes values the body, as [AppendBody] does, with their signature.
func (m *Message) SetBody(values ...any) error {
	body, sig, err := AppendBody(nil, m.Order, values...)
	if err != nil {
		return err
	}
	m.Body, m.BodySize, m.Signature = body, uint32(len(body)), string(sig)
	return nil
}

// Values returns the values of the body, see [Values].
func (m *Message) Values() ([]any, error) { return Values(m.Order, m.Signature, m.Body) }

// Decode stores the values of the body in what dst point to, see [Decode].
func (m *Message) Decode(dst ...any) error { return Decode(m.Order, m.Signature, m.Body, dst...) }
