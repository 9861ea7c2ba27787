package jsontext

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValues(t *testing.T) {
	all := Object{
		{"null", nil}, {"bool", true}, {"int", -1}, {"int64", int64(math.MinInt64)}, {"uint64", uint64(math.MaxUint64)},
		{"double", 0.1}, {"large", 1e300}, {"not a number", math.NaN()}, {"infinite", math.Inf(-1)},
		{"text", "a\"\\/\b\f\n\r\t\v\x00\x7fé\u0085\u2028\xff"}, {"none", []any{}}, {"empty", Object{}}, {"list", []any{uint32(1), Object{{"k", "v"}}}},
	}
	const short = `{"null":null,"bool":true,"int":-1,"int64":-9223372036854775808,"uint64":18446744073709551615,` +
		`"double":1.000000000000000055511e-01,"large":1.000000000000000052505e+300,"not a number":null,"infinite":null,` +
		`"text":"a\"\\/\b\f\n\r\t\u000b\u0000` + "\x7fé" + `\u0085` + "\u2028\ufffd" + `","none":[],"empty":{},"list":[1,{"k":"v"}]}` + "\n"
	got := string(Append(nil, all, Short))
	if diff := cmp.Diff(short, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, mode := range []Mode{Short, Pretty} {
		if text := Append(nil, all, mode); !json.Valid(text) {
			t.Errorf("this is not JSON: %s", text)
		}
	}
	const pretty = "{\n\t\"none\" : [],\n\t\"list\" : [\n\t\t1,\n\t\t{\n\t\t\t\"k\" : {}\n\t\t}\n\t]\n}\n"
	if diff := cmp.Diff(pretty, string(Append(nil, Object{{"none", []any{}}, {"list", []any{1, Object{{"k", Object{}}}}}}, Pretty))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestWhatIsPreparedIsWrittenAlike(t *testing.T) {
	value := []any{1, Object{{"k", []any{"x"}}}}
	for _, mode := range []Mode{Short, Pretty} {
		want := Append(nil, Object{{"o", Object{{"v", value}}}}, mode)
		got := Append(nil, Object{{"o", Object{{"v", Prepare(value, mode, 2)}}}}, mode)
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

func TestModes(t *testing.T) {
	for text, want := range map[string]Mode{"off": Off, "short": Short, "pretty": Pretty} {
		var m Mode
		if err := m.Set(text); err != nil || m != want || m.String() != text {
			t.Errorf("%s is %v, %v", text, m, err)
		}
	}
	if err := new(Mode).Set("yaml"); err == nil || !strings.Contains(err.Error(), "short, pretty and off") {
		t.Errorf("yaml: %v", err)
	}
}

// Any text comes back as it was, but for what is no UTF-8.
func FuzzText(f *testing.F) {
	f.Add("a\"\\\x00\u009b\u2028")
	f.Add("\xff\xc3\xe2\x80")
	f.Fuzz(func(t *testing.T, text string) {
		var back string
		b := Append(nil, text, Short)
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		want := string([]rune(text)) // U+FFFD for each byte that is no UTF-8
		if back != want {
			t.Errorf("%q becomes %q", text, back)
		}
	})
}
