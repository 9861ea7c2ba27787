package gvariant

import (
	"sync"

	"github.com/kdbus-go/kdbus/wire"
)

// AppendFromDBus1 appends to dst the body of a version 1 message as a value of
// version 2: the tuple of the types in signature, in byte order to, in normal
// form. The body is in byte order from. Alignment counts from len(dst). Indices of
// file descriptors stay what they are.
//
// The body is one that [wire.ValidateBody] found valid. Of any other the result is
// nonsense or an error, but nothing worse. After an error the result is dst.
func AppendFromDBus1(dst []byte, to, from wire.Order, signature string, body []byte) ([]byte, error) {
	room := rooms.Get().(*room)
	c := fromDBus1{types: room.types, ends: room.ends, src: body, from: from, dst: dst, begin: len(dst), to: to}
	defer func() { room.keep(c.types, c.ends) }()
	root, f := c.pushTuple(signature)
	if f.reason != "" {
		return dst, f.error("signature", signature)
	}
	ok := c.body(root)
	if ok && c.pos != len(body) {
		ok = c.fail("bytes are left over after the last value")
	}
	if ok && len(c.dst)-c.begin > wire.MaxMessageSize {
		ok = c.fail(tooLong)
	}
	if !ok {
		return dst, &wire.Error{What: "body", Offset: c.pos, Reason: c.reason}
	}
	return c.dst, nil
}

