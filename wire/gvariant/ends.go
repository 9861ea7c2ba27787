package gvariant

// ends collects the framing offsets of the containers that are being written, as
// a stack: those of an inner container are above those of the ones around it.
type ends struct {
	stack []uint32
}

// open begins a container and returns what its end is called with.
func (e *ends) open() int { return len(e.stack) }

// add notes that a value ends at offset, counted from the beginning of its
// container.
func (e *ends) add(offset int) { e.stack = append(e.stack, uint32(offset)) }

// closeArray appends the framing offsets of the array that begins at dst[begin],
// in order.
func (e *ends) closeArray(opened int, dst []byte, begin int) []byte {
	list := e.stack[opened:]
	width := writeWidth(len(dst)-begin, len(list))
	for _, offset := range list {
		dst = appendOffset(dst, width, int(offset))
	}
	e.stack = e.stack[:opened]
	return dst
}

// closeTuple appends the framing offsets of the tuple that begins at dst[begin],
// in reverse order.
func (e *ends) closeTuple(opened int, dst []byte, begin int) []byte {
	list := e.stack[opened:]
	width := writeWidth(len(dst)-begin, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		dst = appendOffset(dst, width, int(list[i]))
	}
	e.stack = e.stack[:opened]
	return dst
}

// pad appends zeros until a multiple of align bytes, at most 8, lie after begin.
func pad(dst []byte, begin, align int) []byte {
	var zeros [8]byte
	return append(dst, zeros[:-(len(dst)-begin)&(align-1)]...)
}
