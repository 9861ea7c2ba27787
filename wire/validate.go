package wire

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// ValidateBody judges the body of a message against its signature: alignment
// padding, every value, every nested signature, all lengths and limits, and
// that the body ends where its last value does. It does not allocate, and an
// array of numbers costs the same whatever its length.
//
// It is as strict as the specification, which makes it stricter than libdbus
// in three corners that other implementations refuse to receive: an array of
// numbers whose length is not a multiple of theirs, more than 32 arrays nested
// in a signature with other types between them, and an array of numbers, or an
// empty one, inside 64 other containers.
func ValidateBody(order Order, signature string, body []byte) error {
	var l layout
	if f := l.parse(signature); !f.none() {
		return f.error("signature", signature)
	}
	v := validator{order: order, data: body}
	for i := 0; i < len(signature); {
		if i = v.value(&l, i, 0); i < 0 {
			return v.error("body")
		}
	}
	if v.pos != len(body) {
		v.fail(v.pos, "bytes are left over after the last value")
		return v.error("body")
	}
	return nil
}

// validator judges marshalled values. Alignment counts from the beginning of
// data.
type validator struct {
	order  Order
	data   []byte
	pos    int
	reason string // why value failed, at pos
}

func (v *validator) error(what string) error {
	return &Error{What: what, Offset: v.pos, Reason: v.reason}
}

// fail notes the first fault. Its result tells the callers to unwind.
func (v *validator) fail(at int, reason string) int {
	v.pos, v.reason = at, reason
	return -1
}

const truncated = "the data ends within a value"

// value judges the value of the type at l.sig[i] that begins at pos, moves pos
// past it and returns the index of the next type; or it fails and returns -1.
// The value lies inside depth containers.
func (v *validator) value(l *layout, i, depth int) int {
	ok := false
	switch c := l.sig[i]; c {
	case 'b':
		ok = v.fixed(4) && v.boolean(v.pos-4)
	case 's', 'o':
		ok = v.string(c)
	case 'g':
		ok = v.signature()
	case 'v':
		ok = v.variant(depth + 1)
	case 'a':
		if !v.array(l, i, depth+1) {
			return -1
		}
		return int(l.end[i])
	case '(', '{':
		return v.fields(l, i, depth+1)
	default:
		ok = v.fixed(int(typeSize[c]))
	}
	if !ok {
		return -1
	}
	return i + 1
}

// align moves pos to a multiple of n, a power of two, over zero bytes.
func (v *validator) align(n int) bool {
	next := (v.pos + n - 1) &^ (n - 1)
	if next > len(v.data) {
		v.fail(len(v.data), "the data ends within alignment padding")
		return false
	}
	for ; v.pos < next; v.pos++ {
		if v.data[v.pos] != 0 {
			v.fail(v.pos, "alignment padding is not zero")
			return false
		}
	}
	return true
}

// fixed steps over a value of n bytes, aligned to n.
func (v *validator) fixed(n int) bool {
	if !v.align(n) {
		return false
	}
	if len(v.data)-v.pos < n {
		v.fail(len(v.data), truncated)
		return false
	}
	v.pos += n
	return true
}

func (v *validator) boolean(at int) bool {
	if v.order.Uint32(v.data[at:]) > 1 {
		v.fail(at, "a boolean is neither 0 nor 1")
		return false
	}
	return true
}

// length reads the length field of an array or string.
func (v *validator) length() (n uint32, ok bool) {
	if !v.fixed(4) {
		return 0, false
	}
	return v.order.Uint32(v.data[v.pos-4:]), true
}

// terminated steps over n bytes and the NUL byte after them.
func (v *validator) terminated(n uint32) (text string, ok bool) {
	if uint64(len(v.data)-v.pos) <= uint64(n) {
		v.fail(len(v.data), "the data ends within a string")
		return "", false
	}
	end := v.pos + int(n)
	if v.data[end] != 0 {
		v.fail(end, "a string does not end with NUL")
		return "", false
	}
	text = unsafe.String(&v.data[v.pos], int(n))
	v.pos = end + 1
	return text, true
}

func (v *validator) string(c byte) bool {
	n, ok := v.length()
	if !ok {
		return false
	}
	begin := v.pos
	text, ok := v.terminated(n)
	if !ok {
		return false
	}
	if c == 'o' {
		if f := pathFault(text); !f.none() {
			v.fail(begin+f.at, "an object path is not valid: "+f.reason)
			return false
		}
	} else if f := textFault(v.data[begin : begin+len(text)]); !f.none() {
		v.fail(begin+f.at, f.reason)
		return false
	}
	return true
}

