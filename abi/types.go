package abi

import "syscall"

// Timestamp is when a message was sent, as the bus saw it.
type Timestamp struct {
	Seqnum      uint64 // counts the messages of the domain
	MonotonicNS uint64 // nanoseconds of CLOCK_MONOTONIC
	RealtimeNS  uint64 // nanoseconds of CLOCK_REALTIME
}

func (t Timestamp) append(dst []byte) []byte {
	dst = appendItemHeader(dst, ItemTimestamp, 24)
	return appendU64(appendU64(appendU64(dst, t.Seqnum), t.MonotonicNS), t.RealtimeNS)
}

func timestamp(d []byte) Timestamp { return Timestamp{u64(d, 0), u64(d, 8), u64(d, 16)} }

// IDUnset stands for a user or group in [Creds] that is not known.
const IDUnset = 1<<32 - 1

// Creds are the users and groups of a process.
type Creds struct {
	UID, EUID, SUID, FSUID uint64
	GID, EGID, SGID, FSGID uint64
}

func (c Creds) append(dst []byte) []byte {
	dst = appendItemHeader(dst, ItemCreds, 64)
	for _, id := range [...]uint64{c.UID, c.EUID, c.SUID, c.FSUID, c.GID, c.EGID, c.SGID, c.FSGID} {
		dst = appendU64(dst, id)
	}
	return dst
}

func creds(d []byte) Creds {
	return Creds{
		u64(d, 0), u64(d, 8), u64(d, 16), u64(d, 24),
		u64(d, 32), u64(d, 40), u64(d, 48), u64(d, 56),
	}
}

// PIDs are the numbers of a process; 0 is one that is not known, or not visible.
type PIDs struct {
	PID, TID, PPID uint64
}

func (p PIDs) append(dst []byte) []byte {
	dst = appendItemHeader(dst, ItemPIDs, 24)
	return appendU64(appendU64(appendU64(dst, p.PID), p.TID), p.PPID)
}

func pids(d []byte) PIDs { return PIDs{u64(d, 0), u64(d, 8), u64(d, 16)} }

// Audit is how a process got onto the machine, if the kernel audits.
type Audit struct {
	SessionID, LoginUID uint32
}

func (a Audit) append(dst []byte) []byte {
	return appendU32(appendU32(appendItemHeader(dst, ItemAudit, 8), a.SessionID), a.LoginUID)
}

func audit(d []byte) Audit { return Audit{u32(d, 0), u32(d, 4)} }

// Caps are the capabilities of a process: bit n is capability n. Bits above
// LastCap are not transported.
type Caps struct {
	LastCap     uint32 // the last capability the kernel has; at most 63
	Inheritable uint64
	Permitted   uint64
	Effective   uint64
	Bounding    uint64
}

// mask returns the bits that exist.
func (c Caps) mask() uint64 { return 1<<(min(c.LastCap, 63)+1) - 1 }

func (c Caps) append(dst []byte) []byte {
	last := min(c.LastCap, 63)
	words := int(last/32) + 1
	size := 4 + 4*4*words
	dst = appendU32(appendItemHeader(dst, ItemCaps, size), last)
	for _, set := range [...]uint64{c.Inheritable, c.Permitted, c.Effective, c.Bounding} {
		set &= c.mask()
		for range words {
			dst = appendU32(dst, uint32(set))
			set >>= 32
		}
	}
	return pad8(dst, size)
}

func checkCaps(d []byte) fault {
	if len(d) < 4 {
		return invalid("too short for its last capability")
	}
	last := u32(d, 0)
	if last > 63 {
		return invalid("more than 64 capabilities")
	}
	if len(d) < 4+4*4*int(last/32+1) {
		return invalid("too short for its capabilities")
	}
	return fault{}
}

func caps(d []byte) Caps {
	c := Caps{LastCap: u32(d, 0)}
	d = d[4:]
	for _, set := range [...]*uint64{&c.Inheritable, &c.Permitted, &c.Effective, &c.Bounding} {
		for i := range c.LastCap/32 + 1 {
			*set |= uint64(u32(d, 0)) << (32 * i)
			d = d[4:]
		}
		*set &= c.mask()
	}
	return c
}

// OwnedName is a well-known name that a connection owns or waits for.
type OwnedName struct {
	Name  string
	Flags NameFlags
}

func (n OwnedName) append(dst []byte) []byte {
	name := cString(n.Name)
	size := 8 + len(name) + 1
	dst = appendU64(appendItemHeader(dst, ItemOwnedName, size), uint64(n.Flags))
	return pad8(append(append(dst, name...), 0), size)
}

