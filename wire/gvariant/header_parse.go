package gvariant

import (
	"bytes"
	"strconv"

	"github.com/kdbus-go/kdbus/wire"
)

// Parse reads the header of a message of size bytes into h and judges it
// completely. Given are the first piece of the message, which contains the header
// and its fields, and the last, which contains the end of the message from the NUL
// before the signature on; they may be the same, or overlap. The body lies in the
// message from begin to end, and is not looked at. After any error, h is to be
// thrown away.
//
// Known fields must have the right type and valid content, occur once, be all that
// the type of the message requires, and not be SIGNATURE. Unknown fields must be in
// normal form, and are left out of h. Four bytes of the fixed part are reserved and
// ignored. Nothing is allocated.
func (h *Header) Parse(first, last []byte, size int) (begin, end int, err error) {
	if len(first) > size || len(last) > size {
		return 0, 0, headerError(0, "a piece of the message is larger than the message")
	}
	if len(first) < HeaderFixedSize {
		return 0, 0, headerError(len(first), "the first piece of the message ends within the header")
	}
	order := wire.Order(first[0])
	if !order.Valid() {
		return 0, 0, headerError(0, "the byte order is neither 'l' nor 'B'")
	}
	if first[3] != protocolVersion {
		return 0, 0, headerError(3, "the version of the protocol is "+strconv.Itoa(int(first[3]))+" and not 2")
	}
	*h = Header{Order: order, Type: wire.Type(first[1]), Flags: wire.Flags(first[2]), Cookie: order.Uint64(first[8:])}
	fieldsEnd, end, err := h.parseFooter(last, size)
	if err != nil {
		return 0, 0, err
	}
	if fieldsEnd > len(first) {
		return 0, 0, headerError(len(first), "the first piece of the message ends within the fields")
	}
	begin = alignUp(fieldsEnd, 8)
	if begin > end {
		return 0, 0, headerError(fieldsEnd, "the message ends within the fields")
	}
	for at := fieldsEnd; at < min(begin, len(first)); at++ {
		if first[at] != 0 {
			return 0, 0, headerError(at, badPadding)
		}
	}
	if err := h.parseFields(first[:fieldsEnd]); err != nil {
		return 0, 0, err
	}
	return begin, end, h.Check()
}

// parseFooter reads the signature and the one framing offset at the end of the
// message, and returns where fields and body end.
func (h *Header) parseFooter(last []byte, size int) (fieldsEnd, bodyEnd int, err error) {
	before := size - len(last) // bytes before last
	width := readWidth(size)
	if len(last) < width {
		return 0, 0, headerError(size, "the last piece of the message ends before the signature does")
	}
	tail := last[:len(last)-width]
	if size-width+writeWidth(size-width, 1) != size {
		return 0, 0, headerError(before+len(tail), wideOffsets)
	}
	offset := readOffset(last[len(tail):])
	if offset < HeaderFixedSize || offset > uint64(size-width) {
		return 0, 0, headerError(before+len(tail), badOffset)
	}
	window := tail[max(0, len(tail)-maxTypeLength-1):]
	nul := bytes.LastIndexByte(window, 0)
	typ := text(window[nul+1:])
	if nul < 0 || len(typ) < 2 || typ[0] != '(' || typ[len(typ)-1] != ')' {
		return 0, 0, headerError(before+len(tail), "before the framing offset there is no signature in brackets")
	}
	h.Signature = typ[1 : len(typ)-1]
	return int(offset), size - width - len(typ) - 1, nil
}

// parseFields reads the array of fields, which is b[16:].
func (h *Header) parseFields(b []byte) error {
	array := b[HeaderFixedSize:]
	o, ok := arrayOffsets(array)
	if !ok || o.end == len(array) && len(array) != 0 || len(array) != 0 && !o.narrow(len(array)) {
		return headerError(len(b), "the fields do not end with the framing offsets they need")
	}
	at, seen := 0, uint32(0)
	for i := range o.count() {
		end, ok := o.at(i)
		if !ok || end < at {
			return headerError(HeaderFixedSize+o.end+i*o.width, badOffset)
		}
		begin := alignUp(at, 8)
		// A code, and a variant of at least a NUL and its type.
		if end-begin < 8+2 {
			return headerError(HeaderFixedSize+at, "a field is too short for what is in it")
		}
		for ; at < begin; at++ {
			if array[at] != 0 {
				return headerError(HeaderFixedSize+at, badPadding)
			}
		}
		if err := h.parseField(array[begin:end], HeaderFixedSize+begin, &seen); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// parseField reads the field b, code and variant, which lies at byte at of the
// message. Seen has the bits of the codes of the fields before.
func (h *Header) parseField(b []byte, at int, seen *uint32) error {
	code := h.Order.Uint64(b)
	variant := b[8:]
	switch {
	case code == 0:
		return headerError(at, "the code of a field is 0")
	case code == fieldSignature:
		return headerError(at, "there is a field SIGNATURE, which version 2 does not have")
	case code >= uint64(len(fieldNames)):
		c := checker{data: variant}
		// A field is the third container, inside the message and the fields.
		if !c.variant(0, len(variant), 3) {
			return headerError(at+8+c.at, "a field that is not known: "+c.reason)
		}
		return nil
	case *seen&(1<<code) != 0:
		return headerError(at, "field "+fieldNames[code]+" occurs twice")
	case variant[len(variant)-1] != fieldTypes[code] || variant[len(variant)-2] != 0:
		return headerError(at, "field "+fieldNames[code]+" has the wrong type")
	}
	*seen |= 1 << code
	value := variant[:len(variant)-2]
	if !h.setField(code, value) {
		return headerError(at+8, "field "+fieldNames[code]+" has no valid value")
	}
	return nil
}

// setField takes the serialised value of a field. What is in a string is judged
// later.
func (h *Header) setField(code uint64, b []byte) bool {
	switch code {
	case fieldReplyCookie:
		if len(b) != 8 {
			return false
		}
		h.ReplyCookie = h.Order.Uint64(b)
		return h.ReplyCookie != 0
	case fieldUnixFDs:
		if len(b) != 4 {
			return false
		}
		h.UnixFDs = h.Order.Uint32(b)
		return true
	}
	last := len(b) - 1
	if last < 1 || b[last] != 0 {
		return false
	}
	s := text(b[:last])
	switch code {
	case fieldPath:
		h.Path = s
	case fieldInterface:
		h.Interface = s
	case fieldMember:
		h.Member = s
	case fieldErrorName:
		h.ErrorName = s
	case fieldDestination:
		h.Destination = s
	case fieldSender:
		h.Sender = s
	}
	return true
}
