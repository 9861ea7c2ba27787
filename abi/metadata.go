package abi

import "strings"

// Metadata is what a bus says about the sender of a message, or about a
// connection: kdbus.item(7), "Items attached by the kernel as metadata". Every
// kind is there only if the sender permits it, the receiver asks for it, and it
// can be known.
type Metadata struct {
	// Has tells which kinds are there; the fields of others are zero.
	Has AttachFlags

	Timestamp Timestamp
	Creds     Creds
	PIDs      PIDs
	AuxGroups []uint64    // supplementary groups
	Names     []OwnedName // names the connection owns; none is as if not there

	// What a process can change itself. It is no basis for a decision.

	TIDComm string   // name of the thread
	PIDComm string   // name of the process
	Exe     string   // path of its executable
	Cmdline []string // its arguments; none is as if not there

	CGroup      string
	Caps        Caps
	SecLabel    string
	Audit       Audit
	Description string // of the connection, by HELLO
}

// Append appends the items of the kinds in m.Has and in mask, and returns the
// result. What it appends can be kept and used for many messages, as
// Message.Metadata.
func (m *Metadata) Append(dst []byte, mask AttachFlags) []byte {
	mask &= m.Has
	if mask&AttachTimestamp != 0 {
		dst = m.Timestamp.append(dst)
	}
	if mask&AttachCreds != 0 {
		dst = m.Creds.append(dst)
	}
	if mask&AttachPIDs != 0 {
		dst = m.PIDs.append(dst)
	}
	if mask&AttachAuxGroups != 0 {
		dst = appendItemHeader(dst, ItemAuxGroups, 8*len(m.AuxGroups))
		for _, g := range m.AuxGroups {
			dst = appendU64(dst, g)
		}
	}
	if mask&AttachNames != 0 {
		for _, n := range m.Names {
			dst = n.append(dst)
		}
	}
	dst = m.appendStrings(dst, mask)
	if mask&AttachCaps != 0 {
		dst = m.Caps.append(dst)
	}
	if mask&AttachAudit != 0 {
		dst = m.Audit.append(dst)
	}
	return dst
}

func (m *Metadata) appendStrings(dst []byte, mask AttachFlags) []byte {
	for _, s := range [...]struct {
		kind AttachFlags
		item ItemType
		text *string
	}{
		{AttachTIDComm, ItemTIDComm, &m.TIDComm},
		{AttachPIDComm, ItemPIDComm, &m.PIDComm},
		{AttachExe, ItemExe, &m.Exe},
		{AttachCGroup, ItemCGroup, &m.CGroup},
		{AttachSecLabel, ItemSecLabel, &m.SecLabel},
		{AttachConnDescription, ItemConnDescription, &m.Description},
	} {
		if mask&s.kind != 0 {
			dst = appendStringItem(dst, s.item, *s.text)
		}
	}
	if mask&AttachCmdline == 0 || len(m.Cmdline) == 0 {
		return dst
	}
	size := 0
	for _, arg := range m.Cmdline {
		size += len(cString(arg)) + 1
	}
	dst = appendItemHeader(dst, ItemCmdline, size)
	for _, arg := range m.Cmdline {
		dst = append(append(dst, cString(arg)...), 0)
	}
	return pad8(dst, size)
}

// Decode reads metadata from items, among which there may be others.
func (m *Metadata) Decode(items Items) error {
	*m = Metadata{}
	seen, err := eachReceived("metadata", 0, items, func(it Item) fault {
		m.set(it)
		return fault{}
	})
	if err != nil {
		return err
	}
	m.Has = seen
	return nil
}

// set reads an item that was judged. It does nothing if it is no metadata.
func (m *Metadata) set(it Item) {
	switch d := it.Data; it.Type {
	case ItemTimestamp:
		m.Timestamp = timestamp(d)
	case ItemCreds:
		m.Creds = creds(d)
	case ItemPIDs:
		m.PIDs = pids(d)
	case ItemAuxGroups:
		m.AuxGroups = make([]uint64, len(d)/8)
		for i := range m.AuxGroups {
			m.AuxGroups[i] = u64(d, 8*i)
		}
	case ItemOwnedName:
		m.Names = append(m.Names, ownedName(d))
	case ItemTIDComm:
		m.TIDComm = text(d)
	case ItemPIDComm:
		m.PIDComm = text(d)
	case ItemExe:
		m.Exe = text(d)
	case ItemCmdline:
		m.Cmdline = strings.Split(text(d), "\x00")
	case ItemCGroup:
		m.CGroup = text(d)
	case ItemCaps:
		m.Caps = caps(d)
	case ItemSecLabel:
		m.SecLabel = text(d)
	case ItemAudit:
		m.Audit = audit(d)
	case ItemConnDescription:
		m.Description = text(d)
	}
}

// eachReceived judges items that a bus sent, and hands them to read, which may be
// nil. Of metadata there may be one of each kind, but for names; seen tells
// which kinds there are. Items nobody knows are for read to skip.
func eachReceived(what string, base int, items Items, read func(Item) fault) (seen AttachFlags, err *Error) {
	for rest := items; len(rest) > 0; {
		offset := base + len(items) - len(rest)
		it, next, f := rest.next()
		if f.errno == 0 {
			f = it.check()
		}
		kind := it.Type.attachFlag()
		if f.errno == 0 && seen&kind != 0 && kind != AttachNames {
			f = invalid("occurs twice")
		}
		if f.errno == 0 && read != nil {
			f = read(it)
		}
		if f.errno != 0 {
			return 0, f.at(what, offset, it.Type)
		}
		seen |= kind
		rest = next
	}
	return seen, nil
}
