package dbus1

import (
	"errors"
	"fmt"
	"strings"
	"testing"

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

func TestMatchRulesAreLimited(t *testing.T) {
	if _, err := parseMatchRule(strings.Repeat(" ", maxMatchRuleLength+1)); !errors.Is(err, errMatchRuleTooLong) {
		t.Errorf("error %v, want %v", err, errMatchRuleTooLong)
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

// No rule makes matching fail, and the index finds what matches.
func FuzzMatchRule(f *testing.F) {
	for _, text := range []string{
		"",
		"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='Foo',path='/bar/foo',destination=':452345.34',arg2='bar'",
		`arg0=\',arg1=\,arg2=',',arg3=\\`,
		"path_namespace=/a, eavesdrop = true,arg0namespace='a.b',arg63path=",
	} {
		f.Add(text, "/a/b")
	}
	f.Fuzz(func(t *testing.T, text, arg string) {
		rule, err := parseMatchRule(text)
		if err != nil {
			return
		}
		m := &matchMessage{Header: &wire.Header{Order: wire.LittleEndian, Type: wire.TypeSignal, Path: rule.Path, Interface: rule.Interface, Member: rule.Member}}
		m.Senders = []string{rule.Sender}
		if body, sig, err := wire.AppendBody(nil, wire.LittleEndian, arg, arg); err == nil {
			m.Header.Signature, m.Body = string(sig), body
		}
		x := newMatchIndex()
		x.add(nil, rule, nil)
		if found := x.collect(m, nil); rule.matches(m) != (len(found) == 1) {
			t.Fatalf("%q: matches is %v, the index finds %d", text, rule.matches(m), len(found))
		}
		if !x.remove(nil, rule) || x.len() != 0 {
			t.Fatalf("%q: not removed", text)
		}
	})
}
