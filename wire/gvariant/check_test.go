package gvariant_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// unhex reads bytes written as hexadecimal digits and 'text', apart by spaces.
func unhex(s string) []byte {
	b := []byte{}
	for _, word := range strings.Fields(s) {
		if text, ok := strings.CutPrefix(word, "'"); ok {
			b = append(b, strings.TrimSuffix(text, "'")...)
			continue
		}
		digits, err := hex.DecodeString(word)
		if err != nil {
			panic(err)
		}
		b = append(b, digits...)
	}
	return b
}

// repeat repeats the bytes of s, written for unhex, n times.
func repeat(s string, n int) string { return strings.Repeat(s+" ", n) }

// variants are n variants, each in the one before, around a byte.
func variants(n int) string { return "07 00 'y' " + repeat("00 'v'", n-1) }

// normalForms are little-endian. Those called examples are the ones of the
// specification, section "Serialisation Examples".
var normalForms = []struct{ name, typ, data string }{
	{"example: string", "s", "'hello' 20 'world' 00"},
	{"example: maybe of a string", "ms", "'hello' 20 'world' 00 00"},
	{"example: array of booleans", "ab", "01 00 00 01 01"},
	{"example: tuple", "(si)", "'foo' 00 ffffffff 04"},
	{"example: array of dict entries", "a{si}", "'hi' 00 00 feffffff 03 000000 'bye' 00 ffffffff 04 09 15"},
	{"example: array of strings", "as", "'i' 00 'can' 00 'has' 00 'strings?' 00 02 06 0a 13"},
	{"example: nested tuple", "((ys)as)", "69 'can' 00 'has' 00 'strings?' 00 04 0d 05"},
	{"example: tuple of an integer and bytes", "(yy)", "70 80"},
	{"example: padding at the end of a tuple", "(iy)", "60000000 70 000000"},
	{"example: padding within a tuple", "(yi)", "70 000000 60000000"},
	{"example: array of tuples", "a(iy)", "60000000 70 000000 88020000 f7 000000"},
	{"example: array of bytes", "ay", "04 05 06 07"},
	{"example: array of integers", "ai", "04000000 02010000"},
	{"example: dict entry", "{si}", "'a' 20 'key' 00 0000 02020000 06"},

	{"numbers of all sizes", "(ybnqiuhxtd)", "01 01 0200 0300 0000 04000000 05000000 06000000 00000000" +
		"0700000000000000 0800000000000000 000000000000f03f"},
	{"empty tuple", "()", "00"},
	{"tuple of an empty tuple", "(())", "00"},
	{"array of empty tuples", "a()", "000000"},
	{"no elements", "as", ""},
	{"no elements of fixed size", "at", ""},
	{"nothing", "ms", ""},
	{"nothing of fixed size", "mi", ""},
	{"just nothing", "mmi", "00"},
	{"just an integer", "mi", "01000000"},
	{"empty strings", "as", "00 00 01 02"},
	{"empty arrays in an array", "aas", "00 00"},
	{"empty arrays are aligned", "(yat)", "01 00000000000000"},
	{"an empty array after an unaligned one", "aat", "00 00"},
	{"path and signature", "(og)", "'/a' 00 'a{sv}' 00 03"},
	{"empty signature", "g", "00"},
	{"variant", "v", "05000000 00 'u'"},
	{"variant of a maybe", "v", "00 'ms'"},
	{"variant of a dict entry", "v", "'a' 00 01 02 00 '{sy}'"},
	{"variant of an empty tuple", "v", "00 00 '()'"},
	{"variants are aligned", "av", "01 00 'y' 0000000000 02 00 'y' 03 0b"},
	{"offsets of tuples are reversed", "(sss)", "'a' 00 'bc' 00 'd' 00 05 02"},
	{"member of fixed size last", "(sy)", "'a' 00 07 02"},
	{"127 variants", "v", variants(127)},
	{"array as large as one byte of offset allows", "as", repeat("'x'", 253) + "00 fe"},
	{"offset of two bytes", "as", repeat("'x'", 254) + "00 ff00"},
	{"offset of four bytes", "as", repeat("'x'", 65533) + "00 feff0000"},
	{"offsets of two bytes in a tuple", "(ss)", repeat("'x'", 252) + "00 00 fd"},
	{"deepest type in a variant", "v", "00 " + repeat("'a'", 126) + "'y'"},
	{"noncharacters", "s", "efbfbe efb790 00"},
}

