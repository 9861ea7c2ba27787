package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

// nested returns inside within n pairs of brackets.
func nested(open string, n int, inside, closed string) string {
	return strings.Repeat(open, n) + inside + strings.Repeat(closed, n)
}

var validSignatures = []string{
	"", "y", "ybnqiuxtdsoghv", "as", "aay", "a{sv}", "a{oa{sa{sv}}}", "(i)", "(i(ii))", "a(ii)", "ii(ii)a{yv}v",
	"a{s(iau)}", strings.Repeat("y", 255), nested("a", 32, "y", ""), nested("(", 32, "y", ")"),
	nested("a", 32, nested("(", 32, "y", ")"), ""), nested("a{s", 32, "i", "}"), "(((i)i)i)",
}

var invalidSignatures = []string{
	"a", "aa", "(", ")", "()", "(i", "i)", "(ii", "ii)", "a(", "(a)", "r", "e", "{sv}", "a{", "a{s", "a{sv", "a{s}", "a{}",
	"a{vs}", "a{(i)s}", "a{ass}", "a{svs}", "(a{sv)", "(a{sv)}", "a{s)v}", "a{s(})", "z", "\x00", "s s", "é", "m", "*", "?", "@", "&",
	strings.Repeat("y", 256), nested("a", 33, "y", ""), nested("(", 33, "y", ")"), nested("a{s", 33, "i", "}"),
	nested("a(", 32, "ay", ")"), "a{sv}}", "(i))",
}

func TestSignatures(t *testing.T) {
	for _, s := range validSignatures {
		if err := wire.CheckSignature(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range invalidSignatures {
		if wire.CheckSignature(s) == nil {
			t.Errorf("%q is valid", s)
		}
	}
}

func TestSingleSignatures(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "s": true, "ss": false, "as": true, "aas": true, "asy": false, "a{sv}": true, "a{sv}s": false,
		"(ss)": true, "(s)(s)": false, "((s)a(s))": true, "v": true, "a": false,
	} {
		if err := wire.CheckSingleSignature(s); (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzSignature(f *testing.F) {
	for _, list := range [][]string{validSignatures, invalidSignatures} {
		for _, s := range list {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := wire.CheckSignature(s)
		var e *wire.Error
		if err != nil && (!errors.As(err, &e) || e.Offset < 0 || e.Offset > len(s)) {
			t.Fatalf("%q: error %#v has no place", s, err)
		}
		if s != "" && wire.CheckSingleSignature(s) == nil && err != nil {
			t.Fatalf("%q is one complete type but not a signature: %v", s, err)
		}
		if err != nil {
			return
		}
		// A valid signature is valid twice, and inside an array of structs.
		if len(s) <= 127 && wire.CheckSignature(s+s) != nil {
			t.Fatalf("%q is valid once only", s)
		}
		depth := strings.Count(s, "(") + strings.Count(s, "a")
		if s != "" && len(s) <= 252 && depth < 32 && wire.CheckSingleSignature("a("+s+")") != nil {
			t.Fatalf("%q is not valid inside an array of structs", s)
		}
	})
}

func BenchmarkCheckSignature(b *testing.B) {
	for _, s := range []string{"su", "a{oa{sa{sv}}}"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if wire.CheckSignature(s) != nil {
					b.Fatal()
				}
			}
		})
	}
}
