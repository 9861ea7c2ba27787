package bus_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kdbus-go/kdbus/bus"
)

// expectPending checks how many calls of p wait for a reply.
func (p *peer) expectPending(want int) {
	p.bus.tb.Helper()
	if got := p.PendingCalls(); got != want {
		p.bus.tb.Errorf("%d calls of %s wait for a reply, want %d", got, p.UniqueName(), want)
	}
}

func callAndCallee(t *testing.T) (b *testBus, caller, callee *peer) {
	b = newBus(t)
	return b, b.connect(), b.connect()
}

func TestCallIsAnsweredOnce(t *testing.T) {
	_, caller, callee := callAndCallee(t)
	caller.mustPost(call(callee.ID(), 5))
	callee.expect("1: call 5")
	caller.expectPending(1)

	callee.mustPost(reply(caller.ID(), 5))
	caller.expect("2: reply 5")
	caller.expectPending(0)

	expectError(t, callee.post(reply(caller.ID(), 5)), bus.ErrUnrequested)
	caller.expect()
}

func TestUnrequestedRepliesAreRefused(t *testing.T) {
	b, caller, callee := callAndCallee(t)
	third := b.connect()
	caller.mustPost(to(callee.ID(), "no reply wanted"))
	caller.mustPost(call(callee.ID(), 5))

	t.Run("of a stranger", func(t *testing.T) {
		expectError(t, third.post(reply(caller.ID(), 5)), bus.ErrUnrequested)
	})
	t.Run("to another call", func(t *testing.T) {
		expectError(t, callee.post(reply(caller.ID(), 6)), bus.ErrUnrequested)
	})
	t.Run("to somebody else", func(t *testing.T) {
		expectError(t, callee.post(reply(third.ID(), 5)), bus.ErrUnrequested)
	})
	t.Run("of the caller to itself", func(t *testing.T) {
		expectError(t, caller.post(reply(caller.ID(), 5)), bus.ErrUnrequested)
	})
	t.Run("to nobody", func(t *testing.T) {
		expectError(t, callee.post(reply(99, 5)), bus.ErrNoSuchConn)
	})
	caller.expect()
	caller.expectPending(1)
	callee.mustPost(reply(caller.ID(), 5))
	caller.expect("2: reply 5")
}

func TestRepliesMayComeInAnyOrder(t *testing.T) {
	b, caller, callee := callAndCallee(t)
	other := b.connect()
	caller.mustPost(call(callee.ID(), 1))
	caller.mustPost(call(callee.ID(), 2))
	caller.mustPost(call(other.ID(), 1)) // same number, another callee
	callee.mustPost(reply(caller.ID(), 2))
	other.mustPost(reply(caller.ID(), 1))
	callee.mustPost(reply(caller.ID(), 1))
	caller.expect("2: reply 2", "3: reply 1", "2: reply 1")
	caller.expectPending(0)
}

func TestManyCallsMayWaitAtATime(t *testing.T) {
	_, caller, callee := callAndCallee(t)
	for range 2 {
		for n := range uint64(200) {
			caller.mustPost(call(callee.ID(), n+1))
		}
		caller.expectPending(200)
		for n := range uint64(200) {
			callee.mustPost(reply(caller.ID(), 200-n))
		}
		caller.expectPending(0)
	}
	if got := caller.take(); len(got) != 400 {
		t.Errorf("%d replies", len(got))
	}
}

func TestCallToANameIsAnsweredByWhoHadItThen(t *testing.T) {
	b, caller, callee := callAndCallee(t)
	next := b.connect()
	callee.mustAcquire(example, bus.AllowReplacement)
	m := call(bus.ToName, 1)
	m.DstName = example
	caller.mustPost(m)
	next.mustAcquire(example, bus.ReplaceExisting)

	expectError(t, next.post(reply(caller.ID(), 1)), bus.ErrUnrequested)
	callee.mustPost(reply(caller.ID(), 1))
	caller.expect("2: reply 1")
}

