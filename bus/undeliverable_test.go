package bus_test

import (
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

// What nobody waits for and cannot be delivered is not lost in silence: the receiver is told by its count.
func TestWhatCannotBeDeliveredIsCounted(t *testing.T) {
	b := newBus(t)
	sender, receiver := b.connect(), b.connect(func(c *bus.ConnConfig) { c.TellDropped = true })
	receiver.sleep()
	sender.mustPost(to(receiver.ID(), "plain"))
	sender.mustPost(call(receiver.ID(), 5))
	receiver.deliverNone()
	if got := receiver.QueueStats().Dropped; got != 1 {
		t.Errorf("%d messages are counted, want 1: whoever waits for a reply has been told", got)
	}
	notice := receiver.Dequeue(make([]*bus.Message, 0, 1))
	if len(notice) != 1 || notice[0].Notification == nil || notice[0].Notification.Kind != bus.MessagesDropped {
		t.Errorf("the receiver is told %v", notice)
	}
	receiver.Delivered(notice)
	if got := receiver.TakeDropped(); got != 1 {
		t.Errorf("the receiver is told of %d messages", got)
	}
}
