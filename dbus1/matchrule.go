package dbus1

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// This file holds D-Bus match rules (specification, "Match Rules"): reading
// them, printing them, and whether one matches a message. matchindex.go finds
// the rules worth asking.
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

const (
	// maxMatchRuleLength is the number of bytes a rule may have, as in libdbus.
	maxMatchRuleLength = 1024
	// maxMatchArg is the highest argument that can be matched.
	maxMatchArg = 63
)

// ErrMatchRuleTooLong is returned by [ParseMatchRule] for a rule of more than
// 1024 bytes. A D-Bus client is told org.freedesktop.DBus.Error.LimitsExceeded.
var ErrMatchRuleTooLong = errors.New("match rule is longer than " + strconv.Itoa(maxMatchRuleLength) + " bytes")

// MatchRuleError says what is wrong with the text of a match rule. A D-Bus
// client is told org.freedesktop.DBus.Error.MatchRuleInvalid.
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

// MatchRule is one match rule. It is immutable and safe for concurrent use; make
// one with [ParseMatchRule].
type MatchRule struct {
	// A key that is absent has its zero value here: only those in args can
	// have an empty value.
	sender      string
	iface       string
	member      string
	path        string // or path_namespace
	destination string
	args        []matchArg // ascending by index, at most one for each

	typ             wire.Type
	pathIsNamespace bool
	eavesdrop       bool
}

// matchArg is one of the keys argN, argNpath and arg0namespace.
type matchArg struct {
	value string
	index uint8
	kind  argKind
}

type argKind uint8

const (
	argExact argKind = iota
	argPath
	argNamespace
)

var argSuffixes = [...]string{argExact: "", argPath: "path", argNamespace: "namespace"}

// ParseMatchRule reads a match rule. The empty rule is valid and matches every
// broadcast. The result does not refer to text.
//
// The error is a [*MatchRuleError] or wraps [ErrMatchRuleTooLong].
func ParseMatchRule(text string) (*MatchRule, error) {
	if len(text) > maxMatchRuleLength {
		return nil, fmt.Errorf("%w: it has %d", ErrMatchRuleTooLong, len(text))
	}
	return parseMatchRule(text)
}

// parseMatchRule is ParseMatchRule without the limit, which the canonical form
// of a valid rule may exceed.
func parseMatchRule(text string) (*MatchRule, error) {
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
	slices.SortFunc(r.args, func(a, b matchArg) int { return cmp.Compare(a.index, b.index) })
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
		return setMatchKey(&r.sender, value, wire.CheckBusName)
	case "interface":
		return setMatchKey(&r.iface, value, wire.CheckInterface)
	case "member":
		return setMatchKey(&r.member, value, wire.CheckMember)
	case "path", "path_namespace":
		if r.path != "" {
			return "path and path_namespace may occur only once, and not both"
		}
		r.pathIsNamespace = key == "path_namespace"
		return setMatchKey(&r.path, value, wire.CheckObjectPath)
	case "destination":
		// The specification speaks of unique names only, but dbus-daemon and
		// dbus-broker take any bus name.
		return setMatchKey(&r.destination, value, wire.CheckBusName)
	case "eavesdrop":
		// The one key that may be repeated: dbus-monitor puts it in front of
		// the rules it is given. The last one counts.
		if value != "true" && value != "false" {
			return "its value is neither true nor false"
		}
		r.eavesdrop = value == "true"
		return ""
	}
	if number, ok := strings.CutPrefix(key, "arg"); ok {
		return r.setArg(number, value)
	}
	return "there is no such key"
}

