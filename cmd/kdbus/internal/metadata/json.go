package metadata

import (
	"strings"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/meta"
)

// JSON returns what is known of a peer as an object: the fields that AppendStatus prints, by the
// same names in lower case, numbers and lists as such. What there is none of is null.
func JSON(p *Peer) jsontext.Object {
	var l lines
	l.collect(p, true)
	o := make(jsontext.Object, 0, len(l))
	for _, f := range l {
		o = append(o, jsontext.Member{Key: jsonKeys[f.name], Value: jsonValue(p, f)})
	}
	return o
}

// jsonKeys are the keys of the fields.
var jsonKeys = map[string]string{
	"PID": "pid", "TID": "tid", "PPID": "ppid", "TTY": "tty",
	"UID": "uid", "EUID": "euid", "SUID": "suid", "FSUID": "fsuid", "OwnerUID": "owner_uid",
	"GID": "gid", "EGID": "egid", "SGID": "sgid", "FSGID": "fsgid", "SupplementaryGIDs": "supplementary_gids",
	"Comm": "comm", "TIDComm": "tid_comm", "Exe": "exe", "CommandLine": "command_line", "Label": "label", "Description": "description",
	"CGroup": "cgroup", "Unit": "unit", "Slice": "slice", "UserUnit": "user_unit", "UserSlice": "user_slice", "Session": "session",
	"AuditLoginUID": "audit_login_uid", "AuditSessionID": "audit_session_id",
	"UniqueName": "unique_name", "WellKnownNames": "well_known_names",
	"EffectiveCapabilities": "effective_capabilities", "PermittedCapabilities": "permitted_capabilities",
	"InheritableCapabilities": "inheritable_capabilities", "BoundingCapabilities": "bounding_capabilities",
}

func jsonValue(p *Peer, f field) any {
	c, a := &p.Creds, &p.Audit
	switch f.name {
	case "PID":
		return p.PIDs.PID
	case "TID":
		return p.PIDs.TID
	case "PPID":
		return p.PIDs.PPID
	case "UID":
		return c.UID
	case "EUID":
		return c.EUID
	case "SUID":
		return c.SUID
	case "FSUID":
		return c.FSUID
	case "GID":
		return c.GID
	case "EGID":
		return c.EGID
	case "SGID":
		return c.SGID
	case "FSGID":
		return c.FSGID
	case "OwnerUID":
		uid, _ := meta.CGroupPath(p.CGroup).OwnerUID()
		return uid
	case "AuditLoginUID":
		return jsonAudit(a.LoginUID)
	case "AuditSessionID":
		return jsonAudit(a.SessionID)
	case "SupplementaryGIDs":
		return list(p.AuxGroups)
	case "CommandLine":
		return list(p.Cmdline)
	case "WellKnownNames":
		return list(WellKnown(p.Names))
	case "Comm":
		return p.PIDComm
	case "TIDComm":
		return p.TIDComm
	case "Exe":
		return p.Exe
	case "Label":
		return p.SecLabel
	case "Description":
		return p.Description
	case "CGroup":
		return p.CGroup
	}
	if strings.HasSuffix(f.name, "Capabilities") {
		return list(strings.Fields(f.value))
	}
	if f.value == notAvailable {
		return nil
	}
	return f.value
}

func jsonAudit(v uint32) any {
	if v == meta.AuditUnset {
		return nil
	}
	return v
}

func list[T any](s []T) []any {
	values := make([]any, len(s))
	for i, v := range s {
		values[i] = v
	}
	return values
}

// Timestamp returns the timestamp of a message as an object, or nil if there is none.
func Timestamp(m *abi.Metadata) jsontext.Object {
	if m == nil || m.Has&abi.AttachTimestamp == 0 {
		return nil
	}
	return jsontext.Object{
		{Key: "monotonic", Value: m.Timestamp.MonotonicNS / 1000},
		{Key: "realtime", Value: m.Timestamp.RealtimeNS / 1000},
		{Key: "sequence_number", Value: m.Timestamp.Seqnum},
	}
}
