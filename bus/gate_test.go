package bus_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// through adds a custom endpoint that user 1000 makes.
func (b *testBus) through(policies ...bus.NamePolicy) *bus.Endpoint {
	b.tb.Helper()
	e, err := b.NewEndpoint(bus.EndpointConfig{Name: "1000-test", UID: 1000, Policies: policies})
	if err != nil {
		b.tb.Fatalf("NewEndpoint: %v", err)
	}
	return e
}

// connectBy is connect through a custom endpoint.
func (b *testBus) connectBy(e *bus.Endpoint, change ...func(*bus.ConnConfig)) *peer {
	b.tb.Helper()
	b.door = e
	defer func() { b.door = nil }()
	return b.connect(change...)
}

func below(name string, access ...bus.Access) bus.NamePolicy {
	return bus.NamePolicy{Name: name, Subtree: true, Access: access}
}

// The name is owned by a connection of user 7; somebody who came by the endpoint, of user 1000 if nothing else is
// said, tries everything.
func TestCustomEndpointDecidesAboutNames(t *testing.T) {
	const see, talk, own = bus.AccessSee, bus.AccessTalk, bus.AccessOwn
	tests := []struct {
		name     string
		policies []bus.NamePolicy
		who      []func(*bus.ConnConfig)
		want     bus.AccessLevel
	}{
		{"nothing by default", nil, nil, 0},
		{"nothing for root", nil, []func(*bus.ConnConfig){ofUser(0)}, 0},
		{"nothing for the owner of the bus", nil, []func(*bus.ConnConfig){ofUser(50)}, 0},
		{"nothing for the same user", nil, []func(*bus.ConnConfig){ofUser(7)}, 0},
		{"nothing for other names", []bus.NamePolicy{permit("com.example", world(own)), permit(example+".A", world(own))}, nil, 0},
		{"see", []bus.NamePolicy{permit(example, world(see))}, nil, see},
		{"talk", []bus.NamePolicy{permit(example, user(1000, talk))}, nil, talk},
		{"talk, root is just another user", []bus.NamePolicy{permit(example, user(1000, talk))}, []func(*bus.ConnConfig){ofUser(0)}, 0},
		{"own", []bus.NamePolicy{permit(example, group(5, own))}, []func(*bus.ConnConfig){inGroups(4, 5)}, own},
		{"own, another group", []bus.NamePolicy{permit(example, group(5, own))}, []func(*bus.ConnConfig){inGroups(4)}, 0},
		{"anonymous", []bus.NamePolicy{permit(example, user(1000, own), world(see))}, []func(*bus.ConnConfig){anonymous}, see},
		{"those of one name add up", []bus.NamePolicy{permit(example, user(1000, talk)), permit(example, world(see))}, nil, talk},
		{"one more level", []bus.NamePolicy{permit("com.example.*", world(talk))}, nil, talk},
		{"not two more levels", []bus.NamePolicy{permit("com.*", world(talk))}, nil, 0},
		{"the name before one more level", []bus.NamePolicy{permit("com.example.*", world(own)), permit(example, world(see))}, nil, see},
		{"subtree: the name itself", []bus.NamePolicy{below(example, world(talk))}, nil, talk},
		{"subtree: two levels", []bus.NamePolicy{below("com", world(talk))}, nil, talk},
		{"subtree: not what begins alike", []bus.NamePolicy{below("com.example.Na", world(talk))}, nil, 0},
		{"subtree: one more level before it", []bus.NamePolicy{below(example, world(own)), permit("com.example.*", world(see))}, nil, see},
		{"subtree: the longest", []bus.NamePolicy{below("com", world(own)), below("com.example", world(see))}, nil, see},
		{"subtree: those of one add up", []bus.NamePolicy{below("com", world(see)), below("com", user(1000, talk))}, nil, talk},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			subscriptions := &index{}
			creator := &meta.Data{Has: meta.KindCreds, Creds: meta.IDs{EUID: 50}}
			b := &testBus{tb: t, index: subscriptions, limits: roomy, Bus: bus.NewDomain(bus.DomainConfig{}).NewBus(
				bus.Config{Name: "0-test", Creator: creator, Indexes: []bus.Index{subscriptions}})}
			service := b.connect(ofUser(7))
			service.mustAcquire(example, bus.AllowReplacement)
			p := b.connectBy(b.through(test.policies...), test.who...)
			tryEverything(t, service, p, test.want)
		})
	}
}

