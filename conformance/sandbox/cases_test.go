//go:build conformance

package sandbox

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// An action is something that a client does.
type action struct {
	title string
	do    func(w *world)
	// Of messages of the one behind the gate: to whom, and whether no answer is wanted. byOwner sends the same
	// to the unique name of the owner of a name.
	to      string
	silent  bool
	byOwner func(w *world)
	// Who sends or is asked about, if it is a client, and who gives a name back.
	who, releases string
}

var (
	names      = []string{"a.b", "a.b.c", "a.bc", "x.y", "x.y.z", "p.q", "no.body", "a.b.c.d"}
	uniques    = []string{"@one", "@two", "@three", "@four", "@nameless", "@in", ":1.999999"}
	subjects   = []string{"a.b", "a.b.*", "a.b.c", "a.b.c.*", "a.bc", "x.y", "x.y.*", "x.y.z", "p.q", "p.q.*", "no.body"}
	interfaces = []string{"i.A", "i.B", ""}
	members    = []string{"M", "N", "Fail"}
	paths      = []string{"/", "/o", "/o/p", "/op"}
	rules      = []string{"*", "i.A.*", "i.A.M", "i.B.N", "@/o", "@/o/*", "i.A.M@/o/p", "i.A.*@/o/*", "*@/op", "", "@/*", "i.A.Fail"}
)

func sample(t *rapid.T, label string, from []string) string {
	return rapid.SampledFrom(from).Draw(t, label)
}

// drawFlags draws what a sandbox may do.
func drawFlags(t *rapid.T) []string {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		subject := sample(t, "subject", subjects)
		switch flag := sample(t, "flag", []string{"see", "talk", "own", "call", "call", "broadcast", "broadcast"}); flag {
		case "call", "broadcast":
			return fmt.Sprintf("--%s=%s=%s", flag, subject, sample(t, "rule", rules))
		default:
			return fmt.Sprintf("--%s=%s", flag, subject)
		}
	}), 0, 6).Draw(t, "flags")
}

func anyName(t *rapid.T) string {
	return sample(t, "name", append(append([]string{}, names...), uniques...))
}

// drawAction draws something for somebody to do.
func drawAction(t *rapid.T) action {
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 0, 1, 2:
		return drawMessage(t, "in", anyName(t))
	case 3:
		return drawMessage(t, sample(t, "who", []string{"one", "two", "four", "nameless"}), "@in")
	case 4, 5:
		return drawBroadcast(t, sample(t, "who", []string{"one", "two", "three", "four", "nameless", "in"}))
	case 6, 7, 8:
		return drawQuestion(t)
	case 9:
		return drawOwning(t)
	case 10:
		return drawChange(t)
	}
	return drawOther(t)
}

// drawMessage draws a call or a signal to somebody.
func drawMessage(t *rapid.T, who, to string) action {
	path, iface, member := sample(t, "path", paths), sample(t, "interface", interfaces), sample(t, "member", members)
	flags := byte(rapid.SampledFrom([]int{0, 0, 0, peer.NoReplyExpected, peer.NoAutoStart}).Draw(t, "flags"))
	signal := iface != "" && rapid.IntRange(0, 3).Draw(t, "signal") == 0
	return sending(who, to, path, iface, member, flags, signal)
}

// sending is a call, or a signal, to somebody.
func sending(who, to, path, iface, member string, flags byte, signal bool) action {
	title := fmt.Sprintf("%s calls %s: %s.%s at %s, flags %d", who, to, iface, member, path, flags)
	if signal {
		title = fmt.Sprintf("%s signals %s: %s.%s at %s", who, to, iface, member, path)
	}
	send := func(w *world, to string) {
		m := peer.Call(to, path, iface, member, "s", "text").WithFlags(flags)
		if signal {
			m = peer.Signal(to, path, iface, member, "s", "text")
		}
		w.send(who, m)
	}
	a := action{title: title, who: who, do: func(w *world) { send(w, w.name(to)) }}
	if who == "in" {
		a.who = strings.TrimPrefix(to, "@")
		a.to, a.silent = to, signal || flags&peer.NoReplyExpected != 0
		if to[0] != '@' && to[0] != ':' {
			a.byOwner = func(w *world) {
				if owner := w.owner(to); owner != "" {
					send(w, owner)
				}
			}
		}
	}
	return a
}

func drawBroadcast(t *rapid.T, who string) action {
	path, iface, member := sample(t, "path", paths), sample(t, "interface", interfaces[:2]), sample(t, "member", members)
	return action{title: fmt.Sprintf("%s broadcasts %s.%s at %s", who, iface, member, path), who: who, do: func(w *world) {
		w.send(who, peer.Signal("", path, iface, member, "s", "text"))
	}}
}

// drawQuestion draws a question about names.
func drawQuestion(t *rapid.T) action {
	member := sample(t, "member", []string{"ListNames", "ListActivatableNames", "GetNameOwner", "GetNameOwner", "NameHasOwner", "ListQueuedOwners",
		"GetConnectionUnixUser", "GetConnectionUnixProcessID", "GetConnectionCredentials", "StartServiceByName"})
	name := anyName(t)
	if member == "ListNames" || member == "ListActivatableNames" {
		return action{title: "in asks " + member, do: func(w *world) { w.send("in", peer.DriverCall(member, "")) }}
	}
	return asking(member, name)
}

