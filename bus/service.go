package bus

import (
	"errors"
	"maps"
	"slices"
)

// Services that the bus itself can start. Each has an activator of a kind of its own, which D-Bus does
// not know: it is not among the connections of the bus and is not counted on anybody's account. What
// waits for a service is, besides messages, whoever wants to know when it runs. When its owner
// gives the name back, nothing returns to such an activator: messages that the owner has not read are
// lost with it, as D-Bus has it.

// A Service is what makes an activator one of this kind, see ConnConfig. Its methods are called with the
// bus and the connection locked; they must not block and not call back into the bus.
type Service interface {
	// Admit is asked before something waits for the service that is on the account of payer, whom people call who,
	// and is accounted with size bytes. An error refuses it.
	Admit(payer Payer, who Account, size int) error
	// Prompt is called before a message waits for the service, with the bus locked for writing. It returns
	// a message of the bus to be sent before, and the name that it goes to, as SendToName takes them; ""
	// for none.
	Prompt() (name string, build func(owner *Conn) *Message)
	// Release tells that it waits no longer.
	Release(payer Payer, size int)
	// Started tells that a connection has taken the name. What waited is on its way.
	Started()
}

// firstService is the first id of activators of services. Those of connections are far below.
const firstService ID = 1 << 62

// waiter is somebody who waits for an owner. It stands in the queue as the Form of a message.
type waiter struct {
	answer func(reason error) *Message
}

func (m *Message) waiter() *waiter {
	w, _ := m.extra().Form.(*waiter)
	return w
}

// AwaitOwner lets c, the caller, wait until somebody takes the name, which has to have an activator: that is told as if c had
// sent the name something. Then answer(nil) makes a message of the bus for c, or, if the service is given up or the activator
// leaves, answer(reason). The former is called with the bus locked, and must not block and not call back. Nothing
// is said to who has left. Errors: ErrExists if the name has an owner, ErrNoSuchName if it has no
// activator or c may not see it, ErrDenied if its
// endpoint, or an entry for the name, does not let c talk to it, and those of Admit or of a queue that is full.
func (c *Conn) AwaitOwner(name string, answer func(reason error) *Message) error {
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.names[name]
	switch {
	case !c.joined:
		return c.gone()
	case n != nil && !c.seesName(name):
		c.missed(RefusedTalk, name, nil)
		return errorf(ErrNoSuchName, "nobody can start an owner of the name %s", name)
	case n != nil && len(n.owners) > 0:
		return errorf(ErrExists, "the name %s has an owner", name)
	case n == nil || n.activator == nil:
		c.missed(RefusedTalk, name, nil)
		return errorf(ErrNoSuchName, "nobody can start an owner of the name %s", name)
	case c.confined != nil && !c.confined.gate.permits(c, name, AccessTalk):
		c.confined.gate.tell(Refused{Kind: RefusedTalk, Conn: c, Name: name})
		return errorf(ErrDenied, "the endpoint %s does not let user %d start an owner of the name %s", c.confined.name, c.uid, name)
	case b.protection != nil && !b.protection.talks(c, n.activator):
		return errorf(ErrDenied, "the policy of the name %s does not let user %d start an owner of it", name, c.uid)
	}
	m := &Message{Src: c.id, DstName: name, Extra: &Extra{via: n, Form: &waiter{answer}}, uid: c.charged, door: c.door}
	b.stamp(m)
	defer m.Release()
	return c.push(n.activator, m, reported)
}

// SendToName sends a message of the bus itself to the owner of a name, or lets it wait for one if the name
// has an activator. build makes it, for the owner, or nil if there is none yet; it is called with the bus locked. The
// error is ErrNoSuchName, or that there is no space. It may be called by any goroutine that holds no lock.
func (b *Bus) SendToName(name string, build func(owner *Conn) *Message) error {
	messenger := &Conn{bus: b, charged: busUID}
	b.mu.Lock()
	err := messenger.sendToName(name, build)
	b.mu.Unlock()
	messenger.Flush()
	return err
}

