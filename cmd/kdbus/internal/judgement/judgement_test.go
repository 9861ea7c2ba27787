package judgement_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/judgement"
	"github.com/kdbus-go/kdbus/wire"
)

func policy(t *testing.T, rules string) *busconfig.Policy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bus.conf")
	text := "<busconfig><listen>unix:path=/nowhere</listen>" + rules + "</busconfig>"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := busconfig.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return c.Policy
}

func tags(rules []*busconfig.Rule) (all []string) {
	for _, r := range rules {
		all = append(all, r.String())
	}
	return all
}

func text(s string) *string { return &s }

func TestExceptionsAreWhatChangesTheAnswer(t *testing.T) {
	p := policy(t, `<policy context="default">
<deny send_type="method_call"/>
<allow send_destination="org.example.A"/>
<deny send_destination="org.example.A" send_interface="org.example.I" send_member="Set"/>
<deny send_destination="org.example.B"/>
<allow send_destination_prefix="org.example.C" send_path="/c"/>
</policy>`)
	for name, test := range map[string]struct {
		message judgement.Message
		want    []string
		allowed bool
	}{
		"nothing is known": {judgement.Message{Type: wire.TypeMethodCall}, []string{
			`destination=org.example.A `,
			`destination=org.example.A interface=org.example.I member=Set `,
			`destination=org.example.C path=/c `,
		}, false},
		"the destination is known": {judgement.Message{Type: wire.TypeMethodCall, Destination: []string{"org.example.A"}}, []string{
			`interface=org.example.I member=Set `,
		}, true},
		"the interface is another one": {judgement.Message{Type: wire.TypeMethodCall, Destination: []string{"org.example.A"},
			Interface: text("org.example.J")}, nil, true},
		"only the path is open": {judgement.Message{Type: wire.TypeMethodCall, Destination: []string{":1.1", "org.example.C.D"},
			Interface: text(""), Member: text("M")}, []string{"path=/c "}, false},
		"a reply has none of it": {judgement.Message{Type: wire.TypeMethodReturn, Requested: true, Destination: []string{"org.example.A"}}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			all := judgement.Of(p, &judgement.Question{Kind: busconfig.Send, Sender: &judgement.Peer{UID: 5}, Message: test.message})
			if len(all) != 1 || judgement.Allowed(all) != test.allowed {
				t.Fatalf("%+v", all)
			}
			var got []string
			for _, e := range all[0].Exceptions {
				s := ""
				for _, f := range e.Fields {
					s += f.Name + "=" + f.Value + " "
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestVoidRulesAreNamedWithTheOneThatVoidsThem(t *testing.T) {
	p := policy(t, `<policy context="default"><allow own="org.example.A"/><deny own_prefix="org.other"/></policy>
<policy user="7"><deny own="*"/><allow own="org.example.B"/></policy>`)
	all := judgement.Of(p, &judgement.Question{Kind: busconfig.Own, Peer: &judgement.Peer{UID: 7}, Name: "org.example.A"})
	if len(all) != 1 || judgement.Allowed(all) {
		t.Fatalf("%+v", all)
	}
	j := all[0]
	if diff := cmp.Diff([]string{`<allow own="org.example.A"/>`}, tags(j.Void)); diff != "" {
		t.Error(diff)
	}
	if j.By == nil || j.By.String() != `<deny own="*"/>` || j.By != j.Verdict.Rule {
		t.Errorf("void by %v", j.By)
	}
}

func TestWithoutRuleOnlyTheOwnerConnects(t *testing.T) {
	p := policy(t, `<policy context="default"><allow group="9"/></policy>`)
	for _, test := range []struct {
		uid, group, owner uint32
		allowed           bool
		matched           int
	}{{5, 9, 0, true, 1}, {5, 8, 0, false, 0}, {5, 8, 5, true, 0}, {0, 0, 5, false, 0}} {
		all := judgement.Of(p, &judgement.Question{Kind: busconfig.Connect, Owner: test.owner,
			Peer: &judgement.Peer{UID: test.uid, Groups: []uint32{test.group}}})
		if judgement.Allowed(all) != test.allowed || len(all[0].Matched) != test.matched {
			t.Errorf("%+v: %+v", test, all)
		}
	}
}

// The last rule that is said to match is the one that decides, and each exception is what the policy says when
// the message is as it says.
func TestAnswersAreThoseOfThePolicy(t *testing.T) {
	p := policy(t, `<policy context="default"><deny send_type="method_call"/>
<allow send_destination="org.example.A"/><allow send_interface="org.example.I"/><deny send_path="/p"/>
<deny send_interface="org.example.I" send_member="M"/><allow send_destination_prefix="org.example"  send_path="/p" send_member="M"/>
<allow receive_sender="org.example.A"/><deny receive_interface="org.example.J"/></policy>
<policy group="3"><deny send_destination="org.example.B"/><allow send_destination="org.example.B" send_member="M" send_path="/p"/></policy>`)
	choose := func(t *rapid.T, label string, values ...string) *string {
		if i := rapid.IntRange(0, len(values)).Draw(t, label); i < len(values) {
			return &values[i]
		}
		return nil
	}
	rapid.Check(t, func(t *rapid.T) {
		m := judgement.Message{
			Type:      rapid.SampledFrom([]wire.Type{wire.TypeMethodCall, wire.TypeSignal, wire.TypeMethodReturn}).Draw(t, "type"),
			Path:      choose(t, "path", "/p", "/q"),
			Interface: choose(t, "interface", "org.example.I", "org.example.J", ""),
			Member:    choose(t, "member", "M", "N"),
		}
		if name := choose(t, "destination", "org.example.A", "org.example.B", "org.other"); name != nil {
			m.Destination = []string{*name}
		}
		if name := choose(t, "sender", "org.example.A"); name != nil {
			m.Sender = []string{*name}
		}
		peer := &judgement.Peer{UID: 5, Groups: []uint32{rapid.Uint32Range(2, 3).Draw(t, "group")}}
		for _, j := range judgement.Of(p, &judgement.Question{Kind: busconfig.Send, Sender: peer, Receiver: peer, Message: m}) {
			if n := len(j.Matched); n > 0 && j.Matched[n-1] != j.Verdict.Rule || n == 0 && j.Verdict.Rule != nil {
				t.Fatalf("%s: %v decides, and not the last of %v", j.Kind, j.Verdict.Rule, tags(j.Matched))
			}
			for _, e := range j.Exceptions {
				with := m
				for _, f := range e.Fields {
					switch f.Name {
					case "path":
						with.Path = &f.Value
					case "interface":
						with.Interface = &f.Value
					case "member":
						with.Member = &f.Value
					case "destination":
						with.Destination = []string{f.Value}
					case "sender":
						with.Sender = []string{f.Value}
					}
				}
				q := &judgement.Question{Kind: busconfig.Send, Sender: peer, Message: with}
				if j.Kind == busconfig.Receive {
					q.Sender, q.Receiver = nil, peer
				}
				if again := judgement.Of(p, q)[0]; again.Verdict.Rule != e.Rule {
					t.Fatalf("with %v: %v, not %v", e.Fields, again.Verdict.Rule, e.Rule)
				}
			}
		}
	})
}