// tryEverything lets p try what it may do with the name example, of which service is the owner.
func tryEverything(t *testing.T, service, p *peer, may bus.AccessLevel) {
	t.Helper()
	errnos := func(unknown syscall.Errno) syscall.Errno {
		switch {
		case may < bus.AccessSee:
			return unknown
		case may < bus.AccessTalk:
			return bus.ErrDenied
		}
		return 0
	}
	for _, m := range []*bus.Message{toName(example, "by name"), noAutoStart(toName(example, "by name"))} {
		expectError(t, p.post(m), errnos(bus.ErrNoSuchName))
	}
	expectError(t, p.post(to(service.ID(), "by id")), errnos(bus.ErrNoSuchConn))
	expectError(t, p.post(signal(service.ID(), "signal")), errnos(bus.ErrNoSuchConn))
	both := toName(example, "by both")
	both.Dst = service.ID() + 100
	want := errnos(bus.ErrNoSuchName)
	if may >= bus.AccessSee {
		want = bus.ErrMoved
	}
	expectError(t, p.post(both), want)
	expectError(t, p.post(reply(service.ID(), 7)), max(errnos(bus.ErrNoSuchConn), map[bool]syscall.Errno{true: bus.ErrUnrequested}[may >= bus.AccessTalk]))
	if got := len(service.take()); got != 0 != (may >= bus.AccessTalk) {
		t.Errorf("the owner got %d messages", got)
	}

	p.subscribe(everything)
	service.mustPost(to(bus.Broadcast, "to all"))
	service.mustPost(signal(p.ID(), "to one"))
	if got := len(p.take()); got != 0 != (may >= bus.AccessTalk) {
		t.Errorf("%d signals received", got)
	}

	names, ids := p.ListNames()
	_, byName := p.Inspect(0, example)
	_, byID := p.Inspect(service.ID(), "")
	for what, seen := range map[string]bool{
		"ListNames":  slices.Contains(names, example),
		"ids":        slices.Contains(ids, service.ID()),
		"List":       slices.ContainsFunc(p.List(bus.ListNames), func(e bus.ListEntry) bool { return e.Name == example }),
		"List ids":   slices.ContainsFunc(p.List(bus.ListUnique), func(e bus.ListEntry) bool { return e.ID == service.ID() }),
		"Lookup":     p.Lookup(example) != nil,
		"LookupID":   p.LookupID(service.ID()) != nil,
		"Inspect":    byName == nil,
		"Inspect id": byID == nil,
		"ListOwners": p.ListOwners(example) != nil,
		"Sees":       p.Sees(example),
		"Sees id":    p.Sees(service.UniqueName()),
	} {
		if seen != (may >= bus.AccessSee) {
			t.Errorf("%s: %v", what, seen)
		}
	}
	if !slices.Contains(ids, p.ID()) || !p.Sees(p.UniqueName()) || p.LookupID(p.ID()) == nil {
		t.Error("it does not see itself")
	}
	for _, err := range []error{p.ReleaseName(example)} {
		expectError(t, err, map[bool]syscall.Errno{false: bus.ErrNoSuchName, true: bus.ErrNotOwner}[may >= bus.AccessSee])
	}
	_, err := p.ClaimName(example, bus.ReplaceExisting)
	p.Flush()
	if may == bus.AccessOwn {
		expectError(t, err, 0)
		return
	}
	expectError(t, err, bus.ErrDenied)
	service.leave()
	var heard []string
	if may >= bus.AccessSee {
		heard = []string{"NameChanged " + example + " 1>0", "IDRemoved 1"}
	}
	p.expect(heard...)
	expectError(t, p.post(toName(example, "by name")), bus.ErrNoSuchName)
}

func TestBothEndpointAndBusMustAllow(t *testing.T) {
	policy := &rules{deny: map[string]bool{"own 2 " + example: true, "send 2 x": true, "see 2 com.example.Hidden": true}}
	b := newBusWithPolicy(t, policy)
	service := b.connect()
	p := b.connectBy(b.through(permit("com.example.*", world(bus.AccessOwn))))
	service.mustAcquire(example, 0)
	service.mustAcquire("com.example.Hidden", 0)
	_, err := p.AcquireName(example, 0)
	expectError(t, err, bus.ErrDenied)
	expectError(t, p.post(toName(example, "x")), bus.ErrDenied)
	expectError(t, p.post(toName(example, "y")), 0)
	expectError(t, p.post(toName("com.example.Hidden", "y")), bus.ErrNoSuchName)
}

