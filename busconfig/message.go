package busconfig

import "github.com/kdbus-go/kdbus/wire"

// Message is what rules see of a message. Fill in a new one, or assign a whole one, for each message:
// what a check has found out about Path, Interface, Member and ErrorName is kept in it for the next
// one, say of another receiver. The other fields may be changed between checks. Strings are not kept
// beyond the Message.
//
// A Message is for one goroutine at a time.
type Message struct {
	Type wire.Type
	// The header fields of these names; "" if the header has none.
	Path, Interface, Member, ErrorName string
	// Opaque is set for what is no D-Bus message and has nothing of a header, such as kdbus's peers may
	// exchange. What a rule allows for a path, an interface, a member or an error it does not allow then.
	Opaque bool
	// Reply is set if the header has a reply serial, Requested if it also answers a call that the receiver
	// waits for.
	Reply, Requested bool
	// Broadcast is set for a signal without destination.
	Broadcast bool
	// Eavesdropping is set while the receiver is not the one the message is addressed to. It is not set for
	// broadcasts.
	Eavesdropping bool
	// Descriptors is the number of file descriptors with the message.
	Descriptors uint32
	// Destination are the names of the receiver in question, for a broadcast too: it is checked for each
	// receiver. For the bus itself, and for a service that has yet to be started, it is the name that
	// the message is addressed to. It may be nil for a receiver without names.
	Destination *Names
	// Sender are the names of the sender; of the bus itself, org.freedesktop.DBus.
	Sender *Names

	known symbols // of the fields, as policy has them
}

// symbols are the numbers that a policy has given to the fields of a message.
type symbols struct {
	policy                         *Policy // that gave them; nil for none yet
	absentFields                   wants
	path, iface, member, errorName symbol
}

// symbol is the number of a string that rules mention; 0 for all others.
type symbol uint32

// absent are the fields that the header does not have.
func (m *Message) absent() (w wants) {
	if m.Opaque {
		return wantsFields | wantsHeader
	}
	if m.Path == "" {
		w |= wantsPath
	}
	if m.Interface == "" {
		w |= wantsInterface
	}
	if m.Member == "" {
		w |= wantsMember
	}
	if m.ErrorName == "" {
		w |= wantsError
	}
	return w
}

// peer are the names that rules of the kind k compare.
func (m *Message) peer(k Kind) *Names {
	if k == Send {
		return m.Destination
	}
	return m.Sender
}

// resolve finds the symbols of m in p, unless it has them.
func (m *Message) resolve(p *Policy) {
	if m.known.policy == p {
		return
	}
	m.known = symbols{
		policy: p, absentFields: m.absent(),
		path: p.texts[m.Path], iface: p.texts[m.Interface], member: p.texts[m.Member], errorName: p.texts[m.ErrorName],
	}
}
