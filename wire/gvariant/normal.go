package gvariant

import (
	"strconv"

	"github.com/kdbus-go/kdbus/wire"
)

// AppendNormal appends to dst the normal form of what data means as a value of the
// given type, however damaged it is: parts that make no sense have the default
// value of their type. Alignment counts from len(dst). If data is in normal form,
// as [Check] judges, it is what is appended.
//
// A default value may be much larger than the bytes in place of which it is
// written, so the result is bounded: it is an error if it takes more than limit
// bytes, or than [wire.MaxMessageSize]. After an error the result is dst.
func AppendNormal(dst []byte, typ string, data []byte, limit int) ([]byte, error) {
	z := normaliser{dst: dst, begin: len(dst), limit: min(limit, wire.MaxMessageSize)}
	n, f := z.push(typ, gvariantTypes)
	if f.reason != "" {
		return dst, f.error("type", typ)
	}
	z.value(n, data, 0)
	if z.full() {
		return dst, &wire.Error{What: "value", Offset: -1, Reason: "its normal form takes more than " + strconv.Itoa(z.limit) + " bytes"}
	}
	return z.dst, nil
}

// normaliser appends normal forms. The bytes of a value that is missing or has
// the wrong size are given as nil, which reads as the default value.
type normaliser struct {
	types
	dst   []byte
	begin int // of the outermost value in dst
	limit int
	ends  ends
}

// full reports whether there is no point in going on.
func (z *normaliser) full() bool { return len(z.dst)-z.begin > z.limit }

func (z *normaliser) align(n int) { z.dst = pad(z.dst, z.begin, n) }

// value appends the value of the type at n that b holds, inside depth containers.
func (z *normaliser) value(n int, b []byte, depth int) {
	t := z.nodes[n]
	z.align(int(t.align))
	if z.full() {
		return
	}
	if t.size != 0 && len(b) != int(t.size) {
		z.zeros(int(t.size))
		return
	}
	switch t.code {
	case 'b':
		if b[0] != 0 {
			z.dst = append(z.dst, 1)
		} else {
			z.dst = append(z.dst, 0)
		}
	case 's', 'o', 'g':
		z.text(t.code, b)
	case 'v':
		z.variant(b, depth)
	case 'm':
		z.maybe(n, b, depth)
	case 'a':
		if z.nodes[n+1].size != 0 {
			z.fixedArray(n+1, b, depth)
		} else {
			z.array(n+1, b, depth)
		}
	case '(', '{':
		if t.length == 2 {
			z.dst = append(z.dst, 0)
		} else {
			z.tuple(n, b, depth)
		}
	default:
		z.dst = append(z.dst, b...)
	}
}

func (z *normaliser) zeros(n int) {
	for ; n > 0; n-- {
		z.dst = append(z.dst, 0)
	}
}

func (z *normaliser) text(c byte, b []byte) {
	switch {
	case textFault(c, b).reason == "":
		z.dst = append(z.dst, b...)
	case c == 'o':
		z.dst = append(z.dst, '/', 0)
	default:
		z.dst = append(z.dst, 0)
	}
}

func (z *normaliser) variant(b []byte, depth int) {
	value, typ, ok := splitVariant(b)
	if ok {
		n, f := z.push(typ, gvariantTypes)
		if f.reason == "" {
			defer z.pop(n)
			t := z.nodes[n]
			if depth < MaxDepth-int(t.depth) && (t.size == 0 || int(t.size) == len(value)) {
				z.value(n, value, depth+1)
				z.dst = append(z.dst, 0)
				z.dst = append(z.dst, typ...)
				return
			}
		}
	}
	z.dst = append(z.dst, 0, 0, '(', ')')
}

func (z *normaliser) maybe(n int, b []byte, depth int) {
	fixed := int(z.nodes[n+1].size)
	switch {
	case len(b) == 0 || fixed != 0 && len(b) != fixed:
	case fixed != 0:
		z.value(n+1, b, depth+1)
	default:
		z.value(n+1, b[:len(b)-1], depth+1)
		z.dst = append(z.dst, 0)
	}
}

