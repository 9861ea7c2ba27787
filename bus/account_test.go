package bus_test

import (
	"errors"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// kdbus.endpoint(7): what comes by a custom endpoint is accounted to the endpoint, whoever sends it, and to nobody else.
func TestEndpointsHaveAccountsOfTheirOwn(t *testing.T) {
	b := newBus(t)
	receiver := b.connect(ofUser(3), limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 2, FDs: 1}, MaxNames: 1}))
	receiver.mustAcquire(example, 0)
	receiver.sleep()
	e := b.through(permit(example, world(bus.AccessTalk)))
	one, two, outside := b.connectBy(e, ofUser(1)), b.connectBy(e, ofUser(2)), b.connect(ofUser(1))
	one.mustPost(withFDs(toName(example, "x"), 1))
	expectError(t, two.post(withFDs(toName(example, "x"), 1)), bus.ErrTooManyFDs)
	two.mustPost(toName(example, "y"))
	for _, p := range []*peer{one, two} {
		err := p.post(toName(example, "z"))
		expectError(t, err, bus.ErrQueueFull)
		if err != nil && !strings.Contains(err.Error(), "endpoint 1000-test already has 2 messages") {
			t.Errorf("it says: %v", err)
		}
	}
	outside.mustPost(withFDs(toName(example, "z"), 1))

	endpoint := bus.Account{UID: 1000, Endpoint: "1000-test"}
	shares := make(map[bus.Account]int)
	for _, s := range receiver.QueueShares() {
		shares[s.Account] = s.Messages
	}
	if diff := gocmp.Diff(map[bus.Account]int{endpoint: 2, {UID: 1}: 1}, shares); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	if one.Account() != endpoint || outside.Account() != (bus.Account{UID: 1}) || one.UID() != 1 {
		t.Errorf("accounts %v and %v, user %d", one.Account(), outside.Account(), one.UID())
	}
	stats := b.UserStats()
	if got := stats[endpoint]; got.Conns != 2 || got.Messages != 2 || got.FDs != 1 {
		t.Errorf("the endpoint has %+v", got)
	}
	if got := stats[bus.Account{UID: 1}]; got.Conns != 1 || got.Messages != 1 {
		t.Errorf("user 1 has %+v", got)
	}
	if got := b.Excesses().ByAccount(); got[endpoint] != 3 || len(got) != 1 {
		t.Errorf("limits reached: %v", got)
	}
	e.Close()
	receiver.read()
	if got := receiver.QueueShares(); len(got) != 0 {
		t.Errorf("still accounted for: %v", got)
	}
}

func TestWhatIsLeftOfAClosedEndpoint(t *testing.T) {
	b := newBus(t)
	receiver := b.connect()
	receiver.mustAcquire(example, 0)
	receiver.sleep()
	e := b.through(permit(example, world(bus.AccessTalk)))
	b.connectBy(e).mustPost(toName(example, "x"))
	e.Close()
	b.connectBy(b.through(permit(example, world(bus.AccessTalk)))).mustPost(toName(example, "x"))
	var names []string
	for _, s := range receiver.QueueShares() {
		names = append(names, s.Account.String())
	}
	if got := strings.Join(names, ", "); got != "a closed endpoint, endpoint 1000-test" {
		t.Errorf("accounts: %s", got)
	}
	receiver.wakeUp()
	receiver.expect("2: x", "3: x")
}

func TestConnectionsOfEndpointsAreCountedApart(t *testing.T) {
	subscriptions := &index{}
	b := &testBus{tb: t, index: subscriptions, limits: roomy,
		Bus: bus.NewDomain(bus.DomainConfig{MaxConnsPerUser: 2}).NewBus(bus.Config{Indexes: []bus.Index{subscriptions}})}
	e := b.through()
	for _, door := range []*bus.Endpoint{nil, e} {
		peers := []*peer{b.connectBy(door), b.connectBy(door)}
		if door == nil {
			door = b.Endpoint()
		}
		_, err := door.Connect(bus.ConnConfig{UID: 1000, Receiver: peers[0]})
		expectError(t, err, bus.ErrTooManyConns)
		var full *bus.Error
		if errors.As(err, &full) && strings.Contains(full.Detail, "endpoint 1000-test has 2") != door.Custom() {
			t.Errorf("it says: %v", err)
		}
		peers[0].leave()
		again, err := door.Connect(bus.ConnConfig{UID: 1000, Receiver: peers[0]})
		expectError(t, err, 0)
		again.Close()
	}
	if n := b.Domain().UserConns(1000); n != 1 {
		t.Errorf("the user has %d connections", n)
	}
}