// sendToName is SendToName. Bus.mu is held for writing.
func (c *Conn) sendToName(name string, build func(owner *Conn) *Message) error {
	b := c.bus
	n := b.names[name]
	if n == nil {
		return errorf(ErrNoSuchName, "nobody owns the name %s", name)
	}
	dst, owner := n.primary(), n.primary()
	if owner == n.activator {
		owner = nil
	}
	m := build(owner)
	defer m.Release()
	m.Src, m.uid, m.door = FromBus, busUID, 0
	if owner == nil {
		m.via(n)
	}
	b.stamp(m)
	b.attachTime(m, b.monitorWants|dst.wanted())
	c.showMonitors(owner, m)
	if owner != nil && b.policy.Send(nil, owner, m, false) != nil {
		return nil
	}
	return c.push(dst, m, reported)
}

// prompt lets the service of dst say what has to be sent before something waits for it. Bus.mu is held for writing.
func (c *Conn) prompt(dst *Conn) {
	if name, build := dst.service.Prompt(); name != "" {
		// If it finds no space, systemd does not read, and the service will be found to take too long.
		c.sendToName(name, build)
	}
}

// Waiting returns how much waits for the service of c, and who came first; FromBus if that is the bus itself.
func (c *Conn) Waiting() (n int, first ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.queue.held
	if len(held) == 0 {
		return 0, 0
	}
	return len(held), held[0].Src
}

// Fail gives the service of c up: whoever sent what waits for it is told the reason. It may be called by
// any goroutine that holds no lock.
func (c *Conn) Fail(reason error) {
	messenger := &Conn{bus: c.bus, charged: busUID}
	c.bus.mu.Lock()
	if n := c.bus.names[c.activates]; n != nil && n.activator == c {
		messenger.giveUp(c, n, reason)
	}
	c.bus.mu.Unlock()
	messenger.Flush()
}

// giveUp refuses what waits for the service of the activator from. Bus.mu is held for writing.
func (c *Conn) giveUp(from *Conn, n *name, reason error) {
	for _, m := range from.extract(n) {
		c.refuse(from, m, reason)
		m.Release()
	}
}

// sendAway is giveUp for those who only wait for the name. The callers among the others learn that the activator leaves.
func (c *Conn) sendAway(from *Conn, n *name, reason error) {
	for _, m := range from.extract(n) {
		if m.waiter() != nil {
			c.refuse(from, m, reason)
		}
		m.Release()
	}
}

// refusal is what c has to tell with its next Flush: nobody gets the message. That takes asking who is
// concerned, and so no lock may be held.
type refusal struct {
	src     *Conn
	message *Message
	reason  error
	unheard bool // only monitors are told, see Conn.unheard
}

// refuse tells who sent m, which has waited at from, that nobody gets it. Bus.mu is held for writing.
func (c *Conn) refuse(from *Conn, m *Message, reason error) {
	b := c.bus
	w := b.callOf(m, from)
	if w != nil {
		w.caller.settle(w.key)
		from.disown(w)
	}
	src := b.conns[m.Src]
	switch {
	case src == nil:
	case m.waiter() != nil, src.wanted()&PartDBus1 != 0:
		m.retain(1)
		c.refusals = append(c.refusals, refusal{src: src, message: m, reason: reason})
	case w != nil:
		kind := ReplyDead
		if errors.Is(reason, ErrTimedOut) {
			kind = ReplyTimeout
		}
		c.tell(src, m.Cookie, Notification{Kind: kind, OldOwner: from.id, Reason: reason})
	}
}

// tellRefused tells what refuse has noted.
func (c *Conn) tellRefused() {
	b := c.bus
	for _, r := range c.refusals {
		var answer *Message
		if w := r.message.waiter(); w != nil {
			answer = w.answer(r.reason)
		} else if b.config.Refusal != nil {
			answer = b.config.Refusal(r.src, r.message, r.reason)
		}
		b.mu.RLock()
		if r.unheard {
			c.showDenial(r.src, answer)
		} else if r.src.joined {
			c.answer(r.src, answer)
		}
		b.mu.RUnlock()
		r.message.Release()
	}
	c.refusals = nil
}

// answer queues a message of the bus itself, an answer that may be nil, for dst. It has to find space: it
// is bounded by what dst had waiting. Bus.mu is held in any mode.
func (c *Conn) answer(dst *Conn, m *Message) {
	if m == nil {
		return
	}
	b := c.bus
	m.Src, m.Dst, m.uid = FromBus, dst.id, busUID
	b.stamp(m)
	b.attachTime(m, b.monitorWants|dst.wanted())
	c.showMonitors(dst, m)
	if b.policy.Send(nil, dst, m, true) == nil {
		c.push(dst, m, forced)
	}
	m.Release()
}