func TestNormalFormsAreFoundNormal(t *testing.T) {
	for _, c := range normalForms {
		t.Run(c.name, func(t *testing.T) {
			data := unhex(c.data)
			if err := gvariant.Check(c.typ, data); err != nil {
				t.Error(err)
			}
			got, err := gvariant.AppendNormal([]byte("odd"), c.typ, data, len(data))
			if want := append([]byte("odd"), data...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("normal form is % x, %v", got, err)
			}
		})
	}
}

// abnormal forms, what is wrong with them, and what they mean.
var abnormal = []struct {
	name, typ, data string
	at              int
	reason          string
	normal          string
}{
	{"boolean of 2", "b", "02", 0, "neither 0 nor 1", "01"},
	{"integer too short", "i", "010203", 0, "size", "00000000"},
	{"integer too long", "i", "0102030405", 0, "size", "00000000"},
	{"string without NUL", "s", "'abc'", 2, "NUL", "00"},
	{"string of no bytes", "s", "", 0, "NUL", "00"},
	{"string with NUL inside", "s", "'a' 00 'b' 00", 1, "contains NUL", "00"},
	{"string not UTF-8", "s", "'a' ff 00", 1, "UTF-8", "00"},
	{"surrogate", "s", "'ab' eda080 00", 2, "UTF-8", "00"},
	{"bad path", "o", "'/a/' 00", 2, "object path", "'/' 00"},
	{"bad signature", "g", "'a' 00", 1, "signature", "00"},
	{"array of integers that ends within one", "ai", "0100000002", 5, "last element", ""},
	{"array of booleans", "ab", "0102", 1, "neither 0 nor 1", "0101"},
	{"tuple of fixed size with padding", "(yi)", "70 000100 60000000", 2, "padding", "70 000000 60000000"},
	{"padding at the end of a tuple", "(iy)", "60000000 70 000001", 7, "padding", "60000000 70 000000"},
	{"empty tuple of 1", "()", "01", 0, "padding", "00"},
	{"empty tuple of no bytes", "()", "", 0, "size", "00"},
	{"maybe without zero at the end", "ms", "'a' 00 01", 2, "maybe", "'a' 00 00"},
	{"maybe of fixed size", "my", "0102", 0, "size", ""},
	{"variant without NUL", "v", "'ssss'", 0, "variant", "00 00 '()'"},
	{"variant of no bytes", "v", "", 0, "variant", "00 00 '()'"},
	{"variant without type", "v", "01 00", 2, "empty", "00 00 '()'"},
	{"variant of two types", "v", "01 00 'yy'", 3, "goes on", "00 00 '()'"},
	{"variant of a type there is not", "v", "01 00 '*'", 2, "no such type", "00 00 '()'"},
	{"variant of a value too short", "v", "0100 00 'u'", 0, "size", "00 00 '()'"},
	{"variant of a string without NUL", "v", "'a' 00 's'", 0, "NUL", "00 00 's'"},
	{"128 variants", "v", variants(128), 0, "128 containers", "00 00 '()' " + repeat("00 'v'", 126)},
	{"too deep a type in a variant", "v", "00 " + repeat("'a'", 127) + "'y'", 0, "128 containers", "00 00 '()'"},
	{"type of 258 bytes", "v", "00 " + repeat("'a'", 258), 0, "variant", "00 00 '()'"},

	{"offset behind the array", "as", "'a' 00 ff", 3, "framing", ""},
	{"array of no elements but bytes", "as", "04 04 04 04", 4, "framing", ""},
	{"last offset not a multiple from the end", "as", repeat("'x'", 254) + "00 fe00", 257, "framing", ""},
	{"offsets that do not ascend", "as", "'a' 00 'b' 00 'c' 00 02 01 06", 7, "before another", "'a' 00 00 00 02 03 04"},
	{"offset behind the elements", "as", "'a' 00 'b' 00 09 04", 4, "outside", "00 00 01 02"},
	{"offset wider than needed", "as", repeat("'x'", 253) + "00 fe00", 254, "wider", repeat("'x'", 253) + "00 fe"},
	{"padding between elements", "av", "01 00 'y' 0000000001 02 00 'y' 03 0b", 7, "padding", "01 00 'y' 0000000000 02 00 'y' 03 0b"},
	{"element of nothing but padding", "av", "01 00 'y' 00 03 04", 4, "within padding", "01 00 'y' 0000000000 00 00 '()' 03 0c"},

	{"offset behind the tuple", "(ss)", "'a' 00 'b' 00 ff", 4, "outside", "00 00 01"},
	{"offset into the offsets of a tuple", "(ss)", "'a' 00 'b' 00 05", 4, "outside", "00 00 01"},
	{"tuple smaller than its offsets", "(sss)", "00", 0, "framing", "00 00 00 02 01"},
	{"tuple of no bytes", "(sy)", "", 0, "NUL", "00 00 01"},
	{"tuple with bytes too many", "(sy)", "'a' 00 07 08 02", 3, "framing", "'a' 00 07 02"},
	{"member behind the tuple", "(sy)", "'a' 00 02", 2, "outside", "'a' 00 02 02"},
	{"empty tuple of two arrays", "(ayay)", "", 0, "wider", "00"},
}

