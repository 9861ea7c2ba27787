package gvariant

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/kdbus-go/kdbus/wire"
)

// readWidth returns how wide the framing offsets of a container of this size are.
func readWidth(size int) int {
	switch n := uint64(size); {
	case n > math.MaxUint32:
		return 8
	case n > math.MaxUint16:
		return 4
	case n > math.MaxUint8:
		return 2
	case n > 0:
		return 1
	}
	return 0
}

// writeWidth returns how wide count framing offsets are to be after contents of
// size bytes: as narrow as their own size allows.
func writeWidth(size, count int) int {
	switch n, c := uint64(size), uint64(count); {
	case n+c <= math.MaxUint8:
		return 1
	case n+2*c <= math.MaxUint16:
		return 2
	case n+4*c <= math.MaxUint32:
		return 4
	}
	return 8
}

// readOffset reads the framing offset b, which may be larger than an int.
func readOffset(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// appendOffset appends a framing offset of width bytes.
func appendOffset(dst []byte, width int, offset int) []byte {
	switch width {
	case 1:
		return append(dst, byte(offset))
	case 2:
		return binary.LittleEndian.AppendUint16(dst, uint16(offset))
	case 4:
		return binary.LittleEndian.AppendUint32(dst, uint32(offset))
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(offset))
}

// offsets are the framing offsets of an array whose elements vary in size.
type offsets struct {
	table []byte
	width int
	// end of the elements, and beginning of the table, in the array.
	end int
}

func (o offsets) count() int {
	if o.width == 0 {
		return 0
	}
	return len(o.table) / o.width
}

// at returns the i-th offset if it is within the elements.
func (o offsets) at(i int) (end int, ok bool) {
	v := readOffset(o.table[i*o.width : (i+1)*o.width])
	return int(v), v <= uint64(o.end)
}

// arrayOffsets finds the framing offsets of the array b; ok is false if it has
// none that make sense. They need not be of the least possible width.
func arrayOffsets(b []byte) (o offsets, ok bool) {
	if len(b) == 0 {
		return offsets{}, true
	}
	width := readWidth(len(b))
	end := readOffset(b[len(b)-width:])
	if end > uint64(len(b)) || (uint64(len(b))-end)%uint64(width) != 0 {
		return offsets{}, false
	}
	return offsets{table: b[end:], width: width, end: int(end)}, true
}

// narrow reports whether the offsets of the array of size bytes are of the least
// possible width.
func (o offsets) narrow(size int) bool {
	return o.end+o.count()*writeWidth(o.end, o.count()) == size
}

// splitVariant returns the serialised value in the variant b, and its type; ok is
// false if there is no NUL where one could be.
func splitVariant(b []byte) (value []byte, typ string, ok bool) {
	window := b[max(0, len(b)-maxTypeLength-1):]
	at := bytes.LastIndexByte(window, 0)
	if at < 0 {
		return nil, "", false
	}
	return b[:len(b)-len(window)+at], text(window[at+1:]), true
}

// text returns b as a string that is part of it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// textFault says what is wrong with the serialised string b of type c. The zero
// fault means that b less its last byte is the string.
func textFault(c byte, b []byte) fault {
	last := len(b) - 1
	if last < 0 || b[last] != 0 {
		return fault{max(last, 0), "a string does not end with NUL"}
	}
	switch s := text(b[:last]); c {
	case 'o':
		return faultOf(wire.CheckObjectPath(s), "an object path is not valid: ")
	case 'g':
		return faultOf(wire.CheckSignature(s), "a signature is not valid: ")
	default:
		return utf8Fault(b[:last])
	}
}

// faultOf takes a fault from what package wire says.
func faultOf(err error, prefix string) fault {
	if err == nil {
		return fault{}
	}
	e := err.(*wire.Error)
	return fault{max(e.Offset, 0), prefix + e.Reason}
}

// quote quotes s, or its beginning if it is long.
func quote(s string) string {
	const enough = 64
	if len(s) > enough {
		s = s[:enough] + "..."
	}
	return strconv.Quote(s)
}

// utf8Fault says where b is not UTF-8 without NUL.
func utf8Fault(b []byte) fault {
	if at := bytes.IndexByte(b, 0); at >= 0 {
		return fault{at, "a string contains NUL"}
	}
	if utf8.Valid(b) {
		return fault{}
	}
	i := 0
	for {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return fault{i, "a string is not valid UTF-8"}
		}
		i += size
	}
}
