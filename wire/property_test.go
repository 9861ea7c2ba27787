package wire_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/wire"
)

// drawType draws a single complete type with at most arrays arrays and structs
// structs in each other.
func drawType(t *rapid.T, arrays, structs int) string {
	kinds := "bbbbv"
	if arrays > 0 {
		kinds += "ad"
	}
	if structs > 0 {
		kinds += "s"
	}
	switch rapid.SampledFrom([]byte(kinds)).Draw(t, "kind") {
	case 'a':
		return "a" + drawType(t, arrays-1, structs)
	case 'd':
		return "a{" + drawBasicType(t) + drawType(t, arrays-1, structs) + "}"
	case 's':
		s := ""
		for range rapid.IntRange(1, 3).Draw(t, "fields") {
			s += drawType(t, arrays, structs-1)
		}
		return "(" + s + ")"
	case 'v':
		return "v"
	}
	return drawBasicType(t)
}

func drawBasicType(t *rapid.T) string {
	return string(rapid.SampledFrom([]byte("ybnqiuxtdsogh")).Draw(t, "basic"))
}

// basics draw values of the basic types.
var basics = map[byte]func(t *rapid.T) any{
	'y': draw(rapid.Byte()), 'b': draw(rapid.Bool()), 'd': draw(rapid.Float64()),
	'n': draw(rapid.Int16()), 'i': draw(rapid.Int32()), 'x': draw(rapid.Int64()),
	'q': draw(rapid.Uint16()), 'u': draw(rapid.Uint32()), 't': draw(rapid.Uint64()),
	's': draw(rapid.StringMatching(`[^\x00]{0,20}`)),
	'o': draw(rapid.Map(rapid.StringMatching(`/|(/[A-Za-z0-9_]{1,5}){1,3}`), func(s string) wire.ObjectPath { return wire.ObjectPath(s) })),
	'g': draw(rapid.Map(rapid.SampledFrom(validSignatures), func(s string) wire.Signature { return wire.Signature(s) })),
	'h': draw(rapid.Map(rapid.Uint32(), func(n uint32) wire.UnixFD { return wire.UnixFD(n) })),
}

func draw[T any](g *rapid.Generator[T]) func(*rapid.T) any {
	return func(t *rapid.T) any { return g.Draw(t, "value") }
}

// typeOf is the Go type in which Values returns the type at sig[i:], and where
// that type ends.
func typeOf(t *rapid.T, sig string, i int) (reflect.Type, int) {
	switch {
	case sig[i] == 'v':
		return reflect.TypeFor[wire.Variant](), i + 1
	case sig[i] == '(':
		for i++; sig[i] != ')'; {
			_, i = typeOf(t, sig, i)
		}
		return reflect.TypeFor[[]any](), i + 1
	case sig[i] == 'a' && sig[i+1] == '{':
		key, next := typeOf(t, sig, i+2)
		value, next := typeOf(t, sig, next)
		return reflect.MapOf(key, value), next + 1
	case sig[i] == 'a':
		element, next := typeOf(t, sig, i+1)
		return reflect.SliceOf(element), next
	}
	return reflect.TypeOf(basics[sig[i]](t)), i + 1
}

// drawValue draws a value of the type at sig[i:] as Values returns it, and
// where that type ends.
func drawValue(t *rapid.T, sig string, i int) (any, int) {
	goType, end := typeOf(t, sig, i)
	switch {
	case sig[i] == 'v':
		inside := drawType(t, 1, 1)
		v, _ := drawValue(t, inside, 0)
		return wire.Variant{Signature: wire.Signature(inside), Value: v}, end
	case sig[i] == '(':
		var fields []any
		for i++; sig[i] != ')'; {
			var v any
			v, i = drawValue(t, sig, i)
			fields = append(fields, v)
		}
		return fields, end
	case sig[i] == 'a':
		n := rapid.IntRange(0, 3).Draw(t, "elements")
		if goType.Kind() == reflect.Map {
			m := reflect.MakeMap(goType)
			for range n {
				key, next := drawValue(t, sig, i+2)
				value, _ := drawValue(t, sig, next)
				m.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(value))
			}
			return m.Interface(), end
		}
		s := reflect.MakeSlice(goType, 0, n)
		for range n {
			v, _ := drawValue(t, sig, i+1)
			s = reflect.Append(s, reflect.ValueOf(v))
		}
		return s.Interface(), end
	}
	return basics[sig[i]](t), end
}

