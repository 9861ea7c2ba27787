package busconfig

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func tags(rules []*Rule) (all []string) {
	for _, r := range rules {
		all = append(all, r.String())
	}
	return all
}

func TestRulesAreThoseThatCountAndTheVoidOnes(t *testing.T) {
	p := mustParse(t, `<policy user="root"><allow send_destination="org.example.C" send_path="/c"/></policy>
<policy context="default">
<allow send_destination="org.example.A"/><allow own="*"/>
<deny send_broadcast="true"/>
<allow send_destination="org.example.B"/>
</policy>`)
	effect, void := p.For(0, nil, false).Rules(Send)
	if diff := cmp.Diff([]string{`<deny send_broadcast="true"/>`, `<allow send_destination="org.example.B"/>`,
		`<allow send_destination="org.example.C" send_path="/c"/>`}, tags(effect)); diff != "" {
		t.Error("in effect:", diff)
	}
	if diff := cmp.Diff([]string{`<allow send_destination="org.example.A"/>`}, tags(void)); diff != "" {
		t.Error("void:", diff)
	}
	if !void[0].MatchesMessage(call("org.example.A", "org.example.I", "M")) {
		t.Error("a void rule does not match what it is about")
	}
	effect, void = p.For(1000, nil, false).Rules(Own)
	if len(effect) != 1 || len(void) != 0 || !effect[0].MatchesName("org.example.X") || effect[0].MatchesMessage(&Message{}) {
		t.Errorf("own: %v and void %v", tags(effect), tags(void))
	}
	if effect, _ = p.For(1000, nil, false).Rules(Connect); effect != nil {
		t.Errorf("connect: %v", tags(effect))
	}
}

func TestConnectRulesAreAllThatMatch(t *testing.T) {
	p := mustParse(t, `<policy context="default"><deny user="*"/><allow user="0"/><allow group="7"/></policy>
<policy context="mandatory"><deny user="3"/></policy>`)
	for _, test := range []struct {
		uid, gid uint32
		want     []string
	}{
		{0, 0, []string{`<deny user="*"/>`, `<allow user="0"/>`}},
		{3, 7, []string{`<deny user="*"/>`, `<allow group="7"/>`, `<deny user="3"/>`}},
		{5, 5, []string{`<deny user="*"/>`}},
	} {
		t.Run(fmt.Sprint(test.uid), func(t *testing.T) {
			rules := p.ConnectRules(test.uid, []uint32{test.gid})
			if diff := cmp.Diff(test.want, tags(rules)); diff != "" {
				t.Error(diff)
			}
			if v := p.MayConnect(test.uid, []uint32{test.gid}, 9); v.Rule != rules[len(rules)-1] {
				t.Errorf("%v decides, which is not the last one", v.Rule)
			}
		})
	}
}

func TestAttributesAreAsWritten(t *testing.T) {
	p := mustParse(t, `<policy context="default"><allow send_destination="org.example.A" send_member="a&lt;&quot;'&amp;b>" send_path="*"/></policy>`)
	r := p.Rules()[0]
	for name, want := range map[string]string{"send_destination": "org.example.A", "send_member": `a<"'&b>`, "send_path": "*"} {
		if got, ok := r.Attribute(name); !ok || got != want {
			t.Errorf("%s is %q, %v", name, got, ok)
		}
	}
	if got, ok := r.Attribute("send_type"); ok {
		t.Errorf("send_type, which it has not, is %q", got)
	}
}
