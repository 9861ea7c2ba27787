package wire

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// This file holds the text of match rules (specification, "Match Rules"): reading it, writing
// it, and what its keys about arguments and paths mean. Which messages a rule is asked about, and by
// whose names senders are known, is the business of who has the messages.
//
// Where dbus-daemon 1.14 and the specification differ, the specification is
// followed. The differences:
//
//   - Outside quotes, a backslash that precedes no apostrophe stands for itself
//     and nothing more. dbus-daemon also takes the byte after it as it is, so
//     that \, does not end a value and a backslash before \' hides it. (It
//     misreads the example of the specification.)
//   - A rule may have any number of keys. dbus-daemon ignores all after the
//     16th, without a word and without looking whether they are valid.
//   - A pair without a key, such as "=x", is an error. dbus-daemon ignores it
//     and everything that follows.
//   - The number in argN is one or two decimal digits, as dbus-broker has it.
//     dbus-daemon takes whatever strtoul does: arg010 is arg8, and arg+1, arg-0
//     and arg0x1 are fine.
//   - Two rules with different path_namespace are different. dbus-daemon
//     compares only whether they have one, so RemoveMatch may remove the wrong
//     rule.

// MaxMatchArg is the highest argument that a match rule can speak of.
const MaxMatchArg = 63

// MatchRuleError says what is wrong with the text of a match rule. To a D-Bus
// client it is org.freedesktop.DBus.Error.MatchRuleInvalid.
type MatchRuleError struct {
	// Key is the key that cannot be accepted, or whose value cannot.
	Key string
	// Offset is where in the text the key begins, in bytes.
	Offset int
	// Reason says what is wrong with it.
	Reason string
}

func (e *MatchRuleError) Error() string {
	return fmt.Sprintf("invalid match rule: key %s at byte %d: %s", strconv.Quote(e.Key), e.Offset, e.Reason)
}

// MatchRule is one match rule, as [ParseMatchRule] makes it: what is not empty is valid. A key that is
// absent has its zero value; only those in Args can have an empty one.
type MatchRule struct {
	Sender      string
	Interface   string
	Member      string
	Path        string // or path_namespace
	Destination string
	// Args are the keys about arguments, ascending by index, at most one for each.
	Args []MatchArg

	Type            Type
	PathIsNamespace bool
	Eavesdrop       bool
}

// MatchArg is one of the keys argN, argNpath and arg0namespace.
type MatchArg struct {
	Value string
	Index uint8 // from 0 to MaxMatchArg
	Kind  MatchArgKind
}

// MatchArgKind is what a key says of an argument.
type MatchArgKind uint8

const (
	MatchArgExact     MatchArgKind = iota // it is a string, and this one
	MatchArgPath                          // it is a string or an object path, above or below this one
	MatchArgNamespace                     // it is a string, and a name that is this one or below it
)

var matchArgSuffixes = [...]string{MatchArgExact: "", MatchArgPath: "path", MatchArgNamespace: "namespace"}

// ParseMatchRule reads a match rule. The empty rule is valid and matches every
// broadcast. The result does not refer to text. There is no limit to the length of text.
//
// The error is a [*MatchRuleError].
func ParseMatchRule(text string) (*MatchRule, error) {
	r := new(MatchRule)
	t := matchTokenizer{text: text}
	for {
		key, value, fault := t.next()
		if fault == "" && key != "" {
			fault = r.set(key, value)
		}
		if fault != "" {
			return nil, &MatchRuleError{Key: strings.Clone(key), Offset: t.keyAt, Reason: fault}
		}
		if key == "" {
			break
		}
	}
	slices.SortFunc(r.Args, func(a, b MatchArg) int { return cmp.Compare(a.Index, b.Index) })
	return r, nil
}

// matchTokenizer splits the text of a rule into keys and values.
type matchTokenizer struct {
	text  string
	pos   int
	keyAt int // where the key last read begins

	// values holds all values one after the other. They are no longer than
	// the text, so it has its final size from the first one on, and a value
	// is a part of it.
	values strings.Builder
}

