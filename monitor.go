package kdbus

import (
	"context"
	"fmt"
)

// Monitor makes the connection a monitor: from now on it sees the messages on the bus, to
// whomever, that one of the matches describes, or all if there are none (specification,
// "org.freedesktop.DBus.Monitoring.BecomeMonitor"). The bus may allow that to few users only.
//
// A monitor can only listen. It loses its names and its unique name; all that sends fails with
// [ErrMonitor], calls that wait for an answer do at once, and other subscriptions receive
// nothing more. Queue is as for [Conn.Subscribe]. [DialMonitor] makes a monitor from the beginning.
func (c *Conn) Monitor(ctx context.Context, queue int, matches ...Match) (*Subscription, error) {
	rules := make([]string, 0, len(matches))
	for _, m := range matches {
		if err := m.Check(); err != nil {
			return nil, fmt.Errorf("kdbus: monitor: %w", err)
		}
		rules = append(rules, m.String())
	}
	s := newSubscription(c, Match{}, queue)
	err := c.registry.becomeMonitor(ctx, rules, func(err error) {
		if err == nil {
			c.becomeMonitor(s)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("kdbus: monitor: %w", err)
	}
	return s, nil
}

// becomeMonitor has all that comes from now on go to s. It is called by the goroutine that receives.
func (c *Conn) becomeMonitor(s *Subscription) {
	c.subs.monitor.Store(s)
	c.transport.stop(ErrMonitor)
	c.names.end()
	c.refuse(ErrMonitor)
}

// monitored gives a message to the monitor, if the connection is one. What the bus tells the
// former peer, that it has lost its names, is not traffic of the bus.
func (c *Conn) monitored(m *Message) bool {
	monitor := c.subs.monitor.Load()
	switch {
	case monitor == nil:
		return false
	case m.header.Sender == busName && m.header.Destination == c.name:
		m.discard()
	default:
		monitor.put(m)
	}
	return true
}
