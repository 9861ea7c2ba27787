package bus_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// newBusWith makes a bus after changes to its configuration.
func newBusWith(t tb, domain bus.DomainConfig, change func(*bus.Config)) *testBus {
	subscriptions := &index{}
	config := bus.Config{Name: "0-test", Indexes: []bus.Index{subscriptions}}
	if change != nil {
		change(&config)
	}
	return &testBus{Bus: bus.NewDomain(domain).NewBus(config), tb: t, index: subscriptions, limits: roomy}
}

// next takes one message out of p's queue. The caller gives it back.
func (p *peer) next() *bus.Message {
	p.bus.tb.Helper()
	batch := p.Dequeue(make([]*bus.Message, 0, 1))
	if len(batch) == 0 {
		p.bus.tb.Fatalf("%s has no message", p.UniqueName())
	}
	return batch[0]
}

var collected = meta.Data{
	Has:     meta.KindCreds | meta.KindPIDs | meta.KindPIDComm,
	Creds:   meta.IDs{UID: 1},
	PIDs:    meta.PIDs{PID: 2},
	PIDComm: "comm",
}

func kinds(k meta.Kinds) *meta.Kinds { return &k }

func TestMetadataIsWhatEverybodyPermits(t *testing.T) {
	const pids, creds, names = meta.KindPIDs, meta.KindCreds, meta.KindNames
	tests := []struct {
		name                string
		sender, receiver    meta.Kinds
		domain, bus         *meta.Kinds
		can                 meta.Kinds
		want                meta.Kinds
		wantCreds, wantPIDs bool
	}{
		{name: "nobody asks", sender: meta.AllKinds, can: meta.AllKinds},
		{name: "the receiver asks", sender: meta.AllKinds, receiver: pids | names, can: meta.AllKinds, want: pids | names},
		{name: "the sender permits less", sender: pids, receiver: pids | creds, can: meta.AllKinds, want: pids},
		{name: "the bus permits less", sender: meta.AllKinds, receiver: pids | creds, bus: kinds(creds), can: meta.AllKinds, want: creds},
		{name: "the domain permits less", sender: meta.AllKinds, receiver: pids | creds | names, domain: kinds(creds), can: meta.AllKinds, want: creds},
		{name: "the domain permits nothing", sender: meta.AllKinds, receiver: meta.AllKinds, domain: kinds(0), can: meta.AllKinds},
		{name: "not all is known", sender: meta.AllKinds, receiver: pids | creds | meta.KindCaps, can: creds, want: creds},
		{name: "nothing is known", sender: meta.AllKinds, receiver: pids | creds},
		{name: "all", sender: meta.AllKinds, receiver: meta.AllKinds, can: meta.AllKinds, want: collected.Has | meta.ConnectionKinds},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBusWith(t, bus.DomainConfig{Attach: test.domain}, func(c *bus.Config) { c.Attach = test.bus })
			sender := b.connect(native, func(c *bus.ConnConfig) { c.AttachSend, c.Description = test.sender, "somebody" })
			sender.mustAcquire(example, 0)
			receiver := b.connect(native, wanting(bus.Parts(test.receiver)))
			receiver.sleep()
			known := collected
			known.Has &= test.can
			sender.mustPost(nativeMessage(receiver.ID(), &maker{can: bus.PartsMetadata, data: &known}))
			m := receiver.next()
			_, got := receiver.Attached(m)
			if got != test.want {
				t.Errorf("attached %s, want %s", got, test.want)
			}
			if m.Meta != nil && m.Meta.Has&^test.sender != 0 {
				t.Errorf("there are also %s", m.Meta.Has&^test.sender)
			}
			if got&pids != 0 && m.Meta.PIDs.PID != 2 || got&creds != 0 && m.Meta.Creds.UID != 1 {
				t.Errorf("%+v", m.Meta)
			}
			receiver.Delivered([]*bus.Message{m})
		})
	}
}

