package bus_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// native makes a peer of kdbus: it wants no D-Bus 1 messages, and gets signals by its matches.
func native(c *bus.ConnConfig) {
	c.Wants = 0
	c.AttachSend = meta.AllKinds
}

func wanting(parts bus.Parts) func(*bus.ConnConfig) {
	return func(c *bus.ConnConfig) { c.Wants |= parts }
}

// maker is a bus.Maker that writes down what it is asked for, and makes what it can.
type maker struct {
	can   bus.Parts
	data  *meta.Data // what it knows of the sender
	then  func()     // called each time; may be nil
	asked []bus.Parts
}

func (k *maker) Make(m *bus.Message, missing bus.Parts) {
	k.asked = append(k.asked, missing)
	if missing&k.can&bus.PartDBus1 != 0 {
		m.Payload = [][]byte{[]byte("converted")}
	}
	if missing&k.can&bus.PartView != 0 {
		m.View = "view"
	}
	if missing&k.can&bus.PartBloom != 0 {
		m.Extra.Bloom = filterOf(1)
	}
	if missing&k.can&bus.PartsMetadata != 0 {
		m.Meta = k.data
	}
	if k.then != nil {
		k.then()
	}
}

// nativeMessage makes a message as native peers send it.
func nativeMessage(dst bus.ID, k *maker) *bus.Message {
	m := &bus.Message{Dst: dst, Maker: k, Extra: &bus.Extra{Segments: []bus.Segment{{Bytes: []byte("native"), Size: 6}}}}
	if dst == bus.Broadcast {
		m.Flags = bus.Signal
	}
	return m
}

