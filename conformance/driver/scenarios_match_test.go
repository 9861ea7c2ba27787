//go:build conformance

package driver

import (
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// oddRules are match rules at and over the border of what is one.
var oddRules = []string{
	"", " ", ",", "=", "type", "type=", "type='signal'", "type=signal", "type='signal',", ",type='signal'", "type='signal',,member='X'",
	" type='signal'", "type ='signal'", "type= 'signal'", "type='signal' ", "type='signal' ,member='X'", "type='signal', member='X'",
	"type='method_call'", "type='method_return'", "type='error'", "type='invalid'", "type='Signal'", "type=''", "TYPE='signal'",
	"type='signal',type='signal'", "member='A',member='B'", "member='A',member='A'",
	"type='signal", "type='sig'nal'", "type='sig''nal'", "type=s'ig'nal", `type=\signal`, `member='a\'b'`, `member=a\'b`, "member='it'\\''s'",
	"nonsense='x'", "nonsense=", "'type'='signal'", "=x", "type='signal'x='y'",
	"sender='com.example.Name'", "sender=':1.9999'", "sender='org.freedesktop.DBus'", "sender=''", "sender='notaname'", "sender='a..b'", "sender=':bad'",
	"destination=':1.9999'", "destination='com.example.Name'", "destination=''", "destination='notaname'",
	"interface='com.example'", "interface='notdotted'", "interface=''", "interface='com.1example'", "interface='com.example-x'",
	"member='M'", "member=''", "member='M.N'", "member='1M'", "member='M-N'", "member='" + strings.Repeat("m", 255) + "'", "member='" + strings.Repeat("m", 256) + "'",
	"path='/'", "path='/a/b'", "path='/a/'", "path=''", "path='a'", "path='//'", "path='/a-b'",
	"path_namespace='/'", "path_namespace='/a/b'", "path_namespace='/a/'", "path_namespace=''", "path_namespace='a'", "path='/a',path_namespace='/a'",
	"arg0='x'", "arg0=''", "arg0='it is, or not'", "arg63='x'", "arg64='x'", "arg100='x'", "arg-1='x'", "arg+1='x'", "arg='x'", "arg00='x'", "arg01='x'", "arg1 ='x'", "arg1x='x'",
	"arg0x='x'", "arg18446744073709551616='x'", "arg4294967296='x'",
	"arg0='x',arg0='y'", "arg0='x',arg0path='/y'", "arg0path='/a/'", "arg0path=''", "arg0path='no path'", "arg63path='/'", "arg64path='/'", "arg0paths='/'", "arg0Path='/'",
	"arg0namespace='com.example'", "arg0namespace='com'", "arg0namespace=''", "arg0namespace='com.'", "arg0namespace=':1.9999'", "arg1namespace='com.example'", "arg0namespace='com.example',arg0='x'",
	"arg0namespace='com.exam-ple'", "arg0namespace='1com'", "arg0namespacex='com'",
	"eavesdrop='true'", "eavesdrop='false'", "eavesdrop=''", "eavesdrop='TRUE'", "eavesdrop='1'", "eavesdrop='true',eavesdrop='false'", "eavesdrop=true",
	"type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='a.b',arg2=''",
	"member='" + strings.Repeat("m", 1024) + "'", strings.Repeat(" ", 1025), "arg0='" + strings.Repeat("x", 1010) + "'", "arg0='" + strings.Repeat("x", 1020) + "'",
	"member='\u00fc'", "arg0='\u00fc'", "\ttype='signal'", "type='signal'\n", "\nmember='X'", "member='X'\t,\tpath='/a'",
}

func matchScenarios() []scenario {
	return []scenario{
		{name: "odd rules, added and removed", play: func(s *session) {
			s.connect("a")
			for i, rule := range oddRules {
				s.as("add %d %.60q", i, rule).call("a", "AddMatch", "s", rule)
				s.as("remove %d %.60q", i, rule).call("a", "RemoveMatch", "s", rule)
				s.as("remove again %d %.60q", i, rule).call("a", "RemoveMatch", "s", rule)
			}
		}},
		{name: "removing takes an equal rule, however it is written", play: func(s *session) {
			s.connect("a")
			for _, pair := range [][2]string{
				{"type='signal',member='X'", "member='X',type='signal'"},
				{"type='signal',member='X'", "type=signal,member=X"},
				{"type='signal',member='X'", "member='X'"},
				{"member='X'", "member='X',eavesdrop='false'"},
				{"member='X'", "member='X',eavesdrop='true'"},
				{"arg0='x',arg1='y'", "arg1='y',arg0='x'"},
				{"arg0='/a/'", "arg0path='/a/'"},
				{"arg0='com.example'", "arg0namespace='com.example'"},
				{"path='/a'", "path_namespace='/a'"},
				{"", ""},
			} {
				s.call("a", "AddMatch", "s", pair[0])
				s.call("a", "RemoveMatch", "s", pair[1])
				s.call("a", "RemoveMatch", "s", pair[0])
			}
		}},
		{name: "a rule added twice is there twice and delivers once", play: func(s *session) {
			s.connect("a", "b")
			rule := "type='signal',interface='com.example.I'"
			s.call("a", "AddMatch", "s", rule)
			s.call("a", "AddMatch", "s", rule)
			s.call("a", "AddMatch", "s", "member='M'")
			emit := func() { s.do("b", peer.Signal("", "/a", "com.example.I", "M", "")) }
			emit()
			s.call("a", "RemoveMatch", "s", rule)
			emit()
			s.call("a", "RemoveMatch", "s", rule)
			emit()
			s.call("a", "RemoveMatch", "s", "member='M'")
			emit()
			s.call("a", "RemoveMatch", "s", rule)
		}},
		{name: "which signals match", play: whichSignalsMatch},
		{name: "matches by sender follow the owner of a name", play: func(s *session) {
			s.connect("watcher", "a", "b")
			s.call("watcher", "AddMatch", "s", "type='signal',interface='com.example.I',sender='"+someName+"'")
			emit := func() {
				s.do("a", peer.Signal("", "/", "com.example.I", "M", "s", "from a"))
				s.do("b", peer.Signal("", "/", "com.example.I", "M", "s", "from b"))
			}
			emit()
			s.call("a", "RequestName", "su", someName, allowReplacement)
			emit()
			s.call("b", "RequestName", "su", someName, replaceExisting)
			emit()
			s.call("b", "ReleaseName", "s", someName)
			emit()
			s.call("watcher", "AddMatch", "s", "type='signal',sender='"+s.name("b")+"'")
			emit()
		}},
		{name: "a rule without a type gets no calls of others", play: func(s *session) {
			s.connect("watcher", "a", "b")
			s.call("watcher", "AddMatch", "s", "")
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", ""))
			s.do("b", peer.Reply(s.name("a"), s.lastCall("b").Serial, ""))
			s.do("a", peer.Signal("", "/", "com.example.I", "M", ""))
			s.do("a", peer.Signal(s.name("b"), "/", "com.example.I", "M", ""))
		}},
		{name: "one's own signals come back", play: func(s *session) {
			s.connect("a")
			s.call("a", "AddMatch", "s", "interface='com.example.I'")
			s.do("a", peer.Signal("", "/", "com.example.I", "M", ""))
		}},
	}
}

// whichSignalsMatch sends every signal past every rule.
func whichSignalsMatch(s *session) {
	rules := []string{
		"path='/a/b'", "path_namespace='/a/b'", "path_namespace='/'", "path='/'",
		"arg0='x'", "arg0=''", "arg1='x'", "arg0='x',arg1='y'", "arg0path='/a/b'", "arg0path='/a/b/'", "arg0path='/'", "arg1path='/a/'",
		"arg0namespace='com.example'", "arg0namespace='com'", "arg3='x'", "arg0='/a/b'",
		"interface='com.example.I',member='M'", "member='N'", "type='error'", "type='method_call'", "destination='com.example.Name'",
	}
	s.connect("sender")
	for i, rule := range rules {
		label := fmt.Sprintf("r%d", i)
		s.connect(label)
		s.call(label, "AddMatch", "s", rule)
	}
	body := func(path, sig string, args ...any) {
		s.do("sender", peer.Signal("", path, "com.example.I", "M", sig, args...))
	}
	for _, path := range []string{"/", "/a", "/a/b", "/a/b/c", "/a/bc"} {
		body(path, "")
	}
	for _, text := range []string{"", "x", "xy", "com", "com.example", "com.example.X", "com.exampleX", "/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/bc", "a/b"} {
		body("/z", "s", text)
	}
	for _, path := range []string{"/", "/a", "/a/b", "/a/b/c"} {
		body("/z", "o", path)
	}
	body("/z", "ss", "x", "y")
	body("/z", "ss", "y", "x")
	body("/z", "us", uint32(1), "x")
	body("/z", "so", "q", "/a/b")
	body("/z", "sssss", "a", "b", "c", "x", "e")
	body("/z", "g", "s")
	body("/z", "v", peer.Variant{Sig: "s", Value: "x"})
	body("/z", "as", []string{"x"})
	body("/z", "uuus", uint32(0), uint32(0), uint32(0), "x")
}

func eavesdropScenarios() []scenario {
	chat := func(s *session, rules ...string) {
		s.connect("eve", "a", "b")
		s.call("b", "RequestName", "su", someName, uint32(0))
		for _, r := range rules {
			s.call("eve", "AddMatch", "s", strings.ReplaceAll(r, "<b>", s.name("b")))
		}
		s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "s", "x"))
		s.do("b", peer.Reply(s.name("a"), s.lastCall("b").Serial, "s", "y"))
		s.do("a", peer.Call(someName, "/", "com.example.I", "M", "s", "x"))
		s.do("b", peer.Error(s.name("a"), s.lastCall("b").Serial, "com.example.Error", ""))
		s.do("a", peer.Call("com.example.Missing", "/", "com.example.I", "M", ""))
		s.do("a", peer.Signal(s.name("b"), "/", "com.example.I", "S", ""))
		s.do("a", peer.Signal("", "/", "com.example.I", "S", ""))
		s.do("eve", peer.Call(s.name("b"), "/", "com.example.I", "M", ""))
		s.do("a", peer.Call(s.name("eve"), "/", "com.example.I", "M", ""))
		s.call("a", "GetNameOwner", "s", someName)
		s.call("a", "RequestName", "su", "com.example.Other", uint32(0))
	}
	all := []scenario{
		{name: "eavesdropping on everything", play: func(s *session) { chat(s, "eavesdrop='true'") }},
		{name: "eavesdropping on calls", play: func(s *session) { chat(s, "eavesdrop='true',type='method_call'") }},
		{name: "eavesdropping on replies", play: func(s *session) { chat(s, "eavesdrop=true,type='method_return'") }},
		{name: "eavesdropping on errors", play: func(s *session) { chat(s, "eavesdrop=true,type='error'") }},
		{name: "eavesdropping on a destination", play: func(s *session) { chat(s, "eavesdrop='true',destination='"+someName+"'") }},
		{name: "eavesdropping on a unique destination", play: func(s *session) { chat(s, "eavesdrop='true',destination='<b>'") }},
		{name: "eavesdropping on a sender", play: func(s *session) { chat(s, "eavesdrop='true',sender='"+someName+"'") }},
		{name: "eavesdropping on the bus", play: func(s *session) { chat(s, "eavesdrop='true',sender='org.freedesktop.DBus'") }},
		{name: "a destination without eavesdropping", play: func(s *session) { chat(s, "destination='"+someName+"'") }},
		{name: "eavesdrop=false", play: func(s *session) { chat(s, "eavesdrop='false'") }},
	}
	for i := range all {
		all[i].eavesdrops = true
	}
	return all
}