func TestKindsThatTheBusKnows(t *testing.T) {
	b := newBus(t)
	sender := b.connect(native, func(c *bus.ConnConfig) { c.Description = "somebody" })
	receiver := b.connect(native, wanting(bus.Parts(meta.ConnectionKinds)))
	receiver.sleep()
	for _, n := range []struct {
		name  string
		flags bus.NameFlags
	}{{"com.example.A", bus.AllowReplacement}, {"com.example.B", bus.DoNotQueue}} {
		sender.mustAcquire(n.name, n.flags)
	}
	b.connect().mustAcquire("com.example.Other", 0)
	sender.mustAcquire("com.example.Other", 0) // waits for it
	before := now()
	sender.mustPost(nativeMessage(receiver.ID(), &maker{}))
	m := receiver.next()
	after := now()
	got := m.Meta.Timestamp
	const allowance = uint64(time.Second) // somebody may stop us between reading one clock and the other
	if got.Seqnum != m.Sequence || got.MonotonicNS+allowance < before.MonotonicNS || got.MonotonicNS > after.MonotonicNS+allowance ||
		got.RealtimeNS < before.RealtimeNS || got.RealtimeNS > after.RealtimeNS {
		t.Errorf("%+v is not between %+v and %+v, or has not the number %d", got, before, after, m.Sequence)
	}
	want := &meta.Data{
		Has:         meta.ConnectionKinds,
		Timestamp:   got,
		Description: "somebody",
		Names: []meta.OwnedName{
			{Name: "com.example.A", Flags: uint64(bus.AllowReplacement | bus.Queue | bus.Primary)},
			{Name: "com.example.B", Flags: uint64(bus.Primary)},
		},
	}
	if diff := cmp.Diff(want, m.Meta); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Names, sender.Info(meta.KindNames).Names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	receiver.Delivered([]*bus.Message{m})
}

// now reads the clocks.
func now() meta.Timestamp {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return meta.Timestamp{MonotonicNS: uint64(ts.Nano()), RealtimeNS: uint64(time.Now().UnixNano())}
}

