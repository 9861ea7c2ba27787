package wire_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

// typicalCall is what most messages on a bus look like.
var typicalCall = wire.Header{
	Order: wire.LittleEndian, Type: wire.TypeMethodCall, BodySize: 8, Serial: 7,
	Path: "/org/freedesktop/DBus", Interface: "org.freedesktop.DBus", Member: "GetNameOwner",
	Destination: "org.freedesktop.DBus", Signature: "su",
}

func TestHeaderRoundTrip(t *testing.T) {
	for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
		for _, want := range []wire.Header{
			typicalCall,
			{Type: wire.TypeMethodReturn, Serial: 1, ReplySerial: 1<<32 - 1, Sender: ":1.2", Destination: ":1.3", UnixFDs: 2},
			{Type: wire.TypeError, Serial: 1, ReplySerial: 3, ErrorName: "a.b", Flags: 0xff, BodySize: 1, Signature: "s"},
			{Type: wire.TypeSignal, Serial: 1, Path: "/", Interface: "a.b", Member: "c"},
			{Type: 200, Serial: 1},
		} {
			want.Order = order
			b := want.Append([]byte("xyz"))[3:]
			var got wire.Header
			offset, err := got.Parse(b)
			if err != nil {
				t.Errorf("%+v: %v", want, err)
			}
			if offset != len(b) {
				t.Errorf("body offset %d, want %d", offset, len(b))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
	}
}

func BenchmarkHeaderParse(b *testing.B) {
	msg := typicalCall.Append(nil)
	var h wire.Header
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Parse(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeaderAppend(b *testing.B) {
	h := typicalCall
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = h.Append(buf[:0])
	}
}