// What is written is valid, and is read as it was: in both byte orders, as Go
// values, by the walker, and argument by argument.
func TestAnyValuesSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sig := ""
		var values []any
		for range rapid.IntRange(0, 4).Draw(t, "arguments") {
			single := drawType(t, 3, 3)
			if len(sig)+len(single) > wire.MaxSignatureLength {
				break
			}
			v, _ := drawValue(t, single, 0)
			sig += single
			values = append(values, v)
		}
		bodies := map[wire.Order][]byte{}
		for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
			b, err := wire.AppendBodyAs([]byte("odd"), order, sig, values...)
			if err != nil {
				t.Fatalf("%q: %v", sig, err)
			}
			b = b[3:]
			bodies[order] = b
			if err := wire.ValidateBody(order, sig, b); err != nil {
				t.Fatalf("%q: %v", sig, err)
			}
			checkReaders(t, order, sig, b, values)
		}
		if len(bodies['l']) != len(bodies['B']) {
			t.Fatalf("%d bytes little-endian and %d big-endian", len(bodies['l']), len(bodies['B']))
		}
	})
}

// tb is what testing.T and rapid.T have in common here.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// checkReaders reads a valid body in every way there is. The values must be
// want, if that is not nil.
func checkReaders(t tb, order wire.Order, sig string, b []byte, want []any) {
	t.Helper()
	got, err := wire.Values(order, sig, b)
	if err != nil {
		t.Fatalf("%q: Values: %v", sig, err)
	}
	if want != nil {
		if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); d != "" {
			t.Errorf("%q: Values: %s", sig, d)
		}
	}
	var p printer
	if err := wire.Walk(order, sig, b, &p); err != nil || p.depth != 0 || p.deepest > wire.MaxDepth {
		t.Errorf("%q: Walk: %v, depth %d, deepest %d", sig, err, p.depth, p.deepest)
	}
	dst := make([]any, len(got))
	decoded := make([]any, len(got))
	for i := range dst {
		dst[i] = &decoded[i]
	}
	if err := wire.Decode(order, sig, b, dst...); err != nil {
		t.Errorf("%q: Decode: %v", sig, err)
	}
	if d := cmp.Diff(got, decoded, cmpopts.EquateNaNs()); d != "" {
		t.Errorf("%q: Decode: %s", sig, d)
	}
	types := ""
	args := wire.NewArgs(order, sig, b)
	for arg, ok := args.Next(); ok; arg, ok = args.Next() {
		types += arg.Signature
		if s := reflect.ValueOf(got[arg.Index]); s.Kind() == reflect.String && s.String() != arg.Text {
			t.Errorf("%q: argument %d is %q, want %q", sig, arg.Index, arg.Text, s)
		}
	}
	if types != sig {
		t.Errorf("%q: arguments have types %q", sig, types)
	}
}

// A header that Check finds valid survives being written and parsed.
func TestAnyHeaderSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		optional := func(expr, name string) string {
			if rapid.Bool().Draw(t, "has "+name) {
				return rapid.StringMatching(expr).Draw(t, name)
			}
			return ""
		}
		h := wire.Header{
			Order:       rapid.SampledFrom([]wire.Order{wire.LittleEndian, wire.BigEndian}).Draw(t, "order"),
			Type:        wire.Type(rapid.IntRange(1, 6).Draw(t, "type")),
			Flags:       wire.Flags(rapid.Byte().Draw(t, "flags")),
			Serial:      rapid.Uint32Min(1).Draw(t, "serial"),
			ReplySerial: rapid.Uint32().Draw(t, "reply serial"),
			UnixFDs:     rapid.Uint32().Draw(t, "fds"),
			Path:        optional(`(/[A-Za-z0-9_]{1,5}){1,5}`, "path"),
			Interface:   optional(`[A-Za-z_]{1,5}(\.[A-Za-z_][A-Za-z0-9_]{0,5}){1,3}`, "interface"),
			Member:      optional(`[A-Za-z_][A-Za-z0-9_]{0,9}`, "member"),
			ErrorName:   optional(`[A-Za-z_]{1,5}(\.[A-Za-z_][A-Za-z0-9_]{0,5}){1,3}`, "error"),
			Destination: optional(`[a-z-]{1,5}\.[a-z_-]{1,5}`, "destination"),
			Sender:      optional(`:1\.[0-9]{1,9}`, "sender"),
		}
		if rapid.Bool().Draw(t, "has body") {
			h.Signature, h.BodySize = "ay", rapid.Uint32Range(1, 1<<20).Draw(t, "body")
		}
		b := h.Append(nil)
		var got wire.Header
		offset, err := got.Parse(b)
		if checked := h.Check(); (checked == nil) != (err == nil) {
			t.Fatalf("Check: %v, Parse: %v", checked, err)
		}
		if err != nil {
			return
		}
		if offset != len(b) {
			t.Errorf("body at %d, want %d", offset, len(b))
		}
		if d := cmp.Diff(h, got); d != "" {
			t.Error(d)
		}
	})
}
