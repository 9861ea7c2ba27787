package peer

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// Variant is a D-Bus variant: one value with the signature it travels with.
type Variant struct {
	Sig   string
	Value any
}

// Entry is a dict entry. A dictionary is an []any of these.
type Entry struct {
	Key, Value any
}

// encoder appends values to buf, which begins at an offset that is a multiple of 8.
type encoder struct {
	order binary.AppendByteOrder
	put   binary.ByteOrder
	buf   []byte
}

func newEncoder(order byte) *encoder {
	if order == 'B' {
		return &encoder{order: binary.BigEndian, put: binary.BigEndian}
	}
	return &encoder{order: binary.LittleEndian, put: binary.LittleEndian}
}

func (e *encoder) align(n int) {
	for len(e.buf)%n != 0 {
		e.buf = append(e.buf, 0)
	}
}

// value appends v as the first complete type of sig and returns the rest of sig. The Go types are
// those of package documentation's decode table; a mismatch is a mistake in the test and panics.
func (e *encoder) value(sig string, v any) (rest string) {
	one, rest := splitSignature(sig)
	switch sig[0] {
	case 'y':
		e.buf = append(e.buf, v.(byte))
	case 'b':
		n := uint32(0)
		switch b := v.(type) {
		case bool:
			if b {
				n = 1
			}
		case uint32: // a boolean that is neither 0 nor 1
			n = b
		}
		e.align(4)
		e.buf = e.order.AppendUint32(e.buf, n)
	case 'n':
		e.align(2)
		e.buf = e.order.AppendUint16(e.buf, uint16(v.(int16)))
	case 'q':
		e.align(2)
		e.buf = e.order.AppendUint16(e.buf, v.(uint16))
	case 'i':
		e.align(4)
		e.buf = e.order.AppendUint32(e.buf, uint32(v.(int32)))
	case 'u', 'h':
		e.align(4)
		e.buf = e.order.AppendUint32(e.buf, v.(uint32))
	case 'x':
		e.align(8)
		e.buf = e.order.AppendUint64(e.buf, uint64(v.(int64)))
	case 't':
		e.align(8)
		e.buf = e.order.AppendUint64(e.buf, v.(uint64))
	case 'd':
		e.align(8)
		e.buf = e.order.AppendUint64(e.buf, math.Float64bits(v.(float64)))
	case 's', 'o':
		e.align(4)
		e.buf = e.order.AppendUint32(e.buf, uint32(len(v.(string))))
		e.buf = append(append(e.buf, v.(string)...), 0)
	case 'g':
		e.buf = append(e.buf, byte(len(v.(string))))
		e.buf = append(append(e.buf, v.(string)...), 0)
	case 'v':
		w := v.(Variant)
		e.value("g", w.Sig)
		for s := w.Sig; s != ""; {
			s = e.value(s, w.Value)
		}
	case 'a':
		e.array(one[1:], v)
	case '(':
		e.align(8)
		inner := one[1 : len(one)-1]
		for _, f := range v.([]any) {
			inner = e.value(inner, f)
		}
	case '{':
		e.align(8)
		entry := v.(Entry)
		e.value(e.value(one[1:len(one)-1], entry.Key), entry.Value)
	default:
		panic(fmt.Sprintf("peer: cannot encode signature %q", sig))
	}
	return rest
}

func (e *encoder) array(elem string, v any) {
	e.align(4)
	at := len(e.buf)
	e.buf = append(e.buf, 0, 0, 0, 0)
	e.align(alignment(elem[0]))
	start := len(e.buf)
	switch list := v.(type) {
	case []byte:
		e.buf = append(e.buf, list...)
	case []string:
		for _, s := range list {
			e.value(elem, s)
		}
	case []any:
		for _, x := range list {
			e.value(elem, x)
		}
	default:
		panic(fmt.Sprintf("peer: cannot encode %T as an array of %q", v, elem))
	}
	e.put.PutUint32(e.buf[at:], uint32(len(e.buf)-start))
}

func alignment(code byte) int {
	switch code {
	case 'n', 'q':
		return 2
	case 'i', 'u', 'b', 's', 'o', 'a', 'h':
		return 4
	case 'x', 't', 'd', '(', '{':
		return 8
	}
	return 1
}

