package bus_test

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
)

func TestIDsAreNeverGivenAgain(t *testing.T) {
	b := newBus(t)
	var last bus.ID
	for range 100 {
		p := b.connect()
		if p.ID() <= last {
			t.Fatalf("id %d after %d", p.ID(), last)
		}
		last = p.ID()
		p.leave()
		b.introduce().Close() // one that never said Hello has one too
		last++
	}
	if got, want := b.connect().UniqueName(), ":1.201"; got != want {
		t.Errorf("unique name %s, want %s", got, want)
	}
}

func TestHelloAnnouncesAConnection(t *testing.T) {
	b := newBus(t)
	witness := b.connect()
	witness.subscribe(everything)

	p := b.introduce(tellOwn)
	witness.expect()
	if b.Conn(p.ID()) != nil || witness.LookupID(p.ID()) != nil || len(b.Conns()) != 1 {
		t.Error("there before Hello")
	}
	expectError(t, witness.post(to(p.ID(), "text")), bus.ErrNoSuchConn)
	expectError(t, p.post(to(witness.ID(), "text")), bus.ErrDisconnected)
	expectError(t, p.post(to(bus.Broadcast, "text")), bus.ErrDisconnected)
	expectError(t, p.Deliver(to(0, "welcome")), 0)
	p.Flush()
	p.expect("0: welcome")

	p.Hello()
	p.Flush()
	p.expect("NameAcquired :1.2")
	witness.expect("IDAdded 2")
	if b.Conn(p.ID()) != p.Conn || witness.LookupID(p.ID()) != p.Conn || len(b.Conns()) != 2 {
		t.Error("not there after Hello")
	}

	p.Hello()
	p.Flush()
	p.expect()
	witness.expect()
}

func TestConnectionThatNeverSaidHelloLeavesUnnoticed(t *testing.T) {
	b := newBus(t)
	witness := b.connect()
	witness.subscribe(everything)
	p := b.introduce(tellOwn)
	p.leave()
	p.Hello()
	p.leave()
	witness.expect()
	if got := b.Domain().UserConns(1000); got != 1 {
		t.Errorf("%d connections", got)
	}
}

func TestNamesAreLostBeforeTheIDAndCallsEndAfterIt(t *testing.T) {
	leave := map[string]func(*peer){
		"Close":         (*peer).leave,
		"BecomeMonitor": func(p *peer) { p.monitor(filter(func(_, _ *bus.Conn, _ *bus.Message) bool { return false })) },
	}
	for how, leave := range leave {
		t.Run(how, func(t *testing.T) {
			b := newBus(t)
			p, witness := b.connect(tellOwn), b.connect(tellOwn)
			p.subscribe(everything)
			witness.subscribe(everything)
			p.mustAcquire("com.example.A", 0)
			p.mustAcquire("com.example.B", 0)
			witness.mustAcquire("com.example.B", 0)
			witness.mustAcquire("com.example.C", 0)
			p.mustAcquire("com.example.C", 0) // waits
			witness.mustPost(call(p.ID(), 1))
			witness.forget()
			p.forget()

			leave(p)
			witness.expect(
				"NameChanged com.example.B 1>2",
				"NameAcquired com.example.B",
				"NameChanged com.example.A 1>0",
				"IDRemoved 1",
				"ReplyDead 1 of 1",
			)
			if how == "Close" {
				p.expect()
			} else {
				p.expect("NameLost com.example.B", "NameLost com.example.A", "NameLost :1.1")
			}
			if witness.LookupID(1) != nil || b.Conn(1) != nil || len(b.Conns()) != 1 {
				t.Error("still there")
			}
			if got := witness.ListOwners("com.example.C"); !slices.Equal(got, []bus.ID{2}) {
				t.Errorf("owners %d", got)
			}
			expectError(t, witness.post(to(1, "text")), bus.ErrNoSuchConn)
		})
	}
}

func TestClosedConnectionIsOver(t *testing.T) {
	b := newBus(t)
	p, other := b.connect(), b.connect()
	p.sleep()
	other.mustPost(to(p.ID(), "unread"))
	p.leave()
	p.leave()

	expectError(t, p.post(to(other.ID(), "text")), bus.ErrDisconnected)
	expectError(t, p.post(to(bus.Broadcast, "text")), bus.ErrDisconnected)
	expectError(t, p.EditMatches(func() error { t.Error("edited"); return nil }), bus.ErrDisconnected)
	expectError(t, p.BecomeMonitor(all), bus.ErrDisconnected)
	expectError(t, p.Deliver(to(0, "text")), bus.ErrNoSuchConn)
	if got := b.Domain().UserConns(1000); got != 1 {
		t.Errorf("%d connections", got)
	}
	p.wakeUp()
	p.expect()
}

func TestConnectionsOfAUserAreLimitedOnAllBuses(t *testing.T) {
	domain := bus.NewDomain(bus.DomainConfig{MaxConnsPerUser: 2})
	one, two := domain.NewBus(bus.Config{}), domain.NewBus(bus.Config{})
	connect := func(b *bus.Bus, uid uint32) (*bus.Conn, error) {
		return b.Endpoint().Connect(bus.ConnConfig{UID: uid, Limits: roomy})
	}
	first, err := connect(one, 7)
	expectError(t, err, 0)
	_, err = connect(two, 7)
	expectError(t, err, 0)
	_, err = connect(two, 7)
	expectError(t, err, bus.ErrTooManyConns)
	_, err = connect(two, 8)
	expectError(t, err, 0)
	first.Close()
	first.Close()
	_, err = connect(one, 7)
	expectError(t, err, 0)
	if got := domain.UserConns(7); got != 2 {
		t.Errorf("%d connections", got)
	}
}

