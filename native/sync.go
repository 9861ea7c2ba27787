package native

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
)

// A SEND with SYNC_REPLY is answered by the reply. To the core it is a call like any other: which of
// the messages that come answers such a call, and under which tag, is known here.

// syncCalls are the synchronous calls of a peer that wait. They begin in the goroutine that reads
// from the peer, and end in that which delivers to it.
type syncCalls struct {
	known atomic.Int32 // how many there are, in calls and in passed
	mu    sync.Mutex
	calls map[uint64]syncCall // by cookie
	// passed are the last ones that were answered with descriptors. The kernel may refuse to pass
	// those on, and then the core says of the call that its reply is dead.
	passed []passedCall
}

// maxPassed is how many answers with descriptors there are at most between one that cannot be delivered
// and what the core says of it.
const maxPassed = 4

type passedCall struct {
	cookie uint64
	syncCall
}

type syncCall struct {
	tag    uint64
	callee bus.ID // 0 if it was called by name
}

// begin notes a call that is about to be sent. As long as a synchronous call waits, its cookie cannot
// be that of another call.
func (s *syncCalls) begin(cookie, tag uint64, callee bus.ID, sync bool) error {
	if !sync && s.known.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.calls[cookie]; twice {
		return refusef(syscall.EEXIST, "SEND: a call with the cookie %d waits for its reply", cookie)
	}
	s.takePassed(cookie)
	if !sync {
		return nil
	}
	if s.calls == nil {
		s.calls = make(map[uint64]syncCall)
	}
	s.calls[cookie] = syncCall{tag, callee}
	s.known.Add(1)
	return nil
}

// giveUp forgets a call that was not sent.
func (s *syncCalls) giveUp(cookie uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(cookie)
}

// drop forgets a call. s.mu is held.
func (s *syncCalls) drop(cookie uint64) {
	if delete(s.calls, cookie); len(s.calls) == 0 {
		s.calls = nil
	}
	s.known.Add(-1)
}

// end returns the call that m, which is for the peer, answers, and forgets it.
func (s *syncCalls) end(m *bus.Message) (call syncCall, ok bool) {
	if m.ReplyCookie == 0 || s.known.Load() == 0 {
		return call, false
	}
	from := m.Src
	if m.Notification != nil {
		from = m.Notification.OldOwner
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	call, ok = s.calls[m.ReplyCookie]
	switch {
	case !ok && m.Notification != nil:
		return s.takePassed(m.ReplyCookie)
	case !ok || call.callee != 0 && call.callee != from:
		return call, false
	}
	s.drop(m.ReplyCookie)
	if len(m.FDs)+len(m.Memfds()) > 0 {
		s.pass(passedCall{m.ReplyCookie, call})
	}
	return call, true
}

// pass notes a call that is answered with descriptors. s.mu is held.
func (s *syncCalls) pass(call passedCall) {
	if len(s.passed) == maxPassed {
		s.passed = slices.Delete(s.passed, 0, 1)
		s.known.Add(-1)
	}
	s.passed = append(s.passed, call)
	s.known.Add(1)
}

// takePassed forgets a call that was answered with descriptors, and returns it. s.mu is held.
func (s *syncCalls) takePassed(cookie uint64) (call syncCall, ok bool) {
	i := slices.IndexFunc(s.passed, func(c passedCall) bool { return c.cookie == cookie })
	if i < 0 {
		return call, false
	}
	call = s.passed[i].syncCall
	s.passed = slices.Delete(s.passed, i, i+1)
	s.known.Add(-1)
	return call, true
}

// cancel ends the waiting of a synchronous call. Its SEND is answered first.
func (c *conn) cancel(_ *request, cmd *abi.Cancel) error {
	if !c.cancelCall(cmd.Tag) {
		return refusef(syscall.ENOENT, "CANCEL: no SEND with the tag %d waits for a reply", cmd.Tag)
	}
	return c.answer(&request{FrameHeader: abi.FrameHeader{Cmd: abi.CmdSend, Tag: cmd.Tag}},
		refusef(syscall.ECANCELED, "SEND: cancelled"))
}

// cancelCall reports whether there was such a call. One whose answer is in the queue is none any more.
func (c *conn) cancelCall(tag uint64) bool {
	s := &c.calls
	s.mu.Lock()
	defer s.mu.Unlock()
	for cookie, call := range s.calls {
		if call.tag == tag && c.bus.CancelCall(cookie) {
			s.drop(cookie)
			return true
		}
	}
	return false
}
