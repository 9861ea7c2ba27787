package bus_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// told are the excesses that a test was told of.
type told struct {
	mu  sync.Mutex
	all []bus.Excess
	of  []uint64
}

func (r *told) report(e bus.Excess, times uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.of = append(r.all, e), append(r.of, times)
}

// ofProcess makes the peer of a connection a process.
type process uint32

func (p process) Creds() meta.Creds { return meta.Creds{PID: uint32(p)} }

// Each limit of the core, reached: the error, the account and the report say which, whose, how much, and who has
// filled it. Another user is not concerned.
func TestLimitThatIsReached(t *testing.T) {
	type limits = bus.Limits
	tests := []struct {
		name   string
		limits limits // of the receiver
		// fill lets user 1 reach the limit; other is what user 2 does, which has to go well.
		fill  func(b *testBus, one, receiver *peer) error
		other func(b *testBus, two, receiver *peer) error
		want  bus.Excess // Text is what it has in it
		says  string     // the error, if that is not the text
	}{
		{
			name:   "bytes of a queue",
			limits: limits{Quota: bus.Quota{Bytes: 300, FDs: 9}},
			fill: func(b *testBus, one, receiver *peer) error {
				one.mustPost(sized(b.tb, receiver.ID(), 300))
				return one.post(sized(b.tb, receiver.ID(), 300))
			},
			other: func(b *testBus, two, receiver *peer) error { return two.post(sized(b.tb, receiver.ID(), 300)) },
			want: bus.Excess{Limit: "max_outgoing_bytes", Amount: 300, Max: 300, UID: 1, Conn: 1,
				Text: "user 1 already has 300 bytes in the queue of connection :1.1 of user 3 (max_outgoing_bytes=300), most of it sent by :1.2"},
		},
		{
			name:   "bytes of a queue, by a signal",
			limits: limits{Quota: bus.Quota{Bytes: 300, FDs: 9}},
			fill: func(b *testBus, one, receiver *peer) error {
				one.mustPost(sized(b.tb, receiver.ID(), 300))
				m := sized(b.tb, receiver.ID(), 300)
				m.Flags = bus.Signal
				one.mustPost(m) // nobody is told
				return nil
			},
			other: func(b *testBus, two, receiver *peer) error { return two.post(sized(b.tb, receiver.ID(), 300)) },
			want: bus.Excess{Limit: "max_outgoing_bytes", Amount: 300, Max: 300, UID: 1, Conn: 1,
				Text: "user 1 already has 300 bytes in the queue of connection :1.1 of user 3 (max_outgoing_bytes=300), most of it sent by :1.2"},
		},
		{
			name:   "descriptors of a queue",
			limits: limits{Quota: bus.Quota{Bytes: 1 << 20, FDs: 3}},
			fill: func(b *testBus, one, receiver *peer) error {
				one.mustPost(withFDs(to(receiver.ID(), "a"), 2))
				return one.post(withFDs(to(receiver.ID(), "b"), 2))
			},
			other: func(b *testBus, two, receiver *peer) error { return two.post(withFDs(to(receiver.ID(), "c"), 3)) },
			want: bus.Excess{Limit: "max_outgoing_unix_fds", Amount: 2, Max: 3, UID: 1, Conn: 1,
				Text: "user 1 already has 2 file descriptors in the queue of connection :1.1 of user 3 (max_outgoing_unix_fds=3), most of it sent by :1.2"},
		},
		{
			name:   "a pool of kdbus",
			limits: limits{Quota: bus.Quota{Bytes: 2400, Messages: 9, FDs: 9, Fair: true}},
			fill: func(b *testBus, one, receiver *peer) error {
				one.mustPost(sized(b.tb, receiver.ID(), 400))
				return one.post(sized(b.tb, receiver.ID(), 200))
			},
			other: func(b *testBus, two, receiver *peer) error { return two.post(sized(b.tb, receiver.ID(), 200)) },
			want: bus.Excess{Limit: "pool size", Amount: 400, Max: 400, UID: 1, Conn: 1,
				Text: "user 1 already has 400 bytes in the queue of connection :1.1 of user 3 (pool size=400), most of it sent by :1.2"},
		},
		{
			name:   "messages of kdbus",
			limits: limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 1, FDs: 9, Fair: true}},
			fill: func(b *testBus, one, receiver *peer) error {
				one.mustPost(to(receiver.ID(), "a"))
				return one.post(to(receiver.ID(), "b"))
			},
			other: func(b *testBus, two, receiver *peer) error { return two.post(to(receiver.ID(), "c")) },
			want: bus.Excess{Limit: "messages per user", Amount: 1, Max: 1, UID: 1, Conn: 1,
				Text: "user 1 already has 1 messages in the queue of connection :1.1 of user 3 (messages per user=1), most of it sent by :1.2"},
		},
		{
			name:   "calls that wait",
			limits: *roomy,
			fill: func(b *testBus, one, receiver *peer) error {
				for cookie := range uint64(3) {
					one.mustPost(call(receiver.ID(), cookie+1))
				}
				return one.post(call(receiver.ID(), 4))
			},
			other: func(b *testBus, two, receiver *peer) error { return two.post(call(receiver.ID(), 1)) },
			want: bus.Excess{Limit: "max_replies_per_connection", Amount: 3, Max: 3, UID: 1, Conn: 2,
				Text: "3 calls of connection :1.2 of user 1 wait for a reply, as many as may (max_replies_per_connection=3), most of them for :1.1"},
		},
		{
			name:   "connections of a user",
			limits: *roomy,
			fill: func(b *testBus, one, receiver *peer) error {
				_, err := b.Endpoint().Connect(bus.ConnConfig{UID: 1, Limits: roomy, Receiver: one})
				return err
			},
			other: func(b *testBus, two, receiver *peer) error {
				_, err := b.Endpoint().Connect(bus.ConnConfig{UID: 3, Limits: roomy, Receiver: two})
				return err
			},
			want: bus.Excess{Limit: "max_connections_per_user", Amount: 1, Max: 1, UID: 1,
				Text: "user 1 has 1 connections, as many as it may (max_connections_per_user=1), 1 of them of process 77"},
			says: "user 1 has 1 connections, as many as it may (max_connections_per_user=1)",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t)
				var reports told
				b.Excesses().Report(reports.report)
				receiver := b.connect(ofUser(3), limited(test.limits))
				receiver.sleep()
				own := *roomy
				own.MaxCalls = 3
				one := b.connect(ofUser(1), limited(own), func(c *bus.ConnConfig) { c.Peer = process(77) })
				two := b.connect(ofUser(2), limited(own))
				if test.want.Limit == "max_connections_per_user" {
					b.Domain().SetMaxConnsPerUser(1)
					b.Domain().SetMaxConnsPerUser(1)
					receiver.Close() // so that user 3 may have another one
				}
				err := test.fill(b, one, receiver)
				says := test.says
				if says == "" {
					says = test.want.Text
				}
				if err != nil && err.Error() != says {
					t.Errorf("the error is %q\nwant %q", err, says)
				}
				if err := test.other(b, two, receiver); err != nil {
					t.Errorf("another user is told %v", err)
				}
				synctest.Wait()
				if diff := cmp.Diff([]bus.Excess{test.want}, reports.all); diff != "" {
					t.Errorf("reported, -want +got:\n%s", diff)
				}
				if diff := cmp.Diff(map[string]bus.ExcessCount{test.want.Limit: {Times: 1, Last: test.want, At: time.Now()}}, b.Excesses().ByLimit()); diff != "" {
					t.Errorf("counted, -want +got:\n%s", diff)
				}
				if diff := cmp.Diff(map[bus.Account]uint64{{UID: 1}: 1}, b.Excesses().ByAccount()); diff != "" {
					t.Errorf("counted by user, -want +got:\n%s", diff)
				}
			})
		})
	}
}

