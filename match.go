package kdbus

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
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

// maxMatchArg is the highest argument that can be matched.
const maxMatchArg = 63

// String returns the match as the text of a rule, which [ParseMatch] reads.
func (m Match) String() string {
	var b strings.Builder
	add := func(key, value string) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		// Within quotes nothing can be escaped: they are closed for it.
		b.WriteString(key + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'")
	}
	addIf := func(key, value string) {
		if value != "" {
			add(key, value)
		}
	}
	if m.Type != 0 {
		add("type", m.Type.String())
	}
	addIf("sender", m.Sender)
	addIf("interface", m.Interface)
	addIf("member", m.Member)
	addIf("path", string(m.Path))
	addIf("path_namespace", string(m.PathNamespace))
	addIf("destination", m.Destination)
	for _, i := range slices.Sorted(maps.Keys(m.Args)) {
		add("arg"+strconv.Itoa(i), m.Args[i])
	}
	for _, i := range slices.Sorted(maps.Keys(m.ArgPaths)) {
		add("arg"+strconv.Itoa(i)+"path", m.ArgPaths[i])
	}
	addIf("arg0namespace", m.Arg0Namespace)
	if m.Eavesdrop {
		add("eavesdrop", "true")
	}
	return b.String()
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
			if i < 0 || i > maxMatchArg {
				return fmt.Errorf("match: argument %d: only 0 to %d can be matched", i, maxMatchArg)
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
		m.PathNamespace != "" && !pathInNamespace(h.Path, string(m.PathNamespace)),
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
		if want, ok := m.Args[a.Index]; ok {
			if a.Type() != 's' || a.Text != want {
				return false
			}
			missing--
		}
		if want, ok := m.ArgPaths[a.Index]; ok {
			if a.Type() != 's' && a.Type() != 'o' || !argPathMatches(a.Text, want) {
				return false
			}
			missing--
		}
		if a.Index == 0 && m.Arg0Namespace != "" {
			if a.Type() != 's' || !inNamespace(a.Text, m.Arg0Namespace) {
				return false
			}
			missing--
		}
	}
	return true
}

func argPathMatches(a, b string) bool {
	return a == b ||
		strings.HasSuffix(a, "/") && strings.HasPrefix(b, a) ||
		strings.HasSuffix(b, "/") && strings.HasPrefix(a, b)
}

func inNamespace(name, ns string) bool {
	return strings.HasPrefix(name, ns) && (len(name) == len(ns) || name[len(ns)] == '.')
}

func pathInNamespace(path, ns string) bool {
	return ns == "/" && path != "" ||
		strings.HasPrefix(path, ns) && (len(path) == len(ns) || path[len(ns)] == '/')
}
