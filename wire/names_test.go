package wire_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

// The grammar of names once more, as regular expressions.
var grammar = []struct {
	name  string
	check func(string) error
	valid *regexp.Regexp
	limit int
}{
	{"interface", wire.CheckInterface, regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$`), 255},
	{"error", wire.CheckErrorName, regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$`), 255},
	{"member", wire.CheckMember, regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`), 255},
	{"path", wire.CheckObjectPath, regexp.MustCompile(`^(/|(/[A-Za-z0-9_]+)+)$`), 1 << 30},
	{"well-known", wire.CheckWellKnownName, regexp.MustCompile(`^[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+$`), 255},
	{"namespace", wire.CheckNamespace, regexp.MustCompile(`^([A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)*|:|:\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)$`), 255},
	{"bus", wire.CheckBusName, regexp.MustCompile(`^([A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+|:|:\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)$`), 255},
}

func checkAgainstGrammar(t *testing.T, s string) {
	t.Helper()
	for _, g := range grammar {
		want := len(s) <= g.limit && g.valid.MatchString(s) && !strings.HasSuffix(s, "\n")
		err := g.check(s)
		if (err == nil) != want {
			t.Errorf("%s %q: %v, want valid: %v", g.name, s, err, want)
		}
		var e *wire.Error
		if err != nil && (!errors.As(err, &e) || e.Offset < 0 || e.Offset > len(s) || e.Reason == "") {
			t.Errorf("%s %q: error %#v has no place or reason", g.name, s, err)
		}
	}
}

var nameSeeds = []string{
	"", ".", "..", "/", "//", "/a", "/a/", "/a//b", "/a/b_1", "/-", "a/b", "a", "a.b", "a..b", ".a.b", "a.b.", "a.1b", "1a.b",
	"a-b.c", "-a.-b", "_a._b", "org.freedesktop.DBus", "org.freedesktop.DBus.Local", ":", ":1", ":1.2", ":.", ":.1", ":..1",
	":1.", ":1..2", "::1", ":1.a-b_c", ":1.é", "Ping", "9lives", "Get-It", "Grüße", "a\x00b", "a.b\n", "/a\x00",
	strings.Repeat("a", 255), strings.Repeat("a", 256), strings.Repeat("a", 253) + ".b", strings.Repeat("a", 254) + ".b",
	":" + strings.Repeat("1", 254), ":" + strings.Repeat("1", 255), "/" + strings.Repeat("a", 5000),
}

func TestNamesFollowTheGrammar(t *testing.T) {
	for _, s := range nameSeeds {
		checkAgainstGrammar(t, s)
	}
}

func TestErrorsOfNamesSayWhatAndWhere(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{wire.CheckInterface("foo"), `wire: invalid interface name "foo": at byte 3: it has no dot`},
		{wire.CheckInterface("a.2b"), `wire: invalid interface name "a.2b": at byte 2: an element may not begin with "2"`},
		{wire.CheckWellKnownName("a..b"), `wire: invalid well-known name "a..b": at byte 2: an element is empty`},
		{wire.CheckObjectPath("/a/"), `wire: invalid object path "/a/": at byte 2: it ends with a slash`},
		{wire.CheckSignature("a{vs}"), `wire: invalid signature "a{vs}": at byte 2: the key of a dict entry is not of a basic type`},
		{wire.CheckSingleSignature("ss"), `wire: invalid signature "ss": at byte 1: it goes on after one complete type`},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
}

func TestUniqueNamesBeginWithAColon(t *testing.T) {
	for s, want := range map[string]bool{"": false, ":": true, ":1.1": true, "a.b": false} {
		if wire.IsUniqueName(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range nameSeeds {
		f.Add(s)
	}
	f.Fuzz(checkAgainstGrammar)
}

func BenchmarkCheckInterface(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if wire.CheckInterface("org.freedesktop.DBus.Properties") != nil {
			b.Fatal()
		}
	}
}
