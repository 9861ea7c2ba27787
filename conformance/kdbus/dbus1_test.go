//go:build conformance

package kdbus

import (
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// dbusClient is a connection that speaks D-Bus 1.
type dbusClient struct {
	*peer.Client
	t *testing.T
}

// speaker connects root to an endpoint, as D-Bus 1 has it.
func (w *world) speaker(path string) *dbusClient {
	w.t.Helper()
	c, err := peer.Connect("unix:path=" + path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return &dbusClient{c, w.t}
}

// asks calls the bus, and returns the answer as text: its body, or the name of the error.
func (c *dbusClient) asks(member, sig string, body ...any) string {
	c.t.Helper()
	return c.calls(peer.DriverCall(member, sig, body...))
}

func (c *dbusClient) calls(m *peer.Message) string {
	c.t.Helper()
	answer, err := c.Call(m)
	if err != nil {
		c.t.Fatal(err)
	}
	if answer.Type == peer.TypeError {
		return strings.TrimPrefix(answer.Text(peer.FieldErrorName), "org.freedesktop.DBus.Error.")
	}
	var parts []string
	for _, v := range answer.Body {
		parts = append(parts, peer.Format(v))
	}
	return strings.Join(parts, " ")
}

// is checks an answer.
func (c *dbusClient) is(what, got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

// signals returns the members and first arguments of the signals that have arrived.
func (c *dbusClient) signals() (found []string) {
	c.t.Helper()
	c.asks("GetId", "")
	for {
		m, err := c.ReceiveWithin(0)
		if err != nil {
			return found
		}
		if m.Type == peer.TypeSignal {
			what := m.Text(peer.FieldMember)
			if len(m.Body) > 0 {
				what += " " + peer.Format(m.Body[0])
			}
			found = append(found, what)
		}
	}
}

// unique returns the unique name of a native client.
func (c *client) unique() string { return ":1." + itoa(c.ID) }

// kdbus.endpoint(7) for clients that speak D-Bus 1.
func TestDBusClientsOfEndpoints(t *testing.T) {
	const hidden, seen, open = "org.example.Hidden", "org.example.Seen", "org.example.Open"
	// confine makes an endpoint with a client, and native owners of the three names outside.
	confine := func(sentence string, test func(t *testing.T, w *world, c *dbusClient, owners map[string]*client)) {
		prove(t, sentence, func(t *testing.T, w *world) {
			_, path := w.door(lets(seen, anybody(abi.PolicySee)), lets(open, anybody(abi.PolicyTalk)), lets("org.example.Mine", anybody(abi.PolicyOwn)))
			w.opens("org.example.Mine")
			w.opens(open)
			owners := make(map[string]*client)
			for _, name := range []string{hidden, seen, open} {
				owners[name] = w.join(root)
				owners[name].owns(name)
			}
			test(t, w, w.speaker(path), owners)
		})
	}
	confine("ListNames has what SEE allows, and the client itself", func(t *testing.T, w *world, c *dbusClient, owners map[string]*client) {
		names := c.asks("ListNames", "")
		for name, want := range map[string]bool{
			hidden: false, owners[hidden].unique(): false, seen: true, owners[seen].unique(): true, open: true, owners[open].unique(): true,
			c.Name: true, peer.DriverName: true,
		} {
			if strings.Contains(names, `"`+name+`"`) != want {
				t.Errorf("%s is listed in %s: %v", name, names, !want)
			}
		}
	})
	confine("questions about names and connections that are not seen are answered as if there were none", func(t *testing.T, w *world, c *dbusClient, owners map[string]*client) {
		for _, name := range []string{hidden, "org.example.Nobody", owners[hidden].unique(), ":1.10000"} {
			for _, question := range []string{
				"GetNameOwner", "GetConnectionUnixUser", "GetConnectionUnixProcessID", "GetConnectionCredentials", "ListQueuedOwners",
			} {
				c.is(question+" "+name, c.asks(question, "s", name), "NameHasNoOwner")
			}
			c.is(name, c.asks("NameHasOwner", "s", name), "false")
		}
		c.is("GetNameOwner", c.asks("GetNameOwner", "s", seen), `"`+owners[seen].unique()+`"`)
		c.is("NameHasOwner", c.asks("NameHasOwner", "s", owners[seen].unique()), "true")
	})
	confine("a call to what is not seen fails as one to what does not exist", func(t *testing.T, w *world, c *dbusClient, owners map[string]*client) {
		fails := func(to string) string {
			answer, err := c.Call(peer.Call(to, "/", "org.example.I", "M", ""))
			if err != nil {
				t.Fatal(err)
			}
			return strings.ReplaceAll(answer.ErrorText(), to, "IT")
		}
		if got, want := fails(hidden), fails("org.example.Nobody"); got != want || !strings.Contains(got, "ServiceUnknown") {
			t.Errorf("%s, but nobody's name: %s", got, want)
		}
		if got, want := fails(owners[hidden].unique()), fails(":1.10000"); got != want {
			t.Errorf("%s, but nobody's id: %s", got, want)
		}
		if got := fails(seen); !strings.Contains(got, "AccessDenied") {
			t.Errorf("%s", got)
		}
		owners[hidden].getsNothing()
		owners[seen].getsNothing()
	})
	confine("a call to what may be talked to arrives, and its answer does", func(t *testing.T, w *world, c *dbusClient, owners map[string]*client) {
		serial, err := c.Send(peer.Call(open, "/", "org.example.I", "M", ""))
		if err != nil {
			t.Fatal(err)
		}
		m := owners[open].gets(uint64(serial))
		answer := peer.Reply("", serial, "")
		answer.Serial = 1
		reply := replyTo(m, string(answer.Encode())) // whose cookie is the serial
		reply.PayloadType = abi.PayloadDBus
		owners[open].sends(reply)
		got, err := c.Receive()
		if err != nil || got.Type != peer.TypeReply || got.ReplySerial() != serial || got.Text(peer.FieldSender) != owners[open].unique() {
			t.Errorf("%v, %v", got, err)
		}
	})
	confine("NameOwnerChanged tells of what SEE allows", func(t *testing.T, w *world, c *dbusClient, owners map[string]*client) {
		c.asks("AddMatch", "s", "type='signal',member='NameOwnerChanged'")
		c.signals()
		a := w.join(root)
		a.owns("org.example.Other")
		for _, name := range []string{hidden, seen} {
			owners[name].does(&abi.NameRelease{Name: name})
			a.owns(name)
		}
		got := c.signals()
		if want := []string{`NameOwnerChanged "` + seen + `"`, `NameOwnerChanged "` + seen + `"`}; !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	})
	confine("RequestName gives what OWN allows", func(t *testing.T, w *world, c *dbusClient, owners map[string]*client) {
		c.is("a name that it may own", c.asks("RequestName", "su", "org.example.Mine", uint32(0)), "1")
		for _, name := range []string{hidden, seen, open, "org.example.Nobody"} {
			c.is(name, c.asks("RequestName", "su", name, uint32(0)), "AccessDenied")
		}
	})
	confine("broadcasts come from those who may be talked to", func(t *testing.T, w *world, c *dbusClient, owners map[string]*client) {
		c.asks("AddMatch", "s", "type='signal',interface='org.example.I'")
		outside := w.speaker(w.path)
		outside.asks("RequestName", "su", "org.example.Later", uint32(0))
		emit := func(member string) {
			if _, err := outside.Send(peer.Signal("", "/", "org.example.I", member, "")); err != nil {
				t.Fatal(err)
			}
			outside.asks("GetId", "")
		}
		emit("Unheard")
		owners[open].does(&abi.NameRelease{Name: open})
		outside.asks("RequestName", "su", open, uint32(0))
		emit("Heard")
		if got := c.signals(); !slices.Equal(got, []string{"Heard"}) {
			t.Errorf("%v", got)
		}
	})
	confine("nobody becomes a monitor, or listens in", func(t *testing.T, w *world, c *dbusClient, owners map[string]*client) {
		if got := c.calls(peer.Call(peer.DriverName, peer.DriverPath, peer.MonitorIface, "BecomeMonitor", "asu", []any{}, uint32(0))); got != "AccessDenied" {
			t.Errorf("BecomeMonitor: %s", got)
		}
		c.asks("AddMatch", "s", "eavesdrop='true'")
		outside := w.speaker(w.path)
		if _, err := outside.Send(peer.Call(hidden, "/", "org.example.I", "Secret", "").WithFlags(peer.NoReplyExpected)); err != nil {
			t.Fatal(err)
		}
		owners[hidden].receives()
		for _, s := range c.signals() {
			t.Errorf("it hears %s", s)
		}
	})
	prove(t, "a client of D-Bus 1 goes with its endpoint", func(t *testing.T, w *world) {
		maker, path := w.door()
		c := w.speaker(path)
		maker.Close()
		if _, err := c.Receive(); !peer.Disconnected(err) {
			t.Errorf("%v", err)
		}
	})
}
