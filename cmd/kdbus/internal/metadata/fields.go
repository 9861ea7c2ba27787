package metadata

import (
	"math/bits"
	"os/user"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/values"
	"github.com/kdbus-go/kdbus/meta"
)

// field is one NAME=VALUE.
type field struct {
	line  int // which fields share a line
	name  string
	value string
}

// lines are the fields of a peer in the order of printing.
type lines []field

// The lines of monitor.
const (
	lineProcess = iota
	lineUsers
	lineComm
	lineCommand
	lineCGroup
	lineAudit
	lineNames
	lineCaps // and those behind it: each set of capabilities has its own
)

const notAvailable = "n/a"

func (l *lines) add(line int, name, value string) { *l = append(*l, field{line, name, value}) }

// number adds a number; zero and absent are what there is none of.
func (l *lines) number(line int, name string, v uint64) {
	if v == 0 {
		l.add(line, name, notAvailable)
	} else {
		l.add(line, name, strconv.FormatUint(v, 10))
	}
}

// orNone adds a text, or that there is none.
func (l *lines) orNone(line int, name, v string) {
	if v == "" {
		v = notAvailable
	}
	l.add(line, name, v)
}

// text adds what a process has chosen itself.
func (l *lines) text(line int, name, v string) {
	l.add(line, name, string(values.AppendPrintable(nil, v)))
}

// collect makes the fields of p. Status has some that monitor leaves out: what there is none of.
func (l *lines) collect(p *Peer, status bool) {
	*l = (*l)[:0]
	has := func(kind abi.AttachFlags) bool { return p.Has&kind != 0 }
	if has(abi.AttachPIDs) {
		l.add(lineProcess, "PID", strconv.FormatUint(p.PIDs.PID, 10))
		if !status || p.PIDs.TID != 0 {
			l.number(lineProcess, "TID", p.PIDs.TID)
		}
		if !status || p.PIDs.PPID != 0 || p.PIDs.PID == 1 {
			l.number(lineProcess, "PPID", p.PIDs.PPID)
		}
	}
	if p.TTY != "" {
		l.text(lineProcess, "TTY", p.TTY)
	}
	l.users(p)
	if has(abi.AttachPIDComm) {
		l.text(lineComm, "Comm", p.PIDComm)
	}
	if has(abi.AttachTIDComm) {
		l.text(lineComm, "TIDComm", p.TIDComm)
	}
	if has(abi.AttachExe) {
		l.text(lineComm, "Exe", p.Exe)
	}
	if has(abi.AttachCmdline) {
		l.text(lineCommand, "CommandLine", strings.Join(p.Cmdline, " "))
	}
	if has(abi.AttachSecLabel) {
		l.text(lineCommand, "Label", p.SecLabel)
	}
	if has(abi.AttachConnDescription) {
		l.text(lineCommand, "Description", p.Description)
	}
	l.cgroup(p, status)
	if has(abi.AttachAudit) && (status || p.Audit != abi.Audit{SessionID: meta.AuditUnset, LoginUID: meta.AuditUnset}) {
		l.orNone(lineAudit, "AuditLoginUID", known(p.Audit.LoginUID))
		l.orNone(lineAudit, "AuditSessionID", known(p.Audit.SessionID))
	}
	if p.Unique != "" {
		l.add(lineNames, "UniqueName", p.Unique)
	}
	if has(abi.AttachNames) || p.NamesKnown && !status {
		l.add(lineNames, "WellKnownNames", strings.Join(WellKnown(p.Names), " "))
	}
	if has(abi.AttachCaps) {
		for i, set := range [...]struct {
			name string
			caps uint64
		}{
			{"Effective", p.Caps.Effective}, {"Permitted", p.Caps.Permitted},
			{"Inheritable", p.Caps.Inheritable}, {"Bounding", p.Caps.Bounding},
		} {
			l.add(lineCaps+i, set.name+"Capabilities", capabilities(set.caps))
		}
	}
}

// WellKnown returns the names of those that are owned, and not waited for.
func WellKnown(names []abi.OwnedName) (list []string) {
	for _, n := range names {
		if n.Flags&abi.NameInQueue == 0 {
			list = append(list, n.Name)
		}
	}
	return list
}

