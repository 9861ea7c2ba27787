package bus_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

func activator(name string) func(*bus.ConnConfig) {
	return func(c *bus.ConnConfig) { c.Flags, c.ActivatorName = bus.FlagActivator, name }
}

// noAutoStart makes a message that must not start its receiver.
func noAutoStart(m *bus.Message) *bus.Message {
	m.Flags |= bus.NoAutoStart
	return m
}

func callName(name string, cookie uint64) *bus.Message {
	m := call(bus.ToName, cookie)
	m.DstName = name
	return m
}

func TestActivatorHoldsMessagesForTheOwnerToCome(t *testing.T) {
	b := newBus(t)
	client, service := b.connect(), b.connect()
	a := b.connect(native, activator(example))
	client.mustPost(toName(example, "one"))
	client.mustPost(callName(example, 7))
	urgent := toName(example, "urgent")
	urgent.Extra = &bus.Extra{Priority: -1}
	client.mustPost(urgent)
	fd, closed := pipe(t)
	carrying := toName(example, "carrying")
	carrying.FDs = []int{fd}
	a.sleep()
	client.mustPost(carrying)
	expectError(t, client.post(noAutoStart(toName(example, "x"))), bus.ErrInactive)
	const told = "MessagesHeld " + example
	a.expect(told, told, told)
	if s := a.QueueStats(); s.Held != 4 || s.Messages != 0 || s.FDs != 1 {
		t.Errorf("%+v", s)
	}
	a.wakeUp()
	a.expect(told)

	service.mustAcquire(example, 0)
	service.expect("1: urgent", "1: one", "1: call 7", "1: carrying")
	if !closed() {
		t.Error("the descriptor is still open")
	}
	if s := a.QueueStats(); s.Held != 0 || s.Bytes != 0 || s.FDs != 0 {
		t.Errorf("%+v", s)
	}
	service.mustPost(reply(client.ID(), 7))
	client.expect("2: reply 7")
	client.mustPost(noAutoStart(toName(example, "two")))
	service.expect("1: two")
}

func TestMessagesThatAnOwnerHasNotTakenReturnToTheActivator(t *testing.T) {
	b := newBus(t)
	client, first, second := b.connect(), b.connect(), b.connect()
	a := b.connect(native, activator(example))
	first.mustAcquire(example, 0)
	first.mustAcquire("com.example.Other", 0)
	client.mustPost(callName(example, 1))
	first.expect("1: call 1")
	first.sleep()
	client.mustPost(callName(example, 2))
	client.mustPost(toName("com.example.Other", "to another name"))
	client.mustPost(to(first.ID(), "to the id"))
	client.mustPost(toName(example, "by name"))
	first.leave()
	client.expect("ReplyDead 1 of 2")
	if s := a.QueueStats(); s.Held != 2 {
		t.Errorf("%+v", s)
	}
	client.mustPost(toName(example, "later"))
	second.mustAcquire(example, 0)
	second.expect("1: call 2", "1: by name", "1: later")
	second.mustPost(reply(client.ID(), 2))
	client.expect("3: reply 2")
}