func TestPartsAreMadeForThoseWhoWantThem(t *testing.T) {
	const pids, creds = bus.Parts(meta.KindPIDs), bus.Parts(meta.KindCreds)
	type world struct {
		*testBus
		sender, native, dbus *peer
	}
	tests := []struct {
		name  string
		setUp func(w world)
		dst   func(w world) bus.ID
		want  []bus.Parts
	}{
		{"nothing is made when nobody wants anything", func(world) {}, func(w world) bus.ID { return w.native.ID() }, nil},
		{"payload for a receiver of D-Bus 1", func(world) {}, func(w world) bus.ID { return w.dbus.ID() }, []bus.Parts{bus.PartDBus1}},
		{"payload for a monitor of D-Bus 1", func(w world) { w.monitor() }, func(w world) bus.ID { return w.native.ID() },
			[]bus.Parts{bus.PartDBus1}},
		{"view for a monitor's filter", func(w world) { w.connect(native).monitor(needy{bus.PartView}) },
			func(w world) bus.ID { return w.native.ID() }, []bus.Parts{bus.PartView}},
		{"metadata", func(w world) { w.native.want(meta.KindPIDs | meta.KindCreds) },
			func(w world) bus.ID { return w.native.ID() }, []bus.Parts{pids | creds}},
		{"metadata that others want are not", func(w world) { w.native.want(meta.KindPIDs) },
			func(w world) bus.ID { return w.dbus.ID() }, []bus.Parts{bus.PartDBus1}},
		{"kinds that the core knows are not asked for", func(w world) { w.native.want(meta.ConnectionKinds) },
			func(w world) bus.ID { return w.native.ID() }, nil},
		{"kinds that the sender does not permit are not asked for",
			func(w world) { w.native.want(meta.AllKinds); w.sender.permit(meta.KindPIDs) },
			func(w world) bus.ID { return w.native.ID() }, []bus.Parts{pids}},
		{"nobody subscribed", func(w world) { w.native.want(meta.AllKinds) }, func(world) bus.ID { return bus.Broadcast }, nil},
		{"a subscriber of D-Bus 1, found by a view", func(w world) { w.dbus.subscribe(ordinary); w.index.needs = bus.PartView },
			func(world) bus.ID { return bus.Broadcast }, []bus.Parts{bus.PartView, bus.PartDBus1}},
		{"a subscriber by bloom mask", func(w world) { w.native.want(meta.KindPIDs); w.native.match(bus.Match{Masks: [][]byte{filterOf(1)}}) },
			func(world) bus.ID { return bus.Broadcast }, []bus.Parts{bus.PartBloom, pids}},
		{"a subscriber by bloom mask that does not match", func(w world) { w.native.want(meta.KindPIDs); w.native.match(bus.Match{Masks: [][]byte{filterOf(2)}}) },
			func(world) bus.ID { return bus.Broadcast }, []bus.Parts{bus.PartBloom}},
		{"a subscriber by id", func(w world) {
			w.native.want(meta.KindPIDs)
			w.native.match(bus.Match{Senders: []bus.ID{w.sender.ID()}})
		},
			func(world) bus.ID { return bus.Broadcast }, []bus.Parts{pids}},
		{"for an eavesdropper, too", func(w world) { w.dbus.eavesdrop(ordinary) }, func(w world) bus.ID { return w.native.ID() },
			[]bus.Parts{bus.PartDBus1}},
		{"nothing that cannot be made twice", func(w world) { w.native.want(meta.AllKinds); w.monitor() },
			func(w world) bus.ID { return w.native.ID() }, []bus.Parts{bus.PartDBus1 | bus.Parts(meta.ProcessKinds)}},
		{"names only", func(w world) { w.native.want(meta.KindNames) }, func(w world) bus.ID { return w.native.ID() }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			w := world{b, b.connect(native), b.connect(native), b.connect()}
			test.setUp(w)
			k := &maker{can: ^bus.Parts(0), data: &meta.Data{}}
			w.sender.mustPost(nativeMessage(test.dst(w), k))
			if diff := cmp.Diff(test.want, k.asked); diff != "" {
				t.Errorf("asked for other parts than it should be (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessageHasNoEffectBeforeItsPartsAreMade(t *testing.T) {
	b := newBus(t)
	monitor := b.monitor()
	sender, receiver := b.connect(native), b.connect()
	receiver.subscribe(ordinary)
	monitor.forget()
	for _, dst := range []bus.ID{receiver.ID(), bus.Broadcast} {
		t.Run(fmt.Sprint(dst), func(t *testing.T) {
			b.tb = t
			k := &maker{can: bus.PartDBus1}
			k.then = func() {
				monitor.read()
				receiver.read()
				monitor.expect()
				receiver.expect()
			}
			sender.mustPost(nativeMessage(dst, k))
			monitor.expect("2: converted")
			receiver.expect("2: converted")
		})
	}
}

func TestReceiversAreLookedForAnewWhenPartsWereMade(t *testing.T) {
	b := newBus(t)
	sender, first, second := b.connect(native), b.connect(native, wanting(bus.Parts(meta.KindCreds))), b.connect()
	first.mustAcquire(example, bus.AllowReplacement)
	k := &maker{can: ^bus.Parts(0), data: &meta.Data{Has: meta.KindCreds}}
	k.then = func() {
		if len(k.asked) == 1 { // the name goes to somebody else, who wants something else
			second.mustAcquire(example, bus.ReplaceExisting)
		}
	}
	m := nativeMessage(bus.ToName, k)
	m.DstName = example
	sender.mustPost(m)
	first.expect()
	second.expect("1: converted")
	if diff := cmp.Diff([]bus.Parts{bus.Parts(meta.KindCreds), bus.PartDBus1}, k.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPartsAreMadeForMessagesToTheBus(t *testing.T) {
	b := newBus(t)
	monitor := b.monitor()
	sender := b.connect(native)
	monitor.forget()
	m := nativeMessage(0, &maker{can: bus.PartDBus1})
	expectError(t, sender.SendToBus(m), 0)
	sender.Flush()
	m.Release()
	monitor.expect("2: converted")
}

func TestMessageThatAReceiverCannotRead(t *testing.T) {
	b := newBus(t)
	monitor := b.monitor()
	nativeMonitor := b.connect(native)
	nativeMonitor.monitor(bus.Everything)
	sender, dbus, other := b.connect(native), b.connect(), b.connect(native)
	dbus.subscribe(ordinary)
	other.match(bus.Match{})
	for _, p := range []*peer{monitor, nativeMonitor, other} {
		p.forget()
	}
	for _, k := range []*maker{{}, nil} {
		m := nativeMessage(dbus.ID(), k)
		if k == nil {
			m.Maker = nil
		}
		expectError(t, sender.post(m), bus.ErrMissingPayload)
	}
	sender.mustPost(nativeMessage(bus.Broadcast, &maker{}))
	dbus.expect()
	monitor.expect()
	other.expect("3: native")
	nativeMonitor.expect("3: native", "3: native", "3: native")
}

// needy is a Filter that takes everything and needs parts for that.
type needy struct{ parts bus.Parts }

func (needy) Match(_, _ *bus.Conn, _ *bus.Message) bool { return true }
func (n needy) Needs() bus.Parts                        { return n.parts }

// want changes what is to be attached to what p receives, permit to what it sends.
func (p *peer) want(kinds meta.Kinds) {
	p.bus.tb.Helper()
	if err := p.Update(nil, &kinds); err != nil {
		p.bus.tb.Fatalf("Update: %v", err)
	}
}

func (p *peer) permit(kinds meta.Kinds) {
	p.bus.tb.Helper()
	if err := p.Update(&kinds, nil); err != nil {
		p.bus.tb.Fatalf("Update: %v", err)
	}
}

// match adds a match.
func (p *peer) match(m bus.Match) {
	p.bus.tb.Helper()
	if err := p.AddMatch(m, false); err != nil {
		p.bus.tb.Fatalf("AddMatch: %v", err)
	}
}

// filterOf makes a bloom filter, or a mask, with these bits.
func filterOf(bits ...int) []byte {
	filter := make([]byte, bus.DefaultBloom.Size)
	for _, bit := range bits {
		filter[bit/8] |= 1 << (bit % 8)
	}
	return filter
}
