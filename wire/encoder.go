package wire

import (
	"math"
	"unsafe"
)

// Encoder writes the values of a body one after the other, without reflection
// and without allocating beyond its buffer. It aligns and checks every value;
// the first fault is kept and returned by [Encoder.Body]. That the values follow
// the signature the message will carry, and that arrays are closed, is for the
// caller to see to.
//
// A reply of type a{sv} is written so:
//
//	var e wire.Encoder
//	e.Reset(order, buf[:0])
//	dict := e.OpenArray('{')
//	e.AlignStruct()
//	e.String("ProcessID")
//	e.Variant("u")
//	e.Uint32(pid)
//	e.CloseArray(dict)
//	body, err := e.Body()
//
// The zero Encoder writes little-endian to a new buffer.
type Encoder struct {
	buf   []byte
	begin int // of the body in buf
	order Order
	err   error
}

// Reset begins a new body at len(dst), in the given byte order; what is in dst
// stays, and alignment counts from where the body begins. The Encoder owns dst
// until the call of Body.
func (e *Encoder) Reset(order Order, dst []byte) {
	*e = Encoder{buf: dst, begin: len(dst), order: order}
}

// Body returns dst of [Encoder.Reset] with the body appended, or the first
// fault.
func (e *Encoder) Body() ([]byte, error) {
	if e.err == nil && len(e.buf)-e.begin > MaxMessageSize {
		e.fail("body", "it is longer than 128 MiB")
	}
	if e.err != nil {
		return nil, e.err
	}
	return e.buf, nil
}

func (e *Encoder) fail(what, reason string) {
	if e.err == nil {
		e.err = &Error{What: what, Offset: -1, Reason: reason}
	}
}

// align appends zeros up to a multiple of n, a power of two of at most 8.
func (e *Encoder) align(n int) {
	var zeros [8]byte
	e.buf = append(e.buf, zeros[:-(len(e.buf)-e.begin)&(n-1)]...)
}

// Byte writes a BYTE.
func (e *Encoder) Byte(v byte) { e.buf = append(e.buf, v) }

// Bool writes a BOOLEAN.
func (e *Encoder) Bool(v bool) {
	n := uint32(0)
	if v {
		n = 1
	}
	e.Uint32(n)
}

// Int16 writes an INT16.
func (e *Encoder) Int16(v int16) { e.Uint16(uint16(v)) }

// Uint16 writes a UINT16.
func (e *Encoder) Uint16(v uint16) {
	e.align(2)
	e.buf = e.order.AppendUint16(e.buf, v)
}

// Int32 writes an INT32.
func (e *Encoder) Int32(v int32) { e.Uint32(uint32(v)) }

// Uint32 writes a UINT32.
func (e *Encoder) Uint32(v uint32) {
	e.align(4)
	e.buf = e.order.AppendUint32(e.buf, v)
}

// Int64 writes an INT64.
func (e *Encoder) Int64(v int64) { e.Uint64(uint64(v)) }

// Uint64 writes a UINT64.
func (e *Encoder) Uint64(v uint64) {
	e.align(8)
	e.buf = e.order.AppendUint64(e.buf, v)
}

// Double writes a DOUBLE.
func (e *Encoder) Double(v float64) { e.Uint64(math.Float64bits(v)) }

// UnixFD writes a UNIX_FD: an index into the descriptors of the message.
func (e *Encoder) UnixFD(v UnixFD) { e.Uint32(uint32(v)) }

// String writes a STRING, which must be UTF-8 without NUL.
func (e *Encoder) String(s string) {
	if f := textFault(unsafe.Slice(unsafe.StringData(s), len(s))); !f.none() {
		e.fault("string", s, f)
	}
	e.text(s)
}

// ObjectPath writes an OBJECT_PATH.
func (e *Encoder) ObjectPath(s ObjectPath) {
	if f := pathFault(string(s)); !f.none() {
		e.fault("object path", string(s), f)
	}
	e.text(string(s))
}

func (e *Encoder) text(s string) {
	e.align(4)
	// What does not fit the length field does not fit a body either, and Body
	// says so.
	e.buf = e.order.AppendUint32(e.buf, uint32(len(s)))
	e.buf = append(e.buf, s...)
	e.buf = append(e.buf, 0)
}

// Signature writes a SIGNATURE.
func (e *Encoder) Signature(s Signature) {
	if f := signatureFault(string(s)); !f.none() {
		e.fault("signature", string(s), f)
		return
	}
	e.shortText(string(s))
}

func (e *Encoder) shortText(s string) {
	e.buf = append(e.buf, byte(len(s)))
	e.buf = append(e.buf, s...)
	e.buf = append(e.buf, 0)
}

// Variant begins a VARIANT; the value of the single complete type sig follows.
func (e *Encoder) Variant(sig Signature) {
	if f := singleSignatureFault(string(sig)); !f.none() {
		e.fault("signature", string(sig), f)
		return
	}
	e.shortText(string(sig))
}

func (e *Encoder) fault(what, s string, f fault) {
	if e.err == nil {
		e.err = f.error(what, s)
	}
}

// AlignStruct begins a STRUCT or DICT_ENTRY; its fields follow. Neither has an
// end to write.
func (e *Encoder) AlignStruct() { e.align(8) }

// OpenedArray is an array whose end is not written yet.
type OpenedArray struct {
	length int // where the length field is
	begin  int // where the first element is
}

// OpenArray begins an ARRAY; element is the first code of the elements' type,
// such as 's' or '{'. The elements follow, and then [Encoder.CloseArray].
func (e *Encoder) OpenArray(element byte) OpenedArray {
	e.Uint32(0)
	a := OpenedArray{length: len(e.buf) - 4}
	e.align(alignment(element))
	a.begin = len(e.buf)
	return a
}

// CloseArray ends the array a, all arrays within which are closed.
func (e *Encoder) CloseArray(a OpenedArray) {
	n := len(e.buf) - a.begin
	if n > MaxArraySize {
		e.fail("array", "it is longer than 64 MiB")
	}
	e.order.PutUint32(e.buf[a.length:], uint32(n))
}

// Bytes writes an array of BYTE.
func (e *Encoder) Bytes(b []byte) {
	a := e.OpenArray('y')
	e.buf = append(e.buf, b...)
	e.CloseArray(a)
}

// Strings writes an array of STRING.
func (e *Encoder) Strings(list []string) {
	a := e.OpenArray('s')
	for _, s := range list {
		e.String(s)
	}
	e.CloseArray(a)
}
