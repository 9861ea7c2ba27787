package busconfig

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

// systemRules are those of a system bus and of one service on it.
const systemRules = `<policy context="default">
<allow user="*"/>
<deny own="*"/>
<deny send_type="method_call"/>
<allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
<deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus" send_member="UpdateActivationEnvironment"/>
</policy>
<policy user="daemon"><allow own="org.example.Clock"/><allow own_prefix="org.example.Clocks"/></policy>
<policy context="default">
<allow send_destination="org.example.Clock"/>
<deny send_destination="org.example.Clock" send_interface="org.example.Clock" send_member="Set"/>
</policy>
<policy group="audio"><allow send_destination="org.example.Clock" send_interface="org.example.Clock" send_member="Set" log="true"/></policy>
<policy user="root"><allow send_destination="org.example.Clock" send_interface="org.example.Clock" send_member="Set"/></policy>
<policy context="mandatory"><deny send_destination="org.example.Clock" min_fds="1"/></policy>
`

func mustParse(t testing.TB, body string) *Policy {
	t.Helper()
	c, err := parseText(t, inConfig(body))
	if err != nil {
		t.Fatal(err)
	}
	return c.Policy
}

func call(destination, iface, member string) *Message {
	return &Message{Type: wire.TypeMethodCall, Path: "/", Interface: iface, Member: member, Destination: NewNames(strings.Fields(destination)...)}
}

func TestLastMatchingRuleDecides(t *testing.T) {
	p := mustParse(t, systemRules)
	joe := p.For(1000, []uint32{1000}, false)
	musician := p.For(1000, []uint32{1000, 29}, false)
	root := p.For(0, []uint32{0}, false)
	set := call(":1.5 org.example.Clock", "org.example.Clock", "Set")
	withFDs := *set
	withFDs.Descriptors = 1
	for name, test := range map[string]struct {
		verdict Verdict
		want    string // the tag; with a line, since that is what a user sees
	}{
		"call of a service without rules": {joe.MaySend(call(":1.4", "org.example.Clock", "Set")), `5 <deny send_type="method_call"/>`},
		"call of a service":               {joe.MaySend(call(":1.5 org.example.Clock", "a.b", "C")), `15 <allow send_destination="org.example.Clock"/>`},
		"call of a name waited for":       {joe.MaySend(call(":1.5 a.b org.example.Clock c.d", "a.b", "C")), `15 <allow send_destination="org.example.Clock"/>`},
		"call of a denied method":         {joe.MaySend(set), `16 <deny send_destination="org.example.Clock" send_interface="org.example.Clock" send_member="Set"/>`},
		"the same without interface":      {joe.MaySend(call("org.example.Clock", "", "Set")), `16 <deny send_destination="org.example.Clock" send_interface="org.example.Clock" send_member="Set"/>`},
		"allowed to a group":              {musician.MaySend(set), `18 <allow send_destination="org.example.Clock" send_interface="org.example.Clock" send_member="Set" log="true"/>`},
		"allowed to a user":               {root.MaySend(set), `19 <allow send_destination="org.example.Clock" send_interface="org.example.Clock" send_member="Set"/>`},
		"denied to everybody after all":   {root.MaySend(&withFDs), `20 <deny send_destination="org.example.Clock" min_fds="1"/>`},
		"call of the bus":                 {joe.MaySend(call("org.freedesktop.DBus", "org.freedesktop.DBus", "Hello")), `10 <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>`},
		"call of the bus, no interface":   {joe.MaySend(call("org.freedesktop.DBus", "", "Hello")), `5 <deny send_type="method_call"/>`},
		"requested reply":                 {joe.MaySend(&Message{Type: wire.TypeMethodReturn, Reply: true, Requested: true}), `7 <allow send_requested_reply="true" send_type="method_return"/>`},
		"reply that nobody waits for":     {joe.MaySend(&Message{Type: wire.TypeError, Reply: true, ErrorName: "a.b"}), ``},
		"broadcast":                       {joe.MaySend(&Message{Type: wire.TypeSignal, Path: "/", Interface: "a.b", Member: "C", Broadcast: true}), `6 <allow send_type="signal"/>`},
		"being called":                    {joe.MayReceive(set), `9 <allow receive_type="method_call"/>`},
		"eavesdropping":                   {root.MayReceive(&Message{Type: wire.TypeSignal, Path: "/", Interface: "a.b", Member: "C", Eavesdropping: true}), ``},
		"owning anything":                 {joe.MayOwn("org.example.Clock"), `4 <deny own="*"/>`},
		"owning a name":                   {p.For(1, nil, true).MayOwn("org.example.Clock"), `13 <allow own="org.example.Clock"/>`},
		"owning within a namespace":       {p.For(1, nil, true).MayOwn("org.example.Clocks.A.B"), `13 <allow own_prefix="org.example.Clocks"/>`},
		"owning the namespace itself":     {p.For(1, nil, true).MayOwn("org.example.Clocks"), `13 <allow own_prefix="org.example.Clocks"/>`},
		"owning beside a namespace":       {p.For(1, nil, true).MayOwn("org.example.ClocksA"), `4 <deny own="*"/>`},
		"owning, nobody's connection":     {p.ForAnonymous().MayOwn("org.example.Clock"), `4 <deny own="*"/>`},
	} {
		got := ""
		if r := test.verdict.Rule; r != nil {
			got = fmt.Sprint(r.Line, " ", r)
		}
		if got != test.want {
			t.Errorf("%s: %s decides", name, got)
		}
		if allowed := strings.Contains(test.want, "<allow"); allowed != test.verdict.Allowed {
			t.Errorf("%s: allowed is %t", name, test.verdict.Allowed)
		}
		if log := strings.Contains(test.want, "log"); log != test.verdict.Log() {
			t.Errorf("%s: log is %t", name, test.verdict.Log())
		}
	}
}

