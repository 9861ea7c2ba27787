package wire

import (
	"math"
	"unsafe"
)

// reader reads the values of a body that [ValidateBody] found valid. Nothing
// happens outside of data even if it is not: the reader then stays at its end.
type reader struct {
	order Order
	data  []byte
	pos   int
}

// take steps over n bytes after aligning to align, and returns them; nil if
// they are not there.
func (r *reader) take(align int, n uint32) []byte {
	begin := (r.pos + align - 1) &^ (align - 1)
	if begin > len(r.data) || uint64(n) > uint64(len(r.data)-begin) {
		r.pos = len(r.data)
		return nil
	}
	r.pos = begin + int(n)
	return r.data[begin:r.pos]
}

func (r *reader) uint32() uint32 {
	if b := r.take(4, 4); b != nil {
		return r.order.Uint32(b)
	}
	return 0
}

// text reads n bytes and the NUL after them. The result is part of data.
func (r *reader) text(n uint32) string {
	b := r.take(1, n)
	r.take(1, 1)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// signature reads a value of type SIGNATURE, or that of a variant.
func (r *reader) signature() string {
	if b := r.take(1, 1); b != nil {
		return r.text(uint32(b[0]))
	}
	return ""
}

// array reads the beginning of an array and returns where it ends.
func (r *reader) array(element byte) (end int) {
	n := r.uint32()
	r.take(alignment(element), 0)
	if uint64(n) > uint64(len(r.data)-r.pos) {
		n = uint32(len(r.data) - r.pos)
	}
	return r.pos + int(n)
}

// basic reads a value of the basic type c.
func (r *reader) basic(c byte) Basic {
	v := Basic{Type: c}
	switch c {
	case 's', 'o':
		v.text = r.text(r.uint32())
		return v
	case 'g':
		v.text = r.signature()
		return v
	}
	n := int(typeSize[c])
	b := r.take(n, uint32(n))
	if b == nil {
		return v
	}
	switch n {
	case 1:
		v.bits = uint64(b[0])
	case 2:
		v.bits = uint64(r.order.Uint16(b))
	case 4:
		v.bits = uint64(r.order.Uint32(b))
	default:
		v.bits = r.order.Uint64(b)
	}
	return v
}

// Basic is a value of a basic type. Text in it is part of the body it was read
// from.
type Basic struct {
	// Type is the code of its type, one of "ybnqiuxtdsogh".
	Type byte
	bits uint64
	text string
}

// Text is the content of a STRING, OBJECT_PATH or SIGNATURE, and otherwise "".
func (v Basic) Text() string { return v.text }

// Bool is the value of a BOOLEAN.
func (v Basic) Bool() bool { return v.bits != 0 }

// Uint is the value of an unsigned integer or UNIX_FD.
func (v Basic) Uint() uint64 { return v.bits }

// Int is the value of a signed integer.
func (v Basic) Int() int64 {
	switch v.Type {
	case 'n':
		return int64(int16(v.bits))
	case 'i':
		return int64(int32(v.bits))
	}
	return int64(v.bits)
}

// Double is the value of a DOUBLE.
func (v Basic) Double() float64 { return math.Float64frombits(v.bits) }
