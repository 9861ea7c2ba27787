//go:build conformance

package driver

import (
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// Flags of RequestName.
const (
	allowReplacement = uint32(1)
	replaceExisting  = uint32(2)
	doNotQueue       = uint32(4)
)

const someName = "com.example.Name"

var ownerChanges = "type='signal',interface='org.freedesktop.DBus',member='NameOwnerChanged'"

func nameScenarios() []scenario {
	var all []scenario
	// What one connection asked for first decides what another's flags get it, and who is left
	// when both go.
	for first := uint32(0); first < 8; first++ {
		all = append(all, scenario{name: fmt.Sprintf("an owner with flags %d meets every other request", first), play: func(s *session) {
			ownerMeetsEveryRequest(s, first)
		}})
	}
	return append(all,
		scenario{name: "a queue of four", play: queueOfFour},
		scenario{name: "asking again changes one's own flags", play: flagsChange},
		scenario{name: "flags that do not exist", play: func(s *session) {
			s.connect("a", "b")
			for _, flags := range []uint32{8, 9, 0x80000000, 0xffffffff} {
				s.call("a", "RequestName", "su", someName, flags)
				s.call("b", "RequestName", "su", someName, flags)
				s.call("a", "ReleaseName", "s", someName)
				s.call("b", "ReleaseName", "s", someName)
			}
		}},
		scenario{name: "names that cannot be requested", play: func(s *session) {
			s.connect("a")
			for _, name := range oddNames(s.name("a")) {
				s.as("RequestName %.40q", name).call("a", "RequestName", "su", name, uint32(0))
				s.as("ReleaseName %.40q", name).call("a", "ReleaseName", "s", name)
			}
		}},
		scenario{name: "releasing", play: func(s *session) {
			s.connect("a", "b", "c")
			s.call("a", "ReleaseName", "s", someName)
			s.call("a", "RequestName", "su", someName, uint32(0))
			s.call("b", "ReleaseName", "s", someName)
			s.call("b", "RequestName", "su", someName, uint32(0))
			s.call("c", "RequestName", "su", someName, uint32(0))
			s.call("b", "ReleaseName", "s", someName)
			s.call("b", "ReleaseName", "s", someName)
			s.call("a", "ReleaseName", "s", someName)
			s.call("a", "ReleaseName", "s", someName)
			s.call("c", "ReleaseName", "s", someName)
		}},
		scenario{name: "a connection that ends gives up all its names", play: func(s *session) {
			s.connect("a", "b", "c")
			s.call("c", "AddMatch", "s", ownerChanges)
			for i := range 4 {
				s.call("a", "RequestName", "su", fmt.Sprintf("com.example.N%d", i), uint32(0))
			}
			s.call("b", "RequestName", "su", "com.example.N1", uint32(0))
			s.call("b", "RequestName", "su", "com.example.N3", uint32(0))
			s.leave("a")
			s.leave("b")
		}},
		scenario{name: "signals about names reach whoever asked", play: func(s *session) {
			s.connect("a", "b", "c")
			s.call("a", "AddMatch", "s", ownerChanges)
			s.call("b", "AddMatch", "s", ownerChanges+",arg0='"+someName+"'")
			s.call("c", "AddMatch", "s", ownerChanges+",arg0namespace='com.example'")
			s.connect("d")
			s.call("d", "RequestName", "su", someName, uint32(0))
			s.call("d", "RequestName", "su", "com.exampleOther", uint32(0))
			s.call("d", "RequestName", "su", "com.example.Name.Sub", uint32(0))
			s.call("d", "ReleaseName", "s", someName)
			s.leave("d")
		}},
	)
}

func ownerMeetsEveryRequest(s *session, first uint32) {
	s.connect("watcher", "a", "b")
	s.call("watcher", "AddMatch", "s", ownerChanges)
	for second := uint32(0); second < 8; second++ {
		name := fmt.Sprintf("com.example.N%d", second)
		s.call("a", "RequestName", "su", name, first)
		s.call("b", "RequestName", "su", name, second)
		s.call("watcher", "ListQueuedOwners", "s", name)
		s.call("a", "RequestName", "su", name, first)
		s.call("watcher", "ListQueuedOwners", "s", name)
	}
	s.leave("a")
	for second := uint32(0); second < 8; second++ {
		s.call("watcher", "ListQueuedOwners", "s", fmt.Sprintf("com.example.N%d", second))
	}
	s.leave("b")
}

func queueOfFour(s *session) {
	s.connect("a", "b", "c", "d", "watcher")
	queue := func() { s.call("watcher", "ListQueuedOwners", "s", someName) }
	s.call("watcher", "AddMatch", "s", ownerChanges)
	s.call("a", "RequestName", "su", someName, allowReplacement)
	s.call("b", "RequestName", "su", someName, allowReplacement)
	s.call("c", "RequestName", "su", someName, uint32(0))
	queue()
	s.call("d", "RequestName", "su", someName, replaceExisting|allowReplacement)
	queue()
	s.call("c", "RequestName", "su", someName, replaceExisting)
	queue()
	s.call("b", "RequestName", "su", someName, doNotQueue)
	queue()
	s.call("a", "RequestName", "su", someName, replaceExisting)
	queue()
	s.call("c", "RequestName", "su", someName, allowReplacement)
	queue()
	s.call("b", "RequestName", "su", someName, doNotQueue|replaceExisting)
	queue()
	s.call("a", "RequestName", "su", someName, uint32(0))
	queue()
	s.leave("b")
	queue()
	s.call("a", "ReleaseName", "s", someName)
	queue()
	s.leave("c")
	queue()
	s.leave("d")
	queue()
	s.call("watcher", "NameHasOwner", "s", someName)
}

func flagsChange(s *session) {
	s.connect("a", "b", "c")
	s.call("a", "RequestName", "su", someName, uint32(0))
	s.call("b", "RequestName", "su", someName, replaceExisting)
	s.call("a", "RequestName", "su", someName, allowReplacement|doNotQueue)
	s.call("b", "RequestName", "su", someName, replaceExisting)
	s.call("c", "ListQueuedOwners", "s", someName)
	s.call("b", "RequestName", "su", someName, allowReplacement)
	s.call("c", "RequestName", "su", someName, replaceExisting|doNotQueue)
	s.call("c", "ListQueuedOwners", "s", someName)
	s.call("b", "RequestName", "su", someName, doNotQueue)
	s.call("c", "ListQueuedOwners", "s", someName)
}

// oddNames returns names that no connection can own, and a few that only look so.
func oddNames(unique string) []string {
	long := "com." + strings.Repeat("a", 251)
	return []string{
		"", ".", "a", "a.", ".a", "a..b", "com.example", "com.example.", "1.b", "a.1", "a.b1", "-.b", "a-.b-", "_._",
		"com.exa mple", "com.exämple", "com/example", "com.example\n", "com.example:1", ":", ":1", ":1.", ":1.99998", ":1.99999",
		":a.b", "::1.99998", ":.a", unique, peer.DriverName, "org.freedesktop.DBus.Local", "org.freedesktop.DBusses",
		"org.freedesktop.dbus", "org.freedesktop.DBus.x", long, long + "a",
	}
}

func queryScenarios() []scenario {
	queries := []string{"GetNameOwner", "NameHasOwner", "ListQueuedOwners", "GetConnectionUnixUser", "GetConnectionUnixProcessID",
		"GetConnectionCredentials", "GetAdtAuditSessionData", "GetConnectionSELinuxSecurityContext"}
	var all []scenario
	for _, q := range queries {
		all = append(all, scenario{name: q + " of all kinds of names", play: func(s *session) {
			s.connect("a", "b")
			s.call("b", "RequestName", "su", someName, uint32(0))
			s.call("a", "RequestName", "su", someName, uint32(0))
			for _, name := range append(oddNames(s.name("a")), someName, s.name("b"), "com.example.Missing") {
				s.as("%s %.40q", q, name).anyOrder().call("a", q, "s", name)
			}
			s.leave("b")
			s.anyOrder().call("a", q, "s", someName)
			s.anyOrder().call("a", q, "s", s.name("b"))
		}})
	}
	return append(all,
		scenario{name: "ListNames", play: func(s *session) {
			s.connect("a", "b")
			s.anyOrder().call("a", "ListNames", "")
			s.call("b", "RequestName", "su", someName, uint32(0))
			s.call("a", "RequestName", "su", someName, uint32(0))
			s.anyOrder().call("a", "ListNames", "")
			s.dial("c")
			s.anyOrder().call("a", "ListNames", "")
			s.leave("b")
			s.anyOrder().call("a", "ListNames", "")
		}},
		scenario{name: "StartServiceByName", play: func(s *session) {
			s.connect("a", "b")
			s.call("b", "RequestName", "su", someName, uint32(0))
			for _, name := range append(oddNames(s.name("a")), someName, "com.example.Missing") {
				s.as("start %.40q", name).call("a", "StartServiceByName", "su", name, uint32(0))
			}
			s.call("a", "StartServiceByName", "su", someName, uint32(0xffffffff))
		}},
		scenario{name: "GetConnectionStats of all kinds of names", play: func(s *session) {
			s.connect("a", "b")
			s.call("b", "RequestName", "su", someName, uint32(0))
			stats := func(name string) {
				s.as("stats of %.40q", name).onlyTypes().do("a", peer.Call(peer.DriverName, peer.DriverPath, peer.StatsIface, "GetConnectionStats", "s", name))
			}
			for _, name := range append(oddNames(s.name("a")), someName, s.name("b"), "com.example.Missing") {
				stats(name)
			}
		}},
		scenario{name: "UpdateActivationEnvironment", play: func(s *session) {
			s.connect("a")
			for _, vars := range [][]any{nil, {peer.Entry{Key: "A", Value: "1"}, peer.Entry{Key: "A", Value: "2"}}, {peer.Entry{Key: "", Value: "x"}}, {peer.Entry{Key: "A=B", Value: "x"}}} {
				s.call("a", "UpdateActivationEnvironment", "a{ss}", vars)
			}
		}},
	)
}
