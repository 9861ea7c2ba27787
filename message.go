package kdbus

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// Types of package wire that stand for D-Bus types without a Go type of their own; the table in
// its package comment says which Go type is which D-Bus type.
type (
	// ObjectPath is a value of type OBJECT_PATH.
	ObjectPath = wire.ObjectPath
	// Signature is a value of type SIGNATURE.
	Signature = wire.Signature
	// Variant is a value of type VARIANT.
	Variant = wire.Variant
	// UnixFD is a value of type UNIX_FD inside a container: an index into [Message.Files].
	UnixFD = wire.UnixFD
	// Type is the type of a message.
	Type = wire.Type
	// Flags are the flags of a message.
	Flags = wire.Flags
)

// The types of messages.
const (
	TypeMethodCall   = wire.TypeMethodCall
	TypeMethodReturn = wire.TypeMethodReturn
	TypeError        = wire.TypeError
	TypeSignal       = wire.TypeSignal
)

// The flags of calls, see [Object.With].
const (
	// NoReplyExpected: no answer is wanted; see [Object.Send].
	NoReplyExpected = wire.NoReplyExpected
	// NoAutoStart: the bus must not start a service to deliver the call.
	NoAutoStart = wire.NoAutoStart
	// AllowInteractiveAuthorization: the caller is ready to wait for a user, whom the service
	// may ask for permission.
	AllowInteractiveAuthorization = wire.AllowInteractiveAuthorization
)

// Message is a message that was received. It is immutable but for its files, and may be kept
// and read from several goroutines. Its strings are part of it: clone one to keep it without
// the rest.
type Message struct {
	header   wire.Header
	raw      []byte // the message as it came, of which the strings of header are parts
	body     []byte // part of raw, or of mapping
	mapping  *mapping
	errno    syscall.Errno // of an error of a native bus
	files    []*os.File
	metadata *abi.Metadata
	priority int64
}

// Type is the type of the message.
func (m *Message) Type() Type { return m.header.Type }

// Flags are the flags of the message.
func (m *Message) Flags() Flags { return m.header.Flags }

// Serial identifies the message among those of its sender.
func (m *Message) Serial() uint32 { return m.header.Serial }

// ReplySerial is the serial of the call that this message answers, or 0.
func (m *Message) ReplySerial() uint32 { return m.header.ReplySerial }

// Sender is the unique name of the sender, as the bus stamped it, or org.freedesktop.DBus.
func (m *Message) Sender() string { return m.header.Sender }

// Destination is the name the message was addressed to; empty for a broadcast.
func (m *Message) Destination() string { return m.header.Destination }

// Path is the object called or emitting.
func (m *Message) Path() ObjectPath { return ObjectPath(m.header.Path) }

// Interface is the interface of the member; it may be empty in a call.
func (m *Message) Interface() string { return m.header.Interface }

// Member is the name of the method or signal.
func (m *Message) Member() string { return m.header.Member }

// ErrorName is the name of the error; empty unless the message is one.
func (m *Message) ErrorName() string { return m.header.ErrorName }

// Signature is the signature of the body.
func (m *Message) Signature() Signature { return Signature(m.header.Signature) }

// Files are the file descriptors that came with the message. They belong to the message's
// receiver, who closes them; what [Message.Decode] stored in an *os.File is one of these, not
// a duplicate. Files nobody closes are closed when the garbage collector finds them.
func (m *Message) Files() []*os.File { return m.files }

// Metadata is what the bus says about the sender at the time of sending: as much of what
// [Dialer.Metadata] asks for as the sender permits and the bus knows. It is nil if there is nothing,
// and always nil where [Conn.Native] is false: D-Bus 1 has no such thing. What is here was never
// taken from the sender's own word. [Conn.PeerMetadata] asks about a connection as it was when it
// connected.
func (m *Message) Metadata() *abi.Metadata { return m.metadata }