// signature judges a value of type SIGNATURE.
func (v *validator) signature() bool {
	sig, ok := v.rawSignature()
	if !ok {
		return false
	}
	if f := signatureFault(sig); !f.none() {
		v.fail(v.pos-1-len(sig)+f.at, "a signature is not valid: "+f.reason)
		return false
	}
	return true
}

// rawSignature steps over a signature without judging its types.
func (v *validator) rawSignature() (sig string, ok bool) {
	if !v.fixed(1) {
		return "", false
	}
	return v.terminated(uint32(v.data[v.pos-1]))
}

// variant judges a variant, the depth-th container.
func (v *validator) variant(depth int) bool {
	if !v.enter(depth) {
		return false
	}
	sig, ok := v.rawSignature()
	if !ok {
		return false
	}
	// Nearly all variants hold a basic type, which needs no layout.
	if len(sig) == 1 && typeSize[sig[0]] != 0 && sig[0] != 'b' {
		return v.fixed(int(typeSize[sig[0]]))
	}
	if sig == "s" {
		return v.string('s')
	}
	return v.complexVariant(sig, depth)
}

func (v *validator) complexVariant(sig string, depth int) bool {
	var l layout
	begin := v.pos - 1 - len(sig)
	if f := l.parse(sig); !f.none() {
		v.fail(begin+f.at, "the signature of a variant is not valid: "+f.reason)
		return false
	}
	if sig == "" || nextType(sig, 0) != len(sig) {
		v.fail(begin, "the signature of a variant is not one complete type")
		return false
	}
	return v.value(&l, 0, depth) >= 0
}

// array judges an array, the depth-th container.
func (v *validator) array(l *layout, i, depth int) bool {
	if !v.enter(depth) {
		return false
	}
	length, ok := v.length()
	if !ok {
		return false
	}
	if length > MaxArraySize {
		v.fail(v.pos-4, "an array is longer than 64 MiB")
		return false
	}
	element := l.sig[i+1]
	if !v.align(alignment(element)) {
		return false
	}
	if int(length) > len(v.data)-v.pos {
		v.fail(len(v.data), "the data ends within an array")
		return false
	}
	end := v.pos + int(length)
	if size := int(typeSize[element]); size != 0 {
		if int(length)%size != 0 {
			v.fail(end, "an array does not end where its last element does")
			return false
		}
		if element == 'b' {
			for at := v.pos; at < end; at += 4 {
				if !v.boolean(at) {
					return false
				}
			}
		}
		v.pos = end
		return true
	}
	for v.pos < end {
		if v.value(l, i+1, depth) < 0 {
			return false
		}
	}
	if v.pos != end {
		v.fail(end, "an array does not end where its last element does")
		return false
	}
	return true
}

// fields judges a struct or dict entry, the depth-th container.
func (v *validator) fields(l *layout, i, depth int) int {
	if !v.enter(depth) || !v.align(8) {
		return -1
	}
	for i++; l.sig[i] != ')' && l.sig[i] != '}'; {
		if i = v.value(l, i, depth); i < 0 {
			return -1
		}
	}
	return i + 1
}

func (v *validator) enter(depth int) bool {
	if depth > MaxDepth {
		v.fail(v.pos, "more than 64 containers are nested")
		return false
	}
	return true
}

// textFault judges the content of a string: UTF-8 without NUL.
func textFault(b []byte) fault {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		// Taking 1 from each byte sets the high bit of those that were 0.
		if w := binary.LittleEndian.Uint64(b[i:]); (w|(w-ones))&highs != 0 {
			return textFaultAfter(b, i)
		}
	}
	for ; i < len(b); i++ {
		if b[i]-1 >= utf8.RuneSelf-1 {
			return textFaultAfter(b, i)
		}
	}
	return fault{}
}

// textFaultAfter does the same where b[:i] is known to be good.
func textFaultAfter(b []byte, i int) fault {
	if at := bytes.IndexByte(b[i:], 0); at >= 0 {
		return fault{i + at, "a string contains NUL"}
	}
	if utf8.Valid(b[i:]) {
		return fault{}
	}
	for {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return fault{i, "a string is not valid UTF-8"}
		}
		i += size
	}
}
