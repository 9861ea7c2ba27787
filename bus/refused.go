package bus

// What a custom endpoint does not let through can be told to who made it: to see what a sandbox lacks. Who is
// refused learns no more by that.

// RefusedKind says what was refused.
type RefusedKind uint8

const (
	RefusedSee  RefusedKind = iota + 1 // to ask about a name
	RefusedTalk                        // to send a message, or to start the owner of a name
	RefusedHear                        // to receive a broadcast, or a signal, that was subscribed to
	RefusedOwn                         // to own a name
)

// Refused is something that an endpoint has not let through.
type Refused struct {
	Kind RefusedKind
	// Conn is who came through the endpoint.
	Conn *Conn
	// Name is what it was about: the name that was asked for, whatever that is, else one of the other connection's, which is
	// its unique name if it has no other.
	Name string
	// Message is the message, or nil. It has PartView if that could be made. It is only to be looked at during the call.
	Message *Message
}

// tell tells who made the endpoint. Bus.mu is held in any mode.
func (g *gate) tell(r Refused) {
	if g.refused != nil {
		g.refused(r)
	}
}

// tellPeer is tell for messages from or to another connection.
func (g *gate) tellPeer(kind RefusedKind, c, other *Conn, m *Message) {
	if g.refused == nil {
		return
	}
	r := Refused{Kind: kind, Conn: c, Name: m.DstName, Message: m}
	switch {
	case r.Name != "" && kind == RefusedTalk:
	case len(other.owned) > 0:
		r.Name = other.owned[0]
	default:
		r.Name = other.UniqueName()
	}
	g.refused(r)
}

// missed notes that c has asked for a name that it does not see, whether it exists or not. The message may be nil. Bus.mu is
// held in any mode.
func (c *Conn) missed(kind RefusedKind, name string, m *Message) {
	if e := c.confined; e != nil && e.gate.refused != nil && name != "" && !e.gate.permits(c, name, AccessSee) {
		e.gate.refused(Refused{Kind: kind, Conn: c, Name: name, Message: m})
	}
}

// unseen notes that c has sent m to dst, which it does not see, or which there is not if that is nil. Bus.mu is held in
// any mode.
func (c *Conn) unseen(dst *Conn, m *Message) {
	if dst == nil {
		c.missed(RefusedTalk, m.DstName, m)
	} else {
		c.confined.gate.tellPeer(RefusedTalk, c, dst, m)
	}
}
