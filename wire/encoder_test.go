package wire_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

// credentials writes what GetConnectionCredentials returns.
func credentials(e *wire.Encoder) {
	dict := e.OpenArray('{')
	e.AlignStruct()
	e.String("ProcessID")
	e.Variant("u")
	e.Uint32(42)
	e.AlignStruct()
	e.String("UnixGroupIDs")
	e.Variant("au")
	groups := e.OpenArray('u')
	e.Uint32(1)
	e.Uint32(2)
	e.CloseArray(groups)
	e.CloseArray(dict)
}

func TestEncoderWritesWhatAppendBodyDoes(t *testing.T) {
	for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
		var e wire.Encoder
		e.Reset(order, []byte("prefix"))
		e.Byte(1)
		e.Bool(true)
		e.Int16(-2)
		e.Uint16(3)
		e.Int32(-4)
		e.Int64(-5)
		e.Uint64(6)
		e.Double(7.5)
		e.UnixFD(8)
		e.Strings([]string{"a", "bc"})
		e.Bytes([]byte{1, 2, 3})
		e.ObjectPath("/a")
		e.Signature("as")
		credentials(&e)
		got, err := e.Body()
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := wire.AppendBody([]byte("prefix"), order, byte(1), true, int16(-2), uint16(3), int32(-4), int64(-5), uint64(6), 7.5,
			wire.UnixFD(8), []string{"a", "bc"}, []byte{1, 2, 3}, wire.ObjectPath("/a"), wire.Signature("as"),
			map[string]any{"ProcessID": uint32(42), "UnixGroupIDs": []uint32{1, 2}})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}

func TestEncoderRefusesWhatIsNotValid(t *testing.T) {
	for name, write := range map[string]func(e *wire.Encoder){
		"string":            func(e *wire.Encoder) { e.String("a\x00") },
		"strings":           func(e *wire.Encoder) { e.Strings([]string{"\xc3"}) },
		"path":              func(e *wire.Encoder) { e.ObjectPath("a") },
		"signature":         func(e *wire.Encoder) { e.Signature("(") },
		"long signature":    func(e *wire.Encoder) { e.Signature(wire.Signature(strings.Repeat("y", 256))) },
		"variant":           func(e *wire.Encoder) { e.Variant("ss") },
		"empty variant":     func(e *wire.Encoder) { e.Variant("") },
		"fault before good": func(e *wire.Encoder) { e.String("\xff"); e.String("a") },
		"long array":        func(e *wire.Encoder) { e.Bytes(make([]byte, wire.MaxArraySize+1)) },
	} {
		var e wire.Encoder
		write(&e)
		if _, err := e.Body(); err == nil {
			t.Errorf("%s: no error", name)
		}
		// An encoder is good again after Reset.
		e.Reset(wire.LittleEndian, nil)
		e.Byte(1)
		if b, err := e.Body(); len(b) != 1 || err != nil {
			t.Errorf("%s: % x, %v after Reset", name, b, err)
		}
	}
}

func TestEncoderDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(10, func() {
		var e wire.Encoder
		e.Reset(wire.LittleEndian, buf)
		credentials(&e)
		if _, err := e.Body(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEncoder(b *testing.B) {
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		var e wire.Encoder
		e.Reset(wire.LittleEndian, buf)
		credentials(&e)
	}
}

func BenchmarkAppendBody(b *testing.B) {
	buf := make([]byte, 0, 1024)
	for name, values := range map[string][]any{
		"su":    {"org.freedesktop.DBus", uint32(1)},
		"a{sv}": {map[string]any{"ProcessID": uint32(42), "UnixGroupIDs": []uint32{1, 2}}},
		"a(sii)": {[]struct {
			S    string
			A, B int32
		}{{"a", 1, 2}, {"b", 3, 4}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := wire.AppendBody(buf, wire.LittleEndian, values...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	data := body(b, "sua{sv}", "org.freedesktop.DBus", 1, map[string]any{"ProcessID": uint32(42)})
	var (
		s string
		u uint32
		m map[string]wire.Variant
	)
	b.ReportAllocs()
	for b.Loop() {
		if err := wire.Decode(wire.LittleEndian, "sua{sv}", data, &s, &u, &m); err != nil {
			b.Fatal(err)
		}
	}
}
