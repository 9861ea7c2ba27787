package dbus1

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// askEveryRule is the index as simple as it can be.
type askEveryRule struct {
	conns []*bus.Conn
	subs  map[*bus.Conn][]*matchRule
}

func (a *askEveryRule) remove(c *bus.Conn, rule *matchRule) bool {
	for i, r := range a.subs[c] {
		if r.Equal(rule) {
			a.subs[c] = slices.Delete(slices.Clone(a.subs[c]), i, i+1)
			return true
		}
	}
	return false
}

func (a *askEveryRule) collect(m *matchMessage) (found map[int]bool) {
	found = map[int]bool{}
	for i, c := range a.conns {
		for _, r := range a.subs[c] {
			if r.matches(m) {
				found[i] = true
			}
		}
	}
	return found
}

// Values few enough for rules and messages to meet, with prefixes of each other
// among them.
var (
	drawIface  = rapid.SampledFrom([]string{"org.a.I", "org.a.J"})
	drawMember = rapid.SampledFrom([]string{"M", "N"})
	drawPath   = rapid.SampledFrom([]string{"/", "/a", "/a/b", "/ab"})
	drawName   = rapid.SampledFrom([]string{":1.1", ":1.2", "org.a", "org.a.b"})
	drawText   = rapid.SampledFrom([]string{"", "org", "org.a", "org.a.b", "org.ab", "org.", "/a/", "/a/b", ":1.1", "it's, \\"})
)

func maybe[V any](t *rapid.T, label string, g *rapid.Generator[V], use func(V)) {
	if rapid.Bool().Draw(t, "has "+label) {
		use(g.Draw(t, label))
	}
}

