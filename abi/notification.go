package abi

import "bytes"

// Notification is what the bus itself tells in a message: kdbus.message(7),
// "Notifications".
type Notification struct {
	// Type is that of the item: NAME_ADD, NAME_REMOVE, NAME_CHANGE, ID_ADD,
	// ID_REMOVE, REPLY_TIMEOUT or REPLY_DEAD; 0 if the message is none. With
	// the last two, Message.CookieReply is the cookie of the call.
	Type ItemType
	// Old and New are who owned the name and who owns it, or the connection
	// that went (Old) or came (New). What does not apply is zero.
	Old, New Party
	// Name is the name that changed hands.
	Name string
	// Reason is why there is no reply, with REPLY_TIMEOUT and REPLY_DEAD; zero if
	// the bus does not say.
	Reason Reason
}

// Reason is the data of an item of the type [ItemReason].
type Reason struct {
	// Errno is not 0.
	Errno uint64
	// Name is that of a D-Bus error; "" if Errno says it all.
	Name string
	// Text is for people. It has no NUL.
	Text string
}

func (r *Reason) append(dst []byte) []byte {
	if r.Errno == 0 {
		return dst
	}
	name, text := cString(r.Name), cString(r.Text)
	size := r.size()
	dst = appendU64(appendItemHeader(dst, ItemReason, size), r.Errno)
	return pad8(append(append(append(append(dst, name...), 0), text...), 0), size)
}

// size returns the size of the data.
func (r *Reason) size() int { return 8 + len(cString(r.Name)) + 1 + len(cString(r.Text)) + 1 }

// reason reads an item that was judged.
func reason(it Item) Reason {
	name, text, _ := bytes.Cut(it.Data[8:len(it.Data)-1], []byte{0})
	return Reason{u64(it.Data, 0), string(name), string(text)}
}

// Party is a connection in a notification.
type Party struct {
	ID uint64
	// Flags are [NameFlags] where names are concerned, [HelloFlags] where
	// connections are.
	Flags uint64
}

func (n *Notification) append(dst []byte, named bool) []byte {
	switch n.Type {
	case ItemIDAdd:
		return n.New.append(appendItemHeader(dst, n.Type, 16))
	case ItemIDRemove:
		return n.Old.append(appendItemHeader(dst, n.Type, 16))
	case ItemReplyTimeout, ItemReplyDead:
		return n.Reason.append(appendItemHeader(dst, n.Type, 0))
	case ItemNameAdd, ItemNameRemove, ItemNameChange:
	default:
		return dst
	}
	if !named {
		return n.New.append(n.Old.append(appendItemHeader(dst, n.Type, 32)))
	}
	name := cString(n.Name)
	size := 32 + len(name) + 1
	dst = n.New.append(n.Old.append(appendItemHeader(dst, n.Type, size)))
	return pad8(append(append(dst, name...), 0), size)
}

func (p Party) append(dst []byte) []byte { return appendU64(appendU64(dst, p.ID), p.Flags) }

func party(d []byte, off int) Party { return Party{u64(d, off), u64(d, off+8)} }

// notification reads an item that was judged.
func notification(it Item) Notification {
	n := Notification{Type: it.Type}
	switch it.Type {
	case ItemIDAdd:
		n.New = party(it.Data, 0)
	case ItemIDRemove:
		n.Old = party(it.Data, 0)
	case ItemNameAdd, ItemNameRemove, ItemNameChange:
		n.Old, n.New = party(it.Data, 0), party(it.Data, 16)
		if len(it.Data) > 32 {
			n.Name = text(it.Data[32:])
		}
	}
	return n
}
