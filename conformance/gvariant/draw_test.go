//go:build conformance

package gvariant

import (
	"encoding/binary"
	"math/rand/v2"
)

// source draws types and their values, written as the specification says in the
// plainest way there is. It knows nothing of the package under test.
type source struct {
	*rand.Rand
	// dbus draws types that D-Bus has, and no others.
	dbus bool
}

func (r source) pick(choices ...string) string { return choices[r.IntN(len(choices))] }

const basicTypes = "ybnqiuxtdhsog"

func (r source) basicType() string { return string(basicTypes[r.IntN(len(basicTypes))]) }

// typ draws a complete type with at most depth containers in each other.
func (r source) typ(depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		return r.pick(r.basicType(), r.basicType(), "s", "v")
	}
	kinds := 5
	if r.dbus {
		kinds = 3
	}
	switch r.IntN(kinds) {
	case 0:
		return "a{" + r.basicType() + r.typ(depth-1) + "}"
	case 1:
		return "a" + r.typ(depth-1)
	case 2:
		s := "("
		for range r.IntN(5) {
			s += r.typ(depth - 1)
		}
		if r.dbus && s == "(" {
			s = "(y"
		}
		return s + ")"
	case 3:
		return "m" + r.typ(depth-1)
	default:
		return "{" + r.basicType() + r.typ(depth-1) + "}"
	}
}

// end returns where the complete type that begins at s[i] ends.
func end(s string, i int) int {
	for open := 0; ; i++ {
		switch s[i] {
		case 'a', 'm':
			continue
		case '(', '{':
			open++
		case ')', '}':
			open--
		}
		if open == 0 {
			return i + 1
		}
	}
}

// members returns the types in the tuple or dict entry type s.
func members(s string) (list []string) {
	for i := 1; i < len(s)-1; i = end(s, i) {
		list = append(list, s[i:end(s, i)])
	}
	return list
}

var sizes = map[byte]int{'y': 1, 'b': 1, 'n': 2, 'q': 2, 'i': 4, 'u': 4, 'h': 4, 'x': 8, 't': 8, 'd': 8}

func alignment(s string) int {
	switch s[0] {
	case 'v':
		return 8
	case 'a', 'm':
		return alignment(s[1:])
	case '(', '{':
		align := 1
		for _, m := range members(s) {
			align = max(align, alignment(m))
		}
		return align
	}
	return max(1, sizes[s[0]])
}

// size returns the size of all values of the type s, or 0 if they differ.
func size(s string) int {
	if s[0] != '(' && s[0] != '{' {
		return sizes[s[0]]
	}
	n := 0
	for _, m := range members(s) {
		if size(m) == 0 {
			return 0
		}
		n = up(n, alignment(m)) + size(m)
	}
	return max(1, up(n, alignment(s)))
}

func up(n, align int) int {
	for n%align != 0 {
		n++
	}
	return n
}

func padded(b []byte, align int) []byte { return append(b, make([]byte, up(len(b), align)-len(b))...) }

// framed appends framing offsets.
func framed(b []byte, ends []int) []byte {
	width := 1
	for len(b)+width*len(ends) >= 1<<(8*width) {
		width *= 2
	}
	for _, e := range ends {
		b = append(b, binary.LittleEndian.AppendUint64(nil, uint64(e))[:width]...)
	}
	return b
}

// value draws the normal form of a value of the type s.
func (r source) value(s string, depth int) []byte {
	switch s[0] {
	case 'b':
		return []byte{byte(r.IntN(2))}
	case 's':
		return append([]byte(r.pick("", "a", "bc", "ä€😀", "a longer string that makes offsets grow")), 0)
	case 'o':
		return append([]byte(r.pick("/", "/a", "/com/example/Object_1")), 0)
	case 'g':
		return append([]byte(r.pick("", "a{sv}", "(iu)as")), 0)
	case 'v':
		inner := r.typ(max(depth-1, 0))
		return append(append(r.value(inner, depth-1), 0), inner...)
	case 'm':
		switch {
		case r.IntN(3) == 0:
			return []byte{}
		case size(s[1:]) != 0:
			return r.value(s[1:], depth)
		}
		return append(r.value(s[1:], depth), 0)
	case 'a':
		return r.array(s[1:], depth)
	case '(', '{':
		return r.tuple(s, depth)
	}
	b := make([]byte, sizes[s[0]])
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return b
}

func (r source) array(element string, depth int) (b []byte) {
	n := r.IntN(4)
	if r.IntN(20) == 0 {
		n = r.IntN(100)
	}
	var ends []int
	for range n {
		b = append(padded(b, alignment(element)), r.value(element, depth)...)
		ends = append(ends, len(b))
	}
	if size(element) != 0 {
		return b
	}
	return framed(b, ends)
}

func (r source) tuple(s string, depth int) (b []byte) {
	list := members(s)
	var ends []int
	for i, m := range list {
		b = append(padded(b, alignment(m)), r.value(m, depth)...)
		if size(m) == 0 && i < len(list)-1 {
			ends = append([]int{len(b)}, ends...)
		}
	}
	if n := size(s); n != 0 {
		return append(b, make([]byte, n-len(b))...)
	}
	return framed(b, ends)
}

// damage returns b with some bytes changed, most of them at its end, where the
// offsets are.
func (r source) damage(b []byte) []byte {
	b = append([]byte{}, b...)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			return append(b, byte(r.IntN(256)))
		}
		i := r.IntN(len(b))
		if r.IntN(2) == 0 {
			i = max(0, len(b)-1-r.IntN(8))
		}
		switch r.IntN(7) {
		case 0:
			b[i] = byte(r.IntN(256))
		case 1:
			b[i] = byte(r.IntN(len(b) + 2))
		case 2:
			b[i] = 0
		case 3:
			b[i]++
		case 4:
			b = append(b[:i], b[i+1:]...)
		case 5:
			b = append(b[:i], append([]byte{byte(r.IntN(len(b) + 2))}, b[i:]...)...)
		default:
			b = b[:i]
		}
	}
	return b
}
