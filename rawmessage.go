package kdbus

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/kdbus-go/kdbus/wire"
)

// This file is for programs that handle messages whose types they learn at run time: monitors,
// bridges, command lines.

// Order is the byte order in which the sender wrote the message.
func (m *Message) Order() wire.Order { return m.header.Order }

// Priority is that of the message in the queue of its receiver; the lowest goes first. On D-Bus 1
// it is 0.
func (m *Message) Priority() int64 { return m.priority }

// Matches reports whether the message is one that a match describes. Senders and destinations are
// compared by names as they stand: a program that wants those of an owner resolves them itself.
func (m *Message) Matches(match Match) bool { return match.matches(m, match.Sender) }

// Walk visits the values of the body without making Go values of them; see [wire.Walk]. What
// the visitor is given is valid during the call.
func (m *Message) Walk(visitor wire.Visitor) error {
	defer runtime.KeepAlive(m.mapping)
	return wire.Walk(m.header.Order, m.header.Signature, m.body, visitor)
}

// Size is how many bytes the body has.
func (m *Message) Size() int { return len(m.body) }

// Append appends the message to dst as D-Bus 1 has it, with the sender that the bus stands for. It
// does not matter which protocol brought it.
func (m *Message) Append(dst []byte) []byte {
	defer runtime.KeepAlive(m.mapping)
	return append(m.header.Append(dst), m.body...)
}

// Body is the body of a message to be sent, written by other means than from Go values: with a
// [wire.Encoder] in little-endian order, for example.
type Body struct {
	Signature Signature
	Bytes     []byte
	// Files are what the values of type UNIX_FD are indices into. They remain the caller's.
	Files []*os.File
}

// setRaw makes b the body, which is judged as if it had been received.
func (m *outgoing) setRaw(b Body) error {
	if err := wire.ValidateBody(m.header.Order, string(b.Signature), b.Bytes); err != nil {
		return err
	}
	for _, f := range b.Files {
		fd, err := duplicate(f)
		if err != nil {
			return fmt.Errorf("duplicate the descriptor of %s: %w", f.Name(), err)
		}
		m.fds = append(m.fds, fd)
	}
	m.body = append(m.body[:0], b.Bytes...)
	m.header.Signature, m.header.BodySize, m.header.UnixFDs = string(b.Signature), uint32(len(b.Bytes)), uint32(len(m.fds))
	return nil
}

// CallRaw is [Object.Call] with a body that is written already.
func (o Object) CallRaw(ctx context.Context, method string, body Body) (*Message, error) {
	m, err := o.rawMessage(method, body)
	return o.call(ctx, method, m, err)
}

// SendRaw is [Object.Send] with a body that is written already.
func (o Object) SendRaw(ctx context.Context, method string, body Body) error {
	m, err := o.rawMessage(method, body)
	return o.send(ctx, method, m, err)
}

func (o Object) rawMessage(method string, body Body) (*outgoing, error) {
	m, err := o.message(method, "", nil)
	if err != nil {
		return nil, err
	}
	if err := m.setRaw(body); err != nil {
		m.release()
		return nil, err
	}
	return m, nil
}

// EmitRaw is [Conn.EmitTo] with a body that is written already; an empty dest means everybody.
func (c *Conn) EmitRaw(ctx context.Context, dest string, path ObjectPath, signal string, flags Flags, body Body) error {
	m := newOutgoing(wire.TypeSignal)
	h := &m.header
	h.Destination, h.Path, h.Flags = dest, string(path), flags|NoReplyExpected
	h.Interface, h.Member = splitMember(signal)
	err := m.setRaw(body)
	if err == nil {
		err = c.send(ctx, m)
	} else {
		m.release()
	}
	if err != nil {
		return fmt.Errorf("kdbus: emit %s from %s: %w", signal, path, err)
	}
	return nil
}
