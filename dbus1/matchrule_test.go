package dbus1

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/kdbus-go/kdbus/wire"
)

// setBody gives m a body.
func setBody(t interface{ Fatal(...any) }, m *matchMessage, args ...any) {
	if len(args) == 0 {
		return
	}
	body, signature, err := wire.AppendBody(nil, m.Header.Order, args...)
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Signature, m.Header.BodySize, m.Body = string(signature), uint32(len(body)), body
}

// The canonical forms are those dbus-daemon 1.14.10 lists for the same rules in
// GetAllMatchRules, except where a case says otherwise.
func TestParseMatchRule(t *testing.T) {
	long := strings.Repeat("x", maxMatchRuleLength-len("arg0=''"))
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
		{"the longest", "arg0='" + long + "'", "arg0='" + long + "'"},
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

func TestParseMatchRuleLimitsLength(t *testing.T) {
	if _, err := ParseMatchRule(strings.Repeat(" ", maxMatchRuleLength+1)); !errors.Is(err, ErrMatchRuleTooLong) {
		t.Errorf("error %v, want %v", err, ErrMatchRuleTooLong)
	}
}

func TestMatchRuleKeepsNothingOfItsText(t *testing.T) {
	const want = "type='signal',interface='a.b',member='C',path='/d',sender='e.f',arg0='g'"
	text := []byte(want)
	rule := mustParse(t, unsafe.String(&text[0], len(text)))
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
		a, b := mustParse(t, tt.a), mustParse(t, tt.b)
		if a.Equal(b) != tt.want || b.Equal(a) != tt.want {
			t.Errorf("%q and %q: Equal is %v and %v, want %v", tt.a, tt.b, a.Equal(b), b.Equal(a), tt.want)
		}
	}
}

// testMessage is a signal with everything. edit may change it.
func testMessage(t *testing.T, edit func(*matchMessage)) *matchMessage {
	m := signalMessage(t, ":1.5", "/a/b", "org.a.I", "M", "org.a.b", int32(1), wire.ObjectPath("/x/y"), []string{"in an array"}, "/dir/", "")
	m.Senders = []string{":1.5", "org.sender"}
	if edit != nil {
		edit(m)
	}
	return m
}

