package daemon_test

import (
	"fmt"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/wire"
)

// A native client gets signals for itself alone if it has subscribed to them, whether by kdbus's
// matches or by a rule of D-Bus.
func TestSignalToOneWithARule(t *testing.T) {
	for _, w := range worlds {
		t.Run(w.name+" sender", func(t *testing.T) {
			addr, path := startBus(t, daemon.Config{})
			c := dialNative(t, path, abi.Hello{})
			rule := abi.MatchAdd{Cookie: 1, Rules: []abi.MatchRule{{Type: abi.ItemMatchRule, Name: "member='Wanted',arg0='this'"}}}
			if _, err := c.Do(&rule); err != nil {
				t.Fatal(err)
			}
			sender := w.dial(t, addr)
			for _, s := range []struct{ member, arg string }{{"Unwanted", "this"}, {"Wanted", "other"}, {"Wanted", "this"}} {
				if err := sender.EmitTo(t.Context(), fmt.Sprintf(":1.%d", c.ID), kdbus.ObjectPath("/a"), "com.example.Service."+s.member, s.arg); err != nil {
					t.Fatal(err)
				}
			}
			for last := false; !last; {
				m, err := c.Recv()
				if err != nil {
					t.Fatal(err)
				}
				content, err := m.Content()
				if err != nil {
					t.Fatal(err)
				}
				var h wire.Header
				at, err := h.Parse(content)
				if err != nil {
					t.Fatal(err)
				}
				var arg string
				if err := wire.Decode(h.Order, h.Signature, content[at:], &arg); err != nil {
					t.Fatal(err)
				}
				last = h.Member == "Wanted" && arg == "this"
				// D-Bus 1 does not tell a signal to one from a message that must not be lost.
				if w.native && !last {
					t.Errorf("%s of %s came", h.Member, arg)
				}
			}
		})
	}
}