func drawRule(t *rapid.T) *matchRule {
	var keys []string
	add := func(key string) func(string) {
		return func(value string) {
			keys = append(keys, key+"='"+strings.ReplaceAll(value, "'", `'\''`)+"'")
		}
	}
	maybe(t, "type", rapid.SampledFrom([]string{"signal", "signal", "method_call"}), add("type"))
	maybe(t, "interface", drawIface, add("interface"))
	maybe(t, "member", drawMember, add("member"))
	maybe(t, "sender", drawName, add("sender"))
	maybe(t, "path", drawPath, add(rapid.SampledFrom([]string{"path", "path_namespace"}).Draw(t, "path or namespace")))
	switch rapid.IntRange(0, 5).Draw(t, "which arg0") {
	case 0, 1:
		add("arg0")(drawText.Draw(t, "arg0"))
	case 2:
		add("arg0path")(drawText.Draw(t, "arg0path"))
	case 3:
		add("arg0namespace")(rapid.SampledFrom([]string{"org", "org.a", ":1.1"}).Draw(t, "arg0namespace"))
	}
	if rapid.IntRange(0, 3).Draw(t, "has arg1") == 0 {
		add("arg1")(drawText.Draw(t, "arg1"))
	}
	if rapid.IntRange(0, 4).Draw(t, "has destination") == 0 {
		add("destination")(drawName.Draw(t, "destination"))
	}
	if rapid.IntRange(0, 2).Draw(t, "eavesdrops") == 0 {
		add("eavesdrop")("true")
	}
	rule, err := parseMatchRule(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

func drawMessage(t *rapid.T) *matchMessage {
	h := &wire.Header{Order: wire.LittleEndian, Type: wire.TypeSignal}
	if rapid.IntRange(0, 3).Draw(t, "type") == 0 {
		h.Type = wire.TypeMethodCall
	}
	maybe(t, "interface", drawIface, func(v string) { h.Interface = v })
	maybe(t, "member", drawMember, func(v string) { h.Member = v })
	maybe(t, "path", drawPath, func(v string) { h.Path = v })
	m := &matchMessage{Header: h}
	m.Senders = rapid.SliceOfNDistinct(drawName, 1, 3, rapid.ID).Draw(t, "senders")
	if rapid.Bool().Draw(t, "unicast") {
		m.Destinations = rapid.SliceOfNDistinct(drawName, 1, 2, rapid.ID).Draw(t, "destinations")
		h.Destination = m.Destinations[0]
	}
	var args []any
	for range rapid.IntRange(0, 6).Draw(t, "number of arguments") {
		switch v := drawText.Draw(t, "argument"); rapid.IntRange(0, 4).Draw(t, "type of argument") {
		case 0:
			args = append(args, wire.ObjectPath(drawPath.Draw(t, "path argument")))
		case 1:
			args = append(args, []string{v})
		default:
			args = append(args, v)
		}
	}
	setBody(t, m, args...)
	return m
}

// The index finds who asking every rule finds, whatever was added and removed.
func TestMatchIndexFindsWhatAskingEveryRuleFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newMatchIndex()
		model := &askEveryRule{subs: map[*bus.Conn][]*matchRule{}}
		for range 4 {
			model.conns = append(model.conns, new(bus.Conn))
		}
		drawConn := rapid.IntRange(0, len(model.conns)-1)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				c, rule := model.conns[drawConn.Draw(t, "conn")], drawRule(t)
				x.add(c, rule, nil)
				model.subs[c] = append(model.subs[c], rule)
			},
			"add and remove one of several": func(t *rapid.T) {
				c, rule := model.conns[drawConn.Draw(t, "conn")], drawRule(t)
				read, err := wire.ParseMatchRule(rule.String()) // which can be too long by now
				if err != nil {
					t.Fatal(err)
				}
				x.add(c, rule, nil)
				x.add(c, &matchRule{*read}, nil)
				if !x.remove(c, rule) {
					t.Fatal("not removed")
				}
				model.subs[c] = append(model.subs[c], rule)
			},
			"remove": func(t *rapid.T) {
				c, rule := model.conns[drawConn.Draw(t, "conn")], drawRule(t)
				if own := model.subs[c]; len(own) > 0 && rapid.Bool().Draw(t, "own") {
					rule = rapid.SampledFrom(own).Draw(t, "rule")
				}
				if got, want := x.remove(c, rule), model.remove(c, rule); got != want {
					t.Fatalf("remove(%v) is %v, want %v", rule, got, want)
				}
			},
			"remove all": func(t *rapid.T) {
				c := model.conns[drawConn.Draw(t, "conn")]
				x.removeAll(c)
				delete(model.subs, c)
			},
			"collect": func(t *rapid.T) {
				m := drawMessage(t)
				got := map[int]bool{}
				for _, c := range x.collect(m, nil) {
					got[slices.Index(model.conns, c)] = true
				}
				if diff := cmp.Diff(model.collect(m), got); diff != "" {
					t.Fatalf("subscribers (-want +got):\n%s", diff)
				}
			},
			"": func(t *rapid.T) {
				total, eavesdroppers := 0, 0
				for _, c := range model.conns {
					var want []string
					for _, r := range model.subs[c] {
						want = append(want, r.String())
						if r.Eavesdrop {
							eavesdroppers++
						}
					}
					total += len(want)
					if got := x.rules(c); !cmp.Equal(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))) {
						t.Fatalf("rules are %q, want %q", got, want)
					}
					if now, _ := x.count(c); now != len(want) {
						t.Fatalf("count is %d, want %d", now, len(want))
					}
				}
				if x.len() != total || x.eavesdroppers() != eavesdroppers {
					t.Fatalf("%d rules, %d eavesdropping; want %d, %d", x.len(), x.eavesdroppers(), total, eavesdroppers)
				}
			},
		})
		for _, c := range model.conns {
			x.removeAll(c)
		}
		for i, in := range x.files {
			if len(in.groups) != 0 || len(in.buckets) != 0 || len(x.subs) != 0 {
				t.Fatalf("emptied, file %d has %d groups and %d buckets, and there are %d subscribers", i, len(in.groups), len(in.buckets), len(x.subs))
			}
		}
	})
}

func mustParse(t testing.TB, text string) *matchRule {
	t.Helper()
	rule, err := parseMatchRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

func TestMatchIndexListsRulesInTheOrderAdded(t *testing.T) {
	x := newMatchIndex()
	c := new(bus.Conn)
	for _, text := range []string{"member='C'", "member='A'", "member='B'", "member='A'"} {
		x.add(c, mustParse(t, text), nil)
	}
	x.remove(c, mustParse(t, "member='A'"))
	want := []string{"member='C'", "member='B'", "member='A'"}
	if diff := cmp.Diff(want, x.rules(c)); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

func TestMatchIndexTellsSubscribersOfTheSameRuleApart(t *testing.T) {
	x := newMatchIndex()
	a, b := new(bus.Conn), new(bus.Conn)
	x.add(a, mustParse(t, "type='signal',member='M'"), nil)
	if x.remove(b, mustParse(t, "member='M',type='signal'")) {
		t.Error("removed somebody else's rule")
	}
	x.add(b, mustParse(t, "member=M,type=signal"), nil)
	x.removeAll(a)
	m := &matchMessage{Header: &wire.Header{Type: wire.TypeSignal, Member: "M"}}
	if got := x.collect(m, nil); !slices.Equal(got, []*bus.Conn{b}) {
		t.Errorf("found %d subscribers, want b alone", len(got))
	}
}

// A sender chooses its argument; what is filed is short.
func TestMatchIndexWithArgumentsOfAnyLength(t *testing.T) {
	ns := strings.Repeat("a.", 126) + "abc"
	x := newMatchIndex()
	exact, within := new(bus.Conn), new(bus.Conn)
	x.add(exact, mustParse(t, "arg0='"+ns+"'"), nil)
	x.add(within, mustParse(t, "arg0namespace='"+ns+"'"), nil)
	tests := []struct {
		name string
		arg0 string
		want []*bus.Conn
	}{
		{"the longest namespace itself", ns, []*bus.Conn{exact, within}},
		{"below it", ns + ".b", []*bus.Conn{within}},
		{"a megabyte below it", ns + strings.Repeat(".b", 1<<19), []*bus.Conn{within}},
		{"beside it", ns + "b", nil},
		{"a megabyte of dots", strings.Repeat(".", 1<<20), nil},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &matchMessage{Header: &wire.Header{Order: wire.LittleEndian, Type: wire.TypeSignal}}
			setBody(t, m, tt.arg0)
			got := x.collect(m, nil)
			for _, c := range []*bus.Conn{exact, within} {
				if slices.Contains(got, c) != slices.Contains(tt.want, c) {
					t.Errorf("found %d subscribers, want %d", len(got), len(tt.want))
				}
			}
		})
	}
}

