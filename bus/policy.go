package bus

import "sync/atomic"

// A Policy decides who may do what on a bus. It is asked in the core, for every front-end alike. A
// nil error allows; an error is handed to whoever asked, wrapped in nothing. errors.As should find an
// [*Error] with ErrDenied in it, and its text should name the rule.
//
// Its methods are called with the bus locked, from many goroutines at once, on the hot path: they
// must be fast, must not block and must not call back into the bus, except by the methods of Conn
// that are for a Policy.
type Policy interface {
	// Subject returns what the policy wants to keep about c, which has no names yet; nil for
	// nothing. It is called before c joins the bus and, without the bus locked, by the goroutine
	// that drives c; and again when the policy of the bus is exchanged.
	Subject(c *Conn) Subject
	// Needs returns the parts of messages that Send and Overhear look at, always the same. A part
	// that could not be made is absent all the same.
	Needs() Parts

	// Own: may c own name?
	Own(c *Conn, name string) error
	// Send: may src send m to dst, the addressee, and may dst receive it? src or dst is nil for the
	// bus itself. What the bus may not send is not sent, and nobody is told. requested is true for a
	// reply that dst waits for; those of the bus always are. dst may be an activator: then the
	// question is whether m may be sent to the name that it stands in for.
	Send(src, dst *Conn, m *Message, requested bool) error
	// Overhear: may dst get m, to which it has subscribed, a broadcast or a unicast to somebody else?
	// src is nil for the bus itself.
	Overhear(src, dst *Conn, m *Message) bool
	// See: may c learn about name, which may also be a unique name?
	See(c *Conn, name string) bool

	// Unrequested reports whether replies that nobody waits for may be sent if Send allows them, to
	// peers of D-Bus 1 at least. Else they are errors (ErrUnrequested).
	Unrequested() bool
}

// A Subject is what a Policy keeps about a connection: see [Conn.Subject]. It is told of the
// well-known names that the connection owns, stands in for or waits for, with the bus locked for
// writing.
type Subject interface {
	// Claimed: the connection has got a name, or waits for it now.
	Claimed(name string)
	// Dropped: it has nothing to do with the name any more.
	Dropped(name string)
}

// AllowAll is the policy of a bus that was given none. Those that forbid few things can embed it.
type AllowAll struct{}

// Subject implements Policy.
func (AllowAll) Subject(*Conn) Subject { return nil }

// Needs implements Policy.
func (AllowAll) Needs() Parts { return 0 }

// Own implements Policy.
func (AllowAll) Own(*Conn, string) error { return nil }

// Send implements Policy.
func (AllowAll) Send(_, _ *Conn, _ *Message, _ bool) error { return nil }

// Overhear implements Policy.
func (AllowAll) Overhear(_, _ *Conn, _ *Message) bool { return true }

// See implements Policy.
func (AllowAll) See(*Conn, string) bool { return true }

// Unrequested implements Policy.
func (AllowAll) Unrequested() bool { return false }

// policies are the policy of a bus as it is now. Bus.mu guards them.
type policies struct {
	policy Policy
	needs  Parts         // of policy
	early  atomic.Uint32 // needs, to be read without the lock
	serial uint64        // of the exchanges, so that subjects are made anew
	// protection is what policy is, or nil, as long as no connection holds entries.
	protection *protection
}

// SetPolicy exchanges the policy; nil allows all. Every message, and everything else, is judged by
// the old one or by the new one, never by both, and nothing is lost. What was permitted before stays
// as it is: names keep their owners, and what is in queues is delivered.
func (b *Bus) SetPolicy(p Policy) {
	if p == nil {
		p = AllowAll{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.protection != nil {
		b.protection.Policy = p
	} else {
		b.policy = p
	}
	b.needs = p.Needs()
	b.early.Store(uint32(b.needs))
	b.serial++
	for _, conns := range []map[ID]*Conn{b.conns, b.services} {
		for _, c := range conns {
			c.judge()
		}
	}
}

// judge has the subject of c made anew. Bus.mu is held for writing.
func (c *Conn) judge() {
	b := c.bus
	c.subject, c.judged = b.policy.Subject(c), b.serial
	if c.subject == nil {
		return
	}
	for _, n := range c.claims {
		c.subject.Claimed(n.name)
	}
}

// Subject returns what the Policy of the bus keeps about c. It is for the Policy, which is called with
// the bus locked. A connection that has not joined the bus yet may have that of an earlier policy.
func (c *Conn) Subject() Subject { return c.subject }

// Groups returns the groups of the peer, as ConnConfig had it. They are asked for once. It is for the
// Policy.
func (c *Conn) Groups() []uint32 {
	k := &c.credentials
	k.once.Do(func() {
		if k.ask != nil {
			k.groups = k.ask()
		}
	})
	return k.groups
}

// Anonymous reports whether the peer has proved to be nobody in particular.
func (c *Conn) Anonymous() bool { return c.credentials.anonymous }

// claim notes that c has to do with n now. Bus.mu is held for writing.
func (c *Conn) claim(n *name) {
	c.claims = append(c.claims, n)
	if c.subject != nil {
		c.subject.Claimed(n.name)
	}
}

// unclaim undoes claim. Bus.mu is held for writing.
func (c *Conn) unclaim(n *name) {
	c.claims = removeLast(c.claims, n)
	if c.subject != nil {
		c.subject.Dropped(n.name)
	}
}
