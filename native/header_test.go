package native_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// reader is a policy that allows everything and writes down what it sees of messages.
type reader struct {
	bus.AllowAll

	mu   sync.Mutex
	seen string
}

func (*reader) Needs() bus.Parts { return bus.PartHeader }

func (r *reader) Send(src, _ *bus.Conn, m *bus.Message, _ bool) error {
	if src == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch view := m.View.(type) {
	case nil:
		r.seen = "nothing"
	case error:
		r.seen = "error"
	case *wire.Header:
		r.seen = fmt.Sprintf("%v %s %s.%s to %s", view.Type, view.Path, view.Interface, view.Member, view.Destination)
	}
	return nil
}

// take returns what it has seen, and forgets it.
func (r *reader) take() (seen string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, r.seen = r.seen, ""
	return seen
}

func TestPolicySeesTheHeaderAndNoMore(t *testing.T) {
	policy := &reader{}
	w := newWorld(t, func(b *bus.Config, _ *native.Config) { b.Policy = policy })
	a, b := w.join(), w.join()
	call := wire.Header{Type: wire.TypeMethodCall, Flags: wire.NoReplyExpected, Serial: 5, Path: "/p", Interface: "a.b", Member: "M"}
	const want = "method_call /p a.b.M to org.example.Name"
	w.do(b, &abi.NameAcquire{Name: "org.example.Name"})
	good := dbus(t, call, "text")
	broken := append([]byte(nil), good...)
	for i := len(broken) - len("\x04\x00\x00\x00text\x00"); i < len(broken); i++ {
		broken[i] = 0xff // no string, but as long as the header says
	}
	otherwise := func(change func(*wire.Header)) []byte {
		h := call
		change(&h)
		return dbus(t, h)
	}
	version2 := func(change func(*wire.Header)) []byte {
		b := otherwise(change)
		var h wire.Header
		at, err := h.Parse(b)
		if err == nil {
			b, err = gvariant.AppendMessageFromDBus1(nil, wire.LittleEndian, &h, b[at:])
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	same := func(*wire.Header) {}
	long := version2(same)
	memfds := func(pieces ...[]byte) func(*nativetest.Outgoing) {
		return func(o *nativetest.Outgoing) {
			for i, piece := range pieces {
				fd, err := nativetest.Memfd(piece)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { nativetest.CloseAll([]int{fd}) })
				o.Passed = append(o.Passed, fd)
				o.Message.Payload = append(o.Message.Payload, abi.Payload{Type: abi.ItemPayloadMemfd, Size: uint64(len(piece)), FD: int32(i)})
			}
		}
	}
	for _, test := range []struct {
		name   string
		body   []byte
		change func(*nativetest.Outgoing)
		want   string
	}{
		{"in one piece", good, nil, want},
		{"with a body that is wrong", broken, nil, want},
		{"in a memfd", nil, memfds(good), want},
		{"in pieces", good[:20], memfds(good[20:40], good[40:]), want},
		{"that ends early", good[:20], nil, "error"},
		{"that is none", []byte("these are no bytes of a message"), nil, "error"},
		{"that is not there", nil, nil, "error"},
		{"of another message", otherwise(func(h *wire.Header) { h.Serial = 6 }), nil, "error"},
		{"of another type", otherwise(func(h *wire.Header) { h.Type = wire.TypeSignal }), nil, "error"},
		{"to somebody else", otherwise(func(h *wire.Header) { h.Destination = ":1.99" }), nil, "error"},
		{"of a message of another kind", []byte("data"), func(o *nativetest.Outgoing) { o.PayloadType = 0x1234 }, "nothing"},
		{"of GVariant", version2(same), nil, want},
		{"of GVariant, in a memfd", nil, memfds(version2(same)), want},
		{"of GVariant, in pieces", long[:30], memfds(long[30:40], long[40:len(long)-2], long[len(long)-2:]), want},
		{"of GVariant, of another message", version2(func(h *wire.Header) { h.Serial = 6 }), nil, "error"},
		{"of GVariant, of another type", version2(func(h *wire.Header) { h.Type = wire.TypeSignal }), nil, "error"},
		{"that says it is of GVariant", append([]byte("l\x01\x01\x02"), good[4:]...), nil, "error"},
	} {
		o := nativetest.Outgoing{Message: abi.Message{DstName: "org.example.Name", Cookie: 5}, Body: test.body}
		if test.change != nil {
			test.change(&o)
		}
		w.send(a, o)
		if seen := policy.take(); seen != test.want {
			t.Errorf("a header %s: %s, want %s", test.name, seen, test.want)
		}
		w.recv(b)
	}
	if err := a.SendBrief(abi.Brief{ID: b.ID}, good); err != nil {
		t.Fatal(err)
	}
	w.recv(b)
	if seen := policy.take(); seen != "method_call /p a.b.M to " {
		t.Errorf("a header in a brief frame: %s", seen)
	}
}
