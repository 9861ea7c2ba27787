package bus_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

// inbox checks the order of numbered messages and waits for all of them. It belongs to one receiver.
type inbox struct {
	last  map[bus.ID]uint64 // cookie of the last message of each sender
	total int
	all   chan struct{} // closed when nothing is missing any more
}

func newInbox(total int) *inbox {
	return &inbox{last: map[bus.ID]uint64{}, total: total, all: make(chan struct{})}
}

// take is for messages whose cookies count from 1 without a gap.
func (i *inbox) take(r *runner, m *bus.Message) {
	if want := i.last[m.Src] + 1; m.Cookie != want {
		r.t.Errorf("%s got message %d of %s, want %d", r.UniqueName(), m.Cookie, m.Src, want)
	}
	i.last[m.Src] = m.Cookie
	if i.total--; i.total == 0 {
		close(i.all)
	}
}

func numbered(dst bus.ID, cookie uint64) *bus.Message {
	m := to(dst, "x")
	m.Cookie = cookie
	return m
}

func TestMessagesOfEachSenderArriveInOrderAndNoneIsLost(t *testing.T) {
	const senders, receivers, rounds = 4, 3, 400
	for _, listening := range []bool{false, true} {
		t.Run(fmt.Sprintf("eavesdropping %v", listening), func(t *testing.T) {
			b := newBus(t)
			if listening {
				b.connect().eavesdrop(func(*bus.Message) bool { return false })
			}
			var to []bus.ID
			var inboxes []*inbox
			for range receivers {
				in := newInbox(senders * rounds)
				r, stop := run(t, b, in.take)
				defer stop()
				inboxes = append(inboxes, in)
				to = append(to, r.ID())
			}
			for range senders {
				s, stop := run(t, b, func(*runner, *bus.Message) {})
				defer stop()
				go func() {
					for n := range uint64(rounds) {
						for _, dst := range to {
							m := numbered(dst, n+1)
							if err := s.Send(m); err != nil {
								t.Error(err)
							}
							m.Release()
						}
						if n%3 == 0 || n == rounds-1 {
							s.Flush()
						}
					}
				}()
			}
			for _, in := range inboxes {
				<-in.all
			}
		})
	}
}

func TestBroadcastsOfEachSenderArriveInOrder(t *testing.T) {
	const senders, receivers, rounds = 3, 4, 200
	b := newBus(t)
	var inboxes []*inbox
	for range receivers {
		in := newInbox(senders * rounds)
		r, stop := run(t, b, in.take)
		defer stop()
		inboxes = append(inboxes, in)
		subscribe(b, r.Conn, ordinary)
	}
	for range senders {
		s, stop := run(t, b, func(*runner, *bus.Message) {})
		defer stop()
		go func() {
			for n := range uint64(rounds) {
				s.mustPost(numbered(bus.Broadcast, n+1))
			}
		}()
	}
	for _, in := range inboxes {
		<-in.all
	}
}

func subscribe(b *testBus, c *bus.Conn, wants func(*bus.Message) bool) {
	c.EditMatches(func() error {
		b.index.subscriptions = append(b.index.subscriptions, subscription{conn: c, wants: wants})
		return nil
	})
}

// A third connection must never see the reaction to a message before that message, whatever way each of the two takes.
func TestReactionNeverOvertakesItsCause(t *testing.T) {
	const rounds = 500
	tests := []struct {
		name    string
		cause   func(reacting bus.ID) bus.ID
		react   func(third bus.ID) bus.ID
		monitor bool
	}{
		{"broadcast, then unicast",
			func(bus.ID) bus.ID { return bus.Broadcast }, func(third bus.ID) bus.ID { return third }, false},
		{"broadcast, then broadcast",
			func(bus.ID) bus.ID { return bus.Broadcast }, func(bus.ID) bus.ID { return bus.Broadcast }, false},
		{"unicast, then unicast, at a monitor",
			func(reacting bus.ID) bus.ID { return reacting }, func(third bus.ID) bus.ID { return 1 }, true},
		{"broadcast, then unicast, at a monitor",
			func(bus.ID) bus.ID { return bus.Broadcast }, func(third bus.ID) bus.ID { return 1 }, true},
		{"unicast, then broadcast, at a monitor",
			func(reacting bus.ID) bus.ID { return reacting }, func(third bus.ID) bus.ID { return bus.Broadcast }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			b.connect() // number 1, somebody to send to
			var causing, reacting, third *runner
			var seen, answered uint64
			complete := make(chan struct{})
			third, stopThird := run(t, b, func(_ *runner, m *bus.Message) {
				switch m.Src {
				case causing.ID():
					seen = m.Cookie
				case reacting.ID():
					if m.Cookie > seen {
						t.Errorf("reaction %d is here, the last cause is %d", m.Cookie, seen)
					}
					if answered++; answered == rounds {
						close(complete)
					}
				}
			})
			reacting, stopReacting := run(t, b, func(r *runner, m *bus.Message) {
				if m.Src == causing.ID() {
					r.mustPost(numbered(test.react(third.ID()), m.Cookie))
				}
			})
			causing, stopCausing := run(t, b, func(*runner, *bus.Message) {})
			defer stopThird()
			defer stopReacting()
			defer stopCausing()
			subscribe(b, reacting.Conn, ordinary)
			if test.monitor {
				if err := third.BecomeMonitor(all); err != nil {
					t.Fatal(err)
				}
			} else {
				subscribe(b, third.Conn, ordinary)
			}
			for n := range uint64(rounds) {
				causing.mustPost(numbered(test.cause(reacting.ID()), n+1))
			}
			<-complete
		})
	}
}

