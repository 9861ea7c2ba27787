package dbus1

import (
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// payload returns the pieces of m as D-Bus 1 has them.
func payload(m *bus.Message) [][]byte {
	if m.Notification != nil {
		return m.Render(renderNotification)
	}
	return m.Payload
}

// renderNotification makes the D-Bus message for something that the core reports: a signal of the
// driver, or the error that ends a call.
func renderNotification(m *bus.Message) []byte {
	n := m.Notification
	h := wire.Header{
		Order:     wire.LittleEndian,
		Type:      wire.TypeSignal,
		Flags:     wire.NoReplyExpected,
		Serial:    driverSerial,
		Path:      driverPath,
		Interface: driverInterface,
		Sender:    driverName,
	}
	if m.Dst != bus.Broadcast {
		h.Destination = m.Dst.String()
	}
	var args []string
	switch n.Kind {
	case bus.NameChanged:
		h.Member, args = "NameOwnerChanged", []string{n.Name, ownerName(n.OldOwner, n.OldFlags), ownerName(n.NewOwner, n.NewFlags)}
	case bus.IDAdded:
		h.Member, args = "NameOwnerChanged", []string{n.NewOwner.String(), "", n.NewOwner.String()}
	case bus.IDRemoved:
		h.Member, args = "NameOwnerChanged", []string{n.OldOwner.String(), n.OldOwner.String(), ""}
	case bus.NameAcquired:
		h.Member, args = "NameAcquired", []string{n.Name}
	case bus.NameLost:
		h.Member, args = "NameLost", []string{n.Name}
	case bus.ReplyDead:
		args = noReply(&h, m, "Message recipient disconnected from message bus without replying")
	case bus.ReplyTimeout:
		args = noReply(&h, m, "Message did not receive a reply (timeout by message bus)")
	}
	var e wire.Encoder
	for _, arg := range args {
		e.String(arg)
		h.Signature += "s"
	}
	body, err := e.Body()
	if err != nil {
		panic(err) // names that were checked when they were taken
	}
	h.BodySize = uint32(len(body))
	return append(h.Append(make([]byte, 0, headerBound(&h)+len(body))), body...)
}

// noReply makes h the error that answers the call which m is about.
func noReply(h *wire.Header, m *bus.Message, text string) []string {
	h.Type = wire.TypeError
	h.Path, h.Interface = "", ""
	h.ErrorName = errorPrefix + "NoReply"
	h.ReplySerial = uint32(m.ReplyCookie)
	return []string{text}
}

// ownerName returns the owner of a name. An activator, which stands in for one that is not there, is
// none to D-Bus.
func ownerName(id bus.ID, flags uint64) string {
	if id == 0 || bus.NameFlags(flags)&bus.ActivatorName != 0 {
		return ""
	}
	return id.String()
}

// silent reports whether there is nothing in m that D-Bus has a word for: a name that passes between
// nobody and an activator.
func silent(m *bus.Message) bool {
	n := m.Notification
	return n != nil && n.Kind == bus.NameChanged && ownerName(n.OldOwner, n.OldFlags) == ownerName(n.NewOwner, n.NewFlags)
}
