package wire

import "strconv"

// Type is the type of a message, section "Message Types". A type this package
// does not name is legal on the wire and kept; receivers ignore such messages.
type Type byte

// The types of messages. The zero Type is invalid.
const (
	TypeMethodCall Type = 1 + iota
	TypeMethodReturn
	TypeError
	TypeSignal
)

func (t Type) String() string {
	switch t {
	case TypeMethodCall:
		return "method_call"
	case TypeMethodReturn:
		return "method_return"
	case TypeError:
		return "error"
	case TypeSignal:
		return "signal"
	}
	return "type " + strconv.Itoa(int(t))
}

// Flags of a message. Unknown ones are legal on the wire and kept.
type Flags byte

// The flags of messages, section "Message Format".
const (
	// NoReplyExpected: neither a reply nor an error is wanted.
	NoReplyExpected Flags = 1 << iota
	// NoAutoStart: the bus must not start a service to deliver the message.
	NoAutoStart
	// AllowInteractiveAuthorization: the caller is ready to wait for a user.
	AllowInteractiveAuthorization
)

func (f Flags) String() string {
	s := ""
	for bit, name := range [8]string{"no-reply-expected", "no-auto-start", "allow-interactive-authorization"} {
		if f&(1<<bit) == 0 {
			continue
		}
		if name == "" {
			name = "flag " + strconv.Itoa(1<<bit)
		}
		if s != "" {
			s += ","
		}
		s += name
	}
	return s
}

// protocolVersion is the only one there is.
const protocolVersion = 1

// Codes of the header fields, section "Header Fields".
const (
	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
	fieldUnixFDs     = 9
)

// Path and interface by which libraries deliver messages to themselves, such as
// "Disconnected". They may not arrive from outside: a bus disconnects whoever
// sends them.
const (
	localPath      = "/org/freedesktop/DBus/Local"
	localInterface = "org.freedesktop.DBus.Local"
)

// Header is the header of a message, section "Message Format". A field that is
// absent has its zero value, which no present field can have but the signature,
// whose absence means the same as an empty one, and the number of descriptors.
//
// The strings of a header that was parsed are part of the message's buffer, and
// valid as long as its bytes are not changed. Clone what is to be kept, or use
// [ParseMessage].
type Header struct {
	Order Order
	Type  Type
	Flags Flags
	// BodySize is the size of the body in bytes.
	BodySize uint32
	// Serial identifies the message among those of its sender; never 0.
	Serial uint32
	// ReplySerial is the serial of the message this one answers, or 0.
	ReplySerial uint32
	// UnixFDs is the number of file descriptors that come with the message.
	UnixFDs uint32

	Path        string // object called, or emitting
	Interface   string // of the member
	Member      string // method or signal
	ErrorName   string
	Destination string // bus name; empty means broadcast, or whoever is at the other end
	Sender      string // bus name; stamped by the bus
	Signature   string // of the body
}

// MessageSize returns the size in bytes of the whole message, header, padding
// and body, of which prefix is the beginning: [HeaderFixedSize] bytes are
// enough, and with fewer the error is [ErrShort]. Of what those bytes say, it
// judges byte order, protocol version and sizes; whatever it returns is at most
// [MaxMessageSize].
func MessageSize(prefix []byte) (int, error) {
	if len(prefix) < HeaderFixedSize {
		return 0, ErrShort
	}
	_, bodyOffset, bodySize, err := sizes(prefix)
	return bodyOffset + bodySize, err
}

// sizes of the parts of the message, the first 16 bytes of which are given.
func sizes(b []byte) (fieldsEnd, bodyOffset, bodySize int, err error) {
	order := Order(b[0])
	if !order.Valid() {
		return 0, 0, 0, headerError(0, "the byte order is neither 'l' nor 'B'")
	}
	if b[3] != protocolVersion {
		return 0, 0, 0, headerError(3, "the version of the protocol is "+strconv.Itoa(int(b[3]))+" and not 1")
	}
	body, fields := order.Uint32(b[4:]), order.Uint32(b[12:])
	if fields > MaxArraySize {
		return 0, 0, 0, headerError(12, "the array of fields is longer than 64 MiB")
	}
	fieldsEnd = HeaderFixedSize + int(fields)
	bodyOffset = align8(fieldsEnd)
	// Not as a sum, which might not fit an int.
	if body > uint32(MaxMessageSize-bodyOffset) {
		return 0, 0, 0, headerError(4, tooLong)
	}
	return fieldsEnd, bodyOffset, int(body), nil
}

const tooLong = "the message is longer than 128 MiB"

func align8(n int) int { return (n + 7) &^ 7 }

//go:noinline
func headerError(at int, reason string) error {
	return &Error{What: "message header", Offset: at, Reason: reason}
}
