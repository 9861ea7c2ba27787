package bus

import "slices"

// The name registry: who owns which well-known name and who waits for it, with the queue of the
// D-Bus specification ("Message Bus Names"). The first owner in the list is the primary owner, to
// whom messages go.

// NameFlags say how a connection wants a name.
//
// They have the numbers of kdbus.name(7), DoNotQueue excepted.
type NameFlags uint64

const (
	// ReplaceExisting takes the name from an owner that allows it.
	ReplaceExisting NameFlags = 1 << iota
	// AllowReplacement lets others take the name away with ReplaceExisting.
	AllowReplacement
	// Queue asks [Conn.ClaimName] to wait for the name, now and when it is taken away. It is told
	// of owners who asked for it in one way or the other.
	Queue

	// The following are told by the bus, and ignored in requests.

	// QueuedFor: the connection does not own the name, but waits for it.
	QueuedFor
	// ActivatorName: the connection is the activator of the name.
	ActivatorName
	// Primary: the connection owns the name.
	Primary
	// Acquired: ClaimName has given the name, or a place in the queue, to the connection.
	Acquired

	// DoNotQueue asks [Conn.AcquireName] not to wait for the name, neither now nor when it is taken
	// away.
	DoNotQueue NameFlags = 1 << 32
)

// Ownership is the outcome of AcquireName.
type Ownership uint8

const (
	PrimaryOwner Ownership = iota + 1 // the name is the caller's now
	InQueue                           // the caller waits for it
	Exists                            // somebody else has it and the caller does not wait
	AlreadyOwner                      // the name was the caller's already; its flags are the new ones
)

// name is a name that somebody owns, be it only its activator.
type name struct {
	name   string
	owners []owner // [0] is the primary owner
	// activator stands in for the primary owner if there is none; nil if the name has no activator
	activator *Conn
}

type owner struct {
	conn  *Conn
	flags NameFlags
}

func (n *name) primary() *Conn {
	if len(n.owners) == 0 {
		return n.activator
	}
	return n.owners[0].conn
}

// flags returns how c, which owns n or waits for it, has it.
func (n *name) flags(c *Conn) (flags NameFlags) {
	if c == n.activator {
		flags = ActivatorName
	} else {
		o := n.owners[n.find(c)]
		flags = o.flags & AllowReplacement
		if o.flags&DoNotQueue == 0 {
			flags |= Queue
		}
	}
	if c == n.primary() {
		return flags | Primary
	}
	return flags | QueuedFor
}

func (n *name) find(c *Conn) int {
	return slices.IndexFunc(n.owners, func(o owner) bool { return o.conn == c })
}

// AcquireName asks for a well-known name, whose syntax the caller has checked. The string is kept.
// Who has as many names as it may gets ErrTooManyNames even for one that it has, as with
// dbus-daemon.
func (c *Conn) AcquireName(s string, flags NameFlags) (Ownership, error) {
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := c.mayClaim(s); err != nil {
		return 0, err
	}
	if len(c.claims) >= c.limits.load().MaxNames {
		return 0, c.tooManyNames()
	}
	return c.acquire(s, flags), nil
}

// mayClaim tells whether c may own the name s at all. Bus.mu is held.
func (c *Conn) mayClaim(s string) error {
	switch {
	case c.monitor != nil:
		return errorf(ErrMonitor, "connection %s is a monitor, which may not own names", c.UniqueName())
	case !c.joined:
		return errorf(ErrDisconnected, "connection %s is not on the bus", c.UniqueName())
	case !c.ordinary():
		return errorf(ErrUnsupported, "connection %s is an activator or a policy holder, which may not own names", c.UniqueName())
	}
	return c.mayOwn(s)
}

// mayOwn asks the endpoint of c, and the policy. Bus.mu is held.
func (c *Conn) mayOwn(s string) error {
	if e := c.confined; e != nil && !e.gate.permits(c, s, AccessOwn) {
		e.gate.tell(Refused{Kind: RefusedOwn, Conn: c, Name: s})
		return errorf(ErrDenied, "the endpoint %s does not let user %d own the name %s", e.name, c.uid, s)
	}
	return c.bus.policy.Own(c, s)
}

func (c *Conn) tooManyNames() error {
	return errorf(ErrTooManyNames, "connection %s has %d names, as many as it may (max_names_per_connection=%d)",
		c.UniqueName(), len(c.claims), c.limits.load().MaxNames)
}

