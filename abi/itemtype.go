package abi

import "strconv"

// ItemType says what an item is: kdbus.item(7).
type ItemType uint64

// Items of commands and messages. The zero ItemType is invalid.
const (
	ItemNegotiate       ItemType = 1 + iota // array of ItemType: which are known?
	ItemPayloadVec                          // payload at an address of the sender
	ItemPayloadOff                          // payload at an offset in the receiver's pool
	ItemPayloadMemfd                        // payload in a sealed memfd
	ItemFDs                                 // array of int32: file descriptors
	ItemCancelFD                            // int32: a descriptor that cancels a SEND when it is readable
	ItemBloomParameter                      // BloomParameter of a bus
	ItemBloomFilter                         // BloomFilter of a signal
	ItemBloomMask                           // bloom masks of a match, one per generation
	ItemDstName                             // string: name a message goes to
	ItemMakeName                            // string: name of a bus or an endpoint
	ItemAttachFlagsSend                     // AttachFlags
	ItemAttachFlagsRecv                     // AttachFlags
	ItemID                                  // uint64: connection id
	ItemName                                // string: well-known name
	ItemDstID                               // uint64: connection id a signal is sent to
)

// Items of metadata: see the fields of [Metadata].
const (
	ItemTimestamp ItemType = 0x1000 + iota
	ItemCreds
	ItemPIDs
	ItemAuxGroups
	ItemOwnedName
	ItemTIDComm
	ItemPIDComm
	ItemExe
	ItemCmdline
	ItemCGroup
	ItemCaps
	ItemSecLabel
	ItemAudit
	ItemConnDescription
)

// ItemPolicyAccess is a [PolicyAccess] for the name in the item NAME before it.
const ItemPolicyAccess ItemType = 0x2000

// Items of notifications, see [Notification]; in MATCH_ADD those that are asked
// for.
const (
	ItemNameAdd ItemType = 0x8000 + iota
	ItemNameRemove
	ItemNameChange
	ItemIDAdd
	ItemIDRemove
	ItemReplyTimeout
	ItemReplyDead
)

// Items that kdbus.h did not have. They begin where it would never have got.
// Clients find out by [Negotiation] whether a bus knows them.
const (
	// ItemMatchRule is a match rule of the D-Bus Specification as a string, for
	// MATCH_ADD: evaluated exactly, not by a bloom filter.
	ItemMatchRule ItemType = 1<<32 + iota
	// ItemReason goes with REPLY_TIMEOUT and REPLY_DEAD where the bus knows why: an
	// errno (64 bits), the name of a D-Bus error, which may be empty, and a text,
	// both terminated by a NUL.
	ItemReason
	// ItemNameSubtree is a well-known name as a string, in place of NAME in the policy of a
	// custom endpoint: what follows holds for the name and all that begin with it and a dot.
	ItemNameSubtree
	// ItemPolicyCall and ItemPolicyBroadcast are D-Bus match rules as strings, in the policy of a
	// custom endpoint behind the name that they are about: see [Policy].
	ItemPolicyCall
	ItemPolicyBroadcast
	// ItemPath is a string in the answers to BUS_MAKE and ENDPOINT_MAKE: where what was made is in
	// the file system of the bus.
	ItemPath
	// ItemReport has no data; in ENDPOINT_MAKE it asks for [Refused].
	ItemReport
	// ItemAddress is a string in the answer to ENDPOINT_MAKE: the D-Bus addresses at which the bus itself listens,
	// separated by semicolons. Who uses the endpoint to confine a program has to keep it from those.
	ItemAddress
)

// isMetadata reports whether items of this type are metadata of a sender.
func (t ItemType) isMetadata() bool { return t >= ItemTimestamp && t <= ItemConnDescription }

// attachFlag returns the kind of metadata that t is the item of, or 0.
func (t ItemType) attachFlag() AttachFlags {
	if !t.isMetadata() {
		return 0
	}
	return 1 << (t - ItemTimestamp)
}

var (
	itemNames = [...]string{
		"NEGOTIATE", "PAYLOAD_VEC", "PAYLOAD_OFF", "PAYLOAD_MEMFD", "FDS", "CANCEL_FD", "BLOOM_PARAMETER",
		"BLOOM_FILTER", "BLOOM_MASK", "DST_NAME", "MAKE_NAME", "ATTACH_FLAGS_SEND", "ATTACH_FLAGS_RECV", "ID",
		"NAME", "DST_ID",
	}
	metadataItemNames = [...]string{
		"TIMESTAMP", "CREDS", "PIDS", "AUXGROUPS", "OWNED_NAME", "TID_COMM", "PID_COMM", "EXE", "CMDLINE", "CGROUP",
		"CAPS", "SECLABEL", "AUDIT", "CONN_DESCRIPTION",
	}
	notificationItemNames = [...]string{
		"NAME_ADD", "NAME_REMOVE", "NAME_CHANGE", "ID_ADD", "ID_REMOVE", "REPLY_TIMEOUT", "REPLY_DEAD",
	}
	ownItemNames = [...]string{"REASON", "NAME_SUBTREE", "POLICY_CALL", "POLICY_BROADCAST", "PATH", "REPORT", "ADDRESS"}
)

func (t ItemType) String() string {
	switch {
	case t >= ItemNegotiate && t <= ItemDstID:
		return itemNames[t-ItemNegotiate]
	case t.isMetadata():
		return metadataItemNames[t-ItemTimestamp]
	case t == ItemPolicyAccess:
		return "POLICY_ACCESS"
	case t >= ItemNameAdd && t <= ItemReplyDead:
		return notificationItemNames[t-ItemNameAdd]
	case t == ItemMatchRule:
		return "MATCH_RULE"
	case t >= ItemReason && t <= ItemAddress:
		return ownItemNames[t-ItemReason]
	}
	return "type 0x" + strconv.FormatUint(uint64(t), 16)
}
