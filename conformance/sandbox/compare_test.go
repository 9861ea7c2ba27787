//go:build conformance

package sandbox

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// play does what actions say, and returns what has arrived after each, and what arrives when it is sent
// to the owner of a name.
func play(t testing.TB, bus *testbus.Bus, through gate, actions []action) (arrived, byOwner [][]string) {
	t.Helper()
	w := newWorld(t, bus, through)
	defer w.close()
	arrived, byOwner = make([][]string, len(actions)), make([][]string, len(actions))
	for i, a := range actions {
		a.do(w)
		arrived[i] = w.take()
		if a.byOwner == nil {
			continue
		}
		a.byOwner(w)
		byOwner[i] = w.take()
		for j, line := range byOwner[i] {
			byOwner[i][j] = toOwner.ReplaceAllString(line, " from=@in to="+a.to+" ")
		}
	}
	return arrived, byOwner
}

// toOwner is what is otherwise in messages to the unique name of an owner.
var toOwner = regexp.MustCompile(` from=@in to=@[a-z]+ `)

// differences plays actions through both gates, and returns what differs, except for deviations, which it counts.
func differences(t testing.TB, bus *testbus.Bus, flags []string, actions []action, deviated map[string]int) []difference {
	t.Helper()
	theirs, ours := openProxy(t, bus, flags), openSandbox(t, bus, flags)
	defer theirs.close()
	defer ours.close()
	want, wantByOwner := play(t, bus, theirs, actions)
	got, _ := play(t, bus, ours, actions)
	var found []difference
	released := make(map[string]bool)
	for i, a := range actions {
		if a.releases != "" {
			released[a.releases] = true
		}
		d := difference{a, want[i], got[i], wantByOwner[i], released}
		if slices.Equal(d.want, d.got) {
			continue
		}
		if name, ok := d.deviation(); ok {
			deviated[name]++
			continue
		}
		found = append(found, d)
	}
	return found
}

func TestFlagsMeanWhatTheyMeanToXDGDBusProxy(t *testing.T) {
	bus := testbus.StartKind(t, testbus.KDBus, testbus.Options{})
	rapid.Check(t, func(r *rapid.T) {
		flags := drawFlags(r)
		actions := rapid.SliceOfN(rapid.Custom(drawAction), 1, 25).Draw(r, "actions")
		for _, d := range differences(t, bus, flags, actions, make(map[string]int)) {
			r.Errorf("%s\n%s (- xdg-dbus-proxy, + kdbus sandbox):\n%s", strings.Join(flags, " "), d.action.title, cmp.Diff(d.want, d.got))
		}
	})
}

// An exception that is none any more would hide something else.
func TestDeviationsAreStillThere(t *testing.T) {
	bus := testbus.StartKind(t, testbus.KDBus, testbus.Options{})
	for _, d := range deviations {
		t.Run(d.name, func(t *testing.T) {
			deviated := make(map[string]int)
			for _, d := range differences(t, bus, d.flags, d.actions, deviated) {
				t.Errorf("%s (- xdg-dbus-proxy, + kdbus sandbox):\n%s", d.action.title, cmp.Diff(d.want, d.got))
			}
			if deviated[d.name] == 0 {
				t.Errorf("it is gone, and may be removed here and from docs/sandbox.md; seen: %v", deviated)
			}
		})
	}
}