func TestCallsOfManyAreEachAnsweredOnce(t *testing.T) {
	const callers, rounds = 4, 300
	b := newBus(t)
	callee, stop := run(t, b, func(r *runner, m *bus.Message) {
		if m.Flags&bus.ExpectReply != 0 {
			r.mustPost(reply(m.Src, m.Cookie))
		}
	})
	defer stop()
	var running sync.WaitGroup
	for range callers {
		replies := make(chan uint64, rounds)
		caller, stop := run(t, b, func(_ *runner, m *bus.Message) { replies <- m.ReplyCookie })
		defer stop()
		running.Go(func() {
			open := map[uint64]bool{}
			for n := range uint64(rounds) {
				open[n+1] = true
				caller.mustPost(call(callee.ID(), n+1))
			}
			for range rounds {
				if n := <-replies; !open[n] {
					t.Errorf("%s got a reply to %d twice", caller.UniqueName(), n)
				} else {
					delete(open, n)
				}
			}
			if n := caller.PendingCalls(); n != 0 {
				t.Errorf("%d calls of %s are still open", n, caller.UniqueName())
			}
		})
	}
	running.Wait()
}

// A callee may try to answer calls before it has them. Each call still ends once.
func TestEarlyRepliesEndNoCallTwice(t *testing.T) {
	const rounds = 5000
	b := newBus(t)
	b.limits = &bus.Limits{Quota: roomy.Quota, MaxCalls: 1 << 20}
	ends := make([]int, rounds+1)
	caller, stopCaller := run(t, b, func(_ *runner, m *bus.Message) { ends[m.ReplyCookie]++ })
	callee, stopCallee := run(t, b, func(*runner, *bus.Message) {})
	var current atomic.Uint64
	var running sync.WaitGroup
	running.Go(func() {
		for n := uint64(1); n < rounds; n = current.Load() {
			callee.post(reply(caller.ID(), n))
			callee.post(reply(caller.ID(), n+1))
		}
	})
	for n := range uint64(rounds) {
		current.Store(n + 1)
		caller.mustPost(call(callee.ID(), n+1))
	}
	current.Store(rounds)
	running.Wait()
	callee.leave()
	stopCallee()
	stopCaller()
	for n, e := range ends[1:] {
		if e != 1 {
			t.Errorf("call %d ended %d times", n+1, e)
		}
	}
}

// live takes a name and may turn the connection into a monitor.
func (r *runner) live(monitor bool) {
	r.driving.Lock()
	defer r.driving.Unlock()
	if _, err := r.AcquireName(example, bus.AllowReplacement|bus.ReplaceExisting); err != nil {
		r.t.Error(err)
	}
	if monitor {
		if err := r.BecomeMonitor(all); err != nil {
			r.t.Error(err)
		}
	}
	r.Flush()
}

// While some connections come and go others send to them, by id and by name, call them and broadcast. Every call ends
// in exactly one way, and no message is kept by anyone.
func TestConnectionsComeAndGoWhileOthersSend(t *testing.T) {
	const senders, comers, rounds = 3, 3, 300
	b := newBus(t)
	var made, freed atomic.Int64
	count := func(m *bus.Message) *bus.Message {
		made.Add(1)
		m.Free = func() { freed.Add(1) }
		return m
	}
	var current [comers]atomic.Uint64 // ids
	var stops []func()
	var coming, sending sync.WaitGroup
	var over atomic.Bool
	for i := range comers {
		coming.Go(func() {
			for life := 0; !over.Load(); life++ {
				r, stop := run(t, b, func(r *runner, m *bus.Message) {
					if m.Flags&bus.ExpectReply != 0 && m.Cookie%2 == 0 {
						r.post(count(reply(m.Src, m.Cookie))) // the caller may be gone
					}
				})
				subscribe(b, r.Conn, everything)
				current[i].Store(uint64(r.ID()))
				r.live(life%5 == 4)
				r.leave()
				stop()
			}
		})
	}
	type outcome struct{ sent, ended int }
	outcomes := make([]outcome, senders)
	for i := range senders {
		ended := &outcomes[i].ended
		s, stop := run(t, b, func(_ *runner, m *bus.Message) {
			if m.ReplyCookie != 0 {
				*ended++
			}
		})
		stops = append(stops, stop)
		sending.Go(func() {
			for n := range uint64(rounds) {
				dst := bus.ID(current[n%comers].Load())
				s.post(count(to(bus.Broadcast, "x")))
				s.post(count(toName(example, "x")))
				s.post(count(to(dst, "x")))
				if s.post(count(call(dst, n+1))) == nil {
					outcomes[i].sent++
				}
			}
		})
	}
	sending.Wait()
	over.Store(true)
	coming.Wait()
	for _, stop := range stops {
		stop()
	}
	for i, o := range outcomes {
		if o.sent != o.ended {
			t.Errorf("of %d calls of sender %d %d ended", o.sent, i, o.ended)
		}
	}
	if made.Load() != freed.Load() {
		t.Errorf("%d messages were made and %d freed", made.Load(), freed.Load())
	}
	if s := b.Stats(); s.Conns != senders || s.Names != senders || s.Monitors != 0 {
		t.Errorf("%+v", s)
	}
}
