package metadata

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/abi"
)

// processKinds are the kinds that /proc tells.
const processKinds = abi.AttachCreds | abi.AttachPIDs | abi.AttachAuxGroups | abi.AttachPIDComm | abi.AttachExe |
	abi.AttachCmdline | abi.AttachCGroup | abi.AttachCaps | abi.AttachSecLabel | abi.AttachAudit

// Process reads what /proc tells of a process: all kinds that this user may read. The error is
// that there is no such process.
func Process(pid uint64) (*Peer, error) {
	p := new(Peer)
	p.PIDs.PID = pid
	p.Has = abi.AttachPIDs
	if err := p.Augment(processKinds, true); err != nil {
		return nil, err
	}
	return p, nil
}

// Augment adds of the kinds in want those that p does not have, from /proc of its process, and
// its terminal if tty is set. They are what the process is now; a peer may have been something
// else when it connected. What may not be read stays absent.
func (p *Peer) Augment(want abi.AttachFlags, tty bool) error {
	if p.Has&abi.AttachPIDs == 0 || p.PIDs.PID == 0 {
		return nil
	}
	// Behind a directory that stays open, the process cannot become another one.
	dir, err := os.OpenRoot("/proc/" + strconv.FormatUint(p.PIDs.PID, 10))
	if err != nil {
		return fmt.Errorf("no process %d: %w", p.PIDs.PID, fs.ErrNotExist)
	}
	defer dir.Close()
	missing := func(kind abi.AttachFlags) bool { return want&kind != 0 && p.Has&kind == 0 }
	set := func(kind abi.AttachFlags, ok bool) {
		if ok {
			p.Has |= kind
		}
	}
	read := func(name string) (string, bool) {
		b, err := dir.ReadFile(name)
		return strings.TrimSuffix(string(b), "\n"), err == nil
	}
	p.readStatus(want, read)
	if missing(abi.AttachPIDComm) {
		comm, ok := read("comm")
		p.PIDComm = comm
		set(abi.AttachPIDComm, ok)
	}
	if missing(abi.AttachExe) {
		exe, err := dir.Readlink("exe")
		p.Exe = exe
		set(abi.AttachExe, err == nil)
	}
	if missing(abi.AttachCmdline) {
		line, ok := read("cmdline")
		p.Cmdline = strings.Split(strings.TrimSuffix(line, "\x00"), "\x00")
		set(abi.AttachCmdline, ok && line != "")
	}
	if missing(abi.AttachCGroup) {
		groups, ok := read("cgroup")
		p.CGroup = cgroup(groups)
		set(abi.AttachCGroup, ok && p.CGroup != "")
	}
	if missing(abi.AttachSecLabel) {
		label, ok := read("attr/current")
		p.SecLabel = strings.Trim(label, "\x00\n")
		set(abi.AttachSecLabel, ok && p.SecLabel != "")
	}
	if missing(abi.AttachAudit) {
		login, ok1 := read("loginuid")
		session, ok2 := read("sessionid")
		l, err1 := strconv.ParseUint(login, 10, 32)
		s, err2 := strconv.ParseUint(session, 10, 32)
		p.Audit = abi.Audit{SessionID: uint32(s), LoginUID: uint32(l)}
		set(abi.AttachAudit, ok1 && ok2 && err1 == nil && err2 == nil)
	}
	if tty {
		if stat, ok := read("stat"); ok {
			p.TTY = terminalOf(stat)
		}
	}
	return nil
}

