package native

import (
	"errors"
	"fmt"
	"sync"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// A policy that goes by the headers of messages, as dbus-daemon's does, has to see those of native peers
// too, without their bodies being read. A header that says something else than the sender told the bus would
// deceive the policy or the receiver: such a message is not for a bus with such a policy. A payload that
// does not claim to be a D-Bus message has no header, and receivers do not take it for one.

// head is what is known of the header of a message.
type head struct {
	header wire.Header
	space  []byte // of a header that was in pieces, or in a memfd
}

// heads are those not in use.
var heads = sync.Pool{New: func() any { return new(head) }}

// recycle gives h back. Its strings may be in memory of others.
func (h *head) recycle() {
	h.header, h.space = wire.Header{}, h.space[:0]
	if cap(h.space) > maxSpace {
		h.space = nil
	}
	heads.Put(h)
}

// maxHeader is how long a header may be, in bytes, that is in pieces or in a memfd. Real ones have some
// hundred.
const maxHeader = 64 << 10

// Where the header of a D-Bus message has its version, and the version of those with GVariant, which
// kdbus's first clients send.
const (
	offVersion      = 3
	versionGVariant = 2
)

// readHeader returns what a policy may know of the payload: a *wire.Header; nil if there is none; or an
// error if there should be one, or if it is not true.
func (m *message) readHeader() any {
	if m.extra.PayloadType != uint64(abi.PayloadDBus) {
		return nil
	}
	if m.head == nil {
		m.head = heads.Get().(*head)
	}
	beginning, err := m.beginning()
	if err != nil {
		return err
	}
	h := &m.head.header
	if len(beginning) > offVersion && beginning[offVersion] == versionGVariant {
		err = m.readVersion2(h)
	} else if _, err = h.Parse(beginning); err != nil {
		err = fmt.Errorf("the payload should be a D-Bus message: %w", err)
	}
	if err != nil {
		return err
	}
	if err := m.agrees(h); err != nil {
		return err
	}
	h.Sender, h.Destination = "", m.DstName // the bus knows better, except to which name it goes
	return h
}

// readVersion2 reads the header of a GVariant message, which needs the end of the message too.
func (m *message) readVersion2(h *wire.Header) error {
	const longest = 1 << 40 // bytes, far more than anybody has
	total := uint64(0)
	for _, s := range m.extra.Segments {
		if total += min(s.Size, longest); total >= longest {
			return errors.New("the payload is too long to be a D-Bus message")
		}
	}
	var g gvariant.Header
	last, err := m.tail(int(min(total, maxFooter)))
	if err != nil {
		return err
	}
	_, _, err = g.Parse(m.extra.Segments[0].Bytes, last, int(total))
	if err != nil { // perhaps the header is not in the first piece
		first, gathering := m.gather(int(min(total, maxHeader)))
		if gathering != nil {
			return gathering
		}
		if _, _, err = g.Parse(first, last, int(total)); err != nil {
			return fmt.Errorf("the payload should be a D-Bus message of version 2: %w", err)
		}
	}
	if g.Cookie != m.Cookie || g.ReplyCookie != m.ReplyCookie {
		return fmt.Errorf("the cookies in the header are %d and %d, and those of the message %d and %d", g.Cookie, g.ReplyCookie, m.Cookie, m.ReplyCookie)
	}
	*h = wire.Header{
		Order: g.Order, Type: g.Type, Flags: g.Flags, Serial: uint32(g.Cookie), ReplySerial: uint32(g.ReplyCookie), UnixFDs: g.UnixFDs,
		Path: g.Path, Interface: g.Interface, Member: g.Member, ErrorName: g.ErrorName, Destination: g.Destination, Signature: g.Signature,
	}
	return nil
}

// maxFooter is how long the end of a GVariant message is at most, in bytes: NUL, signature and offset.
const maxFooter = 1 + 257 + 8

// tail returns the last size bytes of the payload in one piece. There are as many.
func (m *message) tail(size int) ([]byte, error) {
	segments := m.extra.Segments
	if last := segments[len(segments)-1].Bytes; len(last) >= size {
		return last[len(last)-size:], nil
	}
	b := make([]byte, size)
	for i := len(segments) - 1; size > 0; i-- {
		s := &segments[i]
		n := int(min(s.Size, uint64(size)))
		to := b[size-n : size]
		switch {
		case s.Memfd != 0:
			if err := readFile(m.extra.Memfds[s.Memfd-1], to, s.Offset+s.Size-uint64(n)); err != nil {
				return nil, err
			}
		case s.Bytes != nil:
			copy(to, s.Bytes[len(s.Bytes)-n:])
		}
		size -= n
	}
	return b, nil
}

// beginning returns the payload as far as it is the header, or somewhat further.
func (m *message) beginning() ([]byte, error) {
	segments := m.extra.Segments
	if len(segments) == 0 {
		return nil, errors.New("the payload should be a D-Bus message, but there is none")
	}
	first := segments[0].Bytes
	if size, err := headerSize(first); err == nil && size <= len(first) {
		return first, nil
	} else if err != nil && !errors.Is(err, wire.ErrShort) {
		return first, nil // whatever it is
	}
	b, err := m.gather(wire.HeaderFixedSize)
	if err != nil {
		return nil, err
	}
	size, err := headerSize(b)
	if err != nil {
		return b, nil
	}
	if size > maxHeader {
		return nil, fmt.Errorf("the header of %d bytes is longer than the %d that are read of a payload in pieces", size, maxHeader)
	}
	return m.gather(size)
}

// headerSize returns how long the header is that b begins with.
func headerSize(b []byte) (int, error) {
	size, err := wire.MessageSize(b)
	if err != nil {
		return 0, err
	}
	return size - int(wire.Order(b[0]).Uint32(b[4:])), nil
}

// gather returns the first size bytes of the payload in one piece, or all of it if it is shorter.
func (m *message) gather(size int) ([]byte, error) {
	b := m.head.space[:0]
	for _, s := range m.extra.Segments {
		n := int(min(s.Size, uint64(size-len(b))))
		if n == 0 {
			continue
		}
		switch at := len(b); {
		case s.Memfd != 0:
			b = append(b, make([]byte, n)...)
			if err := readFile(m.extra.Memfds[s.Memfd-1], b[at:], s.Offset); err != nil {
				return nil, err
			}
		case s.Bytes == nil:
			b = append(b, make([]byte, n)...)
		default:
			b = append(b, s.Bytes[:n]...)
		}
	}
	m.head.space = b
	return b, nil
}
