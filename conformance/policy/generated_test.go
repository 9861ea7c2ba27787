//go:build conformance

package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// generatedRoles are few users, with names that are alike, one of which somebody waits for.
var generatedRoles = []role{
	{label: "a", user: "root", names: []string{"a.b.c.d"}, matches: []string{"type='signal'"}},
	{label: "b", user: "root", names: []string{"a.b", "a.b.c", "x.y"}, matches: []string{"type='signal'"}},
	{label: "c", user: "daemon", names: []string{"a.bc", "a.b"}, matches: []string{"type='signal'"}},
	{label: "d", user: "nobody", matches: []string{"type='signal'"}, dbus1: true},
	{label: "e", user: "root", matches: []string{"eavesdrop=true"}, dbus1: true},
}

// worldsOf opens one of dbus-daemon, and ones under test: with peers of D-Bus 1 only, with native ones where
// there can be, and with both mixed in two ways.
func worldsOf(t *testing.T, roles []role) []*world {
	t.Helper()
	either := func(labels string) protocols {
		return func(r role) bool { return strings.Contains(labels, r.label) }
	}
	worlds := []*world{open(t, "dbus-daemon", testbus.DBusDaemon, roles, either(""))}
	if testbus.UnderTest() == testbus.DBusDaemon {
		return append(worlds, open(t, "under test", testbus.DBusDaemon, roles, either("")))
	}
	for _, native := range []string{"", "abcdefgh", "a", "bc"} {
		worlds = append(worlds, open(t, "with native peers "+native, testbus.KDBus, roles, either(native)))
	}
	return worlds
}

var (
	nameValues   = []string{"a.b", "a.b.c", "a.bc", "a.b.c.d", "x.y", "org.freedesktop.DBus", "no.body", "*"}
	ifaceValues  = []string{"i.A", "i.B", "org.freedesktop.DBus", "*"}
	memberValues = []string{"M", "N", "*"}
	pathValues   = []string{"/", "/p", "*"}
	errorValues  = []string{"e.E", "e.F", "*"}
	boolValues   = []string{"true", "false"}
	typeValues   = []string{"method_call", "method_return", "error", "signal", "*"}
	fdValues     = []string{"0", "1", "2"}
)

// drawRule draws a rule as text.
func drawRule(t *rapid.T) string {
	kind := rapid.SampledFrom([]string{"send", "send", "receive", "receive", "own"}).Draw(t, "kind")
	tag := rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "tag")
	var attrs []string
	maybe := func(oneIn int, name string, values []string) bool {
		if rapid.IntRange(1, oneIn).Draw(t, name+"?") != 1 {
			return false
		}
		attrs = append(attrs, fmt.Sprintf("%s=%q", name, rapid.SampledFrom(values).Draw(t, name)))
		return true
	}
	if kind == "own" {
		if !maybe(3, "own_prefix", []string{"a.b", "a", "x"}) {
			maybe(1, "own", nameValues)
		}
		return fmt.Sprintf("<%s %s/>", tag, attrs[0])
	}
	hasIface := maybe(3, kind+"_interface", ifaceValues)
	hasPath := maybe(5, kind+"_path", pathValues)
	hasPeer := false
	if kind == "send" {
		hasPeer = maybe(3, "send_destination", nameValues) || maybe(6, "send_destination_prefix", []string{"a.b", "a", "x.y", "a.b.c"})
		maybe(10, "log", boolValues)
		maybe(8, "send_broadcast", boolValues)
	} else {
		hasPeer = maybe(3, "receive_sender", nameValues)
	}
	if hasIface || hasPath || hasPeer {
		maybe(3, kind+"_member", memberValues)
	}
	if !hasIface && !hasPath {
		maybe(6, kind+"_error", errorValues)
	}
	maybe(3, kind+"_type", typeValues)
	maybe(5, kind+"_requested_reply", boolValues)
	maybe(6, "eavesdrop", boolValues)
	maybe(8, "min_fds", fdValues)
	maybe(8, "max_fds", fdValues)
	if len(attrs) == 0 {
		attrs = append(attrs, kind+`_type="*"`)
	}
	if onlyCounts := strings.Join(attrs, " "); !strings.Contains(onlyCounts, kind+"_") {
		attrs = append(attrs, kind+`_type="*"`) // which kind of rule is not to be guessed
	}
	return fmt.Sprintf("<%s %s/>", tag, strings.Join(attrs, " "))
}

// contexts are whom rules are for.
var contexts = []string{
	`context="default"`, `context="default"`, `context="default"`, `context="mandatory"`, `user="root"`, `user="daemon"`, `user="nobody"`,
	`group="root"`, `group="daemon"`, `group="nogroup"`, `at_console="true"`, `at_console="false"`,
}

func drawPolicy(t *rapid.T) string {
	var b strings.Builder
	if rapid.IntRange(0, 3).Draw(t, "open") > 0 {
		b.WriteString(everythingAllowed + "\n")
	} else {
		b.WriteString(`<policy context="default"><allow user="*"/></policy>` + "\n")
	}
	for _, rule := range rapid.SliceOfN(rapid.Custom(drawRule), 1, 12).Draw(t, "rules") {
		fmt.Fprintf(&b, "<policy %s>%s</policy>\n", rapid.SampledFrom(contexts).Draw(t, "context"), rule)
	}
	return b.String() + essential
}

