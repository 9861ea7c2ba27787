package pcapng

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// packet is what the reader below finds.
type packet struct {
	Micro   uint64
	Length  uint32
	Data    string
	Comment string
}

// read reads a file of one section, little-endian, independently of the writer.
func read(t *testing.T, b []byte) (link uint16, snaplen uint32, packets []packet, received, dropped uint64) {
	t.Helper()
	options := func(b []byte) map[uint16]string {
		m := map[uint16]string{}
		for len(b) >= 4 {
			code, n := order.Uint16(b), int(order.Uint16(b[2:]))
			if code == 0 {
				if len(b) != 4 {
					t.Errorf("%d bytes behind the end of options", len(b)-4)
				}
				return m
			}
			m[code] = string(b[4:][:n])
			b = b[4+(n+3)/4*4:]
		}
		t.Error("options without an end")
		return m
	}
	for first := true; len(b) > 0; first = false {
		kind, length := order.Uint32(b), order.Uint32(b[4:])
		if length%4 != 0 || int(length) > len(b) || order.Uint32(b[length-4:]) != length {
			t.Fatalf("a block of type %#x with length %d", kind, length)
		}
		body := b[8 : length-4]
		b = b[length:]
		switch {
		case first != (kind == 0x0a0d0d0a):
			t.Fatalf("a block of type %#x", kind)
		case first:
			if order.Uint32(body) != 0x1a2b3c4d || options(body[16:])[4] != "test" {
				t.Errorf("a section that begins % x", body)
			}
		case kind == 1:
			link, snaplen = order.Uint16(body), order.Uint32(body[4:])
			options(body[8:])
		case kind == 6:
			n := order.Uint32(body[12:])
			packets = append(packets, packet{uint64(order.Uint32(body[4:]))<<32 | uint64(order.Uint32(body[8:])), order.Uint32(body[16:]),
				string(body[20:][:n]), options(body[20+(n+3)/4*4:])[1]})
		case kind == 5:
			o := options(body[12:])
			received, dropped = order.Uint64([]byte(o[4])), order.Uint64([]byte(o[5]))
		}
	}
	return link, snaplen, packets, received, dropped
}

func TestWhatIsWrittenCanBeRead(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, 5, "bus", "Linux", "test")
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMicro(1438248540378044)
	for _, p := range []packet{{Data: "abc", Comment: "one"}, {Data: "abcdefgh"}, {}} {
		if err := w.Message(at, []byte(p.Data), p.Comment); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(at, 3, 7); err != nil {
		t.Fatal(err)
	}
	link, snaplen, packets, received, dropped := read(t, file.Bytes())
	if link != 231 || snaplen != 5 || received != 3 || dropped != 7 {
		t.Errorf("link type %d, length %d, %d received, %d dropped", link, snaplen, received, dropped)
	}
	want := []packet{{1438248540378044, 3, "abc", "one"}, {1438248540378044, 8, "abcde", ""}, {1438248540378044, 0, "", ""}}
	if diff := cmp.Diff(want, packets); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
