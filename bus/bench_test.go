package bus_test

import (
	"fmt"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// sink is a Receiver that takes what it gets at once and forgets it.
type sink struct {
	conn  *bus.Conn
	space [64]*bus.Message
}

func (s *sink) Wake() {
	for batch := s.conn.Dequeue(s.space[:0]); len(batch) > 0; batch = s.conn.Dequeue(s.space[:0]) {
		s.conn.Delivered(batch)
	}
}

func (s *sink) Wanted(meta.Kinds) {}

func (b *testBus) sink(change ...func(*bus.ConnConfig)) *bus.Conn {
	s := &sink{}
	p := b.connect(append(change, func(c *bus.ConnConfig) { c.Receiver = s; c.Limits = roomy })...)
	s.conn = p.Conn
	return p.Conn
}

func BenchmarkUnicast(b *testing.B) {
	benchmarks := []struct {
		name  string
		setUp func(*testBus)
	}{
		{"alone", func(*testBus) {}},
		{"with an eavesdropper of other messages", func(b *testBus) { b.connect().eavesdrop(func(*bus.Message) bool { return false }) }},
		{"with a monitor", func(b *testBus) {
			if err := b.sink().BecomeMonitor(all); err != nil {
				b.tb.Fatalf("BecomeMonitor: %v", err)
			}
		}},
	}
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			t := newBus(b)
			bench.setUp(t)
			sender, receiver := t.connect(), t.sink()
			payload := [][]byte{make([]byte, 100)}
			b.ReportAllocs()
			for b.Loop() {
				m := &bus.Message{Dst: receiver.ID(), Payload: payload, Has: bus.PartDBus1}
				if err := sender.Send(m); err != nil {
					b.Fatal(err)
				}
				sender.Flush()
				m.Release()
			}
		})
	}
}

// Receivers that are behind have long queues, which must not make each message more expensive, even if (as
// with the last of these lengths) the queue just fills its array.
func BenchmarkUnicastToAQueueOf(b *testing.B) {
	for _, backlog := range []int{1, 1_000, 23_551} {
		b.Run(fmt.Sprint(backlog), func(b *testing.B) {
			t := newBus(b)
			sender, receiver := t.connect(), t.connect()
			receiver.sleep()
			payload := [][]byte{make([]byte, 100)}
			send := func() {
				m := &bus.Message{Dst: receiver.ID(), Payload: payload, Has: bus.PartDBus1}
				if err := sender.Send(m); err != nil {
					b.Fatal(err)
				}
				sender.Flush()
				m.Release()
			}
			for range backlog {
				send()
			}
			var space [1]*bus.Message
			b.ReportAllocs()
			for b.Loop() {
				send()
				receiver.Delivered(receiver.Dequeue(space[:0]))
			}
		})
	}
}

func BenchmarkCallAndReply(b *testing.B) {
	b.Run("of D-Bus 1", func(b *testing.B) {
		payload := [][]byte{make([]byte, 100)}
		benchmarkCalls(b, func(*bus.ConnConfig) {}, func(m *bus.Message) { m.Payload, m.Has = payload, bus.PartDBus1 })
	})
	segments := []bus.Segment{{Bytes: make([]byte, 100), Size: 100}}
	for name, timeout := range map[string]uint64{"native": 1 << 63, "native with a deadline": 25e9} {
		b.Run(name, func(b *testing.B) {
			deadline := newBus(b).Monotonic() + timeout
			benchmarkCalls(b, native, func(m *bus.Message) {
				deadline++ // each call has its own
				m.Extra = &bus.Extra{Segments: segments, Deadline: deadline}
			})
		})
	}
}

func benchmarkCalls(b *testing.B, kind func(*bus.ConnConfig), fill func(*bus.Message)) {
	t := newBus(b)
	caller, callee := t.sink(kind), t.sink(kind)
	var cookie uint64
	send := func(c *bus.Conn, m *bus.Message) {
		fill(m)
		if err := c.Send(m); err != nil {
			b.Fatal(err)
		}
		c.Flush()
		m.Release()
	}
	b.ReportAllocs()
	for b.Loop() {
		cookie++
		send(caller, &bus.Message{Dst: callee.ID(), Flags: bus.ExpectReply, Cookie: cookie})
		send(callee, &bus.Message{Dst: caller.ID(), ReplyCookie: cookie})
	}
}

// What a custom endpoint with 100 policies adds to a call by name, and to its answer.
func BenchmarkCallByEndpoint(b *testing.B) {
	policies := make([]bus.NamePolicy, 100)
	for i := range policies {
		policies[i] = permit(fmt.Sprintf("com.example.Service%d", i), user(7, bus.AccessOwn), world(bus.AccessTalk))
	}
	for _, bench := range []struct {
		name     string
		policies []bus.NamePolicy
	}{
		{"default", nil},
		{"custom", policies},
		{"custom with wildcards and subtrees", append([]bus.NamePolicy{permit("org.example.*", world(bus.AccessSee)), below("com", world(bus.AccessTalk))}, policies[1:]...)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			t := newBus(b)
			callee := t.sink()
			if _, err := callee.AcquireName("com.example.Service0", 0); err != nil {
				b.Fatal(err)
			}
			if bench.policies != nil {
				t.door = t.through(bench.policies...)
			}
			caller := t.sink()
			payload := [][]byte{make([]byte, 100)}
			send := func(c *bus.Conn, m *bus.Message) {
				m.Payload, m.Has = payload, bus.PartDBus1
				if err := c.Send(m); err != nil {
					b.Fatal(err)
				}
				c.Flush()
				m.Release()
			}
			b.ReportAllocs()
			for cookie := uint64(1); b.Loop(); cookie++ {
				send(caller, &bus.Message{DstName: "com.example.Service0", Flags: bus.ExpectReply, Cookie: cookie})
				send(callee, &bus.Message{Dst: caller.ID(), ReplyCookie: cookie})
			}
		})
	}
}

func BenchmarkBroadcastTo(b *testing.B) {
	for _, receivers := range []int{1, 20, 200} {
		b.Run(fmt.Sprint(receivers), func(b *testing.B) {
			t := newBus(b)
			sender := t.connect()
			for range receivers {
				subscribe(t, t.sink(), ordinary)
			}
			payload := [][]byte{make([]byte, 100)}
			b.ReportAllocs()
			for b.Loop() {
				m := &bus.Message{Dst: bus.Broadcast, Payload: payload, Has: bus.PartDBus1}
				if err := sender.Send(m); err != nil {
					b.Fatal(err)
				}
				sender.Flush()
				m.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*receivers), "ns/delivery")
		})
	}
}

// Senders on all processors send to a receiver each.
func BenchmarkUnicastInParallel(b *testing.B) {
	t := newBus(b)
	payload := [][]byte{make([]byte, 100)}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		sender, receiver := t.sink(), t.sink()
		for pb.Next() {
			m := &bus.Message{Dst: receiver.ID(), Payload: payload, Has: bus.PartDBus1}
			if err := sender.Send(m); err != nil {
				b.Error(err)
			}
			sender.Flush()
			m.Release()
		}
	})
}

func BenchmarkConnectAndLeave(b *testing.B) {
	t := newBus(b)
	b.ReportAllocs()
	for b.Loop() {
		t.connect().leave()
	}
}