// readStatus takes what /proc/PID/status has.
func (p *Peer) readStatus(want abi.AttachFlags, read func(string) (string, bool)) {
	const inStatus = abi.AttachCreds | abi.AttachAuxGroups | abi.AttachCaps
	need := want &^ p.Has & inStatus
	parent := want&abi.AttachPIDs != 0 && p.PIDs.PPID == 0
	if need == 0 && !parent && p.credsComplete() {
		return
	}
	status, ok := read("status")
	if !ok {
		return
	}
	fields := make(map[string][]string)
	for line := range strings.Lines(status) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			fields[key] = strings.Fields(value)
		}
	}
	numbers := func(key string, base int) (list []uint64) {
		for _, s := range fields[key] {
			n, err := strconv.ParseUint(s, base, 64)
			if err != nil {
				return nil
			}
			list = append(list, n)
		}
		return list
	}
	if ppid := numbers("PPid", 10); parent && len(ppid) == 1 {
		p.PIDs.PPID = ppid[0]
	}
	if uid, gid := numbers("Uid", 10), numbers("Gid", 10); want&abi.AttachCreds != 0 && len(uid) == 4 && len(gid) == 4 {
		p.addCreds(&abi.Creds{UID: uid[0], EUID: uid[1], SUID: uid[2], FSUID: uid[3], GID: gid[0], EGID: gid[1], SGID: gid[2], FSGID: gid[3]})
	}
	if groups, ok := fields["Groups"]; need&abi.AttachAuxGroups != 0 && ok {
		if p.AuxGroups = numbers("Groups", 10); len(p.AuxGroups) == len(groups) {
			p.Has |= abi.AttachAuxGroups
		}
	}
	if need&abi.AttachCaps != 0 {
		complete := true
		for key, set := range map[string]*uint64{"CapInh": &p.Caps.Inheritable, "CapPrm": &p.Caps.Permitted,
			"CapEff": &p.Caps.Effective, "CapBnd": &p.Caps.Bounding} {
			if v := numbers(key, 16); len(v) == 1 {
				*set = v[0]
			} else {
				complete = false
			}
		}
		if complete {
			p.Has |= abi.AttachCaps
		}
	}
}

// ids are all ids of c.
func ids(c *abi.Creds) [8]*uint64 {
	return [...]*uint64{&c.UID, &c.EUID, &c.SUID, &c.FSUID, &c.GID, &c.EGID, &c.SGID, &c.FSGID}
}

func (p *Peer) credsComplete() bool {
	for _, id := range ids(&p.Creds) {
		if *id == abi.IDUnset {
			return false
		}
	}
	return p.Has&abi.AttachCreds != 0
}

// addCreds adds the ids that p does not have.
func (p *Peer) addCreds(found *abi.Creds) {
	had, from := ids(&p.Creds), ids(found)
	for i := range had {
		if p.Has&abi.AttachCreds == 0 || *had[i] == abi.IDUnset {
			*had[i] = *from[i]
		}
	}
	p.Has |= abi.AttachCreds
}

// cgroup returns the path in the unified hierarchy or, without one, in that of systemd.
func cgroup(file string) string {
	path := ""
	for line := range strings.Lines(file) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, p, ok := strings.Cut(rest, ":")
		switch {
		case !ok:
		case controllers == "name=systemd":
			return p
		case controllers == "":
			path = p
		}
	}
	return path
}

// terminalOf returns the controlling terminal in /proc/PID/stat, by its name where that follows
// from its number.
func terminalOf(stat string) string {
	_, rest, ok := strings.Cut(stat, ") ")
	fields := bytes.Fields([]byte(rest))
	const ttyField = 4 // behind the name: state, ppid, pgrp, session, tty_nr
	if !ok || len(fields) <= ttyField {
		return ""
	}
	n, err := strconv.ParseInt(string(fields[ttyField]), 10, 32)
	if err != nil || n == 0 {
		return notAvailable
	}
	link, err := os.Readlink(fmt.Sprintf("/sys/dev/char/%d:%d", major(n), minor(n)))
	if err == nil {
		return link[strings.LastIndexByte(link, '/')+1:]
	}
	if m := major(n); m >= 136 && m <= 143 {
		return fmt.Sprintf("pts/%d", (m-136)<<20+minor(n))
	}
	return fmt.Sprintf("%d:%d", major(n), minor(n))
}

func major(n int64) int64 { return n >> 8 & 0xfff }
func minor(n int64) int64 { return n&0xff | n>>12&0xfff00 }
