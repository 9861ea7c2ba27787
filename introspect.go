package kdbus

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// This file writes introspection data (specification, "Introspection Data Format").

const introspectionDoctype = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
`

// standardXML describes the interfaces that every object has. What ObjectManager adds comes
// with the objects that have it.
const standardXML = `  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml_data" type="s" direction="out"/>
    </method>
  </interface>
`

const propertiesXML = `  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
`

const managerXML = `  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
`

// introspect describes what is at a path and the names of what is below.
func (o *objects) introspect(path string) string {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var b strings.Builder
	b.WriteString(introspectionDoctype + "<node>\n" + standardXML)
	if at := o.byPath[path]; at != nil {
		b.WriteString(propertiesXML)
		if at.manager {
			b.WriteString(managerXML)
		}
		for _, name := range slices.Sorted(maps.Keys(at.interfaces)) {
			at.interfaces[name].introspect(&b, name)
		}
	}
	for _, child := range o.children(path) {
		fmt.Fprintf(&b, "  <node name=%q/>\n", child)
	}
	b.WriteString("</node>\n")
	return b.String()
}

func (e *exported) introspect(b *strings.Builder, name string) {
	fmt.Fprintf(b, "  <interface name=%q>\n", name)
	for _, name := range slices.Sorted(maps.Keys(e.methods)) {
		m := e.methods[name]
		if m.in == "" && m.out == "" {
			fmt.Fprintf(b, "    <method name=%q/>\n", name)
			continue
		}
		fmt.Fprintf(b, "    <method name=%q>\n", name)
		writeArgs(b, m.in, ` direction="in"`, nil)
		writeArgs(b, m.out, ` direction="out"`, nil)
		b.WriteString("    </method>\n")
	}
	for _, name := range slices.Sorted(maps.Keys(e.signals)) {
		fmt.Fprintf(b, "    <signal name=%q>\n", name)
		writeArgs(b, e.signals[name].signature, "", e.signals[name].args)
		b.WriteString("    </signal>\n")
	}
	for _, name := range slices.Sorted(maps.Keys(e.properties)) {
		p := e.properties[name]
		access := "read"
		if p.writable {
			access = "readwrite"
		}
		fmt.Fprintf(b, "    <property name=%q type=\"%s\" access=%q", name, escape(p.signature), access)
		if p.change == changeTold {
			b.WriteString("/>\n")
			continue
		}
		fmt.Fprintf(b, ">\n      <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=%q/>\n    </property>\n", p.change)
	}
	b.WriteString("  </interface>\n")
}

// writeArgs writes one arg for each complete type in a signature, with their names as far as given.
func writeArgs(b *strings.Builder, signature, direction string, names []string) {
	for i := 0; signature != ""; i++ {
		n := completeType(signature)
		name := ""
		if i < len(names) {
			name = ` name="` + escape(names[i]) + `"`
		}
		fmt.Fprintf(b, "      <arg%s type=\"%s\"%s/>\n", name, escape(signature[:n]), direction)
		signature = signature[n:]
	}
}

// completeType returns the length of the first complete type of a valid signature.
func completeType(signature string) int {
	depth := 0
	for i := range len(signature) {
		switch signature[i] {
		case '(', '{':
			depth++
		case ')', '}':
			depth--
		case 'a':
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(signature)
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
