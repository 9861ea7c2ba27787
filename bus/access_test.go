package bus_test

import (
	"slices"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// holding makes a connection a policy holder.
func holding(policies ...bus.NamePolicy) func(*bus.ConnConfig) {
	return func(c *bus.ConnConfig) { c.UID, c.Flags, c.Policies = 0, bus.FlagPolicyHolder, policies }
}

func permit(name string, access ...bus.Access) bus.NamePolicy {
	return bus.NamePolicy{Name: name, Access: access}
}

func user(uid uint32, level bus.AccessLevel) bus.Access {
	return bus.Access{Kind: bus.AccessUser, ID: uid, Level: level}
}

func group(gid uint32, level bus.AccessLevel) bus.Access {
	return bus.Access{Kind: bus.AccessGroup, ID: gid, Level: level}
}

func world(level bus.AccessLevel) bus.Access {
	return bus.Access{Kind: bus.AccessWorld, Level: level}
}

func inGroups(groups ...uint32) func(*bus.ConnConfig) {
	return func(c *bus.ConnConfig) { c.Groups = func() []uint32 { return groups } }
}

func anonymous(c *bus.ConnConfig) { c.Anonymous = true }

// The name is owned by a connection of user 7; somebody of user 1000, if nothing else is said, tries everything.
func TestEntriesProtectTheirName(t *testing.T) {
	const see, talk, own = bus.AccessSee, bus.AccessTalk, bus.AccessOwn
	type change = func(*bus.ConnConfig)
	tests := []struct {
		name     string
		policies []bus.NamePolicy
		who      []change
		want     bus.AccessLevel // what is possible
	}{
		{"none", nil, nil, own},
		{"for another name", []bus.NamePolicy{permit("com.example.Other")}, nil, own},
		{"that permit nothing", []bus.NamePolicy{permit(example)}, nil, 0},
		{"user, see", []bus.NamePolicy{permit(example, user(1000, see))}, nil, see},
		{"user, talk", []bus.NamePolicy{permit(example, user(1000, talk))}, nil, talk},
		{"user, own", []bus.NamePolicy{permit(example, user(1000, own))}, nil, own},
		{"other user", []bus.NamePolicy{permit(example, user(1001, own))}, nil, 0},
		{"group, see", []bus.NamePolicy{permit(example, group(5, see))}, []change{inGroups(4, 5)}, see},
		{"group, talk", []bus.NamePolicy{permit(example, group(5, talk))}, []change{inGroups(4, 5)}, talk},
		{"group, own", []bus.NamePolicy{permit(example, group(5, own))}, []change{inGroups(4, 5)}, own},
		{"other group", []bus.NamePolicy{permit(example, group(6, own))}, []change{inGroups(4, 5)}, 0},
		{"group with the number of the user", []bus.NamePolicy{permit(example, group(1000, own))}, nil, 0},
		{"world, see", []bus.NamePolicy{permit(example, world(see))}, nil, see},
		{"world, talk", []bus.NamePolicy{permit(example, world(talk))}, nil, talk},
		{"world, own", []bus.NamePolicy{permit(example, world(own))}, nil, own},
		{"the highest counts", []bus.NamePolicy{permit(example, world(see), user(1000, talk), group(5, see))}, []change{inGroups(5)}, talk},
		{"wildcard", []bus.NamePolicy{permit("com.example.*", world(talk))}, nil, talk},
		{"wildcard of more levels", []bus.NamePolicy{permit("com.*")}, nil, own},
		{"wildcard of the name itself", []bus.NamePolicy{permit(example + ".*")}, nil, own},
		{"its own before those of a wildcard", []bus.NamePolicy{permit("com.example.*", world(own)), permit(example, world(see))}, nil, see},
		{"privileged", []bus.NamePolicy{permit(example)}, []change{ofUser(0)}, own},
		{"creator of the bus", []bus.NamePolicy{permit(example)}, []change{ofUser(50)}, own},
		{"anonymous, as root", []bus.NamePolicy{permit(example, user(0, own))}, []change{ofUser(0), anonymous}, 0},
		{"anonymous, as a group", []bus.NamePolicy{permit(example, group(5, own))}, []change{inGroups(5), anonymous}, 0},
		{"anonymous, one of the world", []bus.NamePolicy{permit(example, world(talk))}, []change{anonymous}, talk},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			subscriptions := &index{}
			creator := &meta.Data{Has: meta.KindCreds, Creds: meta.IDs{EUID: 50}}
			b := &testBus{tb: t, index: subscriptions, limits: roomy, Bus: bus.NewDomain(bus.DomainConfig{}).NewBus(
				bus.Config{Name: "0-test", Creator: creator, Indexes: []bus.Index{subscriptions}})}
			service := b.connect(ofUser(7))
			service.mustAcquire(example, bus.AllowReplacement)
			b.connect(holding(test.policies...))
			p := b.connect(test.who...)

			wantSend := bus.ErrDenied
			if test.want == 0 {
				wantSend = bus.ErrNoSuchName
			}
			if test.want >= talk {
				wantSend = 0
			}
			expectError(t, p.post(toName(example, "by name")), wantSend)
			if wantSend == bus.ErrNoSuchName {
				wantSend = bus.ErrDenied // an id is no secret
			}
			expectError(t, p.post(to(service.ID(), "by id")), wantSend)
			expectError(t, p.post(signal(service.ID(), "signal")), wantSend)
			if got := len(service.take()); got != 0 != (test.want >= talk) {
				t.Errorf("the owner got %d messages", got)
			}

			p.subscribe(everything)
			service.mustPost(to(bus.Broadcast, "to all"))
			if got := len(p.take()); got != 0 != (test.want >= talk) {
				t.Errorf("%d broadcasts received", got)
			}
			service.mustPost(to(p.ID(), "to one")) // an unprotected connection is open
			p.expect("1: to one")

			names, ids := p.ListNames()
			for what, seen := range map[string]bool{
				"ListNames":  slices.Contains(names, example),
				"List":       slices.ContainsFunc(p.List(bus.ListNames), func(e bus.ListEntry) bool { return e.Name == example }),
				"Lookup":     p.Lookup(example) != nil,
				"ListOwners": p.ListOwners(example) != nil,
				"Sees":       p.Sees(example),
			} {
				if seen != (test.want >= see) {
					t.Errorf("%s: %v", what, seen)
				}
			}
			if !slices.Contains(ids, service.ID()) || p.LookupID(service.ID()) == nil {
				t.Error("the id of the owner is hidden")
			}

			_, err := p.ClaimName(example, bus.ReplaceExisting)
			p.Flush()
			if test.want == own {
				expectError(t, err, 0)
				return
			}
			expectError(t, err, bus.ErrDenied)
			service.leave()
			want := []string{"NameChanged " + example + " 1>0", "IDRemoved 1"}
			if test.want < see {
				want = want[1:]
			}
			p.expect(want...)
		})
	}
}

