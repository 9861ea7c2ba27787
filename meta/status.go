package meta

import (
	"bytes"
	"strconv"
	"strings"
)

// status is what we use of /proc/PID/status: proc_pid_status(5).
type status struct {
	has    statusFields
	comm   string
	ppid   uint32
	uids   [4]uint32 // real, effective, saved, file system
	gids   [4]uint32
	groups []uint32
	caps   Caps // without LastCap
}

// statusFields is a set of fields that were there and made sense.
type statusFields uint16

const (
	statusComm statusFields = 1 << iota
	statusPPID
	statusUIDs
	statusGIDs
	statusGroups
	statusInheritable
	statusPermitted
	statusEffective
	statusBounding

	statusCaps = statusInheritable | statusPermitted | statusEffective | statusBounding
)

// parseStatus reads the text of /proc/PID/status. Only the fields in want are looked at.
func parseStatus(text []byte, want statusFields) (s status) {
	for len(text) > 0 && s.has != want {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		field := fieldOf(key) & want
		if field == 0 || s.has&field != 0 {
			continue
		}
		if s.set(field, bytes.TrimLeft(value, "\t ")) {
			s.has |= field
		}
	}
	return s
}

func fieldOf(key []byte) statusFields {
	switch string(key) {
	case "Name":
		return statusComm
	case "PPid":
		return statusPPID
	case "Uid":
		return statusUIDs
	case "Gid":
		return statusGIDs
	case "Groups":
		return statusGroups
	case "CapInh":
		return statusInheritable
	case "CapPrm":
		return statusPermitted
	case "CapEff":
		return statusEffective
	case "CapBnd":
		return statusBounding
	}
	return 0
}

func (s *status) set(field statusFields, value []byte) (ok bool) {
	switch field {
	case statusComm:
		s.comm = commUnescape.Replace(string(value))
		return true
	case statusPPID:
		s.ppid, value, ok = cutNumber(value)
		return ok && len(value) == 0
	case statusUIDs:
		return parseIDs(&s.uids, value)
	case statusGIDs:
		return parseIDs(&s.gids, value)
	case statusGroups:
		s.groups, ok = parseGroups(value)
		return ok
	case statusInheritable:
		return parseCaps(&s.caps.Inheritable, value)
	case statusPermitted:
		return parseCaps(&s.caps.Permitted, value)
	case statusEffective:
		return parseCaps(&s.caps.Effective, value)
	case statusBounding:
		return parseCaps(&s.caps.Bounding, value)
	}
	return false
}

// commUnescape undoes what the kernel does to a name that would break its line.
var commUnescape = strings.NewReplacer(`\\`, `\`, `\n`, "\n")

func parseIDs(ids *[4]uint32, value []byte) (ok bool) {
	for i := range ids {
		if ids[i], value, ok = cutNumber(value); !ok {
			return false
		}
	}
	return len(value) == 0
}

func parseGroups(value []byte) ([]uint32, bool) {
	value = bytes.TrimRight(value, " ")
	if len(value) == 0 {
		return nil, true
	}
	groups := make([]uint32, 0, bytes.Count(value, []byte(" "))+1)
	for len(value) > 0 {
		gid, rest, ok := cutNumber(value)
		if !ok {
			return nil, false
		}
		groups, value = append(groups, gid), rest
	}
	return groups, true
}

// cutNumber reads the decimal number that b begins with and skips the white space after it.
func cutNumber(b []byte) (n uint32, rest []byte, ok bool) {
	end := 0
	for wide := uint64(0); end < len(b) && '0' <= b[end] && b[end] <= '9'; end++ {
		wide = wide*10 + uint64(b[end]-'0')
		if wide > 1<<32-1 {
			return 0, b, false
		}
		n = uint32(wide)
	}
	rest = bytes.TrimLeft(b[end:], "\t ")
	if end == 0 || end < len(b) && len(rest) == len(b)-end {
		return 0, b, false
	}
	return n, rest, true
}

func parseCaps(caps *uint64, value []byte) bool {
	n, err := strconv.ParseUint(string(value), 16, 64)
	*caps = n
	return err == nil
}

// parseCGroup returns the control group in the text of /proc/PID/cgroup, cgroups(7). A process has
// one in every hierarchy; the one of the unified hierarchy counts. On a system whose systemd still
// keeps its own hierarchy, and leaves everything in the root of the unified one, systemd's counts.
// Where there is neither, that with the lowest number does, as in kdbus.
func parseCGroup(text []byte) (path string, ok bool) {
	var unified, systemd, first []byte
	lowest := uint64(1<<64 - 1)
	for line := range bytes.Lines(text) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		number, rest, ok1 := bytes.Cut(line, []byte(":"))
		controllers, path, ok2 := bytes.Cut(rest, []byte(":"))
		id, err := strconv.ParseUint(string(number), 10, 32)
		if !ok1 || !ok2 || err != nil || len(path) == 0 || path[0] != '/' {
			continue
		}
		switch {
		case id == 0 && len(controllers) == 0:
			unified = path
		case string(controllers) == "name=systemd":
			systemd = path
		}
		if id != 0 && id < lowest {
			lowest, first = id, path
		}
	}
	switch {
	case len(unified) > 1, unified != nil && systemd == nil:
		return string(unified), true
	case systemd != nil:
		return string(systemd), true
	}
	return string(first), first != nil
}

// parseCmdline returns the arguments in the text of /proc/PID/cmdline. If there was more to read,
// the last argument may not be whole, and is left out.
func parseCmdline(text []byte, more bool) []string {
	if more {
		text = text[:bytes.LastIndexByte(text, 0)+1]
	}
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}
