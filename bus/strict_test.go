package bus_test

import (
	"cmp"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// newStrictBus makes a bus of user 50 with kdbus's rules.
func newStrictBus(t tb, policy bus.Policy) *testBus {
	subscriptions := &index{}
	return &testBus{tb: t, index: subscriptions, limits: roomy, Bus: bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{
		Name: "50-test", Strict: true, Policy: policy, Indexes: []bus.Index{subscriptions},
		Creator: &meta.Data{Has: meta.KindCreds, Creds: meta.IDs{EUID: 50}},
	})}
}

// kdbus.policy(7), "Implicit policies", on default endpoints: what holds if no entry says otherwise. The name is owned by user 7.
func TestImplicitRulesOfStrictBuses(t *testing.T) {
	const see, talk, own = bus.AccessSee, bus.AccessTalk, bus.AccessOwn
	for _, test := range []struct {
		name    string
		entries []bus.NamePolicy
		who     []func(*bus.ConnConfig)
		want    bus.AccessLevel
	}{
		{"all names are seen", nil, nil, see},
		{"root is privileged", nil, []func(*bus.ConnConfig){ofUser(0)}, own},
		{"so is who made the bus", nil, []func(*bus.ConnConfig){ofUser(50)}, own},
		{"connections of the same user may talk", nil, []func(*bus.ConnConfig){ofUser(7)}, talk},
		{"unless they are nobody's", nil, []func(*bus.ConnConfig){ofUser(7), anonymous}, see},
		{"an entry permits", []bus.NamePolicy{permit(example, user(1000, talk))}, nil, talk},
		{"an entry of another name does not", []bus.NamePolicy{permit("com.example.B", world(own))}, nil, see},
		{"an entry permits to own", []bus.NamePolicy{permit("com.example.*", world(own))}, nil, own},
		{"an entry hides", []bus.NamePolicy{permit(example, user(8, see))}, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newStrictBus(t, nil)
			holder := b.connect(holding(permit(example, user(7, own))))
			service := b.connect(ofUser(7))
			service.mustAcquire(example, 0)
			expectError(t, holder.UpdatePolicies(test.entries), 0)
			p := b.connect(test.who...)

			errno := func(needed bus.AccessLevel, otherwise syscall.Errno) syscall.Errno {
				if test.want >= needed {
					return 0
				}
				return otherwise
			}
			unknown := errno(see, bus.ErrNoSuchName)
			expectError(t, p.post(toName(example, "x")), cmp.Or(unknown, errno(talk, bus.ErrDenied)))
			expectError(t, p.post(to(service.ID(), "x")), errno(talk, bus.ErrDenied))
			p.subscribe(ordinary)
			service.mustPost(to(bus.Broadcast, "x"))
			if heard := len(p.take()); heard != 0 != (test.want >= talk) {
				t.Errorf("heard %d broadcasts", heard)
			}
			if p.Sees(example) != (test.want >= see) {
				t.Errorf("seen: %v", p.Sees(example))
			}
			_, err := p.AcquireName(example, 0)
			expectError(t, err, errno(own, bus.ErrDenied))
		})
	}
}

// Who has no name is talked to by the privileged and connections of the same user, and answered by whom it calls.
func TestNamelessOnStrictBuses(t *testing.T) {
	b := newStrictBus(t, nil)
	nameless, sibling, stranger, root := b.connect(ofUser(7)), b.connect(ofUser(7)), b.connect(ofUser(8)), b.connect(ofUser(0))
	expectError(t, stranger.post(call(nameless.ID(), 1)), bus.ErrDenied)
	expectError(t, sibling.post(call(nameless.ID(), 1)), 0)
	expectError(t, root.post(call(nameless.ID(), 1)), 0)
	expectError(t, nameless.post(reply(root.ID(), 1)), 0)
	expectError(t, nameless.post(to(root.ID(), "x")), bus.ErrDenied)
	nameless.subscribe(ordinary)
	nameless.forget()
	root.mustPost(to(bus.Broadcast, "x"))
	sibling.mustPost(to(bus.Broadcast, "x"))
	nameless.expect("2: x")
}