// Decode stores the values of the body in what dst point to, one pointer for each value; see
// [wire.Decode] for which type may be stored in which. A value of type UNIX_FD is stored in an
// *os.File by giving a **os.File; inside a container it is a [UnixFD], an index into Files.
// The error is a *wire.Error.
func (m *Message) Decode(dst ...any) error {
	defer runtime.KeepAlive(m.mapping)
	if len(m.files) == 0 || !slices.ContainsFunc(dst, isFilePointer) {
		return wire.Decode(m.header.Order, m.header.Signature, m.body, dst...)
	}
	dst = slices.Clone(dst)
	type slot struct {
		file  **os.File
		index *UnixFD
	}
	var slots []slot
	for i, d := range dst {
		if file, ok := d.(**os.File); ok && file != nil {
			s := slot{file, new(UnixFD)}
			dst[i] = s.index
			slots = append(slots, s)
		}
	}
	if err := wire.Decode(m.header.Order, m.header.Signature, m.body, dst...); err != nil {
		return err
	}
	for _, s := range slots {
		if int64(*s.index) >= int64(len(m.files)) {
			return &wire.Error{What: "message body", Offset: -1, Reason: "it refers to a file descriptor that did not come with it"}
		}
		*s.file = m.files[*s.index]
	}
	return nil
}

func isFilePointer(v any) bool {
	_, ok := v.(**os.File)
	return ok
}

// Values returns the values of the body; see [wire.Values] for their types.
func (m *Message) Values() ([]any, error) {
	defer runtime.KeepAlive(m.mapping)
	return wire.Values(m.header.Order, m.header.Signature, m.body)
}

// String is one line that says what the message is, without its values.
func (m *Message) String() string {
	var b strings.Builder
	b.WriteString(m.header.Type.String())
	for _, field := range [...]struct{ key, value string }{
		{"sender", m.header.Sender}, {"destination", m.header.Destination}, {"path", m.header.Path},
		{"interface", m.header.Interface}, {"member", m.header.Member},
		{"error", m.header.ErrorName}, {"signature", m.header.Signature},
	} {
		if field.value != "" {
			b.WriteString(" " + field.key + "=" + field.value)
		}
	}
	return b.String()
}

// newMessage returns a message made of raw, which is copied unless it is owned.
func newMessage(raw []byte, owned bool) *Message {
	if owned {
		return &Message{raw: raw}
	}
	m := messages.Get().(*Message)
	m.raw = append(m.raw[:0], raw...)
	return m
}

// takeFiles makes descriptors the files of the message.
func (m *Message) takeFiles(fds []int) {
	m.files = make([]*os.File, len(fds))
	for i, fd := range fds {
		m.files[i] = os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d from %s", i, m.header.Sender))
	}
}

// parse reads the message in m.raw.
func (m *Message) parse() error {
	at, err := m.header.Parse(m.raw)
	if err != nil {
		return err
	}
	m.body = m.raw[at:]
	return nil
}

// duplicate returns a message with files of its own, so that two receivers can each own one.
func (m *Message) duplicate() *Message {
	if len(m.files) == 0 {
		return m
	}
	d := *m
	d.files = make([]*os.File, 0, len(m.files))
	for _, f := range m.files {
		fd, err := duplicate(f)
		if err != nil {
			continue // out of descriptors: the copy has fewer, and Decode says so
		}
		d.files = append(d.files, os.NewFile(uintptr(fd), f.Name()))
	}
	return &d
}

// duplicate returns a new descriptor for what f refers to.
func duplicate(f *os.File) (fd int, err error) {
	control, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if e := control.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); e != nil {
		return -1, e
	}
	return fd, err
}

// discard closes the files of a message that nobody gets, and recycles it.
func (m *Message) discard() {
	m.closeFiles()
	m.files = nil
	m.recycle()
}

func (m *Message) closeFiles() {
	for _, f := range m.files {
		f.Close()
	}
}

// maxRecycled is the size of the largest message whose memory is used again.
const maxRecycled = 4096

var messages = sync.Pool{New: func() any { return new(Message) }}

// recycle gives the memory of a message back that nobody refers to any more, nor to a string
// of it.
func (m *Message) recycle() {
	if m.mapping != nil {
		m.mapping.release()
		m.mapping, m.body = nil, nil
	}
	if len(m.files) > 0 || cap(m.raw) > maxRecycled {
		return
	}
	*m = Message{raw: m.raw[:0]}
	messages.Put(m)
}