func TestMatchRuleMatches(t *testing.T) {
	unicast := func(m *matchMessage) {
		m.Header.Destination = "org.receiver"
		m.Destinations = []string{":1.7", "org.receiver", "org.other"}
	}
	unowned := func(m *matchMessage) {
		m.Header.Destination = "org.receiver"
		m.Destinations = []string{"org.receiver"}
	}
	reply := func(m *matchMessage) {
		*m = matchMessage{Header: &wire.Header{Order: wire.LittleEndian, Type: wire.TypeMethodReturn, Destination: ":1.7"}, Destinations: []string{":1.7"}}
	}
	root := func(m *matchMessage) { m.Header.Path = "/" }

	tests := []struct {
		rule string
		edit func(*matchMessage)
		want bool
	}{
		{"", nil, true},
		{"type='signal'", nil, true},
		{"type='method_call'", nil, false},
		{"interface='org.a.I'", nil, true},
		{"interface='org.a.J'", nil, false},
		{"member='M'", nil, true},
		{"member='N'", nil, false},
		{"type='signal',interface='org.a.I',member='M',path='/a/b',sender=':1.5',arg0='org.a.b'", nil, true},
		{"type='signal',interface='org.a.I',member='M',path='/a/b',sender=':1.5',arg0='org.a'", nil, false},

		{"sender=':1.5'", nil, true},
		{"sender='org.sender'", nil, true},
		{"sender=':1.6'", nil, false},
		{"sender='org.freedesktop.DBus'", nil, false},
		{"sender='org.freedesktop.DBus'", func(m *matchMessage) { m.Senders = []string{driverName} }, true},

		{"path='/a/b'", nil, true},
		{"path='/a'", nil, false},
		{"path_namespace='/a/b'", nil, true},
		{"path_namespace='/a'", nil, true},
		{"path_namespace='/'", nil, true},
		{"path_namespace='/a/b/c'", nil, false},
		{"path_namespace='/a'", func(m *matchMessage) { m.Header.Path = "/ab" }, false},
		{"path_namespace='/'", root, true},
		{"path_namespace='/a'", root, false},

		{"", unicast, false},
		{"sender=':1.5'", unicast, false},
		{"destination='org.receiver'", unicast, false},
		{"eavesdrop='true'", unicast, true},
		{"eavesdrop='true'", nil, true},
		{"eavesdrop='true',destination='org.receiver'", unicast, true},
		{"eavesdrop='true',destination=':1.7'", unicast, true},
		{"eavesdrop='true',destination='org.other'", unicast, true},
		{"eavesdrop='true',destination=':1.8'", unicast, false},
		{"eavesdrop='true',destination='org.receiver'", unowned, true},
		{"eavesdrop='true',destination='org.other'", unowned, false},
		{"eavesdrop='true',destination=':1.7'", nil, false},

		{"eavesdrop='true'", reply, true},
		{"eavesdrop='true',type='method_return'", reply, true},
		{"eavesdrop='true',interface='org.a.I'", reply, false},
		{"eavesdrop='true',member='M'", reply, false},
		{"eavesdrop='true',path_namespace='/'", reply, false},
		{"eavesdrop='true',arg0=''", reply, false},
		{"eavesdrop='true',arg0path=''", reply, false},

		{"arg0='org.a.b'", nil, true},
		{"arg0='org.a'", nil, false},
		{"arg1='1'", nil, false},
		{"arg2='/x/y'", nil, false}, // strings only
		{"arg3='in an array'", nil, false},
		{"arg4='/dir/'", nil, true},
		{"arg5=''", nil, true},
		{"arg6=''", nil, false},
		{"arg63=''", nil, false},
		{"arg0='org.a.b',arg4='/dir/',arg5=''", nil, true},

		{"arg0namespace='org'", nil, true},
		{"arg0namespace='org.a'", nil, true},
		{"arg0namespace='org.a.b'", nil, true},
		{"arg0namespace='org.a.b.c'", nil, false},
		{"arg0namespace='or'", nil, false},
		{"arg0namespace='a'", nil, false},

		{"arg2path='/x/y'", nil, true},
		{"arg2path='/x/'", nil, true},
		{"arg2path='/'", nil, true},
		{"arg2path='/x'", nil, false},
		{"arg2path='/x/y/'", nil, false},
		{"arg4path='/dir/'", nil, true},
		{"arg4path='/dir/file'", nil, true},
		{"arg4path='/dir/sub/'", nil, true},
		{"arg4path='/'", nil, true},
		{"arg4path='/dir'", nil, false},
		{"arg4path='/d'", nil, false},
		{"arg4path='/other/'", nil, false},
		{"arg4path=''", nil, false},
		{"arg5path=''", nil, true},
		{"arg5path='/'", nil, false},
		{"arg1path='/'", nil, false},
		{"arg6path=''", nil, false},
	}
	for _, tt := range tests {
		m := testMessage(t, tt.edit)
		t.Run(fmt.Sprintf("%s of %s to %q", tt.rule, m.Header.Type, m.Header.Destination), func(t *testing.T) {
			if got := mustParse(t, tt.rule).matches(m); got != tt.want {
				t.Errorf("matches is %v, want %v", got, tt.want)
			}
			m.Header.Order = wire.BigEndian
			if len(m.Body) > 0 {
				setBody(t, m, "org.a.b", int32(1), wire.ObjectPath("/x/y"), []string{"in an array"}, "/dir/", "")
			}
			again(m)
			if got := mustParse(t, tt.rule).matches(m); got != tt.want {
				t.Errorf("big-endian, matches is %v, want %v", got, tt.want)
			}
		})
	}
}

