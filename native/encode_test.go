package native

import (
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
)

// nobody is a receiver that does not care.
type nobody struct{}

func (nobody) Wake()             {}
func (nobody) Wanted(meta.Kinds) {}

func connect(t testing.TB, b *bus.Bus, wants meta.Kinds) *conn {
	t.Helper()
	c, err := b.Endpoint().Connect(bus.ConnConfig{Receiver: nobody{}, Wants: bus.Parts(wants), AttachSend: meta.AllKinds, Description: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &conn{server: New(Config{}), bus: c}
}

// sent returns a message as c sends it to dst.
func sent(t testing.TB, c *conn, dst bus.ID) *message {
	t.Helper()
	k := abi.Message{DstID: uint64(dst), Cookie: 1, PayloadType: abi.PayloadDBus, Payload: []abi.Payload{{Type: abi.ItemPayloadVec, Size: 100}}}
	k.Payload[0].Offset = uint64(k.Size())
	rest := append(k.Append(nil), make([]byte, 100)...)
	m, err := c.newMessage(&request{rest: rest})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.decode(m, &k, 0); err != nil {
		t.Fatal(err)
	}
	m.fill(&k, false)
	return m
}

func TestEncodingAllocatesNothing(t *testing.T) {
	b := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{})
	sender := connect(t, b, 0)
	for _, c := range []struct {
		name  string
		wants meta.Kinds
		make  func(dst bus.ID) *bus.Message
		most  float64
	}{
		{"native sender", 0, func(dst bus.ID) *bus.Message { return &sent(t, sender, dst).Message }, 0},
		{"native sender with metadata", meta.KindTimestamp | meta.KindDescription, func(dst bus.ID) *bus.Message { return &sent(t, sender, dst).Message }, 0},
		{"D-Bus 1 sender", 0, func(dst bus.ID) *bus.Message {
			return &bus.Message{Dst: dst, Cookie: 1, Payload: [][]byte{make([]byte, 100)}}
		}, 0},
		{"D-Bus 1 sender with metadata", meta.KindTimestamp, func(dst bus.ID) *bus.Message {
			return &bus.Message{Dst: dst, Cookie: 1, Payload: [][]byte{make([]byte, 100)}}
		}, 0},
	} {
		receiver := connect(t, b, c.wants)
		m := c.make(receiver.bus.ID())
		if err := sender.bus.Send(m); err != nil {
			t.Fatal(err)
		}
		if _, got := receiver.bus.Attached(m); got != c.wants {
			t.Errorf("%s: %v is attached", c.name, got)
		}
		var e transport.Encoding
		got := testing.AllocsPerRun(2000, func() { receiver.Encode(&e, m) }) // the growth of e is spread over many
		if got > c.most {
			t.Errorf("%s: %v allocations", c.name, got)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	all := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{})
	sender := connect(b, all, 0)
	for name, wants := range map[string]meta.Kinds{"plain": 0, "timestamp": meta.KindTimestamp} {
		b.Run(name, func(b *testing.B) {
			receiver := connect(b, all, wants)
			m := sent(b, sender, receiver.bus.ID())
			if err := sender.bus.Send(&m.Message); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				var e transport.Encoding
				receiver.Encode(&e, &m.Message)
			}
		})
	}
}
