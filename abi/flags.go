package abi

import (
	"math/bits"
	"strconv"
	"strings"
)

// Connection ids with a meaning of their own.
const (
	// SrcIDKernel is the source of what the bus itself sends.
	SrcIDKernel uint64 = 0
	// DstIDName is the destination of a message that goes to whoever owns the
	// name in its item DST_NAME.
	DstIDName uint64 = 0
	// DstIDBroadcast is the destination of a signal to all who match it.
	DstIDBroadcast uint64 = 1<<64 - 1
	// MatchIDAny stands for every connection in a match.
	MatchIDAny uint64 = 1<<64 - 1
)

// FlagNegotiate is the flag that every command and message knows: do nothing
// but tell which flags and items there are. See [Negotiation].
const FlagNegotiate = 1 << 63

// HelloFlags are what a connection is: kdbus.connection(7). At most one of
// Activator, PolicyHolder and Monitor; none makes an ordinary connection.
type HelloFlags uint64

// The flags of HELLO.
const (
	// HelloAcceptFD: messages with file descriptors may be sent to it.
	HelloAcceptFD HelloFlags = 1 << iota
	// HelloActivator: it owns a name for a service that is to be started.
	HelloActivator
	// HelloPolicyHolder: it holds the policy of a name.
	HelloPolicyHolder
	// HelloMonitor: it sees all traffic of the bus, and is not seen.
	HelloMonitor
)

func (f HelloFlags) String() string {
	return flagString(uint64(f), "ACCEPT_FD", "ACTIVATOR", "POLICY_HOLDER", "MONITOR")
}

// MakeFlags are who may open a new bus or endpoint: kdbus.bus(7). Without any,
// its owner only.
type MakeFlags uint64

// The flags of BUS_MAKE and ENDPOINT_MAKE.
const (
	MakeAccessGroup MakeFlags = 1 << iota // its group
	MakeAccessWorld                       // everybody
)

func (f MakeFlags) String() string {
	return flagString(uint64(f), "ACCESS_GROUP", "ACCESS_WORLD")
}

// NameFlags are those of a name, and of the attempt to own it: kdbus.name(7).
type NameFlags uint64

// The flags of names. NAME_ACQUIRE takes the first three; the others are told by
// the bus.
const (
	// NameReplaceExisting: take the name from an owner that allows it.
	NameReplaceExisting NameFlags = 1 << iota
	// NameAllowReplacement: others may take it from this owner.
	NameAllowReplacement
	// NameQueue: wait for the name if somebody else owns it.
	NameQueue
	// NameInQueue: it does not own the name, but waits for it.
	NameInQueue
	// NameActivator: it is an activator's name.
	NameActivator
	// NamePrimary: it is the owner of the name.
	NamePrimary
	// NameAcquired: it got the name, or a place in the queue, just now.
	NameAcquired
)

func (f NameFlags) String() string {
	return flagString(uint64(f), "REPLACE_EXISTING", "ALLOW_REPLACEMENT", "QUEUE", "IN_QUEUE", "ACTIVATOR",
		"PRIMARY", "ACQUIRED")
}

// ListFlags are what a LIST is to contain: kdbus.name(7).
type ListFlags uint64

// The flags of LIST.
const (
	ListUnique     ListFlags = 1 << iota // connections, whether they own names or not
	ListNames                            // names and their owners
	ListActivators                       // names of activators
	ListQueued                           // who waits for names
)

func (f ListFlags) String() string {
	return flagString(uint64(f), "UNIQUE", "NAMES", "ACTIVATORS", "QUEUED")
}

// MatchFlags are those of MATCH_ADD: kdbus.match(7).
type MatchFlags uint64

// MatchReplace removes the matches with the same cookie first.
const MatchReplace MatchFlags = 1

func (f MatchFlags) String() string { return flagString(uint64(f), "REPLACE") }

// SendFlags are those of SEND: kdbus.message(7).
type SendFlags uint64

// SendSyncReply makes SEND wait for the reply and return it. The message needs
// MsgExpectReply.
const SendSyncReply SendFlags = 1

func (f SendFlags) String() string { return flagString(uint64(f), "SYNC_REPLY") }

// RecvFlags are those of RECV: kdbus.message(7).
type RecvFlags uint64

// The flags of RECV.
const (
	RecvPeek        RecvFlags = 1 << iota // leave the message in the queue
	RecvDrop                              // throw the message away
	RecvUsePriority                       // the message of highest priority, not below Recv.Priority
)

