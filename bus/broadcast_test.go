package bus_test

import (
	"fmt"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

func TestBroadcastGoesToSubscribersOnce(t *testing.T) {
	b := newBus(t)
	sender, once, twice, never := b.connect(), b.connect(), b.connect(), b.connect()
	sender.subscribe(everything)
	once.subscribe(everything)
	twice.subscribe(everything)
	twice.subscribe(ordinary)
	twice.eavesdrop(everything)
	never.subscribe(notifications)

	sender.mustPost(to(bus.Broadcast, "first"))
	sender.mustPost(to(bus.Broadcast, "second"))
	for _, p := range []*peer{sender, once, twice} {
		p.expect("1: first", "1: second")
	}
	never.expect()
}

func TestBroadcastGoesThroughAllIndexes(t *testing.T) {
	indexes := []bus.Index{&index{}, &index{}, &index{}}
	b := newBus(t)
	b.Bus = b.Domain().NewBus(bus.Config{Indexes: indexes})
	sender, p := b.connect(), b.connect()
	for _, x := range indexes {
		b.index = x.(*index)
		p.subscribe(everything)
	}
	sender.mustPost(to(bus.Broadcast, "x"))
	p.expect("1: x")
	p.leave()
	for i, x := range indexes {
		if n := len(x.(*index).subscriptions); n != 0 {
			t.Errorf("index %d still has %d subscriptions of a connection that left", i, n)
		}
	}
}

func TestSubscriptionsDoNotGetUnicastsOfOthers(t *testing.T) {
	b := newBus(t)
	sender, receiver, listener := b.connect(), b.connect(), b.connect()
	receiver.subscribe(everything)
	listener.subscribe(everything)
	sender.mustPost(to(receiver.ID(), "x"))
	receiver.expect("1: x")
	listener.expect()
}

func TestEavesdropping(t *testing.T) {
	b := newBus(t)
	sender, receiver, listener := b.connect(), b.connect(), b.connect()
	receiver.mustAcquire(example, 0)
	receiver.eavesdrop(ordinary)
	listener.eavesdrop(ordinary)
	full := b.connect(limited(bus.Limits{}))

	tests := []struct {
		name               string
		message            *bus.Message
		err                error
		receiver, listener []string
	}{
		{"a unicast is copied", to(receiver.ID(), "x"), nil, []string{"1: x"}, []string{"1: x"}},
		{"by name too", toName(example, "x"), nil, []string{"1: x"}, []string{"1: x"}},
		{"a call is copied", call(receiver.ID(), 1), nil, []string{"1: call 1"}, []string{"1: call 1"}},
		{"a broadcast comes once", to(bus.Broadcast, "x"), nil, []string{"1: x"}, []string{"1: x"}},
		{"a message to the listener comes once", to(listener.ID(), "x"), nil, []string{"1: x"}, []string{"1: x"}},
		{"a refused message is not copied", to(full.ID(), "x"), bus.ErrQueueFull, nil, nil},
		{"a message to nobody is not copied", to(99, "x"), bus.ErrNoSuchConn, nil, nil},
		{"a signal that was dropped is copied", signal(full.ID(), "x"), nil, []string{"1: x"}, []string{"1: x"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b.tb = t
			if err := sender.post(test.message); (err == nil) != (test.err == nil) || err != nil && !err.(*bus.Error).Is(test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			receiver.expect(test.receiver...)
			listener.expect(test.listener...)
		})
	}
	t.Run("a message to the bus is copied", func(t *testing.T) {
		b.tb = t
		expectError(t, sender.SendToBus(to(0, "x")), 0)
		sender.Flush()
		listener.expect("1: x")
	})
	t.Run("an answer of the bus is not", func(t *testing.T) {
		b.tb = t
		expectError(t, sender.Deliver(to(0, "x")), 0)
		sender.Flush()
		sender.expect("0: x")
		listener.expect()
	})
	t.Run("until the listener has left", func(t *testing.T) {
		b.tb = t
		listener.leave()
		receiver.forget()
		sender.mustPost(to(receiver.ID(), "x"))
		receiver.expect("1: x")
		listener.expect()
	})
}

func TestBroadcastIsLostOnlyForThoseWithoutSpace(t *testing.T) {
	b := newBus(t)
	sender, reading := b.connect(), b.connect()
	stuck := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 2}}))
	reading.subscribe(everything)
	stuck.subscribe(everything)
	stuck.sleep()
	var want []string
	for i := range 5 {
		sender.mustPost(to(bus.Broadcast, fmt.Sprint(i)))
		want = append(want, fmt.Sprintf("1: %d", i))
	}
	reading.expect(want...)
	if s := stuck.QueueStats(); s.Dropped != 3 {
		t.Errorf("%+v", s)
	}
	stuck.wakeUp()
	stuck.expect(want[:2]...)
}

