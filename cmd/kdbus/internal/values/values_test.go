package values

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/wire"
)

// bytesBody is a body that was written, to be walked over.
type bytesBody kdbus.Body

func (b bytesBody) Walk(v wire.Visitor) error {
	return wire.Walk(wire.LittleEndian, string(b.Signature), b.Bytes, v)
}

func TestWhatIsTypedIsPrinted(t *testing.T) {
	for _, test := range []struct{ signature, args, terse, json string }{
		{"", "", "", `[]`},
		{"s", "hello", `"hello"`, `["hello"]`},
		{"ybnqiuxtd", "1 yes -2 3 -4 5 -6 7 0.5", "1 true -2 3 -4 5 -6 7 0.5", `[1,true,-2,3,-4,5,-6,7,5.000000000000000000000e-01]`},
		{"uixd", "+5 +0x10 0b11 +1e3", "5 16 3 1000", `[5,16,3,1.000000000000000000000e+03]`},
		{"ddd", "nan -INF Infinity", "nan -inf inf", `[null,null,null]`},
		{"og", "/a as", `"/a" "as"`, `["/a","as"]`},
		{"as", "0", "0", `[[]]`},
		{"asas", "2 a b 0", `2 "a" "b" 0`, `[["a","b"],[]]`},
		{"aai", "3 0 1 5 0", "3 0 1 5 0", `[[[],[5],[]]]`},
		{"a{sv}", "2 a u 1 b as 1 x", `2 "a" u 1 "b" as 1 "x"`, `[{"a":{"type":"u","data":1},"b":{"type":"as","data":["x"]}}]`},
		{"a{bd}", "1 no inf", "1 false inf", `[{"false":null}]`},
		{"(s(yu))v", "a 1 2 v s deep", `"a" 1 2 v s "deep"`, `[["a",[1,2]],{"type":"v","data":{"type":"s","data":"deep"}}]`},
	} {
		body, err := Parse(test.signature, strings.Fields(test.args))
		if err != nil {
			t.Errorf("%s %s: %v", test.signature, test.args, err)
			continue
		}
		terse, err := AppendTerse(nil, bytesBody(body))
		if err != nil || string(terse) != test.terse {
			t.Errorf("%s %s is printed as %s, %v", test.signature, test.args, terse, err)
		}
		data, err := JSON(bytesBody(body))
		if json := jsontext.Append(nil, data, jsontext.Short); err != nil || string(json) != test.json+"\n" {
			t.Errorf("%s %s is the JSON %s, %v", test.signature, test.args, json, err)
		}
	}
}

func TestWhatCannotBeTyped(t *testing.T) {
	for _, test := range []struct{ signature, args, reason string }{
		{"s", "", "a value of type STRING is missing"},
		{"s", "a b", `"b" is left over`},
		{"", "a", `"a" is left over`},
		{"y", "256", "out of range"},
		{"n", "-32769", "out of range"},
		{"u", "-1", "invalid syntax"},
		{"u", "1_000", "invalid syntax"},
		{"d", "0x_1p4", "invalid syntax"},
		{"d", "1e400", "out of range"},
		{"s", "\xff", "not UTF-8"},
		{"b", "maybe", "write yes or no"},
		{"d", "1.2.3", "invalid syntax"},
		{"o", "a", "no OBJECT_PATH"},
		{"g", "a", "no SIGNATURE"},
		{"h", "x", "no UNIX_FD"},
		{"h", "1000000", "not open"},
		{"as", "x", "not the number of elements"},
		{"as", "4294967295 a", "is missing"},
		{"v", "ss a b", "no signature for a variant"},
		{"v", "", "the signature of a variant is missing"},
		{"a{", "", "no signature"},
		{"v", strings.Repeat("v ", 100) + "s x", "deep"},
	} {
		if _, err := Parse(test.signature, strings.Fields(test.args)); err == nil || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s %s: %v, want %q", test.signature, test.args, err, test.reason)
		}
	}
}

func TestEscapes(t *testing.T) {
	const text = "a\"'\\\a\b\f\n\r\t\v\x01\x7fé\u0085"
	body, err := Parse("s", []string{text})
	if err != nil {
		t.Fatal(err)
	}
	terse, _ := AppendTerse(nil, bytesBody(body))
	if diff := cmp.Diff(`"a\"\'\\\a\b\f\n\r\t\v\001\177\303\251\302\205"`, string(terse)); diff != "" {
		t.Errorf("in one line, -want +got\n%s", diff)
	}
	tree, _ := AppendTree(nil, bytesBody(body), "  ")
	if diff := cmp.Diff(`  STRING "a"'\\a\b\f\n\r\t\v\001\177é\302\205";`+"\n", string(tree)); diff != "" {
		t.Errorf("as a tree, -want +got\n%s", diff)
	}
}

// Whatever is typed either is refused or can be printed.
func FuzzParse(f *testing.F) {
	f.Add("a{sv}", "2\x00a\x00u\x001\x00b\x00as\x001\x00x")
	f.Add("(yv)aai", "1\x00s\x00x\x002\x000\x001\x005")
	f.Add("ybnqiuxtdog", "1\x000\x00-1\x002\x00-3\x004\x00-5\x006\x00.5\x00/\x00")
	f.Fuzz(func(t *testing.T, signature, args string) {
		body, err := Parse(signature, strings.Split(args, "\x00"))
		for _, file := range body.Files {
			file.Close()
		}
		if err != nil {
			return
		}
		terse, err := AppendTerse(nil, bytesBody(body))
		if err != nil {
			t.Fatalf("the body is not valid: %v", err)
		}
		if _, err := JSON(bytesBody(body)); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(string(terse), isControl) {
			t.Errorf("control characters in %q", terse)
		}
	})
}