// splitSignature cuts the first complete type off sig.
func splitSignature(sig string) (first, rest string) {
	i := 0
	for sig[i] == 'a' {
		i++
	}
	depth := 0
	for ; i < len(sig); i++ {
		switch sig[i] {
		case '(', '{':
			depth++
		case ')', '}':
			depth--
		}
		if depth == 0 {
			return sig[:i+1], sig[i+1:]
		}
	}
	return sig, ""
}

// decoder takes values from buf, whose first byte is at an offset that is a multiple of 8.
type decoder struct {
	order binary.ByteOrder
	buf   []byte
	pos   int
}

func newDecoder(order byte, buf []byte) *decoder {
	if order == 'B' {
		return &decoder{order: binary.BigEndian, buf: buf}
	}
	return &decoder{order: binary.LittleEndian, buf: buf}
}

func (d *decoder) align(n int) {
	d.pos += (n - d.pos%n) % n
}

// take returns the next n bytes. Running out of bytes panics with a string, which Message decoding
// turns into an error.
func (d *decoder) take(n int) []byte {
	if n < 0 || d.pos+n > len(d.buf) {
		panic(fmt.Sprintf("value of %d bytes at offset %d passes the end of %d bytes", n, d.pos, len(d.buf)))
	}
	d.pos += n
	return d.buf[d.pos-n : d.pos]
}

// value reads the first complete type of sig: byte, bool, int16, uint16, int32, uint32 (also
// for an fd index), int64, uint64, float64, string (also for paths and signatures), Variant,
// Entry, []byte for "ay", otherwise []any for arrays and structs.
func (d *decoder) value(sig string) (v any, rest string) {
	one, rest := splitSignature(sig)
	d.align(alignment(sig[0]))
	switch sig[0] {
	case 'y':
		v = d.take(1)[0]
	case 'b':
		v = d.order.Uint32(d.take(4)) != 0
	case 'n':
		v = int16(d.order.Uint16(d.take(2)))
	case 'q':
		v = d.order.Uint16(d.take(2))
	case 'i':
		v = int32(d.order.Uint32(d.take(4)))
	case 'u', 'h':
		v = d.order.Uint32(d.take(4))
	case 'x':
		v = int64(d.order.Uint64(d.take(8)))
	case 't':
		v = d.order.Uint64(d.take(8))
	case 'd':
		v = math.Float64frombits(d.order.Uint64(d.take(8)))
	case 's', 'o':
		s := d.take(int(d.order.Uint32(d.take(4))))
		d.take(1)
		v = string(s)
	case 'g':
		s := d.take(int(d.take(1)[0]))
		d.take(1)
		v = string(s)
	case 'v':
		s, _ := d.value("g")
		inner, _ := d.value(s.(string))
		v = Variant{Sig: s.(string), Value: inner}
	case 'a':
		v = d.array(one[1:])
	case '(':
		fields := []any{}
		for inner := one[1 : len(one)-1]; inner != ""; {
			var f any
			f, inner = d.value(inner)
			fields = append(fields, f)
		}
		v = fields
	case '{':
		key, inner := d.value(one[1 : len(one)-1])
		val, _ := d.value(inner)
		v = Entry{Key: key, Value: val}
	default:
		panic(fmt.Sprintf("unknown type in signature %q", sig))
	}
	return v, rest
}

func (d *decoder) array(elem string) any {
	n := int(d.order.Uint32(d.take(4)))
	d.align(alignment(elem[0]))
	if elem == "y" {
		return append([]byte{}, d.take(n)...)
	}
	list := []any{}
	for end := d.pos + n; d.pos < end; {
		v, _ := d.value(elem)
		list = append(list, v)
	}
	return list
}

// Format writes decoded values so that equal values give equal text: strings quoted, variants
// as <sig value>, structs in parentheses, arrays in brackets, dictionaries in braces.
func Format(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case []byte:
		return fmt.Sprintf("bytes[% x]", v)
	case Variant:
		return "<" + v.Sig + " " + Format(v.Value) + ">"
	case Entry:
		return Format(v.Key) + ": " + Format(v.Value)
	case []any:
		parts := make([]string, len(v))
		dict := false
		for i, x := range v {
			parts[i] = Format(x)
			_, dict = x.(Entry)
		}
		if dict {
			return "{" + strings.Join(parts, ", ") + "}"
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}
