package tty

import "testing"

func TestCut(t *testing.T) {
	for _, test := range []struct {
		line    string
		columns int
		want    string
	}{
		{"plain", 10, "plain"}, {"plain", 3, "pla"}, {"", 3, ""}, {"épée", 2, "ép"},
		{"\x1b[1mbold\x1b[0m text", 2, "\x1b[1mbo\x1b[0m"}, {"a\x1b[38;5;245mb\x1b[0mc", 3, "a\x1b[38;5;245mb\x1b[0mc"},
	} {
		if got := Cut(test.line, test.columns); got != test.want {
			t.Errorf("%q cut to %d columns is %q, want %q", test.line, test.columns, got, test.want)
		}
	}
}

func TestStyle(t *testing.T) {
	if got := Style(false).Bold("x"); got != "x" {
		t.Errorf("without colours, bold is %q", got)
	}
	if got := Style(true).Bold("x"); got != "\x1b[1mx\x1b[0m" {
		t.Errorf("bold is %q", got)
	}
}

func TestUTF8IsWhatTheLocaleSays(t *testing.T) {
	for _, test := range []struct {
		all, lang string
		want      bool
	}{{"", "", true}, {"", "C", false}, {"", "de_DE.UTF-8", true}, {"C", "de_DE.UTF-8", false}, {"C.utf8", "C", true}} {
		t.Setenv("LC_CTYPE", "")
		t.Setenv("LC_ALL", test.all)
		t.Setenv("LANG", test.lang)
		if got := UTF8(); got != test.want {
			t.Errorf("LC_ALL=%s LANG=%s: %v", test.all, test.lang, got)
		}
	}
}
