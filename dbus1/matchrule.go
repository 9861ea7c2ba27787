package dbus1

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/kdbus-go/kdbus/wire"
)

// This file holds whether a match rule (specification, "Match Rules") matches a message. Package wire
// reads the rules; matchindex.go finds those worth asking.

// maxMatchRuleLength is the number of bytes a rule may have, as in libdbus.
const maxMatchRuleLength = 1024

// errMatchRuleTooLong is the error for a rule of more than maxMatchRuleLength bytes. A D-Bus client is told
// org.freedesktop.DBus.Error.LimitsExceeded.
var errMatchRuleTooLong = errors.New("match rule is longer than " + strconv.Itoa(maxMatchRuleLength) + " bytes")

// matchRule is one match rule. It is immutable and safe for concurrent use; make
// one with [parseMatchRule].
type matchRule struct{ wire.MatchRule }

// parseMatchRule reads a match rule. The empty rule is valid and matches every
// broadcast. The result does not refer to text.
//
// The error is a [*wire.MatchRuleError] or wraps [errMatchRuleTooLong].
func parseMatchRule(text string) (*matchRule, error) {
	if len(text) > maxMatchRuleLength {
		return nil, fmt.Errorf("%w: it has %d", errMatchRuleTooLong, len(text))
	}
	r, err := wire.ParseMatchRule(text)
	if err != nil {
		return nil, err
	}
	return &matchRule{*r}, nil
}

// Equal reports whether the rules are the same to RemoveMatch.
func (r *matchRule) Equal(other *matchRule) bool { return r.MatchRule.Equal(&other.MatchRule) }

// forMonitor returns the rule as BecomeMonitor means it: a monitor eavesdrops,
// whatever its rules say.
func (r *matchRule) forMonitor() *matchRule {
	if r.Eavesdrop {
		return r
	}
	copied := *r
	copied.Eavesdrop = true
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
func (r *matchRule) matches(m *matchMessage) bool {
	if !r.Eavesdrop && (m.unicast() || r.Destination != "") {
		return false
	}
	return r.describes(m)
}

// describes reports whether everything holds that the rule says of messages, whoever they are
// meant for.
func (r *matchRule) describes(m *matchMessage) bool {
	h := m.Header
	switch {
	case r.Type != 0 && r.Type != h.Type,
		r.Interface != "" && r.Interface != h.Interface,
		r.Member != "" && r.Member != h.Member:
		return false
	}
	if r.Path != "" && r.Path != h.Path && !(r.PathIsNamespace && wire.PathInNamespace(h.Path, r.Path)) {
		return false
	}
	for i := range r.Args {
		a := &r.Args[i]
		if v := m.arg(int(a.Index)); !a.Matches(v.typ, v.text) {
			return false
		}
	}
	if r.Sender != "" && !slices.Contains(m.Senders, r.Sender) {
		return false
	}
	return r.Destination == "" || slices.Contains(m.Destinations, r.Destination)
}

// wellKnownSender returns the sender that r asks for, if that is a name that peers can have and lose, or "".
func (r *matchRule) wellKnownSender() string {
	if r.Sender == driverName || wire.IsUniqueName(r.Sender) {
		return ""
	}
	return r.Sender
}
