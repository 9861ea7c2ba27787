package meta

import "golang.org/x/sys/unix"

// proof is what the kernel has said of a process at the moment that matters: when it connected, or
// sent. What it is later is believed only as far as it agrees.
type proof struct {
	pid, uid, gid uint32
	which         int // which of its users and groups uid and gid are
}

const (
	realID      = 0
	effectiveID = 1
)

// later are the kinds of which something is asked for later than at the moment that matters.
const later = ProcessKinds &^ (KindTIDComm | KindSecLabel)

// observe adds the kinds in want that can be asked of a process as it is now. If the process is no
// more, or no more when everything is read, nothing is added: what was read may be of another one.
func (d *Data) observe(pidfd int, want Kinds, p proof) {
	if want&later == 0 {
		return
	}
	seen := *d
	want = seen.askKernel(pidfd, want, p)
	if want&later != 0 && procIsOurs() {
		r := procReaders.Get().(*procReader)
		seen.readStatus(r, want, p)
		seen.readFiles(r, want, p.pid)
		r.release()
	}
	if alive(pidfd) {
		*d = seen
	}
}

// askKernel adds credentials and pids that the pidfd itself gives, since Linux 6.13 (PIDFD_GET_INFO),
// at a fraction of what /proc/PID/status costs. It returns what is left to read from /proc.
func (d *Data) askKernel(pidfd int, want Kinds, p proof) Kinds {
	const kinds = KindCreds | KindPIDs
	if want&kinds == 0 {
		return want
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_PID | unix.PIDFD_INFO_CREDS}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil || ^info.Mask&(unix.PIDFD_INFO_PID|unix.PIDFD_INFO_CREDS) != 0 {
		return want
	}
	d.believe(&status{
		has:  statusPPID | statusUIDs | statusGIDs,
		ppid: info.Ppid,
		uids: [4]uint32{info.Ruid, info.Euid, info.Suid, info.Fsuid},
		gids: [4]uint32{info.Rgid, info.Egid, info.Sgid, info.Fsgid},
	}, want&kinds, p)
	return want &^ kinds
}

// readStatus adds the kinds that are in /proc/PID/status, which is read at most once.
func (d *Data) readStatus(r *procReader, want Kinds, p proof) {
	var fields statusFields
	if want&KindPIDs != 0 {
		fields |= statusPPID
	}
	if want&(KindCreds|KindAuxGroups|KindCaps) != 0 {
		fields |= statusUIDs | statusGIDs
	}
	if want&KindAuxGroups != 0 {
		fields |= statusGroups
	}
	if want&KindCaps != 0 {
		fields |= statusCaps
	}
	if fields == 0 {
		return
	}
	if want&KindPIDComm != 0 {
		fields |= statusComm
	}
	text, _, ok := r.read(p.pid, "status", maxStatus)
	if !ok {
		return
	}
	s := parseStatus(text, fields)
	if s.has&statusComm != 0 {
		d.PIDComm = s.comm
		d.Has |= KindPIDComm
	}
	d.believe(&s, want, p)
	if d.Has&KindCaps != 0 && !r.inOurUserNamespace(p.pid) {
		d.Has &^= KindCaps
		d.Caps = Caps{}
	}
}

// believe adds credentials that a process has now, and its parent.
//
// A process that has executed a set-user-ID program since it sent has more of them now than it had
// then, and a receiver would act for somebody who never sent. Nothing tells when it did that. So for
// anybody but root, what it has now is believed as long as there is nothing that an execve can have
// given: all four users are the one that is proved, all four groups are, and there are no capabilities.
func (d *Data) believe(s *status, want Kinds, p proof) {
	if want&KindPIDs != 0 && s.has&statusPPID != 0 {
		d.PIDs.PPID = s.ppid
	}
	if s.has&statusUIDs == 0 || s.has&statusGIDs == 0 {
		return
	}
	root := p.uid == 0
	users := s.uids[p.which] == p.uid && (root || same(s.uids))
	groups := s.gids[p.which] == p.gid && (root || same(s.gids))
	if want&KindCreds != 0 {
		if users {
			d.Creds.UID, d.Creds.EUID, d.Creds.SUID, d.Creds.FSUID = s.uids[0], s.uids[1], s.uids[2], s.uids[3]
		}
		if groups {
			d.Creds.GID, d.Creds.EGID, d.Creds.SGID, d.Creds.FSGID = s.gids[0], s.gids[1], s.gids[2], s.gids[3]
		}
	}
	if !users || !groups {
		return
	}
	if want&KindAuxGroups != 0 && s.has&statusGroups != 0 {
		d.AuxGroups = s.groups
		d.Has |= KindAuxGroups
	}
	if want&KindCaps != 0 && s.has&statusCaps == statusCaps && (root || s.caps.Permitted|s.caps.Effective == 0) {
		d.Caps = s.caps
		d.Caps.LastCap = lastCap()
		d.Has |= KindCaps
	}
}

func same(ids [4]uint32) bool {
	return ids[0] == ids[1] && ids[1] == ids[2] && ids[2] == ids[3]
}

// readFiles adds the kinds that have a file of their own. The one that can make us wait is the last.
func (d *Data) readFiles(r *procReader, want Kinds, pid uint32) {
	if want&KindPIDComm != 0 && d.Has&KindPIDComm == 0 {
		if text, _, ok := r.read(pid, "comm", maxProc); ok && len(text) > 0 {
			d.PIDComm = string(text[:len(text)-1]) // a newline is added
			d.Has |= KindPIDComm
		}
	}
	if want&KindExe != 0 && r.inOurRoot(pid) {
		if path, ok := r.link(pid, "exe"); ok {
			d.Exe = string(path)
			d.Has |= KindExe
		}
	}
	if want&KindCGroup != 0 {
		if text, more, ok := r.read(pid, "cgroup", maxProc); ok && !more {
			if path, ok := parseCGroup(text); ok {
				d.CGroup = path
				d.Has |= KindCGroup
			}
		}
	}
	if want&KindAudit != 0 {
		session, ok1 := r.number(pid, "sessionid")
		user, ok2 := r.number(pid, "loginuid")
		if ok1 && ok2 {
			d.Audit = Audit{SessionID: session, LoginUID: user}
			d.Has |= KindAudit
		}
	}
	if want&KindCmdline != 0 {
		if text, more, ok := r.read(pid, "cmdline", MaxCmdline); ok {
			if args := parseCmdline(text, more); args != nil {
				d.Cmdline = args
				d.Has |= KindCmdline
			}
		}
	}
}
