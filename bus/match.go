package bus

// An Index finds the subscribers of a message without asking every connection. Each front-end
// brings one for its kind of filter (D-Bus match rules, bloom masks). A bus calls it with its lock
// held; a front-end changes it inside [Conn.EditMatches].
type Index interface {
	// Collect appends the connections that subscribed to m to found; it may name one twice. For a
	// unicast, only those that eavesdrop count. src is nil for the bus itself, dst is the addressee
	// of a unicast, or nil if that is the bus or nobody.
	Collect(src, dst *Conn, m *Message, found []*Conn) []*Conn
	// Eavesdroppers returns how many subscriptions also take unicasts that are meant for others.
	Eavesdroppers() int
	// Forget removes the subscriptions of c.
	Forget(c *Conn)
	// Needs returns the parts of a message that Collect looks at, as things are now: none if nobody
	// has subscribed.
	Needs() Parts
}

// A Filter chooses the messages a monitor sees. It is called with the bus locked for reading, from
// many goroutines at once.
type Filter interface {
	// Match takes the same src, dst and m as Collect of Index.
	Match(src, dst *Conn, m *Message) bool
	// Needs returns the parts of a message that Match looks at, always the same.
	Needs() Parts
}

// Everything is the Filter of a monitor that sees all there is.
var Everything Filter = everything{}

type everything struct{}

func (everything) Match(_, _ *Conn, _ *Message) bool { return true }
func (everything) Needs() Parts                      { return 0 }

// EditMatches runs edit while nothing is being routed, so that it may change an Index.
func (c *Conn) EditMatches(edit func() error) error {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.closed {
		return errorf(ErrDisconnected, "connection :1.%d is closed", c.id)
	}
	return edit()
}

// BecomeMonitor turns c into a monitor: from now on it receives, before anyone else, every message
// that the filter takes, whoever it is meant for, and nothing addressed to itself. It loses its
// names and subscriptions, its id leaves the bus, and it may not send. For one that is a monitor
// already it changes the filter, which must not be nil.
func (c *Conn) BecomeMonitor(f Filter) error {
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.closed {
		return errorf(ErrDisconnected, "connection :1.%d is closed", c.id)
	}
	if c.monitor == nil {
		c.leave()
		b.monitors = append(b.monitors, c)
	}
	c.monitor = f
	return nil
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
		if len(m.FDs) > 0 && !mon.acceptFDs {
			continue
		}
		if mon.monitor.Match(src, dst, m) {
			c.push(mon, m, droppable)
		}
	}
}
