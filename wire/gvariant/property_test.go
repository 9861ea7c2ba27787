package gvariant_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// drawType draws a complete type with at most depth containers in each other.
func drawType(t *rapid.T, depth int) string {
	kinds := "bbbv"
	if depth > 0 {
		kinds += "ads"
	}
	switch rapid.SampledFrom([]byte(kinds)).Draw(t, "kind") {
	case 'a':
		return "a" + drawType(t, depth-1)
	case 'd':
		return "a{" + drawBasicType(t) + drawType(t, depth-1) + "}"
	case 's':
		s := ""
		for range rapid.IntRange(1, 4).Draw(t, "fields") {
			s += drawType(t, depth-1)
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
	's': draw(rapid.OneOf(rapid.StringMatching(`[^\x00]{0,20}`), rapid.StringMatching(`x{200,300}`))),
	'o': draw(rapid.Map(rapid.StringMatching(`/|(/[A-Za-z0-9_]{1,5}){1,3}`), func(s string) wire.ObjectPath { return wire.ObjectPath(s) })),
	'g': draw(rapid.Map(rapid.SampledFrom([]string{"", "a{sv}", "(iu)as"}), func(s string) wire.Signature { return wire.Signature(s) })),
	'h': draw(rapid.Map(rapid.Uint32(), func(n uint32) wire.UnixFD { return wire.UnixFD(n) })),
}

func draw[T any](g *rapid.Generator[T]) func(*rapid.T) any {
	return func(t *rapid.T) any { return g.Draw(t, "value") }
}

// drawValue draws a value of the type at sig[i:], as wire.AppendBodyAs takes it, and
// returns where that type ends.
func drawValue(t *rapid.T, sig string, i, depth int) (any, int) {
	switch sig[i] {
	case 'v':
		inside := drawType(t, max(depth-1, 0))
		v, _ := drawValue(t, inside, 0, depth-1)
		return wire.Variant{Signature: wire.Signature(inside), Value: v}, i + 1
	case '(':
		fields := []any{}
		for i++; sig[i] != ')'; {
			var v any
			v, i = drawValue(t, sig, i, depth)
			fields = append(fields, v)
		}
		return fields, i + 1
	case 'a':
		// One more, to learn where the type ends.
		n := rapid.IntRange(0, 3).Draw(t, "elements")
		if sig[i+1] == '{' {
			m, end := map[any]any{}, 0
			for range n + 1 {
				clear(m)
				key, next := drawValue(t, sig, i+2, depth)
				m[key], end = drawValue(t, sig, next, depth)
			}
			if n == 0 {
				clear(m)
			}
			return m, end + 1
		}
		var list []any
		end := 0
		for range n + 1 {
			var v any
			v, end = drawValue(t, sig, i+1, depth)
			list = append(list, v)
		}
		return list[:n], end
	}
	return basics[sig[i]](t), i + 1
}

func drawOrder(t *rapid.T, name string) wire.Order {
	return rapid.SampledFrom([]wire.Order{wire.LittleEndian, wire.BigEndian}).Draw(t, name)
}

// drawBody draws a body of version 1.
func drawBody(t *rapid.T, order wire.Order) (sig string, body []byte) {
	var values []any
	for range rapid.IntRange(0, 4).Draw(t, "arguments") {
		single := drawType(t, 3)
		if len(sig)+len(single) > wire.MaxSignatureLength {
			break
		}
		v, _ := drawValue(t, single, 0, 3)
		sig += single
		values = append(values, v)
	}
	body, err := wire.AppendBodyAs(nil, order, sig, values...)
	if err != nil {
		t.Fatalf("%q: %v", sig, err)
	}
	return sig, body
}

// A body that becomes one of version 2 is in normal form there, holds the same
// values, and comes back as it was.
func TestAnyBodyComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := drawOrder(t, "version 1"), drawOrder(t, "version 2")
		sig, body := drawBody(t, from)
		v2, err := gvariant.AppendFromDBus1([]byte("odd"), to, from, sig, body)
		if err != nil {
			t.Fatalf("%q: %v", sig, err)
		}
		v2 = v2[3:]
		typ := "(" + sig + ")"
		if err := gvariant.Check(typ, v2); err != nil {
			t.Fatalf("%q: %v", sig, err)
		}
		if normal, err := gvariant.AppendNormal(nil, typ, v2, len(v2)); err != nil || !bytes.Equal(normal, v2) {
			t.Fatalf("%q: normal form of %x is %x, %v", sig, v2, normal, err)
		}
		back, err := gvariant.AppendToDBus1([]byte("odd"), from, to, sig, v2)
		if err != nil || !bytes.Equal(back[3:], body) {
			t.Fatalf("%q: %x came back as %x, %v", sig, body, back, err)
		}
		got, err := gvariant.Values(to, sig, v2)
		if err != nil {
			t.Fatal(err)
		}
		want, err := wire.Values(from, sig, body)
		if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); err != nil || d != "" {
			t.Fatal(err, d)
		}
	})
}

