package kdbus

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMatchRulesAreRead(t *testing.T) {
	for _, test := range []struct {
		rule string
		want Match
	}{
		{"", Match{}},
		{" type = 'signal' ,", Match{}}, // blanks in a value belong to it
		{"type='signal',sender=:1.7", Match{Type: TypeSignal, Sender: ":1.7"}},
		{"interface=a.b,member='C',path=/x,destination=d.e", Match{Interface: "a.b", Member: "C", Path: "/x", Destination: "d.e"}},
		{"path_namespace='/x',arg0namespace=a,eavesdrop=true", Match{PathNamespace: "/x", Arg0Namespace: "a", Eavesdrop: true}},
		{`arg0='it'\''s, \so',arg1path='/a/',arg63=`, Match{Args: map[int]string{0: `it's, \so`, 63: ""}, ArgPaths: map[int]string{1: "/a/"}}},
	} {
		got, err := ParseMatch(test.rule)
		if strings.HasPrefix(test.rule, " ") {
			if err == nil {
				t.Errorf("%q was read", test.rule)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.rule, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.rule, diff)
		}
	}
}

func TestBadMatchRulesSayWhy(t *testing.T) {
	for rule, want := range map[string]string{
		"signal": "no '='", "=x": "nothing before", "type=noise": "none of signal", "member='x": "balanced", "member=": "empty",
		"color=red": `"color"`, "member=a,member=b": "more than once", "path=/a,path_namespace=/": "not both",
		"arg64=x": `"arg64"`, "arg=x": `"arg"`, "arg1namespace=x": `"arg1namespace"`, "arg0=x,arg0path=y": "more than once",
		"interface=nodot": "interface", "path=x": "path", "eavesdrop=yes": "neither", "arg0=\x00": "NUL", "arg+1=x": `"arg+1"`,
	} {
		if _, err := ParseMatch(rule); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want one with %q", rule, err, want)
		}
	}
}

func FuzzParseMatch(f *testing.F) {
	f.Add("type='signal',sender='a.b',arg0='it'\\''s',arg1path=/,arg0namespace=x")
	f.Add("path=/a,eavesdrop=true,member=M , destination=:1.1")
	f.Add("path_namespace=/,arg63=")
	f.Fuzz(func(t *testing.T, rule string) {
		m, err := ParseMatch(rule)
		if err != nil {
			return
		}
		again, err := ParseMatch(m.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", rule, m.String(), err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Errorf("%q became %q (-first +second):\n%s", rule, m.String(), diff)
		}
	})
}