func (f RecvFlags) String() string {
	return flagString(uint64(f), "PEEK", "DROP", "USE_PRIORITY")
}

// RecvReturnFlags are what RECV, and SEND with SendSyncReply, have to say about
// the message they return.
type RecvReturnFlags uint64

// The return flags of RECV.
const (
	// RecvReturnIncompleteFDs: some descriptors could not be installed, and are
	// -1 in the message.
	RecvReturnIncompleteFDs RecvReturnFlags = 1 << iota
	// RecvReturnDroppedMsgs: messages were lost since the last RECV.
	RecvReturnDroppedMsgs
)

func (f RecvReturnFlags) String() string {
	return flagString(uint64(f), "INCOMPLETE_FDS", "DROPPED_MSGS")
}

// MsgFlags are those of a message: kdbus.message(7).
type MsgFlags uint64

// The flags of messages.
const (
	// MsgExpectReply: a call, which wants a reply until Message.TimeoutNS.
	MsgExpectReply MsgFlags = 1 << iota
	// MsgNoAutoStart: fail rather than start a service.
	MsgNoAutoStart
	// MsgSignal: it carries a bloom filter, and is delivered to who matches.
	MsgSignal
)

func (f MsgFlags) String() string {
	return flagString(uint64(f), "EXPECT_REPLY", "NO_AUTO_START", "SIGNAL")
}

// PayloadType says what the payload of a message is. Any is accepted but
// PayloadKernel, which is reserved for the bus.
type PayloadType uint64

// The types of payloads.
const (
	PayloadKernel PayloadType = 0                  // none: the message is a notification
	PayloadDBus   PayloadType = 0x4442757344427573 // "DBusDBus": a D-Bus message
)

// AttachFlags are kinds of metadata: kdbus(7). Flag number n stands for item
// type ItemTimestamp + n.
type AttachFlags uint64

// The kinds of metadata, see the fields of [Metadata].
const (
	AttachTimestamp AttachFlags = 1 << iota
	AttachCreds
	AttachPIDs
	AttachAuxGroups
	AttachNames
	AttachTIDComm
	AttachPIDComm
	AttachExe
	AttachCmdline
	AttachCGroup
	AttachCaps
	AttachSecLabel
	AttachAudit
	AttachConnDescription

	// AttachAll is all of them.
	AttachAll AttachFlags = 1<<14 - 1
	// AttachAny is all of them, and those to come; decoded as AttachAll.
	AttachAny AttachFlags = 1<<64 - 1
)

func (f AttachFlags) String() string {
	return flagString(uint64(f), "TIMESTAMP", "CREDS", "PIDS", "AUXGROUPS", "NAMES", "TID_COMM", "PID_COMM", "EXE",
		"CMDLINE", "CGROUP", "CAPS", "SECLABEL", "AUDIT", "CONN_DESCRIPTION")
}

// sanitize returns the flags a bus works with.
func (f AttachFlags) sanitize() (AttachFlags, fault) {
	if f == AttachAny {
		return AttachAll, fault{}
	}
	if f&^AttachAll != 0 {
		return 0, invalid("attach flags that do not exist")
	}
	return f, fault{}
}

// PolicyAccessType says whom a policy entry is for: kdbus.policy(7).
type PolicyAccessType uint64

// Whom policy entries are for. The zero PolicyAccessType is invalid.
const (
	PolicyAccessUser  PolicyAccessType = 1 + iota // the user PolicyAccess.ID
	PolicyAccessGroup                             // the group PolicyAccess.ID
	PolicyAccessWorld                             // everybody
)

// PolicyType is what a policy entry permits: kdbus.policy(7). Each includes
// those before it.
type PolicyType uint64

// What policy entries permit.
const (
	PolicySee  PolicyType = iota // see that the name exists
	PolicyTalk                   // send messages to it
	PolicyOwn                    // own it
)

// flagString names the bits of f: name by name, then what has none.
func flagString(f uint64, names ...string) string {
	var s []string
	for f != 0 {
		i := bits.TrailingZeros64(f)
		f &^= 1 << i
		switch {
		case i < len(names):
			s = append(s, names[i])
		case i == 63:
			s = append(s, "NEGOTIATE")
		default:
			s = append(s, "1<<"+strconv.Itoa(i))
		}
	}
	return strings.Join(s, "|")
}
