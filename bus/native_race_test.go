package bus_test

import (
	"sync"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// Everything that peers of kdbus do at a time: for the race detector, and for what must hold in the end.
func TestNativePeersAtTheSameTime(t *testing.T) {
	const rounds = 150
	b := newBus(t)
	b.connect(native, activator(example))
	var running sync.WaitGroup
	peers := make([]*peer, 4)
	for i := range peers {
		peers[i] = b.connect(native, func(c *bus.ConnConfig) { c.Description = "somebody" })
	}
	dbus := b.connect()
	dbus.subscribe(ordinary)
	for i, p := range peers {
		running.Go(func() {
			next := peers[(i+1)%len(peers)]
			for n := range uint64(rounds) {
				switch (n + uint64(i)) % 8 {
				case 0:
					p.want(meta.KindCreds | meta.ConnectionKinds)
				case 1:
					p.AddMatch(bus.Match{Cookie: n % 3, Masks: [][]byte{filterOf(int(n % 5))}}, n%2 == 0)
				case 2:
					p.RemoveMatches(n % 3)
				case 3:
					p.ClaimName(example, 0)
				case 4:
					p.ReleaseName(example)
				case 5:
					p.List(bus.ListUnique | bus.ListNames | bus.ListQueued | bus.ListActivators)
					next.Info(meta.AllKinds)
				case 6:
					p.permit(meta.AllKinds &^ (1 << (n % 14)))
				case 7:
					p.want(0)
				}
				p.Flush()
				for _, dst := range []bus.ID{next.ID(), dbus.ID(), bus.Broadcast} {
					data := collected
					m := nativeMessage(dst, &maker{can: ^bus.Parts(0), data: &data})
					m.Extra.Priority = int64(n % 3)
					p.mustPost(m)
				}
				m := nativeMessage(bus.ToName, &maker{can: ^bus.Parts(0), data: &collected})
				m.DstName, m.Flags, m.Cookie = example, bus.ExpectReply, n+1
				p.mustPost(m)
				p.CancelCall(n + 1)
			}
		})
	}
	running.Wait()
	if n := len(dbus.take()); n != 2*rounds*len(peers) {
		t.Errorf("%d messages arrived at the peer of D-Bus 1, want %d", n, 2*rounds*len(peers))
	}
	for _, p := range peers {
		p.leave()
		if n := p.PendingCalls(); n != 0 {
			t.Errorf("%d calls of %s wait", n, p.UniqueName())
		}
	}
}

func BenchmarkUnicastWithMetadata(b *testing.B) {
	for _, kinds := range []meta.Kinds{0, meta.KindTimestamp, meta.KindCreds, meta.KindCreds | meta.ConnectionKinds} {
		b.Run(kinds.String(), func(b *testing.B) {
			t := newBus(b)
			sender := t.connect(native)
			s := &sink{}
			receiver := t.connect(native, wanting(bus.Parts(kinds)), func(c *bus.ConnConfig) { c.Receiver = s })
			s.conn = receiver.Conn
			segments := []bus.Segment{{Bytes: make([]byte, 100), Size: 100}}
			k := &cached{data: &collected}
			b.ReportAllocs()
			for b.Loop() {
				m := &bus.Message{Dst: receiver.ID(), Maker: k, Extra: &bus.Extra{Segments: segments}}
				if err := sender.Send(m); err != nil {
					b.Fatal(err)
				}
				sender.Flush()
				m.Release()
			}
		})
	}
}

// cached is a Maker that has collected before.
type cached struct{ data *meta.Data }

func (k *cached) Make(m *bus.Message, _ bus.Parts) { m.Meta = k.data }
