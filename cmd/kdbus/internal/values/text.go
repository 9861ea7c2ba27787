// Package values reads and prints the values in the bodies of messages, as busctl does: from
// arguments of a command line (parse.go), as text in one line or as a tree (text.go), and
// as JSON that keeps the types (json.go). Printing works on the bodies as they came, so that
// nothing changes its order. It knows nothing of buses.
package values

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kdbus-go/kdbus/wire"
)

// Body is what can be walked over: a message that was received.
type Body interface {
	Walk(wire.Visitor) error
}

// typeNames are the types' names in the specification.
var typeNames = [256]string{
	'y': "BYTE", 'b': "BOOLEAN", 'n': "INT16", 'q': "UINT16", 'i': "INT32", 'u': "UINT32",
	'x': "INT64", 't': "UINT64", 'd': "DOUBLE", 's': "STRING", 'o': "OBJECT_PATH", 'g': "SIGNATURE",
	'h': "UNIX_FD", 'a': "ARRAY", '(': "STRUCT", '{': "DICT_ENTRY", 'v': "VARIANT",
}

// AppendTree appends the values of a body as a tree, one value a line, each line behind indent.
// Control characters in strings, which a terminal would obey, are escaped.
func AppendTree(dst []byte, body Body, indent string) ([]byte, error) {
	t := tree{b: dst, indent: indent}
	err := body.Walk(&t)
	return t.b, err
}

type tree struct {
	b      []byte
	indent string
	depth  int
}

const step = "        "

// Basic is wire.Visitor's.
func (t *tree) Basic(v wire.Basic) error {
	t.line()
	t.b = append(append(t.b, typeNames[v.Type]...), ' ')
	switch v.Type {
	case 's', 'o', 'g':
		t.b = append(t.b, '"')
		t.b = AppendPrintable(t.b, v.Text())
		t.b = append(t.b, '"')
	default:
		t.b = appendNumber(t.b, v)
	}
	t.b = append(t.b, ";\n"...)
	return nil
}

// Enter is wire.Visitor's.
func (t *tree) Enter(kind byte, contents string) error {
	t.line()
	t.b = append(append(t.b, typeNames[kind]...), ` "`...)
	t.b = append(append(t.b, contents...), "\" {\n"...)
	t.depth++
	return nil
}

// Leave is wire.Visitor's.
func (t *tree) Leave(byte) error {
	t.depth--
	t.line()
	t.b = append(t.b, "};\n"...)
	return nil
}

func (t *tree) line() {
	t.b = append(t.b, t.indent...)
	for range t.depth {
		t.b = append(t.b, step...)
	}
}

func appendNumber(b []byte, v wire.Basic) []byte {
	switch v.Type {
	case 'b':
		return strconv.AppendBool(b, v.Bool())
	case 'd':
		return appendDouble(b, v.Double())
	case 'n', 'i', 'x':
		return strconv.AppendInt(b, v.Int(), 10)
	default:
		return strconv.AppendUint(b, v.Uint(), 10)
	}
}

// appendDouble writes a number as C's %g does.
func appendDouble(b []byte, v float64) []byte {
	start := len(b)
	b = strconv.AppendFloat(b, v, 'g', 6, 64)
	switch string(b[start:]) {
	case "+Inf":
		return append(b[:start], "inf"...)
	case "-Inf":
		return append(b[:start], "-inf"...)
	case "NaN":
		return append(b[:start], "nan"...)
	}
	return b
}

// AppendPrintable appends s with its control characters, and bytes that are no UTF-8, as escape
// sequences of C, and everything else as it is.
func AppendPrintable(b []byte, s string) []byte {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, isControl) {
		return append(b, s...)
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if isControl(r) || r == utf8.RuneError && size == 1 {
			for _, c := range []byte(s[i : i+size]) {
				b = appendEscaped(b, c)
			}
		} else {
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return b
}

func isControl(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }

// appendEscaped appends a byte as C writes it in a string.
func appendEscaped(b []byte, c byte) []byte {
	if i := strings.IndexByte("\a\b\f\n\r\t\v\\\"'", c); i >= 0 {
		return append(b, '\\', `abfnrtv\"'`[i])
	}
	if c < ' ' || c >= 0x7f {
		return append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
	}
	return append(b, c)
}

// AppendTerse appends the values of a body in one line, as they can be typed, with blanks between
// them.
func AppendTerse(dst []byte, body Body) ([]byte, error) {
	t := terse{b: dst, start: len(dst)}
	err := body.Walk(&t)
	return t.b, err
}

// terse writes the number of elements before an array when the array ends: its length is not
// known before.
type terse struct {
	b     []byte
	start int
	open  []container
}

type container struct {
	kind  byte
	at    int // of an array: where the number of elements goes
	count int
}

func (t *terse) element() {
	if n := len(t.open); n > 0 {
		t.open[n-1].count++
	}
}

func (t *terse) blank() {
	if len(t.b) > t.start {
		t.b = append(t.b, ' ')
	}
}

// Basic is wire.Visitor's.
func (t *terse) Basic(v wire.Basic) error {
	t.element()
	t.blank()
	switch v.Type {
	case 's', 'o', 'g':
		t.b = append(t.b, '"')
		for _, c := range []byte(v.Text()) {
			t.b = appendEscaped(t.b, c)
		}
		t.b = append(t.b, '"')
	default:
		t.b = appendNumber(t.b, v)
	}
	return nil
}

// Enter is wire.Visitor's.
func (t *terse) Enter(kind byte, contents string) error {
	t.element()
	if kind == 'v' {
		t.blank()
		t.b = append(t.b, contents...)
	}
	t.open = append(t.open, container{kind: kind, at: len(t.b)})
	return nil
}

// Leave is wire.Visitor's.
func (t *terse) Leave(byte) error {
	c := t.open[len(t.open)-1]
	t.open = t.open[:len(t.open)-1]
	if c.kind != 'a' {
		return nil
	}
	number := strconv.Itoa(c.count)
	if c.at > t.start {
		number = " " + number
	}
	if c.at == t.start && len(t.b) > t.start {
		number += " "
	}
	rest := string(t.b[c.at:])
	t.b = append(append(t.b[:c.at], number...), rest...)
	return nil
}
