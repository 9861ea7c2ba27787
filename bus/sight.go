package bus

import (
	"slices"
	"strconv"
	"strings"
)

// What a connection may know of others. The endpoint that it came through and the policy of the bus both have
// a say. What it does not see is as if it did not exist.

// seesName reports whether c may learn about a well-known name. Bus.mu is held.
func (c *Conn) seesName(name string) bool {
	if e := c.confined; e != nil && !e.gate.permits(c, name, AccessSee) && !slices.Contains(c.owned, name) {
		return false
	}
	return c.bus.policy.See(c, name)
}

// seesConn reports whether c may learn that other exists, which on a custom endpoint it may if it sees one of other's names,
// or has met it. Bus.mu is held, and no Conn.mu.
func (c *Conn) seesConn(other *Conn) bool {
	if c.confined != nil && c != other && !slices.ContainsFunc(other.owned, c.seesName) && !c.hasMet(other) {
		return false
	}
	return c.bus.policy.See(c, other.UniqueName())
}

// look asks whether c may know of dst as the receiver of m; else dst does not exist. It returns what the endpoint of c has
// for the name that m is sent to, nil if there is nothing. Bus.mu is held.
func (c *Conn) look(dst *Conn, m *Message) (via *passage, err error) {
	e := c.confined
	switch {
	case m.DstName == "":
		if e != nil && !c.seesConn(dst) {
			return nil, unknown(m)
		}
		return nil, nil
	case e != nil:
		via = e.gate.passage(m.DstName)
		if !via.permits(c, AccessSee) && !slices.Contains(c.owned, m.DstName) {
			return nil, unknown(m)
		}
	}
	if !c.bus.policy.See(c, m.DstName) {
		return nil, unknown(m)
	}
	return via, nil
}

// seesNotification reports whether c may get a broadcast of the bus about a name or a connection.
// Bus.mu is held.
func (c *Conn) seesNotification(n *Notification) bool {
	switch {
	case n.Name != "":
		return c.seesName(n.Name)
	case c.confined == nil:
		return c.bus.policy.See(c, n.subject())
	}
	other := c.bus.conns[max(n.NewOwner, n.OldOwner)]
	return other != nil && c.seesConn(other)
}

// Sees reports whether c may learn about name, which may also be a unique name.
func (c *Conn) Sees(name string) bool {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	if c.confined != nil && len(name) > 0 && name[0] == ':' {
		id, ok := parseUniqueName(name)
		other := c.bus.conns[id]
		return ok && other != nil && c.seesConn(other)
	}
	return c.seesName(name)
}

// MaySee reports whether c may learn about a well-known name. It is for Index, Filter, Rule and Policy, which
// are called with the bus locked.
func (c *Conn) MaySee(name string) bool { return c.seesName(name) }

// seesWaiting reports whether c may learn that other waits for, or owns, a name that c sees. Bus.mu is held.
func (c *Conn) seesWaiting(other *Conn) bool { return c.confined == nil || c.seesConn(other) }

// maxMet is how many others a connection on a custom endpoint may have met.
const maxMet = 1024

// meet notes that c, which came through a custom endpoint, knows of other without seeing a name of it: other
// has sent it something, or had a name that c sees. What it knows is no secret any more, until other leaves. Bus.mu is held,
// and no Conn.mu.
func (c *Conn) meet(other *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.met) < maxMet {
		if c.met == nil {
			c.met = make(map[ID]struct{})
		}
		c.met[other.id] = struct{}{}
	}
}

// metBy notes that c gets m from other, if it would not know who that is. Answers come from those whom it has called, signals
// from those to whom it may talk. It reports whether it has noted something: [Conn.parted] undoes that.
func (c *Conn) metBy(other *Conn, m *Message) bool {
	if m.ReplyCookie != 0 || m.Flags&Signal != 0 || c.seesConn(other) {
		return false
	}
	c.meet(other)
	return true
}

// parted undoes metBy: c does not get the message after all.
func (c *Conn) parted(other *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.met, other.id)
}

func (c *Conn) hasMet(other *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.met[other.id]
	return ok
}

// everyConfined calls do for all connections that came through custom endpoints. Bus.mu is held.
func (b *Bus) everyConfined(do func(*Conn)) {
	for _, e := range b.doors {
		for c := range e.conns {
			do(c)
		}
	}
}

// noteMet lets those who see a name remember its owner, who is about to lose it.
func (b *Bus) noteMet(owner *Conn, name string) {
	b.everyConfined(func(c *Conn) {
		if c != owner && c.seesName(name) {
			c.meet(owner)
		}
	})
}

// forgetMet lets all forget c, which has left. Bus.mu is held for writing.
func (b *Bus) forgetMet(c *Conn) {
	b.everyConfined(func(other *Conn) { delete(other.met, c.id) })
}

// parseUniqueName returns the id in a unique name.
func parseUniqueName(name string) (id ID, ok bool) {
	digits, ok := strings.CutPrefix(name, ":1.")
	n, err := strconv.ParseUint(digits, 10, 64)
	return ID(n), ok && err == nil
}