// A service tells a client something that has no name and that it could not call, but the client could call the service.
func TestSignalsToOneOnStrictBuses(t *testing.T) {
	b := newStrictBus(t, nil)
	b.connect(holding(permit(example, user(7, bus.AccessOwn), user(8, bus.AccessTalk), world(bus.AccessSee))))
	b.connect(holding(permit("com.example.Secret")))
	service, client, stranger := b.connect(ofUser(7)), b.connect(ofUser(8), native), b.connect(ofUser(9), native)
	service.mustAcquire(example, 0)
	b.connect(ofUser(0)).mustAcquire("com.example.Secret", 0)
	for _, c := range []*peer{client, stranger} {
		if err := c.AddMatch(bus.Match{}, false); err != nil {
			t.Fatal(err)
		}
		expectError(t, service.post(to(c.ID(), "x")), bus.ErrDenied)
		expectError(t, service.post(signal(c.ID(), "x")), 0)
	}
	client.expect("3: x")
	stranger.expect()
	expectError(t, stranger.post(signal(client.ID(), "x")), 0)
	client.expect()
	secret := signal(bus.ToName, "x")
	secret.DstName = "com.example.Secret"
	expectError(t, stranger.post(secret), bus.ErrNoSuchName)
}

// The policy of the bus adds to kdbus's rules, with and without Strict: what the one denies the other cannot permit.
func TestPolicyOfTheBusAndEntries(t *testing.T) {
	const talk, own = bus.AccessTalk, bus.AccessOwn
	for _, test := range []struct {
		name         string
		strict       bool
		entries      []bus.NamePolicy
		deny         string // by the policy
		owns, writes syscall.Errno
	}{
		{"nothing is said", false, nil, "", 0, 0},
		{"nothing is said, strict", true, nil, "", bus.ErrDenied, bus.ErrDenied},
		{"only the policy speaks, of owning", false, nil, "own 3 " + example, bus.ErrDenied, 0},
		{"only the policy speaks, of sending", false, nil, "send 3 x", 0, bus.ErrDenied},
		{"entries permit", true, []bus.NamePolicy{permit(example, world(own))}, "", 0, 0},
		{"entries permit, the policy does not let own", true, []bus.NamePolicy{permit(example, world(own))}, "own 3 " + example, bus.ErrDenied, 0},
		{"entries permit, the policy does not let send", true, []bus.NamePolicy{permit(example, world(own))}, "send 3 x", 0, bus.ErrDenied},
		{"entries permit, the policy hides", true, []bus.NamePolicy{permit(example, world(own))}, "see 3 " + example, 0, bus.ErrNoSuchName},
		{"entries permit to talk only", false, []bus.NamePolicy{permit(example, world(talk))}, "", bus.ErrDenied, 0},
		{"entries hide", false, []bus.NamePolicy{permit(example)}, "", bus.ErrDenied, bus.ErrNoSuchName},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy := &rules{deny: map[string]bool{test.deny: true}}
			b := newBusWithPolicy(t, policy)
			if test.strict {
				b = newStrictBus(t, policy)
			}
			b.connect(holding(append(test.entries, permit("com.example.Mine", user(7, own)))...))
			service, p := b.connect(ofUser(7)), b.connect()
			if _, err := service.AcquireName(example, bus.AllowReplacement); err != nil {
				service = b.connect(ofUser(0))
				service.mustAcquire(example, bus.AllowReplacement)
			}
			expectError(t, p.post(toName(example, "x")), test.writes)
			_, err := p.AcquireName(example, bus.ReplaceExisting)
			expectError(t, err, test.owns)
		})
	}
}

// A name that may not be seen cannot be found by sending to it, whoever else owns it.
func TestSecretNameOfAnOpenConnection(t *testing.T) {
	b := newBus(t)
	b.connect(holding(permit(example)))
	service, p := b.connect(ofUser(0)), b.connect(native)
	service.mustAcquire(example, 0)
	service.mustAcquire("com.example.Open", 0)
	expectError(t, p.post(toName("com.example.Open", "x")), 0)
	expectError(t, p.post(to(service.ID(), "x")), 0)
	both := toName(example, "x")
	both.Dst = service.ID()
	for _, m := range []*bus.Message{toName(example, "x"), both, noAutoStart(toName(example, "x"))} {
		expectError(t, p.post(m), bus.ErrNoSuchName)
	}
	for cookie, name := range []string{example, "com.example.Open"} {
		if err := p.AddMatch(bus.Match{Cookie: uint64(cookie), Names: []string{name}}, false); err != nil {
			t.Fatal(err)
		}
		service.mustPost(to(bus.Broadcast, name))
	}
	p.expect("2: com.example.Open")
	m := toName(example, "reply 9")
	service.mustPost(call(p.ID(), 9))
	m.ReplyCookie = 9
	expectError(t, p.post(m), 0) // an answer is let through
}
