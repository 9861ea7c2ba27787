package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
)

// overhead is what a message costs beside its payload.
func overhead(t tb) int {
	p := newBus(t).connect()
	m := to(p.ID(), "")
	if err := p.post(m); err != nil {
		t.Fatalf("Send: %v", err)
	}
	return m.Size()
}

// withFDs gives m descriptors that there are not, so that many can be counted and none has to be closed.
func withFDs(m *bus.Message, n int) *bus.Message {
	for range n {
		m.FDs = append(m.FDs, -1)
	}
	return m
}

// sized makes a message that is accounted with size bytes.
func sized(t tb, dst bus.ID, size int) *bus.Message {
	return to(dst, strings.Repeat("x", size-overhead(t)))
}

func TestFairQuota(t *testing.T) {
	// The half that is not the owner's has 6,000 bytes.
	quota := bus.Quota{Bytes: 12_000, Messages: 256, FDs: 16, Fair: true}
	type send struct {
		uid       uint32
		size, fds int
		want      syscall.Errno
	}
	tests := []struct {
		name  string
		sends []send
	}{
		{"a user has a third", []send{{1, 2000, 0, 0}, {1, 128, 0, bus.ErrQueueFull}}},
		{"not a byte more", []send{{1, 2001, 0, bus.ErrQueueFull}}},
		{"in as many messages as it likes", []send{{1, 500, 0, 0}, {1, 500, 0, 0}, {1, 1000, 0, 0}, {1, 128, 0, bus.ErrQueueFull}}},
		{"the next user has a third of what is left",
			[]send{{1, 2000, 0, 0}, {2, 1334, 0, bus.ErrQueueFull}, {2, 1333, 0, 0}, {2, 128, 0, bus.ErrQueueFull}, {3, 888, 0, 0}}},
		{"who has little may still have more when others came",
			[]send{{1, 900, 0, 0}, {2, 900, 0, 0}, {1, 801, 0, bus.ErrQueueFull}, {1, 800, 0, 0}}},
		{"a user has 16 descriptors", []send{{1, 128, 16, 0}, {1, 128, 1, bus.ErrTooManyFDs}, {1, 128, 0, 0}, {2, 128, 16, 0}}},
		{"not one more", []send{{1, 128, 17, bus.ErrTooManyFDs}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			receiver := b.connect(limited(bus.Limits{Quota: quota}))
			receiver.sleep()
			for i, s := range test.sends {
				sender := b.connect(ofUser(s.uid))
				err := sender.post(withFDs(sized(t, receiver.ID(), s.size), s.fds))
				if err == nil && s.want == 0 {
					continue
				}
				t.Logf("send %d: %v", i, err)
				expectError(t, err, s.want)
			}
		})
	}
}

func TestQuotaOfDBusDaemon(t *testing.T) {
	b := newBus(t)
	receiver := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1000, FDs: 2}}))
	receiver.sleep()
	one, other := b.connect(ofUser(1)), b.connect(ofUser(2))

	expectError(t, one.post(sized(t, receiver.ID(), 999)), 0)
	expectError(t, one.post(sized(t, receiver.ID(), 5000)), 0) // the limit was not reached before
	expectError(t, one.post(sized(t, receiver.ID(), 128)), bus.ErrQueueFull)
	expectError(t, other.post(sized(t, receiver.ID(), 128)), 0)
	expectError(t, other.post(withFDs(to(receiver.ID(), ""), 3)), bus.ErrTooManyFDs)
	receiver.wakeUp()
	expectError(t, one.post(sized(t, receiver.ID(), 128)), 0)
}

func TestManySmallMessagesFitWithoutALimitOnTheirNumber(t *testing.T) {
	b := newBus(t)
	receiver, sender := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 64 << 20}})), b.connect()
	receiver.sleep()
	const n = 20_000
	for range n {
		sender.mustPost(to(receiver.ID(), ""))
	}
	if s := receiver.QueueStats(); s.Messages != n || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	receiver.wakeUp()
	if got := receiver.take(); len(got) != n {
		t.Errorf("%d messages", len(got))
	}
}

func TestMessagesCountUntilTheyAreDelivered(t *testing.T) {
	b := newBus(t)
	receiver, sender := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 1}})), b.connect()
	receiver.sleep()
	sender.mustPost(to(receiver.ID(), "first"))
	taken := receiver.Dequeue(make([]*bus.Message, 0, 1))
	expectError(t, sender.post(to(receiver.ID(), "second")), bus.ErrQueueFull)
	receiver.Delivered(taken)
	expectError(t, sender.post(to(receiver.ID(), "third")), 0)
}