func TestActivatorHasTheNameWhenNobodyElseHas(t *testing.T) {
	b := newBus(t)
	p, q := b.connect(tellOwn), b.connect()
	watching := b.connect(native)
	for _, kind := range []bus.ChangeKind{bus.NameAdd, bus.NameRemove, bus.NameChange} {
		watching.match(bus.Match{Changes: []bus.Change{{Kind: kind, Old: bus.AnyID, New: bus.AnyID}}})
	}
	p.forget()
	var a *peer
	inspect := func(t *testing.T, want *peer, wantDBus *peer) {
		t.Helper()
		var got *bus.Conn
		if c, err := p.Inspect(0, example); err == nil {
			got = c
		}
		if want == nil && got != nil || want != nil && got != want.Conn {
			t.Errorf("the owner is %v", name(got))
		}
		if got := p.Lookup(example); wantDBus == nil && got != nil || wantDBus != nil && got != wantDBus.Conn {
			t.Errorf("the owner, as D-Bus has it, is %v", name(got))
		}
		names, _ := p.ListNames()
		if slices.Contains(names, example) != (wantDBus != nil) {
			t.Errorf("names as D-Bus has them: %q", names)
		}
		if owners := p.ListOwners(example); (len(owners) > 0) != (wantDBus != nil) {
			t.Errorf("owners as D-Bus has them: %v", owners)
		}
	}
	steps := []struct {
		name string
		do   func()
		want string
		own  string
	}{
		{"an activator comes", func() { a = b.connect(native, activator(example)) }, "0>4", ""},
		{"somebody takes the name", func() { p.mustAcquire(example, 0) }, "4>1", "NameAcquired"},
		{"another one waits", func() { q.mustAcquire(example, 0) }, "", ""},
		{"it gives it back", func() { expectError(t, p.ReleaseName(example), 0); p.Flush() }, "1>2", "NameLost"},
		{"so does the next", func() { q.leave() }, "2>4", ""},
		{"the activator leaves", func() { a.leave() }, "4>0", ""},
		{"somebody takes the name", func() { p.mustAcquire(example, 0) }, "0>1", "NameAcquired"},
		{"an activator comes", func() { a = b.connect(native, activator(example)) }, "", ""},
		{"the activator leaves", func() { a.leave() }, "", ""},
	}
	owners := [][2]**peer{{&a, nil}, {&p, &p}, {&p, &p}, {&q, &q}, {&a, nil}, {nil, nil}, {&p, &p}, {&p, &p}, {&p, &p}}
	for i, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.do()
			var want []string
			if step.want != "" {
				want = append(want, "NameChanged com.example.Name "+step.want)
			}
			if diff := cmp.Diff(want, watching.take()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := strings.Join(p.take(), " "); !strings.HasPrefix(got, step.own) || step.own == "" && got != "" {
				t.Errorf("the owner was told %q", got)
			}
			get := func(p **peer) *peer {
				if p == nil {
					return nil
				}
				return *p
			}
			inspect(t, get(owners[i][0]), get(owners[i][1]))
		})
	}
}

func TestActivatorDoesNothingElse(t *testing.T) {
	b := newBus(t)
	p := b.connect()
	a := b.connect(native, activator(example))
	_, acquire := a.AcquireName("com.example.Other", 0)
	_, claim := a.ClaimName(example, bus.Queue)
	tests := []struct {
		name string
		err  error
		want syscall.Errno
	}{
		{"send", a.post(to(p.ID(), "x")), bus.ErrUnsupported},
		{"broadcast", a.post(to(bus.Broadcast, "x")), bus.ErrUnsupported},
		{"acquire", acquire, bus.ErrUnsupported},
		{"claim", claim, bus.ErrUnsupported},
		{"release", a.ReleaseName(example), bus.ErrUnsupported},
		{"match", a.AddMatch(bus.Match{}, false), bus.ErrUnsupported},
		{"be sent to by id", p.post(to(a.ID(), "x")), bus.ErrNoSuchConn},
		{"be sent a signal", p.post(func() *bus.Message { m := signal(bus.ToName, "x"); m.DstName = example; return m }()), 0},
		{"get answers", a.Deliver(&bus.Message{Answer: true, Payload: [][]byte{[]byte("answer")}}), 0},
	}
	a.Flush()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { expectError(t, test.err, test.want) })
	}
	a.expect("0: answer")
	if s := a.QueueStats(); s.Held != 0 {
		t.Errorf("%+v", s)
	}
}

func TestActivatorMayBeRefused(t *testing.T) {
	b := newBusWithPolicy(t, &rules{deny: map[string]bool{"own 2 " + example: true}})
	first, denied, second := b.introduce(native, activator(example)), b.introduce(native, activator(example)), b.introduce(native, activator(example))
	expectError(t, first.Hello(), 0)
	expectError(t, denied.Hello(), bus.ErrDenied)
	expectError(t, second.Hello(), bus.ErrExists)
	for _, p := range []*peer{denied, second} {
		p.leave()
	}
	if c, err := first.Inspect(0, example); err != nil || c != first.Conn {
		t.Errorf("%v, %v", c, err)
	}
	tests := []struct {
		name   string
		config bus.ConnConfig
		want   syscall.Errno
	}{
		{"without a name", bus.ConnConfig{Flags: bus.FlagActivator}, bus.ErrInvalid},
		{"a name without an activator", bus.ConnConfig{ActivatorName: example}, bus.ErrInvalid},
		{"activator and monitor", bus.ConnConfig{Flags: bus.FlagActivator | bus.FlagMonitor, ActivatorName: example}, bus.ErrInvalid},
		{"monitor and policy holder", bus.ConnConfig{Flags: bus.FlagPolicyHolder | bus.FlagMonitor}, bus.ErrInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.config.Receiver = &peer{bus: b}
			_, err := b.Endpoint().Connect(test.config)
			expectError(t, err, test.want)
		})
	}
}

