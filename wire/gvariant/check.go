package gvariant

import "github.com/kdbus-go/kdbus/wire"

// CheckType judges a type string of exactly one complete type: the types of
// D-Bus, maybe types, the empty tuple, and dict entries anywhere.
func CheckType(s string) error {
	var t types
	if _, f := t.push(s, gvariantTypes); f.reason != "" {
		return f.error("type", s)
	}
	return nil
}

// Check judges whether data is the normal form of a value of the given type: what
// the specification makes of it, written anew, is data again. The byte order does
// not matter. Arrays of numbers cost the same whatever their length.
func Check(typ string, data []byte) error {
	var c checker
	n, f := c.push(typ, gvariantTypes)
	if f.reason != "" {
		return f.error("type", typ)
	}
	c.data = data
	if !c.value(n, 0, len(data), 0) {
		return c.error("value")
	}
	return nil
}

// checker judges serialised values. Each lies in data[begin:end], which its
// container has found to be inside of data and aligned for it.
type checker struct {
	types
	data   []byte
	at     int
	reason string // why value failed, at byte at
}

func (c *checker) error(what string) error {
	return &wire.Error{What: what, Offset: c.at, Reason: c.reason}
}

// fail notes the first fault. Its result tells the callers to unwind.
func (c *checker) fail(at int, reason string) bool {
	c.at, c.reason = at, reason
	return false
}

const (
	tooDeep       = "more than 128 containers are nested"
	wrongSize     = "a value has not the size its type has"
	badBoolean    = "a boolean is neither 0 nor 1"
	badPadding    = "padding is not zero"
	badOffset     = "a framing offset points outside of its container, or before another one"
	badTable      = "the framing offsets do not fill the end of their container"
	wideOffsets   = "the framing offsets are wider than they need to be"
	badVariant    = "a variant does not end with NUL and a type"
	unlikeVariant = "a variant holds a value that has not the size its type has"
)

// value judges the value of the type at n in data[begin:end], inside depth
// containers.
func (c *checker) value(n, begin, end, depth int) bool {
	t := c.nodes[n]
	if depth >= MaxDepth {
		return c.fail(begin, tooDeep)
	}
	if t.size != 0 && end-begin != int(t.size) {
		return c.fail(begin, wrongSize)
	}
	switch t.code {
	case 'b':
		if c.data[begin] > 1 {
			return c.fail(begin, badBoolean)
		}
	case 's', 'o', 'g':
		if f := textFault(t.code, c.data[begin:end]); f.reason != "" {
			return c.fail(begin+f.at, f.reason)
		}
	case 'v':
		return c.variant(begin, end, depth)
	case 'm':
		return c.maybe(n, begin, end, depth)
	case 'a':
		if c.nodes[n+1].size != 0 {
			return c.fixedArray(n+1, begin, end, depth)
		}
		return c.array(n+1, begin, end, depth)
	case '(', '{':
		return c.tuple(n, begin, end, depth)
	}
	return true
}

func (c *checker) variant(begin, end, depth int) bool {
	value, typ, ok := splitVariant(c.data[begin:end])
	if !ok {
		return c.fail(begin, badVariant)
	}
	// Most variants hold a number or string.
	if len(typ) == 1 {
		switch t := basics[typ[0]]; {
		case t.number() && len(value) == int(t.size) && depth < MaxDepth-1:
			return true
		case typ == "s" && depth < MaxDepth-1:
			if f := textFault('s', value); f.reason != "" {
				return c.fail(begin+f.at, f.reason)
			}
			return true
		}
	}
	n, f := c.push(typ, gvariantTypes)
	if f.reason != "" {
		return c.fail(begin+len(value)+1+f.at, "the type of a variant is not valid: "+f.reason)
	}
	defer c.pop(n)
	if depth >= MaxDepth-int(c.nodes[n].depth) {
		return c.fail(begin, tooDeep)
	}
	if size := int(c.nodes[n].size); size != 0 && size != len(value) {
		return c.fail(begin, unlikeVariant)
	}
	return c.value(n, begin, begin+len(value), depth+1)
}

func (c *checker) maybe(n, begin, end, depth int) bool {
	if begin == end {
		return true
	}
	if c.nodes[n+1].size == 0 {
		// So that an empty value is not taken for none.
		if end--; c.data[end] != 0 {
			return c.fail(end, "a maybe does not end with zero")
		}
	}
	return c.value(n+1, begin, end, depth+1)
}