func (l *lines) users(p *Peer) {
	id := func(name string, v uint64) {
		if v != abi.IDUnset {
			l.add(lineUsers, name, strconv.FormatUint(v, 10))
		}
	}
	c := &p.Creds
	if p.Has&abi.AttachCreds != 0 {
		id("UID", c.UID)
		id("EUID", c.EUID)
		id("SUID", c.SUID)
		id("FSUID", c.FSUID)
	}
	if p.Has&abi.AttachCGroup != 0 {
		if uid, ok := meta.CGroupPath(p.CGroup).OwnerUID(); ok {
			l.add(lineUsers, "OwnerUID", strconv.FormatUint(uint64(uid), 10))
		}
	}
	if p.Has&abi.AttachCreds != 0 {
		id("GID", c.GID)
		id("EGID", c.EGID)
		id("SGID", c.SGID)
		id("FSGID", c.FSGID)
	}
	if p.Has&abi.AttachAuxGroups != 0 {
		groups := make([]string, len(p.AuxGroups))
		for i, g := range p.AuxGroups {
			groups[i] = strconv.FormatUint(g, 10)
		}
		l.add(lineUsers, "SupplementaryGIDs", strings.Join(groups, " "))
	}
}

func (l *lines) cgroup(p *Peer, status bool) {
	if p.Has&abi.AttachCGroup == 0 {
		return
	}
	path := meta.CGroupPath(p.CGroup)
	l.text(lineCGroup, "CGroup", p.CGroup)
	l.orNone(lineCGroup, "Unit", path.Unit())
	l.orNone(lineCGroup, "Slice", path.Slice())
	l.orNone(lineCGroup, "UserUnit", path.UserUnit())
	if status || path.UserUnit() != "" { // without a unit, the slice says nothing
		l.orNone(lineCGroup, "UserSlice", path.UserSlice())
	}
	l.orNone(lineCGroup, "Session", path.Session())
}

// known returns a number of the audit system, or nothing.
func known(v uint32) string {
	if v == meta.AuditUnset {
		return ""
	}
	return strconv.FormatUint(uint64(v), 10)
}

// append appends the fields as monitor shows them. Capabilities go over several lines.
func (l lines) append(dst []byte, indent string) []byte {
	for i, f := range l {
		switch {
		case i == 0:
			dst = append(dst, indent...)
		case f.line != l[i-1].line:
			dst = append(append(dst, '\n'), indent...)
		default:
			dst = append(dst, "  "...)
		}
		dst = append(append(dst, f.name...), '=')
		if f.line >= lineCaps {
			dst = append(dst, strings.ReplaceAll(f.value, "\n", "\n"+indent)...)
		} else {
			dst = append(dst, f.value...)
		}
	}
	if len(l) > 0 {
		dst = append(dst, '\n')
	}
	return dst
}

// capabilities returns the names of a set, with a line break before the fourth and every fourth
// after that.
func capabilities(set uint64) string {
	var b strings.Builder
	count := 0
	for ; set != 0; set &= set - 1 {
		if count > 0 {
			b.WriteByte(' ')
			if count%4 == 3 {
				b.WriteString("\n        ")
			}
		}
		b.WriteString(capabilityName(bits.TrailingZeros64(set)))
		count++
	}
	return b.String()
}

func capabilityName(n int) string {
	if n < len(capabilityNames) {
		return "cap_" + capabilityNames[n]
	}
	return "cap_" + strconv.Itoa(n)
}

// capabilityNames are those of capabilities(7).
var capabilityNames = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap
	linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot
	sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write
	audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore`)

// Users finds names of users. The zero value is ready; it is for one goroutine.
type Users struct{ names map[uint64]string }

// Name returns the name of a user, or its number.
func (u *Users) Name(uid uint64) string {
	if name, ok := u.names[uid]; ok {
		return name
	}
	name := strconv.FormatUint(uid, 10)
	if uid == 0 {
		name = "root"
	} else if found, err := user.LookupId(name); err == nil {
		name = found.Username
	}
	if u.names == nil {
		u.names = make(map[uint64]string)
	}
	u.names[uid] = name
	return name
}
