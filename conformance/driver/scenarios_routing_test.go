//go:build conformance

package driver

import (
	"os"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

func replyScenarios() []scenario {
	call := func(s *session) uint32 {
		s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", ""))
		return s.lastCall("b").Serial
	}
	return []scenario{
		{name: "calls and their answers", play: func(s *session) {
			s.connect("a", "b")
			s.do("b", peer.Reply(s.name("a"), call(s), "su", "x", uint32(1)))
			s.do("b", peer.Error(s.name("a"), call(s), "com.example.Error", "s", "text"))
			s.do("b", peer.Error(s.name("a"), call(s), "com.example.Error", ""))
			s.do("b", peer.Error(s.name("a"), call(s), "org.freedesktop.DBus.Error.NoReply", "u", uint32(1)))
			s.do("b", peer.Reply(s.name("a"), call(s), "").InOrder('B'))
			s.do("b", peer.Reply(s.name("a"), call(s), "").WithFlags(peer.NoReplyExpected))
		}},
		{name: "a second answer", play: func(s *session) {
			s.connect("a", "b")
			serial := call(s)
			s.do("b", peer.Reply(s.name("a"), serial, ""))
			s.do("b", peer.Reply(s.name("a"), serial, ""))
			s.do("b", peer.Error(s.name("a"), serial, "com.example.Error", ""))
			serial = call(s)
			s.do("b", peer.Error(s.name("a"), serial, "com.example.Error", ""), peer.Reply(s.name("a"), serial, ""))
		}},
		{name: "answers that nobody asked for", play: func(s *session) {
			s.connect("a", "b", "c")
			s.do("b", peer.Reply(s.name("a"), 77, ""))
			s.do("b", peer.Error(s.name("a"), 77, "com.example.Error", "s", "text"))
			s.do("b", peer.Reply(s.name("b"), 77, ""))
			s.do("b", peer.Reply("com.example.Missing", 77, ""))
			s.do("b", peer.Error("com.example.Missing", 77, "com.example.Error", ""))
			s.do("b", peer.Reply(":1.9999", 77, ""))
			s.do("b", peer.Reply("", 77, ""))
			s.do("b", peer.Error("", 77, "com.example.Error", ""))
			serial := call(s)
			s.do("c", peer.Reply(s.name("a"), serial, "s", "not the one that was called"))
			s.do("b", peer.Reply(s.name("a"), serial+1, "s", "another serial"))
			s.do("b", peer.Reply(s.name("c"), serial, "s", "to another client"))
			s.do("b", peer.Reply(s.name("a"), serial, "s", "the right one"))
		}},
		{name: "answers to calls that expect none", play: func(s *session) {
			s.connect("a", "b")
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "").WithFlags(peer.NoReplyExpected))
			s.do("b", peer.Reply(s.name("a"), s.lastCall("b").Serial, ""))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "").WithFlags(peer.NoReplyExpected|peer.NoAutoStart))
			s.do("b", peer.Error(s.name("a"), s.lastCall("b").Serial, "com.example.Error", ""))
		}},
		{name: "an answer to a well-known name", play: func(s *session) {
			s.connect("a", "b")
			s.call("a", "RequestName", "su", someName, uint32(0))
			s.do("b", peer.Reply(someName, call(s), ""))
		}},
		{name: "a called client that leaves", play: func(s *session) {
			s.connect("a", "b", "c")
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M1", ""))
			s.do("c", peer.Call(s.name("b"), "/", "com.example.I", "M2", ""))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M3", "").WithFlags(peer.NoReplyExpected))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M4", ""))
			s.leave("b")
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M5", ""))
		}},
		{name: "a calling client that leaves", play: func(s *session) {
			s.connect("a", "b")
			serial := call(s)
			s.leave("a")
			s.do("b", peer.Reply(s.name("a"), serial, ""))
			s.do("b", peer.Error(s.name("a"), serial, "com.example.Error", ""))
		}},
		{name: "the owner of a name changes between call and answer", play: func(s *session) {
			s.connect("a", "b", "c")
			s.call("b", "RequestName", "su", someName, allowReplacement)
			s.do("a", peer.Call(someName, "/", "com.example.I", "M", ""))
			s.call("c", "RequestName", "su", someName, replaceExisting)
			serial := s.lastCall("b").Serial
			s.do("c", peer.Reply(s.name("a"), serial, ""))
			s.do("b", peer.Reply(s.name("a"), serial, ""))
		}},
		{name: "a serial used twice", play: func(s *session) {
			s.connect("a", "b")
			again := peer.Call(s.name("b"), "/", "com.example.I", "M", "")
			again.Serial = 500
			s.do("a", again)
			s.do("a", again)
			s.do("b", peer.Reply(s.name("a"), 500, ""))
			s.do("b", peer.Reply(s.name("a"), 500, ""))
			s.do("b", peer.Reply(s.name("a"), 500, ""))
		}},
		{name: "calls of oneself", play: func(s *session) {
			s.connect("a")
			s.do("a", peer.Call(s.name("a"), "/", "com.example.I", "M", ""))
			s.do("a", peer.Reply(s.name("a"), s.lastCall("a").Serial, "s", "x"))
			s.call("a", "RequestName", "su", someName, uint32(0))
			s.do("a", peer.Call(someName, "/", "com.example.I", "M", ""))
			s.do("a", peer.Error(s.name("a"), s.lastCall("a").Serial, "com.example.Error", ""))
			s.do("a", peer.Signal(s.name("a"), "/", "com.example.I", "S", ""))
		}},
	}
}

