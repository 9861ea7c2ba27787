package transport

import (
	"testing"

	"github.com/kdbus-go/kdbus/meta"
)

// However many processes of a user make the bus wait, it is for a few of them only, and other users are
// looked at as ever.
func TestFewWaitForProcessesOfOneUser(t *testing.T) {
	s := &Server{ledger: new(ledger)}
	s.init()
	slow, other := &Peer{server: s, creds: meta.Creds{UID: 1}}, &Peer{server: s, creds: meta.Creds{UID: 2}}
	for i := range maxLooks {
		if got := slow.beginLook(meta.ProcessKinds); got != meta.ProcessKinds {
			t.Fatalf("look %d may see %v", i, got)
		}
	}
	const quick = meta.ProcessKinds &^ meta.KindCmdline
	if got := slow.beginLook(meta.ProcessKinds); got != quick {
		t.Errorf("one more may see %v, want %v", got, quick)
	}
	slow.endLook(quick)
	if got := slow.beginLook(meta.KindCmdline); got != 0 {
		t.Errorf("after that one, the next may see %v", got)
	}
	if got := other.beginLook(meta.ProcessKinds); got != meta.ProcessKinds {
		t.Errorf("of another user it may see %v", got)
	}
	other.endLook(meta.ProcessKinds)
	for range maxLooks {
		slow.endLook(meta.ProcessKinds)
	}
	if len(s.looks) != 0 {
		t.Errorf("%v look on for ever", s.looks)
	}
	if got := slow.beginLook(meta.KindCmdline); got != meta.KindCmdline {
		t.Errorf("when they are done, it may see %v", got)
	}
}
