package gvariant

import (
	"strconv"

	"github.com/kdbus-go/kdbus/wire"
)

// HeaderFixedSize is the size of the part of the header before the fields.
const HeaderFixedSize = 16

// protocolVersion is the fourth byte of a message.
const protocolVersion = 2

// Codes of the header fields: those of version 1, but for SIGNATURE (8), which a
// message of version 2 may not have.
const (
	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplyCookie = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
	fieldUnixFDs     = 9
)

// fieldTypes holds the type of each known field.
const fieldTypes = "\x00ossstss\x00u"

var fieldNames = [...]string{
	"INVALID", "PATH", "INTERFACE", "MEMBER", "ERROR_NAME", "REPLY_COOKIE", "DESTINATION", "SENDER", "SIGNATURE", "UNIX_FDS",
}

// Header is the header of a message of version 2, and what the end of the message
// says: the signature. It means what [wire.Header] means; a field that is absent
// has its zero value. How long the body is, a message of version 2 does not say.
//
// The strings of a header that was parsed are part of the message, and valid as
// long as its bytes are not changed.
type Header struct {
	Order wire.Order
	Type  wire.Type
	Flags wire.Flags
	// Cookie identifies the message among those of its sender; never 0.
	Cookie uint64
	// ReplyCookie is the cookie of the message this one answers, or 0.
	ReplyCookie uint64
	// UnixFDs is the number of file descriptors that come with the message.
	UnixFDs uint32

	Path        string // object called, or emitting
	Interface   string // of the member
	Member      string // method or signal
	ErrorName   string
	Destination string // bus name; empty means broadcast
	Sender      string // bus name; kdbus's clients look elsewhere for it
	Signature   string // of the body: the type of the tuple, without brackets
}

// HeaderFromDBus1 returns the header that says in version 2 what h says in version
// 1. A reply serial in what is no reply means nothing, and is left out: sd-bus
// takes no message that has it.
func HeaderFromDBus1(h *wire.Header) Header {
	v2 := Header{
		Order: h.Order, Type: h.Type, Flags: h.Flags, Cookie: uint64(h.Serial), UnixFDs: h.UnixFDs,
		Path: h.Path, Interface: h.Interface, Member: h.Member, ErrorName: h.ErrorName,
		Destination: h.Destination, Sender: h.Sender, Signature: h.Signature,
	}
	if h.Type != wire.TypeMethodCall && h.Type != wire.TypeSignal {
		v2.ReplyCookie = uint64(h.ReplySerial)
	}
	return v2
}

// DBus1 returns the header that says in version 1 what h says in version 2. The
// size of the body is not known from h, and left 0. It is an error if the cookie or
// the reply cookie takes more than 32 bits.
func (h *Header) DBus1() (wire.Header, error) {
	v1 := wire.Header{
		Order: h.Order, Type: h.Type, Flags: h.Flags, Serial: uint32(h.Cookie), ReplySerial: uint32(h.ReplyCookie), UnixFDs: h.UnixFDs,
		Path: h.Path, Interface: h.Interface, Member: h.Member, ErrorName: h.ErrorName,
		Destination: h.Destination, Sender: h.Sender, Signature: h.Signature,
	}
	for _, cookie := range [...]uint64{h.Cookie, h.ReplyCookie} {
		if cookie>>32 != 0 {
			return wire.Header{}, headerError(8, "cookie "+strconv.FormatUint(cookie, 10)+" takes more than the 32 bits that version 1 has for it")
		}
	}
	return v1, nil
}

// Check judges a header: whether what [Header.Append] and [Header.AppendFooter]
// make of it is valid. Fields that are zero are absent. The rules are those of
// [wire.Header.Check].
func (h *Header) Check() error {
	v1 := wire.Header{
		Order: h.Order, Type: h.Type, Flags: h.Flags,
		Path: h.Path, Interface: h.Interface, Member: h.Member, ErrorName: h.ErrorName,
		Destination: h.Destination, Sender: h.Sender, Signature: h.Signature,
	}
	// Here the number of bits does not count.
	if h.Cookie != 0 {
		v1.Serial = 1
	}
	if h.ReplyCookie != 0 {
		v1.ReplySerial = 1
	}
	if h.Signature != "" {
		v1.BodySize = 1
	}
	return v1.Check()
}

//go:noinline
func headerError(at int, reason string) error {
	return &wire.Error{What: "message header of version 2", Offset: at, Reason: reason}
}
