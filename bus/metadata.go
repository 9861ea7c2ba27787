package bus

import "github.com/kdbus-go/kdbus/meta"

// Update changes what may be attached to the messages that c sends, and what c wants to be attached
// to those that it receives; nil leaves it as it is.
func (c *Conn) Update(send, receive *meta.Kinds) error {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.closed {
		return errorf(ErrDisconnected, "connection %s is closed", c.UniqueName())
	}
	if send != nil {
		c.attachSend = *send
	}
	if receive != nil {
		c.wants = c.wants&^PartsMetadata | Parts(*receive)&PartsMetadata
	}
	return nil
}

// Attached returns which kinds of m.Meta the connection gets, as things are now. Only these may be shown
// to its peer.
func (c *Conn) Attached(m *Message) meta.Kinds {
	if m.Meta == nil {
		return 0
	}
	return m.Meta.Has & meta.Kinds(c.wants)
}

// Info returns what is known of the connection, of the kinds in want.
func (c *Conn) Info(want meta.Kinds) meta.Data {
	return meta.Data{}
}

// OwnedNames returns the well-known names that c owns or waits for, with flags, in the order in which it
// asked for them.
func (c *Conn) OwnedNames() []meta.OwnedName {
	return nil
}