func TestWhatIsNotNormalIsFoundAndHasDefaults(t *testing.T) {
	for _, c := range abnormal {
		t.Run(c.name, func(t *testing.T) {
			data := unhex(c.data)
			err := gvariant.Check(c.typ, data)
			var e *wire.Error
			if !errors.As(err, &e) || e.Offset != c.at || !strings.Contains(e.Reason, c.reason) {
				t.Errorf("got %v, want %q at byte %d", err, c.reason, c.at)
			}
			got, err := gvariant.AppendNormal(nil, c.typ, data, 1000)
			if want := unhex(c.normal); err != nil || !bytes.Equal(got, want) {
				t.Errorf("normal form is %q, want %q, %v", got, want, err)
			}
			if err := gvariant.Check(c.typ, got); err != nil {
				t.Errorf("the normal form is not: %v", err)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	for _, s := range []string{"y", "v", "()", "(())", "mmai", "{sv}", "a{sv}", "m{hm()}", "(a(a(a(a()))))", strings.Repeat("a", 127) + "y"} {
		if err := gvariant.CheckType(s); err != nil {
			t.Error(err)
		}
	}
	for s, reason := range map[string]string{
		"": "needed", "yy": "goes on", "a": "missing", "m": "missing", "(": "missing", ")": "no such", "(y": "missing", "{": "key", "{s": "missing",
		"{sv": "end", "{svv}": "end", "{vs}": "key", "{(y)s}": "key", "{s}": "no such", "r": "no such", "?": "no such", "*": "no such", "a{}": "key", "e": "no such", "\x00": "no such",
		strings.Repeat("a", 128) + "y": "128 types", strings.Repeat("a", 127) + "v": "128 types", strings.Repeat("(", 200): "128 types", "(" + strings.Repeat("y", 256) + ")": "too long",
	} {
		if err := gvariant.CheckType(s); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", s, err, reason)
		}
		if err := gvariant.Check(s, nil); err == nil {
			t.Errorf("%q: Check takes it", s)
		}
		if _, err := gvariant.AppendNormal(nil, s, nil, 100); err == nil {
			t.Errorf("%q: AppendNormal takes it", s)
		}
	}
}

// A few bytes can stand for many: each offset for a tuple that has the largest
// default value there is.
func TestDefaultsAreBounded(t *testing.T) {
	typ := "a(" + strings.Repeat("v", 250) + ")"
	data := slices.Repeat([]byte{0}, 200) // elements from 0 to 0
	got, err := gvariant.AppendNormal([]byte("kept"), typ, data, 100<<10)
	if err == nil || !strings.Contains(err.Error(), "more than 102400 bytes") || string(got) != "kept" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err = gvariant.AppendNormal(nil, typ, data, 1<<20); err != nil || len(got) < 200*250*8 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := gvariant.Check(typ, got); err != nil {
		t.Error(err)
	}
	if cap(got) > 4<<20 {
		t.Errorf("%d bytes are allocated", cap(got))
	}
}
