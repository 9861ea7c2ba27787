package busmodel

import (
	"cmp"
	"slices"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
)

// name is a well-known name. The first of the wishes is its owner; if there is none, its activator is.
type name struct {
	name      string
	wishes    []wish
	activator *conn
}

type wish struct {
	conn  *conn
	flags bus.NameFlags
}

func (n *name) primary() *conn {
	if len(n.wishes) > 0 {
		return n.wishes[0].conn
	}
	return n.activator
}

func (n *name) find(c *conn) int {
	return slices.IndexFunc(n.wishes, func(w wish) bool { return w.conn == c })
}

// flags: kdbus.name(7), "Dumping the name registry".
func (n *name) flags(c *conn) (flags bus.NameFlags) {
	if c == n.activator {
		flags = bus.ActivatorName
	} else if w := n.wishes[n.find(c)]; w.flags&bus.DoNotQueue == 0 {
		flags = w.flags&bus.AllowReplacement | bus.Queue
	} else {
		flags = w.flags & bus.AllowReplacement
	}
	if c == n.primary() {
		return flags | bus.Primary
	}
	return flags | bus.QueuedFor
}

// mayClaim: kdbus.name(7), "Return value", EPERM; kdbus.connection(7), "Monitor connections" and "Activator
// and policy holder connection", who own no (other) names.
func (m *model) mayClaim(c *conn, s string) syscall.Errno {
	switch {
	case c.monitor:
		return syscall.EOPNOTSUPP
	case !c.joined:
		return syscall.ENOTCONN
	case !c.ordinary():
		return syscall.EOPNOTSUPP
	case !m.mayOwn(c, s):
		return syscall.EPERM
	}
	return 0
}

// claim: kdbus.name(7), "Acquiring a name", and E2BIG, EEXIST and EPERM of "Return value". Who has the name
// already changes its flags, as in the last module; the page still has EALREADY.
func (m *model) claim(c *conn, s string, flags bus.NameFlags) (bus.NameFlags, syscall.Errno) {
	if errno := m.mayClaim(c, s); errno != 0 {
		return 0, errno
	}
	flags &= bus.ReplaceExisting | bus.AllowReplacement | bus.Queue
	if flags&bus.Queue == 0 {
		flags |= bus.DoNotQueue
	}
	had := slices.Contains(c.claims, s)
	if !had && len(c.claims) >= c.limits.MaxNames {
		return 0, syscall.E2BIG
	}
	// "The first one in the queue (the oldest entry) will become the new owner": "Releasing a name". So
	// who could not replace the owner waits like everybody else, unlike in D-Bus.
	how := m.request(c, s, flags, false)
	switch {
	case how == bus.Exists && !had:
		return 0, syscall.EEXIST
	case how == bus.Exists:
		return flags & bus.AllowReplacement, 0
	}
	now := m.names[s].flags(c)
	if how == bus.PrimaryOwner || !had {
		now |= bus.Acquired
	}
	return now, 0
}

// acquire is RequestName of the D-Bus specification, "Message Bus Messages", with dbus-daemon's limit.
func (m *model) acquire(c *conn, s string, flags bus.NameFlags) (bus.Ownership, syscall.Errno) {
	if errno := m.mayClaim(c, s); errno != 0 {
		return 0, errno
	}
	if len(c.claims) >= c.limits.MaxNames {
		return 0, syscall.E2BIG
	}
	return m.request(c, s, flags, true), 0
}

// request is what both have in common. jump: who wants to replace and cannot goes before those that wait.
func (m *model) request(c *conn, s string, flags bus.NameFlags, jump bool) bus.Ownership {
	n := m.names[s]
	if n == nil {
		n = &name{name: s}
		m.names[s] = n
	}
	at := n.find(c)
	replace := flags&bus.ReplaceExisting != 0
	mine := wish{c, flags}
	switch {
	case len(n.wishes) == 0:
		c.claims = append(c.claims, s)
		take := func() { n.wishes = []wish{mine} }
		if n.activator != nil {
			m.handOver(c, n, take)
			return bus.PrimaryOwner
		}
		take()
		m.announce(c, note{kind: bus.NameChanged, name: s, new: c.id, newFlags: uint64(n.flags(c))})
		m.gain(c, n)
		return bus.PrimaryOwner
	case at == 0:
		n.wishes[0] = mine
		return bus.AlreadyOwner
	case replace && n.wishes[0].flags&bus.AllowReplacement != 0:
		if at > 0 {
			n.wishes = slices.Delete(n.wishes, at, at+1)
		} else {
			c.claims = append(c.claims, s)
		}
		old := n.wishes[0]
		m.handOver(c, n, func() {
			n.wishes = slices.Insert(n.wishes, 0, mine)
			if old.flags&bus.DoNotQueue != 0 { // it has not asked to wait when replaced
				n.wishes = slices.Delete(n.wishes, 1, 2)
				old.conn.claims = without(old.conn.claims, s)
			}
		})
		return bus.PrimaryOwner
	case flags&bus.DoNotQueue != 0:
		if at > 0 {
			n.wishes = slices.Delete(n.wishes, at, at+1)
			c.claims = without(c.claims, s)
		}
		return bus.Exists
	}
	if at > 0 && !(replace && jump) {
		n.wishes[at] = mine
		return bus.InQueue
	}
	if at > 0 {
		n.wishes = slices.Delete(n.wishes, at, at+1)
	} else {
		c.claims = append(c.claims, s)
	}
	if replace && jump {
		n.wishes = slices.Insert(n.wishes, 1, mine)
	} else {
		n.wishes = append(n.wishes, mine)
	}
	return bus.InQueue
}

