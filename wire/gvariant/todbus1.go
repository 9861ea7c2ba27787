package gvariant

import "github.com/kdbus-go/kdbus/wire"

// AppendToDBus1 appends to dst the body of a version 2 message as that of a
// version 1 message, in byte order to. The body, in byte order from, is the tuple
// of the types in signature. Alignment counts from len(dst). Indices of file
// descriptors stay what they are.
//
// The body is judged completely: it must be in normal form, and version 1 must be
// able to hold it, which rules out more than [wire.MaxDepth] containers in each
// other, arrays of more than [wire.MaxArraySize] and bodies of more than
// [wire.MaxMessageSize], both as version 1 counts. What is appended is valid, see
// [wire.ValidateBody]. After an error the result is dst.
func AppendToDBus1(dst []byte, to, from wire.Order, signature string, body []byte) ([]byte, error) {
	room := rooms.Get().(*room)
	c := toDBus1{checker: checker{types: room.types, data: body}, from: from, dst: dst, begin: len(dst), to: to}
	defer func() { room.keep(c.types, room.ends) }()
	root, f := c.pushTuple(signature)
	if f.reason != "" {
		return dst, f.error("signature", signature)
	}
	ok := c.body(root)
	if ok && len(c.dst)-c.begin > wire.MaxMessageSize {
		ok = c.fail(0, tooLong)
	}
	if !ok {
		return dst, c.error("body")
	}
	return c.dst, nil
}

// toDBus1 reads serialised values, each of which lies in data[begin:end], and
// appends them to dst as version 1 has them.
type toDBus1 struct {
	checker
	from wire.Order

	dst   []byte
	begin int // of the body in dst
	to    wire.Order
}

func (c *toDBus1) align(n int) {
	if (len(c.dst)-c.begin)&(n-1) != 0 {
		c.dst = pad(c.dst, c.begin, n)
	}
}

func (c *toDBus1) body(n int) bool {
	t := c.nodes[n]
	if t.size != 0 && len(c.data) != int(t.size) {
		return c.fail(0, wrongSize)
	}
	return c.members(n, 0, len(c.data), 0)
}

// value converts the value of the type at n in data[begin:end], inside depth
// containers.
func (c *toDBus1) value(n, begin, end, depth int) bool {
	t := c.nodes[n]
	if t.size != 0 && end-begin != int(t.size) {
		return c.fail(begin, wrongSize)
	}
	switch t.code {
	case 'b':
		return c.boolean(begin)
	case 's', 'o', 'g':
		return c.text(t.code, begin, end)
	case 'v':
		return c.variant(begin, end, depth+1)
	case 'a':
		return c.array(n+1, begin, end, depth+1)
	case '(', '{':
		c.align(8)
		return c.enter(begin, depth+1) && c.members(n, begin, end, depth+1)
	default:
		c.align(int(t.size))
		c.dst = appendNumbers(c.dst, c.to, c.data[begin:end], c.from, int(t.size))
		return true
	}
}

func (c *toDBus1) enter(at, depth int) bool {
	return depth <= wire.MaxDepth || c.fail(at, "more than 64 containers are nested")
}

func (c *toDBus1) boolean(at int) bool {
	v := c.data[at]
	if v > 1 {
		return c.fail(at, badBoolean)
	}
	c.align(4)
	c.dst = c.to.AppendUint32(c.dst, uint32(v))
	return true
}

// text converts a string. Its NUL is part of it in both versions.
func (c *toDBus1) text(code byte, begin, end int) bool {
	b := c.data[begin:end]
	if f := textFault(code, b); f.reason != "" {
		return c.fail(begin+f.at, f.reason)
	}
	if len(b) > wire.MaxMessageSize {
		return c.fail(begin, tooLong)
	}
	if code == 'g' {
		c.dst = append(c.dst, byte(len(b)-1))
	} else {
		c.align(4)
		c.dst = c.to.AppendUint32(c.dst, uint32(len(b)-1))
	}
	c.dst = append(c.dst, b...)
	return true
}

