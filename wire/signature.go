package wire

// layout is a valid signature with what a walk along it needs to know: where
// the array types end, so that an empty array can be stepped over at once. It
// is computed once per signature, however many values have it.
type layout struct {
	sig string
	// end[i] is the index just past the complete type that begins at i, known
	// where sig[i] is 'a'.
	end [MaxSignatureLength + 1]uint8
}

// parse takes sig if it is valid and computes the layout.
func (l *layout) parse(sig string) fault {
	if len(sig) > MaxSignatureLength {
		return fault{MaxSignatureLength, "it is longer than 255 bytes"}
	}
	l.sig = sig
	for i := 0; i < len(sig); {
		// Most signatures are a few basic types.
		if basic(sig[i]) {
			i++
			continue
		}
		var f fault
		if i, f = l.complete(i, 0, 0); !f.none() {
			return f
		}
	}
	return fault{}
}

// complete judges the single complete type that begins at i within arrays
// arrays and structs structs, and returns the index just past it.
//
// Arrays are counted as the specification does: all those around the type.
// libdbus counts only those that follow each other directly, and so takes some
// deeper signatures that other implementations refuse.
func (l *layout) complete(i, arrays, structs int) (next int, f fault) {
	if i == len(l.sig) {
		return i, fault{i, "a type is missing"}
	}
	switch c := l.sig[i]; c {
	case 'a':
		if arrays++; arrays > MaxArrayDepth {
			return i, fault{i, "more than 32 arrays are nested"}
		}
		if i+1 < len(l.sig) && l.sig[i+1] == '{' {
			next, f = l.dictEntry(i+1, arrays, structs)
		} else {
			next, f = l.complete(i+1, arrays, structs)
		}
		l.end[i] = uint8(next)
		return next, f
	case '(':
		if structs++; structs > MaxStructDepth {
			return i, fault{i, "more than 32 structs are nested"}
		}
		for next = i + 1; next == i+1 || next == len(l.sig) || l.sig[next] != ')'; {
			if next, f = l.complete(next, arrays, structs); !f.none() {
				return next, f
			}
		}
		return next + 1, fault{}
	case ')', '}':
		return i, fault{i, "a type is missing before the bracket"}
	case '{':
		return i, fault{i, "a dict entry is not the element of an array"}
	default:
		if c != 'v' && !basic(c) {
			return i, fault{i, "there is no such type"}
		}
		return i + 1, fault{}
	}
}

// dictEntry judges the dict entry type that begins at i.
func (l *layout) dictEntry(i, arrays, structs int) (next int, f fault) {
	key := i + 1
	if key == len(l.sig) || !basic(l.sig[key]) {
		return key, fault{key, "the key of a dict entry is not of a basic type"}
	}
	next, f = l.complete(key+1, arrays, structs)
	if f.none() && (next == len(l.sig) || l.sig[next] != '}') {
		f = fault{next, "a dict entry does not end after its value"}
	}
	return next + 1, f
}

// basic reports whether c is the code of a basic type.
func basic(c byte) bool { return typeSize[c] != 0 || stringLike(c) }

// stringLike reports whether c is the code of a basic type of varying size.
func stringLike(c byte) bool { return c == 's' || c == 'o' || c == 'g' }

// typeSize is the size, and so the alignment, of the types of fixed size, and
// 0 for all other types.
var typeSize = [256]uint8{
	'y': 1, 'b': 4, 'n': 2, 'q': 2, 'i': 4, 'u': 4, 'x': 8, 't': 8, 'd': 8, 'h': 4,
}

// alignment of the type of which c is the first code; 1 if there is no such type.
func alignment(c byte) int {
	switch c {
	case 's', 'o', 'a':
		return 4
	case 'g', 'v':
		return 1
	case '(', '{':
		return 8
	}
	return int(max(1, typeSize[c]))
}

func signatureFault(s string) fault {
	var l layout
	return l.parse(s)
}

func singleSignatureFault(s string) fault {
	var l layout
	f := l.parse(s)
	switch {
	case !f.none():
		return f
	case s == "":
		return fault{0, "it is empty, and one complete type is needed"}
	}
	if next := nextType(s, 0); next != len(s) {
		return fault{next, "it goes on after one complete type"}
	}
	return fault{}
}

// CheckSignature judges a signature of any number of complete types, section
// "Valid Signatures".
func CheckSignature(s string) error { return signatureFault(s).error("signature", s) }

// CheckSingleSignature judges a signature of exactly one complete type, as a
// variant has it.
func CheckSingleSignature(s string) error { return singleSignatureFault(s).error("signature", s) }

// nextType returns the index just past the complete type that begins at i of
// the valid signature sig; at most len(sig) if it is not valid.
func nextType(sig string, i int) int {
	for open := 0; i < len(sig); i++ {
		switch sig[i] {
		case 'a':
			continue
		case '(', '{':
			open++
		case ')', '}':
			open--
		}
		if open <= 0 {
			return i + 1
		}
	}
	return len(sig)
}
