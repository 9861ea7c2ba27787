package bus_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

// rules is a policy that writes down what it is asked and forbids what it finds in deny. Questions are written
//
//	own CONN NAME
//	send SRC TEXT           also asked is: send SRC>DST TEXT (requested)
//	overhear DST TEXT       also asked is: overhear SRC>DST TEXT
//	see CONN NAME
type rules struct {
	bus.AllowAll
	deny        map[string]bool
	unrequested bool

	mu    sync.Mutex
	asked []string
}

func (r *rules) ask(long string, short string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, long)
	if r.deny[long] || r.deny[short] {
		return &bus.Error{Errno: bus.ErrDenied, Detail: "the rules forbid to " + long}
	}
	return nil
}

func (r *rules) Own(c *bus.Conn, s string) error {
	q := fmt.Sprintf("own %s %s", name(c), s)
	return r.ask(q, q)
}

func (r *rules) Send(src, dst *bus.Conn, m *bus.Message, requested bool) error {
	return r.ask(fmt.Sprintf("send %s>%s %s%s", name(src), name(dst), text(m), mark(requested, " (requested)")),
		fmt.Sprintf("send %s %s", name(src), text(m)))
}

func (r *rules) Overhear(src, dst *bus.Conn, m *bus.Message) bool {
	return r.ask(fmt.Sprintf("overhear %s>%s %s", name(src), name(dst), text(m)),
		fmt.Sprintf("overhear %s %s", name(dst), text(m))) == nil
}

func (r *rules) Unrequested() bool { return r.unrequested }

func (r *rules) See(c *bus.Conn, s string) bool {
	q := fmt.Sprintf("see %s %s", name(c), s)
	return r.ask(q, q) == nil
}

func text(m *bus.Message) string {
	if m.Notification != nil {
		return describe(m)
	}
	return string(slices.Concat(m.Payload...))
}

func mark(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

// take returns what was asked since the last time.
func (r *rules) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.asked = nil }()
	return r.asked
}

func TestPolicyIsAsked(t *testing.T) {
	policy := &rules{}
	b := newBusWithPolicy(t, policy)
	p, q, listener := b.connect(tellOwn), b.connect(), b.connect()
	q.mustPost(call(p.ID(), 1))
	policy.take()
	listener.subscribe(everything)

	tests := []struct {
		name string
		do   func() error
		want []string
	}{
		{"for a unicast", func() error { return p.post(to(q.ID(), "x")) }, []string{"send 1>2 x"}},
		{"for each copy of a broadcast", func() error { return p.post(to(bus.Broadcast, "x")) }, []string{"overhear 1>3 x"}},
		{"for a reply", func() error { return p.post(reply(q.ID(), 1)) }, []string{"send 1>2 reply 1 (requested)"}},
		{"for a reply that nobody waits for",
			func() error { p.post(reply(q.ID(), 1)); return nil }, []string{"send 1>2 reply 1"}},
		{"for a message to the bus", func() error { return p.SendToBus(to(0, "x")) }, []string{"send 1>- x"}},
		{"for an answer of the bus", func() error { return p.Deliver(reply(0, 3)) }, []string{"send ->1 reply 3 (requested)"}},
		{"for a name", func() error { _, err := p.AcquireName(example, 0); return err },
			[]string{"own 1 com.example.Name", "see 3 com.example.Name", "overhear ->3 NameChanged com.example.Name 0>1",
				"send ->1 NameAcquired com.example.Name"}},
		{"for a connection", func() error { b.connect(); return nil }, []string{"see 3 :1.4", "overhear ->3 IDAdded 4"}},
		{"for a name looked up", func() error { p.Lookup(example); return nil }, []string{"see 1 com.example.Name"}},
		{"for the owners of a name", func() error { p.ListOwners(example); return nil }, []string{"see 1 com.example.Name"}},
		{"for an id looked up", func() error { p.LookupID(2); return nil }, []string{"see 1 :1.2"}},
		{"for eavesdropping", func() error { listener.eavesdrop(everything); return p.post(to(q.ID(), "x")) },
			[]string{"send 1>2 x", "overhear 1>3 x"}},
		{"for eavesdropping on messages to the bus", func() error { return p.SendToBus(to(0, "x")) },
			[]string{"send 1>- x", "overhear 1>3 x"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b.tb = t
			if err := test.do(); err != nil {
				t.Error(err)
			}
			if got := policy.take(); !slices.Equal(got, test.want) {
				t.Errorf("asked %q, want %q", got, test.want)
			}
		})
	}
}