// variant converts a variant, the depth-th container.
func (c *toDBus1) variant(begin, end, depth int) bool {
	if !c.enter(begin, depth) {
		return false
	}
	value, typ, ok := splitVariant(c.data[begin:end])
	if !ok {
		return c.fail(begin, badVariant)
	}
	valueEnd := begin + len(value)
	if typ == "s" {
		c.dst = append(c.dst, 1, 's', 0)
		return c.text('s', begin, valueEnd)
	}
	n, f := c.push(typ, dbusTypes)
	if f.reason != "" {
		return c.fail(valueEnd+1+f.at, "the type of a variant is not one of D-Bus: "+f.reason)
	}
	c.dst = append(c.dst, byte(len(typ)))
	c.dst = append(c.dst, typ...)
	c.dst = append(c.dst, 0)
	ok = c.value(n, begin, valueEnd, depth)
	c.pop(n)
	return ok
}

// array converts an array of elements of the type at n; the array is the depth-th
// container.
func (c *toDBus1) array(n, begin, end, depth int) bool {
	if !c.enter(begin, depth) {
		return false
	}
	t := c.nodes[n]
	c.align(4)
	length := len(c.dst)
	c.dst = append(c.dst, 0, 0, 0, 0)
	c.align(alignment1(t))
	first := len(c.dst)
	if t.size != 0 {
		if !c.fixedElements(n, begin, end, depth) {
			return false
		}
	} else if !c.elements(n, begin, end, depth) {
		return false
	}
	if len(c.dst)-first > wire.MaxArraySize {
		return c.fail(begin, "an array is longer than 64 MiB in version 1")
	}
	if len(c.dst)-c.begin > wire.MaxMessageSize {
		return c.fail(begin, tooLong)
	}
	c.to.PutUint32(c.dst[length:], uint32(len(c.dst)-first))
	return true
}

// fixedElements converts elements of the type at n, which have all the same size.
func (c *toDBus1) fixedElements(n, begin, end, depth int) bool {
	t := c.nodes[n]
	size := int(t.size)
	if (end-begin)%size != 0 {
		return c.fail(end, unevenArray)
	}
	if t.number() {
		c.dst = appendNumbers(c.dst, c.to, c.data[begin:end], c.from, size)
		return true
	}
	limit := len(c.dst) + wire.MaxArraySize
	for ; begin < end && len(c.dst) <= limit; begin += size {
		if !c.value(n, begin, begin+size, depth) {
			return false
		}
	}
	return true
}

// elements converts elements of the type at n, which vary in size.
func (c *toDBus1) elements(n, begin, end, depth int) bool {
	if begin == end {
		return true
	}
	o, ok := arrayOffsets(c.data[begin:end])
	if !ok || o.end == end-begin {
		return c.fail(end, badTable)
	}
	if !o.narrow(end - begin) {
		return c.fail(begin+o.end, wideOffsets)
	}
	limit := len(c.dst) + wire.MaxArraySize
	at := begin
	for i := 0; i < o.count() && len(c.dst) <= limit; i++ {
		next, ok := o.at(i)
		if next += begin; !ok || next < at {
			return c.fail(begin+o.end+i*o.width, badOffset)
		}
		if at, ok = c.padding(at, next, n); !ok || !c.value(n, at, next, depth) {
			return false
		}
		at = next
	}
	return true
}

// members converts the members of the tuple at n, which is the depth-th container.
func (c *toDBus1) members(n, begin, end, depth int) bool {
	w, ok := c.enterTuple(n, begin, end)
	for ok && w.member != w.last {
		m := w.member
		if ok = c.nextMember(&w); ok {
			ok = c.value(m, w.begin, w.end, depth)
		}
	}
	return ok && c.leaveTuple(&w)
}
