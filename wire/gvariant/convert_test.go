package gvariant_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// bodies are the same values in version 1 and version 2, little-endian.
var bodies = []struct{ name, signature, v1, v2 string }{
	{"no arguments", "", "", "00"},
	{"byte", "y", "ff", "ff"},
	{"numbers", "yqyuyt", "01 00 0200 03 000000 04000000 05 000000 0600000000000000",
		"01 00 0200 03 000000 04000000 05 000000 0600000000000000"},
	{"numbers of fixed size are padded at the end", "uy", "01000000 02", "01000000 02 000000"},
	{"booleans", "bbn", "00000000 01000000 0300", "00 01 0300"},
	{"descriptors", "ah", "08000000 00000000 01000000", "00000000 01000000"},
	{"string", "s", "03000000 'foo' 00", "'foo' 00"},
	{"strings and signature", "sog", "01000000 'a' 00 0000 01000000 '/' 00 02 'ay' 00", "'a' 00 '/' 00 'ay' 00 04 02"},
	{"bytes", "ay", "03000000 010203", "010203"},
	{"empty array of structs", "yat", "07 000000 00000000", "07 00000000000000"},
	{"array of booleans", "ab", "08000000 01000000 00000000", "01 00"},
	{"array of strings", "as", "0e000000 01000000 'a' 00 0000 01000000 'b' 00", "'a' 00 'b' 00 02 04"},
	{"array of structs of fixed size", "a(yb)", "10000000 00000000 01 000000 01000000 02 000000 00000000", "01 01 02 00"},
	{"struct", "(ys)y", "01 000000 01000000 'a' 00 09", "01 'a' 00 09 03"},
	{"dictionary of variants", "a{sv}", "10000000 00000000 01000000 'a' 00 01 'u' 00 000000 05000000",
		"'a' 00 000000000000 05000000 00 'u' 02 0f"},
	{"variant in a variant", "v", "01 'v' 00 01 's' 00 0000 01000000 'x' 00", "'x' 00 00 's' 00 'v'"},
	{"variant of a struct", "v", "04 '(yy)' 00 0000 01 02", "01 02 00 '(yy)'"},
	{"variant of a path", "v", "01 'o' 00 00 01000000 '/' 00", "'/' 00 00 'o'"},
	{"variants are aligned", "yv", "01 01 'y' 00 02", "01 00000000000000 02 00 'y'"},
	{"64 variants", "v", repeat("01 'v' 00", 63) + "01 'y' 00 07", variants(64)},
	{"arrays in an array", "aay", "0c000000 01000000 01 000000 00000000", "01 01 01"},
}

func TestBodiesAreConverted(t *testing.T) {
	for _, c := range bodies {
		t.Run(c.name, func(t *testing.T) {
			v1, v2 := unhex(c.v1), unhex(c.v2)
			if err := wire.ValidateBody(wire.LittleEndian, c.signature, v1); err != nil {
				t.Fatal(err)
			}
			got, err := gvariant.AppendFromDBus1([]byte("odd"), wire.LittleEndian, wire.LittleEndian, c.signature, v1)
			if want := append([]byte("odd"), v2...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("version 2 is % x, want % x, %v", got, want, err)
			}
			got, err = gvariant.AppendToDBus1([]byte("odd"), wire.LittleEndian, wire.LittleEndian, c.signature, v2)
			if want := append([]byte("odd"), v1...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("version 1 is % x, want % x, %v", got, want, err)
			}
		})
	}
}

func TestByteOrderIsConverted(t *testing.T) {
	values := []any{int16(-2), []uint32{1, 2}, uint64(3), 1.5, "x", []any{uint16(4)}, true, wire.UnixFD(5)}
	for _, from := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
		for _, to := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
			body, sig, err := wire.AppendBody(nil, from, values...)
			if err != nil {
				t.Fatal(err)
			}
			v2, err := gvariant.AppendFromDBus1(nil, to, from, string(sig), body)
			if err != nil {
				t.Fatal(err)
			}
			want, _, err := gvariant.AppendBody(nil, to, values...)
			if err != nil || !bytes.Equal(v2, want) {
				t.Errorf("%v to %v: % x, want % x, %v", from, to, v2, want, err)
			}
			v1, err := gvariant.AppendToDBus1(nil, from, to, string(sig), v2)
			if err != nil || !bytes.Equal(v1, body) {
				t.Errorf("%v back from %v: % x, want % x, %v", from, to, v1, body, err)
			}
		}
	}
}

