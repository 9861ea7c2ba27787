package address

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxUnixPath is the longest path, in bytes, that a UNIX socket can have on Linux:
// sockaddr_un has room for 108, and the kernel and C programs want a NUL behind it.
const MaxUnixPath = 107

// unixKeys are the keys of which a unix: address must have exactly one, and whether
// a client can connect to an address that has it.
var unixKeys = []struct {
	key         string
	connectable bool
}{
	{"path", true},
	{"abstract", true},
	{"dir", false},
	{"tmpdir", false},
	{"runtime", false},
}

// connectableUnix is Connectable for unix: addresses.
func (a Address) connectableUnix() error {
	key, err := a.unixKey()
	if err != nil {
		return err
	}
	for _, u := range unixKeys {
		if u.key == key && !u.connectable {
			return a.fail(fmt.Sprintf("the key %q", key),
				"is for servers, which make a path or an abstract name from it; a client needs one of those")
		}
	}
	return nil
}

// UnixName returns the name of the socket a connectable unix: address denotes, in
// the form package net takes as net.UnixAddr.Name: a path, or "@" and an abstract
// name. It fails as [Address.Connectable] does, and for addresses of other transports.
func (a Address) UnixName() (string, error) {
	if a.Transport != "unix" {
		return "", a.fail("the transport", fmt.Sprintf("%q has no sockets with names; use unix:", a.Transport))
	}
	if err := a.Connectable(); err != nil {
		return "", err
	}
	if name, ok := a.Get("abstract"); ok {
		return "@" + name, nil
	}
	path, _ := a.Get("path")
	if strings.HasPrefix(path, "@") {
		// Package net would take a file of this name for an abstract socket.
		path = "./" + path
	}
	return path, nil
}

// UnixPath returns the address of the socket file path.
func UnixPath(path string) Address {
	return Address{Transport: "unix", Params: []Param{{Key: "path", Value: path}}}
}

// UnixAbstract returns the address of the abstract socket name, without any leading
// NUL or "@".
func UnixAbstract(name string) Address {
	return Address{Transport: "unix", Params: []Param{{Key: "abstract", Value: name}}}
}

// unixKey checks the parameters of a unix: address and returns its one key that
// says where the socket is.
func (a Address) unixKey() (string, error) {
	var keys, names []string
	for _, u := range unixKeys {
		names = append(names, u.key)
		if _, ok := a.Get(u.key); ok {
			keys = append(keys, u.key)
		}
	}
	if len(keys) == 0 {
		return "", a.fail("the transport", `"unix" needs one of the keys `+strings.Join(names, ", "))
	}
	if len(keys) > 1 {
		return "", a.fail("the keys", strings.Join(keys, ", ")+" exclude each other; give one of them")
	}
	value, _ := a.Get(keys[0])
	if err := a.checkUnixValue(keys[0], value); err != nil {
		return "", err
	}
	return keys[0], a.checkGUID()
}

func (a Address) checkUnixValue(key, value string) error {
	part := fmt.Sprintf("the value of %q", key)
	if value == "" {
		return a.fail(part, "is empty")
	}
	if strings.IndexByte(value, 0) >= 0 {
		// libdbus cuts the name off there, others do not: two names for one address.
		return a.fail(part, "has a NUL byte")
	}
	switch key {
	case "runtime":
		if value != "yes" {
			return a.fail(part, `must be "yes"`)
		}
	case "path", "abstract":
		if len(value) > MaxUnixPath {
			return a.fail(part, "has "+strconv.Itoa(len(value))+" bytes; a socket's name can have "+
				strconv.Itoa(MaxUnixPath)+" at most")
		}
	}
	return nil
}

// checkGUID checks the key guid, which every transport may have (section "UUIDs").
func (a Address) checkGUID() error {
	guid, ok := a.Get("guid")
	if !ok {
		return nil
	}
	if len(guid) != 32 {
		return a.fail(`the value of "guid"`, "must be 32 hexadecimal digits, not "+strconv.Itoa(len(guid))+" characters")
	}
	for i := range len(guid) {
		if unhex(guid[i]) < 0 {
			return a.fail(`the value of "guid"`, fmt.Sprintf("must be 32 hexadecimal digits; %q is none", guid[i]))
		}
	}
	return nil
}

func (a Address) fail(part, reason string) error {
	return &Error{Address: a.String(), Part: part, Reason: reason}
}
