// Package address reads and writes D-Bus server addresses, the strings such as
//
//	unix:path=/run/dbus/system_bus_socket,guid=63d1...;unix:runtime=yes
//
// that tell a client where a bus is and a server where to open one
// (D-Bus specification, "Server Addresses").
//
// [Parse] takes a list apart into [Address] values, [Address.String] and [Format]
// put them together again, escaping what must be escaped. The grammar knows no
// transports; what a transport demands of its keys is checked by
// [Address.Listenable] and [Address.Connectable], which also say what this module
// can do with the address.
//
// The package is a leaf: it opens no socket and looks at no environment variable.
// Package daemon listens on what Listenable accepts.
package address

import (
	"fmt"
	"strings"
)

// Address is one D-Bus server address: a transport and its parameters.
//
// The zero value is not a valid address. An Address is a plain value: copies
// share Params, so treat it as read-only and use [Address.With] to change it.
type Address struct {
	// Transport is the part before the colon, such as "unix".
	Transport string
	// Params are the key-value pairs in the order written, with their values
	// unescaped. No key occurs twice in an address that Parse returned.
	Params []Param
}

// Param is one key-value pair of an address. Value is the raw, unescaped string;
// it may hold any byte.
type Param struct {
	Key   string
	Value string
}

// Get returns the unescaped value of key, and whether the address has that key.
func (a Address) Get(key string) (string, bool) {
	for _, p := range a.Params {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// GUID returns the value of the key "guid": the identity of one listening address
// of one server, 32 hexadecimal digits, or "" when the address has none.
func (a Address) GUID() string {
	guid, _ := a.Get("guid")
	return guid
}

// With returns a copy of a in which key has the given value. An existing key keeps
// its place, a new one comes last. An empty value removes the key: the grammar has
// no empty values.
func (a Address) With(key, value string) Address {
	params := make([]Param, 0, len(a.Params)+1)
	found := false
	for _, p := range a.Params {
		if p.Key == key {
			found = true
			p.Value = value
		}
		if p.Value != "" {
			params = append(params, p)
		}
	}
	if !found && value != "" {
		params = append(params, Param{Key: key, Value: value})
	}
	return Address{Transport: a.Transport, Params: params}
}

// String writes the address in the form Parse reads, with its values escaped.
func (a Address) String() string {
	var b strings.Builder
	b.WriteString(a.Transport)
	b.WriteByte(':')
	for i, p := range a.Params {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(p.Key)
		b.WriteByte('=')
		b.WriteString(Escape(p.Value))
	}
	return b.String()
}

// Format writes a list of addresses separated by semicolons, in the order a client
// is to try them.
func Format(list []Address) string {
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = a.String()
	}
	return strings.Join(parts, ";")
}

// Error says which part of an address is wrong and why. All errors of this package
// are of this type.
type Error struct {
	// Address is the text of the single address at fault, or of the whole list
	// when the fault is not inside one.
	Address string
	// Part is what is wrong within it: `transport`, `key "path"`, `value of "path"`.
	Part string
	// Reason says what is wrong with the part and, where that helps, what to write.
	Reason string
}

// Error returns one line with the address, the part and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("D-Bus address %q: %s %s", e.Address, e.Part, e.Reason)
}
