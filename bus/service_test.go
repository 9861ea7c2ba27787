package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
)

// aService is a bus.Service that counts.
type aService struct {
	limit, waiting, size, started int
	prompt                        string
}

func (s *aService) Admit(_ bus.Payer, _ bus.Account, size int) error {
	if s.limit > 0 && s.waiting == s.limit {
		return errTooMany
	}
	s.waiting++
	s.size += size
	return nil
}

func (s *aService) Release(_ bus.Payer, size int) {
	s.waiting--
	s.size -= size
}

func (s *aService) Started() { s.started++ }

func (s *aService) Prompt() (string, func(*bus.Conn) *bus.Message) {
	if s.prompt == "" {
		return "", nil
	}
	return s.prompt, func(*bus.Conn) *bus.Message {
		return &bus.Message{Has: bus.PartDBus1, Payload: [][]byte{[]byte("prompt")}}
	}
}

var errTooMany = errors.New("too many wait")

// newServiceBus makes a bus on which refusals are told.
func newServiceBus(t tb, policy bus.Policy) *testBus {
	subscriptions := &index{}
	return &testBus{
		Bus: bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{Name: "0-test", Policy: policy, Indexes: []bus.Index{subscriptions},
			Refusal: func(src *bus.Conn, m *bus.Message, reason error) *bus.Message {
				return to(src.ID(), fmt.Sprintf("refused %d: %v", m.Cookie, reason))
			}}),
		tb: t, index: subscriptions, limits: roomy,
	}
}

// serve makes the activator of a service.
func (b *testBus) serve(name string, s *aService) *peer {
	return b.connect(activator(name), func(c *bus.ConnConfig) { c.Service = s })
}

func TestServiceIsNoConnection(t *testing.T) {
	b := newBus(t)
	first := b.connect()
	before := b.Stats()
	watching := b.connect(native)
	for _, kind := range []bus.ChangeKind{bus.IDAdd, bus.IDRemove} {
		watching.match(bus.Match{Changes: []bus.Change{{Kind: kind, Old: bus.AnyID, New: bus.AnyID}}})
	}
	users := b.Domain().UserConns(1000)
	a := b.serve(example, &aService{})
	second := b.connect()
	if second.ID() != first.ID()+2 {
		t.Errorf("it has used up an id: %d", second.ID())
	}
	if n := b.Domain().UserConns(1000); n != users+1 {
		t.Errorf("it counts as a connection: %d", n-users-1)
	}
	if now := b.Stats(); now.Conns != before.Conns+2 || now.Names != before.Names+2 || now.PeakNames != now.Names {
		t.Errorf("%+v after %+v", now, before)
	}
	if names, ids := first.ListNames(); len(names) != 0 || slices.Contains(ids, a.ID()) {
		t.Error(names, ids)
	}
	if first.LookupID(a.ID()) != nil || first.Lookup(example) != nil {
		t.Error("it can be looked up")
	}
	if list := first.List(bus.ListActivators); len(list) != 1 || !list[0].Service || list[0].Name != example {
		t.Errorf("%+v", list)
	}
	expectError(t, first.post(to(a.ID(), "x")), bus.ErrNoSuchConn)
	expectError(t, first.post(noAutoStart(toName(example, "x"))), bus.ErrInactive)
	watching.expect(fmt.Sprint("IDAdded ", uint64(second.ID())))
	a.leave()
	expectError(t, first.post(toName(example, "x")), bus.ErrNoSuchName)
	watching.expect()
}

func TestWhatWaitsForAService(t *testing.T) {
	b := newServiceBus(t, nil)
	s := &aService{limit: 4}
	a := b.serve(example, s)
	client, service := b.connect(), b.connect(tellOwn)
	service.forget()
	const told = "MessagesHeld " + example

	client.mustPost(callName(example, 1))
	await := func() error {
		err := client.AwaitOwner(example, func(reason error) *bus.Message {
			return &bus.Message{Has: bus.PartDBus1, ReplyCookie: 9, Payload: [][]byte{fmt.Appendf(nil, "await %v", reason)}}
		})
		client.Flush()
		return err
	}
	expectError(t, await(), 0)
	client.mustPost(toName(example, "two"))
	if err := b.SendToName(example, func(owner *bus.Conn) *bus.Message {
		return &bus.Message{Has: bus.PartDBus1, Payload: [][]byte{fmt.Appendf(nil, "of the bus to %v", owner)}}
	}); err != nil {
		t.Fatal(err)
	}
	a.expect(told, told, told, told)
	client.mustPost(toName(example, "three"))
	if err := client.post(toName(example, "four")); !errors.Is(err, errTooMany) {
		t.Error(err)
	}
	if n, first := a.Waiting(); n != 5 || first != client.ID() || s.waiting != 4 {
		t.Error(n, first, s.waiting)
	}

	service.mustAcquire(example, 0)
	service.expect("NameAcquired "+example, "1: call 1", "1: two", "0: of the bus to <nil>", "1: three")
	client.expect("0: await <nil>")
	if n, _ := a.Waiting(); n != 0 || s.waiting != 0 || s.size != 0 || s.started != 1 {
		t.Errorf("%d %+v", n, s)
	}
	expectError(t, await(), bus.ErrExists)
	service.mustPost(reply(client.ID(), 1))
	client.expect("2: reply 1")

	// What the owner has not read goes with it.
	service.sleep()
	client.mustPost(callName(example, 2))
	service.leave()
	client.expect("ReplyDead 2 of 2")
	if n, _ := a.Waiting(); n != 0 {
		t.Error(n, "messages have come back")
	}
	a.forget()
}

