package wire

import (
	"encoding/binary"
	"unsafe"
)

// Parse reads the header at the beginning of msg into h and judges it
// completely. It returns where the body begins. Of the body nothing is needed
// and nothing looked at; if msg ends before the header does, the error is
// [ErrShort]. After any error, h is to be thrown away.
//
// Known fields must have the right type and valid content, occur once and
// include those the type of the message requires. Unknown fields must be well
// formed and are left out of h. There is a signature if and only if there is a
// body. Nothing is allocated.
func (h *Header) Parse(msg []byte) (bodyOffset int, err error) {
	if len(msg) < HeaderFixedSize {
		return 0, ErrShort
	}
	fieldsEnd, bodyOffset, bodySize, err := sizes(msg)
	if err != nil {
		return 0, err
	}
	if len(msg) < bodyOffset {
		return 0, ErrShort
	}
	order := Order(msg[0])
	*h = Header{
		Order:    order,
		Type:     Type(msg[1]),
		Flags:    Flags(msg[2]),
		BodySize: uint32(bodySize),
		Serial:   order.Uint32(msg[8:]),
	}
	if h.Type == 0 {
		return 0, headerError(1, "the message type is 0")
	}
	if h.Serial == 0 {
		return 0, headerError(8, "the serial is 0")
	}
	if err := h.parseFields(msg[:bodyOffset], fieldsEnd); err != nil {
		return 0, err
	}
	return bodyOffset, h.checkComplete()
}

// parseFields reads the array of fields, b[16:end]. b goes on to the next
// multiple of 8.
func (h *Header) parseFields(b []byte, end int) error {
	seen := uint32(0)
	for pos := HeaderFixedSize; ; {
		// The padding before a field, or after the last one, is the end of an
		// aligned word.
		next := align8(pos)
		if binary.LittleEndian.Uint64(b[next-8:])>>(64-8*uint(next-pos)) != 0 {
			return headerError(pos, "alignment padding is not zero")
		}
		if pos == end {
			return nil
		}
		pos = next
		if end-pos < 5 {
			return headerError(end, "the array of fields ends within a field")
		}
		// Code, length of the variant's signature, signature, NUL.
		head := binary.LittleEndian.Uint32(b[pos:])
		code := uint8(head)
		bit := uint32(1) << code
		var err error
		switch {
		case code == 0:
			return headerError(pos, "the code of a field is 0")
		case code > fieldUnixFDs:
			pos, err = skipField(h.Order, b[:end], pos)
		case head != fieldHeads[code]:
			return headerError(pos, "field "+fieldNames[code]+" has the wrong type")
		case seen&bit != 0:
			return headerError(pos, "field "+fieldNames[code]+" occurs twice")
		default:
			seen |= bit
			pos, err = h.parseField(code, b[:end], pos)
		}
		if err != nil {
			return err
		}
	}
}

// fieldHeads holds the first four bytes of each known field, read little-endian.
var fieldHeads = func() (heads [10]uint32) {
	for code, c := range "\x00osssussgu" {
		heads[code] = uint32(code) | 1<<8 | uint32(c)<<16
	}
	return heads
}()

var fieldNames = [10]string{
	"INVALID", "PATH", "INTERFACE", "MEMBER", "ERROR_NAME", "REPLY_SERIAL", "DESTINATION", "SENDER", "SIGNATURE", "UNIX_FDS",
}

