package bus_test

import (
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kdbus-go/kdbus/bus"
)

// shared gives a connection limits that the test changes.
func shared(s *bus.SharedLimits) func(*bus.ConnConfig) {
	return func(c *bus.ConnConfig) { c.SharedLimits = s }
}

func TestLimitsChangeForConnectionsThatAreThere(t *testing.T) {
	wide, narrow := *roomy, *roomy
	narrow.MaxNames, narrow.MaxCalls, narrow.MaxMatches = 1, 1, 1
	narrow.Quota.Bytes = 1 // a queue takes as many messages as it likes until it has so much
	var limits bus.SharedLimits
	limits.Set(wide)
	b := newBus(t)
	p, q := b.connect(native, shared(&limits)), b.connect(native, shared(&limits))
	q.sleep()
	cookie := uint64(0)
	tests := []struct {
		name string
		do   func() error
		want syscall.Errno
	}{
		{"names", func() error {
			_, err := p.AcquireName([]string{"org.example.A", "org.example.B", "org.example.C"}[cookie%3], 0)
			return err
		}, bus.ErrTooManyNames},
		{"calls", func() error { return p.post(call(q.ID(), cookie)) }, bus.ErrTooManyCalls},
		{"queue", func() error { return p.post(to(q.ID(), "text")) }, bus.ErrQueueFull},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, step := range []struct {
				limits bus.Limits
				want   syscall.Errno
			}{{wide, 0}, {narrow, test.want}, {wide, 0}} {
				limits.Set(step.limits)
				if limits.Get() != step.limits {
					t.Errorf("limits %+v, want %+v", limits.Get(), step.limits)
				}
				cookie++
				expectError(t, test.do(), step.want)
			}
		})
	}
}

func TestZeroSharedLimitsAreTheDefaults(t *testing.T) {
	b := newBus(t)
	if got := b.connect(shared(new(bus.SharedLimits))).Limits(); got != bus.DefaultLimits {
		t.Errorf("%+v", got)
	}
}

func TestMaxConnsPerUserChanges(t *testing.T) {
	domain := bus.NewDomain(bus.DomainConfig{})
	b := domain.NewBus(bus.Config{})
	connect := func(uid uint32) error {
		_, err := b.Endpoint().Connect(bus.ConnConfig{UID: uid, Limits: roomy})
		return err
	}
	expectError(t, connect(7), 0)
	expectError(t, connect(7), 0)
	for _, step := range []struct {
		set, now int
		of7, of8 syscall.Errno
	}{
		{1, 1, bus.ErrTooManyConns, 0},
		{-1, 0, bus.ErrTooManyConns, bus.ErrTooManyConns},
		{3, 3, 0, 0},
		{0, bus.DefaultMaxConnsPerUser, 0, 0},
	} {
		domain.SetMaxConnsPerUser(step.set)
		if got := domain.MaxConnsPerUser(); got != step.now {
			t.Errorf("set to %d, is %d", step.set, got)
		}
		expectError(t, connect(7), step.of7)
		expectError(t, connect(8), step.of8)
	}
}

func TestCallTimeout(t *testing.T) {
	tests := []struct {
		name     string
		limit    time.Duration
		deadline time.Duration // of the caller's own, 0 for none
		ends     time.Duration // 0: it waits for ever
	}{
		{"none", 0, 0, 0},
		{"of the limit", time.Second, 0, time.Second},
		{"of the caller, who is less patient", time.Minute, time.Second, time.Second},
		{"of the limit, which is less patient", time.Second, time.Minute, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t)
				limits := *roomy
				limits.CallTimeout = test.limit
				caller, callee := b.connect(limited(limits)), b.connect()
				caller.mustPost(caller.timed(callee.ID(), 1, test.deadline))
				if test.ends == 0 {
					passes(24 * time.Hour)
					caller.expectPending(1)
					return
				}
				passes(test.ends - late)
				caller.expectPending(1)
				passes(2 * late)
				caller.expectPending(0)
				caller.expect("ReplyTimeout 1 of 2")
				last := b.Excesses().ByLimit()["reply_timeout"].Last
				if want := "connection :1.2 of user 1000 has not answered call 1 of connection :1.1 of user 1000 in time"; test.limit != 0 &&
					(last.UID != 1000 || last.Conn != callee.ID() || last.Max != test.limit.Milliseconds() || !strings.Contains(last.Text, want)) {
					t.Errorf("it is told as %+v, want %q", last, want)
				}
			})
		})
	}
}