// A call that went through may be answered, in both directions, and nothing else may be sent back.
func TestAnswersGoThroughCustomEndpoints(t *testing.T) {
	b := newBus(t)
	service, outside := b.connect(), b.connect()
	service.mustAcquire(example, 0)
	p := b.connectBy(b.through(permit(example, world(bus.AccessTalk))))
	m := toName(example, "call")
	m.Flags, m.Cookie = bus.ExpectReply, 1
	p.mustPost(m)
	expectError(t, service.ReleaseName(example), 0) // so that p may not talk to it any more
	service.mustPost(reply(p.ID(), 1))
	p.expect("1: reply 1")

	expectError(t, p.post(to(outside.ID(), "x")), bus.ErrNoSuchConn)
	outside.mustPost(call(p.ID(), 2))
	p.expect("2: call 2")
	p.mustPost(reply(outside.ID(), 2))
	outside.expect("3: reply 2")
	expectError(t, p.post(reply(outside.ID(), 2)), bus.ErrDenied)
	expectError(t, p.post(to(outside.ID(), "x")), bus.ErrDenied)
}

// Whom it has met, by its names or by a message, it may follow.
func TestConnectionsThatHaveMet(t *testing.T) {
	b := newBus(t)
	service, caller, stranger := b.connect(), b.connect(), b.connect()
	service.mustAcquire(example, 0)
	p := b.connectBy(b.through(permit(example, world(bus.AccessSee))))
	p.subscribe(everything)
	knows := func(want ...*peer) {
		t.Helper()
		_, ids := p.ListNames()
		for _, other := range []*peer{service, caller, stranger} {
			if got := slices.Contains(ids, other.ID()); got != slices.Contains(want, other) {
				t.Errorf("%d is known: %v", other.ID(), got)
			}
		}
	}
	knows(service)
	expectError(t, service.ReleaseName(example), 0)
	knows(service)
	caller.mustPost(to(p.ID(), "x"))
	stranger.mustPost(signal(p.ID(), "not to be had"))
	expectError(t, stranger.post(reply(p.ID(), 1)), bus.ErrUnrequested)
	knows(service, caller)
	service.Flush()
	p.expect("NameChanged "+example+" 1>0", "2: x")
	for _, other := range []*peer{service, caller, stranger} {
		other.leave()
	}
	p.expect("IDRemoved 1", "IDRemoved 2")
	knows()
}

// rule matches what consists of its text.
type rule string

func (r rule) Match(_, _ *bus.Conn, m *bus.Message) bool { return m.View == string(r) }
func (r rule) Needs() bus.Parts                          { return bus.PartView }

// viewed adds a View of itself to a message, when asked for it.
type viewed string

func (v viewed) Make(m *bus.Message, missing bus.Parts) {
	if missing&bus.PartView != 0 {
		m.View = string(v)
	}
}

func withView(m *bus.Message, view string) *bus.Message {
	m.Maker = viewed(view)
	return m
}

func TestRulesOfCustomEndpoints(t *testing.T) {
	b := newBus(t)
	service := b.connect()
	service.mustAcquire(example, 0)
	e := b.through(
		bus.NamePolicy{Name: example, Calls: []bus.Rule{rule("a"), rule("b")}, Broadcasts: []bus.Rule{rule("s")}},
		permit("com.example.Other", world(bus.AccessTalk)))
	p := b.connectBy(e)
	p.subscribe(ordinary)
	if !p.Sees(example) {
		t.Error("the name is not seen")
	}
	for text, want := range map[string]syscall.Errno{"a": 0, "b": 0, "c": bus.ErrDenied, "s": bus.ErrDenied} {
		expectError(t, p.post(withView(toName(example, text), text)), want)
		expectError(t, p.post(withView(to(service.ID(), text), text)), want)
	}
	expectError(t, p.post(withView(signal(service.ID(), "a"), "a")), bus.ErrDenied)
	for _, text := range []string{"a", "s", "c"} {
		service.mustPost(withView(to(bus.Broadcast, text), text))
		service.mustPost(withView(signal(p.ID(), text), text))
	}
	p.expect("1: s")
	service.mustAcquire("com.example.Other", 0)
	expectError(t, p.post(withView(toName(example, "c"), "c")), 0) // TALK to one name is TALK to all
	expectError(t, e.SetPolicies(nil), 0)
	expectError(t, p.post(withView(toName(example, "a"), "a")), bus.ErrNoSuchName)
}

