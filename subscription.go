package kdbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/wire"
)

// defaultQueue is how many messages wait for a subscriber that does not say.
const defaultQueue = 256

// Subscription is a queue of the messages that a [Match] describes. Its methods may be called
// from any goroutine.
type Subscription struct {
	conn    *Conn
	match   Match
	watched bool // the sender is a well-known name, the owner of which is known
	dropped atomic.Uint64
	before  uint64 // what the bus had dropped when it began

	mu      sync.Mutex
	queue   chan *Message
	waiting []*Message    // older than those in queue: what Receive has looked at and left
	more    chan struct{} // closed when waiting grows; nil if nobody waits for that
	closed  bool
	err     error
}

// Subscribe asks for the messages that match, signals if it names no type, beginning now. Up to
// queue of them wait to be received; 0 means 256. What comes while the queue is full is dropped
// and counted, see [Subscription.Dropped]: a slow subscriber neither holds up others nor grows
// without bound.
//
// Messages of one sender come in the order sent. File descriptors of a message belong to
// whoever receives it; if several subscriptions match, each gets duplicates.
func (c *Conn) Subscribe(ctx context.Context, match Match, queue int) (*Subscription, error) {
	if match.Type == 0 {
		match.Type = TypeSignal
	}
	if err := match.Check(); err != nil {
		return nil, fmt.Errorf("kdbus: subscribe: %w", err)
	}
	s := newSubscription(c, match, queue)
	s.watched = match.Sender != "" && match.Sender != busName && !wire.IsUniqueName(match.Sender)
	if s.watched {
		if err := c.subs.watch(ctx, c, match.Sender); err != nil {
			return nil, fmt.Errorf("kdbus: subscribe to %s: %w", match, err)
		}
	}
	c.subs.add(s)
	err := c.registry.addMatch(ctx, match.String())
	if err == nil {
		err = c.Err() // if it ended before the subscription was added, nobody else closes it
	}
	if err != nil {
		s.end(err)
		return nil, fmt.Errorf("kdbus: subscribe to %s: %w", match, err)
	}
	return s, nil
}

func newSubscription(c *Conn, match Match, queue int) *Subscription {
	if queue <= 0 {
		queue = defaultQueue
	}
	return &Subscription{conn: c, match: match, queue: make(chan *Message, queue), before: c.Dropped()}
}

// Messages returns the channel of messages. It is closed when the subscription is, and when the
// connection ends; see [Subscription.Err]. What [Subscription.Receive] has looked at and left does not
// come here any more.
func (s *Subscription) Messages() <-chan *Message { return s.queue }

// Next returns the next message, waiting for it. After the last one the error is that of
// [Subscription.Err].
func (s *Subscription) Next(ctx context.Context) (*Message, error) { return s.receive(ctx, 0, 0) }

// Dropped returns how many messages may have been lost so far: those that were dropped because the
// queue was full, and those that the bus has dropped since the subscription was made, each of
// which can have been for any subscription of the connection ([Conn.Dropped]).
func (s *Subscription) Dropped() uint64 {
	return s.dropped.Load() + s.conn.Dropped() - s.before
}

// Err returns why there will be no more messages: nil if there may be, an error that wraps
// [ErrClosed] if the subscription or connection was closed, else what happened to the connection.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the subscription. What is in the queue can still be received.
func (s *Subscription) Close() {
	if s.end(fmt.Errorf("kdbus: the subscription was closed: %w", ErrClosed)) {
		// If this fails the connection has, and nothing is subscribed to any more.
		_ = s.conn.registry.removeMatch(context.Background(), s.match.String())
	}
}

// end ends the subscription on this side.
func (s *Subscription) end(err error) (first bool) {
	s.conn.subs.remove(s)
	return s.finish(err)
}

// finish closes the queue.
func (s *Subscription) finish(err error) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed, s.err = true, err
	close(s.queue)
	return true
}

// put queues m or drops it.
func (s *Subscription) put(m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && len(s.waiting)+len(s.queue) < cap(s.queue) {
		s.queue <- m // only this adds to it
		return
	}
	if !s.closed {
		s.dropped.Add(1)
	}
	m.closeFiles()
}

// subscriptions are those of one connection.
type subscriptions struct {
	mu      sync.Mutex
	list    []*Subscription
	owners  map[string]*ownerWatch
	monitor atomic.Pointer[Subscription]
	matched []*Subscription // scratch of deliver
}

// ownerWatch knows the owner of a well-known name that subscriptions have as sender.
type ownerWatch struct {
	owner string
	users int
}

func ownerMatch(name string) Match {
	return Match{Type: TypeSignal, Sender: busName, Interface: busName, Member: "NameOwnerChanged", Args: map[int]string{0: name}}
}

// watch begins to follow the owner of a name, for one more subscription. What the bus says of
// it is noted in the order it comes, among the signals the name's owners send.
func (s *subscriptions) watch(ctx context.Context, c *Conn, name string) error {
	s.mu.Lock()
	if s.owners == nil {
		s.owners = make(map[string]*ownerWatch)
	}
	w := s.owners[name]
	if w == nil {
		w = new(ownerWatch)
		s.owners[name] = w
	}
	w.users++
	s.mu.Unlock()
	err := c.registry.addMatch(ctx, ownerMatch(name).String())
	if err == nil {
		err = c.registry.nameOwner(ctx, name, func(owner string, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			w.owner = owner
		})
		if errors.Is(err, ErrNameHasNoOwner) {
			err = nil
		}
	}
	if err != nil {
		s.unwatch(c, name)
	}
	return err
}

// unwatch ends following a name for one subscription.
func (s *subscriptions) unwatch(c *Conn, name string) {
	s.mu.Lock()
	if w := s.owners[name]; w != nil {
		if w.users--; w.users == 0 {
			delete(s.owners, name)
		}
	}
	s.mu.Unlock()
	_ = c.registry.removeMatch(context.Background(), ownerMatch(name).String())
}

// ownerChanged takes note of a NameOwnerChanged.
func (s *subscriptions) ownerChanged(m *Message) {
	if m.header.Member != "NameOwnerChanged" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owners) == 0 {
		return
	}
	var name, old, owner string
	if m.Decode(&name, &old, &owner) != nil {
		return
	}
	if w := s.owners[name]; w != nil {
		w.owner = owner
	}
}

func (s *subscriptions) add(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, sub)
}

func (s *subscriptions) remove(sub *Subscription) {
	s.mu.Lock()
	i := slices.Index(s.list, sub)
	if i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 && sub.watched {
		s.unwatch(sub.conn, sub.match.Sender)
	}
}

// deliver gives a signal to all that match.
func (s *subscriptions) deliver(m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	matched := s.matched[:0]
	for _, sub := range s.list {
		sender := sub.match.Sender
		if sub.watched {
			sender = ""
			if w := s.owners[sub.match.Sender]; w != nil {
				sender = w.owner
			}
		}
		if sub.match.matches(m, sender) {
			matched = append(matched, sub)
		}
	}
	if len(matched) == 0 {
		m.discard()
	}
	for i, sub := range matched {
		if i < len(matched)-1 {
			sub.put(m.duplicate())
		} else {
			sub.put(m)
		}
	}
	clear(matched)
	s.matched = matched
}

// end ends all subscriptions with the connection.
func (s *subscriptions) end(err error) {
	s.mu.Lock()
	list := append(slices.Clone(s.list), s.monitor.Swap(nil))
	s.list = nil
	s.mu.Unlock()
	for _, sub := range list {
		if sub != nil {
			sub.finish(err)
		}
	}
}