// next reads a key and its value. At the end of the text, key and fault are
// empty. Blanks around a key mean nothing, those in a value belong to it.
func (t *matchTokenizer) next() (key, value, fault string) {
	t.skipBlanks()
	t.keyAt = t.pos
	if t.pos == len(t.text) {
		return "", "", ""
	}
	key = t.text[t.pos:]
	if end := strings.IndexAny(key, "= \t\n\r"); end >= 0 {
		key = key[:end]
	}
	t.pos += len(key)
	t.skipBlanks()
	if t.pos == len(t.text) || t.text[t.pos] != '=' {
		return key, "", "no '=' follows it"
	}
	if key == "" {
		return key, "", "there is nothing before the '='"
	}
	t.pos++
	value, balanced := t.value()
	if !balanced {
		return key, "", "the quotation marks in its value are not balanced"
	}
	return key, value, ""
}

func (t *matchTokenizer) skipBlanks() {
	for t.pos < len(t.text) && strings.IndexByte(" \t\n\r", t.text[t.pos]) >= 0 {
		t.pos++
	}
}

// value reads up to a comma, which it skips, or the end. Apostrophes quote; in
// between, everything stands for itself. Outside, \' is an apostrophe.
func (t *matchTokenizer) value() (value string, balanced bool) {
	if t.values.Cap() == 0 {
		t.values.Grow(len(t.text) - t.pos)
	}
	begin := t.values.Len()
	quoted := false
	for t.pos < len(t.text) {
		c := t.text[t.pos]
		t.pos++
		if c == '\'' {
			quoted = !quoted
			continue
		}
		if !quoted {
			if c == ',' {
				break
			}
			if c == '\\' && t.pos < len(t.text) && t.text[t.pos] == '\'' {
				c = '\''
				t.pos++
			}
		}
		t.values.WriteByte(c)
	}
	return t.values.String()[begin:], !quoted
}

// set adds a key to the rule. It returns what is wrong with it, or "".
func (r *MatchRule) set(key, value string) (fault string) {
	switch key {
	case "type":
		return r.setType(value)
	case "sender":
		return setMatchKey(&r.Sender, value, CheckBusName)
	case "interface":
		return setMatchKey(&r.Interface, value, CheckInterface)
	case "member":
		return setMatchKey(&r.Member, value, CheckMember)
	case "path", "path_namespace":
		if r.Path != "" {
			return "path and path_namespace may occur only once, and not both"
		}
		r.PathIsNamespace = key == "path_namespace"
		return setMatchKey(&r.Path, value, CheckObjectPath)
	case "destination":
		// The specification speaks of unique names only, but dbus-daemon and
		// dbus-broker take any bus name.
		return setMatchKey(&r.Destination, value, CheckBusName)
	case "eavesdrop":
		// The one key that may be repeated: dbus-monitor puts it in front of
		// the rules it is given. The last one counts.
		if value != "true" && value != "false" {
			return "its value is neither true nor false"
		}
		r.Eavesdrop = value == "true"
		return ""
	}
	if number, ok := strings.CutPrefix(key, "arg"); ok {
		return r.setArg(number, value)
	}
	return "there is no such key"
}

func (r *MatchRule) setType(value string) (fault string) {
	if r.Type != 0 {
		return "it occurs more than once"
	}
	for t := TypeMethodCall; t <= TypeSignal; t++ {
		if value == t.String() {
			r.Type = t
			return ""
		}
	}
	return "its value is none of signal, method_call, method_return and error"
}

func setMatchKey(field *string, value string, check func(string) error) (fault string) {
	if *field != "" {
		return "it occurs more than once"
	}
	if err := check(value); err != nil {
		return matchFault(err)
	}
	*field = value
	return ""
}

// matchFault leaves out of an error of this package what MatchRuleError says.
func matchFault(err error) string {
	if e, ok := err.(*Error); ok {
		return "invalid " + e.What + ": " + e.Reason
	}
	return err.Error()
}