func TestConnKnowsWhatItWasMadeWith(t *testing.T) {
	b := newBus(t)
	p := b.connect(ofUser(42), refuseFDs, func(c *bus.ConnConfig) { c.Description = "a test" })
	if p.Bus() != b.Bus || p.UID() != 42 || p.AcceptFDs() || p.Description() != "a test" || p.Peer() != p {
		t.Errorf("%+v", p)
	}
	if b.Name() != "0-test" || b.Endpoint().Bus() != b.Bus {
		t.Errorf("bus %q", b.Name())
	}
	if guid := b.GUID(); len(guid) != 32 || guid == newBus(t).GUID() {
		t.Errorf("guid %q", guid)
	}
}

func TestWakeComesOnceUntilTheQueueWasFoundEmpty(t *testing.T) {
	b := newBus(t)
	receiver, one, other := b.connect(), b.connect(), b.connect()
	receiver.sleep()

	one.mustPost(to(receiver.ID(), "1"))
	one.mustPost(to(receiver.ID(), "2"))
	other.mustPost(to(receiver.ID(), "3"))
	if receiver.wakes != 1 {
		t.Errorf("%d wakes", receiver.wakes)
	}
	space := make([]*bus.Message, 0, 3)
	receiver.Delivered(receiver.Dequeue(space))
	other.mustPost(to(receiver.ID(), "4"))
	if receiver.wakes != 1 {
		t.Errorf("%d wakes before the queue was found empty", receiver.wakes)
	}
	receiver.Delivered(receiver.Dequeue(space))
	if got := receiver.Dequeue(space); len(got) != 0 {
		t.Fatalf("%d messages left", len(got))
	}
	other.mustPost(to(receiver.ID(), "5"))
	if receiver.wakes != 2 {
		t.Errorf("%d wakes after it was found empty", receiver.wakes)
	}
}

func TestNothingIsSeenBeforeFlush(t *testing.T) {
	b := newBus(t)
	receiver, sender := b.connect(), b.connect()
	for _, text := range []string{"1", "2"} {
		m := to(receiver.ID(), text)
		expectError(t, sender.Send(m), 0)
		m.Release()
	}
	receiver.expect()
	sender.Flush()
	receiver.expect("2: 1", "2: 2")
	sender.Flush()
	if receiver.wakes != 1 {
		t.Errorf("%d wakes", receiver.wakes)
	}
}

func TestDequeueFillsTheSpaceItIsGiven(t *testing.T) {
	b := newBus(t)
	receiver, sender := b.connect(), b.connect()
	receiver.sleep()
	for i := range uint64(5) {
		m := to(receiver.ID(), "text")
		m.Cookie = i
		sender.mustPost(m)
	}
	space := make([]*bus.Message, 1, 3)
	got := receiver.Dequeue(space)
	if len(got) != 3 || got[0] != nil || got[1].Cookie != 0 || got[2].Cookie != 1 {
		t.Fatalf("%v", got)
	}
	if more := receiver.Dequeue(got); len(more) != 3 {
		t.Errorf("%d messages where there is no space", len(more))
	}
	receiver.Delivered(got[1:])
	if s := receiver.QueueStats(); s.Messages != 3 {
		t.Errorf("%+v", s)
	}
	sender.mustPost(to(receiver.ID(), "text"))
	if receiver.wakes != 1 {
		t.Error("woken although the queue was never found empty")
	}
}

func TestMessagesAreNumberedInTheDomain(t *testing.T) {
	domain := bus.NewDomain(bus.DomainConfig{})
	var last uint64
	for range 3 {
		b := &testBus{Bus: domain.NewBus(bus.Config{}), tb: t, limits: roomy}
		sender, receiver := b.connect(), b.connect()
		receiver.sleep()
		for _, dst := range []bus.ID{receiver.ID(), bus.Broadcast, receiver.ID()} {
			m := to(dst, "text")
			sender.mustPost(m)
			if m.Sequence <= last || m.Src != sender.ID() {
				t.Errorf("%d after %d, from %s", m.Sequence, last, m.Src)
			}
			last = m.Sequence
		}
	}
}

// What everybody pays for each message. A field more is the next size class of the allocator; see Extra.
func TestMessageIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(bus.Message{}); size > 192 {
		t.Errorf("a Message takes %d bytes", size)
	}
}

func TestRenderMakesThePayloadOnce(t *testing.T) {
	b := newBus(t)
	first, second, p := b.connect(), b.connect(), b.introduce()
	for _, q := range []*peer{first, second} {
		q.subscribe(notifications)
		q.sleep()
	}
	p.Hello()
	p.Flush()
	renders := 0
	for _, q := range []*peer{first, second} {
		batch := q.Dequeue(make([]*bus.Message, 0, 1))
		got := batch[0].Render(func(m *bus.Message) []byte { renders++; return []byte(describe(m)) })
		if diff := cmp.Diff([][]byte{[]byte("IDAdded 3")}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		q.Delivered(batch)
	}
	if renders != 1 {
		t.Errorf("made %d times", renders)
	}
}