func ownedName(d []byte) OwnedName {
	return OwnedName{Flags: NameFlags(u64(d, 0)), Name: text(d[8:])}
}

// MsgInfo tells where in a pool a message is.
type MsgInfo struct {
	Offset      uint64 // in the pool, in bytes
	Size        uint64 // of the message with its payload
	ReturnFlags RecvReturnFlags
}

func (i MsgInfo) append(dst []byte) []byte {
	return appendU64(appendU64(appendU64(dst, i.Offset), i.Size), uint64(i.ReturnFlags))
}

func (i MsgInfo) put(b []byte) {
	putU64(b, 0, i.Offset)
	putU64(b, 8, i.Size)
	putU64(b, 16, uint64(i.ReturnFlags))
}

func msgInfo(b []byte) MsgInfo { return MsgInfo{u64(b, 0), u64(b, 8), RecvReturnFlags(u64(b, 16))} }

// PolicyAccess permits something to somebody: kdbus.policy(7).
type PolicyAccess struct {
	Type   PolicyAccessType
	Access PolicyType
	ID     uint64 // user or group
}

func (a PolicyAccess) append(dst []byte) []byte {
	dst = appendItemHeader(dst, ItemPolicyAccess, 24)
	return appendU64(appendU64(appendU64(dst, uint64(a.Type)), uint64(a.Access)), a.ID)
}

func policyAccess(d []byte) (PolicyAccess, fault) {
	a := PolicyAccess{PolicyAccessType(u64(d, 0)), PolicyType(u64(d, 8)), u64(d, 16)}
	switch a.Type {
	case PolicyAccessUser, PolicyAccessGroup:
		if a.ID >= IDUnset {
			return a, invalid("no valid user or group")
		}
	case PolicyAccessWorld:
	default:
		return a, invalid("unknown type of access")
	}
	if a.Access > PolicyOwn {
		return a, invalid("unknown access")
	}
	return a, fault{}
}

// Policy is who may see, talk to and own a name: kdbus.policy(7). A name that
// ends in ".*" stands for all names with one more element.
//
// That of a custom endpoint can say more, which kdbus.h has no words for: see
// ItemNameSubtree, ItemPolicyCall and ItemPolicyBroadcast.
type Policy struct {
	Name   string
	Access []PolicyAccess
	// Subtree: it is about Name, which is no wildcard, and all names below it.
	Subtree bool
	// Calls and Broadcasts are D-Bus match rules, of which the empty one matches
	// everything. Where there are some, everybody may see the name, send it the
	// method calls that one of Calls matches, and receive the broadcasts of its
	// owner that one of Broadcasts matches. They are not looked into here.
	Calls, Broadcasts []string
}

func appendPolicies(dst []byte, policies []Policy) []byte {
	for _, p := range policies {
		name := ItemName
		if p.Subtree {
			name = ItemNameSubtree
		}
		dst = appendStringItem(dst, name, p.Name)
		for _, a := range p.Access {
			dst = a.append(dst)
		}
		for _, rule := range p.Calls {
			dst = appendStringItem(dst, ItemPolicyCall, rule)
		}
		for _, rule := range p.Broadcasts {
			dst = appendStringItem(dst, ItemPolicyBroadcast, rule)
		}
	}
	return dst
}

// policyReader puts together policies from items NAME and POLICY_ACCESS, and
// those of ours, which are in an order that matters.
type policyReader struct {
	policies []Policy
	max      int // 0: any number
}

func (r *policyReader) read(it Item) fault {
	switch it.Type {
	case ItemName, ItemNameSubtree:
		if r.max > 0 && len(r.policies) == r.max {
			return fault{syscall.E2BIG, "too many names with a policy"}
		}
		name := text(it.Data)
		subtree := it.Type == ItemNameSubtree
		if f := checkName(name, !subtree); f.errno != 0 {
			return f
		}
		r.policies = append(r.policies, Policy{Name: name, Subtree: subtree})
	case ItemPolicyCall, ItemPolicyBroadcast:
		if len(r.policies) == 0 {
			return invalid("no name before it")
		}
		p := &r.policies[len(r.policies)-1]
		rules := &p.Calls
		if it.Type == ItemPolicyBroadcast {
			rules = &p.Broadcasts
		}
		*rules = append(*rules, text(it.Data))
	case ItemPolicyAccess:
		if len(r.policies) == 0 {
			return invalid("no name before it")
		}
		a, f := policyAccess(it.Data)
		if f.errno != 0 {
			return f
		}
		p := &r.policies[len(r.policies)-1]
		p.Access = append(p.Access, a)
	}
	return fault{}
}