func without(names []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(x string) bool { return x == s })
}

// release: kdbus.name(7), "Releasing a name", ESRCH and EADDRINUSE.
func (m *model) release(c *conn, s string) syscall.Errno {
	n := m.names[s]
	switch {
	case !c.ordinary():
		return syscall.EOPNOTSUPP
	case n != nil && n.find(c) >= 0:
		m.giveUp(c, n, c)
		return 0
	case n == nil || !m.sees(c, s):
		return syscall.ESRCH
	}
	return syscall.EADDRINUSE
}

// giveUp takes leaving off n, which by causes.
func (m *model) giveUp(by *conn, n *name, leaving *conn) {
	at := n.find(leaving)
	drop := func() {
		n.wishes = slices.Delete(n.wishes, at, at+1)
		leaving.claims = without(leaving.claims, n.name)
	}
	if at > 0 {
		drop()
		return
	}
	m.handOver(by, n, drop)
}

// handOver changes the owner of n. kdbus.message(7), "Notifications": NAME_ADD, NAME_REMOVE, NAME_CHANGE.
// kdbus.name(7), "Releasing a name": messages return to the activator; KDBUS_NAME_ACTIVATOR there: they are
// moved over to the new owner. The D-Bus specification has NameLost and NameAcquired.
func (m *model) handOver(by *conn, n *name, change func()) {
	old := n.primary()
	event := note{kind: bus.NameChanged, name: n.name, old: old.id, oldFlags: uint64(n.flags(old))}
	fromActivator := old == n.activator
	m.losing(old, n.name)
	old.owned = without(old.owned, n.name)
	if old.tellOwn {
		m.tell(by, old, 0, note{kind: bus.NameLost, name: n.name, old: old.id})
	}
	change()
	now := n.primary()
	if now == nil {
		delete(m.names, n.name)
		m.announce(by, event)
		return
	}
	var moving []*message
	if fromActivator || now == n.activator {
		moving = old.extract(n)
	}
	event.new, event.newFlags = now.id, uint64(n.flags(now))
	m.announce(by, event)
	m.gain(by, n)
	for _, x := range moving {
		m.move(by, x, old, now)
	}
}

func (m *model) gain(by *conn, n *name) {
	c := n.primary()
	c.owned = append(c.owned, n.name)
	if c.tellOwn {
		m.tell(by, c, 0, note{kind: bus.NameAcquired, name: n.name, new: c.id})
	}
}

// standIn: kdbus.connection(7), "Activator and policy holder connection": a placeholder for the name.
func (m *model) standIn(c *conn) {
	n := m.names[c.activates]
	if n == nil {
		n = &name{name: c.activates}
		m.names[n.name] = n
	}
	n.activator = c
	c.claims = []string{n.name}
	if len(n.wishes) == 0 {
		m.announce(c, note{kind: bus.NameChanged, name: n.name, new: c.id, newFlags: uint64(n.flags(c))})
		m.gain(c, n)
	}
}

// extract takes what was sent to the name n out of c's queue, in the order sent.
func (c *conn) extract(n *name) (found []*message) {
	ofName := func(x *message) bool { return x.via == n }
	for _, x := range slices.Concat(c.queue, c.held) {
		if ofName(x) {
			found = append(found, x)
		}
	}
	c.queue = slices.DeleteFunc(slices.Clone(c.queue), ofName)
	c.held = slices.DeleteFunc(slices.Clone(c.held), ofName)
	c.news = false
	slices.SortFunc(found, func(a, b *message) int { return cmp.Compare(a.stamp, b.stamp) })
	return found
}

// move gives to what waited for the name at from. What to cannot take is lost, which both ends are told: as
// in the module, which counts it, and by REPLY_DEAD of kdbus.message(7), "Notifications".
func (m *model) move(by *conn, x *message, from, to *conn) {
	var w *call
	if caller := m.conn(x.src); caller != nil && x.flags&bus.ExpectReply != 0 {
		w = caller.callTo(x.cookie, from)
	}
	taken := false
	src := m.conn(x.src)
	if src != nil && to.ordinary() && !m.busLets(src, to, x) {
		to.lose(by) // kdbus.policy(7): only now is it known to whose connection TALK is needed
	} else if x.fds > 0 && !to.acceptsFDs() || !x.readable(to) {
		to.lose(by)
	} else {
		unmeet := func() {}
		if src != nil {
			unmeet = m.meet(to, src, x)
		}
		if taken = m.push(by, to, x, droppable) == 0; !taken {
			unmeet()
		}
	}
	if w == nil {
		return
	}
	caller := w.caller
	w.end()
	if !taken || caller.callTo(w.cookie, to) != nil {
		m.tell(by, caller, w.cookie, note{kind: bus.ReplyDead, old: from.id})
		return
	}
	w.callee = to
	m.owe(w)
}
