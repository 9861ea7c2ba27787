package main

import (
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
)

// traffic is how much somebody talked.
type traffic struct {
	sent, sentBytes         uint64
	received, receivedBytes uint64 // messages to it alone
	calls                   uint64 // that it made
	errors                  uint64 // that it answered with
	answers                 uint64 // to calls that were seen, and how long those took
	took, slowest           time.Duration
}

func (t *traffic) add(o *traffic) {
	t.sent += o.sent
	t.sentBytes += o.sentBytes
	t.received += o.received
	t.receivedBytes += o.receivedBytes
	t.calls += o.calls
	t.errors += o.errors
	t.answers += o.answers
	t.took += o.took
	t.slowest = max(t.slowest, o.slowest)
}

// talker is a connection.
type talker struct {
	traffic
	peer  *metadata.Peer // nil if nothing is known of it
	queue queueUse       // of late
	asked bool           // the bus was asked
}

// counter counts messages by connection.
type counter struct {
	talkers   map[string]*talker
	owners    map[string]string // unique names by well-known ones
	latencies latencies
}

// maxTalkers is how many connections are counted; of more, the others are forgotten.
const maxTalkers = 1 << 14

func (c *counter) talker(unique string) *talker {
	t := c.talkers[unique]
	if t == nil {
		if c.talkers == nil || len(c.talkers) >= maxTalkers {
			c.talkers = make(map[string]*talker)
		}
		t = new(talker)
		c.talkers[unique] = t
	}
	return t
}

// count takes a message into account.
func (c *counter) count(m *kdbus.Message) {
	size := uint64(m.Size())
	from := c.talker(m.Sender())
	from.sent++
	from.sentBytes += size
	if known := m.Metadata(); known != nil && known.Has != 0 {
		from.peer = &metadata.Peer{Metadata: *known, Unique: m.Sender()}
		for _, name := range metadata.WellKnown(known.Names) {
			c.own(name, m.Sender())
		}
	}
	if m.Sender() == busName && m.Member() == "NameOwnerChanged" {
		var name, before, after string
		if m.Decode(&name, &before, &after) == nil && name != "" && name[0] != ':' {
			c.own(name, after)
		}
	}
	if to := m.Destination(); to != "" {
		if owner := c.owners[to]; owner != "" {
			to = owner
		}
		receiver := c.talker(to)
		receiver.received++
		receiver.receivedBytes += size
	}
	switch m.Type() {
	case kdbus.TypeMethodCall:
		from.calls++
	case kdbus.TypeError:
		from.errors++
	}
	if took, answered := c.latencies.pair(m); answered {
		from.answers++
		from.took += took
		from.slowest = max(from.slowest, took)
	}
}

func (c *counter) own(name, owner string) {
	if c.owners == nil {
		c.owners = make(map[string]string)
	}
	if owner == "" {
		delete(c.owners, name)
	} else if len(c.owners) < maxTalkers {
		c.owners[name] = owner
	}
}

// reset begins to count anew. Who somebody is stays known.
func (c *counter) reset() {
	for name, t := range c.talkers {
		if t.sent == 0 && t.received == 0 {
			delete(c.talkers, name)
		} else {
			t.traffic = traffic{}
		}
	}
}
