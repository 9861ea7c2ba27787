package wire_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

type point struct {
	X, Y int32
	note string //lint:ignore U1000 unexported fields are not written
}

type shape struct {
	Name   string
	Points []point
}

type celsius int16

func TestSignatureOf(t *testing.T) {
	for _, c := range []struct {
		value any
		want  wire.Signature
	}{
		{byte(1), "y"}, {true, "b"}, {int16(1), "n"}, {uint16(1), "q"}, {int32(1), "i"}, {uint32(1), "u"},
		{int64(1), "x"}, {uint64(1), "t"}, {1.5, "d"}, {"s", "s"}, {celsius(3), "n"},
		{wire.ObjectPath("/"), "o"}, {wire.Signature(""), "g"}, {wire.UnixFD(0), "h"}, {wire.Variant{}, "v"},
		{[]byte(nil), "ay"}, {[16]byte{}, "ay"}, {[][]string{}, "aas"}, {[]any{1}, "av"},
		{map[string]any{}, "a{sv}"}, {map[wire.ObjectPath]map[string]wire.Variant{}, "a{oa{sv}}"},
		{point{}, "(ii)"}, {&shape{}, "(sa(ii))"}, {[]*point{}, "a(ii)"},
	} {
		got, err := wire.SignatureOf(c.value)
		if err != nil || got != c.want {
			t.Errorf("%T: %q, %v; want %q", c.value, got, err, c.want)
		}
	}
	if got, err := wire.SignatureOf("a", uint32(1)); got != "su" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

type recursive struct{ Children []recursive }

func TestTypesWithoutSignatureAreRefused(t *testing.T) {
	for _, v := range []any{
		nil, 1, uint(1), int8(1), float32(1), complex(1, 1), make(chan int), func() {}, struct{}{}, []struct{}{},
		map[any]string{}, map[[2]byte]string{}, map[wire.Variant]string{}, recursive{}, uintptr(1),
		struct{ hidden int32 }{}, [][]int{}, map[string]int{},
	} {
		if sig, err := wire.SignatureOf(v); err == nil {
			t.Errorf("%T is %q", v, sig)
		}
	}
}

var vectors = []struct {
	name      string
	signature string
	values    []any
	body      string
}{
	{"basic types", "ybnqiuxtdsogh",
		[]any{byte(1), true, int16(-2), uint16(3), int32(-4), uint32(5), int64(-6), uint64(7), 1.0, "é", wire.ObjectPath("/a"), wire.Signature("as"), wire.UnixFD(2)},
		"01 000000 01000000 feff 0300 fcffffff 05000000 00000000 faffffffffffffff 0700000000000000 000000000000f03f" +
			"02000000 c3a9 00 00 02000000 '/a' 00 02 'as' 00 00 02000000"},
	{"arrays", "asayaay", []any{[]string{"a", "bc"}, []byte{1, 2}, [][]byte{{3}, {}}},
		"0f000000 01000000 'a' 00 0000 02000000 'bc' 00 00 02000000 0102 0000 0c000000 01000000 03 000000 00000000"},
	{"dict", "a{sv}", []any{map[string]wire.Variant{"b": {"y", byte(2)}, "a": {"u", uint32(1)}}},
		"1a000000 00000000 01000000 'a' 00 01 'u' 00 000000 01000000 01000000 'b' 00 01 'y' 00 02"},
	{"struct", "(sa(ii))", []any{[]any{"p", [][]any{{int32(1), int32(-1)}}}},
		"01000000 'p' 00 0000 08000000 00000000 01000000 ffffffff"},
}

func TestKnownBytes(t *testing.T) {
	for _, c := range vectors {
		t.Run(c.name, func(t *testing.T) {
			want := unhex(c.body)
			got, err := wire.AppendBodyAs(nil, wire.LittleEndian, c.signature, c.values...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestBytesAreThoseOfGodbus compares with another implementation.
func TestBytesAreThoseOfGodbus(t *testing.T) {
	type pair struct {
		ours  []any
		other []any
	}
	for _, c := range []pair{
		{[]any{byte(1), true, int16(-1), 2.5, "x"}, []any{byte(1), true, int16(-1), 2.5, "x"}},
		{[]any{wire.ObjectPath("/a/b"), wire.Signature("a{sv}"), wire.UnixFD(0)}, []any{dbus.ObjectPath("/a/b"), dbus.ParseSignatureMust("a{sv}"), dbus.UnixFDIndex(0)}},
		{[]any{[]string{"a", "bcd"}, uint64(1)}, []any{[]string{"a", "bcd"}, uint64(1)}},
		{[]any{byte(0), map[string]any{"key": []int64{1}}}, []any{byte(0), map[string]dbus.Variant{"key": dbus.MakeVariant([]int64{1})}}},
		{[]any{shape{"s", []point{{X: 1, Y: 2}, {X: 3}}}}, []any{shape{"s", []point{{X: 1, Y: 2}, {X: 3}}}}},
		{[]any{wire.Variant{Value: wire.Variant{Value: []point{}}}}, []any{dbus.MakeVariant(dbus.MakeVariant([]point{}))}},
	} {
		for order, other := range map[wire.Order]binary.ByteOrder{wire.LittleEndian: binary.LittleEndian, wire.BigEndian: binary.BigEndian} {
			ours := wire.Message{Header: wire.Header{Order: order, Type: wire.TypeSignal, Serial: 1, Path: "/", Interface: "a.b", Member: "C"}}
			if err := ours.SetBody(c.ours...); err != nil {
				t.Fatal(err)
			}
			var buf bytes.Buffer
			theirs := dbus.Message{Type: dbus.TypeSignal, Body: c.other, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/")), dbus.FieldInterface: dbus.MakeVariant("a.b"),
				dbus.FieldMember: dbus.MakeVariant("C"), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(c.other...)),
			}}
			if ours.Signature == "ogh" {
				// godbus counts descriptors, of which this message has none.
				continue
			}
			if err := theirs.EncodeTo(&buf, other); err != nil {
				t.Fatal(err)
			}
			b := buf.Bytes()
			order.PutUint32(b[8:], 1) // godbus sets serials when it sends
			got, err := wire.ParseMessage(b)
			if err != nil {
				t.Fatalf("%s: %v", ours.Signature, err)
			}
			if d := cmp.Diff(&ours, got); d != "" {
				t.Errorf("%s: %s", ours.Signature, d)
			}
		}
	}
}

func TestMapsAreWrittenInOrderOfTheirKeys(t *testing.T) {
	for _, m := range []any{
		map[int16]string{3: "", -1: "", 2: "", 0: ""},
		map[uint64]string{9: "", 1: "", 1 << 63: ""},
		map[float64]string{1: "", -1: "", math.Inf(1): ""},
		map[bool]string{true: "", false: ""},
		map[wire.ObjectPath]string{"/b": "", "/a": "", "/": ""},
	} {
		first, sig, err := wire.AppendBody(nil, wire.LittleEndian, m)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			again, _, _ := wire.AppendBody(nil, wire.LittleEndian, m)
			if !bytes.Equal(first, again) {
				t.Fatalf("%s differs from time to time", sig)
			}
		}
	}
}

func TestConversionToASignature(t *testing.T) {
	for _, c := range []struct {
		signature string
		value     any
		same      any // what gives the same bytes without conversion; nil if refused
	}{
		{"y", 255, byte(255)}, {"y", 256, nil}, {"y", -1, nil}, {"y", uint64(1 << 60), nil},
		{"n", -32768, int16(-32768)}, {"n", 32768, nil}, {"n", uint(32767), int16(32767)}, {"n", uint(32768), nil},
		{"i", int64(math.MinInt32), int32(math.MinInt32)}, {"i", int64(math.MaxInt32) + 1, nil},
		{"u", int64(math.MaxUint32), uint32(math.MaxUint32)}, {"u", int64(math.MaxUint32) + 1, nil},
		{"x", uint64(math.MaxInt64), int64(math.MaxInt64)}, {"x", uint64(math.MaxInt64) + 1, nil},
		{"t", uint64(math.MaxUint64), uint64(math.MaxUint64)}, {"t", -1, nil},
		{"d", float32(0.5), 0.5}, {"d", 1, nil}, {"b", 1, nil}, {"u", true, nil}, {"s", []byte("a"), nil}, {"s", 1, nil},
		{"o", "/a", wire.ObjectPath("/a")}, {"o", "a", nil}, {"g", "as", wire.Signature("as")}, {"g", "a", nil},
		{"h", uint32(1), nil}, {"u", wire.UnixFD(1), nil}, {"h", wire.UnixFD(1), wire.UnixFD(1)},
		{"v", "x", wire.Variant{Signature: "s", Value: "x"}}, {"v", 1, nil}, {"v", wire.Variant{}, nil},
		{"v", wire.Variant{Signature: "y", Value: 300}, nil}, {"v", wire.Variant{Signature: "yy", Value: byte(1)}, nil},
		{"v", wire.Variant{Signature: "(yy)", Value: []any{1, 2}}, wire.Variant{Value: struct{ A, B byte }{1, 2}}},
		{"v", (*point)(nil), nil}, {"(ii)", (*point)(nil), nil}, {"v", &point{X: 1}, wire.Variant{Value: point{X: 1}}},
		{"(yy)", []any{1, 2}, struct{ A, B byte }{1, 2}}, {"(yy)", []any{1}, nil}, {"(y)", []any{1, 2}, nil},
		{"(i)", point{}, nil}, {"(iii)", point{}, nil}, {"(ii)", []int32{1, 2}, nil}, {"(yy)", map[string]int{}, nil},
		{"ay", []int{1, 2}, []byte{1, 2}}, {"ay", [2]byte{1, 2}, []byte{1, 2}}, {"ay", "ab", nil}, {"ay", []int{256}, nil},
		{"au", []any{1, uint8(2)}, []uint32{1, 2}}, {"as", []any{"a", 1}, nil}, {"a{sv}", []string{}, nil}, {"ay", map[byte]byte{}, nil},
		{"a{sv}", map[string]string{"a": "b"}, map[string]any{"a": "b"}}, {"a{ys}", map[int]string{300: ""}, nil},
		{"s", nil, nil}, {"v", nil, nil}, {"av", []any{nil}, nil}, {"s", "a\x00b", nil}, {"s", "\xff", nil}, {"as", []string{"\xff"}, nil},
		{"", "s", nil}, {"ss", "s", nil}, {"z", "s", nil}, {"a{ss}", map[string]string{"\xff": ""}, nil},
	} {
		prefix := []byte("abc")
		got, err := wire.AppendBodyAs(prefix, wire.LittleEndian, c.signature, c.value)
		if c.same == nil {
			if err == nil {
				t.Errorf("%#v is written as %q", c.value, c.signature)
			}
			if !bytes.Equal(got, prefix) {
				t.Errorf("%#v leaves % x after an error", c.value, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.signature, err)
			continue
		}
		want, sig, err := wire.AppendBody(prefix, wire.LittleEndian, c.same)
		if err != nil || string(sig) != c.signature {
			t.Errorf("%q: %q, %v", c.signature, sig, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", c.signature, d)
		}
	}
}

func TestErrorsOfValuesSayWhere(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{[]shape{{"a", nil}, {"\xff", nil}}, `wire: invalid value: argument 0: element 1: field Name: invalid string "\xff": a string is not valid UTF-8`},
		{map[string]wire.Variant{"k": {"y", 300}}, `wire: invalid value: argument 0: entry k: 300 is out of the range of type 'y'`},
		{1, `wire: invalid value: argument 0: the size of int is not fixed; use int32 or int64`},
	} {
		_, _, err := wire.AppendBody(nil, wire.LittleEndian, c.value)
		if err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestValuesThatContainThemselvesAreRefused(t *testing.T) {
	list := []any{nil}
	list[0] = list
	var pointer any
	pointer = &pointer
	type loop *loop
	var p loop
	p = &p
	for _, v := range []any{list, pointer, p, wire.Variant{Value: p}} {
		if _, _, err := wire.AppendBody(nil, wire.LittleEndian, v); err == nil {
			t.Errorf("%T is written", v)
		}
		if _, err := wire.AppendBodyAs(nil, wire.LittleEndian, "s", v); err == nil {
			t.Errorf("%T is written as a string", v)
		}
	}
}

func TestDepthLimitWhenWriting(t *testing.T) {
	value := func(n int) any {
		var v any = byte(7)
		for range n {
			v = wire.Variant{Value: v}
		}
		return v
	}
	body, _, err := wire.AppendBody(nil, wire.LittleEndian, value(64))
	if err != nil || !bytes.Equal(body, unhex(variants(64))) {
		t.Errorf("64 variants: % x, %v", body, err)
	}
	if _, _, err := wire.AppendBody(nil, wire.LittleEndian, value(65)); err == nil {
		t.Error("65 variants are written")
	}
}

func TestSizeLimitsWhenWriting(t *testing.T) {
	longest := make([]byte, wire.MaxArraySize, wire.MaxArraySize+1)
	if _, _, err := wire.AppendBody(nil, wire.LittleEndian, longest); err != nil {
		t.Error(err)
	}
	if _, _, err := wire.AppendBody(nil, wire.LittleEndian, longest[:wire.MaxArraySize+1]); err == nil {
		t.Error("an array of more than 64 MiB is written")
	}
	if _, _, err := wire.AppendBody(nil, wire.LittleEndian, longest, longest); err == nil {
		t.Error("a body of more than 128 MiB is written")
	}
}
