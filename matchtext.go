package kdbus

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseMatch reads the text of a match rule, as D-Bus programs write it:
//
//	type='signal',interface='com.example.Player',arg0='volume'
//
// The empty text is the zero Match.
func ParseMatch(rule string) (Match, error) {
	var m Match
	seen := make(map[string]bool)
	for rest := rule; ; {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if rest == "" {
			break
		}
		key, after, ok := strings.Cut(rest, "=")
		key = strings.TrimRight(key, " \t\r\n")
		if !ok || key == "" {
			return Match{}, fmt.Errorf("match rule %q: no KEY=VALUE at %q", rule, rest)
		}
		value, after, ok := cutMatchValue(after)
		if !ok {
			return Match{}, fmt.Errorf("match rule %q: the quotation marks in the value of %s are not balanced", rule, key)
		}
		if seen[key] && key != "eavesdrop" {
			return Match{}, fmt.Errorf("match rule %q: %s occurs more than once", rule, key)
		}
		seen[key] = true
		if err := m.setKey(key, value); err != nil {
			return Match{}, fmt.Errorf("match rule %q: %w", rule, err)
		}
		rest = after
	}
	if err := m.Check(); err != nil {
		return Match{}, fmt.Errorf("match rule %q: %w", rule, err)
	}
	return m, nil
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

// cutMatchValue cuts the value off at a comma or the end. Apostrophes quote; in between,
// everything stands for itself. Outside, \' is an apostrophe.
func cutMatchValue(text string) (value, rest string, balanced bool) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\'':
			quoted = !quoted
			continue
		case c == ',' && !quoted:
			return b.String(), text[i+1:], true
		case c == '\\' && !quoted && i+1 < len(text) && text[i+1] == '\'':
			i++
			c = '\''
		}
		b.WriteByte(c)
	}
	return b.String(), "", !quoted
}

func (m *Match) setKey(key, value string) error {
	fields := map[string]*string{
		"sender": &m.Sender, "interface": &m.Interface, "member": &m.Member,
		"path": (*string)(&m.Path), "path_namespace": (*string)(&m.PathNamespace),
		"destination": &m.Destination, "arg0namespace": &m.Arg0Namespace,
	}
	if field := fields[key]; field != nil {
		if value == "" {
			return fmt.Errorf("the value of %s is empty", key)
		}
		*field = value
		return nil
	}
	switch key {
	case "type":
		for t := TypeMethodCall; t <= TypeSignal; t++ {
			if value == t.String() {
				m.Type = t
				return nil
			}
		}
		return fmt.Errorf("type is %q, which is none of signal, method_call, method_return and error", value)
	case "eavesdrop":
		if value != "true" && value != "false" {
			return fmt.Errorf("eavesdrop is %q, neither true nor false", value)
		}
		m.Eavesdrop = value == "true"
		return nil
	}
	return m.setArg(key, value)
}

// setArg sets argN or argNpath.
func (m *Match) setArg(key, value string) error {
	number, ok := strings.CutPrefix(key, "arg")
	number, isPath := strings.CutSuffix(number, "path")
	i, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil || len(number) > 2 || i > maxMatchArg {
		return fmt.Errorf("there is no key %q", key)
	}
	args := &m.Args
	if isPath {
		args = &m.ArgPaths
	}
	if _, twice := (*args)[int(i)]; twice {
		return fmt.Errorf("argument %d is matched more than once", i)
	}
	if *args == nil {
		*args = make(map[int]string)
	}
	(*args)[int(i)] = value
	return nil
}
