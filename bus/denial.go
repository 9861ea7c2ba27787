package bus

// Who subscribed to a message that the policy does not let it have goes without, and nobody is told. But who
// looks for the reason, with a monitor, should find it. So monitors see an error for each receiver who did not
// get a broadcast, or a message of the bus itself, right behind it: it looks as if it went to the sender.

// An Explainer is a Policy that says why it denies something. It is only asked when there are monitors.
type Explainer interface {
	// Explain returns why dst does not get m, a broadcast or a message of the bus itself; nil if there is nothing to
	// be said. src is nil for the bus. It is called with the bus locked for reading or writing.
	Explain(src, dst *Conn, m *Message) error
}

// Explain implements Explainer for the Policy that p stands before.
func (p *protection) Explain(src, dst *Conn, m *Message) error {
	if e, ok := p.Policy.(Explainer); ok {
		return e.Explain(src, dst, m)
	}
	return nil
}

// unheard notes that dst may not have m, for monitors: to put it into words takes asking who is concerned, for which
// no lock may be held. Bus.mu is held in any mode.
func (c *Conn) unheard(src, dst *Conn, m *Message) {
	b := c.bus
	isCopy := src != nil && m.Dst != Broadcast
	if len(b.monitors) == 0 || b.config.Refusal == nil || isCopy {
		return
	}
	e, ok := b.policy.(Explainer)
	if !ok {
		return
	}
	if reason := e.Explain(src, dst, m); reason != nil {
		m.retain(1)
		c.refusals = append(c.refusals, refusal{src: src, message: m, reason: reason, unheard: true})
	}
}

// showDenial shows monitors the error for what unheard has noted. Bus.mu is held in any mode. The message may be nil.
func (c *Conn) showDenial(src *Conn, m *Message) {
	if m == nil {
		return
	}
	m.Src, m.Dst, m.uid, m.door = FromBus, FromBus, busUID, 0
	if src != nil {
		m.Dst = src.id
	}
	c.bus.stamp(m)
	c.bus.attachTime(m, c.bus.monitorWants)
	c.showMonitors(src, m)
	m.Release()
}
