package wire_test

import (
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

// body is AppendBodyAs for values known to be good.
func body(t testing.TB, signature string, values ...any) []byte {
	t.Helper()
	b, err := wire.AppendBodyAs(nil, wire.LittleEndian, signature, values...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestValuesHaveTheDocumentedTypes(t *testing.T) {
	for _, c := range []struct {
		signature string
		write     []any
		want      []any
	}{
		{"", nil, []any{}},
		{"ybnqiuxtd", []any{1, true, 2, 3, 4, 5, 6, 7, 8.5}, []any{byte(1), true, int16(2), uint16(3), int32(4), uint32(5), int64(6), uint64(7), 8.5}},
		{"nix", []any{-1, -2, -3}, []any{int16(-1), int32(-2), int64(-3)}},
		{"sogh", []any{"a", "/a", "as", wire.UnixFD(1)}, []any{"a", wire.ObjectPath("/a"), wire.Signature("as"), wire.UnixFD(1)}},
		{"asay", []any{[]string{}, []byte{1}}, []any{[]string{}, []byte{1}}},
		{"(y(s))", []any{[]any{1, []any{"a"}}}, []any{[]any{byte(1), []any{"a"}}}},
		{"a(ys)", []any{[][]any{{1, "a"}, {2, "b"}}}, []any{[][]any{{byte(1), "a"}, {byte(2), "b"}}}},
		{"a{sv}", []any{map[string]any{"a": int32(1)}}, []any{map[string]wire.Variant{"a": {"i", int32(1)}}}},
		{"a{oa{sa{sv}}}", []any{map[wire.ObjectPath]map[string]map[string]any{"/": {"a": {"b": true}}}},
			[]any{map[wire.ObjectPath]map[string]map[string]wire.Variant{"/": {"a": {"b": {"b", true}}}}}},
		{"v", []any{[]string{"a"}}, []any{wire.Variant{Signature: "as", Value: []string{"a"}}}},
		{"aaaay", []any{[][][][]byte{{{{1}}}}}, []any{[][][]any{{{[]byte{1}}}}}},
		{"aaaa{ss}", []any{[][][]map[string]string{{{{"a": "b"}}}}}, []any{[][][]any{{{map[string]string{"a": "b"}}}}}},
	} {
		got, err := wire.Values(wire.LittleEndian, c.signature, body(t, c.signature, c.write...))
		if err != nil {
			t.Errorf("%s: %v", c.signature, err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.signature, d)
		}
	}
}

func TestValuesAreNotPartOfTheBody(t *testing.T) {
	b := body(t, "sayv", "abc", []byte("abc"), wire.ObjectPath("/abc"))
	want, _ := wire.Values(wire.LittleEndian, "sayv", b)
	got, _ := wire.Values(wire.LittleEndian, "sayv", b)
	clear(b)
	if d := cmp.Diff(want, got); d != "" || got[0] != "abc" {
		t.Errorf("%v %s", got, d)
	}
}

func TestDecode(t *testing.T) {
	b := body(t, "sua(ii)a{sv}ayov", "x", 5, []point{{X: 1, Y: 2}}, map[string]any{"k": "v"}, []byte{1, 2}, "/p", uint64(9))
	var (
		s      = "old"
		u      int // wider than UINT32
		points = []*point{{X: 9}}
		dict   map[string]any
		bytes  [2]byte
		path   string
		v      any
	)
	if err := wire.Decode(wire.LittleEndian, "sua(ii)a{sv}ayov", b, &s, &u, &points, &dict, &bytes, &path, &v); err != nil {
		t.Fatal(err)
	}
	got := []any{s, u, *points[0], len(points), dict, bytes, path, v}
	want := []any{"x", 5, point{X: 1, Y: 2}, 1, map[string]any{"k": wire.Variant{Signature: "s", Value: "v"}}, [2]byte{1, 2}, "/p", wire.Variant{Signature: "t", Value: uint64(9)}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(point{})); d != "" {
		t.Error(d)
	}
}

func TestDecodeRefusesWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		signature string
		value     any
		dst       any
	}{
		{"s", "a", nil}, {"s", "a", "a"}, {"s", "a", (*string)(nil)}, {"s", "a", new(int)}, {"s", "a", new([]byte)},
		{"s", "/", new(wire.ObjectPath)}, {"o", "/", new(wire.Signature)}, {"u", 1, new(uint16)}, {"u", 1, new(int32)},
		{"i", 1, new(uint64)}, {"i", 1, new(int16)}, {"y", 1, new(int8)}, {"h", wire.UnixFD(1), new(uint32)}, {"u", 1, new(wire.UnixFD)},
		{"b", true, new(byte)}, {"d", 1.0, new(float32)}, {"v", "a", new(string)}, {"as", []string{}, new(map[string]string)},
		{"a{ss}", map[string]string{}, new([]string)}, {"a{ss}", map[string]string{}, new(map[byte]string)}, {"a{ss}", map[string]string{}, new(map[string]byte)},
		{"(ii)", point{}, new(struct{ A int32 })}, {"(ii)", point{}, new(struct{ A, B, C int32 })}, {"(ii)", point{}, new(struct{ A, B int16 })},
		{"(ii)", point{}, new([]int32)}, {"(sv)", []any{"a", "b"}, new(wire.Variant)}, {"ay", []byte{1}, new([2]byte)}, {"ay", []byte{1, 2, 3}, new([2]byte)},
		{"s", "a", new(chan string)}, {"s", "a", new(error)}, {"a(i)", []any{}, new([]recursive)},
	} {
		if err := wire.Decode(wire.LittleEndian, c.signature, body(t, c.signature, c.value), c.dst); err == nil {
			t.Errorf("%q is stored in %T", c.signature, c.dst)
		}
	}
	var s string
	b := body(t, "ss", "a", "b")
	if wire.Decode(wire.LittleEndian, "ss", b, &s) == nil || wire.Decode(wire.LittleEndian, "ss", b, &s, &s, &s) == nil {
		t.Error("the number of values is not checked")
	}
	if wire.Decode(wire.LittleEndian, "ss", b[1:], &s, &s) == nil {
		t.Error("an invalid body is decoded")
	}
	if s != "" {
		t.Errorf("%q is stored before the error", s)
	}
}

// TestAllocationIsProportional reads bodies that unfold most when they become
// Go values.
func TestAllocationIsProportional(t *testing.T) {
	for signature, element := range map[string]any{
		"a(y)": []any{1}, "aay": []byte{}, "aaaay": [][][]byte{{{}}}, "av": wire.Variant{Value: byte(1)}, "as": "",
		"a(yyyyyyyy)": []any{1, 2, 3, 4, 5, 6, 7, 8}, "aa{yv}": map[byte]any{1: byte(1)}, "a(v)": []any{[][]string{}},
	} {
		elements := make([]any, 20000)
		for i := range elements {
			elements[i] = element
		}
		b := body(t, signature, elements)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := wire.Values(wire.LittleEndian, signature, b); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		ratio := (after.TotalAlloc - before.TotalAlloc) / uint64(len(b))
		t.Logf("%s: %d times the size of the body", signature, ratio)
		if ratio > 64 {
			t.Errorf("%s: %d times the size of the body", signature, ratio)
		}
	}
}

func TestLastOfEqualKeysCounts(t *testing.T) {
	b := unhex("0a000000 00000000 01 02 000000000000 01 03")
	got, err := wire.Values(wire.LittleEndian, "a{yy}", b)
	if d := cmp.Diff([]any{map[byte]byte{1: 3}}, got); err != nil || d != "" {
		t.Error(err, d)
	}
}
