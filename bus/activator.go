package bus

import (
	"cmp"
	"slices"
)

// An activator stands in for the owner of a name as long as there is none: kdbus.connection(7),
// kdbus.name(7). What is sent to the name is held at the activator, who is told. When somebody
// takes the name, what the activator holds for it goes there. When the name comes back, so do those
// messages to it that its owner has not taken out of its queue, for the next one.

// standIn makes c the activator of its name. Bus.mu is held for writing.
func (c *Conn) standIn() {
	b := c.bus
	n := b.names[c.activates]
	if n == nil {
		n = &name{name: c.activates}
		b.names[n.name] = n
		b.vacant++
	}
	n.activator = c
	c.claim(n)
	if len(n.owners) == 0 {
		c.announce(Notification{Kind: NameChanged, Name: n.name, NewOwner: c.id, NewFlags: uint64(n.flags(c))})
		c.gain(n)
	}
}

// standDown takes c's name away from it, if it has joined the bus. by is whose doing it is. Bus.mu is held for writing.
func (c *Conn) standDown(by *Conn) {
	for _, n := range c.claims {
		if reason := unknown(&Message{DstName: n.name}); c.service != nil {
			by.giveUp(c, n, reason)
		} else {
			by.sendAway(c, n, reason)
		}
		if n.primary() == c {
			by.handOver(n, func() { n.activator = nil })
		} else {
			n.activator = nil
		}
	}
	c.claims = nil
}

// inactive is the error for a message to a name that only has an activator, which m must not wake.
func (c *Conn) inactive(m *Message) error {
	if !c.seesName(m.DstName) {
		return unknown(m)
	}
	return errorf(ErrInactive, "nobody owns the name %s, and the message must not start whoever would", m.DstName)
}

// via notes that m is sent to a name that has an activator.
func (m *Message) via(n *name) {
	if m.Extra == nil {
		m.Extra = new(Extra)
	}
	m.Extra.via = n
}

// moveMessages moves messages that were sent to the name n from one queue to that of to, in order,
// and the calls among them become calls of to. What finds no space there is lost: callers are told,
// and to, by its count of dropped messages. Bus.mu is held for writing.
func (c *Conn) moveMessages(n *name, messages []*Message, from, to *Conn) {
	for _, m := range messages {
		if from.service != nil {
			c.deliverHeld(n, from, to, m)
		} else {
			w := c.bus.callOf(m, from)
			err := c.accept(n, to, m)
			if w != nil {
				c.moveCall(w, to, err == nil)
			}
		}
		m.Release()
	}
}

// extract takes the messages that were sent to the name n off c's queue.
func (c *Conn) extract(n *name) (found []*Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.queue
	all := slices.Concat(q.messages[q.head:], q.held)
	for q.ranked.len() > 0 {
		all = append(all, q.ranked.pop())
	}
	q.messages, q.head, q.ranked, q.held, q.news = nil, 0, nil, nil, false
	for _, m := range all {
		switch {
		case !m.special:
			q.append(m)
		case m.Extra.via == n:
			found = append(found, m)
			q.ledger.release(m)
			c.discharge(m)
		default:
			q.addSpecial(m, c.flags&FlagActivator != 0)
		}
	}
	slices.SortStableFunc(found, func(a, b *Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return found
}

// accept queues m, which was sent to the name n when somebody else had it, at dst.
func (c *Conn) accept(n *name, dst *Conn, m *Message) error {
	if src := c.bus.conns[m.Src]; src != nil && dst.ordinary() {
		// Only now is it known who gets it.
		if err := c.bus.judgeAgain(n, src, dst, m); err != nil {
			c.drop(dst)
			return err
		}
	}
	if len(m.FDs) > 0 && !dst.acceptFDs || m.unreadable(dst) {
		c.drop(dst)
		return errorf(ErrNoFDs, "connection %s cannot take the message", dst.UniqueName())
	}
	return c.pushHeld(dst, m, droppable)
}

// pushHeld is push for what has waited for dst. Bus.mu is held for writing.
func (c *Conn) pushHeld(dst *Conn, m *Message, how how) error {
	src := c.bus.conns[m.Src]
	met := dst.confined != nil && src != nil && dst.metBy(src, m)
	err := c.push(dst, m, how)
	if err != nil && met {
		dst.parted(src)
	}
	return err
}

// callOf returns the call that m, which is queued at callee, is, if its caller waits for it.
func (b *Bus) callOf(m *Message, callee *Conn) *call {
	caller := b.conns[m.Src]
	if caller == nil || m.Flags&ExpectReply == 0 {
		return nil
	}
	return caller.calls[callKey{m.Cookie, callee.id}]
}

// moveCall makes to the callee of w, if it has got it; otherwise it ends w. Bus.mu is held for
// writing.
func (c *Conn) moveCall(w *call, to *Conn, taken bool) {
	key := callKey{w.key.cookie, to.id}
	was := w.callee
	was.disown(w)
	delete(w.caller.calls, w.key)
	if !taken || w.caller.calls[key] != nil {
		c.tell(w.caller, w.key.cookie, Notification{Kind: ReplyDead, OldOwner: was.id})
		return
	}
	w.key, w.callee = key, to
	w.caller.calls[key] = w
	to.owe(w)
}