// acquire is AcquireName for those who may. Bus.mu is held for writing.
func (c *Conn) acquire(s string, flags NameFlags) Ownership {
	b := c.bus
	n := b.names[s]
	if n == nil {
		n = &name{name: s}
		b.names[s] = n
		b.peak()
	}
	if len(n.owners) == 0 {
		c.takeUp(n, flags)
		return PrimaryOwner
	}
	at := n.find(c)
	replace := flags&ReplaceExisting != 0 && n.owners[0].flags&AllowReplacement != 0
	switch {
	case at == 0:
		n.owners[0].flags = flags
		return AlreadyOwner
	case replace:
		n.enqueue(c, at, flags)
		if old := n.primary(); n.owners[0].flags&DoNotQueue != 0 {
			b.removeOwner(c, n, old)
		} else {
			c.handOver(n, func() { n.owners[0], n.owners[1] = n.owners[1], n.owners[0] })
		}
		return PrimaryOwner
	case flags&DoNotQueue != 0:
		if at > 0 {
			n.dequeue(c, at)
		}
		return Exists
	default:
		n.enqueue(c, at, flags)
		return InQueue
	}
}

// takeUp makes c the owner of n, which has had none, or its activator only.
func (c *Conn) takeUp(n *name, flags NameFlags) {
	add := func() {
		n.owners = append(n.owners, owner{c, flags})
		c.claim(n)
	}
	if n.activator != nil {
		c.handOver(n, add)
		return
	}
	add()
	c.announce(Notification{Kind: NameChanged, Name: n.name, NewOwner: c.id, NewFlags: uint64(n.flags(c))})
	c.gain(n)
}

// ClaimName is AcquireName as kdbus.name(7) has it: c waits for the name only with Queue. It returns
// how c has the name now: nothing of QueuedFor and Primary if it ceased to wait. The error for a
// name that somebody else has is ErrExists. The limit of names is for further ones.
func (c *Conn) ClaimName(s string, flags NameFlags) (NameFlags, error) {
	flags &= ReplaceExisting | AllowReplacement | Queue
	if flags&Queue == 0 {
		flags |= DoNotQueue
	}
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := c.mayClaim(s); err != nil {
		return 0, err
	}
	had := slices.ContainsFunc(c.claims, func(n *name) bool { return n.name == s })
	if !had && len(c.claims) >= c.limits.load().MaxNames {
		return 0, c.tooManyNames()
	}
	if n := b.names[s]; n != nil && len(n.owners) > 0 && n.owners[0].flags&AllowReplacement == 0 {
		flags &^= ReplaceExisting // only D-Bus lets who asked for it in vain wait before others
	}
	how := c.acquire(s, flags)
	if how == Exists {
		if !had {
			return 0, errorf(ErrExists, "somebody else owns the name %s", s)
		}
		return flags & AllowReplacement, nil
	}
	now := b.names[s].flags(c)
	if how == PrimaryOwner || !had {
		now |= Acquired
	}
	return now, nil
}

// enqueue makes c wait for n, or changes how it waits. Who wants to replace goes before all others
// that wait. at is c's present place, or -1.
func (n *name) enqueue(c *Conn, at int, flags NameFlags) {
	switch {
	case at > 0 && flags&ReplaceExisting == 0:
		n.owners[at].flags = flags
		return
	case at > 0:
		n.owners = slices.Delete(n.owners, at, at+1)
	default:
		c.claim(n)
	}
	if flags&ReplaceExisting != 0 {
		n.owners = slices.Insert(n.owners, 1, owner{c, flags})
	} else {
		n.owners = append(n.owners, owner{c, flags})
	}
}

// dequeue makes c, which waits at place at, wait no longer.
func (n *name) dequeue(c *Conn, at int) {
	n.owners = slices.Delete(n.owners, at, at+1)
	c.unclaim(n)
}

// removeLast removes the last occurrence of x. A connection that leaves gives its names back from
// the last to the first, which must not take quadratic time.
func removeLast[T comparable](s []T, x T) []T {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == x {
			return slices.Delete(s, i, i+1)
		}
	}
	return s
}

