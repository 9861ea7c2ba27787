//go:build conformance

package sandbox

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// What portals and others depend on, and is not to be left to chance.
func TestWhatProgramsDependOnIsAsWithXDGDBusProxy(t *testing.T) {
	bus := testbus.StartKind(t, testbus.KDBus, testbus.Options{})
	for _, test := range []struct {
		name    string
		flags   []string
		actions []action
	}{
		{"a signal to the one inside, of a stranger", nil, []action{sending("one", "@in", "/o", "i.A", "M", 0, true)}},
		{"a signal to the one inside, of who may be called", []string{"--call=a.b=*"}, []action{sending("one", "@in", "/o", "i.A", "M", 0, true)}},
		{"a signal from inside that a rule describes", []string{"--call=a.b=i.A.*"}, []action{sending("in", "a.b", "/o", "i.A", "M", 0, true)}},
		{"a call of a stranger, who is then known", nil, []action{sending("one", "@in", "/o", "i.A", "M", 0, false), asking("GetNameOwner", "@one")}},
		{"starting what only rules are about", []string{"--broadcast=no.body=*"}, []action{asking("StartServiceByName", "no.body")}},
		{"a subtree and its top", []string{"--talk=a.b.*"}, []action{sending("in", "a.b", "/o", "i.A", "M", 0, false), sending("in", "a.b.c", "/o", "i.A", "M", 0, false)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, d := range differences(t, bus, test.flags, test.actions, make(map[string]int)) {
				t.Errorf("%s (- xdg-dbus-proxy, + kdbus sandbox):\n%s", d.action.title, cmp.Diff(d.want, d.got))
			}
		})
	}
}
