package gvariant

import (
	"slices"

	"github.com/kdbus-go/kdbus/wire"
)

// MaxDepth bounds how many containers may be nested in a value, and in a type.
// It is GLib's limit; conversions keep to the lower one of D-Bus,
// [wire.MaxDepth].
const MaxDepth = 128

// maxTypeLength bounds a type string: a signature of D-Bus, in brackets.
const maxTypeLength = wire.MaxSignatureLength + 2

// node is what a walk along a value needs to know about its type. Each character
// of a type string has one; the node of a type is that of its first character.
type node struct {
	code byte
	// align is the alignment of the values: 1, 2, 4 or 8.
	align uint8
	// frames is the number of framing offsets of a tuple or dict entry.
	frames uint8
	// depth is how many values the smallest value has in each other,
	// empty arrays counted as if they held one. A variant has two: it must hold
	// something.
	depth uint8
	// length is the number of nodes of the whole type.
	length uint16
	// size of every value, or 0 if the values have different sizes.
	size uint16
}

const deepType = "more than 128 types are nested"

// types holds the nodes of the types being walked along, as a stack: the type of
// a variant is pushed when its value is entered and popped when that is left.
type types struct {
	nodes []node
}

// fault says what is wrong with a type, and where; the zero fault says that
// nothing is.
type fault struct {
	at     int
	reason string
}

func (f fault) error(what, s string) error {
	return &wire.Error{What: what + " " + quote(s), Offset: f.at, Reason: f.reason}
}

// dialect is whose types are valid.
type dialect bool

const (
	gvariantTypes dialect = false
	dbusTypes     dialect = true
)

// push parses the one complete type s and returns its node.
func (t *types) push(s string, d dialect) (n int, f fault) {
	if len(s) == 0 {
		return 0, fault{0, "it is empty, and one complete type is needed"}
	}
	// Most types that are pushed are those of variants, and basic.
	if len(s) == 1 && basics[s[0]].code != 0 {
		t.nodes = append(t.nodes, basics[s[0]])
		return len(t.nodes) - 1, fault{}
	}
	limit := maxTypeLength
	if d == dbusTypes {
		limit = wire.MaxSignatureLength
	}
	if len(s) > limit {
		return 0, fault{limit, "it is too long"}
	}
	n = t.grow(len(s))
	p := typeParser{nodes: t.nodes[n:], s: s, dialect: d}
	next, f := p.complete(0, nesting{})
	if f.reason == "" && next != len(s) {
		f = fault{next, "it goes on after one complete type"}
	}
	if f.reason == "" && t.nodes[n].depth > MaxDepth {
		f = fault{0, deepType}
	}
	if f.reason != "" {
		t.pop(n)
	}
	return n, f
}

// pushTuple parses the signature of a body and returns the node of the tuple of
// its types.
func (t *types) pushTuple(signature string) (n int, f fault) {
	if len(signature) > wire.MaxSignatureLength {
		return 0, fault{wire.MaxSignatureLength, "it is longer than 255 bytes"}
	}
	n = t.grow(len(signature) + 2)
	p := typeParser{nodes: t.nodes[n+1 : n+1+len(signature)], s: signature, dialect: dbusTypes}
	for i := 0; i < len(signature); {
		if i, f = p.complete(i, nesting{}); f.reason != "" {
			t.pop(n)
			return 0, f
		}
	}
	t.nodes[n] = tuple('(', p.nodes)
	return n, fault{}
}

// pop forgets the type at n and all that were pushed after it.
func (t *types) pop(n int) { t.nodes = t.nodes[:n] }

func (t *types) grow(length int) (n int) {
	n = len(t.nodes)
	t.nodes = slices.Grow(t.nodes, length)[:n+length]
	return n
}

// typeParser fills in nodes, one for each byte of s.
type typeParser struct {
	nodes   []node
	s       string
	dialect dialect
}

// nesting counts what is around a type.
type nesting struct{ arrays, structs, all int }

