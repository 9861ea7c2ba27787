package meta

import (
	"strconv"
	"strings"
)

// CGroupPath is the path of a control group, as in [Data.CGroup]. On a system that systemd runs,
// where a process is tells what it belongs to: the slices, units and sessions of systemd.slice(5),
// systemd.unit(5) and logind are its elements. The methods read it, and nothing else.
//
// A process cannot choose its control group unless a part of the tree has been delegated to it,
// below its own unit. What user managers put there (UserUnit, UserSlice) is the user's own word.
type CGroupPath string

// Unit returns the unit of the system manager that the process is in; "" if in none, or in a slice
// only.
func (p CGroupPath) Unit() string {
	_, rest := leadingSlices(string(p))
	unit, _ := element(rest)
	return unitOf(unit)
}

// Slice returns the slice of the system manager that the process is in, the root slice "-.slice" at
// the least.
func (p CGroupPath) Slice() string {
	slice, _ := leadingSlices(string(p))
	return slice
}

// UserUnit returns the unit of a user's manager that the process is in, "" if in none.
func (p CGroupPath) UserUnit() string {
	rest, ok := belowUser(string(p))
	if !ok {
		return ""
	}
	return CGroupPath(rest).Unit()
}

// UserSlice returns the slice of a user's manager that the process is in; "" if no user's manager
// or session runs it.
func (p CGroupPath) UserSlice() string {
	rest, ok := belowUser(string(p))
	if !ok {
		return ""
	}
	return CGroupPath(rest).Slice()
}

// Session returns the id of the login session that the process is in, "" if in none.
func (p CGroupPath) Session() string {
	return sessionOf(p.Unit())
}

// OwnerUID returns the user who owns the slice that the process is in, and whether there is one.
func (p CGroupPath) OwnerUID() (uid uint32, ok bool) {
	digits, ok := between(p.Slice(), "user-", ".slice")
	if !ok {
		return 0, false
	}
	return parseUID(digits)
}

// belowUser returns what of a path is below a user's manager or session, and whether there is one.
func belowUser(path string) (rest string, ok bool) {
	_, rest = leadingSlices(path)
	unit, rest := element(rest)
	unit = unitOf(unit)
	if uid, ok := between(unit, "user@", ".service"); ok {
		_, valid := parseUID(uid)
		return rest, valid
	}
	return rest, sessionOf(unit) != ""
}

// leadingSlices returns the last of the slices that a path begins with, and what follows them.
func leadingSlices(path string) (slice, rest string) {
	slice = "-.slice"
	for {
		name, below := element(path)
		name = unescape(name)
		if !isSlice(name) {
			return slice, path
		}
		slice, path = name, below
	}
}

// element returns the first element of a path, "" at its end, and the rest.
func element(path string) (first, rest string) {
	first, rest, _ = strings.Cut(strings.TrimLeft(path, "/"), "/")
	return first, rest
}

// unescape undoes what systemd does to names that the kernel would take for its own files: a
// leading underscore is put before them.
func unescape(name string) string {
	return strings.TrimPrefix(name, "_")
}

// unitOf returns the unit that an element of a path stands for; "" if it is none, or a slice.
func unitOf(name string) string {
	name = unescape(name)
	if !isUnit(name) || strings.HasSuffix(name, ".slice") {
		return ""
	}
	return name
}

// sessionOf returns the id in the name of a session's scope, "" if it is none.
func sessionOf(unit string) string {
	id, ok := between(unit, "session-", ".scope")
	if !ok || strings.Trim(id, digits+letters) != "" {
		return ""
	}
	return id
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// maxUnit is how many bytes the name of a unit can have: systemd.unit(5).
const maxUnit = 255

// isUnit reports whether name is that of a unit, not that of a template: systemd.unit(5).
func isUnit(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || len(name) > maxUnit {
		return false
	}
	switch name[dot+1:] {
	case "service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer",
		"slice", "scope":
	default:
		return false
	}
	prefix, instance, isInstance := strings.Cut(name[:dot], "@")
	const allowed = digits + letters + `:-_.\`
	return prefix != "" && strings.Trim(prefix, allowed) == "" &&
		(!isInstance || instance != "" && strings.Trim(instance, allowed+"@") == "")
}

// isSlice reports whether name is that of a slice. Dashes separate the slices above it, of which
// none is empty: systemd.slice(5).
func isSlice(name string) bool {
	prefix, ok := strings.CutSuffix(name, ".slice")
	if !ok || !isUnit(name) || strings.Contains(prefix, "@") {
		return false
	}
	return prefix == "-" ||
		!strings.HasPrefix(prefix, "-") && !strings.HasSuffix(prefix, "-") && !strings.Contains(prefix, "--")
}

// between returns what is between a prefix and a suffix, if there is something.
func between(s, prefix, suffix string) (middle string, ok bool) {
	s, hasPrefix := strings.CutPrefix(s, prefix)
	s, hasSuffix := strings.CutSuffix(s, suffix)
	return s, hasPrefix && hasSuffix && s != ""
}

// parseUID reads a user as systemd writes it: decimal, without a sign or leading zeros, and none of
// the two that stand for no user.
func parseUID(s string) (uid uint32, ok bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 || n == 1<<16-1 || s[0] == '0' && s != "0" {
		return 0, false
	}
	return uint32(n), true
}