func routingScenarios() []scenario {
	return []scenario{
		{name: "calls to names that nobody has", play: func(s *session) {
			s.connect("a")
			for _, dest := range []string{"com.example.Missing", ":1.9999", ":9.1", "org.freedesktop.DBus.x"} {
				for _, flags := range []byte{0, peer.NoAutoStart, peer.NoReplyExpected, peer.NoAutoStart | peer.NoReplyExpected, 4} {
					s.do("a", peer.Call(dest, "/", "com.example.I", "M", "").WithFlags(flags))
				}
				s.do("a", peer.Call(dest, "/", "com.example.I", "M", "s", "x").InOrder('B'))
				s.do("a", peer.Signal(dest, "/", "com.example.I", "S", ""))
				s.do("a", peer.Call(dest, "/", "", "M", ""))
			}
		}},
		{name: "messages without a destination", play: func(s *session) {
			s.connect("a", "b")
			s.call("b", "AddMatch", "s", "")
			s.do("a", peer.Call("", "/", "com.example.I", "M", ""))
			s.do("a", peer.Call("", "/", "", "M", ""))
			s.do("a", peer.Call("", peer.DriverPath, peer.DriverIface, "GetId", ""))
			s.do("a", peer.Call("", "/", peer.PeerIface, "Ping", ""))
			s.do("a", peer.Call("", "/", peer.PeerIface, "Ping", "").WithFlags(peer.NoReplyExpected))
			s.do("a", peer.Call("", "/", peer.PeerIface, "GetMachineId", ""))
			s.do("a", peer.Call("", "/", peer.PeerIface, "NoSuchMethod", ""))
			s.do("a", peer.Call("", "/", peer.IntrospectFace, "Introspect", ""))
			s.do("a", peer.Call("", "/", "com.example.I", "M", "").WithFlags(peer.NoReplyExpected))
		}},
		{name: "calls with every flag", play: func(s *session) {
			s.connect("a", "b")
			for _, flags := range []byte{1, 2, 3, 4, 7, 8, 0x80, 0xff} {
				s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "").WithFlags(flags))
				s.do("b", peer.Reply(s.name("a"), s.lastCall("b").Serial, ""))
			}
		}},
		{name: "signals to one client", play: func(s *session) {
			s.connect("a", "b", "c")
			s.call("c", "AddMatch", "s", "interface='com.example.I'")
			s.call("b", "RequestName", "su", someName, uint32(0))
			s.do("a", peer.Signal(s.name("b"), "/", "com.example.I", "S", "s", "x"))
			s.do("a", peer.Signal(someName, "/", "com.example.I", "S", "s", "x"))
			s.do("a", peer.Signal(s.name("c"), "/", "com.example.I", "S", "s", "x"))
			s.do("a", peer.Signal(someName, "/", "com.example.I", "S", "s", "x").WithFlags(peer.NoAutoStart))
		}},
		{name: "the sender cannot be forged", play: func(s *session) {
			s.connect("a", "b")
			for _, forged := range []string{s.name("b"), peer.DriverName, "com.example.Forged"} {
				s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "").With(peer.FieldSender, "s", forged))
			}
			s.call("b", "AddMatch", "s", "interface='com.example.I'")
			s.do("a", peer.Signal("", "/", "com.example.I", "S", "").With(peer.FieldSender, "s", s.name("b")))
			s.do("a", peer.DriverCall("GetId", "").With(peer.FieldSender, "s", s.name("b")))
		}},
		{name: "big-endian messages keep their byte order and their values", play: func(s *session) {
			s.connect("a", "b")
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "ynqiuxtdsogbav(yx)a{sv}",
				byte(1), int16(-2), uint16(3), int32(-4), uint32(5), int64(-6), uint64(7), 8.5, "nine", "/ten", "as", true,
				[]any{peer.Variant{Sig: "u", Value: uint32(11)}}, []any{byte(12), int64(13)},
				[]any{peer.Entry{Key: "fourteen", Value: peer.Variant{Sig: "ai", Value: []any{int32(15)}}}}).InOrder('B'))
			s.do("b", peer.Reply(s.name("a"), s.lastCall("b").Serial, "v", peer.Variant{Sig: "x", Value: int64(1)}).InOrder('B'))
		}},
		{name: "a monitor is no hindrance to answers", play: func(s *session) {
			s.connect("a", "b", "m")
			s.becomeMonitor("m", "type='method_return'")
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", ""))
			s.do("b", peer.Reply(s.name("a"), s.lastCall("b").Serial, ""))
			s.leave("b")
		}},
		{name: "many messages in one write are handled in order", play: func(s *session) {
			s.connect("a", "b")
			s.do("a", peer.DriverCall("RequestName", "su", someName, uint32(0)),
				peer.Call(s.name("b"), "/", "com.example.I", "M1", ""),
				peer.DriverCall("ReleaseName", "s", someName),
				peer.Call(s.name("b"), "/", "com.example.I", "M2", ""),
				peer.Call("com.example.Missing", "/", "com.example.I", "M", ""),
				peer.DriverCall("GetNameOwner", "s", someName))
		}},
	}
}

