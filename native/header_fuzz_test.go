package native

import (
	"reflect"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// A header is found to be the same however the payload is cut into pieces.
func FuzzHeaderInPieces(f *testing.F) {
	h := wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: 5, Path: "/org/example", Interface: "org.example.I",
		Member: "M", Destination: "org.example.Service",
	}
	message := h.Append(nil)
	version2, err := gvariant.AppendMessageFromDBus1(nil, wire.LittleEndian, &h, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(version2, uint16(16), uint16(40))
	f.Add(version2, uint16(0), uint16(len(version2)-2))
	f.Add(message, uint16(16), uint16(40))
	f.Add(message, uint16(1), uint16(2))
	f.Add(append(message, "body"...), uint16(len(message)), uint16(len(message)))
	f.Add(message[:20], uint16(7), uint16(300))
	f.Add([]byte("no message at all"), uint16(3), uint16(5))
	f.Fuzz(func(t *testing.T, payload []byte, first, second uint16) {
		if len(payload) > maxHeader {
			return
		}
		whole := headerIn(payload)
		a := min(int(first), len(payload))
		b := min(a+int(second), len(payload))
		if got := headerIn(payload[:a], payload[a:b], payload[b:]); !reflect.DeepEqual(got, whole) {
			t.Errorf("in pieces: %+v, in one: %+v", got, whole)
		}
	})
}

// headerIn returns the header of a payload in these pieces; nil if there is none.
func headerIn(pieces ...[]byte) *wire.Header {
	m := &message{}
	for _, p := range pieces {
		if len(p) > 0 {
			m.extra.Segments = append(m.extra.Segments, bus.Segment{Bytes: p, Size: uint64(len(p))})
		}
	}
	m.head = new(head)
	m.Cookie = 5 // that of the seeds
	beginning, err := m.beginning()
	if err != nil {
		return nil
	}
	var found wire.Header
	if len(beginning) > offVersion && beginning[offVersion] == versionGVariant {
		if m.readVersion2(&found) != nil {
			return nil
		}
		return &found
	}
	if _, err := found.Parse(beginning); err != nil {
		return nil
	}
	return &found
}