func TestOnlyBroadcastsAndSignalsAreDropped(t *testing.T) {
	full := limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 1}, MaxCalls: 9})
	tests := []struct {
		name    string
		message func(receiver bus.ID) *bus.Message
		want    syscall.Errno
		dropped uint64
	}{
		{"message", func(id bus.ID) *bus.Message { return to(id, "x") }, bus.ErrQueueFull, 0},
		{"call", func(id bus.ID) *bus.Message { return call(id, 1) }, bus.ErrQueueFull, 0},
		{"reply", func(id bus.ID) *bus.Message { return reply(id, 1) }, bus.ErrQueueFull, 0},
		{"signal", func(id bus.ID) *bus.Message { return signal(id, "x") }, 0, 1},
		{"broadcast", func(bus.ID) *bus.Message { return to(bus.Broadcast, "x") }, 0, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			receiver, sender := b.connect(full), b.connect()
			receiver.mustPost(call(sender.ID(), 1))
			receiver.subscribe(everything)
			receiver.sleep()
			sender.mustPost(to(receiver.ID(), "first"))
			expectError(t, sender.post(test.message(receiver.ID())), test.want)
			if s := receiver.QueueStats(); s.Messages != 1 || s.Dropped != test.dropped {
				t.Errorf("%+v", s)
			}
			receiver.wakeUp()
			receiver.expect("2: first")
		})
	}
}

func TestClosedConnectionHoldsNothing(t *testing.T) {
	b := newBus(t)
	receiver, sender := b.connect(), b.connect()
	receiver.sleep()
	for range 3 {
		sender.mustPost(withFDs(to(receiver.ID(), "text"), 1))
	}
	taken := receiver.Dequeue(make([]*bus.Message, 0, 2))
	receiver.leave()
	receiver.Delivered(taken)
	s := receiver.QueueStats()
	if s.Messages != 0 || s.Bytes != 0 || s.FDs != 0 {
		t.Errorf("after Close: %+v", s)
	}
}

// held is a message in the books of a queue.
type held struct {
	text      string
	uid       uint32
	size, fds int
}

// theBus is who the bus's own answers are from: an account of its own.
const theBus = 1<<32 - 1

// account is a receive queue as the naive see it: a list of what is in it, counted anew each time.
type account struct {
	quota   bus.Quota
	held    []held // not delivered, oldest first
	taken   int    // how many of them were taken out
	dropped uint64
	peak    int
	peakFDs int
}

func (a *account) sum(of func(held) bool) (bytes, msgs, fds int) {
	for _, h := range a.held {
		if of(h) {
			bytes, msgs, fds = bytes+h.size, msgs+1, fds+h.fds
		}
	}
	return
}

// verdict says whether h may come in.
func (a *account) verdict(h held) error {
	total, _, _ := a.sum(func(held) bool { return true })
	bytes, msgs, fds := a.sum(func(other held) bool { return other.uid == h.uid })
	answers, _, _ := a.sum(func(other held) bool { return other.uid == theBus })
	q := a.quota
	// kdbus: half is the owner's, for what the bus answers; of the other half, less what the others hold, a user may
	// hold a third.
	half, total := q.Bytes/2, total-answers
	switch {
	case q.Fair && h.uid == theBus && answers+h.size > half:
		return bus.ErrQueueFull
	case q.Fair && h.uid != theBus && (total > half || bytes+h.size > (half-total+bytes)/3):
		return bus.ErrQueueFull
	case !q.Fair && bytes >= q.Bytes:
		return bus.ErrQueueFull
	case q.Messages > 0 && msgs+1 > q.Messages && h.uid != theBus:
		return bus.ErrQueueFull
	}
	if h.fds > 0 && fds+h.fds > q.FDs {
		return bus.ErrTooManyFDs
	}
	return nil
}

func (a *account) take(h held) {
	a.held = append(a.held, h)
	bytes, _, fds := a.sum(func(held) bool { return true })
	a.peak, a.peakFDs = max(a.peak, bytes), max(a.peakFDs, fds)
}

// receive is what becomes of a message, and the error that its sender gets.
func (a *account) receive(h held, droppable bool) error {
	err := a.verdict(h)
	switch {
	case err == nil:
		a.take(h)
	case droppable:
		a.dropped++
		return nil
	}
	return err
}

func drawQuota(t *rapid.T) bus.Quota {
	if rapid.Bool().Draw(t, "fair") {
		return bus.Quota{
			Fair:     true,
			Bytes:    rapid.IntRange(0, 20_000).Draw(t, "bytes"),
			Messages: rapid.SampledFrom([]int{256, 3}).Draw(t, "messages"),
			FDs:      16,
		}
	}
	return bus.Quota{
		Bytes:    rapid.IntRange(0, 5_000).Draw(t, "bytes"),
		Messages: rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "messages"),
		FDs:      rapid.IntRange(0, 20).Draw(t, "fds"),
	}
}