func TestDuplicateCallIsRefused(t *testing.T) {
	b, caller, callee := callAndCallee(t)
	other := b.connect()
	caller.mustPost(call(callee.ID(), 1))
	expectError(t, caller.post(call(callee.ID(), 1)), bus.ErrDuplicateCall)
	expectError(t, caller.post(call(other.ID(), 1)), 0)
	callee.expect("1: call 1")

	callee.mustPost(reply(caller.ID(), 1))
	expectError(t, caller.post(call(callee.ID(), 1)), 0) // the number is free again
	callee.mustPost(reply(caller.ID(), 1))
	caller.expect("2: reply 1", "2: reply 1")
}

func TestCallsToOneself(t *testing.T) {
	_, caller, _ := callAndCallee(t)
	caller.mustPost(call(caller.ID(), 1))
	caller.expect("1: call 1")
	caller.mustPost(reply(caller.ID(), 1))
	caller.expect("1: reply 1")
	caller.expectPending(0)

	caller.mustPost(call(caller.ID(), 2))
	caller.leave()
	caller.expect("1: call 2")
	caller.expectPending(0)
}

func TestCallsInWaitingAreLimited(t *testing.T) {
	b := newBus(t)
	caller := b.connect(limited(bus.Limits{Quota: roomy.Quota, MaxCalls: 2}))
	callee, other := b.connect(), b.connect()
	caller.mustPost(call(callee.ID(), 1))
	caller.mustPost(call(other.ID(), 2))
	expectError(t, caller.post(call(callee.ID(), 3)), bus.ErrTooManyCalls)
	expectError(t, caller.post(to(callee.ID(), "no reply wanted")), 0)
	callee.expect("1: call 1", "1: no reply wanted")

	callee.mustPost(reply(caller.ID(), 1))
	expectError(t, caller.post(call(callee.ID(), 3)), 0)
	expectError(t, caller.post(call(callee.ID(), 4)), bus.ErrTooManyCalls)
	other.leave()
	expectError(t, caller.post(call(callee.ID(), 4)), 0)
}

func TestCallThatIsRefusedLeavesNothingBehind(t *testing.T) {
	b := newBus(t)
	caller := b.connect(limited(bus.Limits{Quota: roomy.Quota, MaxCalls: 1}))
	callee := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 1}}))
	callee.sleep()
	caller.mustPost(to(callee.ID(), "first"))

	expectError(t, caller.post(call(callee.ID(), 1)), bus.ErrQueueFull)
	caller.expectPending(0)
	expectError(t, callee.post(reply(caller.ID(), 1)), bus.ErrUnrequested)
	callee.wakeUp()
	callee.expect("1: first")
	expectError(t, caller.post(call(callee.ID(), 1)), 0)
	callee.expect("1: call 1")
	callee.mustPost(reply(caller.ID(), 1))
	callee.leave()
	caller.expect("2: reply 1")
}

func TestReplyThatIsRefusedLeavesTheCallOpen(t *testing.T) {
	tests := []struct {
		name   string
		limits bus.Limits
		reply  func(*bus.Message) *bus.Message
		want   error
	}{
		{"queue full", bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 1}, MaxCalls: 1},
			func(m *bus.Message) *bus.Message { return m }, bus.ErrQueueFull},
		{"too many descriptors", bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, FDs: 1}, MaxCalls: 1},
			func(m *bus.Message) *bus.Message { return withFDs(m, 2) }, bus.ErrTooManyFDs},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			caller, callee := b.connect(limited(test.limits)), b.connect()
			caller.mustPost(call(callee.ID(), 1))
			caller.sleep()
			callee.mustPost(to(caller.ID(), "first"))

			if err := callee.post(test.reply(reply(caller.ID(), 1))); err == nil || !err.(*bus.Error).Is(test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			caller.expectPending(1)
			caller.wakeUp()
			caller.expect("2: first")
			callee.mustPost(reply(caller.ID(), 1))
			caller.expect("2: reply 1")
			caller.expectPending(0)
		})
	}
}