// asking asks the bus about a name.
func asking(member, name string) action {
	return action{title: fmt.Sprintf("in asks %s of %s", member, name), who: strings.TrimPrefix(name, "@"), do: func(w *world) {
		if member == "StartServiceByName" {
			w.send("in", peer.DriverCall(member, "su", w.name(name), uint32(0)))
			return
		}
		w.send("in", peer.DriverCall(member, "s", w.name(name)))
	}}
}

func drawOwning(t *rapid.T) action {
	name := sample(t, "name", names)
	if rapid.Bool().Draw(t, "release") {
		return releasing(name)
	}
	flags := uint32(rapid.SampledFrom([]int{0, 4, 2}).Draw(t, "flags"))
	return requesting(name, flags)
}

func releasing(name string) action {
	return action{title: "in releases " + name, do: func(w *world) { w.send("in", peer.DriverCall("ReleaseName", "s", name)) }}
}

func requesting(name string, flags uint32) action {
	return action{title: fmt.Sprintf("in requests %s, flags %d", name, flags), do: func(w *world) {
		w.send("in", peer.DriverCall("RequestName", "su", name, flags))
	}}
}

// drawChange draws a change of who is there.
func drawChange(t *rapid.T) action {
	name := sample(t, "name", names)
	switch rapid.IntRange(0, 3).Draw(t, "change") {
	case 0:
		return action{title: "nameless takes and gives back " + name, releases: "nameless", do: func(w *world) {
			w.send("nameless", peer.DriverCall("RequestName", "su", name, uint32(4)))
			w.send("nameless", peer.DriverCall("ReleaseName", "s", name))
		}}
	case 1:
		return action{title: "somebody comes, owns " + name + ", and leaves", do: func(w *world) {
			w.connect("visitor", w.bus.Address)
			w.send("visitor", peer.DriverCall("RequestName", "su", name, uint32(4)))
			visitor := w.client("visitor").Name
			w.disconnect("visitor")
			w.settle()
			w.relabel(visitor, "@visitor")
		}}
	case 2:
		return action{title: "one hands its name over", releases: "nameless", do: func(w *world) {
			w.send("nameless", peer.DriverCall("RequestName", "su", "a.b", uint32(0)))
			w.send("one", peer.DriverCall("ReleaseName", "s", "a.b"))
			w.send("one", peer.DriverCall("RequestName", "su", "a.b", uint32(0)))
			w.send("nameless", peer.DriverCall("ReleaseName", "s", "a.b"))
		}}
	}
	return twoReleases(name)
}

func twoReleases(name string) action {
	return action{title: "two releases " + name, releases: "two", do: func(w *world) { w.send("two", peer.DriverCall("ReleaseName", "s", name)) }}
}

// drawOther draws a call to the bus that is about no name.
func drawOther(t *rapid.T) action {
	return rapid.SampledFrom([]func() action{
		func() action {
			return callingBus("introspects the bus", peer.Call(peer.DriverName, peer.DriverPath, peer.IntrospectFace, "Introspect", ""))
		},
		func() action {
			return callingBus("sets the environment", peer.DriverCall("UpdateActivationEnvironment", "a{ss}", []any{}))
		},
		func() action {
			return callingBus("becomes a monitor", peer.Call(peer.DriverName, peer.DriverPath, peer.MonitorIface, "BecomeMonitor", "asu", []any{}, uint32(0)))
		},
		func() action {
			return callingBus("asks for statistics", peer.Call(peer.DriverName, peer.DriverPath, peer.StatsIface, "GetStats", ""))
		},
		func() action { return callingBus("reloads the configuration", peer.DriverCall("ReloadConfig", "")) },
		func() action { return callingBus("eavesdrops", peer.DriverCall("AddMatch", "s", "eavesdrop=true")) },
		func() action {
			return callingBus("subscribes to a name", peer.DriverCall("AddMatch", "s", "type='signal',sender='a.b'"))
		},
		func() action {
			a := callingBus("answers what nobody asked", peer.Reply(":1.1", 77, ""))
			a.silent = true
			return a
		},
		func() action { return callingBus("calls what is not there", peer.DriverCall("NoSuchMethod", "")) },
		pingingBus, readingProperty,
	}).Draw(t, "call")()
}

func pingingBus() action {
	return callingBus("pings the bus", peer.Call(peer.DriverName, peer.DriverPath, peer.PeerIface, "Ping", ""))
}

func readingProperty() action {
	return callingBus("reads a property", peer.Call(peer.DriverName, peer.DriverPath, peer.PropsIface, "Get", "ss", peer.DriverIface, "Features"))
}

// callingBus is a message of which a copy is sent each time.
func callingBus(title string, m *peer.Message) action {
	return action{title: "in " + title, do: func(w *world) {
		again := *m
		w.send("in", &again)
	}}
}

// relabel gives somebody who has gone a name in what has arrived.
func (w *world) relabel(unique, label string) {
	gone := &client{&peer.Client{Name: unique}, label[1:]}
	clients := w.clients
	w.clients = append(clients, gone)
	for i, line := range w.lines {
		w.lines[i] = w.label(line)
	}
	w.clients = clients
}