func TestNothingIsAllowedWithoutRules(t *testing.T) {
	p := mustParse(t, "")
	v := p.For(0, nil, true)
	if m := call("a.b", "a.b", "C"); v.MaySend(m).Allowed || v.MayReceive(m).Allowed || v.MayOwn("a.b").Allowed {
		t.Error("something is allowed")
	}
	if !p.MayConnect(7, nil, 7).Allowed || p.MayConnect(0, nil, 7).Allowed {
		t.Error("the owner may connect, and nobody else")
	}
}

func TestWhoMayConnect(t *testing.T) {
	for _, test := range []struct {
		rules   string
		allowed string // of "owner root joe musician"
	}{
		{`<policy context="default"><allow user="*"/></policy>`, "owner root joe musician"},
		{`<policy context="default"><allow group="*"/><deny user="joe"/></policy>`, "owner root"},
		{`<policy context="default"><deny user="*"/></policy>`, ""},
		{`<policy context="default"><allow user="root"/></policy>`, "owner root"},
		{`<policy context="default"><allow group="audio"/></policy>`, "owner musician"},
		{`<policy context="default"><allow user="root"/></policy><policy context="mandatory"><deny group="root"/></policy>`, "owner"},
		{`<policy context="mandatory"><deny group="audio"/></policy><policy context="default"><allow user="*"/></policy>`, "owner root joe"},
		{`<policy at_console="true"><allow user="*"/></policy>`, "owner"},
		{`<policy context="default"><deny own="*"/></policy>`, "owner"},
	} {
		p := mustParse(t, test.rules)
		var allowed []string
		for _, who := range []struct {
			name string
			uid  uint32
			gids []uint32
		}{{"owner", 7, nil}, {"root", 0, []uint32{0}}, {"joe", 1000, []uint32{1000}}, {"musician", 1000, []uint32{1000, 29}}} {
			if p.MayConnect(who.uid, who.gids, 7).Allowed {
				allowed = append(allowed, who.name)
			}
		}
		if got := strings.Join(allowed, " "); got != test.allowed {
			t.Errorf("%s: %s may connect, not %s", test.rules, got, test.allowed)
		}
	}
}

func TestPartsFollowEachOther(t *testing.T) {
	deny := func(context string) string { return "<policy " + context + `><deny send_type="*"/></policy>` }
	allow := func(context string) string {
		return "<policy " + context + `><allow send_interface="a.b"/></policy>`
	}
	order := []string{`context="default"`, `group="29"`, `group="44"`, `user="1000"`, `at_console="true"`, `context="mandatory"`}
	for i, first := range order {
		for _, second := range order[i+1:] {
			p := mustParse(t, allow(second)+deny(first))
			if !p.For(1000, []uint32{44, 29}, true).MaySend(call("c.d", "a.b", "C")).Allowed {
				t.Errorf("%s does not come after %s", second, first)
			}
			p = mustParse(t, deny(second)+allow(first))
			if p.For(1000, []uint32{44, 29}, true).MaySend(call("c.d", "a.b", "C")).Allowed {
				t.Errorf("%s does not come before %s", first, second)
			}
		}
	}
	away := mustParse(t, allow(`at_console="true"`)+deny(`at_console="false"`)).For(1000, nil, false)
	if away.MaySend(call("c.d", "a.b", "C")).Allowed {
		t.Error("who is not at the console is treated as if")
	}
}