func TestCallsThatAnActivatorHoldsEndWithIt(t *testing.T) {
	b := newBus(t)
	client := b.connect()
	a := b.connect(native, activator(example))
	client.mustPost(callName(example, 1))
	a.leave()
	client.expect("ReplyDead 1 of 2")
	expectError(t, client.post(callName(example, 2)), bus.ErrNoSuchName)
}

func TestCallsThatTheOwnerCannotTakeEnd(t *testing.T) {
	tests := []struct {
		name   string
		change func(*bus.ConnConfig)
		call   func() *bus.Message
	}{
		{"no space", limited(bus.Limits{Quota: bus.Quota{Bytes: 1, Fair: true}, MaxNames: 1}), func() *bus.Message { return callName(example, 1) }},
		{"no descriptors", refuseFDs, func() *bus.Message { return withFDs(callName(example, 1), 1) }},
		{"no payload of D-Bus 1", wanting(0), func() *bus.Message {
			m := nativeMessage(bus.ToName, &maker{})
			m.DstName, m.Flags, m.Cookie = example, bus.ExpectReply, 1
			return m
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			client, service := b.connect(), b.connect(test.change)
			b.connect(native, activator(example))
			client.mustPost(test.call())
			service.mustAcquire(example, 0)
			service.expect()
			client.expect("ReplyDead 1 of 3")
			if n := service.TakeDropped(); n != 1 {
				t.Errorf("%d lost, want 1", n)
			}
			if n := client.PendingCalls(); n != 0 {
				t.Errorf("%d calls wait", n)
			}
		})
	}
}

// Whatever owners come and go, every message to the name is taken by one of them, once; those of one client in the order sent.
func TestNoMessageToAnActivatedNameIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBus(t)
		client := b.connect()
		b.connect(native, activator(example))
		services := []*peer{b.connect(), b.connect(native)}
		for _, p := range services {
			p.sleep()
		}
		sent, taken := uint64(0), uint64(0)
		take := func(p *peer, space int) {
			batch := p.Dequeue(make([]*bus.Message, 0, space))
			for _, m := range batch {
				if taken++; m.Cookie != taken {
					t.Fatalf("got message %d, want %d", m.Cookie, taken)
				}
				if m.Flags&bus.ExpectReply != 0 {
					p.mustPost(reply(client.ID(), m.Cookie))
				}
			}
			p.Delivered(batch)
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				sent++
				m := toName(example, "x")
				m.Cookie = sent
				if rapid.Bool().Draw(t, "call") {
					m = callName(example, sent)
				}
				client.mustPost(m)
			},
			"acquire": func(t *rapid.T) {
				rapid.SampledFrom(services).Draw(t, "service").mustAcquire(example, bus.DoNotQueue)
			},
			"release": func(t *rapid.T) {
				p := rapid.SampledFrom(services).Draw(t, "service")
				p.ReleaseName(example)
				p.Flush()
			},
			"take": func(t *rapid.T) {
				take(rapid.SampledFrom(services).Draw(t, "service"), rapid.IntRange(1, 3).Draw(t, "space"))
			},
		})
		last := services[0]
		for _, p := range services {
			p.ReleaseName(example)
		}
		last.mustAcquire(example, 0)
		take(last, 1<<10)
		if taken != sent {
			t.Fatalf("%d of %d messages were taken", taken, sent)
		}
		if n := client.PendingCalls(); n != 0 {
			t.Fatalf("%d calls wait", n)
		}
	})
}

