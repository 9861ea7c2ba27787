package kdbus

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/kdbus-go/kdbus/wire"
)

// transport carries messages between a Conn and its bus. All methods but receive may be called
// from several goroutines.
type transport interface {
	// send sends m, whose header is complete and valid. A nil error means that m will reach the
	// bus unless the connection fails. It takes over m's descriptors in any case. The context
	// is heeded while there is no room; it never leaves half a message behind.
	send(ctx context.Context, m *outgoing) error
	// receive returns the next message, waiting for it. One goroutine calls it. After an error
	// there is no next.
	receive() (*Message, error)
	// flush waits until all that was sent is out of this process.
	flush(ctx context.Context) error
	// stop makes send fail with err.
	stop(err error)
	// close ends the connection; receive returns.
	close()
}

// registry is what a bus does by itself: names and subscriptions. Errors of the bus are *Error.
type registry interface {
	// requestName and the others that take a hook call it with the answer, on the goroutine
	// that receives, before any later message is looked at.
	requestName(ctx context.Context, name string, flags NameFlags, hook func(result uint32, err error)) error
	releaseName(ctx context.Context, name string) error
	nameOwner(ctx context.Context, name string, hook func(owner string, err error)) error
	listNames(ctx context.Context, activatable bool) ([]string, error)
	addMatch(ctx context.Context, rule string) error
	removeMatch(ctx context.Context, rule string) error
	becomeMonitor(ctx context.Context, rules []string, hook func(err error)) error
}

// stream is the transport of D-Bus 1: messages one after the other on a stream socket.
type stream struct {
	socket *socket
	writer writer

	buf        []byte // what was read; not yet taken is buf[start:end]
	start, end int
	fds        []int // descriptors that came with what was read
}

// readSize is how much is read at once.
const readSize = 32 << 10

func newStream(s *socket) *stream {
	return &stream{socket: s, writer: writer{socket: s}, buf: make([]byte, readSize)}
}

func (t *stream) send(ctx context.Context, m *outgoing) error {
	m.head = m.header.Append(m.head[:0])
	fds := m.fds
	m.fds = nil
	if len(fds) > maxFDs {
		closeFDs(fds)
		return fmt.Errorf("%d file descriptors: a message can carry %d", len(fds), maxFDs)
	}
	return t.writer.send(ctx, m.head, m.body, fds)
}

func (t *stream) flush(ctx context.Context) error { return t.writer.waitIdle(ctx) }

func (t *stream) stop(err error) { t.writer.stop(err) }

func (t *stream) close() { t.socket.close() }

func (t *stream) receive() (*Message, error) {
	m, err := t.next()
	if err != nil {
		closeFDs(t.fds) // which belong to no message
		t.fds = nil
	}
	return m, err
}

// next cuts the next message out of what was read, and reads when that does not do.
func (t *stream) next() (*Message, error) {
	for {
		have := t.buf[t.start:t.end]
		if len(have) >= wire.HeaderFixedSize {
			size, err := wire.MessageSize(have)
			if err != nil {
				return nil, err
			}
			if size <= len(have) {
				m := messages.Get().(*Message)
				m.raw = append(m.raw[:0], have[:size]...)
				t.start += size
				return t.finish(m)
			}
			if size > len(t.buf) {
				return t.receiveLarge(size)
			}
		}
		if t.start > 0 {
			t.end = copy(t.buf, have)
			t.start = 0
		}
		if err := t.fill(t.buf[t.end:]); err != nil {
			return nil, err
		}
	}
}

// fill reads once into b, which is the free part of buf.
func (t *stream) fill(b []byte) (err error) {
	var n int
	n, t.fds, err = t.socket.receive(b, t.fds)
	t.end += n
	return err
}

// receiveLarge receives a message larger than the buffer, the beginning of which is there, into
// memory of its own. That grows as bytes arrive: memory is not spent on what was announced only.
func (t *stream) receiveLarge(size int) (*Message, error) {
	raw := make([]byte, 0, min(size, 1<<20))
	raw = append(raw, t.buf[t.start:t.end]...)
	t.start, t.end = 0, 0
	for len(raw) < size {
		if len(raw) == cap(raw) {
			raw = slices.Grow(raw, min(len(raw), size-len(raw)))
		}
		var n int
		var err error
		n, t.fds, err = t.socket.receive(raw[len(raw):min(cap(raw), size)], t.fds)
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		raw = raw[:len(raw)+n]
	}
	return t.finish(&Message{raw: raw})
}

// finish reads the header of m and gives it the descriptors it says it has.
func (t *stream) finish(m *Message) (*Message, error) {
	if err := m.parse(); err != nil {
		return nil, err
	}
	n := int64(m.header.UnixFDs)
	if n == 0 {
		return m, nil
	}
	if n > int64(len(t.fds)) {
		return nil, fmt.Errorf("a message announces %d file descriptors, and %d came", n, len(t.fds))
	}
	m.files = make([]*os.File, n)
	for i, fd := range t.fds[:n] {
		m.files[i] = os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d from %s", i, m.header.Sender))
	}
	t.fds = slices.Delete(t.fds, 0, int(n))
	return m, nil
}
