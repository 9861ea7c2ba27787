package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What xdg-dbus-proxy(1) says of [METHOD][@PATH], and what it does where that says nothing.
func TestRulesBecomeMatchRules(t *testing.T) {
	for _, test := range []struct{ rule, want string }{
		{"", ""},
		{"*", ""},
		{"@", ""},
		{"*@", ""},
		{"*@/*", ""},
		{"org.example.Interface.*", "interface='org.example.Interface'"},
		{"org.example.Interface.Method", "interface='org.example.Interface',member='Method'"},
		{"@/org/example", "path='/org/example'"},
		{"@/", "path='/'"},
		{"@/org/example/*", "path_namespace='/org/example'"},
		{"*@/org/example", "path='/org/example'"},
		{"org.example.I.M@/o/p/*", "interface='org.example.I',member='M',path_namespace='/o/p'"},
	} {
		got, err := matchRule(test.rule)
		if err != nil || got != test.want {
			t.Errorf("rule %q: %q, %v; want %q", test.rule, got, err, test.want)
		}
	}
}

func TestRulesThatCannotMatchAreErrors(t *testing.T) {
	for _, rule := range []string{"Method", "org.*", "org.example.", "org..Method", "org.example.Interface.**", "@org", "@/a/", "@*", "@/a*",
		"org.example.I.M'", "@/a',x='", "*.Method", "org.example.I.Me-thod"} {
		if got, err := matchRule(rule); err == nil {
			t.Errorf("rule %q becomes %q", rule, got)
		}
	}
}

func TestFlagsThatAreWrongSayWhy(t *testing.T) {
	for _, test := range []struct{ flag, want string }{
		{"--talk", "no flag of a policy"},
		{"--fd=3", "--fd is no flag of a policy"},
		{"--talk=org", "org"},
		{"--talk=org.*", "org"},
		{"--talk=:1.5", ":1.5"},
		{"--talk=*", "*"},
		{"--talk=org.example.*.*", "*"},
		{"--call=org.example", "NAME=RULE"},
		{"--call=org.example=Foo", "no METHOD"},
		{"--broadcast=org=*", "org"},
	} {
		var p Policy
		if err := p.AddFlag(test.flag); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want a word of %q", test.flag, err, test.want)
		}
		if len(p.Entries()) != 0 || len(p.Flags()) != 0 {
			t.Errorf("%s was added all the same", test.flag)
		}
	}
}

func policyOf(t *testing.T, flags ...string) *Policy {
	t.Helper()
	p := new(Policy)
	for _, flag := range flags {
		if err := p.AddFlag(flag); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestEntriesHaveWhatIsSaidOfNamesAround(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags []string
		want  []Entry
	}{
		{"nothing", nil, []Entry{}},
		{"the highest level counts", []string{"--own=a.b", "--see=a.b", "--talk=a.b"},
			[]Entry{{Name: "a.b", Level: Own}}},
		{"a name and those below are two", []string{"--see=a.b", "--talk=a.b.*"},
			[]Entry{{Name: "a.b", Level: Talk}, {Name: "a.b", Subtree: true, Level: Talk}}},
		{"what is below has more", []string{"--see=a.b.*", "--talk=a.b.c", "--own=a.b.c.*"},
			[]Entry{{Name: "a.b", Subtree: true, Level: See}, {Name: "a.b.c", Level: Own}, {Name: "a.b.c", Subtree: true, Level: Own}}},
		{"what is below has no less", []string{"--own=a.b.*", "--see=a.b.c"},
			[]Entry{{Name: "a.b", Subtree: true, Level: Own}, {Name: "a.b.c", Level: Own}}},
		{"names that begin alike are not below", []string{"--own=a.b.*", "--see=a.bc"},
			[]Entry{{Name: "a.b", Subtree: true, Level: Own}, {Name: "a.bc", Level: See}}},
		{"rules let see", []string{"--call=a.b=c.d.E", "--broadcast=a.b=@/f"},
			[]Entry{{Name: "a.b", Level: See, Calls: []string{"interface='c.d',member='E'"}, Broadcasts: []string{"path='/f'"}}}},
		{"rules add up", []string{"--call=a.b.*=c.d.F", "--call=a.b=c.d.E", "--call=a.b=c.d.E"},
			[]Entry{{Name: "a.b", Level: See, Calls: []string{"interface='c.d',member='E'", "interface='c.d',member='F'"}},
				{Name: "a.b", Subtree: true, Level: See, Calls: []string{"interface='c.d',member='F'"}}}},
		{"a rule for everything is enough", []string{"--call=a.b=c.d.F", "--call=a.b=*"},
			[]Entry{{Name: "a.b", Level: See, Calls: []string{""}}}},
		{"who may talk needs no rules", []string{"--call=a.b=c.d.F", "--talk=a.b"},
			[]Entry{{Name: "a.b", Level: Talk}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, policyOf(t, test.flags...).Entries()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilesAreReadAsWritten(t *testing.T) {
	var p Policy
	err := p.Read(strings.NewReader("# for the editor\n\n--talk=a.b.*\n  --call=c.d=e.f.G@/h/*  \n--talk=a.b.*\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(p.Format()), "--talk=a.b.*\n--call=c.d=e.f.G@/h/*\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := p.Read(strings.NewReader("\n--talk\n")); err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
		t.Errorf("an error in line 2: %v", err)
	}
}

func TestRefusalsTeachWhatPermitsThem(t *testing.T) {
	p := policyOf(t, "--see=a.b")
	var l Learner
	for _, r := range []Refusal{
		{Kind: Owning, Name: "me.app"},
		{Kind: Seeing, Name: "x.y"},
		{Kind: Seeing, Name: "x.y"},
		{Kind: Calling, Name: "a.b", Interface: "c.d", Member: "E", Path: "/1"},
		{Kind: Calling, Name: "a.b", Member: "E", Path: "/1"},
		{Kind: Calling, Name: "", Interface: "c.d", Member: "E", Path: "/1"},
		{Kind: Hearing, Name: "a.b", Interface: "c.d", Member: "S", Path: "/1"},
		{Kind: Calling, Name: "m.n", Interface: "o.p", Member: "Q", Path: "/1"},
		{Kind: Calling, Name: "m.n", Interface: "o.p", Member: "Q", Path: "/2"},
		{Kind: Calling, Name: "m.n", Interface: "o.p", Member: "Q", Path: "/3"},
		{Kind: Calling, Name: "m.n", Interface: "o.p", Member: "Q", Path: "/4"},
	} {
		l.Add(r)
	}
	if _, err := l.Teach(p); err != nil {
		t.Fatal(err)
	}
	want := []string{"--see=a.b", "--broadcast=a.b=c.d.S@/1", "--call=a.b=*@/1", "--call=a.b=c.d.E@/1", "--call=m.n=o.p.Q", "--own=me.app", "--see=x.y"}
	if diff := cmp.Diff(want, p.Flags()); diff != "" {
		t.Error(diff)
	}
}

// Whatever rule is taken is a match rule of at most three conditions, with nothing else in it.
func FuzzMatchRule(f *testing.F) {
	for _, rule := range []string{"", "*", "a.b.C@/d/*", "a.b.*@/", "@/*", "a'b.C", "a.b@", "*@x"} {
		f.Add(rule)
	}
	f.Fuzz(func(t *testing.T, rule string) {
		match, err := matchRule(rule)
		if err != nil {
			return
		}
		if n := strings.Count(match, "'"); n%2 != 0 || n > 6 || strings.Count(match, "=") != n/2 {
			t.Errorf("rule %q becomes %q", rule, match)
		}
	})
}
