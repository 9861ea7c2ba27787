package native

import (
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

// TestReplyThatCannotBeDeliveredEndsItsCall is about descriptors that the kernel does not pass on: the
// core says that there will be no reply, when the call has been ended by one.
func TestReplyThatCannotBeDeliveredEndsItsCall(t *testing.T) {
	var s syncCalls
	dead := func(cookie uint64) *bus.Message {
		return &bus.Message{ReplyCookie: cookie, Notification: &bus.Notification{Kind: bus.ReplyDead, OldOwner: 7}}
	}
	for cookie := uint64(1); cookie <= 10; cookie++ {
		if err := s.begin(cookie, 100+cookie, 0, true); err != nil {
			t.Fatal(err)
		}
		if call, ok := s.end(&bus.Message{Src: 7, ReplyCookie: cookie, FDs: []int{0}}); !ok || call.tag != 100+cookie {
			t.Fatalf("call %d: %+v, %v", cookie, call, ok)
		}
		if cookie%2 == 0 {
			continue // was delivered
		}
		if call, ok := s.end(dead(cookie)); !ok || call.tag != 100+cookie {
			t.Errorf("call %d: %+v, %v", cookie, call, ok)
		}
		if call, ok := s.end(dead(cookie)); ok {
			t.Errorf("call %d ends again: %+v", cookie, call)
		}
	}
	// The cookie of one that was delivered is that of another call now.
	if err := s.begin(10, 0, 0, false); err != nil {
		t.Fatal(err)
	}
	if call, ok := s.end(dead(10)); ok {
		t.Errorf("%+v", call)
	}
	if n := len(s.passed); n > maxPassed || int(s.known.Load()) != n {
		t.Errorf("%d calls are remembered, %d are counted", n, s.known.Load())
	}
}
