package bus

import (
	"math"
	"sync/atomic"
	"syscall"

	"github.com/kdbus-go/kdbus/meta"
)

// ID names a connection on its bus; D-Bus writes it ":1.<id>". Ids start at 1 and are never given
// again.
type ID uint64

const (
	// FromBus is the source of messages that the bus itself sends.
	FromBus ID = 0
	// ToName as destination means that DstName decides who receives.
	ToName ID = 0
	// Broadcast as destination means every connection that subscribed to such a message.
	Broadcast ID = ^ID(0)
)

// Flags of a message, as kdbus has them.
type Flags uint32

const (
	// ExpectReply makes a message a call: the receiver may answer it, once.
	ExpectReply Flags = 1 << iota
	// NoAutoStart forbids starting the receiver.
	NoAutoStart
	// Signal marks a unicast that may be dropped when the receiver's queue is full, as a broadcast
	// may.
	Signal
)

// A Message is one envelope with its payload, on its way from one connection to one, some or many.
//
// It is counted by references, since a broadcast is one Message in many queues, its payload may be
// in a buffer that is used again, and its file descriptors have to be closed. Who makes a Message
// owns one reference, and gives it back by Release; every queue that the message is in has one
// more. Everything but the payload is immutable once sent.
//
// The order of the fields matters: many messages are looked at for many receivers, and what that takes is
// together, in each third.
type Message struct {
	Src     ID // filled in by Send
	DstName string
	Flags   Flags

	// Has are the parts that are there, or that were tried in vain. Send adds to it.
	Has Parts

	Cookie   uint64 // the sender's number of this message; not 0 for a call
	Sequence uint64 // the domain's number of this message, in order of sending

	// View is the sending front-end's parsed form of the payload, for the Index, Filters and
	// Policy. It is valid while the message is being routed and only for the goroutine that sends
	// it. Messages of the bus itself come without. DstName and Maker are as short-lived: they may be memory
	// that the sender uses again.
	View any

	// Payload is the message in the sender's wire format, in as many pieces as suits the sender.
	// Receivers must not change it. It is nil in a Notification.
	Payload [][]byte
	// FDs are descriptors that go with the payload. The Message owns them: they are closed with its
	// last reference.
	FDs []int
	// Notification is set in messages that the core itself makes.
	Notification *Notification
	// Free, if set, is called when nobody needs the payload any more.
	Free func()

	Dst         ID     // a connection, ToName, or Broadcast
	ReplyCookie uint64 // of the call that this answers; 0 if none

	// Extra is what only some messages have; nil if there is nothing of it. It belongs to the
	// message. The methods named after its fields read it.
	Extra *Extra
	// Meta is what the receivers may learn about the sender, see [Conn.Attached]; nil if nobody
	// asked. Maker supplies process kinds. The others are the core's, which does so in a copy: what
	// a Maker gives may be shared by many messages.
	Meta *meta.Data

	// Maker makes parts that are missing and that somebody wants; nil if nothing can be made.
	Maker Maker

	// Answer marks a front-end's own answer to its peer, whose Payload is what will be written. It
	// takes its turn in the queue, and that is all: it has no number and monitors do not see it.
	Answer bool
	// special: Extra has something that queues and their accounts look at, a priority, memfds or via
	special bool
	door    uint16 // the number of the custom endpoint on whose account it is; 0 for that of a user: see payer

	refs atomic.Int32 // further references; the first one is not counted
	uid  uint32       // whose quota it is counted on: a notification on that of whoever caused it
	size uint32
}

