// Package denial reads what message buses say when they refuse something for the sake of their
// policy: the error that a client got, or the line in the log, of dbus-daemon, of kdbus, which words it
// alike, and of dbus-broker. It also reads descriptions of messages that people type, such as
// type=signal,interface=org.example.I. What is around the text, like the time and the host in a log, does not
// matter.
//
// The texts come from a terminal, and parts of them, like the name of a process, are from
// whoever was refused: nothing here is more than a claim.
package denial

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Action is what was refused.
type Action int

const (
	Unknown Action = iota // a description of a message
	Send                  // the sender may not send it
	Receive               // the receiver may not receive it
	Own                   // the name may not be owned
)

// MaxLength is the length in bytes of a text that is looked at.
const MaxLength = 64 << 10

// Text is what a text says.
type Text struct {
	Action Action
	// Name is the well-known name that somebody was not to own.
	Name string
	// Fields are what is said of a message, under the names of its header fields in match rules: type, sender,
	// destination, path, interface, member, error; and requested_reply, fds, broadcast. A field that
	// the text says the message does not have is there, and empty.
	Fields map[string]string
	// Rules is how many rules the bus says have matched; -1 if it does not say.
	Rules int
	// Rule is where the rule is that decided, as kdbus says it: FILE:LINE; "" if the text does not tell.
	Rule string
	// SenderUID and ReceiverUID are the users at both ends, nil if the text does not tell.
	SenderUID, ReceiverUID *uint32
	// FromBus and ToBus are set if that end is the bus itself.
	FromBus, ToBus bool
	// Warned is set if the bus has logged the message only, and passed it on.
	Warned bool
}

var (
	message = regexp.MustCompile(`(Rejected send message|Rejected receive message|Would reject message)(?:, (\d+) matched rules)?;`)
	own     = regexp.MustCompile(`Connection "([^"]*)" is not allowed to own the service "([^"]*)" due to`)
	rule    = regexp.MustCompile(`; rule: ([^<>"]+:\d+) <`)
	broker  = regexp.MustCompile(`ecurity policy denied (\S+) to (send|receive) (method call|method return|error|signal) ` +
		`([^\s:]+):(\S+)\.([^\s.]+) (?:to|from) (\S+?)\.?(?:\s|$)`)
)

var fields = map[string]bool{
	"type": true, "sender": true, "destination": true, "path": true, "interface": true, "member": true, "error": true,
	"requested_reply": true, "fds": true, "broadcast": true,
}

// aliases are other words for fields: those of dbus-daemon's denials, of its rules, and of busctl.
var aliases = map[string]string{
	"error name": "error", "error_name": "error", "errorname": "error", "Type": "type", "Sender": "sender",
	"Destination": "destination", "Path": "path", "Interface": "interface", "Member": "member", "ErrorName": "error",
}

// unset is what dbus-daemon writes for fields that a message does not have, and dbus-broker.
func unset(value string) bool { return value == "(unset)" || value == "n/a" || value == "(null)" }

// Parse reads a text. An error says what is wrong with a description; of a text that a bus has
// written, parts that are not known are passed over.
func Parse(s string) (*Text, error) {
	if len(s) > MaxLength {
		return nil, fmt.Errorf("the text has more than %d bytes", MaxLength)
	}
	if strings.Contains(s, `\"`) { // from a log in text form or in JSON
		s = strings.ReplaceAll(s, `\"`, `"`)
	}
	t := &Text{Fields: map[string]string{}, Rules: -1}
	if m := rule.FindStringSubmatch(s); m != nil {
		t.Rule = m[1]
	}
	if m := own.FindStringSubmatch(s); m != nil {
		t.Action, t.Fields["sender"], t.Name = Own, m[1], m[2]
		return t, nil
	}
	if m := broker.FindStringSubmatch(s); m != nil {
		t.broker(m)
		return t, nil
	}
	if m := message.FindStringSubmatchIndex(s); m != nil {
		kind := s[m[2]:m[3]]
		t.Action = Send
		if strings.Contains(kind, "receive") {
			t.Action = Receive
		}
		t.Warned = strings.HasPrefix(kind, "Would")
		if m[4] >= 0 {
			if n, err := strconv.Atoi(s[m[4]:m[5]]); err == nil {
				t.Rules = n
			}
		}
		_ = t.pairs(s[m[1]:], false) // what is not known is passed over
		return t, nil
	}
	return t, t.pairs(s, true)
}

