package kdbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kdbus-go/kdbus/abi"
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
	// What requestName gets are NamePrimary, NameInQueue and NameAcquired; of a name that somebody else
	// has and this connection does not wait for, the error wraps ErrNameTaken.
	requestName(ctx context.Context, name string, flags NameFlags, hook func(got abi.NameFlags, err error)) error
	releaseName(ctx context.Context, name string) error
	// abandonName is releaseName that does not wait, and cannot fail but with the connection.
	abandonName(name string)
	nameOwner(ctx context.Context, name string, hook func(owner string, err error)) error
	listNames(ctx context.Context, activatable bool) ([]string, error)
	addMatch(ctx context.Context, rule string) error
	removeMatch(ctx context.Context, rule string) error
	// cancelCall says that nobody waits for the answer to a call any more, if that can be said.
	cancelCall(serial uint32)
	becomeMonitor(ctx context.Context, rules []string, hook func(err error)) error
	peerMetadata(ctx context.Context, name string, kinds abi.AttachFlags) (*abi.Metadata, error)
}

// stream is the transport of D-Bus 1: messages one after the other on a stream socket.
type stream struct {
	socket *socket
	writer writer
	inbox
	err error // after which there is no next message
}

func newStream(s *socket) *stream {
	return &stream{socket: s, writer: writer{socket: s}, inbox: newInbox(s, wire.HeaderFixedSize, wire.MessageSize)}
}

func (t *stream) send(ctx context.Context, m *outgoing) error {
	m.head = m.header.Append(m.head[:0])
	fds := m.fds
	m.fds = nil
	if len(fds) > maxFDs {
		closeFDs(fds)
		return tooManyFDs(len(fds))
	}
	if len(fds) > 0 && t.socket.noFDs {
		closeFDs(fds)
		return errors.New("the message has file descriptors, which cannot be sent over this connection")
	}
	return t.writer.send(ctx, m.head, m.body, fds)
}

func tooManyFDs(n int) error {
	return fmt.Errorf("%d file descriptors: a message can carry %d", n, maxFDs)
}

func (t *stream) flush(ctx context.Context) error { return t.writer.waitIdle(ctx) }

func (t *stream) stop(err error) { t.writer.stop(err) }

func (t *stream) close() { t.socket.close() }

func (t *stream) await(ready func() bool) error { return t.socket.await(ready) }

func (t *stream) receive(patience time.Duration) (m *Message, err error) {
	if t.err == nil {
		m, t.err = t.next(patience)
	}
	return m, t.err
}

func (t *stream) next(patience time.Duration) (*Message, error) {
	raw, owned, err := t.inbox.next(patience)
	if raw == nil || err != nil {
		return nil, err
	}
	m := newMessage(raw, owned)
	if err := m.parse(); err != nil {
		return nil, err
	}
	if m.header.UnixFDs > 0 {
		fds, err := t.takeFDs(m.header.UnixFDs)
		if err != nil {
			return nil, err
		}
		m.takeFiles(fds)
	}
	return m, nil
}
