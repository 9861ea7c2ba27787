package kdbus

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/wire"
)

// What we put into filters is what the bus puts into those of D-Bus 1 senders: whoever asks for the
// one gets the other.
func TestFiltersOfSignalsAreThoseOfTheBus(t *testing.T) {
	for _, p := range []abi.BloomParameter{abi.DefaultBloom, {Size: 8, NHash: 1}, {Size: 4096, NHash: 30}} {
		frames := newFrames(nil, new(Conn))
		frames.self.Store(&identity{id: 1, name: ":1.1", bloom: p})
		want := native.BloomOf(bus.BloomParameter{Size: p.Size, Hashes: p.NHash})
		long := string(bytes.Repeat([]byte("a.b/"), 50_000))
		for i, args := range [][]any{
			nil, {"text"}, {"a.b.c", ObjectPath("/a/b"), Signature("ai")}, {uint32(1), "after"}, {"x", []string{"a", "b"}, "y"},
			{[]ObjectPath{"/x"}, []string{}, Variant{Value: "v"}, "after"}, {long}, {long, long}, {struct{ A string }{"in"}, "after"},
		} {
			for n := range 2 * maxSignals {
				m := newOutgoing(wire.TypeSignal)
				h := &m.header
				h.Serial, h.Path, h.Interface, h.Member = 1, "/com/example", "com.example", fmt.Sprintf("Signal%d", n%(maxSignals+1))
				if err := m.setBody("", args); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := frames.addBloom(m); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(m.kmsg.Bloom.Data, want(h, m.body)) {
						t.Fatalf("%+v: the filter of arguments %d is another one", p, i)
					}
				}
				if len(m.body) > 1000 && n > 2 {
					break
				}
				m.release()
			}
		}
	}
}
