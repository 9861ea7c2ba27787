//go:build conformance

package driver

import (
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// deviation is a difference from dbus-daemon that is on purpose. In the scenarios it is about, what
// either bus answers is rewritten before it is compared: theirs matches lines of dbus-daemon's
// transcript, ours lines of the other's, and both become common, in which $1 and so on stand for
// groups. Without common the lines are dropped.
type deviation struct {
	scenario *regexp.Regexp // nil means all
	reason   string
	theirs   *regexp.Regexp // nil means that dbus-daemon sends nothing there
	ours     *regexp.Regexp // nil means that this bus sends nothing there
	common   string
	anyOrder bool // the lines of a step that theirs or ours match may come in any order
}

// applied remembers which deviations were of use: one that no longer is has to go.
var applied struct {
	sync.Mutex
	theirs, ours map[int]bool
}

// rewrite applies the deviations to the lines of one step.
func rewrite(scenario string, lines []string, kind testbus.Kind) []string {
	for i, d := range deviations {
		pattern, used := d.ours, &applied.ours
		if kind == testbus.DBusDaemon {
			pattern, used = d.theirs, &applied.theirs
		}
		if pattern == nil || d.scenario != nil && !d.scenario.MatchString(scenario) {
			continue
		}
		var out, moved []string
		for _, line := range lines {
			matches := pattern.MatchString(line)
			if matches {
				applied.Lock()
				if *used == nil {
					*used = map[int]bool{}
				}
				(*used)[i] = true
				applied.Unlock()
			}
			switch {
			case matches && d.anyOrder:
				moved = append(moved, line)
			case matches && d.common == "":
			case matches:
				out = append(out, pattern.ReplaceAllString(line, d.common))
			default:
				out = append(out, line)
			}
		}
		slices.Sort(moved)
		lines = append(out, moved...)
	}
	return lines
}

// requireAllApplied fails for deviations that nothing needed.
func requireAllApplied(t *testing.T) {
	for i, d := range deviations {
		if d.theirs != nil && !applied.theirs[i] || d.ours != nil && !applied.ours[i] {
			t.Errorf("nothing differs any more in this respect, remove the deviation: %s", d.reason)
		}
	}
}
