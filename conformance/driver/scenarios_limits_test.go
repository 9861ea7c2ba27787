//go:build conformance

package driver

import (
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// limitScenarios goes up to the limits for a connection, and beyond.
func limitScenarios() []scenario {
	all := []scenario{
		{name: "as many names as there may be", play: func(s *session) {
			s.connect("a", "b")
			s.repeat("a", s.most-1, func(i int) *peer.Message { // the unique name counts
				return peer.DriverCall("RequestName", "su", fmt.Sprintf("com.example.N%d", i), uint32(0))
			})
			s.call("a", "RequestName", "su", someName, uint32(0))
			s.call("b", "RequestName", "su", someName, uint32(0))
			s.call("a", "RequestName", "su", "com.example.N0", uint32(0))
			s.call("a", "ReleaseName", "s", "com.example.N0")
			s.call("a", "RequestName", "su", someName, uint32(0))
			s.leave("a")
			s.call("b", "NameHasOwner", "s", "com.example.N1")
		}},
		{name: "as many match rules as there may be", play: func(s *session) {
			s.connect("a")
			rule := func(i int) string { return fmt.Sprintf("arg0='%d'", i) }
			s.repeat("a", s.most, func(i int) *peer.Message { return peer.DriverCall("AddMatch", "s", rule(i)) })
			s.call("a", "AddMatch", "s", "member='M'")
			s.call("a", "RemoveMatch", "s", rule(0))
			s.call("a", "AddMatch", "s", "member='M'")
			s.call("a", "AddMatch", "s", "member='N'")
			s.do("a", peer.Signal("", "/", "com.example.I", "M", ""))
		}},
		{name: "as many waiting calls as there may be", play: func(s *session) {
			s.connect("a", "b", "c")
			call := func() *peer.Message { return peer.Call(s.name("b"), "/", "com.example.I", "M", "") }
			s.repeat("a", s.most, func(int) *peer.Message { return call() })
			s.do("a", call())
			s.do("a", peer.Call(s.name("c"), "/", "com.example.I", "M", ""))
			s.do("a", call().WithFlags(peer.NoReplyExpected))
			s.do("c", call())
			s.do("b", peer.Reply(s.name("a"), repeatSerial, ""))
			s.do("a", call())
		}},
		{name: "long match rules", play: func(s *session) {
			s.connect("a")
			for _, n := range []int{1024, 1025, 10_000} {
				s.as("a rule of %d bytes", n).call("a", "AddMatch", "s", "arg0='"+strings.Repeat("x", n-7)+"'")
			}
		}},
	}
	for i := range all {
		all[i].fills = true
	}
	return all
}