func (z *normaliser) fixedArray(n int, b []byte, depth int) {
	size := int(z.nodes[n].size)
	if len(b)%size != 0 {
		return
	}
	if z.nodes[n].number() {
		z.dst = append(z.dst, b...)
		return
	}
	for ; len(b) > 0 && !z.full(); b = b[size:] {
		z.value(n, b[:size], depth+1)
	}
}

// array appends an array of elements of the type at n, which vary in size.
func (z *normaliser) array(n int, b []byte, depth int) {
	o, ok := arrayOffsets(b)
	if !ok {
		return
	}
	opened := z.ends.open()
	begin := len(z.dst)
	previous := uint64(0)
	ordered := true
	for i := 0; i < o.count() && !z.full(); i++ {
		end := readOffset(o.table[i*o.width : (i+1)*o.width])
		ordered = ordered && end >= previous
		var element []byte
		if ordered && end <= uint64(o.end) {
			if start := alignUp(int(previous), int(z.nodes[n].align)); start < int(end) {
				element = b[start:end]
			}
		}
		previous = end
		z.value(n, element, depth+1)
		z.ends.add(len(z.dst) - begin)
	}
	z.dst = z.ends.closeArray(opened, z.dst, begin)
}

// tuple appends a tuple or dict entry of the type at n that has members.
func (z *normaliser) tuple(n int, b []byte, depth int) {
	t := z.nodes[n]
	opened := z.ends.open()
	begin := len(z.dst)
	last := n + int(t.length) - 1
	r := tupleReader{b: b, width: readWidth(len(b)), size: uint64(len(b))}
	r.contents = r.lastEnd(z.nodes[n+1:last], int(t.frames))
	ordered := true
	for m := n + 1; m < last && !z.full(); m += int(z.nodes[m].length) {
		isLast := m+int(z.nodes[m].length) == last
		var member []byte
		if ordered {
			member, ordered = r.next(z.nodes[m], isLast)
		}
		z.value(m, member, depth+1)
		if z.nodes[m].size == 0 && !isLast {
			z.ends.add(len(z.dst) - begin)
		}
	}
	if t.size != 0 {
		z.dst = pad(z.dst, begin, int(t.align))
	}
	z.dst = z.ends.closeTuple(opened, z.dst, begin)
}

// tupleReader finds the members of a tuple in bytes that may be damaged. Positions
// are of 64 bits and may be far outside of b.
type tupleReader struct {
	b      []byte
	width  int
	size   uint64
	frames int    // read so far
	at     uint64 // end of the member before
	// contents is where the last member ends. No other member goes beyond it.
	contents uint64
}

// offset returns the i-th framing offset, counted from the end; ok is false if b
// has not so many.
func (r *tupleReader) offset(i int) (v uint64, ok bool) {
	end := len(r.b) - i*r.width
	if end < r.width {
		return 0, false
	}
	return readOffset(r.b[end-r.width : end]), true
}

// lastEnd returns where the last of the members is found to end, whatever those
// before it are found to be.
func (r *tupleReader) lastEnd(members []node, frames int) uint64 {
	at, last, seen := uint64(0), members[0], 0
	for i := 0; i < len(members); i += int(last.length) {
		last = members[i]
		at = alignUp64(at, last.align) + uint64(last.size)
		if last.size == 0 && seen < frames {
			at, _ = r.offset(seen)
			seen++
		}
	}
	if last.size == 0 {
		at = r.size - uint64(frames*r.width)
	}
	return at
}

// next returns the bytes of the next member, nil if it has none; ok is false if
// it and all later members have none, since they would overlap or lie outside.
func (r *tupleReader) next(t node, isLast bool) (member []byte, ok bool) {
	start := alignUp64(r.at, t.align)
	end, known := start, true
	switch {
	case t.size != 0:
		end = start + uint64(t.size)
		known = r.frames*r.width <= len(r.b)
	case isLast:
		end = r.size - uint64(r.frames*r.width)
		known = r.frames*r.width <= len(r.b)
	default:
		end, known = r.offset(r.frames)
		r.frames++
	}
	// Nothing overflows: r.at is at most r.size.
	if !known || start > end || start < r.at || end > r.size {
		return nil, false
	}
	r.at = end
	if start < end && end <= r.contents {
		member = r.b[start:end]
	}
	return member, true
}

func alignUp64(n uint64, align uint8) uint64 { return (n + uint64(align) - 1) &^ (uint64(align) - 1) }
