package kdbus

import (
	"strconv"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// uniqueName is how D-Bus names a connection of kdbus.
func uniqueName(id uint64) string { return ":1." + strconv.FormatUint(id, 10) }

// notified makes of what the bus notifies of the messages that a D-Bus bus would have sent.
func (t *frames) notified(k *abi.Message) (*Message, error) {
	n := &k.Notification
	switch n.Type {
	case abi.ItemReplyTimeout:
		return t.noReply(k, "no answer came in time")
	case abi.ItemReplyDead:
		return t.noReply(k, "the callee has left the bus without answering")
	case abi.ItemIDAdd:
		return t.ownerChanged(uniqueName(n.New.ID), 0, n.New.ID)
	case abi.ItemIDRemove:
		return t.ownerChanged(uniqueName(n.Old.ID), n.Old.ID, 0)
	case abi.ItemNameAdd, abi.ItemNameRemove, abi.ItemNameChange:
	default:
		return nil, nil // something newer than this
	}
	before, after := n.Old.ID, n.New.ID
	// To who has the name, an activator is nobody.
	if n.Old.Flags&uint64(abi.NameActivator) != 0 {
		before = 0
	}
	if n.New.Flags&uint64(abi.NameActivator) != 0 {
		after = 0
	}
	self := t.self.Load()
	if self != nil && before != after {
		var err error
		switch self.id {
		case before:
			err = t.add(t.ownName("NameLost", self.name, n.Name))
		case after:
			err = t.add(t.ownName("NameAcquired", self.name, n.Name))
		}
		if err != nil {
			return nil, err
		}
	}
	return t.ownerChanged(n.Name, before, after)
}

// add adds a message to those that are received next.
func (t *frames) add(m *Message, err error) error {
	if err == nil {
		t.more = append(t.more, m)
	}
	return err
}

func (t *frames) noReply(k *abi.Message, text string) (*Message, error) {
	if uint32(k.CookieReply) == 0 {
		return nil, nil
	}
	name := ErrNoReply.Name
	if r := &k.Notification.Reason; r.Errno != 0 {
		e := errorOfErrno(syscall.Errno(r.Errno), r.Text)
		if name, text = e.Name, e.Message; wire.CheckErrorName(r.Name) == nil {
			name = r.Name
		}
	}
	return t.fromBus(&wire.Header{Type: wire.TypeError, ReplySerial: uint32(k.CookieReply), ErrorName: name}, text)
}

func (t *frames) ownerChanged(name string, before, after uint64) (*Message, error) {
	if before == after {
		return nil, nil
	}
	owner := func(id uint64) string {
		if id == 0 {
			return ""
		}
		return t.uniqueName(id)
	}
	return t.fromBus(&wire.Header{Type: wire.TypeSignal, Flags: NoReplyExpected, Path: busPath, Interface: busName,
		Member: "NameOwnerChanged"}, name, owner(before), owner(after))
}

func (t *frames) ownName(member, self, name string) (*Message, error) {
	return t.fromBus(&wire.Header{Type: wire.TypeSignal, Flags: NoReplyExpected, Destination: self, Path: busPath,
		Interface: busName, Member: member}, name)
}