func (t *Text) broker(m []string) {
	t.Action, t.Fields["sender"], t.Fields["destination"] = Send, m[1], m[7]
	if m[2] == "receive" {
		t.Action, t.Fields["sender"], t.Fields["destination"] = Receive, m[7], m[1]
	}
	t.Fields["type"] = strings.ReplaceAll(m[3], " ", "_")
	for name, value := range map[string]string{"path": m[4], "interface": m[5], "member": m[6]} {
		if unset(value) {
			value = ""
		}
		t.Fields[name] = value
	}
}

// pairs reads NAME=VALUE, separated by commas or blanks, with values in quotes or not, and behind a value
// what is known about a peer, in parentheses. Strict is for what people type.
func (t *Text) pairs(s string, strict bool) error {
	for {
		s = strings.TrimLeft(s, ", \t\r\n;")
		if s == "" {
			return nil
		}
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			if !strict {
				return nil
			}
			return fmt.Errorf("%q is neither what a bus says when it refuses something, nor NAME=VALUE; "+
				"a message is described like type=method_call,interface=org.example.I", shorten(s))
		}
		name = strings.TrimSpace(name)
		if !strict && strings.ContainsAny(name, ";:()") { // words between the pairs, say of kdbus
			name = name[strings.LastIndexAny(name, ";:()")+1:]
		}
		if a := aliases[name]; a != "" {
			name = a
		}
		var value string
		if value, rest, ok = cutValue(rest); !ok && strict {
			return fmt.Errorf("the quote in the value of %s is not closed", name)
		}
		var peer string
		if after := strings.TrimLeft(rest, " "); (name == "sender" || name == "destination") && strings.HasPrefix(after, "(") {
			peer, rest = cutParenthesis(after)
		}
		switch {
		case !fields[name] && strict:
			return fmt.Errorf("there is nothing called %q in a message; write type, sender, destination, path, interface, "+
				"member, error, requested_reply, fds or broadcast", shorten(name))
		case fields[name]:
			t.set(name, value, peer)
		}
		s = rest
	}
}

// set takes a field, of whose peer something is known. The first one of a name counts.
func (t *Text) set(name, value, peer string) {
	if _, there := t.Fields[name]; there {
		return
	}
	if unset(value) {
		value = ""
	}
	t.Fields[name] = value
	uid, bus := peerOf(peer)
	switch name {
	case "sender":
		t.SenderUID, t.FromBus = uid, bus || value == busName
	case "destination":
		// Of a broadcast the destination is said to be the bus, and of the peer who did not get it the user.
		t.ReceiverUID, t.ToBus = uid, bus || value == busName && uid == nil
	}
}

const busName = "org.freedesktop.DBus"

// peerOf reads what dbus-daemon tells of a peer: (uid=0 pid=1 comm="init"), or (bus).
func peerOf(s string) (uid *uint32, bus bool) {
	s = strings.Trim(s, "()")
	if s == "bus" {
		return nil, true
	}
	first, _, _ := strings.Cut(s, " ") // what comes later a process may have made up
	if number, ok := strings.CutPrefix(first, "uid="); ok {
		if n, err := strconv.ParseUint(number, 10, 32); err == nil {
			u := uint32(n)
			return &u, false
		}
	}
	return nil, false
}

// cutValue cuts off a value, which is in quotes or ends at a comma or blank. ok is false if a
// quote is not closed.
func cutValue(s string) (value, rest string, ok bool) {
	if s != "" && (s[0] == '\'' || s[0] == '"') {
		end := strings.IndexByte(s[1:], s[0])
		if end < 0 {
			return s[1:], "", false
		}
		return s[1 : 1+end], s[2+end:], true
	}
	if end := strings.IndexAny(s, ", \t\r\n;"); end >= 0 {
		return s[:end], s[end:], true
	}
	return s, "", true
}

// cutParenthesis cuts off what s begins with, up to the parenthesis that closes it. Those in quotes
// do not count.
func cutParenthesis(s string) (inside, rest string) {
	depth, quoted := 0, false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted:
		case s[i] == '(':
			depth++
		case s[i] == ')':
			if depth--; depth == 0 {
				return s[:i+1], s[i+1:]
			}
		}
	}
	return s, ""
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
