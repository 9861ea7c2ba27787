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

type name struct {
	name   string
	owners []owner // never empty; [0] is the primary owner
}

type owner struct {
	conn  *Conn
	flags NameFlags
}

func (n *name) primary() *Conn { return n.owners[0].conn }

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
	switch {
	case c.monitor != nil:
		return 0, errorf(ErrMonitor, "connection %s is a monitor, which may not own names", c.UniqueName())
	case !c.joined:
		return 0, errorf(ErrDisconnected, "connection %s is not on the bus", c.UniqueName())
	}
	if err := b.policy.Own(c, s); err != nil {
		return 0, err
	}
	if len(c.claims) >= c.limits.MaxNames {
		return 0, errorf(ErrTooManyNames, "connection %s has %d names, as many as it may (max_names_per_connection=%d)",
			c.UniqueName(), len(c.claims), c.limits.MaxNames)
	}
	n := b.names[s]
	if n == nil {
		n = &name{name: s, owners: []owner{{c, flags}}}
		b.names[s] = n
		c.claims = append(c.claims, n)
		b.peak()
		c.announce(Notification{Kind: NameChanged, Name: s, NewOwner: c.id})
		c.gain(n)
		return PrimaryOwner, nil
	}
	at := n.find(c)
	replace := flags&ReplaceExisting != 0 && n.owners[0].flags&AllowReplacement != 0
	switch {
	case at == 0:
		n.owners[0].flags = flags
		return AlreadyOwner, nil
	case replace:
		n.enqueue(c, at, flags)
		if old := n.primary(); n.owners[0].flags&DoNotQueue != 0 {
			b.removeOwner(c, n, old)
		} else {
			c.handOver(n, func() { n.owners[0], n.owners[1] = n.owners[1], n.owners[0] })
		}
		return PrimaryOwner, nil
	case flags&DoNotQueue != 0:
		if at > 0 {
			n.dequeue(c, at)
		}
		return Exists, nil
	default:
		n.enqueue(c, at, flags)
		return InQueue, nil
	}
}

// ClaimName is AcquireName as kdbus.name(7) has it: it waits for the name only with Queue, and
// returns how c has the name now. The error for a name that somebody else has is ErrExists.
func (c *Conn) ClaimName(s string, flags NameFlags) (NameFlags, error) {
	flags &= ReplaceExisting | AllowReplacement | Queue
	ask := flags
	if flags&Queue == 0 {
		ask |= DoNotQueue
	}
	how, err := c.AcquireName(s, ask)
	if err != nil {
		return 0, err
	}
	switch how {
	case PrimaryOwner:
		return flags | Primary | Acquired, nil
	case AlreadyOwner:
		return flags | Primary, nil
	case InQueue:
		return flags | QueuedFor | Acquired, nil
	}
	return 0, errorf(ErrExists, "somebody else owns the name %s", s)
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
		c.claims = append(c.claims, n)
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
	c.claims = removeLast(c.claims, n)
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
	case n != nil && n.find(c) >= 0:
		b.removeOwner(c, n, c)
		return nil
	case n == nil || !b.policy.See(c, s):
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
// the public, the new owner, in this order.
func (c *Conn) handOver(n *name, change func()) {
	b := c.bus
	old := n.primary()
	old.owned = removeLast(old.owned, n.name)
	if old.tellOwn {
		c.tell(old, 0, Notification{Kind: NameLost, Name: n.name, OldOwner: old.id})
	}
	change()
	event := Notification{Kind: NameChanged, Name: n.name, OldOwner: old.id}
	if len(n.owners) == 0 {
		delete(b.names, n.name)
		c.announce(event)
		return
	}
	event.NewOwner = n.primary().id
	c.announce(event)
	c.gain(n)
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

// Lookup returns the owner of a well-known name as c may see it, or nil.
func (c *Conn) Lookup(s string) *Conn {
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := b.names[s]
	if n == nil || !b.policy.See(c, s) {
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
	if found == nil || !b.policy.See(c, found.UniqueName()) {
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
	for s := range b.names {
		if b.policy.See(c, s) {
			names = append(names, s)
		}
	}
	for id, conn := range b.conns {
		if b.policy.See(c, conn.UniqueName()) {
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
	if n == nil || !b.policy.See(c, s) {
		return nil
	}
	ids := make([]ID, len(n.owners))
	for i, o := range n.owners {
		ids[i] = o.conn.id
	}
	return ids
}
