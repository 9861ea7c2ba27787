package kdbus

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// outgoing is a message on its way out: its header, and a body in memory from a pool.
type outgoing struct {
	header wire.Header
	body   []byte
	head   []byte // scratch of the transport
	fds    []int  // duplicates, owned by the message until the transport takes them

	// command is what is sent to a native bus in place of a message. The serial identifies its
	// answer, which is the answer to a call. Quiet: there is none unless it fails.
	command abi.Command
	quiet   bool

	priority int64       // in the receiver's queue
	kmsg     abi.Message // scratch of the native transport
	bloom    []byte      // likewise
	deadline time.Time   // of a call, after which nobody waits for the answer; zero if there is none
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

// newOutgoing returns a message without a body.
func newOutgoing(typ Type) *outgoing {
	m := outgoings.Get().(*outgoing)
	m.header = wire.Header{Type: typ, Order: wire.LittleEndian}
	return m
}

// release gives the message back, whether or not it was sent.
func (m *outgoing) release() {
	closeFDs(m.fds)
	if cap(m.body) > 64<<10 {
		m.body = nil
	}
	*m = outgoing{body: m.body[:0], head: m.head[:0], fds: m.fds[:0],
		bloom: m.bloom[:0], kmsg: abi.Message{Payload: m.kmsg.Payload[:0], FDs: m.kmsg.FDs[:0]}}
	outgoings.Put(m)
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// check judges whether the message can be sent.
func (m *outgoing) check() error {
	if m.command != nil {
		return nil // by who made it
	}
	return m.header.Check()
}

// setBody makes values the body. An *os.File is sent as a duplicate of its descriptor: it
// remains the caller's. With a signature, values are converted to it as wire.AppendBodyAs does.
func (m *outgoing) setBody(signature string, values []any) (err error) {
	if len(values) == 0 && signature == "" {
		return nil
	}
	if slices.ContainsFunc(values, mayHaveFiles) && hasFile(values...) {
		var sig string
		if values, sig, err = m.takeFiles(values); err != nil {
			return err
		}
		if signature == "" {
			signature = sig
		}
	}
	if signature == "" {
		var sig Signature
		m.body, sig, err = wire.AppendBody(m.body[:0], m.header.Order, values...)
		m.header.Signature = string(sig)
	} else {
		m.body, err = wire.AppendBodyAs(m.body[:0], m.header.Order, signature, values...)
		m.header.Signature = signature
	}
	if err != nil {
		return err
	}
	m.header.BodySize = uint32(len(m.body))
	m.header.UnixFDs = uint32(len(m.fds))
	return nil
}
