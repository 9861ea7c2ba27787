// Package introspection reads the XML in which objects describe themselves (D-Bus specification,
// "Introspection Data Format"), and draws trees of object paths (tree.go). It talks to nobody.
package introspection

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Node is an object.
type Node struct {
	Interfaces []Interface `xml:"interface"`
	Nodes      []struct {
		Name string `xml:"name,attr"`
	} `xml:"node"`
}

// Interface is one of an object's interfaces.
type Interface struct {
	Name        string       `xml:"name,attr"`
	Methods     []Method     `xml:"method"`
	Signals     []Method     `xml:"signal"`
	Properties  []Property   `xml:"property"`
	Annotations []Annotation `xml:"annotation"`
}

// Method is a method, or a signal.
type Method struct {
	Name        string       `xml:"name,attr"`
	Args        []Arg        `xml:"arg"`
	Annotations []Annotation `xml:"annotation"`
}

// Arg is an argument.
type Arg struct {
	Name      string `xml:"name,attr"`
	Type      string `xml:"type,attr"`
	Direction string `xml:"direction,attr"`
}

// Property is a property.
type Property struct {
	Name        string       `xml:"name,attr"`
	Type        string       `xml:"type,attr"`
	Access      string       `xml:"access,attr"`
	Annotations []Annotation `xml:"annotation"`
}

// Annotation says more of what it is in.
type Annotation struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// limits of what is read: the text comes from a peer.
const (
	maxXML = 8 << 20 // bytes
)

// Parse reads the description of an object.
func Parse(text string) (*Node, error) {
	if len(text) > maxXML {
		return nil, fmt.Errorf("introspection data of %d bytes: no more than %d are read", len(text), maxXML)
	}
	n := new(Node)
	decoder := xml.NewDecoder(strings.NewReader(text))
	decoder.Strict = false
	if err := decoder.Decode(n); err != nil && err != io.EOF {
		return nil, fmt.Errorf("introspection data: %w", err)
	}
	return n, nil
}

// In returns the signature of the arguments of a method, or of a signal.
func (m *Method) In() string {
	return m.signature(func(direction string) bool { return direction != "out" })
}

// Out returns the signature of the results of a method.
func (m *Method) Out() string {
	return m.signature(func(direction string) bool { return direction == "out" })
}

// Signal returns the signature of a signal, whose arguments have no direction.
func (m *Method) Signal() string { return m.signature(func(string) bool { return true }) }

func (m *Method) signature(with func(string) bool) (s string) {
	for _, a := range m.Args {
		if with(a.Direction) {
			s += a.Type
		}
	}
	return s
}

// annotations looks for annotations in several lists, of which the first that has one counts.
func annotation(name string, lists ...[]Annotation) string {
	for _, list := range lists {
		for _, a := range list {
			if a.Name == name {
				return a.Value
			}
		}
	}
	return ""
}

// Flags returns the flags of a method or signal as busctl names them.
func (m *Method) Flags() (flags []string) {
	for _, f := range [...]struct{ annotation, flag string }{
		{"org.freedesktop.DBus.Deprecated", "deprecated"},
		{"org.freedesktop.DBus.Method.NoReply", "no-reply"},
		{"org.freedesktop.systemd1.Privileged", "privileged"},
	} {
		if annotation(f.annotation, m.Annotations) == "true" {
			flags = append(flags, f.flag)
		}
	}
	return flags
}

// Flags returns the flags of a property of an interface.
func (p *Property) Flags(of *Interface) (flags []string) {
	if annotation("org.freedesktop.DBus.Deprecated", p.Annotations) == "true" {
		flags = append(flags, "deprecated")
	}
	switch annotation("org.freedesktop.DBus.Property.EmitsChangedSignal", p.Annotations, of.Annotations) {
	case "", "true":
		flags = append(flags, "emits-change")
	case "const":
		flags = append(flags, "const")
	case "invalidates":
		flags = append(flags, "emits-invalidation")
	}
	if p.Access == "write" || p.Access == "readwrite" {
		flags = append(flags, "writable")
	}
	return flags
}

// Readable reports whether the property has a value to show.
func (p *Property) Readable() bool { return p.Access != "write" }