// ReleaseName gives a name up, or stops waiting for it. The error is ErrNoSuchName if nobody owns
// it or c may not see it, and ErrNotOwner if c has nothing to do with it.
func (c *Conn) ReleaseName(s string) error {
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.names[s]
	switch {
	case !c.ordinary():
		return errorf(ErrUnsupported, "connection %s is an activator or a policy holder, which may not release names", c.UniqueName())
	case n != nil && n.find(c) >= 0:
		b.removeOwner(c, n, c)
		return nil
	case n == nil || !c.seesName(s):
		return errorf(ErrNoSuchName, "nobody owns the name %s", s)
	}
	return errorf(ErrNotOwner, "connection %s does not own the name %s", c.UniqueName(), s)
}

// removeOwner takes leaving off the list of n, which passes to the next if leaving is the primary
// owner. by is whose doing it is. Bus.mu is held for writing.
func (b *Bus) removeOwner(by *Conn, n *name, leaving *Conn) {
	at := n.find(leaving)
	if at > 0 {
		n.dequeue(leaving, at)
		return
	}
	by.handOver(n, func() { n.dequeue(leaving, 0) })
}

// handOver changes the primary owner of n by means of change, and tells everybody: the old owner,
// the public, the new owner, in this order. From an activator and back, messages go with the name.
func (c *Conn) handOver(n *name, change func()) {
	b := c.bus
	old := n.primary()
	event := Notification{Kind: NameChanged, Name: n.name, OldOwner: old.id, OldFlags: uint64(n.flags(old))}
	if len(n.owners) == 0 {
		b.vacant--
	}
	c.bus.noteMet(old, n.name)
	old.owned = removeLast(old.owned, n.name)
	if old.tellOwn {
		c.tell(old, 0, Notification{Kind: NameLost, Name: n.name, OldOwner: old.id})
	}
	change()
	now := n.primary()
	if now == nil {
		delete(b.names, n.name)
		c.announce(event)
		return
	}
	if len(n.owners) == 0 {
		b.vacant++
	} else if old == n.activator {
		b.peak()
	}
	var moving []*Message
	if old == n.activator || now == n.activator && now.service == nil {
		moving = old.extract(n)
	}
	event.NewOwner, event.NewFlags = now.id, uint64(n.flags(now))
	c.announce(event)
	if old == n.activator {
		moving = c.answerWaiters(moving)
	}
	if old.service != nil {
		old.service.Started()
	}
	c.gain(n)
	c.moveMessages(n, moving, old, now)
}

// gain tells the new primary owner of n.
func (c *Conn) gain(n *name) {
	owner := n.primary()
	owner.owned = append(owner.owned, n.name)
	owner.peak = max(owner.peak, len(owner.owned))
	c.bus.peaks.PeakConnNames = max(c.bus.peaks.PeakConnNames, owner.peak)
	if owner.tellOwn {
		c.tell(owner, 0, Notification{Kind: NameAcquired, Name: n.name, NewOwner: owner.id})
	}
}

// Lookup returns the owner of a well-known name as c may see it, or nil. An activator does not
// count as one, as in everything that the D-Bus specification defines; see [Conn.Inspect].
func (c *Conn) Lookup(s string) *Conn {
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := b.names[s]
	if n == nil || len(n.owners) == 0 || !c.seesName(s) {
		c.missed(RefusedSee, s, nil)
		return nil
	}
	return n.primary()
}

// LookupID returns the connection with this id as c may see it, or nil.
func (c *Conn) LookupID(id ID) *Conn {
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	found := b.conns[id]
	if found == nil || !c.seesConn(found) {
		return nil
	}
	return found
}

// ListNames returns the well-known names that have an owner and the connections, as far as c may
// see them, in no order.
func (c *Conn) ListNames() (names []string, ids []ID) {
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	for s, n := range b.names {
		if len(n.owners) > 0 && c.seesName(s) {
			names = append(names, s)
		}
	}
	for id, conn := range b.conns {
		if c.seesConn(conn) {
			ids = append(ids, id)
		}
	}
	return names, ids
}

// ListOwners returns the primary owner of a name and then those who wait for it, in order. It is
// nil if nobody owns the name or c may not see it.
func (c *Conn) ListOwners(s string) []ID {
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := b.names[s]
	if n == nil || !c.seesName(s) {
		c.missed(RefusedSee, s, nil)
		return nil
	}
	ids := make([]ID, 0, len(n.owners))
	for _, o := range n.owners {
		if c.seesWaiting(o.conn) {
			ids = append(ids, o.conn.id)
		}
	}
	return ids
}