func TestWhatIsNotNormalIsNotConverted(t *testing.T) {
	for _, c := range abnormal {
		if wire.CheckSingleSignature(c.typ) != nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			got, err := gvariant.AppendToDBus1([]byte("kept"), wire.LittleEndian, wire.LittleEndian, c.typ, unhex(c.data))
			var e *wire.Error
			if !errors.As(err, &e) || e.Offset < 0 || string(got) != "kept" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestWhatDBusCannotHoldIsNotConverted(t *testing.T) {
	for _, c := range []struct{ name, signature, data, reason string }{
		{"maybe", "ms", "", "maybe"},
		{"empty struct", "()", "00", "not empty"},
		{"dict entry alone", "{sy}", "'a' 00 07 02", "not the element"},
		{"variant of a maybe", "v", "00 'ms'", "maybe"},
		{"variant of an empty struct", "v", "00 00 '()'", "not empty"},
		{"variant of a dict entry", "v", "'a' 00 07 02 00 '{sy}'", "not the element"},
		{"variant of 33 arrays", "v", "00 " + repeat("'a'", 33) + "'y'", "32 arrays"},
		{"variant of 33 structs", "v", "07 00 " + repeat("'('", 33) + "'y' " + repeat("')'", 33), "32 structs"},
		{"variant of a type of 256 bytes", "v", repeat("00", 255) + "'(" + strings.Repeat("y", 254) + ")'", "too long"},
		{"signature of 256 types", strings.Repeat("y", 256), repeat("00", 256), "255"},
		{"65 variants", "v", variants(65), "64 containers"},
		{"64 variants in an array", "av", variants(64) + "81", "64 containers"},
		{"no body", "", "", "size"},
		{"a body of a value too many", "", "00 00", "size"},
		{"an empty body of 1", "", "01", "padding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := gvariant.AppendToDBus1(nil, wire.LittleEndian, wire.LittleEndian, c.signature, unhex(c.data))
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("got %v, want %q", err, c.reason)
			}
		})
	}
}

func TestWhatIsTooLongForVersion1IsNotConverted(t *testing.T) {
	for _, c := range []struct {
		name, signature string
		body            func() []byte
		reason          string
	}{
		{"array", "at", func() []byte { return make([]byte, wire.MaxArraySize+8) }, "64 MiB"},
		{"body", "ayayay", func() []byte {
			const n = wire.MaxMessageSize / 3
			b := make([]byte, 3*n, 3*n+8)
			b = binary.LittleEndian.AppendUint32(b, 2*n)
			return binary.LittleEndian.AppendUint32(b, n)
		}, "128 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := gvariant.AppendToDBus1(nil, wire.LittleEndian, wire.LittleEndian, c.signature, c.body())
			if err == nil || !strings.Contains(err.Error(), c.reason) || got != nil {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestBadBodiesOfVersion1AreFound(t *testing.T) {
	for _, c := range []struct{ name, signature, body, reason string }{
		{"bad signature", "a", "", "missing"},
		{"value too many", "y", "01 02", "left over"},
		{"integer too short", "u", "010000", "ends within a value"},
		{"boolean of 2", "b", "02000000", "neither 0 nor 1"},
		{"string longer than the body", "s", "ffffffff 'a' 00", "ends within a value"},
		{"string without NUL", "s", "01000000 'ab'", "NUL"},
		{"string that ends with the body", "s", "01000000 'a'", "NUL"},
		{"signature longer than the body", "g", "05 'a' 00", "ends within a value"},
		{"array longer than the body", "at", "f0ffffff 00000000", "within an array"},
		{"array of integers that ends within one", "ai", "05000000 0000000000", "last element"},
		{"array of strings that ends within one", "as", "05000000 01000000 'a' 00", "last element"},
		{"array without length", "ay", "0000", "ends within a value"},
		{"array that ends within padding", "at", "00000000", "ends within a value"},
		{"variant without signature", "v", "", "ends within a value"},
		{"variant of two types", "v", "02 'yy' 00 0000", "goes on"},
		{"variant of nothing", "v", "00 00", "empty"},
		{"variant of a maybe", "v", "02 'my' 00 00", "maybe"},
		{"65 variants", "v", repeat("01 'v' 00", 64) + "01 'y' 00 07", "64 containers"},
		{"struct that ends within padding", "y(y)", "01 000000", "ends within a value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := gvariant.AppendFromDBus1([]byte("kept"), wire.LittleEndian, wire.LittleEndian, c.signature, unhex(c.body))
			if err == nil || !strings.Contains(err.Error(), c.reason) || string(got) != "kept" {
				t.Errorf("got %q, %v, want %q", got, err, c.reason)
			}
		})
	}
}

func TestValues(t *testing.T) {
	values := []any{"x", map[string]wire.Variant{"a": {Signature: "as", Value: []string{"b", "c"}}}, []any{byte(1), true}}
	body, err := gvariant.AppendBodyAs(nil, wire.BigEndian, "sa{sv}(yb)", values...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := gvariant.Values(wire.BigEndian, "sa{sv}(yb)", body)
	if d := cmp.Diff(values, got); err != nil || d != "" {
		t.Error(err, d)
	}
	var s string
	var properties map[string]any
	var pair struct {
		A byte
		B bool
	}
	if err := gvariant.Decode(wire.BigEndian, "sa{sv}(yb)", body, &s, &properties, &pair); err != nil {
		t.Fatal(err)
	}
	if s != "x" || !pair.B || pair.A != 1 || len(properties) != 1 {
		t.Error(s, properties, pair)
	}

	if got, _, err := gvariant.AppendBody([]byte("kept"), wire.LittleEndian, make(chan int)); err == nil || string(got) != "kept" {
		t.Error(got, err)
	}
	if got, err := gvariant.AppendBodyAs([]byte("kept"), wire.LittleEndian, "u", "x"); err == nil || string(got) != "kept" {
		t.Error(got, err)
	}
	if _, err := gvariant.Values(wire.LittleEndian, "s", []byte("x")); err == nil {
		t.Error("Values takes a string without NUL")
	}
	if err := gvariant.Decode(wire.LittleEndian, "s", []byte("x"), &s); err == nil {
		t.Error("Decode takes a string without NUL")
	}
}