func TestIndexIsToldWhoSendsToWhom(t *testing.T) {
	b := newBus(t)
	spy := &spyIndex{}
	b.Bus = b.Domain().NewBus(bus.Config{Indexes: []bus.Index{spy}})
	sender, receiver, other := b.connect(), b.connect(), b.connect()
	spy.asked = nil

	sender.mustPost(to(receiver.ID(), "unicast"))
	sender.mustPost(to(bus.Broadcast, "broadcast"))
	expectError(t, sender.SendToBus(to(0, "to the bus")), 0)
	other.mustAcquire(example, 0)
	want := []string{"1>2 1: unicast", "1>- 1: broadcast", "1>- 1: to the bus", "->- NameChanged com.example.Name 0>3"}
	if fmt.Sprint(spy.asked) != fmt.Sprint(want) {
		t.Errorf("asked %q, want %q", spy.asked, want)
	}
}

// spyIndex writes down what it is asked, and says that somebody eavesdrops.
type spyIndex struct {
	asked []string
}

func (x *spyIndex) Collect(src, dst *bus.Conn, m *bus.Message, found []*bus.Conn) []*bus.Conn {
	x.asked = append(x.asked, name(src)+">"+name(dst)+" "+describe(m))
	return found
}
func (*spyIndex) Eavesdroppers() int { return 1 }

func (*spyIndex) Takes(_, _ *bus.Conn, _ *bus.Message) bool { return false }
func (*spyIndex) Forget(*bus.Conn)                          {}

func (x *spyIndex) Needs() bus.Parts { return 0 }

func TestBroadcastIsFreedOnceWhoeverGotIt(t *testing.T) {
	subscribers := map[string]func(*testBus){
		"one who reads":         func(b *testBus) { b.connect().subscribe(everything) },
		"one who asked twice":   func(b *testBus) { p := b.connect(); p.subscribe(everything); p.subscribe(everything) },
		"one without space":     func(b *testBus) { b.connect(limited(bus.Limits{})).subscribe(everything) },
		"one who cannot read":   func(b *testBus) { b.connect(refuseFDs).subscribe(everything) },
		"one who may not":       func(b *testBus) { b.connect(ofUser(2)).subscribe(everything) },
		"nobody":                func(*testBus) {},
		"one who leaves, later": func(b *testBus) { p := b.connect(); p.subscribe(everything); p.sleep() },
	}
	policy := noneOfUser{uid: 2}
	for first, one := range subscribers {
		for second, another := range subscribers {
			t.Run(first+" and "+second, func(t *testing.T) {
				b := newBusWithPolicy(t, policy)
				sender := b.connect()
				one(b)
				another(b)
				m := to(bus.Broadcast, "x")
				fd, closed := pipe(t)
				m.FDs = []int{fd}
				freed := 0
				m.Free = func() { freed++ }
				expectError(t, sender.Send(m), 0)
				sender.Flush()
				if freed != 0 || closed() {
					t.Error("the sender still has it")
				}
				m.Release()
				for _, c := range b.Conns() {
					c.Close()
				}
				if freed != 1 || !closed() {
					t.Errorf("freed %d times", freed)
				}
			})
		}
	}
}

// noneOfUser is a Policy by which a user receives nothing.
type noneOfUser struct {
	bus.AllowAll
	uid uint32
}

func (u noneOfUser) Overhear(_, dst *bus.Conn, _ *bus.Message) bool { return dst.UID() != u.uid }