// quotaTest runs a receiver and its account side by side.
type quotaTest struct {
	overhead int
	bus      *testBus
	receiver *peer
	account  account
	batches  [][]*bus.Message // taken out, not delivered
	senders  []*peer          // one for each user
	serial   int
}

func (q *quotaTest) send(t *rapid.T) {
	sender := rapid.SampledFrom(q.senders).Draw(t, "sender")
	q.serial++
	text := fmt.Sprintf("%-*d", rapid.IntRange(0, 1500).Draw(t, "length"), q.serial)
	m := withFDs(to(q.receiver.ID(), text), rapid.SampledFrom([]int{0, 0, 0, 1, 4, 17}).Draw(t, "fds"))
	m.Cookie = uint64(q.serial)
	droppable := false
	switch rapid.SampledFrom([]string{"message", "call", "signal", "broadcast", "answer of the bus"}).Draw(t, "kind") {
	case "call":
		m.Flags = bus.ExpectReply
	case "signal":
		m.Flags = bus.Signal
		droppable = true
	case "broadcast":
		m.Dst = bus.Broadcast
		droppable = true
	case "answer of the bus":
		sender = q.receiver
	}
	uid := sender.UID()
	if sender == q.receiver {
		uid = theBus
	}
	h := held{text, uid, q.overhead + len(text), len(m.FDs)}
	want := q.account.receive(h, droppable)
	var err error
	if sender == q.receiver {
		err = sender.Deliver(m)
		sender.Flush()
		m.Release()
	} else {
		err = sender.post(m)
	}
	if !errors.Is(err, want) {
		t.Fatalf("message of user %d with %d bytes and %d descriptors: %v, want %v", h.uid, h.size, h.fds, err, want)
	}
}

// endCall makes a call of the receiver end without a reply: of this it is told even if there is no space.
func (q *quotaTest) endCall(t *rapid.T) {
	callee := q.bus.connect(ofUser(4))
	if err := q.receiver.post(call(callee.ID(), 7)); err != nil {
		t.Fatalf("call: %v", err)
	}
	callee.leave()
	q.account.take(held{fmt.Sprintf("ReplyDead 7 of %d", callee.ID()), 4, q.overhead, 0})
}

func (q *quotaTest) dequeue(t *rapid.T) {
	batch := q.receiver.Dequeue(make([]*bus.Message, 0, rapid.IntRange(1, 10).Draw(t, "space")))
	for _, m := range batch {
		text := describe(m)
		if m.Notification == nil {
			text = string(m.Payload[0])
		}
		if h := q.account.held[q.account.taken]; h.text != text || h.size != m.Size() {
			t.Fatalf("got %q of %d bytes, want %q of %d", text, m.Size(), h.text, h.size)
		}
		q.account.taken++
	}
	q.batches = append(q.batches, batch)
}

func (q *quotaTest) deliver(t *rapid.T) {
	if len(q.batches) == 0 {
		return // nothing was taken
	}
	batch := q.batches[0]
	q.batches = q.batches[1:]
	q.account.held = q.account.held[len(batch):]
	q.account.taken -= len(batch)
	q.receiver.Delivered(batch)
}

func (q *quotaTest) check(t *rapid.T) {
	bytes, msgs, fds := q.account.sum(func(held) bool { return true })
	want := bus.QueueStats{Messages: msgs - q.account.taken, Bytes: bytes, FDs: fds, Dropped: q.account.dropped, PeakBytes: q.account.peak, PeakFDs: q.account.peakFDs}
	if diff := cmp.Diff(want, q.receiver.QueueStats()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestQuotaAgreesWithANaiveRecount(t *testing.T) {
	overhead := overhead(t)
	rapid.Check(t, func(t *rapid.T) {
		b := newBus(t)
		quota := drawQuota(t)
		q := &quotaTest{overhead: overhead, bus: b, account: account{quota: quota}}
		q.receiver = b.connect(ofUser(3), limited(bus.Limits{Quota: quota, MaxCalls: 10}))
		q.receiver.subscribe(ordinary)
		q.receiver.sleep()
		for uid := range uint32(4) {
			q.senders = append(q.senders, b.connect(ofUser(uid)))
		}
		t.Repeat(map[string]func(*rapid.T){
			"": q.check, "send": q.send, "send again": q.send, "send more": q.send,
			"dequeue": q.dequeue, "deliver": q.deliver, "end a call": q.endCall,
		})
		// Once everything is read nothing is left on the books.
		q.dequeue(t)
		for q.account.taken < len(q.account.held) {
			q.dequeue(t)
		}
		for len(q.batches) > 0 {
			q.deliver(t)
		}
		if s := q.receiver.QueueStats(); s.Messages != 0 || s.Bytes != 0 || s.FDs != 0 {
			t.Fatalf("after all was read: %+v", s)
		}
	})
}
