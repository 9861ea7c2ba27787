package bus_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
)

func prioritized(dst bus.ID, text string, priority int64) *bus.Message {
	m := to(dst, text)
	m.Extra = &bus.Extra{Priority: priority}
	return m
}

func TestMessagesOvertakeThoseOfHigherPriorityNumbers(t *testing.T) {
	b := newBus(t)
	p, q := b.connect(), b.connect()
	q.sleep()
	for _, m := range []struct {
		text     string
		priority int64
	}{{"a", 0}, {"b", 5}, {"c", -5}, {"d", 0}, {"e", 5}, {"f", -5}, {"g", -1 << 63}, {"h", 1<<63 - 1}, {"i", 0}} {
		p.mustPost(prioritized(q.ID(), m.text, m.priority))
	}
	q.wakeUp()
	q.expect("1: g", "1: c", "1: f", "1: a", "1: d", "1: i", "1: b", "1: e", "1: h")
}

func TestAnswersAndNotificationsHavePriorityZero(t *testing.T) {
	b := newBus(t)
	p, q := b.connect(), b.connect(tellOwn)
	q.forget()
	q.sleep()
	p.mustPost(prioritized(q.ID(), "late", 1))
	expectError(t, q.Deliver(to(0, "answer")), 0)
	q.mustAcquire(example, 0)
	p.mustPost(prioritized(q.ID(), "early", -1))
	q.wakeUp()
	q.expect("1: early", "0: answer", "NameAcquired com.example.Name", "1: late")
}

// The queue is what a stable sort by priority would make of it, however it is filled and emptied, and wakes its reader
// whenever there is something.
func TestQueueIsAStableSortByPriority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBus(t)
		p, q := b.connect(), b.connect()
		q.sleep()
		type entry struct {
			text     string
			priority int64
		}
		var model []entry
		n, wakes := 0, 0
		woken := false
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				n++
				e := entry{fmt.Sprintf("1: %d", n), rapid.Int64Range(-2, 2).Draw(t, "priority")}
				model = append(model, e)
				slices.SortStableFunc(model, func(a, b entry) int { return cmp.Compare(a.priority, b.priority) })
				p.mustPost(prioritized(q.ID(), fmt.Sprint(n), e.priority))
				if !woken {
					woken = true
					wakes++
				}
			},
			"take": func(t *rapid.T) {
				space := rapid.IntRange(1, 4).Draw(t, "space")
				batch := q.Dequeue(make([]*bus.Message, 0, space))
				var got, want []string
				for _, m := range batch {
					got = append(got, describe(m))
				}
				for _, e := range model[:min(space, len(model))] {
					want = append(want, e.text)
				}
				if len(model) == 0 {
					woken = false
				}
				model = model[len(want):]
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
				q.Delivered(batch)
			},
			"": func(t *rapid.T) {
				if s := q.QueueStats(); s.Messages != len(model) {
					t.Fatalf("%d messages in the queue, want %d", s.Messages, len(model))
				}
				if q.wakes != wakes {
					t.Fatalf("woken %d times, want %d", q.wakes, wakes)
				}
			},
		})
		q.leave()
		if s := q.QueueStats(); s.Messages != 0 || s.Bytes != 0 {
			t.Fatalf("after leaving: %+v", s)
		}
	})
}

func TestLossesAreToldOnce(t *testing.T) {
	b := newBus(t)
	p := b.connect()
	q := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 1}}))
	q.subscribe(everything)
	q.sleep()
	for range 3 {
		p.mustPost(to(bus.Broadcast, "x"))
	}
	if n := q.TakeDropped(); n != 2 {
		t.Errorf("%d lost, want 2", n)
	}
	p.mustPost(signal(q.ID(), "x"))
	if n := q.TakeDropped(); n != 1 {
		t.Errorf("%d lost since, want 1", n)
	}
	if n := q.TakeDropped(); n != 0 {
		t.Errorf("%d lost since, want none", n)
	}
	if s := q.QueueStats(); s.Dropped != 3 {
		t.Errorf("%+v", s)
	}
}

func TestLossIsToldEvenIfNoMessageFollows(t *testing.T) {
	b := newBus(t)
	p := b.connect()
	narrow := limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 10, Fair: true}})
	q := b.connect(narrow, func(c *bus.ConnConfig) { c.TellDropped = true })
	silent := b.connect(narrow)
	tooLarge := string(make([]byte, 1<<10))
	for range 2 { // the second one after q has looked into its queue
		p.mustPost(signal(q.ID(), tooLarge))
		p.mustPost(signal(silent.ID(), tooLarge))
	}
	q.expect("MessagesDropped", "MessagesDropped")
	silent.expect()
	if silent.wakes != 0 {
		t.Errorf("woken %d times for nothing", silent.wakes)
	}
	if n := q.TakeDropped(); n != 2 {
		t.Errorf("%d lost, want 2", n)
	}
	if s := q.QueueStats(); s.Bytes != 0 {
		t.Errorf("%+v", s)
	}

	q.sleep()
	p.mustPost(signal(q.ID(), tooLarge))
	q.TakeDropped()
	q.wakeUp()
	q.expect()
}
