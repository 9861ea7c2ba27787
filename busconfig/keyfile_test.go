package busconfig

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServiceFiles(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want Service
	}{
		"everything": {
			"[D-BUS Service]\nName=a.b\nExec=/bin/a b\nUser=joe\nSystemdService=a.service\nAssumedAppArmorLabel=/bin/a\n",
			Service{Name: "a.b", Exec: "/bin/a b", User: "joe", SystemdService: "a.service", AssumedAppArmorLabel: "/bin/a"},
		},
		"no newline at the end": {"[D-BUS Service]\nName=a.b\nExec=c", Service{Name: "a.b", Exec: "c"}},
		"comments and blanks":   {"# [x\n\n \t\n[D-BUS Service]\n#Name=x.y\nName=a.b\n\f\nExec=c\n#", Service{Name: "a.b", Exec: "c"}},
		"ends of lines":         {"[D-BUS Service]\r\nName=a.b\rExec=c\r\n\r\r\n", Service{Name: "a.b", Exec: "c"}},
		"blanks around =":       {"[D-BUS Service]\nName  =  a.b\nExec= \tc \n", Service{Name: "a.b", Exec: "\tc "}},
		"escapes":               {"[D-BUS Service]\nName=a.b\nExec=\\sa\\tb\\nc\\rd\\\\s\n", Service{Name: "a.b", Exec: " a\tb\nc\rd\\s"}},
		"translations":          {"[D-BUS Service]\nName[de_DE@euro]=x\\\nName=a.b\nExec[=y\nExec=c\n", Service{Name: "a.b", Exec: "c"}},
		"first key counts":      {"[D-BUS Service]\nName=a.b\nName=x.y\nExec=c\nExec=d", Service{Name: "a.b", Exec: "c"}},
		"first section counts":  {"[D-BUS Service]\nName=a.b\nExec=c\n[D-BUS Service]\nUser=joe", Service{Name: "a.b", Exec: "c"}},
		"other sections":        {"[A]\nName=x.y\nX-Key=1\n[D-BUS Service]\nName=a.b\nExec=c\nX-Key=2\n[B]\nUser=joe\n", Service{Name: "a.b", Exec: "c"}},
		"empty values":          {"[D-BUS Service]\nName=a.b\nExec=\nUser=\n", Service{Name: "a.b"}},
		"UTF-8":                 {"[D-BUS Service]\nName=a.b\nExec=/bin/\u00e9", Service{Name: "a.b", Exec: "/bin/\u00e9"}},
	} {
		got, err := parseService("f", []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		test.want.File = "f"
		if diff := cmp.Diff(&test.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestServiceFilesThatAreWrong(t *testing.T) {
	const good = "[D-BUS Service]\nName=a.b\nExec=c\n"
	for name, test := range map[string]struct{ text, want string }{
		"empty":                 {"", "f: has no section [D-BUS Service]"},
		"other case":            {"[D-Bus Service]\nName=a.b\nExec=c", "f: has no section [D-BUS Service]"},
		"no name":               {"[D-BUS Service]\nExec=c", "f: Name: is missing"},
		"no command":            {"[D-BUS Service]\nName=a.b", "f: Exec: is missing"},
		"invalid name":          {"[D-BUS Service]\nName=a\nExec=c", "f:2: Name: wire: invalid well-known name"},
		"unique name":           {"[D-BUS Service]\nName=:1.1\nExec=c", "f:2: Name: wire: invalid well-known name"},
		"key before section":    {"Name=a.b\n" + good, `f:1: "Name=a.b" stands before the first [section]`},
		"mark before section":   {"\ufeff" + good, "f:1: "},
		"section not closed":    {good + "[a", `f:4: "[a" is not a section`},
		"section without name":  {good + "[]", `f:4: "[]" is not a section`},
		"text after section":    {good + "[a] ", `f:4: "[a] " is not a section`},
		"bracket in section":    {good + "[a[]", "f:4: the name of the section \"a[\" has the byte '['"},
		"control in section":    {good + "[a\tb]", "f:4: the name of the section"},
		"section not ASCII":     {good + "[\u00e9]", "f:4: the name of the section"},
		"blank before key":      {good + " a=b", `f:4: " a=b" does not begin with a key`},
		"no key":                {good + "=b", `f:4: "=b" does not begin with a key`},
		"underscore in key":     {good + "a_b=c", `f:4: after the key "a" comes "_b=c" instead of =`},
		"tab before =":          {good + "a\t=c", "f:4: after the key \"a\" comes \"\\t=c\" instead of ="},
		"no =":                  {good + "a ", `f:4: after the key "a" there is no =`},
		"unknown escape":        {good + `a=\x`, `f:4: the value of "a" has \x`},
		"backslash at the end":  {good + `a=\`, `f:4: the value of "a" ends in \`},
		"not UTF-8":             {good + "a=\xff", "f: is not text in UTF-8"},
		"zero byte":             {good + "#\x00", "f: is not text in UTF-8"},
		"wrong in other places": {"[x]\na\n" + good, `f:2: after the key "a" there is no =`},
	} {
		_, err := parseService("f", []byte(test.text))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: the error is a %T", name, err)
		}
	}
	long := write(t, filepath.Join(t.TempDir(), "long"), good+strings.Repeat("#", MaxServiceFileSize))
	if _, err := ParseService(long); err == nil || !strings.Contains(err.Error(), "longer than 131072 bytes") {
		t.Error(err)
	}
}

func TestCommandsAreSplitLikeDBusDaemonDoes(t *testing.T) {
	for line, want := range map[string][]string{
		`a`:                 {"a"},
		` a  b	c`:           {"a", "b", "c"},
		`'a b' "c d"`:       {"a b", "c d"},
		`a'b'"c"d`:          {"abcd"},
		`'\' "\x\"\\\$"`:    {`\`, "\\x\"\\$"},
		"a\\ b \\'c \\\nd":  {"a b", "'c", "d"},
		"\"a\\\nb\" 'c\nd'": {"a\nb", "c\nd"},
		`'' ""`:             {"", ""},
		`$HOME ~ *.c`:       {"$HOME", "~", "*.c"},
		`a # b`:             {"a", ""},
		"a#b c":             {"a"},
		"a #b\nc":           {"a", "c"},
		"a\nb":              {"a", "b"},
		"a\n\n":             {"a", "", ""},
		"a ":                {"a", ""},
		"":                  {""},
		`'a`:                nil,
		`"a\"`:              nil,
		`a\`:                nil,
		`a #`:               nil,
	} {
		got, err := SplitCommand(line)
		if (err == nil) != (want != nil) {
			t.Errorf("%q: %v", line, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", line, diff)
		}
	}
	for _, exec := range []string{"", "'a", "''", "#a"} {
		s := Service{File: "f", Exec: exec}
		if words, err := s.Command(); err == nil || !strings.HasPrefix(err.Error(), "f: Exec: the command line") {
			t.Errorf("%q: %q, %v", exec, words, err)
		}
	}
}