func TestConnectionsOfOneUserMayTalk(t *testing.T) {
	b := newBus(t)
	b.connect(holding(permit(example, user(7, bus.AccessOwn))))
	service, sibling, other := b.connect(ofUser(7)), b.connect(ofUser(7)), b.connect(ofUser(8))
	service.mustAcquire(example, 0)
	b.connect(holding(permit("com.example.Second")))
	expectError(t, sibling.post(toName(example, "x")), 0)
	service.expect("3: x")
	expectError(t, other.post(to(service.ID(), "x")), bus.ErrDenied)
	nobody := b.connect(ofUser(7), anonymous)
	expectError(t, nobody.post(to(service.ID(), "x")), bus.ErrDenied)
}

func TestTalkToOneNameIsTalkToAll(t *testing.T) {
	b := newBus(t)
	service, p := b.connect(ofUser(7)), b.connect()
	service.mustAcquire(example, 0)
	holder := b.connect(holding(permit(example)))
	expectError(t, p.post(to(service.ID(), "x")), bus.ErrDenied)
	service.mustAcquire("com.example.Open", 0)
	expectError(t, p.post(to(service.ID(), "x")), 0)
	protect := func(level bus.AccessLevel) {
		t.Helper()
		expectError(t, holder.UpdatePolicies([]bus.NamePolicy{permit(example), permit("com.example.Open", world(level))}), 0)
	}
	protect(bus.AccessSee)
	expectError(t, p.post(to(service.ID(), "x")), bus.ErrDenied)
	protect(bus.AccessTalk)
	expectError(t, p.post(to(service.ID(), "x")), 0)
	service.expect("2: x", "2: x")
}

