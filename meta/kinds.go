package meta

import "strings"

// Kinds is a set of kinds of metadata. The bits are those of kdbus.h's KDBUS_ATTACH flags: a set
// that is exchanged with a kdbus client needs no translation.
type Kinds uint64

// The kinds of metadata, as kdbus.item(7) has them.
const (
	KindTimestamp Kinds = 1 << iota
	KindCreds
	KindPIDs
	KindAuxGroups
	KindNames
	KindTIDComm
	KindPIDComm
	KindExe
	KindCmdline
	KindCGroup
	KindCaps
	KindSecLabel
	KindAudit
	KindDescription

	// AllKinds is all of them.
	AllKinds Kinds = 1<<14 - 1

	// ConnectionKinds are those that only the bus itself knows: of the message or of the
	// connection. Nothing in this package collects them.
	ConnectionKinds = KindTimestamp | KindNames | KindDescription

	// ProcessKinds are those that are collected, from the kernel.
	ProcessKinds = AllKinds &^ ConnectionKinds
)

var kindNames = [...]string{
	"timestamp", "creds", "pids", "auxgroups", "names", "tid-comm", "pid-comm", "exe", "cmdline",
	"cgroup", "caps", "seclabel", "audit", "description",
}

// String returns the names of the kinds, separated by commas; "none" if there are none.
func (k Kinds) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if k&^AllKinds != 0 {
		names = append(names, "unknown")
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// Attach returns the kinds to attach to a message: what its sender allows, and its receiver asks
// for, and all of those above them permit (the bus, the domain).
func Attach(sender, receiver Kinds, above ...Kinds) Kinds {
	k := sender & receiver & AllKinds
	for _, permits := range above {
		k &= permits
	}
	return k
}

// Missing returns the kinds that a bus requires of its connections and that this one, with the
// kinds it allows to be sent, withholds. HELLO is refused (ECONNREFUSED) if there are any:
// kdbus.bus(7), KDBUS_ITEM_ATTACH_FLAGS_RECV.
func Missing(requires, sender Kinds) Kinds {
	return requires & AllKinds &^ sender
}
