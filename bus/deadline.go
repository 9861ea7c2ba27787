package bus

import (
	"cmp"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Calls that are not answered in time. Nearly all are, so being answered must cost nothing: no clock
// is read for it and nothing is taken out of an order. Each caller has one timer, set to the first
// deadline that it was given since the timer fired last. What comes with later deadlines, as calls
// do whose callers have the same patience each time, finds it set already. When it fires, the
// calls that wait then are looked through, once, and it is set to the first deadline among them.

// expiry is that timer. Conn.mu guards it, as it does the calls.
type expiry struct {
	due    uint64 // when the timer fires; 0 if it is not set
	looked uint64 // when the calls were looked through last
	timer  *time.Timer
}

// expiryRest is how long after looking through the calls it is done again, at the earliest, in
// nanoseconds: a caller cannot have it done for each call. By this much the end of a call may be
// told late.
const expiryRest = uint64(time.Millisecond)

// covers reports whether the timer is set to fire by the deadline.
func (e *expiry) covers(deadline uint64) bool { return e.due != 0 && e.due <= deadline }

// watch sets the timer to a deadline that it does not cover. With sync, a deadline that has passed
// is reported instead. c.mu is held.
func (c *Conn) watch(deadline uint64, sync bool) (passed bool) {
	now := c.bus.Monotonic()
	if sync && deadline <= now {
		return true
	}
	c.setExpiry(deadline, now)
	return false
}

// sooner returns the deadline, or that of a patience which ends before.
func (c *Conn) sooner(deadline uint64, patience time.Duration) uint64 {
	ends := c.bus.Monotonic() + uint64(patience)
	if deadline == 0 {
		return ends
	}
	return min(deadline, ends)
}

// setExpiry sets the timer to a deadline, or as soon after it as may be, if it does not fire by then
// anyway. c.mu is held.
func (c *Conn) setExpiry(deadline, now uint64) {
	e := &c.expiry
	due := max(deadline, e.looked+expiryRest)
	if e.covers(due) {
		return
	}
	e.due = due
	wait := time.Duration(due) - time.Duration(now) // both are below 1<<63
	if e.timer == nil {
		e.timer = time.AfterFunc(wait, c.expire)
	} else {
		e.timer.Reset(wait)
	}
}

// stop is for a connection that has no calls any more and will not have any. Bus.mu is held for
// writing. If the timer has fired just now, expire finds nothing.
func (e *expiry) stop() {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.due, e.timer = 0, nil
}

// expire tells c of its calls whose time is up.
func (c *Conn) expire() {
	late, now := c.lateCalls()
	if len(late) == 0 {
		return
	}
	// Time acts as a connection of its own, which is not on the bus.
	b := c.bus
	timekeeper := &Conn{bus: b}
	b.mu.Lock()
	for _, w := range late {
		if c.calls[w.key] != w || w.deadline == 0 || w.deadline > now {
			continue // it has ended meanwhile, and may be another one already
		}
		c.settle(w.key)
		w.callee.disown(w)
		if limit := c.limits.load().CallTimeout; limit != 0 {
			b.unanswered(w, limit)
		}
		timekeeper.charged, timekeeper.door = w.callee.charged, w.callee.door
		timekeeper.tell(c, w.key.cookie, Notification{Kind: ReplyTimeout, OldOwner: w.callee.id})
	}
	b.mu.Unlock()
	timekeeper.Flush()
}

// lateCalls returns the calls of c whose time is up, in the order of their deadlines, and sets the
// timer to the first of the others. It returns the time as well.
func (c *Conn) lateCalls() (late []*call, now uint64) {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	now = c.bus.Monotonic()
	c.expiry.due, c.expiry.looked = 0, now
	first := uint64(math.MaxUint64)
	for _, w := range c.calls {
		switch {
		case w.deadline == 0:
		case w.deadline <= now:
			late = append(late, w)
		default:
			first = min(first, w.deadline)
		}
	}
	if first != math.MaxUint64 {
		c.setExpiry(first, now)
	}
	slices.SortFunc(late, func(a, b *call) int { return cmp.Compare(a.deadline, b.deadline) })
	return late, now
}

// Monotonic returns the time of CLOCK_MONOTONIC in nanoseconds. It is never ahead of that clock, and
// behind it by less than a system call takes. It makes none.
func (b *Bus) Monotonic() uint64 { return b.clock.monotonic(time.Now()) }

// clock is one moment as time.Time has it and in nanoseconds of CLOCK_MONOTONIC: from then on it
// takes no system call to know the latter.
type clock struct {
	at time.Time
	ns uint64
}

// monotonic returns t in nanoseconds of CLOCK_MONOTONIC.
func (c *clock) monotonic(t time.Time) uint64 { return c.ns + uint64(t.Sub(c.at)) }

// readClock makes a clock. It is slow by the time that it took to read both clocks, the shortest of
// some attempts.
func readClock() (best clock) {
	shortest := time.Duration(-1)
	for range 5 {
		var ts unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			panic(err) // every Linux has this clock
		}
		at := time.Now()
		if took := at.Sub(before); shortest < 0 || took < shortest {
			shortest, best = took, clock{at, uint64(ts.Nano())}
		}
	}
	return best
}
