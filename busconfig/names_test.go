package busconfig

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/wire"
)

// What is kept of names that come and go has to answer as all of the names do.
func TestHoldingsAnswerLikeAllNames(t *testing.T) {
	p := mustParse(t, `<policy context="default">
		<allow send_destination="com.example.A"/><deny send_destination="com.example.B"/>
		<allow send_destination_prefix="com.example.Sub"/><deny send_destination_prefix="com.example.Sub.Sub"/>
		<allow send_destination=":1.7"/>
	</policy>`)
	view := p.For(0, nil, false)
	pool := []string{"com.example.A", "com.example.B", "com.example.Sub", "com.example.Sub.X", "com.example.Sub.Sub", "com.example.Sub.Sub.Y", "org.Other", ":1.7"}
	rapid.Check(t, func(t *rapid.T) {
		h := p.NewHoldings()
		var all []string
		for _, name := range rapid.SliceOf(rapid.SampledFrom(pool)).Draw(t, "names") {
			before := h.Names()
			if i := slices.Index(all, name); i >= 0 {
				all = slices.Delete(all, i, i+1)
				h.Remove(name)
			} else {
				all = append(all, name)
				h.Add(name)
			}
			if name == "org.Other" && h.Names() != before {
				t.Error("a name that no rule mentions has changed something")
			}
			m := Message{Type: wire.TypeMethodCall, Path: "/", Member: "M", Destination: NewNames(all...)}
			want, rules := view.MaySend(&m), view.SendRules(&m)
			m.Destination = h.Names()
			if got := view.MaySend(&m); got != want {
				t.Fatalf("%v: %v, want %v", all, got, want)
			}
			if got := view.SendRules(&m); !slices.Equal(got, rules) {
				t.Fatalf("%v: %v, want %v", all, got, rules)
			}
		}
	})
}

func TestWhatIsNoDBusMessage(t *testing.T) {
	for _, test := range []struct {
		rule string
		want bool
	}{
		{`<allow send_destination="*"/>`, true},
		{`<allow send_type="method_call"/>`, true},
		{`<allow send_type="signal"/>`, false},
		{`<allow send_destination="com.example.A"/>`, true},
		{`<allow send_destination="com.example.A" send_interface="com.example.A"/>`, false},
		{`<allow send_destination="com.example.A" send_path="/" send_member="M"/>`, false},
		{`<allow send_path="/"/>`, false},
		{`<allow send_error="com.example.E"/>`, false},
		{`<allow send_destination="*"/><deny send_interface="com.example.A"/>`, false},
		{`<allow send_destination="*"/><deny send_destination="com.example.A" send_path="/" send_member="M"/>`, false},
		{`<allow send_destination="*"/><deny send_destination="com.example.B" send_path="/" send_member="M"/>`, true},
	} {
		view := mustParse(t, fmt.Sprintf(`<policy context="default">%s</policy>`, test.rule)).For(0, nil, false)
		m := Message{Opaque: true, Type: wire.TypeMethodCall, Destination: NewNames("com.example.A")}
		if got := view.MaySend(&m).Allowed; got != test.want {
			t.Errorf("%s: %t", test.rule, got)
		}
		if rules := view.SendRules(&m); (len(rules) > 0 && rules[len(rules)-1].Allow) != test.want {
			t.Errorf("%s: %v", test.rule, rules)
		}
	}
}
