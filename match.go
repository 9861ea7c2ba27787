package kdbus

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// Match says which messages are wanted (specification, "Match Rules"). All fields that are not
// zero must hold; the zero Match is for everything. A Match is a plain value; those who got one
// must not change its maps.
type Match struct {
	// Type is the type of message. Subscribe takes 0 for TypeSignal.
	Type Type
	// Sender is a unique name, or a well-known one, which stands for its owner at the time.
	Sender    string
	Interface string
	Member    string
	// Path is that of the emitting object, PathNamespace the same or one above it; give one.
	Path          ObjectPath
	PathNamespace ObjectPath
	Destination   string
	// Args are what arguments must be, by index from 0 to 63: strings, and equal.
	Args map[int]string
	// ArgPaths are the same for strings and object paths that are equal, or one of which
	// ends with a slash and is a prefix of the other.
	ArgPaths map[int]string
	// Arg0Namespace is what argument 0 must be or begin with, followed by a dot.
	Arg0Namespace string
	// Eavesdrop asks for messages to others. Buses may refuse it; see [Conn.Monitor].
	Eavesdrop bool
}

// String returns the match as the text of a rule, which [ParseMatch] reads if [Match.Check] has
// nothing against the match.
func (m Match) String() string {
	rule := wire.MatchRule{Type: m.Type, Sender: m.Sender, Interface: m.Interface, Member: m.Member, Path: string(m.Path),
		Destination: m.Destination, Eavesdrop: m.Eavesdrop}
	if m.PathNamespace != "" {
		rule.Path, rule.PathIsNamespace = string(m.PathNamespace), true
	}
	add := func(index int, value string, kind wire.MatchArgKind) {
		rule.Args = append(rule.Args, wire.MatchArg{Index: uint8(index), Value: value, Kind: kind})
	}
	for index, value := range m.Args {
		add(index, value, wire.MatchArgExact)
	}
	for index, value := range m.ArgPaths {
		add(index, value, wire.MatchArgPath)
	}
	if m.Arg0Namespace != "" {
		add(0, m.Arg0Namespace, wire.MatchArgNamespace)
	}
	slices.SortFunc(rule.Args, func(a, b wire.MatchArg) int { return cmp.Compare(a.Index, b.Index) })
	return rule.String()
}

// Check judges whether the match can be given to a bus.
func (m Match) Check() error {
	for _, field := range [...]struct {
		name, value string
		check       func(string) error
	}{
		{"Sender", m.Sender, wire.CheckBusName},
		{"Interface", m.Interface, wire.CheckInterface},
		{"Member", m.Member, wire.CheckMember},
		{"Path", string(m.Path), wire.CheckObjectPath},
		{"PathNamespace", string(m.PathNamespace), wire.CheckObjectPath},
		{"Destination", m.Destination, wire.CheckBusName},
		{"Arg0Namespace", m.Arg0Namespace, wire.CheckNamespace},
	} {
		if field.value == "" {
			continue
		}
		if err := field.check(field.value); err != nil {
			return fmt.Errorf("match: %s is %q: %w", field.name, field.value, err)
		}
	}
	if m.Type > TypeSignal {
		return fmt.Errorf("match: there is no message type %d", m.Type)
	}
	if m.Path != "" && m.PathNamespace != "" {
		return errors.New("match: Path and PathNamespace exclude each other")
	}
	return m.checkArgs()
}

func (m Match) checkArgs() error {
	seen := make(map[int]bool)
	if m.Arg0Namespace != "" {
		seen[0] = true
	}
	for _, args := range [...]map[int]string{m.Args, m.ArgPaths} {
		for i, value := range args {
			if i < 0 || i > wire.MaxMatchArg {
				return fmt.Errorf("match: argument %d: only 0 to %d can be matched", i, wire.MaxMatchArg)
			}
			if seen[i] {
				return fmt.Errorf("match: argument %d is matched more than once", i)
			}
			if strings.IndexByte(value, 0) >= 0 {
				return fmt.Errorf("match: argument %d: no string can contain NUL", i)
			}
			seen[i] = true
		}
	}
	return nil
}

// matches reports whether a message that is for us, or for everybody, is wanted. The sender is
// given: a unique name, or the bus, or the one of a well-known name; "" matches none.
func (m *Match) matches(msg *Message, sender string) bool {
	h := &msg.header
	switch {
	case m.Type != 0 && m.Type != h.Type,
		m.Interface != "" && m.Interface != h.Interface,
		m.Member != "" && m.Member != h.Member,
		m.Path != "" && string(m.Path) != h.Path,
		m.PathNamespace != "" && !wire.PathInNamespace(h.Path, string(m.PathNamespace)),
		m.Sender != "" && sender != h.Sender,
		m.Destination != "" && m.Destination != h.Destination:
		return false
	}
	return m.Args == nil && m.ArgPaths == nil && m.Arg0Namespace == "" || m.matchesArgs(msg)
}

func (m *Match) matchesArgs(msg *Message) bool {
	defer runtime.KeepAlive(msg.mapping)
	if wire.ValidateBody(msg.header.Order, msg.header.Signature, msg.body) != nil {
		return false
	}
	missing := len(m.Args) + len(m.ArgPaths)
	if m.Arg0Namespace != "" {
		missing++
	}
	args := wire.NewArgs(msg.header.Order, msg.header.Signature, msg.body)
	for missing > 0 {
		a, ok := args.Next()
		if !ok {
			return false
		}
		want := wire.MatchArg{Index: uint8(a.Index)}
		if want.Value, ok = m.Args[a.Index]; ok {
			want.Kind = wire.MatchArgExact
		} else if want.Value, ok = m.ArgPaths[a.Index]; ok {
			want.Kind = wire.MatchArgPath
		} else if a.Index == 0 && m.Arg0Namespace != "" {
			want.Value, want.Kind = m.Arg0Namespace, wire.MatchArgNamespace
		} else {
			continue
		}
		if !want.Matches(a.Type(), a.Text) {
			return false
		}
		missing--
	}
	return true
}
