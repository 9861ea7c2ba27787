package kdbusfs

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/kdbusfs/fuse"
	"github.com/kdbus-go/kdbus/meta"
)

// process is what /proc says of a thread that waits in a system call, so that it stays as it is.
type process struct {
	pid      uint32 // of its process; 0 if nothing is known
	uid, gid uint32 // real
	groups   []uint32
	comm     string // of the thread
}

// processOf reads /proc.
func processOf(caller fuse.Caller) process {
	p := process{groups: []uint32{caller.GID}}
	if caller.TID == 0 {
		return p
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(int(caller.TID)) + "/status")
	if err != nil {
		return p
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case len(fields) == 0:
		case key == "Name":
			p.comm = strings.TrimSpace(value)
		case key == "Tgid":
			p.pid = number(fields[0])
		case key == "Uid":
			p.uid = number(fields[0])
		case key == "Gid":
			p.gid = number(fields[0])
		case key == "Groups":
			for _, f := range fields {
				if g := number(f); g != caller.GID {
					p.groups = append(p.groups, g)
				}
			}
		}
	}
	return p
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// collect returns what can be known of a thread, and its process, while it waits.
func collect(caller fuse.Caller, want meta.Kinds) meta.Data {
	if want&meta.ProcessKinds == 0 || caller.TID == 0 {
		return meta.Data{}
	}
	p := processOf(caller)
	if p.pid == 0 {
		return meta.Data{}
	}
	sender := meta.Sender{Creds: meta.Creds{PID: p.pid, UID: p.uid, GID: p.gid}, Known: true}
	if fd, err := unix.PidfdOpen(int(p.pid), 0); err == nil {
		sender.PIDFD = fd
		defer sender.Close()
	}
	d := sender.Collect(want)
	if d.Has&meta.KindPIDs != 0 {
		d.PIDs.TID = caller.TID
	}
	if want&meta.KindTIDComm != 0 && p.comm != "" {
		d.Has |= meta.KindTIDComm
		d.TIDComm = p.comm
	}
	return d
}