// ledgers is a bus.Service that writes down who waits.
type ledgers struct {
	aService
	held map[bus.Payer]bus.Account
}

func (l *ledgers) Admit(payer bus.Payer, who bus.Account, _ int) error {
	if _, full := l.held[payer]; full {
		return errTooMany
	}
	l.held[payer] = who
	return nil
}

func (l *ledgers) Release(payer bus.Payer, _ int) { delete(l.held, payer) }

// Who came by a custom endpoint uses up nobody else's share of what may wait for services.
func TestWhatWaitsForServicesIsOnTheAccountOfTheEndpoint(t *testing.T) {
	b := newServiceBus(t, nil)
	l := &ledgers{held: make(map[bus.Payer]bus.Account)}
	b.connect(activator(example), func(c *bus.ConnConfig) { c.Service = l })
	e := b.through(permit(example, world(bus.AccessOwn)))
	one, two, outside := b.connectBy(e, ofUser(1)), b.connectBy(e, ofUser(2)), b.connect(ofUser(1))
	one.mustPost(toName(example, "x"))
	for _, p := range []*peer{one, two} {
		if err := p.post(toName(example, "y")); !errors.Is(err, errTooMany) {
			t.Errorf("got %v", err)
		}
	}
	outside.mustPost(toName(example, "z"))
	names := make(map[string]bool)
	for _, who := range l.held {
		names[who.String()] = true
	}
	if diff := gocmp.Diff(map[string]bool{"endpoint 1000-test": true, "user 1": true}, names); diff != "" {
		t.Errorf("who waits (-want +got):\n%s", diff)
	}
	e.Close()
	outside.mustAcquire(example, 0)
	outside.expect("3: z")
	if len(l.held) != 0 {
		t.Errorf("still on accounts: %v", l.held)
	}
}

// The module, kdbus_conn_new: who passes for another user is on that user's account, and no other rule takes it for that user.
func TestWhoPassesForSomebodyIsOnTheirAccount(t *testing.T) {
	as := func(creds meta.IDs, has meta.Kinds) func(*bus.ConnConfig) {
		return func(c *bus.ConnConfig) { c.UID, c.Fake = 0, &meta.Data{Has: has, Creds: creds} }
	}
	const nobody = 1<<32 - 1
	for name, test := range map[string]struct {
		fake func(*bus.ConnConfig)
		want uint32
	}{
		"credentials":            {as(meta.IDs{UID: 7, EUID: 8, SUID: 9}, meta.KindCreds), 7},
		"a label only":           {as(meta.IDs{UID: 7}, meta.KindSecLabel), 0},
		"credentials of no user": {as(meta.IDs{UID: nobody, EUID: 8}, meta.KindCreds), 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t)
			receiver := b.connect(ofUser(3))
			receiver.mustAcquire(example, 0)
			receiver.sleep()
			c := b.connect(native, test.fake)
			if c.Account() != (bus.Account{UID: test.want}) || c.UID() != 0 || !c.Privileged() {
				t.Errorf("account %v, user %d, privileged: %v", c.Account(), c.UID(), c.Privileged())
			}
			c.mustPost(toName(example, "x"))
			if shares := receiver.QueueShares(); len(shares) != 1 || shares[0].Account != c.Account() {
				t.Errorf("shares: %+v", shares)
			}
			if n := b.Domain().UserConns(test.want); n != 1 {
				t.Errorf("the user has %d connections", n)
			}
			c.leave()
			if n := b.Domain().UserConns(test.want); n != 0 {
				t.Errorf("the user has %d connections left", n)
			}
			receiver.wakeUp()
		})
	}
}
