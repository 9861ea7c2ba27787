package kdbus

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/kdbus-go/kdbus/wire"
)

// transport carries messages between a Conn and its bus. All methods but receive and drop may be
// called from several goroutines.
type transport interface {
	// send sends m, whose header is complete and valid. A nil error means that m will reach the
	// bus unless the connection fails. It takes over m's descriptors in any case. The context
	// is heeded while there is no room; it never leaves half a message behind.
	send(ctx context.Context, m *outgoing) error
	// receive returns the next message, or nil if there is none. It waits for one as long as
	// patience lets it. Whose turn it is calls it. After an error there is no next.
	receive(patience time.Duration) (*Message, error)
	// drop closes the descriptors that belong to no message, when there is no next.
	drop()
	// expect has await not be told of what comes before the next call of receive. Whose turn it is
	// calls it.
	expect()
	// await calls ready when there may be something to receive that receive has not seen, until
	// it returns true. The error says that the transport was closed.
	await(ready func() bool) error
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
	drained    bool  // by the last read: await will tell when there is more
	err        error // after which there is no next message

	large []byte // what was read of a message that does not fit in buf; nil if there is none
	size  int    // of that message
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

func (t *stream) await(ready func() bool) error { return t.socket.await(ready) }

func (t *stream) expect() {
	t.drained = false
	t.socket.listen(false)
}

func (t *stream) drop() {
	closeFDs(t.fds)
	t.fds = nil
}

func (t *stream) receive(patience time.Duration) (*Message, error) {
	if t.err != nil {
		return nil, t.err
	}
	m, err := t.next(patience)
	t.err = err
	return m, err
}

// next cuts the next message out of what was read, and reads when that does not do.
func (t *stream) next(patience time.Duration) (*Message, error) {
	for {
		if t.large != nil {
			return t.receiveLarge(patience)
		}
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
				t.large, t.size = append(make([]byte, 0, min(size, 1<<20)), have...), size
				t.start, t.end = 0, 0
				continue
			}
		}
		if t.start > 0 {
			t.end = copy(t.buf, have)
			t.start = 0
		}
		n, err := t.fill(t.buf[t.end:], patience)
		if n == 0 {
			return nil, err
		}
		t.end += n
	}
}

// fill reads once into b, if there is something.
func (t *stream) fill(b []byte, patience time.Duration) (n int, err error) {
	if t.drained {
		t.drained = false
		return 0, nil
	}
	before := len(t.fds)
	n, t.fds, err = t.socket.receive(b, t.fds, patience)
	// Descriptors end a read early.
	t.drained = n > 0 && n < len(b) && len(t.fds) == before
	return n, err
}

// receiveLarge receives a message larger than the buffer into memory of its own. That grows as
// bytes arrive: memory is not spent on what was announced only.
func (t *stream) receiveLarge(patience time.Duration) (*Message, error) {
	for len(t.large) < t.size {
		if len(t.large) == cap(t.large) {
			t.large = slices.Grow(t.large, min(len(t.large), t.size-len(t.large)))
		}
		n, err := t.fill(t.large[len(t.large):min(cap(t.large), t.size)], patience)
		if n == 0 {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		t.large = t.large[:len(t.large)+n]
	}
	m := &Message{raw: t.large}
	t.large = nil
	return t.finish(m)
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
