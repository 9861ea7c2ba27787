package native_test

import (
	"testing"

	"github.com/kdbus-go/kdbus/abi"
)

// A brief frame says that it is for whoever gets it, so that others are told by RECV what they overhear.
func TestWhatIsOverheardIsNotBrief(t *testing.T) {
	w := newWorld(t)
	monitor := w.joinBriefly(func(h *abi.Hello) { h.Flags |= abi.HelloMonitor; h.AttachFlagsRecv = 0 })
	a, b := w.joinBriefly(), w.joinBriefly()
	if err := a.SendBrief(abi.Brief{ID: b.ID}, callMessage(t, 7)); err != nil {
		t.Fatal(err)
	}
	if m := w.recv(b); !m.InBrief {
		t.Error("the receiver got no brief frame")
	}
	for {
		m := w.recv(monitor)
		if m.Notification.Type != 0 {
			continue
		}
		if m.InBrief || m.SrcID != a.ID || m.DstID != b.ID || m.Cookie != 7 {
			t.Errorf("the monitor got %+v, want what %d sent to %d", m, a.ID, b.ID)
		}
		return
	}
}
