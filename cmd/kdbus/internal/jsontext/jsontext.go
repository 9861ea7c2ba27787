// Package jsontext writes JSON as busctl does: in one line without blanks, or over many with
// tabs and a blank on both sides of each colon. Members of objects keep their order. It reads
// nothing: what it writes, any program reads.
package jsontext

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Mode is how JSON is laid out, or that there is none. It is a pflag.Value.
type Mode int

// The modes of busctl's --json.
const (
	Off    Mode = iota // no JSON
	Short              // one line
	Pretty             // for people
)

// Set is pflag.Value's.
func (m *Mode) Set(s string) error {
	switch s {
	case "off":
		*m = Off
	case "short":
		*m = Short
	case "pretty":
		*m = Pretty
	default:
		return fmt.Errorf("there are the modes short, pretty and off, and not %q", s)
	}
	return nil
}

// String is pflag.Value's.
func (m *Mode) String() string { return [...]string{"off", "short", "pretty"}[*m] }

// Type is pflag.Value's.
func (*Mode) Type() string { return "MODE" }

// Object is an object, with its members in order.
type Object []Member

// Member is a member of an object.
type Member struct {
	Key   string
	Value any
}

// Raw is what [Prepare] has made of a value.
type Raw []byte

// Prepare writes a value that will be written often: as part of others, below so many of them.
func Prepare(v any, mode Mode, depth int) Raw {
	w := writer{pretty: mode == Pretty, depth: depth}
	w.value(v)
	return w.b
}

// Append appends v to dst, with a newline behind it. v is nil, a bool, a string, an int, int64, uint32,
// uint64 or float64, an Object, a []any or a Raw; anything else is a mistake of the program.
func Append(dst []byte, v any, mode Mode) []byte {
	w := writer{b: dst, pretty: mode == Pretty}
	w.value(v)
	return append(w.b, '\n')
}

type writer struct {
	b      []byte
	pretty bool
	depth  int
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case nil:
		w.b = append(w.b, "null"...)
	case bool:
		w.b = strconv.AppendBool(w.b, v)
	case string:
		w.b = appendString(w.b, v)
	case int:
		w.b = strconv.AppendInt(w.b, int64(v), 10)
	case int64:
		w.b = strconv.AppendInt(w.b, v, 10)
	case uint32:
		w.b = strconv.AppendUint(w.b, uint64(v), 10)
	case uint64:
		w.b = strconv.AppendUint(w.b, v, 10)
	case float64:
		w.b = appendFloat(w.b, v)
	case Raw:
		w.b = append(w.b, v...)
	case Object:
		w.object(v)
	case []any:
		w.array(v)
	default:
		panic(fmt.Sprintf("jsontext: a %T", v))
	}
}

func (w *writer) object(o Object) {
	w.b = append(w.b, '{')
	w.depth++
	for i, m := range o {
		w.separate(i)
		w.b = appendString(w.b, m.Key)
		if w.pretty {
			w.b = append(w.b, " : "...)
		} else {
			w.b = append(w.b, ':')
		}
		w.value(m.Value)
	}
	w.end(len(o), '}')
}

func (w *writer) array(a []any) {
	w.b = append(w.b, '[')
	w.depth++
	for i, v := range a {
		w.separate(i)
		w.value(v)
	}
	w.end(len(a), ']')
}

// separate begins element i.
func (w *writer) separate(i int) {
	if i > 0 {
		w.b = append(w.b, ',')
	}
	w.newline()
}

func (w *writer) end(elements int, bracket byte) {
	w.depth--
	if elements > 0 {
		w.newline()
	}
	w.b = append(w.b, bracket)
}

func (w *writer) newline() {
	if !w.pretty {
		return
	}
	w.b = append(w.b, '\n')
	for range w.depth {
		w.b = append(w.b, '\t')
	}
}

// appendFloat writes a number with 22 digits, as busctl does, which loses nothing. What is no
// number is null: JSON has no other word for it.
func appendFloat(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, v, 'e', 21, 64)
}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r < 0xa0 { // control characters, which a terminal would obey
				b = fmt.Appendf(b, `\u%04x`, r)
			} else {
				b = utf8.AppendRune(b, r) // the replacement character for what is no UTF-8
			}
			i += size
			continue
		}
		i++
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			if c < ' ' {
				const hex = "0123456789abcdef"
				b = append(b, `\u00`...)
				b = append(b, hex[c>>4], hex[c&15])
			} else {
				b = append(b, c)
			}
		}
	}
	return append(b, '"')
}
