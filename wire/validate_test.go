package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

// unhex reads bytes written as hexadecimal digits and 'text', apart by spaces.
func unhex(s string) []byte {
	var b []byte
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
func variants(n int) string { return repeat("01 'v' 00", n-1) + "01 'y' 00 07" }

// validBodies are little-endian and written by hand from section "Marshaling".
var validBodies = []struct{ name, signature, body string }{
	{"nothing", "", ""},
	{"byte", "y", "ff"},
	{"padding before an integer", "yqyuyt", "01 00 0200 03 000000 04000000 05 000000 0600000000000000"},
	{"booleans", "bb", "00000000 01000000"},
	{"double and descriptor", "dh", "000000000000f03f 03000000"},
	{"string", "s", "03000000 'foo' 00"},
	{"empty string", "s", "00000000 00"},
	{"string of the specification", "sss", "03000000 'foo' 00 01000000 '+' 00 0000 03000000 'bar' 00"},
	{"string of two-, three- and four-byte characters", "s", "09000000 c3a4 e282ac f09f9880 00"},
	{"noncharacters", "s", "06000000 efbfbe efb790 00"},
	{"long ASCII", "s", "11000000 'abcdefghijklmnopq' 00"},
	{"path", "o", "04000000 '/a/b' 00"},
	{"signature", "gg", "00 00 05 'a{sv}' 00"},
	{"empty arrays", "asatay", "00000000 00000000 00000000"},
	{"array of the specification", "at", "08000000 00000000 0500000000000000"},
	{"bytes", "ay", "03000000 010203"},
	{"array of booleans", "ab", "08000000 01000000 00000000"},
	{"arrays in an array", "aay", "0c000000 01000000 01 000000 00000000"},
	{"struct", "(ys)", "01 000000 01000000 'a' 00"},
	{"empty array of structs is padded", "ya(y)", "01 000000 00000000"},
	{"empty array of structs is padded to 8", "a(y)", "00000000 00000000"},
	{"dict", "a{yv}", "0d000000 00000000 01 01 'y' 00 02 000000 02 01 'y' 00 03"},
	{"variant of the specification", "v", "01 'u' 00 00 01000000"},
	{"variant holding an array of structs", "v", "04 'a(y)' 00 0000 01000000 00000000 09"},
	{"64 containers", "v", variants(64)},
	{"63 containers and an array", "v", repeat("01 'v' 00", 62) + "02 'ay' 00" + "00 00 00000000"},
}

var invalidBodies = []struct{ name, signature, body string }{
	{"bad signature", "a", "00000000"},
	{"value missing", "y", ""},
	{"second value missing", "yy", "00"},
	{"left over", "y", "0000"},
	{"left over without signature", "", "00"},
	{"integer cut off", "u", "000000"},
	{"integer missing after padding", "yu", "00000000"},
	{"padding missing", "yu", "00 00"},
	{"padding not zero", "yu", "00 000100 00000000"},
	{"boolean of 2", "b", "02000000"},
	{"big-endian boolean", "b", "00000001"},
	{"boolean of 2 in an array", "ab", "08000000 00000000 02000000"},
	{"string without NUL", "s", "01000000 'ab'"},
	{"string ends at its NUL", "s", "01000000 'a'"},
	{"string longer than the body", "s", "ff000000 'a' 00"},
	{"string of 4 GiB", "s", "ffffffff 'a' 00"},
	{"string with NUL", "s", "03000000 'a' 00 'b' 00"},
	{"long string with NUL", "s", "0b000000 'abcdef' 00 'ghij' 00"},
	{"overlong UTF-8", "s", "02000000 c080 00"},
	{"surrogate", "s", "03000000 eda080 00"},
	{"above U+10FFFF", "s", "04000000 f4908080 00"},
	{"character cut off", "s", "09000000 'abcdefgh' c3 00"},
	{"continuation only", "s", "01000000 80 00"},
	{"empty path", "o", "00000000 00"},
	{"relative path", "o", "01000000 'a' 00"},
	{"path with a trailing slash", "o", "03000000 '/a/' 00"},
	{"signature that is none", "g", "01 'a' 00"},
	{"signature without NUL", "g", "01 'y' 01"},
	{"signature cut off", "g", "05 'yy' 00"},
	{"array cut off", "ay", "04000000 00"},
	{"array of 4 GiB", "ay", "ffffffff 00"},
	{"array longer than 64 MiB", "ay", "01000004" + repeat("00", 8)},
	{"array that ends within an integer", "au", "05000000 00000000 00"},
	{"array that ends within a boolean", "ab", "05000000 00000000 00"},
	{"array that ends within a string", "as", "05000000 01000000 'a' 00"},
	{"array that ends in padding", "a(y)", "0c000000 00000000 01 00000000000000 00000000"},
	{"array padding missing", "at", "00000000"},
	{"array padding not zero", "at", "00000000 00000001"},
	{"padding between structs not zero", "a(y)", "09000000 00000000 01 00000001000000 02"},
	{"variant with two values", "v", "02 'yy' 00 00 00"},
	{"variant with none", "v", "00 00"},
	{"variant with a bad signature", "v", "01 'r' 00 00"},
	{"variant with a bare dict entry", "v", "04 '{yy}' 00 00 00 00"},
	{"variant without NUL", "v", "01 'y' 01 00"},
	{"variant without value", "v", "01 'y' 00"},
	{"variant without string", "v", "01 's' 00"},
	{"variant holding a bad boolean", "v", "01 'b' 00 00 03000000"},
	{"65 containers", "v", variants(65)},
	{"64 containers and an array", "v", repeat("01 'v' 00", 63) + "02 'as' 00" + "00 00000000 00000000"},
	{"64 containers and a struct", "v", repeat("01 'v' 00", 63) + "03 '(y)' 00" + "00000000 00"},
}

func TestValidBodies(t *testing.T) {
	for _, c := range validBodies {
		t.Run(c.name, func(t *testing.T) {
			body := unhex(c.body)
			if err := wire.ValidateBody(wire.LittleEndian, c.signature, body); err != nil {
				t.Fatal(err)
			}
			// No beginning of it is valid, and nothing may follow.
			for n := range body {
				if wire.ValidateBody(wire.LittleEndian, c.signature, body[:n]) == nil {
					t.Errorf("valid without the last %d bytes", len(body)-n)
				}
			}
			if wire.ValidateBody(wire.LittleEndian, c.signature, append(body, 0)) == nil {
				t.Error("valid with a byte too many")
			}
		})
	}
}

func TestInvalidBodies(t *testing.T) {
	for _, c := range invalidBodies {
		t.Run(c.name, func(t *testing.T) {
			body := unhex(c.body)
			err := wire.ValidateBody(wire.LittleEndian, c.signature, body)
			var e *wire.Error
			if !errors.As(err, &e) {
				t.Fatalf("error is %v", err)
			}
			if e.Offset < 0 || e.Offset > max(len(body), len(c.signature)) {
				t.Errorf("offset is %d of %d", e.Offset, len(body))
			}
			if _, err := wire.Values(wire.LittleEndian, c.signature, body); err == nil {
				t.Error("Values takes it")
			}
		})
	}
}

func TestErrorsOfBodiesSayWhere(t *testing.T) {
	err := wire.ValidateBody(wire.LittleEndian, "yb", unhex("01 000000 02000000"))
	if want := "wire: invalid body: at byte 4: a boolean is neither 0 nor 1"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestArrayMayHave64MiB(t *testing.T) {
	body := make([]byte, 4+wire.MaxArraySize)
	wire.LittleEndian.PutUint32(body, wire.MaxArraySize)
	if err := wire.ValidateBody(wire.LittleEndian, "ay", body); err != nil {
		t.Error(err)
	}
	body = append(body, 0)
	wire.LittleEndian.PutUint32(body, wire.MaxArraySize+1)
	if wire.ValidateBody(wire.LittleEndian, "ay", body) == nil {
		t.Error("one byte more is valid")
	}
}

func TestValidationDoesNotAllocate(t *testing.T) {
	for _, c := range validBodies {
		body := unhex(c.body)
		n := testing.AllocsPerRun(10, func() {
			if err := wire.ValidateBody(wire.LittleEndian, c.signature, body); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkValidateBody(b *testing.B) {
	properties := map[string]any{}
	for i := range 20 {
		properties[fmt.Sprintf("Property%d", i)] = uint32(i)
	}
	for _, c := range []struct {
		name   string
		values []any
	}{
		{"su", []any{"org.freedesktop.DBus", uint32(7)}},
		{"s-1KiB", []any{strings.Repeat("x", 1<<10)}},
		{"s-1KiB-utf8", []any{strings.Repeat("€", 341)}},
		{"as-100", []any{slices.Repeat([]string{"org.freedesktop.DBus"}, 100)}},
		{"a{sv}-20", []any{properties}},
		{"ay-8MiB", []any{make([]byte, 8<<20)}},
		{"at-8MiB", []any{make([]uint64, 1<<20)}},
		{"ab-4KiB", []any{make([]bool, 1<<10)}},
	} {
		body, sig, err := wire.AppendBody(nil, wire.LittleEndian, c.values...)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if err := wire.ValidateBody(wire.LittleEndian, string(sig), body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestBigEndianBodyIsNotLittleEndian(t *testing.T) {
	body, sig, err := wire.AppendBody(nil, wire.BigEndian, true, "x")
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex("00000001 00000001 'x' 00"); !bytes.Equal(body, want) {
		t.Errorf("% x, want % x", body, want)
	}
	if err := wire.ValidateBody(wire.BigEndian, string(sig), body); err != nil {
		t.Error(err)
	}
	if wire.ValidateBody(wire.LittleEndian, string(sig), body) == nil {
		t.Error("valid in the wrong order")
	}
}