func TestMessagesOfTheBusHaveTimestampsOnly(t *testing.T) {
	b := newBusWith(t, bus.DomainConfig{}, nil)
	receiver := b.connect(native, tellOwn, wanting(bus.PartsMetadata))
	receiver.match(bus.Match{})
	receiver.sleep()
	receiver.mustAcquire(example, 0) // two notifications: to all, and to itself
	expectError(t, receiver.Deliver(to(0, "answer")), 0)
	expectError(t, receiver.Deliver(&bus.Message{Answer: true, Payload: [][]byte{[]byte("plain answer")}}), 0)
	want := []string{"NameChanged com.example.Name 0>1 timestamp", "NameAcquired com.example.Name timestamp", "0: answer timestamp", "0: plain answer none"}
	var got []string
	last := uint64(0)
	for range want {
		m := receiver.next()
		_, kinds := receiver.Attached(m)
		got = append(got, fmt.Sprintf("%s %s", describe(m), kinds))
		if m.Answer {
			if m.Sequence != 0 {
				t.Errorf("an answer has the number %d", m.Sequence)
			}
		} else if m.Meta.Timestamp.Seqnum != m.Sequence || m.Sequence <= last {
			t.Errorf("%+v after %d, message %d", m.Meta.Timestamp, last, m.Sequence)
		}
		last = m.Sequence
		receiver.Delivered([]*bus.Message{m})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnswersAreNotShownToMonitors(t *testing.T) {
	b := newBus(t)
	monitor := b.monitor()
	p := b.connect()
	monitor.forget()
	expectError(t, p.Deliver(&bus.Message{Answer: true, Payload: [][]byte{[]byte("x")}}), 0)
	p.Flush()
	p.expect("0: x")
	monitor.expect()
}

func TestEachReceiverGetsWhatItAskedFor(t *testing.T) {
	b := newBus(t)
	sender := b.connect(native)
	var receivers []*peer
	for _, want := range []meta.Kinds{0, meta.KindPIDs, meta.KindCreds | meta.KindTimestamp} {
		r := b.connect(native, wanting(bus.Parts(want)))
		r.match(bus.Match{Senders: []bus.ID{sender.ID()}})
		r.sleep()
		receivers = append(receivers, r)
	}
	sender.mustPost(nativeMessage(bus.Broadcast, &maker{can: bus.PartsMetadata, data: &collected}))
	var got []string
	for _, r := range receivers {
		m := r.next()
		_, kinds := r.Attached(m)
		got = append(got, kinds.String())
		r.Delivered([]*bus.Message{m})
	}
	if want := []string{"none", "pids", "timestamp,creds"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatAMakerSharesIsNotChanged(t *testing.T) {
	b := newBus(t)
	sender, receiver := b.connect(native), b.connect(native, wanting(bus.PartsMetadata))
	receiver.sleep()
	shared := collected
	k := &maker{can: bus.PartsMetadata, data: &shared}
	for range 2 {
		sender.mustPost(nativeMessage(receiver.ID(), k))
	}
	first, second := receiver.next(), receiver.next()
	if diff := cmp.Diff(collected, shared); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if first.Meta.Timestamp.Seqnum >= second.Meta.Timestamp.Seqnum {
		t.Errorf("%+v, %+v", first.Meta, second.Meta)
	}
	receiver.Delivered([]*bus.Message{first, second})
}

func TestFakedMetadataReplaceCollectedOnes(t *testing.T) {
	b := newBus(t)
	fake := &meta.Data{Has: meta.KindCreds | meta.KindSecLabel, Creds: meta.IDs{UID: 99}, SecLabel: "label"}
	sender := b.connect(native, func(c *bus.ConnConfig) {
		c.Fake, c.Metadata, c.Description = fake, &collected, "somebody"
	})
	receiver := b.connect(native, wanting(bus.PartsMetadata&^bus.Parts(meta.KindTimestamp)))
	receiver.sleep()
	k := &maker{can: bus.PartsMetadata, data: &collected}
	sender.mustPost(nativeMessage(receiver.ID(), k))
	if k.asked != nil {
		t.Errorf("asked for %x", k.asked)
	}
	want := meta.Data{Has: fake.Has | meta.KindDescription, Creds: meta.IDs{UID: 99}, SecLabel: "label", Description: "somebody"}
	m := receiver.next()
	if diff := cmp.Diff(&want, m.Meta); diff != "" {
		t.Errorf("of the message (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, sender.Info(meta.AllKinds)); diff != "" {
		t.Errorf("of the connection (-want +got):\n%s", diff)
	}
	receiver.Delivered([]*bus.Message{m})
}

func TestInfo(t *testing.T) {
	collect := func(want meta.Kinds) meta.Data {
		if want&meta.ConnectionKinds != 0 {
			t.Errorf("asked to collect %s", want)
		}
		return collected
	}
	tests := []struct {
		name   string
		change func(*bus.ConnConfig)
		want   meta.Kinds
		has    meta.Kinds
	}{
		{"as of connecting", func(c *bus.ConnConfig) { c.Metadata = &collected }, meta.AllKinds, collected.Has | meta.KindNames},
		{"as of now", func(c *bus.ConnConfig) { c.Collect = collect }, meta.AllKinds, collected.Has | meta.KindNames},
		{"only what is asked for", func(c *bus.ConnConfig) { c.Collect = collect }, meta.KindPIDs, meta.KindPIDs},
		{"only what the peer permits", func(c *bus.ConnConfig) { c.Metadata, c.AttachSend = &collected, meta.KindCreds }, meta.AllKinds, meta.KindCreds},
		{"nothing is known", func(*bus.ConnConfig) {}, meta.AllKinds, meta.KindNames},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			p := b.connect(native, test.change)
			p.mustAcquire(example, 0)
			got := p.Info(test.want)
			if got.Has != test.has {
				t.Errorf("got %s, want %s", got.Has, test.has)
			}
			if got.Has&meta.KindPIDs == 0 && got.PIDs.PID != 0 || got.Has&meta.KindPIDComm == 0 && got.PIDComm != "" {
				t.Errorf("more than it should: %+v", got)
			}
		})
	}
}

func TestBusRequiresMetadata(t *testing.T) {
	b := newBusWith(t, bus.DomainConfig{}, func(c *bus.Config) { c.Required = meta.KindCreds | meta.KindPIDs })
	for _, test := range []struct {
		send meta.Kinds
		err  error
	}{{meta.AllKinds, nil}, {meta.KindCreds | meta.KindPIDs, nil}, {meta.KindCreds, bus.ErrRequired}, {0, bus.ErrRequired}} {
		c, err := b.Endpoint().Connect(bus.ConnConfig{Receiver: &peer{bus: b}, AttachSend: test.send})
		if (err == nil) != (test.err == nil) || err != nil && !err.(*bus.Error).Is(test.err) {
			t.Errorf("%s: %v, want %v", test.send, err, test.err)
		}
		if c != nil {
			c.Close()
		}
	}
}

func TestConnectionsAreToldWhatIsWantedOfThem(t *testing.T) {
	b := newBus(t)
	const creds, pids = meta.KindCreds, meta.KindPIDs
	first := b.connect(native)
	limited := b.connect(native, func(c *bus.ConnConfig) { c.AttachSend = creds })
	fake := b.connect(native, func(c *bus.ConnConfig) { c.Fake = &collected })
	var asking, late *peer
	steps := []struct {
		name string
		do   func()
		want [3][]meta.Kinds // what each was told
	}{
		{"nobody wants anything", func() {}, [3][]meta.Kinds{}},
		{"somebody who asks for what needs no proof", func() { b.connect(native, wanting(bus.Parts(meta.ConnectionKinds)|bus.PartDBus1)) }, [3][]meta.Kinds{}},
		{"somebody who asks connects", func() { asking = b.connect(native, wanting(bus.Parts(creds|pids))) }, [3][]meta.Kinds{{creds | pids}, {creds}, nil}},
		{"another one with less", func() { b.connect(native, wanting(bus.Parts(pids))).leave() }, [3][]meta.Kinds{}},
		{"one that sends connects", func() { late = b.connect(native) }, [3][]meta.Kinds{}},
		{"it asks for less", func() { asking.want(creds) }, [3][]meta.Kinds{{creds}, nil, nil}},
		{"one that sends permits more", func() { limited.permit(pids) }, [3][]meta.Kinds{nil, {0}, nil}},
		{"a monitor asks for more", func() { asking.want(0); asking.monitor(all); asking.want(pids) }, [3][]meta.Kinds{{0, pids}, {pids}, nil}},
		{"it leaves", func() { asking.leave() }, [3][]meta.Kinds{{0}, {0}, nil}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.do()
			for i, p := range []*peer{first, limited, fake} {
				if diff := cmp.Diff(step.want[i], p.takeWanted()); diff != "" {
					t.Errorf("%s was told (-want +got):\n%s", p.UniqueName(), diff)
				}
			}
		})
	}
	if got := late.takeWanted(); !slices.Equal(got, []meta.Kinds{creds | pids, creds, 0, pids, 0}) {
		t.Errorf("the one that came later was told %s", got)
	}
}

func (p *peer) takeWanted() []meta.Kinds {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := p.wanted
	p.wanted = nil
	return wanted
}

// Whoever is told last must be told the truth.
func TestWhatIsWantedIsTrueInTheEnd(t *testing.T) {
	b := newBus(t)
	sender := b.connect(native)
	asking := []*peer{b.connect(native), b.connect(native)}
	var running sync.WaitGroup
	for i, p := range asking {
		running.Go(func() {
			for n := range 200 {
				p.want(meta.KindCreds << ((n + i) % 3) & meta.ProcessKinds)
			}
			p.want(meta.KindExe << i)
		})
	}
	running.Wait()
	told := sender.takeWanted()
	if want := meta.KindExe | meta.KindCmdline; told[len(told)-1] != want {
		t.Errorf("told last: %s, want %s", told[len(told)-1], want)
	}
}
