package bus

// Send routes m, which comes from c's peer, and takes over the caller's reference, whatever the outcome. When it returns
// nil, m is in the queue of its receiver, or, for a broadcast, in the queues of all that
// want it and have space. The error is an [*Error] or one of the Policy's.
func (c *Conn) Send(m *Message) error {
	defer m.Release()
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
		if err := b.policy.Send(c, nil, m, false); err != nil {
			return err
		}
		b.stamp(m)
		c.broadcast(c, m)
		return nil
	}
	b.mu.RLock()
	if !b.eavesdropped() {
		defer b.mu.RUnlock()
		return c.unicast(m)
	}
	// The copies for those who listen in are a broadcast of their own.
	b.mu.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := c.unicast(m); err != nil {
		return err
	}
	c.broadcast(c, m)
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

// unicast routes m to its one receiver. Bus.mu is held in any mode.
func (c *Conn) unicast(m *Message) error {
	if err := c.maySend(); err != nil {
		return err
	}
	dst, err := c.resolve(m)
	if err != nil {
		c.bus.stamp(m)
		c.showMonitors(m)
		return err
	}
	requested := m.ReplyCookie != 0 && dst.awaits(callKey{m.ReplyCookie, c.id})
	c.bus.stamp(m)
	c.showMonitors(m)
	if err := c.allowed(dst, m, requested); err != nil {
		return err
	}
	switch {
	case m.ReplyCookie != 0:
		return c.reply(dst, m, requested)
	case m.Flags&ExpectReply != 0:
		return c.call(dst, m)
	case m.Flags&Signal != 0:
		c.push(dst, m, droppable)
		return nil
	}
	return c.push(dst, m, reported)
}

// resolve finds the receiver of a unicast.
func (c *Conn) resolve(m *Message) (*Conn, error) {
	if m.Dst != ToName {
		if dst := c.bus.conns[m.Dst]; dst != nil {
			return dst, nil
		}
		return nil, errorf(ErrNoSuchConn, "no connection %s", m.Dst)
	}
	n := c.bus.names[m.DstName]
	if n == nil {
		return nil, errorf(ErrNoSuchName, "nobody owns the name %s", m.DstName)
	}
	return n.primary(), nil
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

// broadcast queues m at everybody who subscribed to it; if it is a unicast, at those who listen in. src is nil for the
// bus itself. Bus.mu is held for writing, so that nobody can react to m at one receiver before
// it is queued at the others.
func (c *Conn) broadcast(src *Conn, m *Message) {
	b := c.bus
	if m.Dst == Broadcast {
		c.showMonitors(m)
	}
	b.broadcast++
	receivers := b.receivers[:0]
	for _, index := range b.indexes {
		receivers = index.Collect(src, m, receivers)
	}
	for i, dst := range receivers {
		receivers[i] = nil
		if dst.mark == b.broadcast {
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
	if m.Dst != Broadcast && dst == b.addressee(m) {
		return false // has it already
	}
	return b.policy.Receive(src, dst, m, m.Dst != Broadcast) == nil
}

// addressee returns the connection that a unicast is for, or nil.
func (b *Bus) addressee(m *Message) *Conn {
	if m.Dst != ToName {
		return b.conns[m.Dst]
	}
	if n := b.names[m.DstName]; n != nil {
		return n.primary()
	}
	return nil
}

// SendToBus accounts for a message of c's peer that is for the bus itself: it is shown to the monitors, and the policy
// is asked whether it may be sent. The reference stays with the caller, who then acts on it.
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
	c.broadcast(c, m)
	return nil
}

// toBus is SendToBus with Bus.mu held in any mode.
func (c *Conn) toBus(m *Message) error {
	if c.monitor != nil {
		return c.maySend()
	}
	c.bus.stamp(m)
	c.showMonitors(m)
	return c.bus.policy.Send(c, nil, m, false)
}

// Deliver queues a message of the bus itself for c, such as an answer, and takes over the reference. An error means
// that c's peer does not read what it asked for.
func (c *Conn) Deliver(m *Message) error {
	defer m.Release()
	m.Src = FromBus
	m.Dst = c.id
	m.uid = c.uid
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	b.stamp(m)
	c.showMonitors(m)
	return c.push(c, m, reported)
}
