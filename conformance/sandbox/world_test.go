//go:build conformance

package sandbox

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// services are who is on the bus, with the names that they own: some alike, some with several.
var services = []struct {
	label string
	names []string
}{
	{"one", []string{"a.b"}},
	{"two", []string{"a.b.c", "x.y"}},
	{"three", []string{"a.bc"}},
	{"four", []string{"x.y.z", "p.q"}},
	{"nameless", nil},
}

// world is a bus in which something happens to a client behind a gate, "in", and others.
type world struct {
	t       testing.TB
	bus     *testbus.Bus
	clients []*client // the first is behind the gate
	lines   []string  // what has arrived since they were last asked for
}

type client struct {
	*peer.Client
	label string
}

func newWorld(t testing.TB, bus *testbus.Bus, through gate) *world {
	t.Helper()
	w := &world{t: t, bus: bus}
	for _, s := range services {
		w.connect(s.label, bus.Address)
		for _, name := range s.names {
			w.mustCall(s.label, peer.DriverCall("RequestName", "su", name, uint32(4)))
		}
		w.mustCall(s.label, peer.DriverCall("AddMatch", "s", "type='signal',path_namespace='/o'"))
	}
	w.connect("in", through.address)
	w.mustCall("in", peer.DriverCall("AddMatch", "s", "type='signal'"))
	w.settle()
	w.lines = nil
	return w
}

func (w *world) connect(label, address string) {
	w.t.Helper()
	c, err := peer.Connect(address)
	if err != nil {
		w.t.Fatalf("connect %s: %v", label, err)
	}
	w.clients = append(w.clients, &client{c, label})
}

// disconnect ends the connection of a client.
func (w *world) disconnect(label string) {
	w.client(label).Close()
	w.clients = slices.DeleteFunc(w.clients, func(c *client) bool { return c.label == label })
}

// close ends all connections, and waits until the bus has seen that: the proxy tells it when it likes.
func (w *world) close() {
	w.t.Helper()
	witness, err := peer.Connect(w.bus.Address)
	if err != nil {
		w.t.Fatal(err)
	}
	defer witness.Close()
	for _, c := range w.clients {
		c.Close()
		for there := true; there; {
			reply, err := witness.Call(peer.DriverCall("NameHasOwner", "s", c.Name))
			if err != nil || reply.Type != peer.TypeReply {
				w.t.Fatal(err, reply.ErrorText())
			}
			there = reply.Body[0].(bool)
		}
	}
}

func (w *world) client(label string) *client {
	for _, c := range w.clients {
		if c.label == label {
			return c
		}
	}
	w.t.Fatalf("there is no client %s", label)
	return nil
}

// mustCall has a client call, to prepare something.
func (w *world) mustCall(label string, m *peer.Message) {
	w.t.Helper()
	reply, err := w.client(label).Call(m)
	if err != nil || reply.Type != peer.TypeReply {
		w.t.Fatalf("%s: %v %s", label, err, reply.ErrorText())
	}
}

// name returns what a client is called in a message, from its label or as it is.
func (w *world) name(text string) string {
	if label, ok := strings.CutPrefix(text, "@"); ok {
		return w.client(label).Name
	}
	return text
}

// send has a client send something, and waits until all of it has happened.
func (w *world) send(label string, m *peer.Message) {
	w.t.Helper()
	if _, err := w.client(label).Send(m); err != nil {
		w.t.Fatalf("%s: %v", label, err)
	}
	w.settle()
}

// settle waits until what was sent has arrived, and been answered, and so has the answer.
func (w *world) settle() {
	w.t.Helper()
	for again := true; again; {
		again = false
		// Who acted may be any: after all have been round once, what they sent has been routed.
		for range 2 {
			for _, c := range w.clients {
				again = w.collect(c) || again
			}
		}
	}
}

// collect takes what has arrived at a client, up to the answer to a question put to the bus. It answers calls, and
// reports whether it did.
func (w *world) collect(c *client) (answered bool) {
	w.t.Helper()
	serial, err := c.Send(peer.DriverCall("GetId", ""))
	if err != nil {
		w.t.Fatalf("%s: %v", c.label, err)
	}
	for {
		m, err := c.Receive()
		if err != nil {
			w.t.Fatalf("%s: %v", c.label, err)
		}
		if m.ReplySerial() == serial {
			return answered
		}
		w.lines = append(w.lines, c.label+" < "+w.format(m))
		if m.Type == peer.TypeCall && m.Flags&peer.NoReplyExpected == 0 {
			reply := peer.Reply(m.Text(peer.FieldSender), m.Serial, "s", "answer")
			if m.Text(peer.FieldMember) == "Fail" {
				reply = peer.Error(m.Text(peer.FieldSender), m.Serial, "e.Failed", "")
			}
			if _, err := c.Send(reply); err != nil {
				w.t.Fatalf("%s: %v", c.label, err)
			}
			answered = true
		}
	}
}

var typeNames = map[byte]string{peer.TypeCall: "call", peer.TypeReply: "reply", peer.TypeError: "error", peer.TypeSignal: "signal"}

// format writes a message, without what varies from one connection, or one program, to the other.
func (w *world) format(m *peer.Message) string {
	parts := []string{typeNames[m.Type]}
	for _, f := range []struct {
		code byte
		name string
	}{{peer.FieldSender, "from"}, {peer.FieldDestination, "to"}, {peer.FieldPath, "path"}, {peer.FieldInterface, "interface"},
		{peer.FieldMember, "member"}, {peer.FieldErrorName, "name"}} {
		text := m.Text(f.code)
		// xdg-dbus-proxy does not say of answers that it makes up from whom and to whom they are.
		answer := m.Type == peer.TypeError || m.Type == peer.TypeReply
		if answer && (text == peer.DriverName || f.code == peer.FieldDestination) {
			continue
		}
		if text != "" {
			parts = append(parts, f.name+"="+text)
		}
	}
	if m.Type != peer.TypeError { // its text is for people
		for _, v := range m.Body {
			if list, ok := v.([]any); ok {
				list = slices.Clone(list)
				sort.Slice(list, func(i, j int) bool { return w.label(peer.Format(list[i])) < w.label(peer.Format(list[j])) })
				v = list
			}
			parts = append(parts, peer.Format(v))
		}
	}
	return w.label(strings.Join(parts, " "))
}

// label replaces the unique names of clients.
func (w *world) label(text string) string {
	clients := slices.Clone(w.clients)
	// Long ones first: :1.1 is part of :1.10.
	slices.SortFunc(clients, func(a, b *client) int { return len(b.Name) - len(a.Name) })
	for _, c := range clients {
		text = strings.ReplaceAll(text, c.Name, "@"+c.label)
	}
	return text
}

// take returns what has arrived, in no particular order among clients, and forgets it.
func (w *world) take() []string {
	lines := w.lines
	w.lines = nil
	sort.SliceStable(lines, func(i, j int) bool {
		return fmt.Sprint(strings.Fields(lines[i])[0]) < fmt.Sprint(strings.Fields(lines[j])[0])
	})
	return lines
}

// owner returns the unique name of the owner of a name, "" if there is none.
func (w *world) owner(name string) string {
	w.t.Helper()
	reply, err := w.client("one").Call(peer.DriverCall("GetNameOwner", "s", name))
	if err != nil {
		w.t.Fatal(err)
	}
	if reply.Type != peer.TypeReply {
		return ""
	}
	return reply.Body[0].(string)
}