// fixedArray judges an array of elements of the type at n, all of the same size.
func (c *checker) fixedArray(n, begin, end, depth int) bool {
	t := c.nodes[n]
	size := int(t.size)
	if (end-begin)%size != 0 {
		return c.fail(end, "an array does not end where its last element does")
	}
	if t.number() {
		return begin == end || depth+1 < MaxDepth || c.fail(begin, tooDeep)
	}
	for ; begin < end; begin += size {
		if !c.value(n, begin, begin+size, depth+1) {
			return false
		}
	}
	return true
}

// array judges an array of elements of the type at n, which vary in size.
func (c *checker) array(n, begin, end, depth int) bool {
	o, ok := arrayOffsets(c.data[begin:end])
	if !ok || o.end == end-begin && begin != end {
		return c.fail(end, badTable)
	}
	if begin != end && !o.narrow(end-begin) {
		return c.fail(begin+o.end, wideOffsets)
	}
	at := begin
	for i := range o.count() {
		next, ok := o.at(i)
		if next += begin; !ok || next < at {
			return c.fail(begin+o.end+i*o.width, badOffset)
		}
		if at, ok = c.padding(at, next, n); !ok || !c.value(n, at, next, depth+1) {
			return false
		}
		at = next
	}
	return true
}

// padding steps over the zeros before a value of the type at n, which end at end
// at the latest.
func (c *checker) padding(at, end, n int) (next int, ok bool) {
	next = alignUp(at, int(c.nodes[n].align))
	if next > end {
		return 0, c.fail(end, "a container ends within padding")
	}
	return next, c.zeros(at, next)
}

func (c *checker) zeros(at, end int) bool {
	for ; at < end; at++ {
		if c.data[at] != 0 {
			return c.fail(at, badPadding)
		}
	}
	return true
}

// tuple judges a tuple or dict entry of the type at n.
func (c *checker) tuple(n, begin, end, depth int) bool {
	w, ok := c.enterTuple(n, begin, end)
	for ok && w.member != w.last {
		m := w.member
		if ok = c.nextMember(&w); ok {
			ok = c.value(m, w.begin, w.end, depth+1)
		}
	}
	return ok && c.leaveTuple(&w)
}

// tupleWalk goes along the members of a tuple in normal form.
type tupleWalk struct {
	tuple        node
	member, last int // nodes of the next member, and behind all members
	begin, end   int // of the member stepped over last
	from, to     int // of the tuple
	table        int // where the framing offsets begin
	frame        int // the framing offset read last; they are in reverse order
	width        int // of the framing offsets
}

// enterTuple begins to walk along the tuple of the type at n in data[begin:end].
func (c *checker) enterTuple(n, begin, end int) (w tupleWalk, ok bool) {
	t := c.nodes[n]
	w = tupleWalk{
		tuple: t, member: n + 1, last: n + int(t.length) - 1,
		begin: begin, end: begin, from: begin, to: end, frame: end,
		width: readWidth(end - begin),
	}
	w.table = end - w.width*int(t.frames)
	return w, w.table >= begin || c.fail(begin, badTable)
}

// nextMember steps over the next member of a tuple, and the padding before it,
// without looking at its value.
func (c *checker) nextMember(w *tupleWalk) bool {
	m := c.nodes[w.member]
	at, ok := c.padding(w.end, w.table, w.member)
	if !ok {
		return false
	}
	w.member += int(m.length)
	next := w.table
	switch {
	case m.size != 0:
		next = at + int(m.size)
	case w.member != w.last:
		w.frame -= w.width
		offset := readOffset(c.data[w.frame : w.frame+w.width])
		if offset > uint64(w.table-w.from) {
			return c.fail(w.frame, badOffset)
		}
		next = w.from + int(offset)
	}
	if next < at || next > w.table {
		return c.fail(at, badOffset)
	}
	w.begin, w.end = at, next
	return true
}

// leaveTuple judges what comes after the last member.
func (c *checker) leaveTuple(w *tupleWalk) bool {
	if w.tuple.size != 0 {
		return c.zeros(w.end, w.to)
	}
	if w.end != w.table {
		return c.fail(w.end, badTable)
	}
	size, frames := w.end-w.from, int(w.tuple.frames)
	return size+frames*writeWidth(size, frames) == w.to-w.from || c.fail(w.table, wideOffsets)
}