func monitorScenarios() []scenario {
	chat := func(s *session) {
		s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "s", "x"))
		s.do("b", peer.Reply(s.name("a"), s.lastCall("b").Serial, "s", "y"))
		s.do("a", peer.Call("com.example.Missing", "/", "com.example.I", "M", ""))
		s.do("a", peer.Signal(s.name("b"), "/", "com.example.I", "S", ""))
		s.do("a", peer.Signal("", "/", "com.example.I", "S", ""))
		s.call("a", "RequestName", "su", someName, uint32(0))
		s.call("a", "NoSuchMethod", "")
		s.connect("c")
		s.leave("c")
	}
	return []scenario{
		{name: "a monitor of everything", play: func(s *session) {
			s.connect("m", "a", "b")
			s.becomeMonitor("m")
			chat(s)
		}},
		{name: "a monitor with rules", play: func(s *session) {
			s.connect("m", "a", "b")
			s.becomeMonitor("m", "type='signal',member='S'", "type='error'")
			chat(s)
		}},
		{name: "a monitor of one sender", play: func(s *session) {
			s.connect("m", "a", "b")
			s.becomeMonitor("m", "sender='"+s.name("a")+"'")
			chat(s)
		}},
		{name: "a monitor of one destination", play: func(s *session) {
			s.connect("m", "a", "b")
			s.becomeMonitor("m", "destination='"+s.name("b")+"'")
			chat(s)
		}},
		{name: "becoming a monitor gives up names", play: func(s *session) {
			s.connect("a", "m")
			s.call("a", "AddMatch", "s", ownerChanges)
			s.call("m", "RequestName", "su", someName, uint32(0))
			s.call("a", "RequestName", "su", someName, uint32(0))
			s.becomeMonitor("m")
			s.anyOrder().call("a", "ListNames", "")
			s.call("a", "NameHasOwner", "s", s.name("m"))
			s.do("a", peer.Call(s.name("m"), "/", "com.example.I", "M", ""))
		}},
		{name: "a monitor does not eavesdrop on others' behalf", play: func(s *session) {
			s.connect("m", "a", "b")
			s.call("m", "AddMatch", "s", "type='signal'")
			s.becomeMonitor("m", "member='Nothing'")
			chat(s)
		}},
		{name: "becoming a monitor with wrong arguments", play: func(s *session) {
			s.connect("a")
			become := func(path, sig string, args ...any) {
				s.do("a", peer.Call(peer.DriverName, path, peer.MonitorIface, "BecomeMonitor", sig, args...))
			}
			become(peer.DriverPath, "")
			become(peer.DriverPath, "as", []string{})
			become(peer.DriverPath, "su", "x", uint32(0))
			become(peer.DriverPath, "asu", []string{"nonsense"}, uint32(0))
			become(peer.DriverPath, "asu", []string{"type='signal'", "arg64='x'"}, uint32(0))
			become(peer.DriverPath, "asu", []string{}, uint32(1))
			become(peer.DriverPath, "asuu", []string{}, uint32(0), uint32(0))
			become("/", "asu", []string{}, uint32(0))
			become("/com/example", "asu", []string{}, uint32(0))
			s.do("a", peer.Call(peer.DriverName, peer.DriverPath, peer.DriverIface, "BecomeMonitor", "asu", []string{"x"}, uint32(0)))
			s.call("a", "GetId", "")
		}},
		{name: "a monitor that sends is disconnected", play: func(s *session) {
			s.connect("m", "a")
			s.becomeMonitor("m")
			s.do("m", peer.Call(peer.DriverName, peer.DriverPath, peer.PeerIface, "Ping", ""))
			s.call("a", "GetId", "")
		}},
	}
}