// As in dbus-daemon, where this was tried.
func TestRuleThatComparesNothingVoidsThoseBefore(t *testing.T) {
	v := mustParse(t, `<policy context="default"><allow send_destination="*"/><deny send_broadcast="true"/></policy>`).For(0, nil, false)
	m := call("a.b", "a.b", "C")
	if v.MaySend(m).Allowed || len(v.SendRules(m)) != 0 {
		t.Errorf("%v decide", v.SendRules(m))
	}
}

func TestEqualCredentialsShareAView(t *testing.T) {
	p := mustParse(t, systemRules)
	if p.For(1000, []uint32{1000, 29, 4}, false) != p.For(1001, []uint32{29, 29}, false) {
		t.Error("two members of a group with rules have different views")
	}
	if p.For(1000, nil, false) == p.For(0, nil, false) || p.For(1000, nil, false) == p.For(1000, []uint32{29}, false) ||
		p.For(1000, nil, false) == p.For(1000, nil, true) {
		t.Error("views are shared by connections that different rules concern")
	}
	if p.For(0, nil, false).Policy() != p {
		t.Error("a view does not know its policy")
	}
}

func TestViewsAreUsedByManyAtOnce(t *testing.T) {
	p := mustParse(t, systemRules+benchmarkRules(50))
	names := NewNames(":1.7", "org.example.Clock")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for lacks := range 16 {
				m := call("", "org.example.Clock", "Set")
				m.Destination = names
				for bit, field := range []*string{&m.Path, &m.Interface, &m.Member, &m.ErrorName} {
					if *field = "x"; lacks&(1<<bit) != 0 {
						*field = ""
					}
				}
				v := p.For(uint32(lacks%2), []uint32{29}, false)
				got, all := v.MaySend(m).Rule, v.SendRules(m)
				if len(all) == 0 && got != nil || len(all) > 0 && got != all[len(all)-1] {
					t.Errorf("%+v: %v of %v", m, got, all)
				}
			}
		})
	}
	group.Wait()
}

func TestNamesServeSeveralPolicies(t *testing.T) {
	allow := mustParse(t, `<policy context="default"><allow send_destination_prefix="a.b"/></policy>`).For(0, nil, false)
	deny := mustParse(t, `<policy context="default"><allow send_destination="a.b.c"/><deny send_destination="a.b.c"/></policy>`).For(0, nil, false)
	m := call("x.y a.b.c", "i.I", "M")
	for range 2 {
		if !allow.MaySend(m).Allowed || deny.MaySend(m).Allowed {
			t.Error("names of one policy are taken for those of another")
		}
	}
	m.Destination = nil
	if allow.MaySend(m).Allowed {
		t.Error("nobody has a name")
	}
	if got := NewNames("a", "b").All(); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
}

func TestRulesThatMatchAreListed(t *testing.T) {
	v := mustParse(t, systemRules).For(0, []uint32{29}, false)
	m := call("org.example.Clock", "org.example.Clock", "Set")
	var lines []int
	for _, r := range v.SendRules(m) {
		lines = append(lines, r.Line)
	}
	if want := []int{5, 15, 16, 18, 19}; !slices.Equal(lines, want) {
		t.Errorf("lines %v, not %v", lines, want)
	}
	if r := v.ReceiveRules(m); len(r) != 1 || r[0].Line != 9 {
		t.Error(r)
	}
	if r := v.OwnRules("a.b"); len(r) != 1 || r[0].Context.String() != `<policy context="default">` || !strings.HasSuffix(r[0].Source.String(), "main.conf:4") {
		t.Error(r)
	}
}

func TestChecksDoNotAllocate(t *testing.T) {
	p := mustParse(t, systemRules+benchmarkRules(300))
	v := p.For(1000, []uint32{1000, 29}, false)
	m := benchmarkMessage(150)
	if n := testing.AllocsPerRun(100, func() {
		fresh := *m
		v.MaySend(&fresh)
		v.MayReceive(&fresh)
		v.MayOwn("org.example.Service150.Name")
		p.For(1000, nil, false)
	}); n > 3 { // of For
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		fresh := *m
		v.MaySend(&fresh)
		v.MayReceive(&fresh)
		v.MayOwn("org.example.Service150.Name")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
