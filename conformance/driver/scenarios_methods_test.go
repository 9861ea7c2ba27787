//go:build conformance

package driver

import (
	"fmt"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// method is one method of the bus with arguments it accepts.
type method struct {
	iface, member, sig string
	args               []any
	anyOrder           bool // the result is a list without order
	onlyTypes          bool // the result is of the moment
}

// methods lists what org.freedesktop.DBus offers, but BecomeMonitor, which ends a session's calls.
var methods = []method{
	{iface: peer.DriverIface, member: "Hello"},
	{iface: peer.DriverIface, member: "RequestName", sig: "su", args: []any{"com.example.Name", uint32(0)}},
	{iface: peer.DriverIface, member: "ReleaseName", sig: "s", args: []any{"com.example.Name"}},
	{iface: peer.DriverIface, member: "ListQueuedOwners", sig: "s", args: []any{peer.DriverName}},
	{iface: peer.DriverIface, member: "ListNames", anyOrder: true},
	{iface: peer.DriverIface, member: "ListActivatableNames", anyOrder: true},
	{iface: peer.DriverIface, member: "NameHasOwner", sig: "s", args: []any{"com.example.Name"}},
	{iface: peer.DriverIface, member: "GetNameOwner", sig: "s", args: []any{peer.DriverName}},
	{iface: peer.DriverIface, member: "StartServiceByName", sig: "su", args: []any{"com.example.Missing", uint32(0)}},
	{iface: peer.DriverIface, member: "UpdateActivationEnvironment", sig: "a{ss}", args: []any{[]any{peer.Entry{Key: "A", Value: "b"}}}},
	{iface: peer.DriverIface, member: "AddMatch", sig: "s", args: []any{"member='Nothing'"}},
	{iface: peer.DriverIface, member: "RemoveMatch", sig: "s", args: []any{"member='Nothing'"}},
	{iface: peer.DriverIface, member: "GetId"},
	{iface: peer.DriverIface, member: "GetConnectionUnixUser", sig: "s", args: []any{peer.DriverName}},
	{iface: peer.DriverIface, member: "GetConnectionUnixProcessID", sig: "s", args: []any{peer.DriverName}},
	{iface: peer.DriverIface, member: "GetAdtAuditSessionData", sig: "s", args: []any{peer.DriverName}},
	{iface: peer.DriverIface, member: "GetConnectionSELinuxSecurityContext", sig: "s", args: []any{peer.DriverName}},
	{iface: peer.DriverIface, member: "GetConnectionCredentials", sig: "s", args: []any{peer.DriverName}, anyOrder: true},
	{iface: peer.DriverIface, member: "ReloadConfig"},
	{iface: peer.PeerIface, member: "Ping"},
	{iface: peer.PeerIface, member: "GetMachineId"},
	{iface: peer.IntrospectFace, member: "Introspect", onlyTypes: true},
	{iface: peer.PropsIface, member: "Get", sig: "ss", args: []any{peer.DriverIface, "Interfaces"}, anyOrder: true},
	{iface: peer.PropsIface, member: "GetAll", sig: "s", args: []any{peer.DriverIface}, anyOrder: true},
	{iface: peer.PropsIface, member: "Set", sig: "ssv", args: []any{peer.DriverIface, "Features", peer.Variant{Sig: "as", Value: []string{}}}},
	{iface: peer.StatsIface, member: "GetStats", onlyTypes: true},
	{iface: peer.StatsIface, member: "GetConnectionStats", sig: "s", args: []any{peer.DriverName}, onlyTypes: true},
	{iface: peer.StatsIface, member: "GetAllMatchRules", onlyTypes: true},
}

// methodScenarios calls every method in every wrong way.
func methodScenarios() []scenario {
	var all []scenario
	for _, m := range methods {
		all = append(all, scenario{name: m.iface + "." + m.member, play: func(s *session) { callEveryWay(s, m) }})
	}
	return all
}

func callEveryWay(s *session, m method) {
	s.connect("a")
	step := func(about, path, iface, sig string, args ...any) *peer.Message {
		s.as("%s", about)
		if m.anyOrder {
			s.anyOrder()
		}
		if m.onlyTypes {
			s.onlyTypes()
		}
		return peer.Call(peer.DriverName, path, iface, m.member, sig, args...)
	}
	try := func(about, path, iface, sig string, args ...any) {
		s.do("a", step(about, path, iface, sig, args...))
	}
	try("right arguments", peer.DriverPath, m.iface, m.sig, m.args...)
	try("an argument too many", peer.DriverPath, m.iface, m.sig+"y", append(m.args[:len(m.args):len(m.args)], byte(7))...)
	for _, sig := range []string{"", "s", "u", "as", "su", "v", "(s)", "a{ss}", "ss", "us"} {
		if sig != m.sig {
			try(fmt.Sprintf("signature %q", sig), peer.DriverPath, m.iface, sig, zeros(sig)...)
		}
	}
	try("on the object /", "/", m.iface, m.sig, m.args...)
	try("on the object /com/example", "/com/example", m.iface, m.sig, m.args...)
	try("without an interface", peer.DriverPath, "", m.sig, m.args...)
	try("without an interface on /com/example", "/com/example", "", m.sig, m.args...)
	try("without an interface, wrong arguments", peer.DriverPath, "", "ayay", []byte{1}, []byte{2})
	try("in the interface com.example.Unknown", peer.DriverPath, "com.example.Unknown", m.sig, m.args...)
	for _, iface := range []string{peer.DriverIface, peer.PeerIface, peer.PropsIface, peer.IntrospectFace} {
		if iface != m.iface {
			try("in the interface "+iface, peer.DriverPath, iface, m.sig, m.args...)
		}
	}
	s.do("a", step("big-endian", peer.DriverPath, m.iface, m.sig, m.args...).InOrder('B'))
	s.do("a", step("no reply expected", peer.DriverPath, m.iface, m.sig, m.args...).WithFlags(peer.NoReplyExpected))
	s.do("a", step("no reply expected, wrong arguments", peer.DriverPath, m.iface, "ayay", []byte{1}, []byte{2}).WithFlags(peer.NoReplyExpected))
}

// zeros returns plausible arguments of a signature of simple types.
func zeros(sig string) []any {
	var args []any
	for sig != "" {
		switch sig[0] {
		case 's':
			args, sig = append(args, "com.example.Name"), sig[1:]
		case 'u':
			args, sig = append(args, uint32(0)), sig[1:]
		case 'v':
			args, sig = append(args, peer.Variant{Sig: "s", Value: "com.example.Name"}), sig[1:]
		case '(':
			args, sig = append(args, []any{"com.example.Name"}), sig[3:]
		case 'a':
			n := 2
			if sig[1] == '{' {
				n = 5
			}
			args, sig = append(args, []any{}), sig[n:]
		}
	}
	return args
}

// objectScenarios asks for methods, interfaces, properties and objects that do not exist.
func objectScenarios() []scenario {
	return []scenario{
		{name: "unknown methods and interfaces", play: func(s *session) {
			s.connect("a")
			for _, path := range []string{peer.DriverPath, "/", "/org", "/org/freedesktop", "/org/freedesktop/DBus/x", "/com/example"} {
				s.do("a", peer.Call(peer.DriverName, path, peer.DriverIface, "NoSuchMethod", ""))
				s.do("a", peer.Call(peer.DriverName, path, "com.example.NoSuchInterface", "GetId", ""))
				s.do("a", peer.Call(peer.DriverName, path, "", "NoSuchMethod", ""))
				s.do("a", peer.Call(peer.DriverName, path, peer.PeerIface, "NoSuchMethod", ""))
				s.do("a", peer.Call(peer.DriverName, path, peer.DriverIface, "ping", "s", "x"))
			}
		}},
		{name: "properties", play: func(s *session) {
			s.connect("a")
			ifaces := []string{peer.DriverIface, "", peer.PeerIface, peer.PropsIface, peer.IntrospectFace, peer.MonitorIface,
				peer.StatsIface, "com.example.Unknown", "not an interface"}
			for _, iface := range ifaces {
				for _, property := range []string{"Features", "Interfaces", "Unknown", "", "not a property"} {
					s.anyOrder().do("a", peer.Call(peer.DriverName, peer.DriverPath, peer.PropsIface, "Get", "ss", iface, property))
					s.do("a", peer.Call(peer.DriverName, peer.DriverPath, peer.PropsIface, "Set", "ssv", iface, property, peer.Variant{Sig: "s", Value: "x"}))
				}
				s.anyOrder().do("a", peer.Call(peer.DriverName, peer.DriverPath, peer.PropsIface, "GetAll", "s", iface))
			}
			for _, path := range []string{"/", "/com/example"} {
				s.anyOrder().do("a", peer.Call(peer.DriverName, path, peer.PropsIface, "GetAll", "s", peer.DriverIface))
				s.anyOrder().do("a", peer.Call(peer.DriverName, path, peer.PropsIface, "Get", "ss", peer.DriverIface, "Features"))
				s.do("a", peer.Call(peer.DriverName, path, peer.PropsIface, "Set", "ssv", peer.DriverIface, "Features", peer.Variant{Sig: "s", Value: "x"}))
			}
		}},
		{name: "messages to the bus that are not calls", play: func(s *session) {
			s.connect("a")
			s.do("a", peer.Signal(peer.DriverName, peer.DriverPath, peer.DriverIface, "NameOwnerChanged", "sss", "a", "b", "c"))
			s.do("a", peer.Signal(peer.DriverName, peer.DriverPath, peer.DriverIface, "GetId", ""))
			s.do("a", peer.Reply(peer.DriverName, 1, ""))
			s.do("a", peer.Error(peer.DriverName, 1, "com.example.Error", "s", "text"))
		}},
	}
}