// A message that becomes one of version 2 is a GVariant in normal form, and comes
// back as it was.
func TestAnyMessageComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		optional := func(expr, name string) string {
			if rapid.Bool().Draw(t, "has "+name) {
				return rapid.StringMatching(expr).Draw(t, name)
			}
			return ""
		}
		from, to := drawOrder(t, "version 1"), drawOrder(t, "version 2")
		sig, body := drawBody(t, from)
		m := wire.Message{Body: body, Header: wire.Header{
			Order: from, Signature: sig,
			Type:        wire.Type(rapid.IntRange(1, 6).Draw(t, "type")),
			Flags:       wire.Flags(rapid.Byte().Draw(t, "flags")),
			Serial:      rapid.Uint32Min(1).Draw(t, "serial"),
			ReplySerial: rapid.Uint32().Draw(t, "reply serial"),
			UnixFDs:     rapid.Uint32().Draw(t, "fds"),
			Path:        optional(`(/[A-Za-z0-9_]{1,5}){1,50}`, "path"),
			Interface:   optional(`[A-Za-z_]{1,5}(\.[A-Za-z_][A-Za-z0-9_]{0,5}){1,30}`, "interface"),
			Member:      optional(`[A-Za-z_][A-Za-z0-9_]{0,9}`, "member"),
			ErrorName:   optional(`[A-Za-z_]{1,5}(\.[A-Za-z_][A-Za-z0-9_]{0,5}){1,3}`, "error"),
			Destination: optional(`[a-z-]{1,5}\.[a-z_-]{1,5}`, "destination"),
			Sender:      optional(`:1\.[0-9]{1,9}`, "sender"),
		}}
		if m.Type == wire.TypeMethodCall || m.Type == wire.TypeSignal {
			m.ReplySerial = 0
		}
		v1, err := m.Append(nil)
		if err != nil {
			return // a field that the type requires is missing
		}
		v2, err := gvariant.AppendMessageFromDBus1([]byte("odd"), to, &m.Header, m.Body)
		if err != nil {
			t.Fatal(err)
		}
		v2 = v2[3:]
		if err := gvariant.Check("(yyyyuta{tv}v)", v2); err != nil {
			t.Fatal(err)
		}
		parsed, err := gvariant.ParseMessage(v2)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parsed.Append(nil); err != nil || !bytes.Equal(again, v2) {
			t.Fatalf("%x written anew is %x, %v", v2, again, err)
		}
		back, err := gvariant.AppendMessageToDBus1([]byte("odd"), from, &parsed.Header, parsed.Body)
		if err != nil || !bytes.Equal(back[3:], v1) {
			t.Fatalf("%x came back as %x, %v", v1, back, err)
		}
	})
}

// Whatever the bytes, their normal form is in normal form.
func TestAnyBytesHaveANormalForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := drawType(t, 3)
		data := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "data")
		checkNormal(t, typ, data)
	})
}

// tb is what testing.T and rapid.T have in common here.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkNormal finds whether all functions agree on the value of type typ in data.
func checkNormal(t tb, typ string, data []byte) {
	t.Helper()
	const limit = 1 << 16
	err := gvariant.Check(typ, data)
	normal, normalErr := gvariant.AppendNormal(nil, typ, data, limit)
	if gvariant.CheckType(typ) != nil {
		if err == nil || normalErr == nil {
			t.Fatalf("%q is no type, but %v, %v", typ, err, normalErr)
		}
		return
	}
	if err == nil && len(data) <= limit && (normalErr != nil || !bytes.Equal(normal, data)) {
		t.Fatalf("%s %x is in normal form, which is %x, %v", typ, data, normal, normalErr)
	}
	if normalErr == nil {
		if err != nil && bytes.Equal(normal, data) {
			t.Fatalf("%s %x is its normal form, but %v", typ, data, err)
		}
		if err := gvariant.Check(typ, normal); err != nil {
			t.Fatalf("%s %x: normal form %x: %v", typ, data, normal, err)
		}
	}
	if wire.CheckSingleSignature(typ) != nil {
		return
	}
	// A tuple of one member is its member, if that has no fixed size.
	tupleErr := gvariant.Check("("+typ+")", data)
	v1, v1Err := gvariant.AppendToDBus1(nil, wire.BigEndian, wire.LittleEndian, typ, data)
	if v1Err != nil {
		return
	}
	if tupleErr != nil {
		t.Fatalf("%s %x is converted, but %v", typ, data, tupleErr)
	}
	if err := wire.ValidateBody(wire.BigEndian, typ, v1); err != nil {
		t.Fatalf("%s %x: version 1 %x: %v", typ, data, v1, err)
	}
	if v2, err := gvariant.AppendFromDBus1(nil, wire.LittleEndian, wire.BigEndian, typ, v1); err != nil || !bytes.Equal(v2, data) {
		t.Fatalf("%s %x came back as %x, %v", typ, data, v2, err)
	}
}