func TestRepliesNeedNoEntry(t *testing.T) {
	b := newBus(t)
	service, p := b.connect(ofUser(7)), b.connect()
	service.mustAcquire(example, 0)
	b.connect(holding(permit(example)))
	service.mustPost(call(p.ID(), 1))
	expectError(t, p.post(reply(service.ID(), 1)), 0)
	service.expect("2: reply 1")
	expectError(t, p.post(reply(service.ID(), 1)), bus.ErrDenied)
}

func TestProtectedUnicastsAreNotOverheard(t *testing.T) {
	b := newBus(t)
	service, client, listener := b.connect(ofUser(7)), b.connect(ofUser(8)), b.connect()
	service.mustAcquire(example, 0)
	listener.eavesdrop(ordinary)
	client.mustPost(toName(example, "open"))
	listener.expect("2: open")
	holder := b.connect(holding(permit(example, user(8, bus.AccessTalk))))
	client.mustPost(toName(example, "by name"))
	client.mustPost(to(service.ID(), "by id"))
	service.mustPost(to(client.ID(), "back"))
	listener.expect()
	service.expect("2: open", "2: by name", "2: by id")
	holder.leave()
	client.mustPost(to(service.ID(), "open again"))
	listener.expect("2: open again")
}

func TestEntriesVanishWithTheirHolder(t *testing.T) {
	for name, change := range map[string]func(*bus.ConnConfig){
		"policy holder": holding(permit(example), permit("org.example.*")),
		"activator": func(c *bus.ConnConfig) {
			activator("com.example.Activated")(c)
			c.UID, c.Policies = 0, []bus.NamePolicy{permit(example), permit("org.example.*")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t)
			p := b.connect()
			holder := b.introduce(change)
			p.mustAcquire(example, 0) // nothing is held before Hello
			expectError(t, p.ReleaseName(example), 0)
			expectError(t, holder.Hello(), 0)
			for _, s := range []string{example, "org.example.A"} {
				_, err := p.AcquireName(s, 0)
				expectError(t, err, bus.ErrDenied)
			}
			holder.leave()
			p.mustAcquire(example, 0)
			p.mustAcquire("org.example.A", 0)
		})
	}
}

func TestActivatorProtectsItsName(t *testing.T) {
	b := newBus(t)
	a := b.connect(native, activator(example), func(c *bus.ConnConfig) {
		c.UID, c.Policies = 0, []bus.NamePolicy{permit(example, user(7, bus.AccessOwn), user(8, bus.AccessTalk))}
	})
	service, client, other := b.connect(ofUser(7)), b.connect(ofUser(8)), b.connect()
	expectError(t, other.post(toName(example, "x")), bus.ErrNoSuchName)
	m := toName(example, "x")
	m.Flags = bus.NoAutoStart
	expectError(t, other.post(m), bus.ErrNoSuchName)
	client.mustPost(toName(example, "x"))
	_, err := client.AcquireName(example, 0)
	expectError(t, err, bus.ErrDenied)
	service.mustAcquire(example, 0)
	service.expect("3: x")
	expectError(t, a.UpdatePolicies(nil), 0)
	expectError(t, other.post(toName(example, "y")), 0)
	service.expect("4: y")
}

