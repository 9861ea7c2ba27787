package bus

// An Index finds the subscribers of a message without asking every connection. Each front-end
// brings one for its kind of filter, such as D-Bus match rules; that of kdbus is here, see
// [Conn.AddMatch]. A bus calls it with its lock held; a front-end changes it inside
// [Conn.EditMatches].
type Index interface {
	// Collect appends the connections that subscribed to m to found; it may name one twice. For a
	// unicast, only those that eavesdrop count. src is nil for the bus itself, dst is the addressee
	// of a unicast, or nil if that is the bus or nobody.
	Collect(src, dst *Conn, m *Message, found []*Conn) []*Conn
	// Takes reports whether dst has subscribed to m, a signal for dst alone.
	Takes(src, dst *Conn, m *Message) bool
	// Eavesdroppers returns how many subscriptions also take unicasts that are meant for others.
	Eavesdroppers() int
	// Forget removes the subscriptions of c.
	Forget(c *Conn)
	// Needs returns the parts of a message that Collect and Takes look at, as things are now: none if nobody
	// has subscribed. A part that could not be made may be absent all the same.
	Needs() Parts
}

// EditMatches runs edit while nothing is being routed, so that it may change an Index.
func (c *Conn) EditMatches(edit func() error) error {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.closed {
		return c.gone()
	}
	return edit()
}

// gather finds out who receives m, which is a broadcast or of interest to eavesdroppers: the
// subscribers are in b.receivers afterwards, for [Conn.spread] or [Bus.scatter]. It returns wants
// and what else is wanted of m; if m lacks something that the search needs, nobody has been found.
// src is nil for the bus itself. Bus.mu is held for writing.
func (c *Conn) gather(src, dst *Conn, m *Message, wants Parts) Parts {
	b := c.bus
	kdbus := m.Dst == Broadcast && b.matches.count > 0
	for _, index := range b.indexes {
		wants |= index.Needs()
	}
	if kdbus {
		wants |= b.matches.needs.parts
	}
	if src != nil && src.missing(m, wants) != 0 {
		return wants
	}
	for _, index := range b.indexes {
		b.receivers = index.Collect(src, dst, m, b.receivers)
	}
	if kdbus {
		b.receivers = b.matches.collect(src, m, b.receivers)
	}
	if b.audience.parts&^m.Has != 0 {
		for _, r := range b.receivers {
			wants |= r.wanted()
		}
	}
	return wants
}

// scatter forgets what gather has found.
func (b *Bus) scatter() {
	clear(b.receivers)
	b.receivers = b.receivers[:0]
}

// spread queues m at everybody whom gather has found. src is nil for the bus itself, addressee for
// a broadcast. Bus.mu is held for writing, so that nobody can react to m at one receiver before it
// is queued at the others.
func (c *Conn) spread(src, addressee *Conn, m *Message) {
	b := c.bus
	b.broadcast++
	receivers := b.receivers
	if len(receivers) == 0 {
		return
	}
	m.retain(len(receivers)) // before the first is queued, as who is awake takes it at once
	spare := 0
	for i, dst := range receivers {
		receivers[i] = nil
		if dst.mark == b.broadcast || dst == addressee {
			spare++
			continue
		}
		dst.mark = b.broadcast
		if !c.mayOverhear(src, dst, m) || c.push(dst, m, copied) != nil {
			spare++
		}
	}
	if spare > 0 {
		m.retain(-spare) // the sender has one more, so none of these is the last
	}
	b.receivers = receivers[:0]
}

// mayOverhear asks whether dst may get a message that it subscribed to.
func (c *Conn) mayOverhear(src, dst *Conn, m *Message) bool {
	b := c.bus
	if len(m.FDs) > 0 && !dst.acceptFDs || m.unreadable(dst) {
		return false
	}
	if m.Notification != nil && !dst.seesNotification(m.Notification) {
		return false
	}
	if dst.door != 0 && src != nil && (m.Dst != Broadcast || !dst.confined.gate.hears(dst, src, m)) {
		c.unheard(src, dst, m)
		return false
	}
	if !b.policy.Overhear(src, dst, m) {
		c.unheard(src, dst, m)
		return false
	}
	return true
}
