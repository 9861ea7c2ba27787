package bus

import "errors"

// Send routes m, which comes from c's peer. The caller keeps its reference. When it returns nil, m
// is in the queue of its receiver, or, for a broadcast, in the queues of all that want it and have
// space. The error is an [*Error] or one of the Policy's.
//
// If somebody who gets m wants parts that it does not have yet, Send lets the Maker of m make them,
// and then begins anew, as who gets it may have changed.
func (c *Conn) Send(m *Message) error {
	if c.refusals != nil { // what was denied before m is told before m
		c.tellRefused()
	}
	m.Src = c.id
	m.uid, m.door = c.charged, c.door
	c.prepare(m)
	for {
		missing, err := c.try(m)
		if missing == 0 {
			return err
		}
		m.supply(missing)
	}
}

// prepare has those parts of m made that the policy needs of every message, rather than try in vain.
func (c *Conn) prepare(m *Message) {
	early := Parts(c.bus.early.Load())
	if c.confined != nil {
		early |= Parts(c.confined.early.Load())
	}
	if lacking := early &^ m.Has; lacking != 0 {
		m.supply(lacking)
	}
}

// try routes m, or returns what has to be made first; m has had no effect then.
func (c *Conn) try(m *Message) (missing Parts, err error) {
	b := c.bus
	if err := b.check(m); err != nil {
		return 0, err
	}
	if m.Dst == Broadcast {
		b.mu.Lock()
		defer b.mu.Unlock()
		return c.broadcast(m)
	}
	b.mu.RLock()
	if !b.eavesdropped() {
		missing, err = c.unicast(m, shared)
		b.mu.RUnlock()
		if err != errAlone {
			return missing, err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		return c.unicast(m, alone)
	}
	// The copies for those who listen in are a broadcast of their own.
	b.mu.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.unicast(m, eavesdropped)
}

// footing is how a unicast is routed.
type footing uint8

const (
	shared       footing = iota // with Bus.mu held for reading
	alone                       // with Bus.mu held for writing
	eavesdropped                // the same, and others get copies
)

// errAlone is what unicast returns if it has to be called again with Bus.mu held for writing.
var errAlone = errors.New("bus: to be routed alone")

// check looks for what cannot be right wherever m goes.
func (b *Bus) check(m *Message) error {
	if m.Extra != nil && m.Extra.Bloom != nil && uint64(len(m.Extra.Bloom)) != b.config.Bloom.Size {
		return errorf(ErrBloomSize, "the bloom filter has %d bytes, on this bus it must have %d", len(m.Extra.Bloom), b.config.Bloom.Size)
	}
	if m.Flags&ExpectReply != 0 && (m.Dst == Broadcast || m.Flags&Signal != 0) {
		return errorf(ErrNotUnique, "a signal cannot expect a reply")
	}
	return nil
}

// maySend tells whether c may send at all. Bus.mu is held.
func (c *Conn) maySend() error {
	switch {
	case c.monitor != nil:
		return errorf(ErrMonitor, "connection %s is a monitor, which may not send", c.UniqueName())
	case !c.ordinary():
		return errorf(ErrUnsupported, "connection %s is an activator or a policy holder, which may not send", c.UniqueName())
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

// broadcast routes m to whoever subscribed to it. Bus.mu is held for writing.
func (c *Conn) broadcast(m *Message) (missing Parts, err error) {
	b := c.bus
	if err := c.maySend(); err != nil {
		return 0, err
	}
	wants := c.gather(c, nil, m, b.monitorWants|b.needs|b.hearing)
	defer b.scatter()
	if missing := c.missing(m, wants); missing != 0 {
		return missing, nil
	}
	b.stamp(m)
	c.attach(m, wants)
	c.showMonitors(nil, m)
	c.spread(c, nil, m)
	return 0, nil
}

// unicast routes m to its one receiver.
func (c *Conn) unicast(m *Message, on footing) (missing Parts, err error) {
	b := c.bus
	if err := c.maySend(); err != nil {
		return 0, err
	}
	dst, err := c.resolve(m)
	var awaited *call
	var via *passage
	if err == nil {
		if m.ReplyCookie != 0 {
			awaited = dst.awaited(callKey{m.ReplyCookie, c.id})
		}
		if awaited == nil {
			via, err = c.look(dst, m)
		}
	}
	wants := b.monitorWants | b.needs
	if c.confined != nil {
		wants |= c.confined.gate.callNeeds
	}
	if err == nil {
		wants |= dst.wanted()
		if m.Flags&Signal != 0 {
			wants |= dst.matchNeeds()
		}
		if on == eavesdropped {
			wants = c.gather(c, dst, m, wants)
			defer b.scatter()
		}
	}
	if missing := c.missing(m, wants); missing != 0 {
		return missing, nil
	}
	if err != nil && c.confined != nil {
		c.unseen(dst, m)
	}
	var denied error
	starts := err == nil && dst.service != nil
	if starts {
		if on == shared {
			return 0, errAlone
		}
		// Monitors see that somebody is asked to start the service before they see why, as with
		// dbus-daemon.
		if denied = c.allowed(dst, m, awaited != nil, via); denied == nil {
			c.prompt(dst)
		}
	}
	b.stamp(m)
	c.attach(m, wants)
	c.showMonitors(dst, m)
	if err != nil {
		return 0, err
	}
	if !starts {
		denied = c.allowed(dst, m, awaited != nil, via)
	}
	if denied != nil {
		if m.DstName == "" && !b.policy.See(c, dst.UniqueName()) {
			return 0, unknown(m)
		}
		return 0, denied
	}
	met := dst.door != 0 && dst.metBy(c, m)
	switch {
	case m.ReplyCookie != 0 && awaited == nil && dst.wanted()&PartDBus1 != 0 && b.policy.Unrequested():
		err = c.push(dst, m, reported)
	case m.ReplyCookie != 0:
		err = c.reply(dst, m, awaited)
	case m.Flags&ExpectReply != 0:
		err = c.call(dst, m)
	case m.Flags&Signal != 0:
		c.signal(dst, m)
	default:
		err = c.push(dst, m, reported)
	}
	switch {
	case err != nil && met:
		dst.parted(c)
	case err == nil && on == eavesdropped:
		c.spread(c, dst, m)
	}
	return 0, err
}

// signal queues m at dst, if dst takes it: kdbus's peers get no signals that they have no match
// for, and activators have none. Peers of D-Bus 1 get them all.
func (c *Conn) signal(dst *Conn, m *Message) {
	switch {
	case !dst.ordinary():
	case dst.wanted()&PartDBus1 == 0 && !dst.subscribed(c, m):
	case !dst.hears(c, m):
	case len(m.FDs) > 0 && !dst.acceptFDs:
		c.drop(dst)
	default:
		c.push(dst, m, droppable)
	}
}

// resolve finds the receiver of a unicast.
func (c *Conn) resolve(m *Message) (*Conn, error) {
	if m.DstName == "" {
		if dst := c.bus.conns[m.Dst]; dst != nil && dst.ordinary() {
			return dst, nil
		}
		return nil, unknown(m)
	}
	n := c.bus.names[m.DstName]
	if n == nil {
		return nil, unknown(m)
	}
	dst := n.primary()
	switch {
	case m.Dst != ToName && m.Dst != dst.id:
		if !c.seesName(m.DstName) {
			return nil, unknown(m)
		}
		return nil, errorf(ErrMoved, "the name %s belongs to %s, not to %s", m.DstName, dst.UniqueName(), m.Dst)
	case dst == n.activator && m.Flags&NoAutoStart != 0:
		return nil, c.inactive(m)
	case n.activator != nil && (dst == n.activator || n.activator.service == nil):
		m.via(n)
	}
	return dst, nil
}

// unknown is the error for a receiver that is not there, or that the sender may not know of.
func unknown(m *Message) error {
	if m.DstName == "" {
		return errorf(ErrNoSuchConn, "no connection %s", m.Dst)
	}
	return errorf(ErrNoSuchName, "nobody owns the name %s", m.DstName)
}

// addressee says for people to whom m goes.
func (m *Message) addressee(dst *Conn) string {
	if m.DstName != "" {
		return m.DstName
	}
	return dst.UniqueName()
}

// hears asks whether dst, who has subscribed to it, may get a signal of src for it alone, as for broadcasts:
// kdbus.policy(7), "TALK access and multiple well-known names per connection".
func (dst *Conn) hears(src *Conn, m *Message) bool {
	if e := dst.confined; e != nil && !e.gate.hears(dst, src, m) {
		return false
	}
	p := dst.bus.protection
	return p == nil || p.talks(dst, src)
}

// allowed asks whether m may go from c to dst. via is what look has found.
func (c *Conn) allowed(dst *Conn, m *Message, requested bool, via *passage) error {
	if e := c.confined; e != nil && !requested && !via.permits(c, AccessTalk) && !e.gate.talks(c, dst, m) {
		return errorf(ErrDenied, "the endpoint %s does not let user %d talk to %s", e.name, c.uid, m.addressee(dst))
	}
	if err := c.bus.policy.Send(c, dst, m, requested); err != nil {
		return err
	}
	if len(m.FDs) > 0 && !dst.acceptFDs && m.Flags&Signal == 0 {
		return errorf(ErrNoFDs, "connection %s does not take file descriptors", dst.UniqueName())
	}
	if m.unreadable(dst) {
		return errorf(ErrMissingPayload, "the message has no form that connection %s, which speaks D-Bus 1, can read", dst.UniqueName())
	}
	return nil
}

// SendToBus accounts for a message of c's peer that is for the bus itself: it is shown to the
// monitors, and the policy is asked whether it may be sent. The caller then acts on it.
func (c *Conn) SendToBus(m *Message) error {
	m.Src = c.id
	m.uid, m.door = c.charged, c.door
	c.prepare(m)
	for {
		missing, err := c.tryBus(m)
		if missing == 0 {
			return err
		}
		m.supply(missing)
	}
}

// tryBus is try for messages to the bus itself.
func (c *Conn) tryBus(m *Message) (missing Parts, err error) {
	b := c.bus
	b.mu.RLock()
	if !b.eavesdropped() {
		defer b.mu.RUnlock()
		return c.toBus(m, false)
	}
	b.mu.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.toBus(m, true)
}

// toBus is unicast for messages to the bus itself.
func (c *Conn) toBus(m *Message, eavesdropped bool) (missing Parts, err error) {
	b := c.bus
	if c.monitor != nil {
		return 0, c.maySend()
	}
	wants := b.monitorWants | b.needs
	if eavesdropped {
		wants = c.gather(c, nil, m, wants)
		defer b.scatter()
	}
	if missing := c.missing(m, wants); missing != 0 {
		return missing, nil
	}
	b.stamp(m)
	c.attach(m, wants)
	c.showMonitors(nil, m)
	if c.joined { // everybody may say Hello
		if err := b.policy.Send(c, nil, m, false); err != nil {
			return 0, err
		}
	}
	if m.ReplyCookie != 0 && !b.policy.Unrequested() {
		return 0, errorf(ErrUnrequested, "the bus does not call its peers")
	}
	if eavesdropped {
		c.spread(c, nil, m)
	}
	return 0, nil
}

// Deliver queues a message of the bus itself for c, such as an answer of its driver, or what the
// front-end answers on its own account ([Message].Answer). An error means that c's peer does not
// read what it asked for. What the policy does not let c have vanishes, as with dbus-daemon. The
// caller keeps its reference.
func (c *Conn) Deliver(m *Message) error {
	if c.refusals != nil {
		c.tellRefused()
	}
	m.Src = FromBus
	m.Dst = c.id
	m.uid, m.door = busUID, 0
	b := c.bus
	if m.Answer {
		m.account()
		return c.push(c, m, reported)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	b.stamp(m)
	b.attachTime(m, b.monitorWants|c.wanted())
	c.showMonitors(c, m)
	if b.policy.Send(nil, c, m, m.ReplyCookie != 0) == nil {
		return c.push(c, m, reported)
	}
	c.unheard(nil, c, m)
	if m.ReplyCookie != 0 && !c.keptWaiting() {
		c.tell(c, m.ReplyCookie, Notification{Kind: ReplyDead})
	}
	return nil
}

// keptWaiting reports whether a policy may keep from c that its call has ended. Peers of kdbus, where a
// call can be made that nothing but its end returns from, are told.
func (c *Conn) keptWaiting() bool { return c.wanted()&PartDBus1 != 0 }