// answerWaiters tells those among held who only wait for the name that it has an owner now. It returns the
// others. Bus.mu is held for writing.
func (c *Conn) answerWaiters(held []*Message) []*Message {
	return slices.DeleteFunc(held, func(m *Message) bool {
		w := m.waiter()
		if w == nil {
			return false
		}
		if caller := c.bus.conns[m.Src]; caller != nil {
			c.answer(caller, w.answer(nil))
		}
		m.Release()
		return true
	})
}

// deliverHeld gives to, the new owner of n, what has waited for it at the activator of a service, if the
// sender is still there and the policy, which knows now who gets it, permits it. Bus.mu is held for
// writing.
func (c *Conn) deliverHeld(n *name, from, to *Conn, m *Message) {
	b := c.bus
	src := b.conns[m.Src]
	if src == nil && m.Src != FromBus {
		return
	}
	err := b.judgeAgain(n, src, to, m)
	if err == nil && len(m.FDs) > 0 && !to.acceptFDs {
		err = errorf(ErrNoFDs, "connection %s does not take file descriptors", to.UniqueName())
	}
	if err == nil && m.unreadable(to) {
		err = errorf(ErrMissingPayload, "the message has no form that connection %s, which speaks D-Bus 1, can read", to.UniqueName())
	}
	if err == nil {
		if err = c.pushHeld(to, m, reported); err != nil {
			c.drop(to) // who expects no answer cannot be told any more
		}
	}
	if err != nil {
		c.refuse(from, m, err)
	} else if w := b.callOf(m, from); w != nil {
		c.moveCall(w, to, true)
	}
}

// judgeAgain asks the policy whether m, which was sent to the name n when nobody owned it, may go from src, nil
// for the bus itself, to the owner. Bus.mu is held for writing.
func (b *Bus) judgeAgain(n *name, src, owner *Conn, m *Message) error {
	// m is in the queues of monitors, too, so that it cannot be given what it had while it was routed.
	again := &Message{
		Src: m.Src, Dst: m.Dst, DstName: n.name, Flags: m.Flags, Has: m.Has, Cookie: m.Cookie, ReplyCookie: m.ReplyCookie,
		Sequence: m.Sequence, Payload: m.Payload, FDs: m.FDs, Extra: m.Extra, Meta: m.Meta, uid: m.uid, door: m.door, size: m.size,
	}
	if b.config.View != nil && b.needs&PartHeader != 0 {
		again.View = b.config.View(m)
	}
	return b.policy.Send(src, owner, again, false)
}

// admit asks whether m may wait at c, an activator of a service, and enters it. c.mu is held.
func (c *Conn) admit(m *Message) error {
	l := &c.queue.ledger
	if m.uid == busUID {
		l.add(l.entry(busAccount), m)
		return nil
	}
	if err := c.service.Admit(m.payer(), c.bus.nameOf(m.payer()), m.Size()); err != nil {
		return err
	}
	if over := l.charge(&c.limits.load().Quota, m); over != nil {
		c.service.Release(m.payer(), m.Size())
		return c.full(m, over, reported)
	}
	return nil
}

// discharge undoes what admit has told the service. c.mu is held.
func (c *Conn) discharge(m *Message) {
	if c.service != nil && m.special && m.uid != busUID {
		c.service.Release(m.payer(), m.Size())
	}
}

// activators returns those of services.
func (b *Bus) activators() []*Conn {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Collect(maps.Values(b.services))
}

// Announce broadcasts a message of the bus itself. It takes the caller's reference over, and may be called by
// any goroutine that holds no lock.
func (b *Bus) Announce(m *Message) {
	c := &Conn{bus: b, charged: busUID}
	m.Src, m.Dst, m.uid = FromBus, Broadcast, busUID
	b.mu.Lock()
	wants := c.gather(nil, nil, m, b.monitorWants)
	b.stamp(m)
	b.attachTime(m, wants)
	c.showMonitors(nil, m)
	c.spread(nil, nil, m)
	b.scatter()
	b.mu.Unlock()
	m.Release()
	c.Flush()
}

// HasOwner reports whether somebody owns a name, other than an activator.
func (b *Bus) HasOwner(name string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := b.names[name]
	return n != nil && len(n.owners) > 0
}