// watchers fills an index as a desktop would: each connection watches a name and
// the properties of an object of its own, and all of them one signal.
func watchers(t testing.TB, n int) *matchIndex {
	x := newMatchIndex()
	for i := range n {
		c := new(bus.Conn)
		x.add(c, mustParse(t, fmt.Sprintf("type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',path='/org/freedesktop/DBus',arg0='org.example.Name%d'", i)), nil)
		x.add(c, mustParse(t, fmt.Sprintf("type='signal',sender=':1.%d',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',path='/org/example'", i)), nil)
		x.add(c, mustParse(t, "type='signal',interface='org.example.Clock',member='Tick'"), nil)
	}
	return x
}

func signalMessage(t testing.TB, sender, path, iface, member string, args ...any) *matchMessage {
	m := &matchMessage{
		Header:  &wire.Header{Order: wire.LittleEndian, Type: wire.TypeSignal, Path: path, Interface: iface, Member: member},
		Senders: []string{sender, "org.example.Sender"},
	}
	setBody(t, m, args...)
	return m
}

// again makes m a message whose arguments have not been read.
func again(m *matchMessage) {
	fresh := matchMessage{Header: m.Header, Body: m.Body, Senders: m.Senders, Destinations: m.Destinations}
	m.reset()
	m.Header, m.Body, m.Senders, m.Destinations = fresh.Header, fresh.Body, fresh.Senders, fresh.Destinations
}

// watcherCase is a message, and whether all watchers want it or one.
type watcherCase struct {
	name    string
	message *matchMessage
	all     bool
}

func watcherCases(t testing.TB) []watcherCase {
	return []watcherCase{
		{"own arg0", signalMessage(t, driverName, "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "org.example.Name7", "", ":1.9"), false},
		{"own sender", signalMessage(t, ":1.4", "/org/example", "org.freedesktop.DBus.Properties", "PropertiesChanged", "org.example.Clock"), false},
		{"everybody", signalMessage(t, ":1.4", "/org/example", "org.example.Clock", "Tick"), true},
	}
}

func TestMatchIndexCollectsWithoutAllocating(t *testing.T) {
	const conns = 20
	x := watchers(t, conns)
	for _, tt := range watcherCases(t) {
		t.Run(tt.name, func(t *testing.T) {
			dst := make([]*bus.Conn, 0, conns)
			if n := testing.AllocsPerRun(100, func() {
				again(tt.message)
				dst = x.collect(tt.message, dst[:0])
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
			want := 1
			if tt.all {
				want = conns
			}
			if len(dst) != want {
				t.Errorf("%d subscribers, want %d", len(dst), want)
			}
		})
	}
}

func BenchmarkMatchIndexCollect(b *testing.B) {
	for _, conns := range []int{10, 5000} {
		x := watchers(b, conns)
		dst := make([]*bus.Conn, 0, conns)
		for _, bb := range watcherCases(b) {
			b.Run(fmt.Sprintf("%s/conns=%d", bb.name, conns), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					again(bb.message)
					dst = x.collect(bb.message, dst[:0])
				}
			})
		}
	}
}

func BenchmarkMatchIndexAddAndRemove(b *testing.B) {
	for _, conns := range []int{10, 5000} {
		x := watchers(b, conns)
		c := new(bus.Conn)
		rule := mustParse(b, "type='signal',interface='org.example.Clock',member='Tick'")
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.add(c, rule, nil)
				x.remove(c, rule)
			}
		})
	}
}