// room is what conversions use to remember types and framing offsets, kept from one
// to the next.
type room struct {
	types types
	ends  ends
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// keep gives back a room that was taken from rooms, unless a large message has made
// it large.
func (r *room) keep(t types, e ends) {
	const most = 4096
	if cap(t.nodes) > most || cap(e.stack) > most {
		return
	}
	r.types.nodes, r.ends.stack = t.nodes[:0], e.stack[:0]
	rooms.Put(r)
}

const (
	truncated = "the data ends within a value"
	tooLong   = "the message is longer than 128 MiB"
)

// fromDBus1 reads values of version 1 from src and appends them to dst.
type fromDBus1 struct {
	types
	ends ends

	src  []byte
	pos  int
	from wire.Order

	dst   []byte
	begin int // of the body in dst
	to    wire.Order

	reason string // why value failed, at pos
}

// fail notes the first fault. Its result tells the callers to unwind.
func (c *fromDBus1) fail(reason string) bool {
	c.reason = reason
	return false
}

// take steps over n bytes of src after aligning to align.
func (c *fromDBus1) take(align int, n uint32) (b []byte, ok bool) {
	begin := alignUp(c.pos, align)
	if begin > len(c.src) || uint64(n) > uint64(len(c.src)-begin) {
		return nil, c.fail(truncated)
	}
	c.pos = begin + int(n)
	return c.src[begin:c.pos], true
}

func (c *fromDBus1) align(n int) {
	if (len(c.dst)-c.begin)&(n-1) != 0 {
		c.dst = pad(c.dst, c.begin, n)
	}
}

// body converts the values of a body, which are not a struct in version 1 and a
// tuple, of the type at n, in version 2.
func (c *fromDBus1) body(n int) bool {
	if c.nodes[n].length == 2 {
		c.dst = append(c.dst, 0)
		return true
	}
	return c.members(n, 0)
}

// value converts a value of the type at n, inside depth containers.
func (c *fromDBus1) value(n, depth int) bool {
	t := c.nodes[n]
	if t.code != 'v' {
		c.align(int(t.align))
	}
	switch t.code {
	case 'y', 'n', 'q', 'i', 'u', 'h', 'x', 't', 'd':
		b, ok := c.take(int(t.size), uint32(t.size))
		if ok {
			c.dst = appendNumbers(c.dst, c.to, b, c.from, int(t.size))
		}
		return ok
	case 'b':
		b, ok := c.take(4, 4)
		return ok && c.boolean(b)
	case 's', 'o':
		n, ok := c.length()
		return ok && c.text(n)
	case 'g':
		n, ok := c.take(1, 1)
		return ok && c.text(uint32(n[0]))
	case 'v':
		return c.variant(depth + 1)
	case 'a':
		return c.array(n+1, depth+1)
	default:
		_, ok := c.take(8, 0)
		return ok && c.enter(depth+1) && c.members(n, depth+1)
	}
}

func (c *fromDBus1) enter(depth int) bool {
	return depth <= wire.MaxDepth || c.fail("more than 64 containers are nested")
}

func (c *fromDBus1) boolean(b []byte) bool {
	v := c.from.Uint32(b)
	if v > 1 {
		return c.fail(badBoolean)
	}
	c.dst = append(c.dst, byte(v))
	return true
}

// length reads the length field of an array or string.
func (c *fromDBus1) length() (n uint32, ok bool) {
	b, ok := c.take(4, 4)
	if !ok {
		return 0, false
	}
	return c.from.Uint32(b), true
}

// text converts a string of n bytes. Its NUL is part of it in both versions.
func (c *fromDBus1) text(n uint32) bool {
	b, ok := c.take(1, n)
	if !ok {
		return false
	}
	if nul, ok := c.take(1, 1); !ok || nul[0] != 0 {
		return c.fail("a string does not end with NUL")
	}
	c.dst = append(c.dst, b...)
	c.dst = append(c.dst, 0)
	return true
}

// variant converts a variant, the depth-th container.
func (c *fromDBus1) variant(depth int) bool {
	if !c.enter(depth) {
		return false
	}
	length, ok := c.take(1, 1)
	if !ok {
		return false
	}
	b, ok := c.take(1, uint32(length[0]))
	if !ok {
		return false
	}
	if _, ok := c.take(1, 1); !ok {
		return false
	}
	c.align(8)
	// Variants of strings are the most frequent by far.
	if typ := text(b); typ == "s" {
		n, ok := c.length()
		if !ok || !c.text(n) {
			return false
		}
	} else {
		n, f := c.push(typ, dbusTypes)
		if f.reason != "" {
			return c.fail("the signature of a variant is not valid: " + f.reason)
		}
		if !c.value(n, depth) {
			return false
		}
		c.pop(n)
	}
	c.dst = append(c.dst, 0)
	c.dst = append(c.dst, b...)
	return true
}

// array converts an array of elements of the type at n; the array is the depth-th
// container.
func (c *fromDBus1) array(n, depth int) bool {
	if !c.enter(depth) {
		return false
	}
	length, ok := c.length()
	if !ok {
		return false
	}
	t := c.nodes[n]
	if _, ok := c.take(alignment1(t), 0); !ok {
		return false
	}
	if uint64(length) > uint64(len(c.src)-c.pos) {
		return c.fail("the data ends within an array")
	}
	end := c.pos + int(length)
	switch {
	case t.number():
		if int(length)%int(t.size) != 0 {
			return c.fail(unevenArray)
		}
		c.dst = appendNumbers(c.dst, c.to, c.src[c.pos:end], c.from, int(t.size))
		c.pos = end
		return true
	case t.size != 0:
		for c.pos < end {
			if !c.value(n, depth) {
				return false
			}
		}
	default:
		opened, begin := c.ends.open(), len(c.dst)
		for c.pos < end {
			if !c.value(n, depth) {
				return false
			}
			c.ends.add(len(c.dst) - begin)
			if len(c.dst)-c.begin > wire.MaxMessageSize {
				return c.fail(tooLong)
			}
		}
		c.dst = c.ends.closeArray(opened, c.dst, begin)
	}
	return c.pos == end || c.fail(unevenArray)
}

const unevenArray = "an array does not end where its last element does"

// members converts the members of the tuple at n, which is the depth-th container.
func (c *fromDBus1) members(n, depth int) bool {
	t := c.nodes[n]
	opened, begin := c.ends.open(), len(c.dst)
	for m, last := n+1, n+int(t.length)-1; m < last; {
		if !c.value(m, depth) {
			return false
		}
		member := c.nodes[m]
		if m += int(member.length); member.size == 0 && m != last {
			c.ends.add(len(c.dst) - begin)
		}
	}
	if t.size != 0 {
		c.dst = pad(c.dst, begin, int(t.align))
		return true
	}
	c.dst = c.ends.closeTuple(opened, c.dst, begin)
	return true
}

// alignment1 is the alignment of values of the type t in version 1.
func alignment1(t node) int {
	switch t.code {
	case 'b', 's', 'o', 'a':
		return 4
	case 'g', 'v':
		return 1
	case '(', '{':
		return 8
	}
	return int(t.size)
}

// appendNumbers appends the numbers in b, of size bytes each, in another byte
// order.
func appendNumbers(dst []byte, to wire.Order, b []byte, from wire.Order, size int) []byte {
	if to == from || size == 1 {
		return append(dst, b...)
	}
	for ; len(b) >= size; b = b[size:] {
		for i := size - 1; i >= 0; i-- {
			dst = append(dst, b[i])
		}
	}
	return dst
}
