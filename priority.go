package kdbus

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
)

// Priorities: kdbus.message(7). What waits for a connection at the bus comes in the order of priority, the
// lowest number first. A bus that is a socket does not wait to be asked, as kdbus does, but sends on
// what there is room for: so the last part of the way is in this package. Calls of exported objects that wait
// for one of Dialer.Handlers are handled by priority, and a subscription can be received from by priority.
// Answers have none.

// WithPriority returns the same object, to be called with a priority: that of the call in the queue of
// its receiver, where the lowest number goes first; 0 is that of all other messages. On D-Bus 1 it
// means nothing.
func (o Object) WithPriority(priority int64) Object {
	o.priority = priority
	return o
}

// EmitPriority is [Conn.EmitTo] with a priority, see [Object.WithPriority]. An empty dest means everybody.
func (c *Conn) EmitPriority(ctx context.Context, dest string, path ObjectPath, signal string, priority int64, args ...any) error {
	return c.emit(ctx, dest, path, signal, priority, "", args)
}

// Receive receives a message as RECV does (kdbus.message(7), "Receiving messages"): the oldest; or, with
// abi.RecvUsePriority, the oldest of those of the highest priority, which is the lowest number, unless that is
// higher than priority. With abi.RecvPeek it stays where it is, to be received again: what is returned then has no
// files. With abi.RecvDrop it is thrown away, and what is returned is nil.
//
// If there is none it waits, as long as ctx lets it, and not at all if ctx has ended. The error is EAGAIN
// and that of ctx then, EINVAL for flags that mean nothing, and that of [Subscription.Err] when there
// will be no more. How many messages were lost tells [Subscription.Dropped].
func (s *Subscription) Receive(ctx context.Context, flags abi.RecvFlags, priority int64) (*Message, error) {
	const known = abi.RecvPeek | abi.RecvDrop | abi.RecvUsePriority
	if flags&^known != 0 || flags&(abi.RecvPeek|abi.RecvDrop) == abi.RecvPeek|abi.RecvDrop {
		return nil, fmt.Errorf("kdbus: receive with %v: %w", flags, syscall.EINVAL)
	}
	m, err := s.receive(ctx, flags, priority)
	if err != nil && err == ctx.Err() {
		err = fmt.Errorf("kdbus: receive: %w: %w", syscall.EAGAIN, err)
	}
	return m, err
}

// receive is Receive, of which the error is that of ctx.
func (s *Subscription) receive(ctx context.Context, flags abi.RecvFlags, priority int64) (*Message, error) {
	for {
		m, more, found := s.take(flags, priority)
		if found {
			return m, nil
		}
		select {
		case m, ok := <-s.queue:
			switch {
			case !ok:
				return nil, s.Err()
			case flags == 0:
				return m, nil
			}
			s.leave(m)
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take takes a message that is there. If it finds none, there can be one when something comes into the
// queue, or when more is closed.
func (s *Subscription) take(flags abi.RecvFlags, priority int64) (m *Message, more chan struct{}, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetch(flags&abi.RecvUsePriority != 0)
	at := -1
	for i, m := range s.waiting {
		if at < 0 || m.priority < s.waiting[at].priority {
			at = i
		}
		if flags&abi.RecvUsePriority == 0 {
			break
		}
	}
	if at < 0 || flags&abi.RecvUsePriority != 0 && s.waiting[at].priority > priority {
		if s.more == nil {
			s.more = make(chan struct{})
		}
		return nil, s.more, false
	}
	m = s.waiting[at]
	if flags&abi.RecvPeek != 0 {
		peeked := *m
		peeked.files = nil
		return &peeked, nil, true
	}
	s.waiting = slices.Delete(s.waiting, at, at+1)
	if flags&abi.RecvDrop != 0 {
		m.closeFiles() // its memory may be that of one that was peeked at
		m = nil
	}
	return m, nil, true
}

// fetch puts what is in the queue behind what waits: all of it, or one if nothing waits. s.mu is held.
func (s *Subscription) fetch(all bool) {
	for all || len(s.waiting) == 0 {
		select {
		case m, ok := <-s.queue:
			if !ok {
				return
			}
			s.waiting = append(s.waiting, m)
		default:
			return
		}
	}
}

// leave puts a message from the queue behind what waits.
func (s *Subscription) leave(m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, m)
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
}

// ranked is a queue of calls: those with the lowest number first, and of these the oldest.
type ranked struct {
	messages []rankedMessage
	came     uint64 // so far
}

type rankedMessage struct {
	*Message
	order uint64
}

func (r *ranked) add(m *Message) {
	r.came++
	heap.Push(r, rankedMessage{m, r.came})
}

// take takes the first call, which there must be.
func (r *ranked) take() *Message { return heap.Pop(r).(rankedMessage).Message }

// Len, Less, Swap, Push and Pop are heap.Interface.

func (r *ranked) Len() int { return len(r.messages) }

func (r *ranked) Less(i, j int) bool {
	a, b := r.messages[i], r.messages[j]
	return a.priority < b.priority || a.priority == b.priority && a.order < b.order
}

func (r *ranked) Swap(i, j int) { r.messages[i], r.messages[j] = r.messages[j], r.messages[i] }

func (r *ranked) Push(x any) { r.messages = append(r.messages, x.(rankedMessage)) }

func (r *ranked) Pop() any {
	last := len(r.messages) - 1
	m := r.messages[last]
	r.messages[last] = rankedMessage{}
	r.messages = r.messages[:last]
	return m
}
