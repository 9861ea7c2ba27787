package bus_test

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
)

// timed makes a call of p that has to be answered in time, or, with 0, some time.
func (p *peer) timed(dst bus.ID, cookie uint64, timeout time.Duration) *bus.Message {
	m := call(dst, cookie)
	m.Extra = &bus.Extra{}
	if timeout != 0 {
		m.Extra.Deadline = p.Bus().Monotonic() + uint64(timeout)
	}
	return m
}

// late is by how much the end of a call may be told late.
const late = 2 * time.Millisecond

func TestDeadlineThatHasPassed(t *testing.T) {
	tests := []struct {
		name string
		with time.Duration // of a call that waits; 0: there is none
		sync bool
		want error
	}{
		{"is told at once", 0, false, nil},
		{"is told at once with others to come", time.Minute, false, nil},
		{"is an error if the caller only waits", 0, true, bus.ErrTimedOut},
		{"is an error if the caller only waits, with others to come", time.Minute, true, bus.ErrTimedOut},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, caller, callee := callAndCallee(t)
				want := 0
				if test.with != 0 {
					caller.mustPost(caller.timed(callee.ID(), 1, test.with))
					want++
				}
				callee.forget()
				m := caller.timed(callee.ID(), 2, -time.Nanosecond)
				m.Extra.Sync = test.sync
				err := caller.post(m)
				passes(late)
				caller.expectPending(want)
				if test.want == nil {
					expectError(t, err, 0)
					callee.expect("1: call 2")
					caller.expect("ReplyTimeout 2 of 2")
					return
				}
				expectError(t, err, bus.ErrTimedOut)
				callee.expect()
				caller.expect()
			})
		})
	}
}

func TestDeadlinesThatMeanNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, caller, callee := callAndCallee(t)
		for cookie, deadline := range []uint64{0, math.MaxInt64 + 1, math.MaxUint64} {
			m := call(callee.ID(), uint64(cookie+1))
			m.Extra = &bus.Extra{Deadline: deadline, Sync: true}
			if got := m.Deadline(); got != 0 {
				t.Errorf("Deadline of %d is %d", deadline, got)
			}
			caller.mustPost(m)
		}
		far := call(callee.ID(), 4)
		far.Extra = &bus.Extra{Deadline: math.MaxInt64}
		caller.mustPost(far)
		passes(100 * 365 * 24 * time.Hour)
		caller.expect()
		caller.expectPending(4)
	})
}

// A thousand calls of one connection and deadlines of all kinds: rising, falling, the same, in any order.
func TestManyDeadlines(t *testing.T) {
	orders := map[string]func(n int) int{
		"rising":          func(n int) int { return n },
		"falling":         func(n int) int { return 999 - n },
		"in no order":     func(n int) int { return n * 7919 % 1000 },
		"all the same":    func(int) int { return 500 },
		"of two patients": func(n int) int { return n % 2 * 999 },
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, caller, callee := callAndCallee(t)
				for n := range 1000 {
					caller.mustPost(caller.timed(callee.ID(), uint64(n+1), time.Duration(order(n)+1)*10*time.Millisecond))
				}
				callee.mustPost(reply(caller.ID(), 1000))
				caller.expect("2: reply 1000")
				told := 0
				for step := range 1000 {
					passes(10 * time.Millisecond)
					want := 0
					for n := range 999 {
						if order(n) <= step {
							want++
						}
					}
					told += len(caller.take())
					if told != want {
						t.Fatalf("after %d ms %d were told, want %d", (step+1)*10, told, want)
					}
				}
				caller.expectPending(0)
			})
		})
	}
}

func TestEveryCallEndsOnceAndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(t *rapid.T) { // *testing.T tells its deadline, not in here though
			b := newBus(t)
			caller, callee := b.connect(), b.connect()
			deadlines := map[uint64]uint64{} // of the calls that wait
			var cookie uint64
			pick := func(t *rapid.T) uint64 {
				if len(deadlines) == 0 {
					return 0 // nobody waits
				}
				var waiting []uint64
				for c := range deadlines {
					waiting = append(waiting, c)
				}
				slices.Sort(waiting)
				return rapid.SampledFrom(waiting).Draw(t, "call")
			}
			t.Repeat(map[string]func(*rapid.T){
				"call": func(t *rapid.T) {
					cookie++
					timeout := rapid.SampledFrom([]time.Duration{-1, 1, 10, 1000, 0}).Draw(t, "timeout") *
						time.Duration(rapid.IntRange(1, 1e6).Draw(t, "times"))
					m := caller.timed(callee.ID(), cookie, timeout)
					deadlines[cookie] = m.Deadline()
					caller.mustPost(m)
				},
				"answer": func(t *rapid.T) {
					c := pick(t)
					if c == 0 {
						return
					}
					if err := callee.post(reply(caller.ID(), c)); err == nil {
						delete(deadlines, c)
					} else if due := deadlines[c]; due == 0 || due > b.Monotonic() {
						t.Fatalf("the answer to %d comes %v early: %v", c, time.Duration(due-b.Monotonic()), err)
					}
				},
				"cancel": func(t *rapid.T) {
					c := pick(t)
					if c == 0 {
						return
					}
					if due := deadlines[c]; caller.CancelCall(c) {
						delete(deadlines, c)
					} else if due == 0 || due > b.Monotonic() {
						t.Fatalf("call %d has ended", c)
					}
				},
				"wait": func(t *rapid.T) { passes(time.Duration(rapid.IntRange(0, 2e6).Draw(t, "ns"))) },
				"": func(t *rapid.T) {
					synctest.Wait()
					now := b.Monotonic()
					for _, line := range caller.take() {
						for c, due := range deadlines {
							if line == describeTimeout(c, callee.ID()) {
								if due == 0 || due > now {
									t.Fatalf("call %d was ended %v early", c, time.Duration(due-now))
								}
								delete(deadlines, c)
							}
						}
					}
					for c, due := range deadlines {
						if due != 0 && due+uint64(late) < now {
							t.Fatalf("call %d should have ended %v ago", c, time.Duration(now-due))
						}
					}
					if n := caller.PendingCalls(); n != len(deadlines) {
						t.Fatalf("%d calls wait, want %d", n, len(deadlines))
					}
				},
			})
			caller.leave()
			callee.leave()
			synctest.Wait()
		})
	})
}

func describeTimeout(cookie uint64, callee bus.ID) string {
	m := call(0, 0)
	m.ReplyCookie, m.Notification = cookie, &bus.Notification{Kind: bus.ReplyTimeout, OldOwner: callee}
	return describe(m)
}

// A timer would hold it until the deadline.
func TestConnectionThatLeftIsNotKeptByItsCalls(t *testing.T) {
	leave := map[string]func(*peer){
		"closed":           (*peer).leave,
		"closed a monitor": func(p *peer) { p.monitor(all); p.leave() },
	}
	for how, leave := range leave {
		t.Run(how, func(t *testing.T) {
			b := newBus(t)
			callee := b.connect()
			gone := func() weak.Pointer[bus.Conn] {
				caller := b.connect()
				caller.mustPost(caller.timed(callee.ID(), 1, time.Hour))
				leave(caller)
				return weak.Make(caller.Conn)
			}()
			for range 1000 { // a timer that was stopped is forgotten when the scheduler comes by
				if runtime.GC(); gone.Value() == nil {
					break
				}
				runtime.Gosched()
			}
			if gone.Value() != nil {
				t.Error("it is still there")
			}
			runtime.KeepAlive(callee)
		})
	}
}

func TestCallsEndWhileConnectionsLeave(t *testing.T) {
	b := newBus(t)
	callee := b.connect()
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for n := range 200 {
				caller := b.connect()
				for cookie := range uint64(3) {
					caller.mustPost(caller.timed(callee.ID(), cookie+1, time.Duration(n)*time.Microsecond))
				}
				if n%2 == 0 {
					caller.monitor(all)
				}
				caller.leave()
				if left := caller.PendingCalls(); left != 0 {
					t.Errorf("%d calls wait", left)
				}
			}
		})
	}
	running.Wait()
}

func TestMonotonicIsTheClockOfTheSystem(t *testing.T) {
	b := newBus(t)
	read := func() uint64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return uint64(ts.Nano())
	}
	for range 100 {
		if got, after := b.Monotonic(), read(); got > after {
			t.Fatalf("%d is ahead of the clock at %d", got, after)
		}
	}
	const allowance = uint64(time.Second) // somebody may stop us between reading one clock and the other
	if before, got := read(), b.Monotonic(); got+allowance < before {
		t.Errorf("%d is behind the clock at %d", got, before)
	}
}