// What is known of the sender goes with a message that waits, and so does on whose account it is.
func TestMetadataAndAccountsMoveWithMessages(t *testing.T) {
	b := newBus(t)
	const kinds = meta.KindCreds | meta.KindNames | meta.KindDescription
	wants := func(c *bus.ConnConfig) {
		c.Wants, c.AttachSend, c.Description = bus.Parts(kinds), meta.AllKinds, "sender"
	}
	a := b.connect(wants, activator(example))
	one, two := b.connect(wants, ofUser(1)), b.connect(wants, ofUser(2))
	inside := b.connectBy(b.through(permit(example, world(bus.AccessTalk))), wants)
	one.mustAcquire("com.example.Sender", 0)
	send := func(p *peer) {
		m := nativeMessage(bus.ToName, &maker{can: bus.PartsMetadata, data: &meta.Data{Has: meta.KindCreds, Creds: meta.IDs{UID: p.UID()}}})
		m.DstName = example
		p.mustPost(m)
	}
	for _, p := range []*peer{one, two, inside, one} {
		send(p)
	}
	accounts := func(p *peer) string {
		var held []string
		for _, s := range p.QueueShares() {
			held = append(held, fmt.Sprintf("%v %d", s.Account, s.Messages))
		}
		slices.Sort(held)
		return strings.Join(held, ", ")
	}
	const all = "endpoint 1000-test 1, user 1 2, user 2 1"
	if got := accounts(a); got != all {
		t.Errorf("at the activator: %s", got)
	}
	first, second := b.connect(wants), b.connect(wants)
	first.sleep()
	second.sleep()
	first.mustAcquire(example, 0)
	if got := accounts(a) + accounts(first); got != all {
		t.Errorf("at the owner: %s", got)
	}
	first.leave()
	if got := accounts(a); got != all {
		t.Errorf("at the activator again: %s", got)
	}
	second.mustAcquire(example, 0)
	for i, want := range []string{"1 com.example.Sender", "2", "1000", "1 com.example.Sender"} {
		m := second.next()
		data, has := second.Attached(m)
		got := fmt.Sprint(data.Creds.UID)
		for _, n := range data.Names {
			got += " " + n.Name
		}
		if got != want || has&(meta.KindCreds|meta.KindDescription) != meta.KindCreds|meta.KindDescription || data.Description != "sender" {
			t.Errorf("message %d: %s, %s", i, got, has)
		}
		second.Delivered([]*bus.Message{m})
	}
	if got := accounts(second); got != "" {
		t.Errorf("still on accounts: %s", got)
	}
}

// Who asks to have a service started, as D-Bus has it, has the activator of the name told, and is answered when the name is taken.
func TestActivatorsStartWhatIsAwaited(t *testing.T) {
	b := newBus(t)
	a := b.connect(native, activator(example))
	client, late, service := b.connect(), b.connect(), b.connect()
	await := func(p *peer) {
		t.Helper()
		expectError(t, p.AwaitOwner(example, func(reason error) *bus.Message {
			return &bus.Message{Has: bus.PartDBus1, Payload: [][]byte{fmt.Appendf(nil, "await %v", reason)}}
		}), 0)
		p.Flush()
	}
	await(client)
	a.expect("MessagesHeld " + example)
	client.mustPost(toName(example, "x"))
	a.forget()
	service.mustAcquire(example, 0)
	client.expect("0: await <nil>")
	service.expect("2: x")
	expectError(t, client.AwaitOwner(example, nil), bus.ErrExists)
	service.ReleaseName(example)
	service.Flush()
	if n := a.QueueStats().Held; n != 0 {
		t.Errorf("%d are held still", n)
	}
	await(late)
	a.leave()
	late.expect("0: await nobody owns the name " + example)
}

// Starting the owner of a name is talking to it: kdbus.policy(7).
func TestStartingTheOwnerOfANameNeedsTALK(t *testing.T) {
	for _, level := range []bus.AccessLevel{bus.AccessSee, bus.AccessTalk} {
		for kind, service := range map[string]bus.Service{"an activator": nil, "a service": &aService{}} {
			b := newServiceBus(t, nil)
			b.connect(native, activator(example), func(c *bus.ConnConfig) {
				c.UID, c.Service, c.Policies = 0, service, []bus.NamePolicy{permit(example, world(level))}
			})
			want := bus.ErrDenied
			if level == bus.AccessTalk {
				want = 0
			}
			t.Log(kind, level)
			expectError(t, b.connect(ofUser(7)).AwaitOwner(example, func(error) *bus.Message { return nil }), want)
		}
	}
}