// The examples of the specification for argNpath.
func TestMatchRuleArgPathExamples(t *testing.T) {
	rule := mustParse(t, "arg0path='/aa/bb/'")
	for arg, want := range map[string]bool{
		"/": true, "/aa/": true, "/aa/bb/": true, "/aa/bb/cc/": true, "/aa/bb/cc": true,
		"/aa/b": false, "/aa": false, "/aa/bb": false,
	} {
		if got := rule.matches(signalMessage(t, ":1.5", "/", "a.b", "M", arg)); got != want {
			t.Errorf("%s: %v, want %v", arg, got, want)
		}
	}
}

func TestMonitorsEavesdropWhateverTheirRulesSay(t *testing.T) {
	m := testMessage(t, func(m *matchMessage) {
		m.Header.Destination, m.Destinations = ":1.7", []string{":1.7"}
	})
	for text, want := range map[string]bool{
		"":                          true,
		"eavesdrop='false'":         true,
		"eavesdrop='true'":          true,
		"destination=':1.7'":        true,
		"destination=':1.8'":        false,
		"eavesdrop=true,member='N'": false,
	} {
		rule := mustParse(t, text)
		before := rule.String()
		if got := rule.forMonitor().matches(m); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if rule.String() != before {
			t.Errorf("%q became %q", before, rule)
		}
	}
}

func TestMatchMessageReadsArgumentsOnce(t *testing.T) {
	m := testMessage(t, nil)
	if got := m.arg(0); got != (matchValue{"org.a.b", 's'}) {
		t.Errorf("argument 0 is %v", got)
	}
	if len(m.args) != 1 {
		t.Errorf("%d arguments read, want 1", len(m.args))
	}
	for _, i := range []int{5, 2} {
		m.arg(i)
		if len(m.args) != 6 {
			t.Errorf("after asking for argument %d, %d arguments read, want 6", i, len(m.args))
		}
	}
	if got := m.arg(6); got != (matchValue{}) {
		t.Errorf("argument 6 is %v", got)
	}
	m.reset()
	m.Header = &wire.Header{Order: wire.LittleEndian}
	if got := m.arg(0); got != (matchValue{}) {
		t.Errorf("after reset, argument 0 is %v", got)
	}
}

// What can be read can be printed and read again, and is the same; and no rule
// makes matching fail.
func FuzzParseMatchRule(f *testing.F) {
	for _, text := range []string{
		"",
		"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='Foo',path='/bar/foo',destination=':452345.34',arg2='bar'",
		`arg0=\',arg1=\,arg2=',',arg3=\\`,
		"path_namespace=/a, eavesdrop = true,arg0namespace='a.b',arg63path=",
	} {
		f.Add(text, "/a/b")
	}
	f.Fuzz(func(t *testing.T, text, arg string) {
		rule, err := ParseMatchRule(text)
		if err != nil {
			if rule != nil || err.Error() == "" {
				t.Fatalf("rule %v with error %q", rule, err)
			}
			return
		}
		printed := rule.String()
		again, err := parseMatchRule(printed)
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", text, printed, err)
		}
		if !rule.Equal(again) || again.String() != printed {
			t.Fatalf("%q is printed as %q, which is %q", text, printed, again)
		}
		m := &matchMessage{Header: &wire.Header{Order: wire.LittleEndian, Type: wire.TypeSignal, Path: rule.path, Interface: rule.iface, Member: rule.member}}
		m.Senders = []string{rule.sender}
		if body, sig, err := wire.AppendBody(nil, wire.LittleEndian, arg, arg); err == nil {
			m.Header.Signature, m.Body = string(sig), body
		}
		x := newMatchIndex()
		x.add(nil, rule, nil)
		if found := x.collect(m, nil); rule.matches(m) != (len(found) == 1) {
			t.Fatalf("%q: matches is %v, the index finds %d", text, rule.matches(m), len(found))
		}
		if !x.remove(nil, again) || x.len() != 0 {
			t.Fatalf("%q: not removed by %q", text, printed)
		}
	})
}
