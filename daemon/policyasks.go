package daemon

import (
	"errors"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// What the bus asks its policy.

// Needs implements bus.Policy.
func (p *xmlPolicy) Needs() bus.Parts { return bus.PartHeader }

// Unrequested implements bus.Policy: it is for rules with requested_reply to say.
func (p *xmlPolicy) Unrequested() bool { return true }

// See implements bus.Policy. dbus-daemon keeps no names secret.
func (p *xmlPolicy) See(*bus.Conn, string) bool { return true }

// Own implements bus.Policy.
func (p *xmlPolicy) Own(c *bus.Conn, name string) error {
	s := subjectOf(c)
	if s == nil {
		return nil
	}
	v := s.rights.view.MayOwn(name)
	if v.Allowed {
		return nil
	}
	return p.denials.note(c, &ownDenial{conn: c, name: name, rule: v.Rule})
}

// Send implements bus.Policy.
func (p *xmlPolicy) Send(src, dst *bus.Conn, m *bus.Message, requested bool) error {
	if src == nil {
		return p.tell(dst, m)
	}
	s := subjectOf(src)
	if s == nil {
		return nil
	}
	var asked busconfig.Message
	if err := describe(&asked, m); err != nil {
		return p.denials.note(src, &misstatement{conn: src, reason: err})
	}
	asked.Requested = requested
	var d *subject
	var receiver *rights
	switch {
	case dst != nil:
		if d = subjectOf(dst); d != nil {
			asked.Destination = d.names
		}
		if dst.Flags()&bus.FlagActivator != 0 {
			d = nil // it only stands in for who will be asked
			asked.Destination = busconfig.NewNames(m.DstName)
		}
		if d != nil {
			receiver = d.rights
		}
	case isUnaddressed(m):
		return nil
	default:
		asked.Destination = p.driver
	}
	if s.memos.allows(&asked, s.names, receiver) {
		return nil
	}
	v := s.rights.view.MaySend(&asked)
	if !v.Allowed || v.Log() {
		if err := p.denied(src, dst, m, asked, v, busconfig.Send); err != nil {
			return err
		}
	}
	if d != nil {
		asked.Sender = s.names
		if v := d.rights.view.MayReceive(&asked); !v.Allowed {
			return p.denied(src, dst, m, asked, v, busconfig.Receive)
		}
	}
	if !v.Log() {
		s.remember(&asked, receiver)
	}
	return nil
}

// describe says what m, which a peer sends, is to the rules.
func describe(asked *busconfig.Message, m *bus.Message) error {
	h, err := dbus1.HeaderOf(m)
	if err != nil {
		return err
	}
	if h == nil {
		*asked = busconfig.Message{Opaque: true, Type: typeOf(m), Reply: m.ReplyCookie != 0}
	} else {
		*asked = busconfig.Message{
			Type: h.Type, Path: h.Path, Interface: h.Interface, Member: h.Member, ErrorName: h.ErrorName,
			Reply: h.ReplySerial != 0,
		}
	}
	asked.Descriptors = uint32(len(m.FDs))
	asked.Broadcast = m.Dst == bus.Broadcast
	return nil
}

// typeOf returns which type of D-Bus message comes closest to one that is none.
func typeOf(m *bus.Message) wire.Type {
	switch {
	case m.Dst == bus.Broadcast || m.Flags&bus.Signal != 0:
		return wire.TypeSignal
	case m.ReplyCookie != 0:
		return wire.TypeMethodReturn
	}
	return wire.TypeMethodCall
}

// isUnaddressed reports whether m, which is for the bus itself, does not say so: dbus-daemon leaves it to its
// library, which asks no policy.
func isUnaddressed(m *bus.Message) bool {
	h, _ := dbus1.HeaderOf(m)
	return h != nil && h.Destination == ""
}

// errNotTold is why a message of the bus vanishes. Nobody is told.
var errNotTold = errors.New("the policy does not let the receiver have it")

// tell decides about a message of the bus to dst.
func (p *xmlPolicy) tell(dst *bus.Conn, m *bus.Message) error {
	d := subjectOf(dst)
	switch {
	case d == nil:
		return nil
	case m.Notification != nil:
		if d.rights.notices[m.Notification.Kind] {
			return nil
		}
		return errNotTold
	}
	if m.Payload[0][messageType] == byte(wire.TypeMethodReturn) && len(m.FDs) == 0 && d.rights.returns {
		return nil
	}
	if asked := p.ofDriver(m); d.rights.view.MayReceive(&asked).Allowed {
		return nil
	}
	return errNotTold
}

// messageType is where a D-Bus message has its type.
const messageType = 1

// ofDriver says what m, which the driver has made, is to the rules.
func (p *xmlPolicy) ofDriver(m *bus.Message) busconfig.Message {
	var h wire.Header
	h.Parse(m.Payload[0]) // our own message
	return busconfig.Message{
		Type: h.Type, Path: h.Path, Interface: h.Interface, Member: h.Member, ErrorName: h.ErrorName,
		Reply: h.ReplySerial != 0, Requested: true,
		Broadcast:   m.Dst == bus.Broadcast,
		Descriptors: uint32(len(m.FDs)),
		Sender:      p.driver,
	}
}

// copies are about the message that is being given to those who subscribed to it. Most of them are alike to
// the policy, which need not be asked for each.
type copies struct {
	sequence uint64 // of the message, 0 for none
	asked    busconfig.Message
	sender   *subject // nil: of the bus, or of one whom no policy limits
	refused  bool     // the message is not for anybody
	verdicts [8]copyVerdict
	known    int // of verdicts
}

// copyVerdict is the verdict about all receivers with these rights and names.
type copyVerdict struct {
	rights  *rights
	names   *busconfig.Names
	allowed bool
}

// Overhear implements bus.Policy.
func (p *xmlPolicy) Overhear(src, dst *bus.Conn, m *bus.Message) bool {
	d := subjectOf(dst)
	if d == nil {
		return true
	}
	if n := m.Notification; n != nil {
		return d.rights.notices[n.Kind]
	}
	c := &p.copies
	if c.sequence != m.Sequence {
		p.begin(src, m)
	}
	for i := range c.verdicts[:c.known] {
		if v := &c.verdicts[i]; v.rights == d.rights && v.names == d.names {
			return v.allowed
		}
	}
	allowed := p.mayCopy(src, dst, m, d)
	if c.known < len(c.verdicts) {
		c.verdicts[c.known] = copyVerdict{d.rights, d.names, allowed}
		c.known++
	}
	return allowed
}

// begin takes up another message.
func (p *xmlPolicy) begin(src *bus.Conn, m *bus.Message) {
	c := &p.copies
	*c = copies{sequence: m.Sequence}
	if src == nil {
		c.asked = p.ofDriver(m)
		c.asked.Requested = false
	} else {
		c.sender = subjectOf(src)
		c.refused = describe(&c.asked, m) != nil
	}
	c.asked.Eavesdropping = m.Dst != bus.Broadcast
	if c.sender != nil {
		c.asked.Sender = c.sender.names
	}
}

// mayCopy decides about the message at hand. dbus-daemon logs no denial of a copy, but it does log those
// that are allowed by a rule that says so.
func (p *xmlPolicy) mayCopy(src, dst *bus.Conn, m *bus.Message, d *subject) bool {
	c := &p.copies
	if c.refused {
		return false
	}
	if c.sender != nil {
		c.asked.Destination = d.names
		v := c.sender.rights.view.MaySend(&c.asked)
		if !v.Allowed {
			return false
		}
		if v.Log() {
			p.denied(src, dst, m, c.asked, v, busconfig.Send)
		}
	}
	return d.rights.view.MayReceive(&c.asked).Allowed
}

// Explain implements bus.Explainer, for monitors. Nothing of it is logged.
func (p *xmlPolicy) Explain(src, dst *bus.Conn, m *bus.Message) error {
	d := subjectOf(dst)
	if d == nil {
		return nil
	}
	var asked busconfig.Message
	switch {
	case src != nil:
		s := subjectOf(src)
		if s == nil || describe(&asked, m) != nil {
			return nil
		}
		asked.Destination, asked.Sender = d.names, s.names
		if v := s.rights.view.MaySend(&asked); !v.Allowed {
			return describeDenial(src, dst, m, asked, v, busconfig.Send)
		}
	case m.Notification != nil:
		asked = p.notice(m.Notification.Kind)
	default:
		asked = p.ofDriver(m)
	}
	if v := d.rights.view.MayReceive(&asked); !v.Allowed {
		return describeDenial(src, dst, m, asked, v, busconfig.Receive)
	}
	return nil
}
