package daemon_test

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// Messages that are too large to be copied, in each of the four directions.

// Sizes around those from which messages travel in other ways.
func TestPayloadOfEverySize(t *testing.T) {
	eachDirection(t, func(p *pair) {
		for _, size := range []int{0, 1, 4 << 10, 64 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 1 << 20, 5<<20 + 3} {
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(i * 7 >> 3)
			}
			want := sha256.Sum256(b)
			got, err := kdbus.Call[[]byte](p.ctx, p.object(), "com.example.Service.Digest", b)
			p.check(err)
			if !slices.Equal(got, want[:]) {
				p.t.Errorf("%d bytes did not arrive as they were sent", size)
			}
			back, err := kdbus.Call[[]byte](p.ctx, p.object(), "com.example.Service.Repeat", byte(7), uint32(size))
			p.check(err)
			if !slices.Equal(back, slices.Repeat([]byte{7}, size)) {
				p.t.Errorf("%d bytes were not answered", size)
			}
		}
	})
}

// A message of 64 MiB waits for a D-Bus 1 receiver that does not read. It may be where the sender left
// it, in a memfd; not in our heap.
func TestMemfdIsStreamedToDBus1(t *testing.T) {
	const size = 64 << 20
	_, path := startBus(t, daemon.Config{})
	receiver := newDBusSender(t, path) // which never reads by itself
	sender := dialNative(t, path, abi.Hello{})

	body := make([]byte, 8+size)
	body[0], body[1], body[2], body[3] = 0, 0, 0, 4 // an array of 64 MiB
	for i := range size {
		body[4+i] = byte(i >> 12)
	}
	body = body[:4+size]
	header := wire.Header{Order: wire.LittleEndian, Type: wire.TypeMethodCall, Flags: wire.NoReplyExpected, Serial: 77, Path: "/", Member: "Take",
		Destination: ":1.1", Signature: "ay", BodySize: uint32(len(body))}
	memfd, err := nativetest.Memfd(body)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(body)
	body = nil
	before := heap()
	_, err = sender.Send(nativetest.Outgoing{
		Message: abi.Message{DstID: 1, Cookie: 77, Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: 4 + size}}},
		Body:    header.Append(nil),
		Passed:  []int{memfd},
	})
	if err != nil {
		t.Fatal(err)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("a message of %d bytes in a memfd waits for its receiver, and the heap has grown by %d bytes", size, grown)
	}
	head := make([]byte, wire.HeaderFixedSize)
	readFull(t, receiver, head)
	total, err := wire.MessageSize(head)
	if err != nil {
		t.Fatal(err)
	}
	all := append(head, make([]byte, total-len(head))...)
	readFull(t, receiver, all[len(head):])
	var h wire.Header
	at, err := h.Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	if h.Sender != fmt.Sprintf(":1.%d", sender.ID) || h.Serial != 77 || sha256.Sum256(all[at:]) != want {
		t.Errorf("the message arrived from %s with serial %d, and not as it was sent", h.Sender, h.Serial)
	}
}

func readFull(t *testing.T, c *dbusSender, b []byte) {
	t.Helper()
	for len(b) > 0 {
		n, err := c.conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
}

// heap returns how many bytes of garbage-collected memory are in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
