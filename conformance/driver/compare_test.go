//go:build conformance

package driver

import (
	"flag"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// scenario is a named script. It must do the same whatever the bus answers.
type scenario struct {
	name string
	play func(*session)

	// eavesdrops says that the scenario needs a dbus-daemon that lets eavesdroppers see answers. It
	// then also delivers answers that nobody asked for.
	eavesdrops bool
	// fills says that the scenario goes up to a limit: dbus-daemon gets a lower one, because it
	// becomes slow.
	fills bool
}

// fewPerConnection is the limit for scenarios that go up to it, on dbus-daemon.
const fewPerConnection = 500

var transcripts = flag.Bool("transcripts", false, "log everything that dbus-daemon answers")

// TestSameAsDBusDaemon plays every scenario against dbus-daemon and against the bus under test.
func TestSameAsDBusDaemon(t *testing.T) {
	var exchanges atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d exchanges compared", exchanges.Load())
		if testbus.UnderTest() == testbus.KDBus && !t.Failed() && flag.Lookup("test.run").Value.String() == "" {
			requireAllApplied(t)
		}
	})
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			var want, got *session
			if !t.Run("dbus-daemon", func(t *testing.T) { want = play(t, sc, testbus.DBusDaemon) }) {
				t.Fatal("the scenario does not run on dbus-daemon, there is nothing to compare with")
			}
			if !t.Run("under-test", func(t *testing.T) { got = play(t, sc, testbus.UnderTest()) }) {
				t.FailNow()
			}
			exchanges.Add(int64(len(want.steps)))
			for i := 0; *transcripts && i < len(want.steps); i++ {
				t.Logf("%s\n  %s", want.steps[i].label, list(want.steps[i].lines))
			}
			compare(t, sc.name, want.steps, got.steps)
		})
	}
}

func play(t *testing.T, sc scenario, kind testbus.Kind) *session {
	opts, most := testbus.Options{StrictReplies: !sc.eavesdrops}, testbus.PerConnection
	if sc.fills && kind == testbus.DBusDaemon {
		opts.PerConnection, most = fewPerConnection, fewPerConnection
	}
	s := newSession(t, kind, opts)
	s.most = most
	sc.play(s)
	return s
}

func compare(t *testing.T, name string, want, got []step) {
	for i, w := range want {
		if i >= len(got) {
			t.Errorf("step %q was not reached", w.label)
			continue
		}
		if got[i].label != w.label {
			t.Errorf("step %d is %q on dbus-daemon and %q here", i+1, w.label, got[i].label)
			continue
		}
		expected, received := w.lines, got[i].lines
		if testbus.UnderTest() == testbus.KDBus {
			expected, received = rewrite(name, expected, testbus.DBusDaemon), rewrite(name, received, testbus.KDBus)
		}
		if !slices.Equal(expected, received) {
			t.Errorf("step %d: %s\n  expected %s\n  got      %s", i+1, w.label, list(expected), list(received))
		}
	}
}

func list(lines []string) string {
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines, "\n           ")
}