// setArg adds the key "arg"+name.
func (r *MatchRule) setArg(name, value string) (fault string) {
	digits := len(name) - len(strings.TrimLeft(name, "0123456789"))
	if digits == 0 {
		return "the number of an argument must follow arg"
	}
	index, err := strconv.Atoi(name[:digits])
	if err != nil || digits > 2 || index > MaxMatchArg {
		return "the number of an argument is one or two digits and at most " + strconv.Itoa(MaxMatchArg)
	}
	arg := MatchArg{Value: value, Index: uint8(index)}
	switch suffix := name[digits:]; {
	case suffix == "":
	case suffix == "path":
		arg.Kind = MatchArgPath
	case name == "0namespace":
		if err := CheckNamespace(value); err != nil {
			return matchFault(err)
		}
		arg.Kind = MatchArgNamespace
	default:
		return "only path, or namespace after arg0, may follow the number of an argument"
	}
	for _, other := range r.Args {
		if other.Index == arg.Index {
			return "argument " + strconv.Itoa(index) + " is matched more than once"
		}
	}
	r.Args = append(r.Args, arg)
	return ""
}

// String returns the rule in the form and order of keys in which dbus-daemon's
// GetAllMatchRules prints it. [ParseMatchRule] makes an equal rule of it. Because of the
// quoting it can be longer than the text that was read.
func (r *MatchRule) String() string {
	var b strings.Builder
	add := func(key, value string) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(key)
		b.WriteString("='")
		// Within quotes nothing can be escaped: they are closed for it.
		b.WriteString(strings.ReplaceAll(value, "'", `'\''`))
		b.WriteByte('\'')
	}
	addIf := func(key, value string) {
		if value != "" {
			add(key, value)
		}
	}
	if r.Type != 0 {
		add("type", r.Type.String())
	}
	addIf("interface", r.Interface)
	addIf("member", r.Member)
	if r.PathIsNamespace {
		add("path_namespace", r.Path)
	} else {
		addIf("path", r.Path)
	}
	addIf("sender", r.Sender)
	addIf("destination", r.Destination)
	if r.Eavesdrop {
		add("eavesdrop", "true")
	}
	for _, a := range r.Args {
		add("arg"+strconv.Itoa(int(a.Index))+matchArgSuffixes[a.Kind], a.Value)
	}
	return b.String()
}

// Equal reports whether the rules are the same to RemoveMatch: whether they have
// the same keys with the same values, in whatever order and quoting.
// eavesdrop='false' is the same as none.
func (r *MatchRule) Equal(other *MatchRule) bool {
	return r.Type == other.Type &&
		r.Interface == other.Interface &&
		r.Member == other.Member &&
		r.Path == other.Path &&
		r.PathIsNamespace == other.PathIsNamespace &&
		r.Sender == other.Sender &&
		r.Destination == other.Destination &&
		r.Eavesdrop == other.Eavesdrop &&
		slices.Equal(r.Args, other.Args)
}

// Matches reports whether an argument of that index is as the key says: its type, and its text if it is a
// string or an object path.
func (a *MatchArg) Matches(typ byte, text string) bool {
	switch a.Kind {
	case MatchArgPath:
		return (typ == 's' || typ == 'o') && argPathMatches(text, a.Value)
	case MatchArgNamespace:
		return typ == 's' && inNamespace(text, a.Value)
	default:
		return typ == 's' && text == a.Value
	}
}

// argPathMatches reports whether the two are equal, or one of them ends with a
// slash and is a prefix of the other.
func argPathMatches(a, b string) bool {
	return a == b ||
		strings.HasSuffix(a, "/") && strings.HasPrefix(b, a) ||
		strings.HasSuffix(b, "/") && strings.HasPrefix(a, b)
}

// inNamespace reports whether name is ns or begins with ns and a dot.
func inNamespace(name, ns string) bool {
	return strings.HasPrefix(name, ns) && (len(name) == len(ns) || name[len(ns)] == '.')
}

// PathInNamespace reports whether an object path is ns or below it, as path_namespace means it. There
// is nothing in a path that is empty.
func PathInNamespace(path, ns string) bool {
	if ns == "/" {
		return path != ""
	}
	return strings.HasPrefix(path, ns) && (len(path) == len(ns) || path[len(ns)] == '/')
}
