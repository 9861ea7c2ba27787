package dbus1_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// confine starts a server of a custom endpoint of the bus of s.
func (s *testServer) confine(t *testing.T, subscriptions *dbus1.Subscriptions, policies ...bus.NamePolicy) *testServer {
	t.Helper()
	e, err := s.bus.NewEndpoint(bus.EndpointConfig{Name: "0-confined", Policies: policies})
	if err != nil {
		t.Fatal(err)
	}
	return startServer(t, func(c *dbus1.Config) { c.Endpoint, c.Subscriptions = e, subscriptions })
}

// startWithSubscriptions is startServer for whose bus there will be other servers.
func startWithSubscriptions(t *testing.T) (s *testServer, subscriptions *dbus1.Subscriptions) {
	s = startServer(t, func(c *dbus1.Config) { subscriptions = c.Subscriptions })
	return s, subscriptions
}

const hidden, visible = "com.example.Hidden", "com.example.Visible"

// Whoever came by a custom endpoint gets the same answers, word for word, whether there is a peer with names that it does not see
// or not.
func TestWhatIsNotSeenDoesNotExist(t *testing.T) {
	var views [2][]string
	for i := range views {
		views[i] = viewOfConfined(t, i == 1)
	}
	if diff := cmp.Diff(views[0], views[1]); diff != "" {
		t.Errorf("it can tell whether there is somebody (+) or not (-):\n%s", diff)
	}
	all := strings.Join(views[0], "\n")
	if !strings.Contains(all, "ServiceUnknown") || !strings.Contains(all, "NameHasNoOwner") || !strings.Contains(all, "AccessDenied") {
		t.Errorf("the answers are not what they should be:\n%s", all)
	}
}

func viewOfConfined(t *testing.T, there bool) (view []string) {
	s, subscriptions := startWithSubscriptions(t)
	inside := s.confine(t, subscriptions, bus.NamePolicy{Name: visible, Access: []bus.Access{{Kind: bus.AccessWorld, Level: bus.AccessTalk}}})
	service := s.connect(t)
	if there {
		service.must(t, "RequestName", hidden, uint32(0))
		service.must(t, "AddMatch", "sender='"+hidden+"'")
	} else {
		service.close()
		eventually(t, "the peer leaves", func() bool { return len(s.bus.Conns()) == 0 })
	}
	c := inside.connect(t)
	note := func(m *wire.Message) {
		answer, err := c.ask(m)
		if err != nil {
			t.Fatal(err)
		}
		view = append(view, fmt.Sprintf("%s %s %s: %v %s %q", m.Destination, m.Member, m.Body, answer.Type, answer.ErrorName, answer.Body))
	}
	askDriver := func(member string, args ...any) {
		m := c.newMessage(wire.TypeMethodCall, driver, member, args...)
		if method, ok := strings.CutPrefix(member, "Debug."); ok {
			m.Interface, m.Member = driver+".Debug.Stats", method
		}
		note(m)
	}
	for _, name := range []string{hidden, ":1.1", ":1.9", "com.example.None"} {
		for _, member := range []string{
			"ReleaseName", "NameHasOwner", "GetNameOwner", "ListQueuedOwners", "GetConnectionUnixUser", "GetConnectionUnixProcessID",
			"GetAdtAuditSessionData", "GetConnectionSELinuxSecurityContext", "GetConnectionCredentials", "Debug.GetConnectionStats",
		} {
			askDriver(member, name)
		}
		for _, flags := range []wire.Flags{0, wire.NoAutoStart} {
			m := c.newMessage(wire.TypeMethodCall, name, "Call")
			m.Flags = flags
			note(m)
		}
	}
	for _, member := range []string{"ListNames", "ListActivatableNames", "ReloadConfig", "Debug.GetStats", "Debug.GetAllMatchRules"} {
		askDriver(member)
	}
	askDriver("RequestName", hidden, uint32(0))
	askDriver("StartServiceByName", hidden, uint32(0))
	c.must(t, "AddMatch", "sender='"+hidden+"'")
	c.must(t, "AddMatch", "type='signal'")
	if there {
		service.mustSend(t, service.newMessage(wire.TypeSignal, "", "Signal"))
		service.must(t, "ReleaseName", hidden)
		service.close()
		eventually(t, "the peer leaves", func() bool { return len(s.bus.Conns()) == 1 })
	}
	askDriver("ListNames") // whatever was to come has come before this
	for _, m := range c.backlog {
		view = append(view, m.String())
	}
	return view
}

func TestConfinedPeersAndOthers(t *testing.T) {
	s, subscriptions := startWithSubscriptions(t)
	world := func(level bus.AccessLevel) []bus.Access { return []bus.Access{{Kind: bus.AccessWorld, Level: level}} }
	inside := s.confine(t, subscriptions, bus.NamePolicy{Name: visible, Access: world(bus.AccessTalk)},
		bus.NamePolicy{Name: "com.example.Mine", Access: world(bus.AccessOwn)}, bus.NamePolicy{Name: "com.example.Seen", Access: world(bus.AccessSee)})
	service, c := s.connect(t), inside.connect(t)
	c.must(t, "AddMatch", "type='signal'")
	service.must(t, "RequestName", hidden, uint32(0))
	service.must(t, "RequestName", visible, uint32(0))
	changed := c.mustNext(t)
	if changed.Member != "NameOwnerChanged" || !strings.Contains(string(changed.Body), visible) {
		t.Errorf("got %v", changed)
	}
	var names []string
	if err := c.must(t, "ListNames").Decode(&names); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if want := []string{":1.1", ":1.2", visible, driver}; !slices.Equal(names, want) {
		t.Errorf("ListNames: %v, want %v", names, want)
	}
	c.mustSend(t, c.newMessage(wire.TypeMethodCall, visible, "Call"))
	for got := service.mustNext(t); got.Member != "Call"; got = service.mustNext(t) {
	}
	c.mustFail(t, "ServiceUnknown", c.newMessage(wire.TypeMethodCall, hidden, "Call"))
	service.must(t, "RequestName", "com.example.Seen", uint32(0))
	other := s.connect(t)
	other.must(t, "RequestName", "com.example.Seen", uint32(0))
	c.must(t, "RequestName", "com.example.Mine", uint32(0))
	c.mustFail(t, "AccessDenied", c.newMessage(wire.TypeMethodCall, driver, "RequestName", visible, uint32(0)))

	// Nobody is privileged: this is root, and who runs the bus.
	for member, args := range map[string][]any{
		"UpdateActivationEnvironment": {map[string]string{"A": "b"}}, "ReloadConfig": nil, "AddMatch": {"eavesdrop='true'"},
	} {
		c.mustFail(t, "AccessDenied", c.newMessage(wire.TypeMethodCall, driver, member, args...))
	}
	monitor := c.newMessage(wire.TypeMethodCall, driver, "BecomeMonitor", []string{}, uint32(0))
	monitor.Interface = "org.freedesktop.DBus.Monitoring"
	c.mustFail(t, "AccessDenied", monitor)

	// Others call it by its name, and it may follow and ask about them.
	other.mustSend(t, other.newMessage(wire.TypeMethodCall, "com.example.Mine", "Call"))
	for got := c.mustNext(t); got.Member != "Call"; got = c.mustNext(t) {
	}
	c.must(t, "GetConnectionUnixUser", other.name)
	other.close()
	for got := c.mustNext(t); got.Member != "NameOwnerChanged" || !strings.Contains(string(got.Body), other.name); got = c.mustNext(t) {
	}
}
