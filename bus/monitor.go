package bus

import "slices"

// A Filter chooses the messages a monitor sees. It is called with the bus locked for reading, from
// many goroutines at once.
type Filter interface {
	// Match takes the same src, dst and m as Collect of Index.
	Match(src, dst *Conn, m *Message) bool
	// Needs returns the parts of a message that Match looks at, always the same. A part that could
	// not be made may be absent all the same.
	Needs() Parts
}

// Everything is the Filter of a monitor that sees all there is.
var Everything Filter = everything{}

type everything struct{}

func (everything) Match(_, _ *Conn, _ *Message) bool { return true }
func (everything) Needs() Parts                      { return 0 }

// BecomeMonitor turns c into a monitor: from now on it receives, before anyone else, every message
// that the filter takes, whoever it is meant for, and nothing addressed to itself. It loses its
// names and subscriptions, its id leaves the bus, and it may not send. For one that is a monitor
// already it changes the filter, which must not be nil.
func (c *Conn) BecomeMonitor(f Filter) error {
	b := c.bus
	b.mu.Lock()
	if c.closed || c.endpoint.closed {
		b.mu.Unlock()
		return c.gone()
	}
	if c.confined != nil {
		b.mu.Unlock()
		return errorf(ErrUnsupported, "there are no monitors on the custom endpoint %s", c.confined.name)
	}
	before := b.audience.parts
	if c.monitor == nil {
		c.leave(c)
		b.monitors = append(b.monitors, c)
		b.audience.add(c.wanted())
	}
	c.monitor = f
	b.instructMonitors()
	changed := wantsChanged(before, b.audience.parts)
	b.mu.Unlock()
	if changed {
		b.tellWanted()
	}
	return nil
}

// unmonitor takes c, which leaves, off the monitors. Bus.mu is held for writing.
func (c *Conn) unmonitor() {
	b := c.bus
	if c.monitor == nil {
		return
	}
	b.monitors = slices.DeleteFunc(b.monitors, func(m *Conn) bool { return m == c })
	b.audience.remove(c.wanted())
	b.instructMonitors()
}

// instructMonitors works out what monitors want of every message. Bus.mu is held for writing.
func (b *Bus) instructMonitors() {
	b.monitorWants = 0
	for _, m := range b.monitors {
		b.monitorWants |= m.wanted() | m.monitor.Needs()
	}
}

// IsMonitor reports whether BecomeMonitor was called.
func (c *Conn) IsMonitor() bool {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	return c.monitor != nil
}

// showMonitors queues m at the monitors that want it. Bus.mu is held in any mode. c is the acting
// connection, dst the addressee.
func (c *Conn) showMonitors(dst *Conn, m *Message) {
	if len(c.bus.monitors) == 0 {
		return
	}
	var src *Conn
	if m.Src != FromBus {
		src = c
	}
	for _, mon := range c.bus.monitors {
		if len(m.FDs) > 0 && !mon.acceptFDs || m.unreadable(mon) {
			continue
		}
		if mon.monitor.Match(src, dst, m) {
			c.push(mon, m, droppable)
		}
	}
}
