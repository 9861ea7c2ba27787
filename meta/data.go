package meta

// Data is what is known about the sender of a message, or about a connection. Once collected it is
// not changed, so that any number of receivers can share it; each is shown no more than the kinds
// that [Attach] gives for it.
//
// The fields of kinds that are not in Has are zero and say nothing.
type Data struct {
	Has Kinds

	Timestamp Timestamp
	Creds     IDs
	PIDs      PIDs
	AuxGroups []uint32    // supplementary groups, in our user namespace
	Names     []OwnedName // well-known names of the connection

	// What a process can choose itself. Good to show to people, and no basis for a decision.

	TIDComm string   // name of the thread
	PIDComm string   // name of the process
	Exe     string   // path of the executable in our root directory
	Cmdline []string // arguments, as far as they fit into [MaxCmdline] bytes

	CGroup      string // path in our cgroup namespace, see [CGroupPath]
	Caps        Caps
	SecLabel    string
	Audit       Audit
	Description string // of the connection, which gave it itself
}

// Timestamp is when the bus took a message, and its number.
type Timestamp struct {
	Seqnum      uint64 // counts the messages of the domain, from 1
	MonotonicNS uint64 // nanoseconds of CLOCK_MONOTONIC
	RealtimeNS  uint64 // nanoseconds of CLOCK_REALTIME
}

// IDUnset stands for a user or group in [IDs] that is not known, although others are.
const IDUnset = 1<<32 - 1

// IDs are the users and groups of a process, in our user namespace: real, effective, saved, and
// that for file systems. As everywhere in Linux, an id that has no number in our user namespace is
// /proc/sys/kernel/overflowuid, or overflowgid. Each can be [IDUnset].
type IDs struct {
	UID, EUID, SUID, FSUID uint32
	GID, EGID, SGID, FSGID uint32
}

// PIDs are the numbers of a process in our pid namespace. PID is known if anything is; 0 stands for
// a TID or PPID that is not known, or not visible.
type PIDs struct {
	PID, TID, PPID uint32
}

// OwnedName is a well-known name that a connection owns.
type OwnedName struct {
	Name  string
	Flags uint64 // of kdbus.name(7), KDBUS_NAME_*
}

// Caps are the capabilities of a process in our user namespace; bit n is capability n. Effective
// ones are what it can do without asking anybody.
type Caps struct {
	LastCap     uint32 // the last capability that the running kernel has
	Inheritable uint64
	Permitted   uint64
	Effective   uint64
	Bounding    uint64
}

// AuditUnset stands for a session or user in [Audit] that the kernel knows not to be set: a process
// that no login has started.
const AuditUnset = 1<<32 - 1

// Audit is with which login a process came onto the machine.
type Audit struct {
	SessionID uint32
	LoginUID  uint32 // in our user namespace
}
