package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestArgumentsAreArranged(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", ""},
		{"--user list", "list --user"},
		{"--address x --json=short list", "list --address x --json=short"},
		{"--match list monitor", "monitor --match list"},
		{"-q -- call a / b c", "call -q -- a / b c"},
		{"list --user", "list --user"},
		{"--user", "list --user"},
		{"-j", "list -j"},
		{"--address=x --no-legend", "list --address=x --no-legend"},
		{"--help", "--help"},
		{"-h", "-h"},
		{"--version", "--version"},
		{"--user help", "help --user"},
		{"--user nonsense", "nonsense --user"},
		{"daemon --address x", "daemon --address x"},
		{"--nonsense daemon", "--nonsense daemon"},
		{"--user call a / b c i -1 --json short", "call --user --json short -- a / b c i -1"},
		{"call a / b c dd -.5 -inf", "call -- a / b c dd -.5 -inf"},
		{"call a / b c i -1 -- -2", "call a / b c i -1 -- -2"},
		{"call a / b c --timeout -1", "call --timeout -1 -- a / b c"},
		{"status -5", "status -5"},
	} {
		if got := strings.Join(arrange(newRootCommand(), strings.Fields(test.args)), " "); got != test.want {
			t.Errorf("%s becomes %s, want %s", test.args, got, test.want)
		}
	}
}

func TestWrongNumbersOfArguments(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"call", "kdbus call: SERVICE, OBJECT, INTERFACE and METHOD are missing; what is needed: kdbus call [flags] SERVICE "},
		{"set-property a / b c d", "kdbus set-property: VALUE is missing; "},
		{"wait a b", "kdbus wait: SIGNAL is missing; "},
		{"wait a b c d e", `kdbus wait: "e" is too much; `},
		{"list x", `kdbus list: "x" is too much; what is taken: kdbus list`},
		{"status a b", `kdbus status: "b" is too much; `},
		{"introspect a / b c", `kdbus introspect: "c" is too much; `},
	} {
		var stdout, stderr bytes.Buffer
		code := execute(strings.Fields(test.args), &stdout, &stderr)
		if code != exitFailure || !strings.HasPrefix(stderr.String(), test.want) {
			t.Errorf("%s: exit code %d, %s", test.args, code, stderr.String())
		}
	}
}
