package bus_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
)

func TestList(t *testing.T) {
	policy := &rules{deny: map[string]bool{"see 2 com.example.Hidden": true, "see 2 :1.4": true}}
	b := newBusWithPolicy(t, policy)
	p, q := b.connect(native), b.connect(native, refuseFDs)
	b.connect(native, activator("com.example.Activated"))
	b.connect(native) // hidden from q
	b.monitor()
	p.mustAcquire("com.example.A", bus.AllowReplacement)
	p.mustAcquire("com.example.Hidden", 0)
	q.mustAcquire("com.example.A", bus.DoNotQueue|bus.AllowReplacement) // comes to nothing
	q.mustAcquire("com.example.A", 0)
	q.mustAcquire("com.example.B", bus.DoNotQueue)

	const fds, act = bus.FlagAcceptFDs, bus.FlagActivator
	allow, queue := bus.AllowReplacement, bus.Queue
	a := bus.ListEntry{ID: 1, ConnFlags: fds, Name: "com.example.A", NameFlags: allow | queue | bus.Primary}
	hidden := bus.ListEntry{ID: 1, ConnFlags: fds, Name: "com.example.Hidden", NameFlags: queue | bus.Primary}
	waiting := bus.ListEntry{ID: 2, Name: "com.example.A", NameFlags: queue | bus.QueuedFor}
	own := bus.ListEntry{ID: 2, Name: "com.example.B", NameFlags: bus.Primary}
	activated := bus.ListEntry{ID: 3, ConnFlags: fds | act, Name: "com.example.Activated", NameFlags: bus.ActivatorName | bus.Primary}
	plain := func(id bus.ID, flags bus.ConnFlags) bus.ListEntry { return bus.ListEntry{ID: id, ConnFlags: flags} }
	tests := []struct {
		name  string
		asks  *peer
		flags bus.ListFlags
		want  []bus.ListEntry
	}{
		{"nothing", p, 0, nil},
		{"connections", p, bus.ListUnique, []bus.ListEntry{plain(1, fds), plain(2, 0), plain(3, fds|act), plain(4, fds)}},
		{"names", p, bus.ListNames, []bus.ListEntry{a, hidden, own}},
		{"names and connections", p, bus.ListNames | bus.ListUnique, []bus.ListEntry{a, hidden, own, plain(3, fds|act), plain(4, fds)}},
		{"who waits", p, bus.ListQueued, []bus.ListEntry{waiting}},
		{"activators", p, bus.ListActivators, []bus.ListEntry{activated}},
		{"all", p, bus.ListUnique | bus.ListNames | bus.ListActivators | bus.ListQueued,
			[]bus.ListEntry{a, hidden, waiting, own, activated, plain(4, fds)}},
		{"what one may not see", q, bus.ListUnique | bus.ListNames | bus.ListActivators | bus.ListQueued,
			[]bus.ListEntry{a, waiting, own, activated}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.asks.List(test.flags)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestInspect(t *testing.T) {
	policy := &rules{deny: map[string]bool{"see 2 com.example.Hidden": true, "see 2 :1.1": true}}
	b := newBusWithPolicy(t, policy)
	p, q := b.connect(), b.connect()
	p.mustAcquire("com.example.A", 0)
	p.mustAcquire("com.example.Hidden", 0)
	tests := []struct {
		asks *peer
		id   bus.ID
		name string
		want bus.ID
		err  syscall.Errno
	}{
		{p, 2, "", 2, 0},
		{p, 0, "com.example.A", 1, 0},
		{p, 1, "com.example.A", 1, 0},
		{p, 2, "com.example.A", 0, bus.ErrNoSuchName},
		{p, 0, "com.example.B", 0, bus.ErrNoSuchName},
		{p, 9, "", 0, bus.ErrNoSuchConn},
		{p, 0, "", 0, bus.ErrInvalid},
		{q, 1, "", 0, bus.ErrNoSuchConn},
		{q, 0, "com.example.Hidden", 0, bus.ErrNoSuchName},
		{q, 0, "com.example.A", 1, 0},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d asks for %d %q", test.asks.ID(), test.id, test.name), func(t *testing.T) {
			got, err := test.asks.Inspect(test.id, test.name)
			expectError(t, err, test.err)
			if err == nil && got.ID() != test.want {
				t.Errorf("got %s", got.UniqueName())
			}
		})
	}
}

func TestClaimName(t *testing.T) {
	b := newBus(t)
	limits := *roomy
	limits.MaxNames = 2
	p, q := b.connect(native), b.connect(native, limited(limits))
	const name = example
	replace, allow, queue := bus.ReplaceExisting, bus.AllowReplacement, bus.Queue
	primary, acquired, waiting := bus.Primary, bus.Acquired, bus.QueuedFor
	steps := []struct {
		what  string
		who   *peer
		name  string
		flags bus.NameFlags
		want  bus.NameFlags
		err   syscall.Errno
	}{
		{"free", p, name, 0, primary | acquired, 0},
		{"again, with other flags", p, name, allow | queue, allow | queue | primary, 0},
		{"of another", q, "com.example.Q", 0, primary | acquired, 0},
		{"taken, to wait for", q, name, queue, queue | waiting | acquired, 0},
		{"waited for already", q, name, queue | allow, queue | allow | waiting, 0},
		{"not to wait any more", q, name, allow, allow, 0},
		{"taken, not to wait for", q, name, 0, 0, bus.ErrExists},
		{"taken away", q, name, replace, primary | acquired, 0},
		{"the former owner waits", p, name, queue, queue | waiting, 0},
		{"that cannot be taken away", p, name, replace | queue, queue | waiting, 0},
		{"too many", q, "com.example.R", 0, 0, bus.ErrTooManyNames},
		{"one of too many", q, name, allow, allow | primary, 0},
		{"flags that only the bus gives are ignored", q, name, primary | waiting | bus.ActivatorName | bus.DoNotQueue, primary, 0},
	}
	for _, step := range steps {
		t.Run(step.what, func(t *testing.T) {
			got, err := step.who.ClaimName(step.name, step.flags)
			step.who.Flush()
			expectError(t, err, step.err)
			if got != step.want {
				t.Errorf("got %b, want %b", got, step.want)
			}
		})
	}
}

// kdbus.name(7): "the first one in the queue (the oldest entry) will become the new owner". Only D-Bus lets who could not
// replace an owner go first.
func TestWhoClaimsToReplaceWaitsLikeOthers(t *testing.T) {
	b := newBus(t)
	owner, first, second := b.connect(native), b.connect(native), b.connect(native)
	for _, p := range []*peer{owner, first, second} {
		for range 2 {
			if _, err := p.ClaimName(example, bus.ReplaceExisting|bus.Queue); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff([]bus.ID{owner.ID(), first.ID(), second.ID()}, owner.ListOwners(example)); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

// kdbus tells more of owners and connections than who they are.
func TestNotificationsTellFlags(t *testing.T) {
	b := newBus(t)
	p, q := b.connect(), b.connect(native, refuseFDs)
	p.subscribe(notifications)
	p.sleep()
	steps := []struct {
		name     string
		do       func()
		old, new uint64
	}{
		{"a name is taken", func() { q.mustAcquire(example, bus.AllowReplacement|bus.DoNotQueue) }, 0, uint64(bus.AllowReplacement | bus.Primary)},
		{"and taken away", func() { p.mustAcquire(example, bus.ReplaceExisting) }, uint64(bus.AllowReplacement | bus.Primary), uint64(bus.Queue | bus.Primary)},
		{"and lost", func() { expectError(t, p.ReleaseName(example), 0); p.Flush() }, uint64(bus.Queue | bus.Primary), 0},
		{"a connection leaves", func() { q.leave() }, 0, 0},
		{"another one comes", func() { b.connect() }, 0, uint64(bus.FlagAcceptFDs)},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.do()
			m := p.next()
			if n := m.Notification; n.OldFlags != step.old || n.NewFlags != step.new {
				t.Errorf("%s: flags %b and %b, want %b and %b", describe(m), n.OldFlags, n.NewFlags, step.old, step.new)
			}
			p.Delivered([]*bus.Message{m})
		})
	}
}

func TestCancelCall(t *testing.T) {
	b := newBus(t)
	p, q, r := b.connect(), b.connect(), b.connect()
	p.mustPost(call(q.ID(), 1))
	p.mustPost(call(q.ID(), 2))
	p.mustPost(call(r.ID(), 1))
	if p.CancelCall(3) || !p.CancelCall(1) || p.CancelCall(1) {
		t.Error("CancelCall does not tell whether there was a call")
	}
	expectError(t, q.post(reply(p.ID(), 1)), bus.ErrUnrequested)
	expectError(t, r.post(reply(p.ID(), 1)), bus.ErrUnrequested)
	q.mustPost(reply(p.ID(), 2))
	q.leave()
	p.expect("2: reply 2")
	p.mustPost(call(r.ID(), 1)) // its number is free again
}

func TestNameAndIDOfTheReceiverHaveToAgree(t *testing.T) {
	policy := &rules{deny: map[string]bool{"see 2 " + example: true}}
	b := newBusWithPolicy(t, policy)
	p, q := b.connect(), b.connect()
	p.mustAcquire(example, 0)
	send := func(from *peer, id bus.ID) error {
		m := toName(example, "x")
		m.Dst = id
		return from.post(m)
	}
	expectError(t, send(p, p.ID()), 0)
	p.expect("1: x")
	expectError(t, send(p, q.ID()), bus.ErrMoved)
	expectError(t, send(q, q.ID()), bus.ErrNoSuchName)
}