// complete parses the single complete type that begins at i, and returns the
// index just past it.
func (p *typeParser) complete(i int, in nesting) (next int, f fault) {
	if i == len(p.s) {
		return i, fault{i, "a type is missing"}
	}
	if in.all++; in.all > MaxDepth {
		return i, fault{i, deepType}
	}
	switch c := p.s[i]; c {
	case 'a', 'm':
		return p.single(i, in)
	case '(':
		if in.structs++; p.dialect == dbusTypes && in.structs > wire.MaxStructDepth {
			return i, fault{i, "more than 32 structs are nested"}
		}
		for next = i + 1; next == len(p.s) || p.s[next] != ')'; {
			if next, f = p.complete(next, in); f.reason != "" {
				return next, f
			}
		}
		if p.dialect == dbusTypes && next == i+1 {
			return next, fault{next, "a struct of D-Bus is not empty"}
		}
		p.nodes[i] = tuple(c, p.nodes[i+1:next])
		return next + 1, fault{}
	case '{':
		if p.dialect == dbusTypes && (i == 0 || p.s[i-1] != 'a') {
			return i, fault{i, "a dict entry is not the element of an array"}
		}
		return p.dictEntry(i, in)
	default:
		if basics[c].code == 0 {
			return i, fault{i, "there is no such type"}
		}
		p.nodes[i] = basics[c]
		return i + 1, fault{}
	}
}

// single parses the array or maybe type that begins at i.
func (p *typeParser) single(i int, in nesting) (next int, f fault) {
	c := p.s[i]
	if p.dialect == dbusTypes {
		if c == 'm' {
			return i, fault{i, "D-Bus has no maybe types"}
		}
		if in.arrays++; in.arrays > wire.MaxArrayDepth {
			return i, fault{i, "more than 32 arrays are nested"}
		}
	}
	next, f = p.complete(i+1, in)
	if f.reason != "" {
		return next, f
	}
	element := p.nodes[i+1]
	p.nodes[i] = node{code: c, align: element.align, depth: element.depth + 1, length: element.length + 1}
	return next, fault{}
}

// dictEntry parses the dict entry type that begins at i.
func (p *typeParser) dictEntry(i int, in nesting) (next int, f fault) {
	key := i + 1
	if key == len(p.s) || basics[p.s[key]].code == 0 || p.s[key] == 'v' {
		return key, fault{key, "the key of a dict entry is not of a basic type"}
	}
	p.nodes[key] = basics[p.s[key]]
	next, f = p.complete(key+1, in)
	if f.reason != "" {
		return next, f
	}
	if next == len(p.s) || p.s[next] != '}' {
		return next, fault{next, "a dict entry does not end after its value"}
	}
	p.nodes[i] = tuple('{', p.nodes[key:next])
	return next + 1, fault{}
}

// tuple returns the node of a tuple or dict entry with these members.
func tuple(code byte, members []node) node {
	t := node{code: code, align: 1, depth: 1, length: uint16(len(members) + 2)}
	if len(members) == 0 {
		t.size = 1
		return t
	}
	size := 0 // of the members so far, as long as it is known
	lastVaries := false
	for i := 0; i < len(members); i += int(members[i].length) {
		m := members[i]
		t.align = max(t.align, m.align)
		t.depth = max(t.depth, m.depth+1)
		if lastVaries {
			t.frames++
		}
		lastVaries = m.size == 0
		size = alignUp(size, int(m.align)) + int(m.size)
	}
	if t.frames == 0 && !lastVaries {
		t.size = uint16(alignUp(size, int(t.align)))
	}
	return t
}

// basics holds the nodes of the types that are one character.
var basics = func() (table [256]node) {
	for i, c := range []byte("ybnqiuhxtd") {
		size := []uint8{1, 1, 2, 2, 4, 4, 4, 8, 8, 8}[i]
		table[c] = node{code: c, align: size, depth: 1, length: 1, size: uint16(size)}
	}
	for _, c := range []byte("sog") {
		table[c] = node{code: c, align: 1, depth: 1, length: 1}
	}
	table['v'] = node{code: 'v', align: 8, depth: 2, length: 1}
	return table
}()

// number reports whether any bytes of the right size are a value of the type.
func (n node) number() bool { return n.size == 1 && n.code == 'y' || n.size > 1 && n.length == 1 }

// alignUp returns the next multiple of align, a power of two, from n on.
func alignUp(n, align int) int { return (n + align - 1) &^ (align - 1) }
