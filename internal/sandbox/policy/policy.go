package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// Level is what a flag permits with a name. Each includes those before it.
type Level uint8

const (
	// See is to learn that the name exists and who owns it.
	See Level = iota + 1
	// Talk is to send to it, to start it, and to hear its broadcasts.
	Talk
	// Own is to own it.
	Own
)

// Flag returns the flag that gives the level: "see", "talk" or "own".
func (l Level) Flag() string { return [...]string{"", "see", "talk", "own"}[l] }

// A Policy is the flags of a sandbox. The zero Policy permits nothing but to talk to the bus. It is not
// for several goroutines at a time.
type Policy struct {
	grants map[subject]*grant
	flags  []string // as they came, each once
}

// subject is what flags are about: a name, or a name and all below it.
type subject struct {
	name    string
	subtree bool
}

func (s subject) String() string {
	if s.subtree {
		return s.name + ".*"
	}
	return s.name
}

// covers reports whether what is said of s holds for all of other.
func (s subject) covers(other subject) bool {
	if s == other {
		return true
	}
	return s.subtree && (other.name == s.name || strings.HasPrefix(other.name, s.name+"."))
}

// grant is what the flags of a subject permit together.
type grant struct {
	level             Level
	calls, broadcasts []string // match rules, each once
}

// parseSubject reads NAME or NAME.*.
func parseSubject(text string) (subject, error) {
	name, subtree := strings.CutSuffix(text, ".*")
	return subject{name, subtree}, wire.CheckWellKnownName(name)
}

// Add adds --see, --talk or --own with its value, a name that may have ".*" behind it.
func (p *Policy) Add(level Level, name string) error {
	s, err := parseSubject(name)
	if err != nil {
		return err
	}
	g := p.grant(s)
	g.level = max(g.level, level)
	p.remember("--" + level.Flag() + "=" + name)
	return nil
}

// AddCall adds --call with its value, NAME=RULE.
func (p *Policy) AddCall(value string) error {
	return p.addRule("--call", value, func(g *grant) *[]string { return &g.calls })
}

// AddBroadcast adds --broadcast with its value, NAME=RULE.
func (p *Policy) AddBroadcast(value string) error {
	return p.addRule("--broadcast", value, func(g *grant) *[]string { return &g.broadcasts })
}

func (p *Policy) addRule(flag, value string, rules func(*grant) *[]string) error {
	name, rule, ok := strings.Cut(value, "=")
	if !ok {
		return errors.New("it is NAME=RULE, such as org.example.Name=*")
	}
	s, err := parseSubject(name)
	if err != nil {
		return err
	}
	match, err := matchRule(rule)
	if err != nil {
		return fmt.Errorf("the rule for %s: %w", name, err)
	}
	list := rules(p.grant(s))
	if !slices.Contains(*list, match) {
		*list = append(*list, match)
	}
	p.remember(flag + "=" + value)
	return nil
}

// grant returns the grant of a subject.
func (p *Policy) grant(s subject) *grant {
	g := p.grants[s]
	if g == nil {
		if p.grants == nil {
			p.grants = make(map[subject]*grant)
		}
		g = new(grant)
		p.grants[s] = g
	}
	return g
}

func (p *Policy) remember(flag string) {
	if !slices.Contains(p.flags, flag) {
		p.flags = append(p.flags, flag)
	}
}

// Flags returns the flags, each once, in the order in which they were added.
func (p *Policy) Flags() []string { return slices.Clone(p.flags) }

// AddFlag adds a flag as it is on a command line: "--talk=org.example.Name".
func (p *Policy) AddFlag(flag string) error {
	name, value, ok := strings.Cut(flag, "=")
	if !ok {
		return fmt.Errorf("%q is no flag of a policy: --see=, --talk= and --own= with a NAME, --call= and --broadcast= with NAME=RULE are", flag)
	}
	var err error
	switch name {
	case "--see":
		err = p.Add(See, value)
	case "--talk":
		err = p.Add(Talk, value)
	case "--own":
		err = p.Add(Own, value)
	case "--call":
		err = p.AddCall(value)
	case "--broadcast":
		err = p.AddBroadcast(value)
	default:
		return fmt.Errorf("%s is no flag of a policy: --see, --talk, --own, --call and --broadcast are", name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}