// drawLetter draws a message of any kind.
func drawLetter(t *rapid.T) *letter {
	l := &letter{
		from: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "from"),
		typ:  rapid.SampledFrom([]byte{peer.TypeCall, peer.TypeCall, peer.TypeReply, peer.TypeError, peer.TypeSignal, peer.TypeSignal}).Draw(t, "type"),
	}
	draw := func(name string, values ...string) string { return rapid.SampledFrom(values).Draw(t, name) }
	switch l.typ {
	case peer.TypeCall:
		l.path, l.iface, l.member = draw("path", "/", "/p"), draw("interface", "", "i.A", "i.B"), draw("member", "M", "N", "O")
	case peer.TypeSignal:
		l.path, l.iface, l.member = draw("path", "/", "/p"), draw("interface", "i.A", "i.B"), draw("member", "M", "N", "O")
	case peer.TypeError:
		l.errorName = draw("error", "e.E", "e.F")
	}
	l.fds = rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3}).Draw(t, "descriptors")
	l.to = draw("to", "a", "b", "c", "d")
	if l.typ == peer.TypeCall || l.typ == peer.TypeSignal {
		l.name = draw("name", "", "a.b", "a.b.c", "a.bc", "a.b.c.d", "x.y")
	}
	switch l.typ {
	case peer.TypeSignal:
		if rapid.Bool().Draw(t, "broadcast") {
			l.to, l.name, l.fds = "", "", 0 // native broadcasts have no descriptors
		}
	case peer.TypeReply, peer.TypeError:
		if rapid.IntRange(0, 2).Draw(t, "unrequested") == 0 {
			l.unrequested, l.to = true, "d" // native peers never get such
		}
	}
	return l
}

// ask calls are what the driver is asked. The first three words are path, interface, member.
var askCalls = [][3]string{
	{"/org/freedesktop/DBus", "org.freedesktop.DBus", "ListNames"},
	{"/", "org.freedesktop.DBus", "ListActivatableNames"},
	{"/", "", "ListNames"},
	{"/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner"},
	{"/org/freedesktop/DBus", "org.freedesktop.DBus.Introspectable", "Introspect"},
	{"/org/freedesktop/DBus", "org.freedesktop.DBus.Peer", "Ping"},
	{"/p", "i.A", "M"},
}

var textNumber int

func TestMessagesMeetTheSameFate(t *testing.T) {
	worlds := worldsOf(t, generatedRoles)
	outcomes := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t)
		if !ruled(t, worlds, policy) {
			return
		}
		for range 12 {
			outcomes[exchange(t, worlds, drawLetter(t), policy)]++
		}
		ask(t, worlds, policy)
		own(t, worlds, policy)
	})
	t.Logf("%d different outcomes", len(outcomes))
}

// exchange has a letter sent in all worlds. Before a reply that somebody waits for, that one calls.
func exchange(t fataler, worlds []*world, l *letter, policy string) string {
	calls := map[*world]uint32{}
	text := func() string { textNumber++; return fmt.Sprintf("text %d", textNumber) }
	if (l.typ == peer.TypeReply || l.typ == peer.TypeError) && !l.unrequested {
		call := &letter{from: l.to, to: l.from, typ: peer.TypeCall, path: "/", iface: "i.A", member: "M", expect: true}
		asked := text()
		compare(t, worlds, described(call)+"\n"+policy, func(w *world) string {
			outcome, serials := w.post(t, call, 0, asked)
			calls[w] = serials[l.from]
			return outcome
		})
		if calls[worlds[0]] == 0 {
			return "no call"
		}
	}
	sent := text()
	return compare(t, worlds, described(l)+"\n"+policy, func(w *world) string {
		outcome, _ := w.post(t, l, calls[w], sent)
		return outcome
	})
}

// ask has everybody ask the bus itself.
func ask(t *rapid.T, worlds []*world, policy string) {
	c := rapid.SampledFrom(askCalls).Draw(t, "ask")
	from := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "who asks")
	l := &letter{from: from, name: "org.freedesktop.DBus", typ: peer.TypeCall, expect: true, path: c[0], iface: c[1], member: c[2]}
	compare(t, worlds, described(l)+"\n"+policy, func(w *world) string {
		answer, err := w.members[from].ask(l)
		if err != nil {
			t.Fatalf("%s: %+v: %v", w.title, l, err)
		}
		return w.normal(answer)
	})
}

// own has somebody ask for a name. It ought to be one that makes no difference to others.
func own(t *rapid.T, worlds []*world, policy string) {
	name := rapid.SampledFrom([]string{"a.b.c", "x.y"}).Draw(t, "name")
	compare(t, worlds, "own "+name+"\n"+policy, func(w *world) string {
		m := w.members["b"]
		if err := m.own(name); err != nil {
			return w.normal(err.Error())
		}
		// It was its name before. Who hears of its going and coming?
		for _, step := range []func(string) error{m.release, m.own} {
			if err := step(name); err != nil {
				return w.normal(err.Error())
			}
		}
		outcome := "owned"
		for _, listener := range []string{"d", "e"} {
			arrived, _, err := w.members[listener].settle(0)
			if err != nil {
				t.Fatalf("%s: %s: %v", w.title, listener, err)
			}
			for _, what := range slices.Sorted(maps.Keys(arrived)) {
				if strings.HasPrefix(what, ofDriver) {
					outcome += "; " + listener + ": " + what
				}
			}
		}
		return outcome
	})
}