// Extra is what only some messages have, most of them of native senders. It is apart from Message
// because all others would pay for its size. A sender makes both in one piece of memory.
type Extra struct {
	// Form is the message as the front-end of its sender has it, for receivers that have the same
	// one; nil if there is none. It does not change once sent.
	Form any

	Priority    int64  // messages with a lower number overtake those queued with a higher one
	PayloadType uint64 // what the payload is, to the peers

	// Segments are the payload as a native sender gave it, in order. Nil if the sender has no such
	// form: then it is all in Message.Payload.
	Segments []Segment
	// Memfds are the descriptors of the sealed memfds of Segments. The Message owns them, as FDs.
	Memfds []int

	// Deadline is until when the caller waits for the reply to a call, in nanoseconds of
	// CLOCK_MONOTONIC, see [Bus.Monotonic]. 0, and what is above math.MaxInt64, is for ever. When it has
	// passed the caller is told by ReplyTimeout, at once if that was so from the beginning.
	Deadline uint64
	// Sync marks a call whose caller does nothing but wait: if its deadline is found to have passed
	// when it is sent, that is an error, ErrTimedOut, and the message is not delivered.
	Sync bool

	// Bloom is the filter of a signal, as long as [BloomParameter] says, and BloomGeneration how it
	// was made: kdbus.match(7).
	Bloom           []byte
	BloomGeneration uint64

	via *name // the name that the message was sent to, if that has an activator
}

// A Segment is a piece of payload: Bytes, or a range of a memfd, or (if it is neither) Size zeros.
type Segment struct {
	Bytes  []byte
	Memfd  int    // 1 + index into Memfds; 0 is none
	Offset uint64 // into the memfd
	Size   uint64 // in bytes, in each of the three cases
}

// Priority returns what Extra has of it: 0 is that of ordinary messages.
func (m *Message) Priority() int64 { return m.extra().Priority }

// PayloadType returns what Extra has of it.
func (m *Message) PayloadType() uint64 { return m.extra().PayloadType }

// Segments returns what Extra has of it.
func (m *Message) Segments() []Segment { return m.extra().Segments }

// Memfds returns what Extra has of it.
func (m *Message) Memfds() []int { return m.extra().Memfds }

// Deadline returns what Extra has of it; 0 if it is never reached.
func (m *Message) Deadline() uint64 {
	if d := m.extra().Deadline; d <= math.MaxInt64 {
		return d
	}
	return 0
}

// Bloom returns the filter that Extra has, and its generation; nil if there is none.
func (m *Message) Bloom() (filter []byte, generation uint64) {
	e := m.extra()
	return e.Bloom, e.BloomGeneration
}

var noExtra Extra

func (m *Message) extra() *Extra {
	if m.Extra == nil {
		return &noExtra
	}
	return m.Extra
}

// Size returns the number of bytes that the message is accounted with.
func (m *Message) Size() int { return int(m.size) }

// Render returns the payload of a notification in the wire format of the front-end that asks, and
// makes it, once, with the function given. Safe for concurrent use by the receivers of one message.
func (m *Message) Render(encode func(*Message) []byte) [][]byte {
	m.Notification.rendered.Do(func() { m.Payload = [][]byte{encode(m)} })
	return m.Payload
}

// From says on whose account a message is that has descriptors and may be dropped before it is
// sent. Sending it says so, too.
func (m *Message) From(payer Payer) { m.uid, m.door = uint32(payer), uint16(payer>>32) }

// retain counts further references. They must not be given back before that.
func (m *Message) retain(n int) { m.refs.Add(int32(n)) }

// Release gives back one reference. The last one closes the descriptors and frees the payload.
func (m *Message) Release() {
	if m.refs.Add(-1) >= 0 {
		return
	}
	if m.FDs != nil {
		CloseDescriptors(m.payer(), m.FDs)
		m.FDs = nil
	}
	for _, fd := range m.Memfds() {
		syscall.Close(fd)
	}
	if m.Free != nil {
		m.Free()
	}
}

// overhead is what a queued message costs beside its payload, roughly. It bounds the memory that
// many empty messages can take.
const overhead = 128

// account works out the size of the message, and whether it is special, once, before it is queued
// anywhere. What is there in two forms counts once: most of the bytes are the same.
func (m *Message) account() {
	if e := m.Extra; e != nil {
		m.special = e.Priority != 0 || e.via != nil || len(e.Memfds) > 0
	}
	payload, segments := 0, 0
	for _, p := range m.Payload {
		payload += len(p)
	}
	for _, s := range m.Segments() {
		segments += len(s.Bytes)
	}
	size := overhead + max(payload, segments)
	if n := m.Notification; n != nil {
		size += len(n.Name)
	}
	m.size = uint32(min(size, math.MaxUint32))
}
