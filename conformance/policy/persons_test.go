//go:build conformance

package policy

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/conformance/internal/account"
	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// persons are users who try to connect.
var persons = []string{"root", "daemon", "nobody", "sys"}

// connectRules are what files say about who may connect.
var connectRules = []string{
	`<allow user="*"/>`, `<deny user="*"/>`, `<allow user="root"/>`, `<deny user="root"/>`, `<allow user="daemon"/>`, `<deny user="daemon"/>`,
	`<allow user="nobody"/>`, `<deny user="65534"/>`, `<allow group="*"/>`, `<deny group="*"/>`, `<allow group="daemon"/>`, `<deny group="nogroup"/>`,
	`<deny group="sys"/>`, `<allow group="0"/>`,
}

func TestTheSamePersonsMayConnect(t *testing.T) {
	worlds := worldsOf(t, nil)[:2] // who may connect has nothing to do with what the client speaks then
	accounts := map[string]account.Account{}
	for _, name := range persons {
		accounts[name] = account.Lookup(t, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for _, context := range []string{"default", "mandatory"} {
			for _, rule := range rapid.SliceOfN(rapid.SampledFrom(connectRules), 0, 4).Draw(t, context) {
				fmt.Fprintf(&b, "<policy context=%q>%s</policy>\n", context, rule)
			}
		}
		policy := b.String() + everythingElse + essential
		if !ruled(t, worlds, policy) {
			return
		}
		for _, name := range persons {
			compare(t, worlds, name+" connects\n"+policy, func(w *world) string {
				connected := "refused"
				err := accounts[name].Do(func() error {
					c, err := peer.Connect(w.bus.Address)
					if err != nil {
						return nil // a bus ends the connection in the way it likes
					}
					connected = "connected"
					return c.Close()
				})
				if err != nil {
					t.Fatalf("%v", err)
				}
				return connected
			})
		}
	})
}

func TestOnlyThePrivilegedEavesdrop(t *testing.T) {
	worlds := worldsOf(t, []role{{label: "r", user: "root", dbus1: true}, {label: "n", user: "nobody", dbus1: true}})
	for _, label := range []string{"r", "n"} {
		compare(t, worlds, label+" eavesdrops", func(w *world) string {
			err := failed(w.members[label].(dbus1Member).Call(peer.DriverCall("AddMatch", "s", "eavesdrop='true'")))
			return w.normal(fmt.Sprint(err))
		})
	}
}

// everythingElse is allowed to those who are connected.
const everythingElse = `<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/></policy>`