func TestServiceThatFails(t *testing.T) {
	b := newServiceBus(t, nil)
	s := &aService{}
	a := b.serve(example, s)
	client, kdbus, gone := b.connect(), b.connect(native), b.connect()
	kdbus.mustPost(callName(example, 3))
	kdbus.mustPost(toName(example, "of no interest"))
	client.mustPost(callName(example, 4))
	gone.mustPost(callName(example, 5))
	expectError(t, client.AwaitOwner(example, func(reason error) *bus.Message {
		return &bus.Message{Has: bus.PartDBus1, Payload: [][]byte{fmt.Appendf(nil, "await %v", reason)}}
	}), 0)
	gone.leave()
	a.Fail(errors.New("broken"))
	kdbus.expect("ReplyDead 3 of " + a.UniqueName()[3:])
	client.expect("0: refused 4: broken", "0: await broken")
	if n, _ := a.Waiting(); n != 0 || s.waiting != 0 || s.size != 0 {
		t.Errorf("%d %+v", n, s)
	}
	for _, c := range []*peer{client, kdbus} {
		if n := c.PendingCalls(); n != 0 {
			t.Errorf("%d calls wait", n)
		}
	}
	// It can be tried again, and that it can no more is told, too.
	client.mustPost(callName(example, 6))
	a.leave()
	client.expect("0: refused 6: nobody owns the name " + example)
	a.forget()
}

func TestPolicyJudgesAgainWhenTheServiceRuns(t *testing.T) {
	policy := &rules{deny: map[string]bool{}}
	b := newServiceBus(t, policy)
	s := &aService{}
	b.serve(example, s)
	client, service := b.connect(), b.connect()
	client.mustPost(callName(example, 1))
	policy.deny[fmt.Sprintf("send %s>%s call 1", name(client.Conn), name(service.Conn))] = true
	service.mustAcquire(example, 0)
	service.expect()
	if got := client.take(); len(got) != 1 || !strings.HasPrefix(got[0], "0: refused 1: the rules forbid to send") {
		t.Errorf("%q", got)
	}
}

func TestPromptGoesFirst(t *testing.T) {
	b := newServiceBus(t, nil)
	const systemd = "org.freedesktop.systemd1"
	s := &aService{prompt: systemd}
	b.serve(example, s)
	client, init, monitor := b.connect(), b.connect(), b.connect()
	init.mustAcquire(systemd, 0)
	monitor.BecomeMonitor(bus.Everything)
	client.mustPost(toName(example, "x"))
	init.expect("0: prompt")
	if got := monitor.take(); !slices.Equal(got, []string{"0: prompt", "1: x"}) {
		t.Errorf("%q", got)
	}
}

func TestServicesKeepTheirAccounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newServiceBus(t, nil)
		s := &aService{limit: 5}
		a := b.serve(example, s)
		peers := []*peer{b.connect(), b.connect(), b.connect(native), b.connect()}
		pick := func() *peer { return peers[rapid.IntRange(0, len(peers)-1).Draw(t, "peer")] }
		cookie := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"call": func(*rapid.T) {
				cookie++
				pick().post(callName(example, cookie))
			},
			"send": func(*rapid.T) { pick().post(toName(example, "x")) },
			"await": func(*rapid.T) {
				p := pick()
				p.AwaitOwner(example, func(error) *bus.Message { return nil })
				p.Flush()
			},
			"acquire": func(*rapid.T) {
				p := pick()
				p.AcquireName(example, bus.ReplaceExisting|bus.AllowReplacement)
				p.Flush()
			},
			"release": func(*rapid.T) { p := pick(); p.ReleaseName(example); p.Flush() },
			"fail":    func(*rapid.T) { a.Fail(errors.New("broken")) },
			"leave": func(t *rapid.T) {
				i := rapid.IntRange(0, len(peers)-1).Draw(t, "leaves")
				peers[i].leave()
				peers[i] = b.connect()
			},
			"": func(t *rapid.T) {
				n, _ := a.Waiting()
				if n != s.waiting || n == 0 && s.size != 0 || peers[0].Lookup(example) != nil && n != 0 {
					t.Fatalf("%d wait, %+v", n, s)
				}
			},
		})
		a.leave()
		if s.waiting != 0 || s.size != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestPolicyJudgesAgainWhatAnActivatorHeld(t *testing.T) {
	policy := &rules{deny: map[string]bool{}}
	b := newServiceBus(t, policy)
	b.connect(native, activator(example))
	client, service := b.connect(), b.connect()
	client.mustPost(callName(example, 1))
	client.mustPost(toName(example, "open"))
	policy.deny[fmt.Sprintf("send %s>%s call 1", name(client.Conn), name(service.Conn))] = true
	service.mustAcquire(example, 0)
	service.expect("2: open")
	client.expect("ReplyDead 1 of 1")
}

// Who has sent something that nobody answers cannot be told any more that the owner has no space for it: the owner is.
func TestWhatWaitsAndFindsNoSpaceIsCounted(t *testing.T) {
	b := newServiceBus(t, nil)
	a := b.serve(example, &aService{})
	client := b.connect(native)
	service := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 2, FDs: 9}, MaxNames: 1}))
	service.sleep()
	for range 5 {
		client.mustPost(toName(example, "x"))
	}
	client.mustPost(callName(example, 1))
	service.mustAcquire(example, 0)
	if got := service.QueueStats(); got.Messages != 2 || got.Dropped != 4 {
		t.Errorf("%d messages wait and %d were dropped, want 2 and 4", got.Messages, got.Dropped)
	}
	if got := service.TakeDropped(); got != 4 {
		t.Errorf("the owner is told of %d, want 4", got)
	}
	client.expect("ReplyDead 1 of " + a.UniqueName()[3:])
}
