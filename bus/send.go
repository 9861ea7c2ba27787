package bus

// Send routes m, which comes from c's peer. The caller keeps its reference. When it returns nil, m
// is in the queue of its receiver, or, for a broadcast, in the queues of all that want it and have
// space. The error is an [*Error] or one of the Policy's.
func (c *Conn) Send(m *Message) error {
	m.Src = c.id
	m.uid = c.uid
	if m.Payload == nil {
		return errorf(ErrMissingPayload, "the message has no payload")
	}
	b := c.bus
	if m.Dst == Broadcast {
		b.mu.Lock()
		defer b.mu.Unlock()
		if err := c.maySend(); err != nil {
			return err
		}
		b.stamp(m)
		c.showMonitors(nil, m)
		if err := b.policy.Send(c, nil, m, false); err != nil {
			return err
		}
		c.broadcast(c, nil, m)
		return nil
	}
	b.mu.RLock()
	if !b.eavesdropped() {
		defer b.mu.RUnlock()
		_, err := c.unicast(m)
		return err
	}
	// The copies for those who listen in are a broadcast of their own.
	b.mu.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	dst, err := c.unicast(m)
	if err != nil {
		return err
	}
	c.broadcast(c, dst, m)
	return nil
}

// maySend tells whether c may send at all. Bus.mu is held.
func (c *Conn) maySend() error {
	switch {
	case c.monitor != nil:
		return errorf(ErrMonitor, "connection %s is a monitor, which may not send", c.UniqueName())
	case !c.joined:
		return errorf(ErrDisconnected, "connection %s is not on the bus", c.UniqueName())
	}
	return nil
}

// eavesdropped reports whether somebody listens in on unicasts by subscription. Bus.mu is held.
func (b *Bus) eavesdropped() bool {
	for _, index := range b.indexes {
		if index.Eavesdroppers() > 0 {
			return true
		}
	}
	return false
}

// unicast routes m to its one receiver, and returns it. Bus.mu is held in any mode.
func (c *Conn) unicast(m *Message) (*Conn, error) {
	if err := c.maySend(); err != nil {
		return nil, err
	}
	dst, err := c.resolve(m)
	requested := err == nil && m.ReplyCookie != 0 && dst.awaits(callKey{m.ReplyCookie, c.id})
	c.bus.stamp(m)
	c.showMonitors(dst, m)
	if err != nil {
		return nil, err
	}
	if err := c.allowed(dst, m, requested); err != nil {
		if !c.sees(dst, m) {
			return nil, unknown(m)
		}
		return nil, err
	}
	switch {
	case m.ReplyCookie != 0:
		err = c.reply(dst, m, requested)
	case m.Flags&ExpectReply != 0:
		err = c.call(dst, m)
	case m.Flags&Signal != 0:
		c.push(dst, m, droppable)
	default:
		err = c.push(dst, m, reported)
	}
	return dst, err
}

// resolve finds the receiver of a unicast.
func (c *Conn) resolve(m *Message) (*Conn, error) {
	if m.Dst != ToName {
		if dst := c.bus.conns[m.Dst]; dst != nil {
			return dst, nil
		}
		return nil, unknown(m)
	}
	n := c.bus.names[m.DstName]
	if n == nil {
		return nil, unknown(m)
	}
	return n.primary(), nil
}

// unknown is the error for a receiver that is not there, or that the sender may not know of.
func unknown(m *Message) error {
	if m.Dst != ToName {
		return errorf(ErrNoSuchConn, "no connection %s", m.Dst)
	}
	return errorf(ErrNoSuchName, "nobody owns the name %s", m.DstName)
}

// sees reports whether c may know of the receiver dst of m.
func (c *Conn) sees(dst *Conn, m *Message) bool {
	if m.Dst != ToName {
		return c.bus.policy.See(c, dst.UniqueName())
	}
	return c.bus.policy.See(c, m.DstName)
}

// allowed asks whether m may go from c to dst.
func (c *Conn) allowed(dst *Conn, m *Message, requested bool) error {
	if err := c.bus.policy.Send(c, dst, m, requested); err != nil {
		return err
	}
	if err := c.bus.policy.Receive(c, dst, m, false); err != nil {
		return err
	}
	if len(m.FDs) > 0 && !dst.acceptFDs {
		return errorf(ErrNoFDs, "connection %s does not take file descriptors", dst.UniqueName())
	}
	return nil
}

// broadcast queues m at everybody who subscribed to it; if it is a unicast, at those who listen in.
// src is nil for the bus itself, addressee for a broadcast. Bus.mu is held for writing, so that
// nobody can react to m at one receiver before it is queued at the others.
func (c *Conn) broadcast(src, addressee *Conn, m *Message) {
	b := c.bus
	b.broadcast++
	receivers := b.receivers[:0]
	for _, index := range b.indexes {
		receivers = index.Collect(src, addressee, m, receivers)
	}
	for i, dst := range receivers {
		receivers[i] = nil
		if dst.mark == b.broadcast || dst == addressee {
			continue
		}
		dst.mark = b.broadcast
		if c.mayOverhear(src, dst, m) {
			c.push(dst, m, droppable)
		}
	}
	b.receivers = receivers[:0]
}

// mayOverhear asks whether dst may get a message that it subscribed to.
func (c *Conn) mayOverhear(src, dst *Conn, m *Message) bool {
	b := c.bus
	if len(m.FDs) > 0 && !dst.acceptFDs {
		return false
	}
	if m.Notification != nil && !b.policy.See(dst, m.Notification.subject()) {
		return false
	}
	return b.policy.Receive(src, dst, m, m.Dst != Broadcast) == nil
}

// SendToBus accounts for a message of c's peer that is for the bus itself: it is shown to the
// monitors, and the policy is asked whether it may be sent. The caller then acts on it.
func (c *Conn) SendToBus(m *Message) error {
	m.Src = c.id
	m.uid = c.uid
	b := c.bus
	b.mu.RLock()
	if !b.eavesdropped() {
		defer b.mu.RUnlock()
		return c.toBus(m)
	}
	b.mu.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := c.toBus(m); err != nil {
		return err
	}
	c.broadcast(c, nil, m)
	return nil
}

// toBus is SendToBus with Bus.mu held in any mode.
func (c *Conn) toBus(m *Message) error {
	if c.monitor != nil {
		return c.maySend()
	}
	c.bus.stamp(m)
	c.showMonitors(nil, m)
	return c.bus.policy.Send(c, nil, m, false)
}

// busUID is the account of the bus's own answers: nobody's uid, see setreuid(2). What others have
// sent to a connection does not keep it from asking the bus.
const busUID = 1<<32 - 1

// Deliver queues a message of the bus itself for c, such as an answer. An error means that c's peer
// does not read what it asked for. The caller keeps its reference.
func (c *Conn) Deliver(m *Message) error {
	m.Src = FromBus
	m.Dst = c.id
	m.uid = busUID
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	b.stamp(m)
	c.showMonitors(c, m)
	return c.push(c, m, reported)
}
