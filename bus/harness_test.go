package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// tb is what the harness needs of *testing.T, *testing.B and *rapid.T.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// testBus is a bus with an index in which the peers of a test subscribe.
type testBus struct {
	*bus.Bus
	tb     tb
	index  *index
	door   *bus.Endpoint // by which connections come from now on; nil is the default one
	limits *bus.Limits   // of the connections made from now on
}

// roomy limits get in nobody's way.
var roomy = &bus.Limits{Quota: bus.Quota{Bytes: 1 << 30, FDs: 1 << 10}, MaxNames: 1 << 10, MaxCalls: 1 << 10}

func newBus(t tb) *testBus { return newBusWithPolicy(t, nil) }

func newBusWithPolicy(t tb, policy bus.Policy) *testBus {
	subscriptions := &index{}
	domain := bus.NewDomain(bus.DomainConfig{})
	return &testBus{
		Bus:    domain.NewBus(bus.Config{Name: "0-test", Policy: policy, Indexes: []bus.Index{subscriptions}}),
		tb:     t,
		index:  subscriptions,
		limits: roomy,
	}
}

// A peer is a front-end in small: it is the Receiver of its connection and reads what it is woken
// for at once, unless it is asleep.
type peer struct {
	*bus.Conn
	bus *testBus

	mu     sync.Mutex // the clock has a goroutine of its own
	asleep bool
	wakes  int
	hungUp int
	got    []string // see describe
	wanted []meta.Kinds
}

// introduce makes a connection that has not said Hello yet.
func (b *testBus) introduce(change ...func(*bus.ConnConfig)) *peer {
	b.tb.Helper()
	p := &peer{bus: b}
	config := bus.ConnConfig{UID: 1000, AcceptFDs: true, Limits: b.limits, Receiver: p, Peer: p, Wants: bus.PartDBus1}
	for _, f := range change {
		f(&config)
	}
	conn, err := b.enter(config)
	if err != nil {
		b.tb.Fatalf("Connect: %v", err)
	}
	p.Conn = conn
	return p
}

func (b *testBus) enter(config bus.ConnConfig) (*bus.Conn, error) {
	if b.door != nil {
		return b.door.Connect(config)
	}
	return b.Endpoint().Connect(config)
}

// connect makes a connection that is part of the bus.
func (b *testBus) connect(change ...func(*bus.ConnConfig)) *peer {
	b.tb.Helper()
	p := b.introduce(change...)
	p.Hello()
	p.Flush()
	return p
}

func tellOwn(c *bus.ConnConfig)   { c.TellOwn = true }
func refuseFDs(c *bus.ConnConfig) { c.AcceptFDs = false }

func ofUser(uid uint32) func(*bus.ConnConfig) {
	return func(c *bus.ConnConfig) { c.UID = uid }
}

func limited(l bus.Limits) func(*bus.ConnConfig) {
	return func(c *bus.ConnConfig) { c.Limits = &l }
}

// Wake implements bus.Receiver.
func (p *peer) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakes++
	if !p.asleep {
		p.readLocked()
	}
}

// Wanted implements bus.Receiver.
func (p *peer) Wanted(kinds meta.Kinds) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = append(p.wanted, kinds)
}

// HangUp is called when the bus closes the connection by itself.
func (p *peer) HangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hungUp++
}

// read takes everything out of the queue.
func (p *peer) read() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readLocked()
}

func (p *peer) readLocked() {
	var space [3]*bus.Message // small, so that it takes several batches
	for {
		batch := p.Dequeue(space[:0])
		if len(batch) == 0 {
			return
		}
		for _, m := range batch {
			p.got = append(p.got, describe(m))
		}
		p.Delivered(batch)
	}
}

// sleep makes p a peer that does not read. wakeUp makes it read again.
func (p *peer) sleep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asleep = true
}

func (p *peer) wakeUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asleep = false
	p.readLocked()
}

// take returns what p got since the last call, see describe for how it is written.
func (p *peer) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

// expect checks that p got these messages since it was asked last.
func (p *peer) expect(want ...string) {
	p.bus.tb.Helper()
	if diff := cmp.Diff(want, p.take()); diff != "" {
		p.bus.tb.Errorf("%s got other messages than it should (-want +got):\n%s", p.UniqueName(), diff)
	}
}

// forget makes p forget what it got so far.
func (p *peer) forget() { p.take() }

// post sends a message that nobody needs any more afterwards.
func (p *peer) post(m *bus.Message) error {
	err := p.Send(m)
	p.Flush()
	m.Release()
	return err
}

func (p *peer) mustPost(m *bus.Message) {
	p.bus.tb.Helper()
	if err := p.post(m); err != nil {
		p.bus.tb.Fatalf("%s sends %s: %v", p.UniqueName(), describe(m), err)
	}
}

// leave closes the connection and lets the others know.
func (p *peer) leave() {
	p.Close()
	p.Flush()
}

func (p *peer) mustAcquire(name string, flags bus.NameFlags) {
	p.bus.tb.Helper()
	if _, err := p.AcquireName(name, flags); err != nil {
		p.bus.tb.Fatalf("%s acquires %s: %v", p.UniqueName(), name, err)
	}
	p.Flush()
}

// to makes a plain message.
func to(dst bus.ID, text string) *bus.Message {
	return &bus.Message{Dst: dst, Payload: [][]byte{[]byte(text)}, Has: bus.PartDBus1}
}

func toName(name, text string) *bus.Message {
	m := to(bus.ToName, text)
	m.DstName = name
	return m
}