// Who has filled a queue is named wherever in it the messages wait.
func TestWhoFilledAQueueIsNamed(t *testing.T) {
	held := func(*testBus, *peer) *bus.Message { return toName(example, strings.Repeat("x", 300)) }
	service := func(c *bus.ConnConfig) { c.Service = &aService{} }
	for _, test := range []struct {
		name     string
		receiver []func(*bus.ConnConfig)
		message  func(b *testBus, receiver *peer) *bus.Message
	}{
		{"in order", nil, func(b *testBus, receiver *peer) *bus.Message { return sized(b.tb, receiver.ID(), 300) }},
		{"by priority", nil, func(_ *testBus, receiver *peer) *bus.Message {
			return prioritized(receiver.ID(), strings.Repeat("x", 300), 7)
		}},
		{"at an activator", []func(*bus.ConnConfig){native, activator(example)}, held},
		{"at the activator of a service", []func(*bus.ConnConfig){activator(example), service}, held},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			few := limited(bus.Limits{Quota: bus.Quota{Bytes: 1000, FDs: 9}})
			receiver := b.connect(append(test.receiver, few)...)
			receiver.sleep()
			one, two := b.connect(), b.connect()
			two.mustPost(test.message(b, receiver))
			var err error
			for err == nil {
				err = one.post(test.message(b, receiver))
			}
			if want := ", most of it sent by " + one.UniqueName(); !strings.HasSuffix(err.Error(), want) {
				t.Errorf("the error is %q, want it to end in %q", err, want)
			}
		})
	}
}

func TestExcessesAreReportedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports told
		var x bus.Excesses
		x.Report(reports.report)
		texts := 0
		note := func(limit string, uid uint32) {
			x.Note(bus.Excess{Limit: limit, UID: uid}, func() string { texts++; return "text" })
		}
		for range 14 {
			note("a", 1)
		}
		note("a", 2) // is not hidden by user 1
		note("b", 1)
		time.Sleep(5 * time.Second)
		note("a", 1)
		synctest.Wait()
		var got []string
		for i, e := range reports.all {
			got = append(got, fmt.Sprintf("%s of %d, %d times", e.Limit, e.UID, reports.of[i]))
		}
		want := []string{"a of 1, 1 times", "a of 1, 1 times", "a of 1, 1 times", "a of 1, 1 times", "a of 1, 1 times",
			"a of 2, 1 times", "b of 1, 1 times", "a of 1, 10 times"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if texts != len(want) {
			t.Errorf("%d texts were made for %d reports", texts, len(want))
		}
		if got := x.ByLimit()["a"].Times; got != 16 {
			t.Errorf("%d times", got)
		}
		if diff := cmp.Diff(map[bus.Account]uint64{{UID: 1}: 16, {UID: 2}: 1}, x.ByAccount()); diff != "" {
			t.Errorf("by user, -want +got:\n%s", diff)
		}
	})
}

// Many users who reach limits do not make the bus remember them all.
func TestExcessesOfManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x bus.Excesses
		const users = 5000
		for round := range 2 {
			for uid := range uint32(users) {
				x.Note(bus.Excess{Limit: "a", UID: uid + uint32(round)*users}, func() string { return strings.Repeat("x", 10) })
			}
			time.Sleep(time.Minute)
		}
		if got := len(x.ByAccount()); got >= users {
			t.Errorf("%d users are remembered", got)
		}
		if got := x.ByLimit()["a"].Times; got != 2*users {
			t.Errorf("%d times, want %d", got, 2*users)
		}
	})
}
