package dbus1

import (
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

const introspectionDoctype = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
`

// Introspection returns the description of the object of the bus itself, as its method Introspect does.
func Introspection() string { return introspectionData(driverPath) }

func introspect(c *call) error {
	return c.reply(introspectionData(c.header.Path))
}

// introspectionData describes the object path of the driver. Every path exists; the canonical one
// can be found from the root.
func introspectionData(path string) string {
	var b strings.Builder
	b.WriteString(introspectionDoctype + "<node>\n")
	for _, in := range interfaces {
		if path == driverPath || in.anyPath {
			in.describe(&b)
		}
	}
	if rest, ok := strings.CutPrefix(driverPath, strings.TrimSuffix(path, "/")+"/"); ok {
		fmt.Fprintf(&b, "  <node name=\"%s\"/>\n", rest)
	}
	b.WriteString("</node>\n")
	return b.String()
}

func (in *iface) describe(b *strings.Builder) {
	fmt.Fprintf(b, "  <interface name=\"%s\">\n", in.name)
	for _, m := range in.methods {
		fmt.Fprintf(b, "    <method name=\"%s\">\n", m.name)
		describeArgs(b, "in", m.in)
		describeArgs(b, "out", m.out)
		b.WriteString("    </method>\n")
	}
	for _, p := range in.properties {
		fmt.Fprintf(b, "    <property name=\"%s\" type=\"%s\" access=\"read\">\n", p.name, p.typ)
		b.WriteString("      <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"const\"/>\n    </property>\n")
	}
	for _, s := range in.signals {
		fmt.Fprintf(b, "    <signal name=\"%s\">\n", s.name)
		for _, a := range s.args {
			if a.name == "" {
				fmt.Fprintf(b, "      <arg type=\"%s\"/>\n", a.typ)
			} else {
				fmt.Fprintf(b, "      <arg type=\"%s\" name=\"%s\"/>\n", a.typ, a.name)
			}
		}
		b.WriteString("    </signal>\n")
	}
	b.WriteString("  </interface>\n")
}

func describeArgs(b *strings.Builder, direction, signature string) {
	for signature != "" {
		n := 1
		for wire.CheckSingleSignature(signature[:n]) != nil {
			n++
		}
		fmt.Fprintf(b, "      <arg direction=\"%s\" type=\"%s\"/>\n", direction, signature[:n])
		signature = signature[n:]
	}
}