func TestPoliciesOfEndpointsAreReplacedAtOnce(t *testing.T) {
	b := newBus(t)
	e := b.through(permit(example, world(bus.AccessOwn)))
	p, outside := b.connectBy(e), b.connect()
	p.mustAcquire(example, 0)
	for _, wrong := range [][]bus.NamePolicy{
		{permit("com.example.B", world(bus.AccessOwn+1))},
		{permit("com.example.B", bus.Access{Level: bus.AccessSee})},
		{below("com.example.*", world(bus.AccessSee))},
	} {
		expectError(t, e.SetPolicies(wrong), bus.ErrInvalid)
		_, err := b.NewEndpoint(bus.EndpointConfig{Name: "1000-wrong", Policies: wrong})
		expectError(t, err, bus.ErrInvalid)
	}
	expectError(t, p.post(toName(example, "to itself")), 0)
	mine := []bus.NamePolicy{permit("com.example.B", world(bus.AccessOwn))}
	expectError(t, e.SetPolicies(mine), 0)
	mine[0].Access[0].Level = bus.AccessSee // ours, not the endpoint's
	p.mustAcquire("com.example.B", 0)
	expectError(t, outside.post(toName(example, "still its name")), 0)
	_, err := p.AcquireName(example, 0)
	expectError(t, err, bus.ErrDenied)
	expectError(t, p.ReleaseName(example), 0)
	expectError(t, b.Endpoint().SetPolicies(nil), bus.ErrUnsupported)
	e.Close()
	expectError(t, e.SetPolicies(nil), bus.ErrShutDown)
}

func TestWhoMayNotComeByCustomEndpoints(t *testing.T) {
	b := newBus(t)
	e := b.through(permit("com.example.*", world(bus.AccessOwn)))
	for name, test := range map[string]struct {
		config bus.ConnConfig
		want   syscall.Errno
	}{
		"a monitor":        {bus.ConnConfig{Flags: bus.FlagMonitor}, bus.ErrUnsupported},
		"an activator":     {bus.ConnConfig{Flags: bus.FlagActivator, ActivatorName: example}, bus.ErrDenied},
		"a policy holder":  {bus.ConnConfig{Flags: bus.FlagPolicyHolder}, bus.ErrDenied},
		"somebody else":    {bus.ConnConfig{Fake: &meta.Data{}}, bus.ErrDenied},
		"two things":       {bus.ConnConfig{Flags: bus.FlagPolicyHolder | bus.FlagMonitor}, bus.ErrInvalid},
		"an ordinary peer": {bus.ConnConfig{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Receiver = &peer{bus: b}
			_, err := e.Connect(test.config)
			expectError(t, err, test.want)
		})
	}
	p := b.connectBy(e, ofUser(0))
	expectError(t, p.BecomeMonitor(bus.Everything), bus.ErrUnsupported)
	if p.Privileged() {
		t.Error("root is privileged on a custom endpoint")
	}
	if p.Endpoint() != e || !e.Custom() || e.Name() != "1000-test" || e.UID() != 1000 || e.Bus() != b.Bus {
		t.Error("the endpoint is another one")
	}
}

func TestNobodyListensInThroughCustomEndpoints(t *testing.T) {
	b := newBus(t)
	one, two := b.connect(), b.connect()
	one.mustAcquire(example, 0)
	two.mustAcquire("com.example.Two", 0)
	p := b.connectBy(b.through(below("com", world(bus.AccessOwn))))
	p.eavesdrop(ordinary)
	one.mustPost(to(two.ID(), "secret"))
	p.expect()
	one.mustPost(to(bus.Broadcast, "to all"))
	p.expect("1: to all")
}

func TestClosedEndpointDisconnectsWhoCameThrough(t *testing.T) {
	b := newBus(t)
	e := b.through(permit(example, world(bus.AccessOwn)))
	p, outside := b.connectBy(e), b.connect()
	b.door = e
	arriving := b.introduce()
	b.door = nil
	p.mustAcquire(example, 0)
	outside.subscribe(notifications)
	outside.mustPost(call(p.ID(), 1))
	other := b.connect()
	other.mustPost(to(p.ID(), "x"))
	_, err := b.NewEndpoint(bus.EndpointConfig{Name: "1000-test"})
	expectError(t, err, bus.ErrExists)
	outside.forget()
	for range 2 {
		e.Close()
	}
	outside.expect("NameChanged "+example+" 1>0", "IDRemoved 1", "ReplyDead 1 of 1")
	for _, gone := range []*peer{p, arriving} {
		if gone.hungUp != 1 {
			t.Errorf("told %d times", gone.hungUp)
		}
		expectError(t, gone.post(toName(example, "x")), bus.ErrDisconnected)
		gone.leave()
	}
	arriving.Hello()
	if _, ids := outside.ListNames(); len(ids) != 2 {
		t.Errorf("there are %v", ids)
	}
	_, err = e.Connect(bus.ConnConfig{Receiver: p})
	expectError(t, err, bus.ErrShutDown)
	b.through() // the name is free
	expectError(t, other.post(to(outside.ID(), "still there")), 0)
}