// parseField reads the field at b[pos:], the first four bytes of which, code
// and type, are known to be good, and returns where it ends.
func (h *Header) parseField(code uint8, b []byte, pos int) (next int, err error) {
	var n uint32 // the number itself, or the length of the string
	begin := pos + 5
	if code == fieldSignature {
		n = uint32(b[pos+4])
	} else {
		begin = pos + 8
		if len(b) < begin {
			return 0, headerError(len(b), "the array of fields ends within a field")
		}
		n = h.Order.Uint32(b[pos+4:])
	}
	switch code {
	case fieldReplySerial:
		if h.ReplySerial = n; n == 0 {
			return 0, headerError(pos+4, "field REPLY_SERIAL is 0")
		}
		return begin, nil
	case fieldUnixFDs:
		h.UnixFDs = n
		return begin, nil
	}
	if uint64(len(b)-begin) <= uint64(n) {
		return 0, headerError(len(b), "the array of fields ends within a string")
	}
	next = begin + int(n)
	if b[next] != 0 {
		return 0, headerError(next, "a string does not end with NUL")
	}
	s := unsafe.String(&b[begin], int(n))
	if f := h.setField(code, s); !f.none() {
		return 0, headerError(begin+f.at, "field "+fieldNames[code]+": "+f.reason)
	}
	return next + 1, nil
}

// setField sets a field of type string, object path or signature.
func (h *Header) setField(code uint8, s string) (f fault) {
	switch code {
	case fieldPath:
		h.Path = s
		if s == localPath {
			return fault{0, "the path " + localPath + " is reserved"}
		}
		return pathFault(s)
	case fieldInterface:
		h.Interface = s
		if s == localInterface {
			return fault{0, "the interface " + localInterface + " is reserved"}
		}
		return interfaceFault(s)
	case fieldMember:
		h.Member = s
		return memberFault(s)
	case fieldErrorName:
		h.ErrorName = s
		return interfaceFault(s)
	case fieldDestination:
		h.Destination = s
		return busNameFault(s)
	case fieldSender:
		h.Sender = s
		return busNameFault(s)
	default:
		h.Signature = s
		return signatureFault(s)
	}
}

// skipField judges the unknown field at b[pos:] and returns where it ends.
func skipField(order Order, b []byte, pos int) (next int, err error) {
	v := validator{order: order, data: b, pos: pos + 1}
	// A field's variant is the third container, inside an array and a struct.
	if !v.variant(3) {
		return 0, v.error("message header")
	}
	return v.pos, nil
}

// checkComplete judges what no single field shows.
func (h *Header) checkComplete() error {
	missing := ""
	switch h.Type {
	case TypeMethodCall, TypeSignal:
		switch {
		case h.Path == "":
			missing = "PATH"
		case h.Member == "":
			missing = "MEMBER"
		case h.Interface == "" && h.Type == TypeSignal:
			missing = "INTERFACE"
		}
	case TypeError, TypeMethodReturn:
		switch {
		case h.ReplySerial == 0:
			missing = "REPLY_SERIAL"
		case h.ErrorName == "" && h.Type == TypeError:
			missing = "ERROR_NAME"
		}
	}
	switch {
	case missing != "":
		return headerError(HeaderFixedSize, "a message of type "+h.Type.String()+" has no field "+missing)
	case h.Signature == "" && h.BodySize != 0:
		return headerError(4, "there is a body but no signature")
	case h.Signature != "" && h.BodySize == 0:
		return headerError(4, "there is a signature but no body")
	}
	return nil
}

// Check judges a header that was not parsed but filled in: whether what
// [Header.Append] makes of it is valid. Fields that are zero are absent.
func (h *Header) Check() error {
	switch {
	case !h.Order.Valid():
		return headerError(0, "the byte order is neither 'l' nor 'B'")
	case h.Type == 0:
		return headerError(1, "the message type is 0")
	case h.Serial == 0:
		return headerError(8, "the serial is 0")
	}
	var scratch Header
	for code, s := range [...]string{
		fieldPath: h.Path, fieldInterface: h.Interface, fieldMember: h.Member, fieldErrorName: h.ErrorName,
		fieldDestination: h.Destination, fieldSender: h.Sender, fieldSignature: h.Signature,
	} {
		if s == "" {
			continue
		}
		if f := scratch.setField(uint8(code), s); !f.none() {
			return f.error("field "+fieldNames[code], s)
		}
	}
	return h.checkComplete()
}