// call makes a message that expects a reply. The text of a call is "call COOKIE".
func call(dst bus.ID, cookie uint64) *bus.Message {
	m := to(dst, fmt.Sprintf("call %d", cookie))
	m.Flags, m.Cookie = bus.ExpectReply, cookie
	return m
}

// reply makes the answer to a call of dst. Its text is "reply COOKIE".
func reply(dst bus.ID, cookie uint64) *bus.Message {
	m := to(dst, fmt.Sprintf("reply %d", cookie))
	m.ReplyCookie = cookie
	return m
}

// signal makes a unicast that may be dropped.
func signal(dst bus.ID, text string) *bus.Message {
	m := to(dst, text)
	m.Flags = bus.Signal
	return m
}

// describe writes a message as "SENDER: TEXT" and a notification as its kind and what it is about. Connections are written
// by their number, the bus as sender is 0.
func describe(m *bus.Message) string {
	n := m.Notification
	if n == nil {
		text := slices.Concat(m.Payload...)
		if m.Payload == nil {
			for _, s := range m.Segments() {
				text = append(text, s.Bytes...)
			}
		}
		return fmt.Sprintf("%d: %s", m.Src, text)
	}
	switch n.Kind {
	case bus.NameChanged:
		return fmt.Sprintf("NameChanged %s %d>%d", n.Name, n.OldOwner, n.NewOwner)
	case bus.IDAdded:
		return fmt.Sprintf("IDAdded %d", n.NewOwner)
	case bus.IDRemoved:
		return fmt.Sprintf("IDRemoved %d", n.OldOwner)
	case bus.NameAcquired:
		return fmt.Sprintf("NameAcquired %s", n.Name)
	case bus.NameLost:
		return fmt.Sprintf("NameLost %s", n.Name)
	case bus.ReplyDead:
		return fmt.Sprintf("ReplyDead %d of %d", m.ReplyCookie, n.OldOwner)
	case bus.MessagesHeld:
		return "MessagesHeld " + n.Name
	case bus.MessagesDropped:
		return "MessagesDropped"
	case bus.ReplyTimeout:
		return fmt.Sprintf("ReplyTimeout %d of %d", m.ReplyCookie, n.OldOwner)
	}
	return fmt.Sprintf("notification %+v", *n)
}

// index is a bus.Index that asks every subscription.
type index struct {
	subscriptions []subscription
	needs         bus.Parts
}

type subscription struct {
	conn      *bus.Conn
	wants     func(m *bus.Message) bool
	eavesdrop bool
}

func (x *index) Collect(_, _ *bus.Conn, m *bus.Message, found []*bus.Conn) []*bus.Conn {
	for _, s := range x.subscriptions {
		if (s.eavesdrop || m.Dst == bus.Broadcast) && s.wants(m) {
			found = append(found, s.conn)
		}
	}
	return found
}

func (*index) Takes(_, _ *bus.Conn, _ *bus.Message) bool { return false }

func (x *index) Eavesdroppers() int {
	n := 0
	for _, s := range x.subscriptions {
		if s.eavesdrop {
			n++
		}
	}
	return n
}

func (x *index) Needs() bus.Parts { return x.needs }

func (x *index) Forget(c *bus.Conn) {
	x.subscriptions = slices.DeleteFunc(x.subscriptions, func(s subscription) bool { return s.conn == c })
}

// Kinds of messages to subscribe to.
func everything(*bus.Message) bool      { return true }
func notifications(m *bus.Message) bool { return m.Notification != nil }
func ordinary(m *bus.Message) bool      { return m.Notification == nil }

// subscribe makes p receive broadcasts.
func (p *peer) subscribe(wants func(*bus.Message) bool) { p.add(subscription{p.Conn, wants, false}) }

// eavesdrop makes p receive broadcasts and copies of unicasts.
func (p *peer) eavesdrop(wants func(*bus.Message) bool) { p.add(subscription{p.Conn, wants, true}) }

func (p *peer) add(s subscription) {
	p.bus.tb.Helper()
	err := p.EditMatches(func() error {
		p.bus.index.subscriptions = append(p.bus.index.subscriptions, s)
		return nil
	})
	if err != nil {
		p.bus.tb.Fatalf("EditMatches: %v", err)
	}
}

// filter is a bus.Filter by what a message looks like.
type filter func(src, dst *bus.Conn, m *bus.Message) bool

func (f filter) Match(src, dst *bus.Conn, m *bus.Message) bool { return f(src, dst, m) }

func (f filter) Needs() bus.Parts { return 0 }

var all = filter(func(_, _ *bus.Conn, _ *bus.Message) bool { return true })

// monitor adds a monitor to the bus.
func (b *testBus) monitor(change ...func(*bus.ConnConfig)) *peer {
	b.tb.Helper()
	p := b.connect(change...)
	p.monitor(all)
	return p
}

func (p *peer) monitor(f bus.Filter) {
	p.bus.tb.Helper()
	if err := p.BecomeMonitor(f); err != nil {
		p.bus.tb.Fatalf("BecomeMonitor: %v", err)
	}
	p.Flush()
}

// expectError checks that err is an *Error with this number, or nil if that is 0.
func expectError(t testing.TB, err error, want syscall.Errno) {
	t.Helper()
	var e *bus.Error
	switch {
	case want == 0 && err == nil:
	case !errors.As(err, &e):
		t.Errorf("got %v, want %v", err, want)
	case e.Errno != want:
		t.Errorf("got %v (%v), want %v", e.Errno, e, want)
	case e.Detail == "":
		t.Errorf("%v says nothing", e.Errno)
	}
}