func descriptorScenarios() []scenario {
	file := func(s *session) int {
		f, err := os.Open("/dev/null")
		s.must(err)
		s.tb.Cleanup(func() { f.Close() })
		return int(f.Fd())
	}
	return []scenario{
		{name: "file descriptors", play: func(s *session) {
			s.connect("a", "b")
			fd := file(s)
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "h", uint32(0)).WithFDs(fd))
			s.do("b", peer.Reply(s.name("a"), s.lastCall("b").Serial, "hh", uint32(1), uint32(0)).WithFDs(fd, fd))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "").WithFDs(fd))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "h", uint32(7)).WithFDs(fd))
			s.call("b", "AddMatch", "s", "interface='com.example.I'")
			s.do("a", peer.Signal("", "/", "com.example.I", "S", "h", uint32(0)).WithFDs(fd))
			s.do("a", peer.Call("com.example.Missing", "/", "com.example.I", "M", "h", uint32(0)).WithFDs(fd))
			s.do("a", peer.DriverCall("GetId", "").WithFDs(fd))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "").With(peer.FieldUnixFDs, "u", uint32(0)))
		}},
		{name: "file descriptors for a client that cannot take them", play: func(s *session) {
			s.connect("a")
			s.connectWithoutFDs("b")
			fd := file(s)
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "h", uint32(0)).WithFDs(fd))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "h", uint32(0)).WithFDs(fd).WithFlags(peer.NoReplyExpected))
			s.do("a", peer.Signal(s.name("b"), "/", "com.example.I", "S", "h", uint32(0)).WithFDs(fd))
			s.call("b", "AddMatch", "s", "interface='com.example.I'")
			s.do("a", peer.Signal("", "/", "com.example.I", "S", "h", uint32(0)).WithFDs(fd))
			s.do("b", peer.Call(s.name("a"), "/", "com.example.I", "M", ""))
			s.do("a", peer.Reply(s.name("b"), s.lastCall("a").Serial, "h", uint32(0)).WithFDs(fd))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "").With(peer.FieldUnixFDs, "u", uint32(0)))
		}},
		{name: "a client without agreement sends file descriptors", play: func(s *session) {
			s.connect("a")
			s.connectWithoutFDs("b")
			s.do("b", peer.Call(s.name("a"), "/", "com.example.I", "M", "h", uint32(0)).WithFDs(file(s)))
			s.call("a", "GetId", "")
		}},
		{name: "fewer file descriptors than announced", play: func(s *session) {
			s.connect("a", "b")
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "h", uint32(0)).With(peer.FieldUnixFDs, "u", uint32(1)))
			s.call("b", "GetId", "")
		}},
		{name: "more file descriptors than announced", play: func(s *session) {
			s.connect("a", "b")
			fd := file(s)
			m := peer.Call(s.name("b"), "/", "com.example.I", "M", "h", uint32(0)).With(peer.FieldUnixFDs, "u", uint32(1))
			m.FDs = []int{fd, fd, fd}
			s.do("a", m)
			s.call("b", "GetId", "")
		}},
		{name: "sixteen file descriptors, and seventeen", play: func(s *session) {
			s.connect("a", "b")
			fd := file(s)
			fds := make([]int, 17)
			for i := range fds {
				fds[i] = fd
			}
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "h", uint32(15)).WithFDs(fds[:16]...))
			s.do("a", peer.Call(s.name("b"), "/", "com.example.I", "M", "h", uint32(16)).WithFDs(fds...))
			s.call("b", "GetId", "")
		}},
	}
}