func (r *MatchRule) setType(value string) (fault string) {
	if r.typ != 0 {
		return "it occurs more than once"
	}
	for t := wire.TypeMethodCall; t <= wire.TypeSignal; t++ {
		if value == t.String() {
			r.typ = t
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
		return faultOf(err)
	}
	*field = value
	return ""
}

// faultOf leaves out of an error of package wire what MatchRuleError says.
func faultOf(err error) string {
	if e, ok := errors.AsType[*wire.Error](err); ok {
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
	if err != nil || digits > 2 || index > maxMatchArg {
		return "the number of an argument is one or two digits and at most " + strconv.Itoa(maxMatchArg)
	}
	arg := matchArg{value: value, index: uint8(index)}
	switch suffix := name[digits:]; {
	case suffix == "":
	case suffix == "path":
		arg.kind = argPath
	case name == "0namespace":
		if err := wire.CheckNamespace(value); err != nil {
			return faultOf(err)
		}
		arg.kind = argNamespace
	default:
		return "only path, or namespace after arg0, may follow the number of an argument"
	}
	for _, other := range r.args {
		if other.index == arg.index {
			return "argument " + strconv.Itoa(index) + " is matched more than once"
		}
	}
	r.args = append(r.args, arg)
	return ""
}

// String returns the rule in the form and order of keys in which dbus-daemon's
// GetAllMatchRules prints it. [ParseMatchRule] makes an equal rule of it, unless
// it has become too long because of the quoting.
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
	if r.typ != 0 {
		add("type", r.typ.String())
	}
	addIf("interface", r.iface)
	addIf("member", r.member)
	if r.pathIsNamespace {
		add("path_namespace", r.path)
	} else {
		addIf("path", r.path)
	}
	addIf("sender", r.sender)
	addIf("destination", r.destination)
	if r.eavesdrop {
		add("eavesdrop", "true")
	}
	for _, a := range r.args {
		add("arg"+strconv.Itoa(int(a.index))+argSuffixes[a.kind], a.value)
	}
	return b.String()
}

// Equal reports whether the rules are the same to RemoveMatch: whether they have
// the same keys with the same values, in whatever order and quoting.
// eavesdrop='false' is the same as none.
func (r *MatchRule) Equal(other *MatchRule) bool {
	return r.typ == other.typ &&
		r.iface == other.iface &&
		r.member == other.member &&
		r.path == other.path &&
		r.pathIsNamespace == other.pathIsNamespace &&
		r.sender == other.sender &&
		r.destination == other.destination &&
		r.eavesdrop == other.eavesdrop &&
		slices.Equal(r.args, other.args)
}

// forMonitor returns the rule as BecomeMonitor means it: a monitor eavesdrops,
// whatever its rules say.
func (r *MatchRule) forMonitor() *MatchRule {
	if r.eavesdrop {
		return r
	}
	copied := *r
	copied.eavesdrop = true
	return &copied
}

// matchMessage is what a rule can look at. It is made for one message, and
// belongs to the goroutine that routes it. It must not be copied once asked for
// an argument; reset makes it ready for another message.
type matchMessage struct {
	Header *wire.Header
	// Body has been validated. It is read only if a rule asks for arguments.
	Body []byte
	// Senders are the unique name of the sender and the well-known names it is
	// the primary owner of; for the bus itself, org.freedesktop.DBus.
	Senders []string
	// Destinations are the same for the one the message is addressed to. If
	// that is nobody yet, it is the name in the header alone; for a broadcast
	// it is empty.
	Destinations []string

	// The arguments read so far. The first few take no memory of their own.
	reading bool
	rest    wire.Args
	args    []matchValue
	few     [4]matchValue
}

// matchValue is a top-level argument: its type, and its text if it is a string
// or an object path.
type matchValue struct {
	text string
	typ  byte
}

// reset forgets the message. It keeps memory needed for arguments.
func (m *matchMessage) reset() {
	clear(m.args)
	*m = matchMessage{args: m.args[:0]}
}

// unicast reports whether the message is addressed to somebody, so that only
// rules with eavesdrop='true' can match it.
func (m *matchMessage) unicast() bool { return m.Header.Destination != "" }

// arg returns an argument; its type is 0 if the message has not that many. It
// reads no further than it must, and nothing twice.
func (m *matchMessage) arg(index int) matchValue {
	if !m.reading {
		m.reading = true
		m.rest = wire.NewArgs(m.Header.Order, m.Header.Signature, m.Body)
		if m.args == nil {
			m.args = m.few[:0]
		}
	}
	for len(m.args) <= index {
		a, ok := m.rest.Next()
		if !ok {
			return matchValue{}
		}
		m.args = append(m.args, matchValue{text: a.Text, typ: a.Type()})
	}
	return m.args[index]
}

// matches reports whether a subscriber with this rule is to get the message
// beside those it is addressed to. All keys must match; a header field that the
// message lacks matches nothing.
//
// Without eavesdrop='true' a rule matches broadcasts only, and thus nothing at
// all if it has the key destination. That is how dbus-daemon understands it, and
// costs nobody a message: what is addressed to a client needs no rule.
func (r *MatchRule) matches(m *matchMessage) bool {
	if !r.eavesdrop && (m.unicast() || r.destination != "") {
		return false
	}
	return r.describes(m)
}

// describes reports whether everything holds that the rule says of messages, whoever they are
// meant for.
func (r *MatchRule) describes(m *matchMessage) bool {
	h := m.Header
	switch {
	case r.typ != 0 && r.typ != h.Type,
		r.iface != "" && r.iface != h.Interface,
		r.member != "" && r.member != h.Member:
		return false
	}
	if r.path != "" && r.path != h.Path && !(r.pathIsNamespace && pathInNamespace(h.Path, r.path)) {
		return false
	}
	for i := range r.args {
		if a := &r.args[i]; !a.matches(m.arg(int(a.index))) {
			return false
		}
	}
	if r.sender != "" && !slices.Contains(m.Senders, r.sender) {
		return false
	}
	return r.destination == "" || slices.Contains(m.Destinations, r.destination)
}

// wellKnownSender returns the sender that r asks for, if that is a name that peers can have and lose, or "".
func (r *MatchRule) wellKnownSender() string {
	if r.sender == driverName || wire.IsUniqueName(r.sender) {
		return ""
	}
	return r.sender
}

func (a *matchArg) matches(v matchValue) bool {
	switch a.kind {
	case argPath:
		return (v.typ == 's' || v.typ == 'o') && argPathMatches(v.text, a.value)
	case argNamespace:
		return v.typ == 's' && inNamespace(v.text, a.value)
	default:
		return v.typ == 's' && v.text == a.value
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

// pathInNamespace reports whether path is ns or below it.
func pathInNamespace(path, ns string) bool {
	if ns == "/" {
		return path != ""
	}
	return strings.HasPrefix(path, ns) && (len(path) == len(ns) || path[len(ns)] == '/')
}
