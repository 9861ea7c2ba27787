package meta

import "golang.org/x/sys/unix"

// Sender is who sent one message, as the kernel says with that very message: unix(7), SCM_CREDENTIALS
// and its siblings. [ParseControl] makes it of what recvmsg returns. The zero value is a sender of
// whom nothing is known.
//
// The kernel lets a sender name any of its own ids, and a process with CAP_SYS_ADMIN or CAP_SETUID
// in its user namespace name others of that namespace. It never lets anybody name what he could not
// become.
type Sender struct {
	// Creds are the process, its real user and its real group. They say nothing unless Known is
	// set. PID is 0 if the process is not visible in our pid namespace.
	Creds
	Known bool

	// PIDFD is a pidfd of the process (SCM_PIDFD, Linux 6.5), 0 or less if there is none. Without
	// it nothing is collected but what is in this struct. See [Sender.Close].
	PIDFD int

	// SecLabel is what the Linux security module calls the sender (SCM_SECURITY), "" if it does not.
	SecLabel string
}

// Close closes the pidfd, if there is one. Whoever received the message calls it, as soon as the
// metadata are collected.
func (s *Sender) Close() {
	if s.PIDFD > 0 {
		unix.Close(s.PIDFD)
		s.PIDFD = 0
	}
}

// Collect returns what can be known of the sender, of the kinds in want. It costs nothing if want
// has none of [ProcessKinds].
//
// Creds, PIDs and SecLabel of the kernel's own word are those of the moment of sending, and are
// there even if the sender is gone. Everything else is what the process is now, provided that it
// still runs and is the one that sent: see the package comment for what is believed of that.
//
// With [KindCmdline] a process can make us wait, see the package comment: no lock should be held
// meanwhile that others need.
func (s Sender) Collect(want Kinds) Data {
	var d Data
	want &= ProcessKinds
	if want == 0 || !s.Known {
		return d
	}
	d.setKnown(want, IDs{
		s.UID, IDUnset, IDUnset, IDUnset,
		s.GID, IDUnset, IDUnset, IDUnset,
	}, s.PID)
	d.setSecLabel(want, s.SecLabel)
	if s.PID != 0 && s.PIDFD > 0 {
		d.observe(s.PIDFD, want, proof{pid: s.PID, uid: s.UID, gid: s.GID, which: realID})
	}
	return d
}

// setKnown sets what the kernel has told without being asked.
func (d *Data) setKnown(want Kinds, ids IDs, pid uint32) {
	if want&KindCreds != 0 {
		d.Creds = ids
		d.Has |= KindCreds
	}
	if want&KindPIDs != 0 && pid != 0 {
		d.PIDs.PID = pid
		d.Has |= KindPIDs
	}
}

func (d *Data) setSecLabel(want Kinds, label string) {
	if want&KindSecLabel != 0 && label != "" {
		d.SecLabel = label
		d.Has |= KindSecLabel
	}
}
