package native

import (
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/meta"
)

// Kinds of metadata have the same numbers in abi and meta: both are kdbus's.

func kindsOf(f abi.AttachFlags) meta.Kinds { return meta.Kinds(f & abi.AttachAll) }

// metadataOf returns what is known in the form of kdbus.h.
func metadataOf(d *meta.Data) abi.Metadata {
	m := abi.Metadata{
		Has:         abi.AttachFlags(d.Has & meta.AllKinds),
		Timestamp:   abi.Timestamp(d.Timestamp),
		PIDs:        abi.PIDs{PID: uint64(d.PIDs.PID), TID: uint64(d.PIDs.TID), PPID: uint64(d.PIDs.PPID)},
		TIDComm:     d.TIDComm,
		PIDComm:     d.PIDComm,
		Exe:         d.Exe,
		Cmdline:     d.Cmdline,
		CGroup:      d.CGroup,
		Caps:        abi.Caps(d.Caps),
		SecLabel:    d.SecLabel,
		Audit:       abi.Audit(d.Audit),
		Description: d.Description,
	}
	c := &d.Creds
	m.Creds = abi.Creds{
		UID: uint64(c.UID), EUID: uint64(c.EUID), SUID: uint64(c.SUID), FSUID: uint64(c.FSUID),
		GID: uint64(c.GID), EGID: uint64(c.EGID), SGID: uint64(c.SGID), FSGID: uint64(c.FSGID),
	}
	for _, g := range d.AuxGroups {
		m.AuxGroups = append(m.AuxGroups, uint64(g))
	}
	for _, n := range d.Names {
		m.Names = append(m.Names, abi.OwnedName{Name: n.Name, Flags: abi.NameFlags(n.Flags)})
	}
	return m
}

// fakeData returns what a peer wants to be known of it instead of what is, or nil.
func fakeData(h *abi.Hello) *meta.Data {
	d := new(meta.Data)
	if c := h.Creds; c != nil {
		d.Has |= meta.KindCreds
		d.Creds = meta.IDs{
			UID: uint32(c.UID), EUID: uint32(c.EUID), SUID: uint32(c.SUID), FSUID: uint32(c.FSUID),
			GID: uint32(c.GID), EGID: uint32(c.EGID), SGID: uint32(c.SGID), FSGID: uint32(c.FSGID),
		}
	}
	if p := h.PIDs; p != nil {
		d.Has |= meta.KindPIDs
		d.PIDs = meta.PIDs{PID: uint32(p.PID), TID: uint32(p.TID), PPID: uint32(p.PPID)}
	}
	if h.SecLabel != "" {
		d.Has |= meta.KindSecLabel
		d.SecLabel = h.SecLabel
	}
	if d.Has == 0 {
		return nil
	}
	return d
}