func TestPoliciesAreReplacedAtOnce(t *testing.T) {
	b := newBus(t)
	b.connect(holding(permit("org.example.*")))
	holder, p := b.connect(holding(permit(example))), b.connect()
	denied := func(names ...string) {
		t.Helper()
		for _, s := range []string{example, "com.example.B", "com.example.C"} {
			_, err := p.AcquireName(s, 0)
			if slices.Contains(names, s) {
				expectError(t, err, bus.ErrDenied)
				continue
			}
			expectError(t, err, 0)
			expectError(t, p.ReleaseName(s), 0)
		}
	}
	denied(example)
	mine := []bus.NamePolicy{permit("com.example.B", world(bus.AccessSee))}
	expectError(t, holder.UpdatePolicies(mine), 0)
	mine[0].Access[0].Level = bus.AccessOwn // ours, not the bus's
	denied("com.example.B")
	for _, wrong := range []struct {
		name     string
		policies []bus.NamePolicy
		want     syscall.Errno
	}{
		{"of somebody else", []bus.NamePolicy{permit("com.example.C"), permit("org.example.*")}, bus.ErrExists},
		{"twice", []bus.NamePolicy{permit("com.example.C"), permit("com.example.C")}, bus.ErrInvalid},
		{"unknown kind", []bus.NamePolicy{permit("com.example.C", bus.Access{Level: bus.AccessSee})}, bus.ErrInvalid},
		{"unknown level", []bus.NamePolicy{permit("com.example.C", world(bus.AccessOwn+1))}, bus.ErrInvalid},
	} {
		t.Log(wrong.name)
		expectError(t, holder.UpdatePolicies(wrong.policies), wrong.want)
		denied("com.example.B")
	}
	expectError(t, holder.UpdatePolicies([]bus.NamePolicy{permit("org.example.A"), permit("com.example.B")}), 0)
	expectError(t, holder.UpdatePolicies(nil), 0)
	denied()
	holder.leave()
	expectError(t, holder.UpdatePolicies(nil), bus.ErrDisconnected)
	expectError(t, p.UpdatePolicies(nil), bus.ErrUnsupported)
}

func TestNameHasOnePolicy(t *testing.T) {
	b := newBus(t)
	first := b.connect(holding(permit(example), permit("com.example.*")))
	for _, s := range []string{example, "com.example.*"} {
		second := b.introduce(holding(permit("com.example.Free"), permit(s)))
		expectError(t, second.Hello(), bus.ErrExists)
		second.leave()
	}
	p := b.connect()
	_, err := p.AcquireName(example, 0)
	expectError(t, err, bus.ErrDenied)
	first.leave()
	p.mustAcquire(example, 0)
	expectError(t, b.introduce(holding(permit(example))).Hello(), 0)
}

func TestOnlyHoldersHavePolicies(t *testing.T) {
	b := newBus(t)
	for _, config := range []bus.ConnConfig{
		{Policies: []bus.NamePolicy{permit(example)}},
		{Flags: bus.FlagMonitor, Policies: []bus.NamePolicy{permit(example)}},
		{Flags: bus.FlagPolicyHolder, Policies: []bus.NamePolicy{permit(example), permit(example)}},
	} {
		config.Receiver = &peer{bus: b}
		_, err := b.Endpoint().Connect(config)
		expectError(t, err, bus.ErrInvalid)
	}
}

func TestPolicyHolderDoesNothingElse(t *testing.T) {
	b := newBus(t)
	holder, p := b.connect(native, holding()), b.connect()
	expectError(t, holder.post(to(p.ID(), "x")), bus.ErrUnsupported)
	expectError(t, p.post(to(holder.ID(), "x")), bus.ErrNoSuchConn)
	_, err := holder.AcquireName(example, 0)
	expectError(t, err, bus.ErrUnsupported)
}

// What entries allow, the policy of the bus can still deny.
func TestBothPoliciesMustAllow(t *testing.T) {
	policy := &rules{deny: map[string]bool{"own 1 " + example: true, "send 1 x": true, "send 1>3 y": true, "see 1 " + example: true}}
	b := newBusWithPolicy(t, policy)
	p := b.connect()
	b.connect(holding(permit(example, world(bus.AccessOwn))))
	service := b.connect(ofUser(7))
	service.mustAcquire(example, 0)
	_, err := p.AcquireName(example, 0)
	expectError(t, err, bus.ErrDenied)
	expectError(t, p.post(to(service.ID(), "x")), bus.ErrDenied)
	expectError(t, p.post(to(service.ID(), "y")), bus.ErrDenied)
	if p.Lookup(example) != nil {
		t.Error("seen")
	}
}
