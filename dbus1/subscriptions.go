package dbus1

import (
	"errors"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// Subscriptions are the match rules of all peers of a bus, whatever front-end they use: a bus.Index.
// Make one with NewSubscriptions, and give it to the bus and to the servers of its endpoints.
type Subscriptions struct {
	index *matchIndex // guarded by the lock of the bus
	peaks ruleCount
	most  atomic.Int64 // rules of a connection
}

// ruleCount counts match rules.
type ruleCount struct {
	now, peak, peakPerConn int
}

// NewSubscriptions returns the index of a bus that nobody has subscribed to yet.
func NewSubscriptions() *Subscriptions {
	s := &Subscriptions{index: newMatchIndex()}
	s.index.sees = (*bus.Conn).MaySee
	s.most.Store(int64(Limits{}.withDefaults().MaxMatchRules))
	return s
}

// Collect implements bus.Index.
func (s *Subscriptions) Collect(src, dst *bus.Conn, m *bus.Message, found []*bus.Conn) []*bus.Conn {
	if silent(m) {
		return found
	}
	view := viewOf(src, dst, m)
	if view == nil {
		return found
	}
	return s.index.collect(view, found)
}

// Takes implements bus.Index.
func (s *Subscriptions) Takes(src, dst *bus.Conn, m *bus.Message) bool {
	view := viewOf(src, dst, m)
	return view != nil && s.index.takes(dst, view)
}

// Eavesdroppers implements bus.Index.
func (s *Subscriptions) Eavesdroppers() int { return s.index.eavesdroppers() }

// Forget implements bus.Index.
func (s *Subscriptions) Forget(c *bus.Conn) { s.index.removeAll(c) }

// Needs implements bus.Index.
func (s *Subscriptions) Needs() bus.Parts {
	if s.index.len() == 0 {
		return 0
	}
	return bus.PartView
}

// add gives c another rule, if it may have one more.
func (s *Subscriptions) add(c *bus.Conn, rule *matchRule) error {
	return c.EditMatches(func() error {
		if err := s.full(c); err != nil {
			return err
		}
		s.insert(c, rule, nil)
		return nil
	})
}

// full says so if c has as many rules as it may. The bus is locked.
func (s *Subscriptions) full(c *bus.Conn) *Error {
	if n, most := s.countNow(c), int(s.most.Load()); n >= most {
		return exceeded(c, limitMatchRules, n, most, "add more match rules")
	}
	return nil
}

// countNow returns how many rules c has. The bus is locked.
func (s *Subscriptions) countNow(c *bus.Conn) int {
	n, _ := s.index.count(c)
	return n
}

// insert adds a rule. The bus is locked.
func (s *Subscriptions) insert(c *bus.Conn, rule *matchRule, cookie *uint64) {
	s.index.add(c, rule, cookie)
	_, peak := s.index.count(c)
	s.peaks.peak = max(s.peaks.peak, s.index.len())
	s.peaks.peakPerConn = max(s.peaks.peakPerConn, peak)
}

// remove takes one instance of a rule away from c.
func (s *Subscriptions) remove(c *bus.Conn, rule *matchRule) error {
	return c.EditMatches(func() error {
		if !s.index.remove(c, rule) {
			return dbusErrorf("MatchRuleNotFound", "The given match rule wasn't found and can't be removed")
		}
		return nil
	})
}

// count returns how many rules there are. asking is any connection of the bus.
func (s *Subscriptions) count(asking *bus.Conn) (n ruleCount) {
	asking.EditMatches(func() error {
		n = s.peaks
		n.now = s.index.len()
		return nil
	})
	return n
}

// rules returns the rules of c in their canonical form. asking is any connection of the bus.
func (s *Subscriptions) rules(asking, c *bus.Conn) (rules []string) {
	asking.EditMatches(func() error {
		rules = s.index.rules(c)
		return nil
	})
	return rules
}

// countOf returns how many rules c has, and the most it has had. asking is any connection of the bus.
func (s *Subscriptions) countOf(asking, c *bus.Conn) (now, peak int) {
	asking.EditMatches(func() error {
		now, peak = s.index.count(c)
		return nil
	})
	return now, peak
}

// readRule reads a match rule that a peer wrote.
func readRule(text string) (*matchRule, error) {
	rule, err := parseMatchRule(text)
	switch {
	case errors.Is(err, errMatchRuleTooLong):
		return nil, dbusErrorf("LimitsExceeded", "Match rule text is %d bytes, maximum is %d", len(text), maxMatchRuleLength)
	case err != nil:
		return nil, dbusErrorf("MatchRuleInvalid", "%v", err)
	}
	return rule, nil
}

// monitorFilter is the rules of a monitor, which sees what any of them matches, or everything if
// there are none.
type monitorFilter []*matchRule

// Match implements bus.Filter.
func (f monitorFilter) Match(src, dst *bus.Conn, m *bus.Message) bool {
	if silent(m) {
		return false
	}
	if len(f) == 0 {
		return true
	}
	view := viewOf(src, dst, m)
	for _, rule := range f {
		if view != nil && rule.matches(view) {
			return true
		}
	}
	return false
}

// Needs implements bus.Filter.
func (f monitorFilter) Needs() bus.Parts {
	if len(f) == 0 {
		return 0
	}
	return bus.PartView
}

// viewOf returns m as match rules see it. For a message that comes from its peer the front-end has
// prepared that; messages of the bus itself are read back. It is nil for what is no D-Bus message.
func viewOf(src, dst *bus.Conn, m *bus.Message) *matchMessage {
	view, _ := m.View.(*matchMessage)
	if view == nil {
		if m.Src != bus.FromBus {
			return nil
		}
		view = readView(m)
		m.View = view
	}
	if len(view.Senders) == 0 {
		if src == nil {
			view.Senders = append(view.Senders, driverName)
		} else {
			view.Senders = append(append(view.Senders, view.Header.Sender), src.Owned()...)
		}
	}
	if len(view.Destinations) == 0 && view.Header.Destination != "" {
		if dst == nil {
			view.Destinations = append(view.Destinations, view.Header.Destination)
		} else {
			view.Destinations = append(append(view.Destinations, dst.UniqueName()), dst.Owned()...)
		}
	}
	return view
}

// readView parses a message of the bus itself.
func readView(m *bus.Message) *matchMessage {
	view := &matchMessage{Header: new(wire.Header)}
	raw := payload(m)[0]
	at, err := view.Header.Parse(raw)
	if err != nil {
		panic(err) // our own message
	}
	view.Body = raw[at:]
	return view
}