func TestNamesOfEndpoints(t *testing.T) {
	b := newBus(t)
	if e := b.Endpoint(); e != b.Endpoint() || e.Custom() || e.Name() != "bus" {
		t.Error("the default endpoint is not what it should be")
	}
	_, err := b.NewEndpoint(bus.EndpointConfig{Name: "bus"})
	expectError(t, err, bus.ErrExists)
	b.Endpoint().Close() // only with its bus
	b.connect()
}

// Who waits for a name is as unseen as others whose names are not.
func TestWaitersAreNotSeen(t *testing.T) {
	b := newBus(t)
	owner, waiter := b.connect(), b.connect()
	p := b.connectBy(b.through(permit(example, world(bus.AccessOwn))))
	owner.mustAcquire(example, 0)
	waiter.mustAcquire(example, 0)
	p.mustAcquire(example, 0)
	if got := p.ListOwners(example); !slices.Equal(got, []bus.ID{1, 3}) {
		t.Errorf("owners %v", got)
	}
	var listed []string
	for _, e := range p.List(15) {
		listed = append(listed, fmt.Sprint(e.ID, e.Name))
	}
	if got := strings.Join(listed, ", "); got != ":1.1com.example.Name, :1.3com.example.Name" {
		t.Errorf("listed: %s", got)
	}
}

func TestNamesInMetadataAreThoseThatTheReceiverSees(t *testing.T) {
	b := newBus(t)
	names := func(c *bus.ConnConfig) { c.Wants, c.AttachSend = bus.Parts(meta.KindNames), meta.AllKinds }
	service, monitor := b.connect(names), b.monitor(names)
	p, open := b.connectBy(b.through(permit(example, world(bus.AccessTalk))), names), b.connect(names)
	for _, s := range []string{example, "com.example.B", "com.example.C"} {
		service.mustAcquire(s, 0)
	}
	b.connect(holding(permit("com.example.B")))
	for _, receiver := range []*peer{p, open, monitor} {
		receiver.forget()
		receiver.sleep()
	}
	service.mustPost(nativeMessage(p.ID(), &maker{}))
	service.mustPost(nativeMessage(open.ID(), &maker{}))
	expect := func(receiver *peer, want string) {
		t.Helper()
		data, kinds := receiver.Attached(receiver.next())
		var got []string
		if kinds&meta.KindNames != 0 {
			for _, n := range data.Names {
				got = append(got, n.Name)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%d sees %q, want %q", receiver.ID(), s, want)
		}
	}
	expect(p, example)
	expect(open, example+" com.example.C")
	for range 2 {
		expect(monitor, example+" com.example.B com.example.C")
	}
	if got := service.InfoFor(p.Conn, meta.KindNames); len(got.Names) != 1 || got.Names[0].Name != example {
		t.Errorf("it is told of %v", got.Names)
	}
	stranger := b.connectBy(p.Endpoint())
	expectError(t, p.Endpoint().SetPolicies(nil), 0)
	if got := service.InfoFor(stranger.Conn, meta.KindNames); got.Has != 0 || got.Names != nil {
		t.Errorf("it is told of %v", got)
	}
}

// What waits for the owner of a name goes to one who came by a custom endpoint, too.
func TestActivatedThroughACustomEndpoint(t *testing.T) {
	b := newBus(t)
	b.connect(native, activator(example))
	client := b.connect()
	e := b.through(permit(example, world(bus.AccessOwn)))
	inside := b.connectBy(e)
	inside.mustPost(toName(example, "from inside"))
	client.mustPost(toName(example, "from outside"))
	expectError(t, inside.post(noAutoStart(toName(example, "x"))), bus.ErrInactive)
	service := b.connectBy(e)
	service.mustAcquire(example, 0)
	service.expect("3: from inside", "2: from outside")
	if !service.Sees(client.UniqueName()) {
		t.Error("who has sent is not known")
	}
	expectError(t, e.SetPolicies(nil), 0)
	expectError(t, inside.post(noAutoStart(toName(example, "x"))), bus.ErrNoSuchName)
}
