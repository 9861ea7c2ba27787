//go:build conformance

package driver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

func protocolScenarios() []scenario {
	before := map[string]func(s *session) *peer.Message{
		"GetId":             func(*session) *peer.Message { return peer.DriverCall("GetId", "") },
		"AddMatch":          func(*session) *peer.Message { return peer.DriverCall("AddMatch", "s", "") },
		"RequestName":       func(*session) *peer.Message { return peer.DriverCall("RequestName", "su", someName, uint32(0)) },
		"Ping":              func(*session) *peer.Message { return peer.Call(peer.DriverName, "/", peer.PeerIface, "Ping", "") },
		"an unknown method": func(*session) *peer.Message { return peer.DriverCall("NoSuchMethod", "") },
		"a call of a peer":  func(s *session) *peer.Message { return peer.Call(s.name("a"), "/", "com.example.I", "M", "") },
		"a signal":          func(*session) *peer.Message { return peer.Signal("", "/", "com.example.I", "S", "") },
		"a reply":           func(s *session) *peer.Message { return peer.Reply(s.name("a"), 1, "") },
		"Hello of another": func(s *session) *peer.Message {
			return peer.Call(s.name("a"), peer.DriverPath, peer.DriverIface, "Hello", "")
		},
		"Hello with an argument":  func(*session) *peer.Message { return peer.DriverCall("Hello", "s", "x") },
		"no destination":          func(*session) *peer.Message { return peer.Call("", "/", peer.PeerIface, "Ping", "") },
		"Hello without interface": func(*session) *peer.Message { return peer.Call(peer.DriverName, peer.DriverPath, "", "Hello", "") },
		"Hello of another object": func(*session) *peer.Message { return peer.Call(peer.DriverName, "/x", peer.DriverIface, "Hello", "") },
		"Hello of another interface": func(*session) *peer.Message {
			return peer.Call(peer.DriverName, peer.DriverPath, "com.example.I", "Hello", "")
		},
		"Hello without reply": func(*session) *peer.Message {
			return peer.DriverCall("Hello", "").WithFlags(peer.NoReplyExpected)
		},
	}
	var all []scenario
	for _, what := range slices.Sorted(mapKeys(before)) {
		all = append(all, scenario{name: "before Hello: " + what, play: func(s *session) {
			s.connect("a")
			s.call("a", "AddMatch", "s", "")
			s.dial("b")
			s.as("%s", what).do("b", before[what](s))
		}})
	}
	return append(all,
		scenario{name: "Hello twice", play: func(s *session) {
			s.connect("a")
			s.call("a", "Hello", "")
			s.call("a", "Hello", "")
			s.call("a", "GetId", "")
		}},
		scenario{name: "Hello and more in one write", play: func(s *session) {
			s.connect("a")
			s.dial("b")
			s.do("b", peer.DriverCall("Hello", ""), peer.DriverCall("RequestName", "su", someName, uint32(0)),
				peer.DriverCall("GetNameOwner", "s", someName), peer.Call(s.name("a"), "/", "com.example.I", "M", ""))
		}},
		scenario{name: "unique names count up", play: func(s *session) {
			s.connect("a", "b")
			s.leave("b")
			s.connect("c")
			s.anyOrder().call("a", "ListNames", "")
		}},
	)
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// headerScenarios sends messages that a bus may refuse or must ignore, each from a client of its
// own, to another that watches.
func headerScenarios() []scenario {
	call := func(s *session) *peer.Message { return peer.Call(s.name("b"), "/a", "com.example.I", "M", "s", "x") }
	typed := func(t byte) func(*session) *peer.Message {
		return func(s *session) *peer.Message { m := call(s); m.Type = t; return m }
	}
	with := func(code byte, sig string, v any) func(*session) *peer.Message {
		return func(s *session) *peer.Message { return call(s).Without(code).With(code, sig, v) }
	}
	cases := []struct {
		about string
		make  func(*session) *peer.Message
	}{
		{"type 0", typed(0)},
		{"type 5", typed(5)},
		{"type 200", typed(200)},
		{"type 255", typed(255)},
		{"type 5 to the bus", func(s *session) *peer.Message { m := peer.DriverCall("GetId", ""); m.Type = 5; return m }},
		{"type 5 without destination", func(s *session) *peer.Message { m := call(s).Without(peer.FieldDestination); m.Type = 5; return m }},
		{"version 2", func(s *session) *peer.Message { m := call(s); m.Version = 2; return m }},
		{"serial 0", func(s *session) *peer.Message { m := call(s); m.KeepSerial = true; return m }},
		{"no path", func(s *session) *peer.Message { return call(s).Without(peer.FieldPath) }},
		{"no interface", func(s *session) *peer.Message { return call(s).Without(peer.FieldInterface) }},
		{"no member", func(s *session) *peer.Message { return call(s).Without(peer.FieldMember) }},
		{"signal without interface", func(s *session) *peer.Message { m := call(s).Without(peer.FieldInterface); m.Type = 4; return m }},
		{"signal without path", func(s *session) *peer.Message { m := call(s).Without(peer.FieldPath); m.Type = 4; return m }},
		{"signal without member", func(s *session) *peer.Message { m := call(s).Without(peer.FieldMember); m.Type = 4; return m }},
		{"reply without reply serial", func(s *session) *peer.Message { return peer.Reply(s.name("b"), 1, "").Without(peer.FieldReplySerial) }},
		{"error without name", func(s *session) *peer.Message {
			return peer.Error(s.name("b"), 1, "com.example.E", "").Without(peer.FieldErrorName)
		}},
		{"reply serial 0", func(s *session) *peer.Message { return peer.Reply(s.name("b"), 0, "") }},
		{"a reply serial on a call", with(peer.FieldReplySerial, "u", uint32(9))},
		{"an error name on a call", with(peer.FieldErrorName, "s", "com.example.Error")},
		{"field 12", with(12, "s", "unknown")},
		{"field 11 of another type", with(11, "a{sv}", []any{peer.Entry{Key: "k", Value: peer.Variant{Sig: "u", Value: uint32(1)}}})},
		{"field 200", with(200, "v", peer.Variant{Sig: "s", Value: "x"})},
		{"field 255", with(255, "ay", []byte("x"))},
		{"field 0", with(0, "s", "x")},
		{"two unknown fields of one code", func(s *session) *peer.Message { return call(s).With(77, "s", "x").With(77, "u", uint32(1)) }},
		{"the same field twice", func(s *session) *peer.Message { return call(s).With(peer.FieldMember, "s", "N") }},
		{"the same field twice, the same value", func(s *session) *peer.Message { return call(s).With(peer.FieldMember, "s", "M") }},
		{"path of the wrong type", with(peer.FieldPath, "s", "/a")},
		{"interface of the wrong type", with(peer.FieldInterface, "o", "/a")},
		{"reply serial of the wrong type", with(peer.FieldReplySerial, "s", "9")},
		{"signature of the wrong type", with(peer.FieldSignature, "s", "s")},
		{"bad path", with(peer.FieldPath, "o", "a")},
		{"path with a slash at its end", with(peer.FieldPath, "o", "/a/")},
		{"empty path", with(peer.FieldPath, "o", "")},
		{"long path", with(peer.FieldPath, "o", "/"+strings.Repeat("a", 2000))},
		{"local path", with(peer.FieldPath, "o", "/org/freedesktop/DBus/Local")},
		{"local interface", with(peer.FieldInterface, "s", "org.freedesktop.DBus.Local")},
		{"local path signal", func(s *session) *peer.Message {
			return peer.Signal("", "/org/freedesktop/DBus/Local", "com.example.I", "S", "")
		}},
		{"local interface signal", func(s *session) *peer.Message {
			return peer.Signal("", "/", "org.freedesktop.DBus.Local", "Disconnected", "")
		}},
		{"the bus's interface in a broadcast", func(s *session) *peer.Message {
			return peer.Signal("", peer.DriverPath, peer.DriverIface, "NameOwnerChanged", "sss", "a.b", "", ":1.7")
		}},
		{"interface without a dot", with(peer.FieldInterface, "s", "example")},
		{"interface with an empty element", with(peer.FieldInterface, "s", "com..example")},
		{"interface of 255 bytes", with(peer.FieldInterface, "s", "a."+strings.Repeat("b", 253))},
		{"interface of 256 bytes", with(peer.FieldInterface, "s", "a."+strings.Repeat("b", 254))},
		{"interface with a hyphen", with(peer.FieldInterface, "s", "com.exam-ple")},
		{"empty member", with(peer.FieldMember, "s", "")},
		{"member with a dot", with(peer.FieldMember, "s", "a.b")},
		{"member that begins with a digit", with(peer.FieldMember, "s", "1a")},
		{"member of 255 bytes", with(peer.FieldMember, "s", strings.Repeat("m", 255))},
		{"member of 256 bytes", with(peer.FieldMember, "s", strings.Repeat("m", 256))},
		{"destination that is no name", with(peer.FieldDestination, "s", "noname")},
		{"empty destination", with(peer.FieldDestination, "s", "")},
		{"destination of 256 bytes", with(peer.FieldDestination, "s", "a."+strings.Repeat("b", 254))},
		{"destination with a hyphen", with(peer.FieldDestination, "s", "com.exam-ple")},
		{"sender that is no name", with(peer.FieldSender, "s", "noname")},
		{"error name without a dot", func(s *session) *peer.Message { return peer.Error(s.name("b"), 1, "error", "") }},
		{"bad signature", func(s *session) *peer.Message {
			m := with(peer.FieldSignature, "g", "(")(s)
			m.BodySig = "s"
			return m
		}},
		{"signature without its body", func(s *session) *peer.Message { m := call(s); m.Body = nil; return m }},
		{"a signature shorter than the body", func(s *session) *peer.Message {
			m := with(peer.FieldSignature, "g", "s")(s)
			m.BodySig = "su"
			m.Body = []any{"x", uint32(1)}
			return m
		}},
		{"a body without its signature", func(s *session) *peer.Message { m := call(s).Without(peer.FieldSignature); m.BodySig = "s"; return m }},
		{"boolean 2", func(s *session) *peer.Message {
			return peer.Call(s.name("b"), "/", "com.example.I", "M", "b", uint32(2))
		}},
		{"string that is not UTF-8", func(s *session) *peer.Message {
			return peer.Call(s.name("b"), "/", "com.example.I", "M", "s", "\xff")
		}},
		{"string with a NUL", func(s *session) *peer.Message {
			return peer.Call(s.name("b"), "/", "com.example.I", "M", "s", "a\x00b")
		}},
		{"bad path in the body", func(s *session) *peer.Message { return peer.Call(s.name("b"), "/", "com.example.I", "M", "o", "a//b") }},
		{"bad signature in the body", func(s *session) *peer.Message { return peer.Call(s.name("b"), "/", "com.example.I", "M", "g", "a") }},
		{"noncharacters in a string", func(s *session) *peer.Message {
			return peer.Call(s.name("b"), "/", "com.example.I", "M", "s", "\ufdd0\ufffe\U0010ffff")
		}},
		{"surrogates in a string", func(s *session) *peer.Message {
			return peer.Call(s.name("b"), "/", "com.example.I", "M", "s", "\xed\xa0\x80")
		}},
		{"an unknown byte order", func(s *session) *peer.Message { m := call(s); m.Order = 'x'; return m }},
		{"32 nested arrays", func(s *session) *peer.Message { return nested(s, 32, 0) }},
		{"33 nested arrays", func(s *session) *peer.Message { return nested(s, 33, 0) }},
		{"32 nested structs", func(s *session) *peer.Message { return nested(s, 0, 32) }},
		{"33 nested structs", func(s *session) *peer.Message { return nested(s, 0, 33) }},
		{"32 structs within 32 arrays", func(s *session) *peer.Message { return nested(s, 32, 32) }},
		{"60 nested variants", func(s *session) *peer.Message { return nestedVariants(s, 60) }},
		{"64 nested variants", func(s *session) *peer.Message { return nestedVariants(s, 64) }},
		{"65 nested variants", func(s *session) *peer.Message { return nestedVariants(s, 65) }},
		{"70 nested variants", func(s *session) *peer.Message { return nestedVariants(s, 70) }},
	}
	var all []scenario
	for _, c := range cases {
		for _, order := range []byte{'l', 'B'} {
			all = append(all, scenario{name: fmt.Sprintf("header %c: %s", order, c.about), play: func(s *session) {
				s.connect("a", "b")
				s.call("b", "AddMatch", "s", "")
				m := c.make(s)
				if m.Order == 0 {
					m.Order = order
				}
				s.as("%s", c.about).do("a", m)
			}})
		}
	}
	return append(all, scenario{name: "bytes that are not a message", play: func(s *session) {
		s.connect("a", "b")
		s.raw("a", []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"))
		s.call("b", "GetId", "")
	}}, scenario{name: "padding that is not zero", play: func(s *session) {
		s.connect("a", "b")
		data := peer.Call(s.name("b"), "/a", "com.example.I", "M", "yu", byte(1), uint32(2)).Encode()
		data[8] = 50
		data[len(data)-5] = 1
		s.raw("a", data)
	}}, scenario{name: "padding of the header that is not zero", play: func(s *session) {
		s.connect("a", "b")
		m := peer.Call(s.name("b"), "/a", "com.example.I", "M", "")
		m.Serial = 50
		for len(m.Encode()) > 0 && !strings.HasSuffix(string(m.Encode()), "\x00\x00\x00") {
			m = m.Without(peer.FieldMember).With(peer.FieldMember, "s", m.Text(peer.FieldMember)+"M")
		}
		data := m.Encode()
		data[len(data)-1] = 1
		s.raw("a", data)
	}})
}

func nested(s *session, arrays, structs int) *peer.Message {
	sig := strings.Repeat("a", arrays) + strings.Repeat("(", structs) + "y" + strings.Repeat(")", structs)
	var v any = byte(1)
	for range structs {
		v = []any{v}
	}
	for i := range arrays {
		if b, ok := v.(byte); ok && i == 0 {
			v = []byte{b}
		} else {
			v = []any{v}
		}
	}
	return peer.Call(s.name("b"), "/", "com.example.I", "M", sig, v)
}

func nestedVariants(s *session, depth int) *peer.Message {
	v := peer.Variant{Sig: "y", Value: byte(1)}
	for range depth - 1 {
		v = peer.Variant{Sig: "v", Value: v}
	}
	return peer.Call(s.name("b"), "/", "com.example.I", "M", "v", v)
}