func TestCalleeThatLeavesIsToldToEachCallerOnce(t *testing.T) {
	leave := map[string]func(*peer){
		"closes":            (*peer).leave,
		"becomes a monitor": func(p *peer) { p.monitor(filter(func(_, _ *bus.Conn, _ *bus.Message) bool { return false })) },
	}
	for how, leave := range leave {
		t.Run(how, func(t *testing.T) {
			b, caller, callee := callAndCallee(t)
			other, unconcerned := b.connect(), b.connect()
			caller.mustPost(call(callee.ID(), 1))
			caller.mustPost(call(callee.ID(), 2))
			caller.mustPost(call(callee.ID(), 3))
			caller.mustPost(call(other.ID(), 4))
			other.mustPost(call(callee.ID(), 1))
			callee.mustPost(reply(caller.ID(), 2))
			caller.expect("2: reply 2")
			callee.sleep() // does not read that it lost its names

			leave(callee)
			got := caller.take()
			if len(got) != 2 || got[0] == got[1] {
				t.Errorf("caller got %q, want ReplyDead for 1 and 3 in any order", got)
			}
			for _, line := range got {
				if line != "ReplyDead 1 of 2" && line != "ReplyDead 3 of 2" {
					t.Errorf("caller got %q", line)
				}
			}
			other.expect("1: call 4", "ReplyDead 1 of 2")
			unconcerned.expect()
			caller.expectPending(1)
			other.expectPending(0)
		})
	}
}

func TestEndOfACallIsToldToAFullQueue(t *testing.T) {
	b := newBus(t)
	caller := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 1}, MaxCalls: 1}))
	callee := b.connect()
	caller.mustPost(call(callee.ID(), 1))
	caller.sleep()
	callee.mustPost(to(caller.ID(), "first"))
	callee.leave()
	caller.wakeUp()
	caller.expect("2: first", "ReplyDead 1 of 2")
}

func TestCallerThatLeavesIsNotAnswered(t *testing.T) {
	b, caller, callee := callAndCallee(t)
	caller.mustPost(call(callee.ID(), 1))
	caller.leave()
	callee.expect("1: call 1")
	expectError(t, callee.post(reply(caller.ID(), 1)), bus.ErrNoSuchConn)
	// Nor does the callee owe anything to the next one.
	next := b.connect()
	expectError(t, callee.post(reply(next.ID(), 1)), bus.ErrUnrequested)
	callee.leave()
	caller.expect()
	next.expect()
}

func TestCallerThatBecomesAMonitorIsNotAnswered(t *testing.T) {
	_, caller, callee := callAndCallee(t)
	caller.mustPost(call(callee.ID(), 1))
	caller.monitor(filter(func(_, _ *bus.Conn, _ *bus.Message) bool { return false }))
	caller.expectPending(0)
	expectError(t, callee.post(reply(caller.ID(), 1)), bus.ErrNoSuchConn)
	callee.leave()
	caller.expect()
}

