package kdbus

import (
	"fmt"

	"github.com/kdbus-go/kdbus/wire"
)

// ParseMatch reads the text of a match rule, as D-Bus programs write it:
//
//	type='signal',interface='com.example.Player',arg0='volume'
//
// The empty text is the zero Match. The error wraps a [*wire.MatchRuleError].
func ParseMatch(rule string) (Match, error) {
	r, err := wire.ParseMatchRule(rule)
	if err != nil {
		return Match{}, fmt.Errorf("%w, in %q", err, rule)
	}
	m := Match{Type: r.Type, Sender: r.Sender, Interface: r.Interface, Member: r.Member, Destination: r.Destination, Eavesdrop: r.Eavesdrop}
	if r.PathIsNamespace {
		m.PathNamespace = ObjectPath(r.Path)
	} else {
		m.Path = ObjectPath(r.Path)
	}
	for _, a := range r.Args {
		switch a.Kind {
		case wire.MatchArgNamespace:
			m.Arg0Namespace = a.Value
		case wire.MatchArgPath:
			m.ArgPaths = with(m.ArgPaths, a)
		default:
			m.Args = with(m.Args, a)
		}
	}
	if err := m.Check(); err != nil {
		return Match{}, fmt.Errorf("%w, in %q", err, rule)
	}
	return m, nil
}

// with adds an argument to those of a Match.
func with(args map[int]string, a wire.MatchArg) map[int]string {
	if args == nil {
		args = make(map[int]string)
	}
	args[int(a.Index)] = a.Value
	return args
}

// MustParseMatch is [ParseMatch] for rules written in a program; it panics if the rule is
// wrong.
func MustParseMatch(rule string) Match {
	m, err := ParseMatch(rule)
	if err != nil {
		panic("kdbus: " + err.Error())
	}
	return m
}