func TestPolicyIsObeyed(t *testing.T) {
	policy := &rules{deny: map[string]bool{
		"own 1 com.example.Name": true, "send 1 secret": true, "overhear 2 unwelcome": true,
		"overhear 1>3 public": true, "send 2 reply 1": true,
	}}
	b := newBusWithPolicy(t, policy)
	p, q, listener := b.connect(), b.connect(), b.connect()
	q.subscribe(ordinary)
	listener.eavesdrop(ordinary)

	_, err := p.AcquireName(example, 0)
	expectError(t, err, bus.ErrDenied)
	if p.Lookup(example) != nil {
		t.Error("the name was given all the same")
	}
	expectError(t, p.post(to(q.ID(), "secret")), bus.ErrDenied)
	expectError(t, p.SendToBus(to(0, "secret")), bus.ErrDenied)
	q.expect()
	listener.expect()

	expectError(t, p.post(to(bus.Broadcast, "unwelcome")), 0) // who may not have it goes without
	q.expect()
	listener.expect("1: unwelcome")

	expectError(t, p.post(to(q.ID(), "public")), 0)
	q.expect("1: public")
	listener.expect()

	p.mustPost(call(q.ID(), 1))
	expectError(t, q.post(reply(p.ID(), 1)), bus.ErrDenied)
	p.expectPending(1)
	clear(policy.deny)
	expectError(t, q.post(reply(p.ID(), 1)), 0)
	p.expect("2: reply 1")
}

func TestRefusedCallIsNotWaitedFor(t *testing.T) {
	policy := &rules{deny: map[string]bool{"send 1 call 1": true}}
	b := newBusWithPolicy(t, policy)
	p, q := b.connect(), b.connect()
	expectError(t, p.post(call(q.ID(), 1)), bus.ErrDenied)
	p.expectPending(0)
	q.leave()
	p.expect()
}

func TestNameThatMayNotBeSeenCannotBeLearned(t *testing.T) {
	policy := &rules{deny: map[string]bool{"see 1 com.example.Name": true, "see 1 :1.3": true}}
	b := newBusWithPolicy(t, policy)
	blind, sighted := b.connect(), b.connect()
	blind.subscribe(everything)
	sighted.subscribe(everything)
	hidden := b.connect()
	hidden.mustAcquire(example, 0)
	hidden.mustAcquire("com.example.Public", 0)

	t.Run("by notifications", func(t *testing.T) {
		b.tb = t
		blind.expect("NameChanged com.example.Public 0>3")
		sighted.expect("IDAdded 3", "NameChanged com.example.Name 0>3", "NameChanged com.example.Public 0>3")
	})
	t.Run("by lists", func(t *testing.T) {
		names, ids := blind.ListNames()
		slices.Sort(ids)
		if !slices.Equal(names, []string{"com.example.Public"}) || !slices.Equal(ids, []bus.ID{1, 2}) {
			t.Errorf("%q, %d", names, ids)
		}
		names, ids = sighted.ListNames()
		if len(names) != 2 || len(ids) != 3 {
			t.Errorf("%q, %d", names, ids)
		}
	})
	t.Run("by looking up", func(t *testing.T) {
		if blind.Lookup(example) != nil || blind.LookupID(3) != nil || blind.ListOwners(example) != nil {
			t.Error("found")
		}
		if sighted.Lookup(example) != hidden.Conn || sighted.LookupID(3) != hidden.Conn || !slices.Equal(sighted.ListOwners(example), []bus.ID{3}) {
			t.Error("not found by one who may")
		}
	})
	t.Run("by releasing it", func(t *testing.T) {
		free := blind.ReleaseName("com.example.Free")
		expectError(t, free, bus.ErrNoSuchName)
		expectError(t, blind.ReleaseName(example), bus.ErrNoSuchName)
		expectError(t, sighted.ReleaseName(example), bus.ErrNotOwner)
	})
	t.Run("by its end", func(t *testing.T) {
		b.tb = t
		hidden.leave()
		blind.expect("NameChanged com.example.Public 3>0")
		sighted.expect("NameChanged com.example.Public 3>0", "NameChanged com.example.Name 3>0", "IDRemoved 3")
	})
}

func TestWhatIsNotSeenIsHeardOfByItsOwner(t *testing.T) {
	policy := &rules{deny: map[string]bool{"see 1 com.example.Name": true}}
	b := newBusWithPolicy(t, policy)
	p := b.connect(tellOwn)
	p.forget()
	p.mustAcquire(example, 0)
	p.expect("NameAcquired com.example.Name")
	expectError(t, p.ReleaseName(example), 0)
}
