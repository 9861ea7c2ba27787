package introspection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const document = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN" "x">
<node><interface name="a.b"><annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="const"/>
<method name="M"><arg type="s"/><arg type="u" direction="in"/><arg type="as" direction="out"/>
<annotation name="org.freedesktop.DBus.Deprecated" value="true"/><annotation name="org.freedesktop.DBus.Method.NoReply" value="true"/></method>
<signal name="S"><arg type="s"/><arg type="u" direction="out"/></signal>
<property name="P" type="s" access="readwrite"/><property name="W" type="s" access="write">
<annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="invalidates"/></property>
</interface><node name="child"/></node>`

func TestParse(t *testing.T) {
	n, err := Parse(document)
	if err != nil {
		t.Fatal(err)
	}
	i := &n.Interfaces[0]
	m, s, p, w := &i.Methods[0], &i.Signals[0], &i.Properties[0], &i.Properties[1]
	got := []any{i.Name, m.In(), m.Out(), m.Flags(), s.Signal(), p.Flags(i), p.Readable(), w.Flags(i), w.Readable(), n.Nodes[0].Name}
	want := []any{"a.b", "su", "as", []string{"deprecated", "no-reply"}, "su", []string{"const", "writable"}, true,
		[]string{"emits-invalidation", "writable"}, false, "child"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, text := range []string{"nonsense", "<node", "<html></html>"} {
		if n, err := Parse(text); err == nil && len(n.Interfaces) > 0 {
			t.Errorf("%q has interfaces", text)
		}
	}
}

func TestTree(t *testing.T) {
	paths := []string{"/b", "/", "/a", "/a/x/y", "/a-b", "/a/x/y/z", "/a/w"}
	const want = `|-/a
| |-/a/w
| ` + "`" + `-/a/x/y
|   ` + "`" + `-/a/x/y/z
|-/a-b
` + "`" + `-/b
`
	got := AppendTree(nil, paths, ASCIILines, func(s string) string { return s })
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(document)
	f.Add("<node/>")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err != nil {
			return
		}
		for _, i := range n.Interfaces {
			for _, m := range i.Methods {
				m.Flags()
				m.In()
			}
			for _, p := range i.Properties {
				p.Flags(&i)
			}
		}
	})
}
