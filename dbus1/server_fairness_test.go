package dbus1_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

// TestFlooderStarvesNobody: while some peers send as fast as they can, others get their answers.
func TestFlooderStarvesNobody(t *testing.T) {
	floods := map[string]func(c *client, n int) *wire.Message{
		"calls to the bus": func(c *client, n int) *wire.Message {
			m := c.newMessage(wire.TypeMethodCall, driver, "GetId")
			m.Flags = wire.NoReplyExpected
			return m
		},
		"broadcasts": func(c *client, n int) *wire.Message {
			return c.newMessage(wire.TypeSignal, "", "Flood", uint32(n))
		},
		"calls to itself": func(c *client, n int) *wire.Message {
			m := c.newMessage(wire.TypeMethodCall, c.name, "Flood")
			m.Flags = wire.NoReplyExpected
			return m
		},
		"messages to nobody": func(c *client, n int) *wire.Message {
			return c.newMessage(wire.TypeMethodCall, "org.example.Nobody", "Flood")
		},
		"subscriptions": func(c *client, n int) *wire.Message {
			member := "AddMatch"
			if n%2 == 1 {
				member = "RemoveMatch"
			}
			return c.newMessage(wire.TypeMethodCall, driver, member, "type='signal',arg0='flood'")
		},
		"long messages": func(c *client, n int) *wire.Message {
			return c.newMessage(wire.TypeSignal, c.name, "Flood", make([]byte, 300<<10))
		},
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			const flooders, roundTrips = 3, 40
			s := startServer(t)
			others := s.watch(t)
			caller := s.connect(t)
			subscriber := s.connect(t)
			subscriber.must(t, "AddMatch", "type='signal',member='Flood'")
			var busy sync.WaitGroup
			busy.Go(func() { drain(subscriber) })
			var sent atomic.Int64
			var sources []*client
			for range flooders {
				c := s.connect(t)
				sources = append(sources, c)
				busy.Go(func() { drain(c) })
				busy.Go(func() {
					for n := 0; c.send(flood(c, n)) == nil; n++ {
						sent.Add(1)
					}
				})
			}
			eventually(t, "the flood has begun", func() bool { return sent.Load() > 200 })
			before := sent.Load()
			for range roundTrips {
				caller.must(t, "GetId")
			}
			others.progress()
			flooded := sent.Load() - before
			t.Logf("%d messages of flooders in the time of %d round trips", flooded, roundTrips)
			const most = 20_000 // per round trip; about a second's worth
			if flooded > roundTrips*most {
				t.Errorf("%d messages of flooders went before %d round trips of others", flooded, roundTrips)
			}
			for _, c := range append(sources, subscriber) {
				c.conn.Close()
			}
			busy.Wait()
			others.stop()
		})
	}
}