func TestCallThatIsNotAnsweredInTime(t *testing.T) {
	t.Run("the caller is told once, at the time, and a late reply is refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, caller, callee := callAndCallee(t)
			caller.mustPost(caller.timed(callee.ID(), 1, 25*time.Second))
			passes(25*time.Second - 1)
			caller.expect()
			passes(1)
			caller.expect("ReplyTimeout 1 of 2")
			caller.expectPending(0)

			expectError(t, callee.post(reply(caller.ID(), 1)), bus.ErrUnrequested)
			callee.leave()
			passes(time.Hour)
			caller.expect()
		})
	})
	t.Run("a reply in time ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, caller, callee := callAndCallee(t)
			caller.mustPost(caller.timed(callee.ID(), 1, 25*time.Second))
			passes(25*time.Second - 1)
			callee.mustPost(reply(caller.ID(), 1))
			passes(time.Hour)
			caller.expect("2: reply 1")
		})
	})
	t.Run("the end of the callee ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, caller, callee := callAndCallee(t)
			caller.mustPost(caller.timed(callee.ID(), 1, time.Second))
			callee.leave()
			passes(time.Hour)
			caller.expect("ReplyDead 1 of 2")
		})
	})
	t.Run("the end of the caller ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, caller, callee := callAndCallee(t)
			caller.mustPost(caller.timed(callee.ID(), 1, time.Second))
			caller.leave()
			passes(time.Hour)
			caller.expect()
			callee.expect("1: call 1")
		})
	})
	t.Run("each in its own time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, caller, callee := callAndCallee(t)
			for cookie, seconds := range []time.Duration{30, 10, 20, 0, 40, 10} {
				caller.mustPost(caller.timed(callee.ID(), uint64(cookie+1), seconds*time.Second))
			}
			callee.mustPost(reply(caller.ID(), 3))
			caller.expect("2: reply 3")
			passes(10 * time.Second)
			if got := caller.take(); len(got) != 2 {
				t.Errorf("after 10 s: %q", got)
			}
			passes(10 * time.Second)
			caller.expect()
			passes(10 * time.Second)
			caller.expect("ReplyTimeout 1 of 2")
			passes(10 * time.Second)
			caller.expect("ReplyTimeout 5 of 2")
			passes(24 * time.Hour)
			caller.expectPending(1) // the one without a timeout
		})
	})
	t.Run("the number may be used again at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, caller, callee := callAndCallee(t)
			caller.mustPost(caller.timed(callee.ID(), 1, 10*time.Second))
			callee.mustPost(reply(caller.ID(), 1))
			caller.mustPost(caller.timed(callee.ID(), 1, 20*time.Second))
			passes(10 * time.Second)
			caller.expect("2: reply 1")
			passes(10 * time.Second)
			caller.expect("ReplyTimeout 1 of 2")
		})
	})
	t.Run("a full queue is told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			caller := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 1}, MaxCalls: 1}))
			callee := b.connect()
			caller.mustPost(caller.timed(callee.ID(), 1, time.Second))
			caller.sleep()
			callee.mustPost(to(caller.ID(), "first"))
			passes(time.Second)
			caller.wakeUp()
			caller.expect("2: first", "ReplyTimeout 1 of 2")
		})
	})
	t.Run("a refused call has no timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, caller, _ := callAndCallee(t)
			callee := b.connect(limited(bus.Limits{}))
			expectError(t, caller.post(caller.timed(callee.ID(), 1, time.Second)), bus.ErrQueueFull)
			passes(time.Hour)
			caller.expect()
		})
	})
}

// passes lets d go by on the clock of a synctest bubble.
func passes(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// deliverNone takes what waits for p and finds that it cannot be delivered.
func (p *peer) deliverNone() {
	batch := p.Dequeue(make([]*bus.Message, 0, 10))
	for _, m := range batch {
		p.Undeliverable(m)
	}
	p.Delivered(batch)
}

func TestWhatCannotBeDeliveredIsToldToWhoeverWaits(t *testing.T) {
	t.Run("a call, to the caller", func(t *testing.T) {
		_, caller, callee := callAndCallee(t)
		callee.sleep()
		caller.mustPost(call(callee.ID(), 5))
		caller.mustPost(to(callee.ID(), "nobody waits for this"))
		callee.deliverNone()
		caller.expect("ReplyDead 5 of 2")
		caller.expectPending(0)
		expectError(t, callee.post(reply(caller.ID(), 5)), bus.ErrUnrequested)
		callee.leave()
		caller.expect()
	})
	t.Run("a reply, to the caller that cannot be given it", func(t *testing.T) {
		_, caller, callee := callAndCallee(t)
		caller.mustPost(call(callee.ID(), 5))
		caller.sleep()
		callee.mustPost(reply(caller.ID(), 5))
		caller.deliverNone()
		caller.wakeUp()
		caller.expect("ReplyDead 5 of 2")
	})
	t.Run("the copy of a monitor, to nobody", func(t *testing.T) {
		b, caller, callee := callAndCallee(t)
		m := b.monitor()
		m.sleep()
		caller.mustPost(call(callee.ID(), 5))
		m.deliverNone()
		caller.expect()
		caller.expectPending(1)
	})
}
