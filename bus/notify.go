package bus

import "sync"

// NotificationKind says what happened.
type NotificationKind uint8

const (
	// NameChanged: the owner of Name changed from OldOwner to NewOwner, 0 being nobody (kdbus:
	// NAME_ADD, NAME_REMOVE, NAME_CHANGE).
	NameChanged NotificationKind = iota + 1
	// IDAdded: the connection NewOwner appeared.
	IDAdded
	// IDRemoved: the connection OldOwner left.
	IDRemoved
	// NameAcquired tells a connection that it owns Name now.
	NameAcquired
	// NameLost tells a connection that it owns Name no longer.
	NameLost
	// ReplyDead tells a caller that OldOwner, whom it had called, left without answering (the call
	// is ReplyCookie).
	ReplyDead
	// ReplyTimeout tells a caller that OldOwner, whom it had called, did not answer in time.
	ReplyTimeout
	// MessagesDropped tells a connection that broadcasts or signals for it were lost, of which
	// there is a count: see [Conn.TakeDropped]. It is in nobody's queue; Dequeue makes it.
	MessagesDropped
	// MessagesHeld tells an activator that messages to Name, its name, wait for somebody to take it.
	// It is in nobody's queue; Dequeue makes it. It comes again with each that is added, but once for
	// all that came meanwhile.
	MessagesHeld
)

// A Notification is what the bus itself has to say: about names and ids to everyone who subscribed,
// about names and calls to the one concerned.
type Notification struct {
	Kind               NotificationKind
	Name               string // empty for ids and replies
	OldOwner, NewOwner ID

	// OldFlags and NewFlags say more of OldOwner and NewOwner, as kdbus does: [NameFlags] with
	// NameChanged, [ConnFlags] with IDAdded and IDRemoved, otherwise 0.
	OldFlags, NewFlags uint64

	// Reason is why a call of a native peer to a service that did not run ends with ReplyDead or
	// ReplyTimeout; else nil.
	Reason error

	rendered *sync.Once
}

// notice is a message of the bus itself in one piece of memory.
type notice struct {
	message      Message
	notification Notification
	rendered     sync.Once
}

// notify makes the message for n, which c causes.
func (c *Conn) notify(dst ID, cookie uint64, n Notification) *Message {
	made := &notice{notification: n}
	made.notification.rendered = &made.rendered
	m := &made.message
	m.Dst, m.ReplyCookie, m.Notification = dst, cookie, &made.notification
	m.uid, m.door = c.charged, c.door
	m.Has = ^connectionParts
	return m
}

// subject returns the name that a notification is about.
func (n *Notification) subject() string {
	switch {
	case n.Name != "":
		return n.Name
	case n.NewOwner != 0:
		return n.NewOwner.String()
	}
	return n.OldOwner.String()
}

// announce broadcasts a notification. Bus.mu is held for writing. c is the connection whose doing
// it is.
func (c *Conn) announce(n Notification) {
	b := c.bus
	m := c.notify(Broadcast, 0, n)
	wants := c.gather(nil, nil, m, b.monitorWants)
	b.stamp(m)
	b.attachTime(m, wants)
	c.showMonitors(nil, m)
	c.spread(nil, nil, m)
	m.Release()
}

// tell sends a notification to one connection. Bus.mu is held in any mode. The end of a call is
// always told: it is bounded by the calls that dst may have waiting. A change of a name is dropped,
// and counted, like a broadcast if dst does not read.
func (c *Conn) tell(dst *Conn, cookie uint64, n Notification) {
	b := c.bus
	m := c.notify(dst.id, cookie, n)
	b.stamp(m)
	b.attachTime(m, b.monitorWants|dst.wanted())
	c.showMonitors(dst, m)
	how := droppable
	if cookie != 0 {
		how = forced
	}
	if cookie != 0 && !dst.keptWaiting() || b.policy.Send(nil, dst, m, cookie != 0) == nil {
		c.push(dst, m, how)
	} else {
		c.unheard(nil, dst, m)
	}
	m.Release()
}
