//go:build conformance

package driver

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// node is an object as introspection describes it.
type node struct {
	Name       string `xml:"name,attr"`
	Nodes      []node `xml:"node"`
	Interfaces []struct {
		Name        string       `xml:"name,attr"`
		Annotations []annotation `xml:"annotation"`
		Methods     []member     `xml:"method"`
		Signals     []member     `xml:"signal"`
		Properties  []property   `xml:"property"`
	} `xml:"interface"`
}

type annotation struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type member struct {
	Name string `xml:"name,attr"`
	Args []struct {
		Type      string `xml:"type,attr"`
		Direction string `xml:"direction,attr"`
	} `xml:"arg"`
	Annotations []annotation `xml:"annotation"`
}

type property struct {
	Name        string       `xml:"name,attr"`
	Type        string       `xml:"type,attr"`
	Access      string       `xml:"access,attr"`
	Annotations []annotation `xml:"annotation"`
}

// TestSameIntrospectionAsDBusDaemon compares what the bus says about its own objects: interfaces,
// methods with their arguments, signals, properties and annotations. Names of arguments are left
// out: programs cannot see them.
func TestSameIntrospectionAsDBusDaemon(t *testing.T) {
	reference := testbus.StartKind(t, testbus.DBusDaemon, testbus.Options{})
	tested := testbus.Start(t)
	for _, path := range []string{peer.DriverPath, "/", "/org", "/org/freedesktop", "/com/example"} {
		t.Run(path, func(t *testing.T) {
			want, got := introspect(t, reference.Address, path), introspect(t, tested.Address, path)
			for _, line := range want {
				if !slices.Contains(got, line) {
					t.Errorf("missing: %s", line)
				}
			}
			for _, line := range got {
				if !slices.Contains(want, line) {
					t.Errorf("dbus-daemon has no: %s", line)
				}
			}
		})
	}
}

// introspect returns one line for each fact about an object of the bus.
func introspect(t *testing.T, address, path string) []string {
	c, err := peer.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reply, err := c.Call(peer.Call(peer.DriverName, path, peer.IntrospectFace, "Introspect", ""))
	if err != nil {
		t.Fatal(err)
	}
	if reply.Type != peer.TypeReply {
		return []string{reply.ErrorText()}
	}
	text := reply.Body[0].(string)
	if !strings.HasPrefix(text, "<!DOCTYPE node PUBLIC") {
		t.Errorf("the description does not begin with its document type: %.80q", text)
	}
	var n node
	if err := xml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	lines := []string{fmt.Sprintf("the object's name attribute is %q", n.Name)}
	for _, child := range n.Nodes {
		lines = append(lines, "child "+child.Name)
	}
	for _, i := range n.Interfaces {
		lines = append(lines, "interface "+i.Name)
		lines = append(lines, annotations(i.Name, i.Annotations)...)
		for _, m := range i.Methods {
			lines = append(lines, describe(i.Name+" method ", m)...)
		}
		for _, m := range i.Signals {
			lines = append(lines, describe(i.Name+" signal ", m)...)
		}
		for _, p := range i.Properties {
			lines = append(lines, fmt.Sprintf("%s property %s type %s access %s", i.Name, p.Name, p.Type, p.Access))
			lines = append(lines, annotations(i.Name+" property "+p.Name, p.Annotations)...)
		}
	}
	return lines
}

func describe(where string, m member) []string {
	line := where + m.Name + ":"
	for _, a := range m.Args {
		// Without a direction the arguments of methods go in, those of signals out.
		line += strings.TrimRight(" "+a.Type+" "+a.Direction, " ")
	}
	return append([]string{line}, annotations(where+m.Name, m.Annotations)...)
}

func annotations(where string, list []annotation) (lines []string) {
	for _, a := range list {
		lines = append(lines, fmt.Sprintf("%s annotation %s = %s", where, a.Name, a.Value))
	}
	return lines
}
