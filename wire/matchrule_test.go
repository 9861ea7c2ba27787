package wire

import (
	"errors"
	"strings"
	"testing"
	"unsafe"
)

func mustParseMatchRule(t testing.TB, text string) *MatchRule {
	t.Helper()
	rule, err := ParseMatchRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

// The canonical forms are those dbus-daemon 1.14.10 lists for the same rules in
// GetAllMatchRules, except where a case says otherwise.
func TestParseMatchRule(t *testing.T) {
	long := strings.Repeat("x", 2000) // limits are for others
	tests := []struct {
		name, text, want string
	}{
		{"nothing", "", ""},
		{"blanks", " \t\r\n", ""},
		{"all keys, in dbus-daemon's order", `eavesdrop='true',arg3='l',arg2path='/j',arg0namespace='i',destination='g.h',sender='e.f',path='/d',member='C',interface='a.b',type='signal'`,
			`type='signal',interface='a.b',member='C',path='/d',sender='e.f',destination='g.h',eavesdrop='true',arg0namespace='i',arg2path='/j',arg3='l'`},
		{"namespace of paths", "path_namespace=/a/b", "path_namespace='/a/b'"},
		{"method call", "type=method_call", "type='method_call'"},
		{"method return", "type=method_return", "type='method_return'"},
		{"error", "type=error", "type='error'"},
		{"trailing comma", "type='signal',", "type='signal'"},
		{"trailing comma and blanks", "type='signal', \n", "type='signal'"},
		{"blanks around keys", " type\t\n ='signal',\r\n member ='M'", "type='signal',member='M'"},
		{"blanks in a value belong to it", "arg0= a ", "arg0=' a '"},
		{"quotes anywhere in a value", "type=si'gn'al,member='A'''b", "type='signal',member='Ab'"},
		{"equals signs in a value", "arg0=a='b=c'", "arg0='a=b=c'"},
		{"no value", "arg0=", "arg0=''"},
		{"no value, quoted", "arg0=''", "arg0=''"},
		{"comma in quotes", "arg0='a,b'", "arg0='a,b'"},
		{"backslash in quotes", `arg0='a\',arg1='b'`, `arg0='a\',arg1='b'`},
		{"apostrophe outside quotes", `arg0=a\'b`, `arg0='a'\''b'`},
		{"apostrophe between quotes", `arg0='a'\''b'`, `arg0='a'\''b'`},
		{"backslash before another byte", `arg0=\a`, `arg0='\a'`},
		{"backslash at the end", `arg0=\`, `arg0='\'`},
		{"the specification's first example", `arg0=''\''',arg1='\',arg2=',',arg3='\\'`, `arg0=''\''',arg1='\',arg2=',',arg3='\\'`},
		{"its second (dbus-daemon: no arg2)", `arg0=\',arg1=\,arg2=',',arg3=\\`, `arg0=''\''',arg1='\',arg2=',',arg3='\\'`},
		{"backslash before comma (dbus-daemon: one value)", `arg0=a\,arg1=b`, `arg0='a\',arg1='b'`},
		{"two backslashes before an apostrophe (dbus-daemon: refused)", `arg0=\\'a`, `arg0='\'\''a'`},
		{"line break in quotes", "arg0='a\nb'", "arg0='a\nb'"},
		{"other letters", "arg0=é", "arg0='é'"},
		{"last argument", "arg63='a',arg62path=''", "arg62path='',arg63='a'"},
		{"two digits", "arg05='a'", "arg5='a'"},
		{"argument path is any string", "arg0path='no path'", "arg0path='no path'"},
		{"sender by unique name", "sender=':1.1'", "sender=':1.1'"},
		{"namespace of one element", "arg0namespace='a-b'", "arg0namespace='a-b'"},
		{"eavesdrop=false is no key", "eavesdrop='false'", ""},
		{"eavesdrop twice, as from dbus-monitor", "eavesdrop=true,type='signal',eavesdrop='true'", "type='signal',eavesdrop='true'"},
		{"the last eavesdrop counts", "eavesdrop='true',eavesdrop='false'", ""},
		{"more than 16 keys (dbus-daemon: 16)", strings.Repeat("eavesdrop=false,", 16) + "member=M", "member='M'"},
		{"a long one", "arg0='" + long + "'", "arg0='" + long + "'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rule, err := ParseMatchRule(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := rule.String(); got != tt.want {
				t.Errorf("rule is\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestParseMatchRuleNamesTheBadKey(t *testing.T) {
	tests := []struct {
		name, text string
		key        string
		offset     int
	}{
		{"comma alone", ",", ",", 0},
		{"two commas", "type='signal',,member='M'", ",member", 14},
		{"key without value", "type='signal',member", "member", 14},
		{"key and blank without value", "member x", "member", 0},
		{"blank in a key", "ty pe='signal'", "ty", 0},
		{"value without key (dbus-daemon: ignored with the rest)", "type='signal', ='M'", "", 15},
		{"unknown key", "foo='bar'", "foo", 0},
		{"keys are lower case", "Type='signal'", "Type", 0},
		{"unbalanced quotes", "member='M',arg0='a", "arg0", 11},
		{"quotes opened by the third", "arg0='''", "arg0", 0},
		{"text after a blank after the value", "type='signal' ,member='M'", "type", 0},
		{"unknown type", "type='Signal'", "type", 0},
		{"no type", "type=", "type", 0},
		{"type twice", "type='signal',type='signal'", "type", 14},
		{"interface twice", "interface='a.b',interface='a.b'", "interface", 16},
		{"member twice", "member='A',member='B'", "member", 11},
		{"sender twice", "sender='a.b',sender='a.b'", "sender", 13},
		{"destination twice", "destination='a.b',destination='a.b'", "destination", 18},
		{"path twice", "path='/',path='/'", "path", 9},
		{"path and namespace", "path='/',path_namespace='/'", "path_namespace", 9},
		{"namespace and path", "path_namespace='/',path='/a'", "path", 19},
		{"argument twice", "arg0='a',arg1='b',arg0='a'", "arg0", 18},
		{"argument twice, differently", "arg0='a',arg0path='a'", "arg0path", 9},
		{"argument and its namespace", "arg0namespace='a',arg0='a'", "arg0", 18},
		{"bad interface", "interface='a'", "interface", 0},
		{"bad member", "member='a.b'", "member", 0},
		{"bad path", "path='/a/'", "path", 0},
		{"bad namespace of paths", "path_namespace=''", "path_namespace", 0},
		{"bad sender", "sender='a'", "sender", 0},
		{"bad destination", "destination=''", "destination", 0},
		{"bad namespace", "arg0namespace='a..b'", "arg0namespace", 0},
		{"empty namespace", "arg0namespace=''", "arg0namespace", 0},
		{"bad eavesdrop", "eavesdrop='TRUE'", "eavesdrop", 0},
		{"argument 64", "arg64='a'", "arg64", 0},
		{"argument beyond all numbers", "arg18446744073709551616path='a'", "arg18446744073709551616path", 0},
		{"argument without number", "arg='a'", "arg", 0},
		{"key like an argument", "args='a'", "args", 0},
		{"unknown kind of argument", "arg0foo='a'", "arg0foo", 0},
		{"namespace of another argument", "arg1namespace='a'", "arg1namespace", 0},
		{"signed number (dbus-daemon: arg1)", "arg+1='a'", "arg+1", 0},
		{"octal number (dbus-daemon: arg8)", "arg010='a'", "arg010", 0},
		{"hexadecimal number (dbus-daemon: arg1)", "arg0x1='a'", "arg0x1", 0},
		{"bad key after 16 (dbus-daemon: ignored)", strings.Repeat("eavesdrop=false,", 16) + "foo=bar", "foo", 256},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rule, err := ParseMatchRule(tt.text)
			var bad *MatchRuleError
			if !errors.As(err, &bad) {
				t.Fatalf("rule %v, error %v; want a MatchRuleError", rule, err)
			}
			if bad.Key != tt.key || bad.Offset != tt.offset || bad.Reason == "" {
				t.Errorf("error says key %q at %d: %s; want %q at %d", bad.Key, bad.Offset, bad.Reason, tt.key, tt.offset)
			}
		})
	}
}

func TestMatchRuleKeepsNothingOfItsText(t *testing.T) {
	const want = "type='signal',interface='a.b',member='C',path='/d',sender='e.f',arg0='g'"
	text := []byte(want)
	rule := mustParseMatchRule(t, unsafe.String(&text[0], len(text)))
	clear(text)
	if got := rule.String(); got != want {
		t.Errorf("rule became %s", got)
	}
}

func TestMatchRuleEqual(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"", " ", true},
		{"type='signal',member='M'", "member=M,type=signal", true},
		{"arg1='b',arg0='a'", "arg0=a,arg1=b", true},
		{"member='M'", "member='M',eavesdrop='false'", true},
		{"member='M'", "member='M',eavesdrop='true'", false},
		{"member='M'", "member='N'", false},
		{"member='M'", "member='M',type='signal'", false},
		{"type='signal'", "type='error'", false},
		{"interface='a.b'", "interface='a.c'", false},
		{"sender='a.b'", "destination='a.b'", false},
		{"path='/a'", "path_namespace='/a'", false},
		{"path='/a'", "path='/b'", false},
		{"path_namespace='/a'", "path_namespace='/b'", false}, // dbus-daemon: true
		{"arg0='a'", "arg1='a'", false},
		{"arg0='a'", "arg0path='a'", false},
		{"arg0='a'", "arg0namespace='a'", false},
		{"arg0='a'", "arg0='b'", false},
		{"arg0=''", "", false},
	}
	for _, tt := range tests {
		a, b := mustParseMatchRule(t, tt.a), mustParseMatchRule(t, tt.b)
		if a.Equal(b) != tt.want || b.Equal(a) != tt.want {
			t.Errorf("%q and %q: Equal is %v and %v, want %v", tt.a, tt.b, a.Equal(b), b.Equal(a), tt.want)
		}
	}
}

// The examples of the specification for argNpath, and what the other kinds of keys say.
func TestMatchArgs(t *testing.T) {
	for _, test := range []struct {
		rule string
		typ  byte
		text string
		want bool
	}{
		{"arg0path='/aa/bb/'", 's', "/", true},
		{"arg0path='/aa/bb/'", 'o', "/aa/", true},
		{"arg0path='/aa/bb/'", 's', "/aa/bb/", true},
		{"arg0path='/aa/bb/'", 's', "/aa/bb/cc/", true},
		{"arg0path='/aa/bb/'", 'o', "/aa/bb/cc", true},
		{"arg0path='/aa/bb/'", 's', "/aa/b", false},
		{"arg0path='/aa/bb/'", 'o', "/aa", false},
		{"arg0path='/aa/bb/'", 's', "/aa/bb", false},
		{"arg0path='/aa/bb/'", 'g', "/aa/bb/", false},
		{"arg0='a'", 's', "a", true},
		{"arg0='a'", 's', "b", false},
		{"arg0='/a'", 'o', "/a", false}, // strings only
		{"arg0namespace='a.b'", 's', "a.b", true},
		{"arg0namespace='a.b'", 's', "a.b.c", true},
		{"arg0namespace='a.b'", 's', "a.bc", false},
		{"arg0namespace='a.b'", 's', "a", false},
		{"arg0=''", 0, "", false}, // there is none
	} {
		if got := mustParseMatchRule(t, test.rule).Args[0].Matches(test.typ, test.text); got != test.want {
			t.Errorf("%s, %c %q: %v, want %v", test.rule, test.typ, test.text, got, test.want)
		}
	}
}

func TestPathInNamespace(t *testing.T) {
	for _, test := range []struct {
		path, namespace string
		want            bool
	}{
		{"/a/b", "/a/b", true}, {"/a/b", "/a", true}, {"/a/b", "/", true}, {"/", "/", true},
		{"/ab", "/a", false}, {"/a", "/a/b", false}, {"/", "/a", false}, {"", "/", false},
	} {
		if got := PathInNamespace(test.path, test.namespace); got != test.want {
			t.Errorf("%q in %q: %v, want %v", test.path, test.namespace, got, test.want)
		}
	}
}

// What can be read can be printed and read again, and is the same.
func FuzzMatchRule(f *testing.F) {
	for _, text := range []string{
		"",
		"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='Foo',path='/bar/foo',destination=':452345.34',arg2='bar'",
		`arg0=\',arg1=\,arg2=',',arg3=\\`,
		"path_namespace=/a, eavesdrop = true,arg0namespace='a.b',arg63path=",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := ParseMatchRule(text)
		if err != nil {
			if rule != nil || err.Error() == "" {
				t.Fatalf("rule %v with error %q", rule, err)
			}
			return
		}
		printed := rule.String()
		again, err := ParseMatchRule(printed)
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", text, printed, err)
		}
		if !rule.Equal(again) || again.String() != printed {
			t.Fatalf("%q is printed as %q, which is %q", text, printed, again)
		}
	})
}
