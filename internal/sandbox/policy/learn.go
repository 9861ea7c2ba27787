package policy

import (
	"fmt"
	"maps"
	"slices"
)

// Kind is what was refused.
type Kind uint8

const (
	// Seeing is to ask about a name.
	Seeing Kind = iota + 1
	// Starting is to start a name.
	Starting
	// Calling is to send a call or a signal to a name.
	Calling
	// Hearing is to receive a broadcast of the owner of a name, which was subscribed to.
	Hearing
	// Owning is to own a name.
	Owning
)

// A Refusal is something that the endpoint has not let through.
type Refusal struct {
	Kind Kind
	// Name is the well-known name that it was about: the one asked for, or one of those of the peer.
	// It is "" if the peer has none.
	Name string
	// Path, Interface and Member are of the message, if it was one; Path and Interface may be missing
	// even then.
	Path, Interface, Member string
}

// Flag returns the narrowest flag that permits what was refused; "" if none does, as for peers
// without a name.
func (r Refusal) Flag() string {
	switch {
	case r.Name == "":
		return ""
	case r.Kind == Seeing:
		return "--see=" + r.Name
	case r.Kind == Owning:
		return "--own=" + r.Name
	case r.Kind == Starting:
		return "--talk=" + r.Name
	case r.Kind == Calling:
		return "--call=" + r.Name + "=" + r.rule()
	}
	return "--broadcast=" + r.Name + "=" + r.rule()
}

// rule returns the rule that matches messages such as the one refused.
func (r Refusal) rule() string {
	rule := "*"
	if r.Interface != "" && r.Member != "" {
		rule = r.Interface + "." + r.Member
	}
	if r.Path != "" {
		rule += "@" + r.Path
	}
	return rule
}

// manyPaths is so many objects at which the same method was refused that it is learned for all objects:
// next time it will be others.
const manyPaths = 4

// maxLearned is how many flags are learned. Who is in the sandbox decides what is refused, and must not
// be able to use up memory.
const maxLearned = 4096

// A Learner collects flags that permit what was refused. The zero Learner has none. It is not for
// several goroutines at a time.
type Learner struct {
	// paths by what is refused there, which has no path itself.
	paths map[Refusal]map[string]bool
	count int
}

// Add notes a refusal. It reports whether it was new.
func (l *Learner) Add(r Refusal) bool {
	if r.Flag() == "" || l.count >= maxLearned {
		return false
	}
	path := r.Path
	r.Path = ""
	if r.Kind != Calling && r.Kind != Hearing {
		r.Interface, r.Member, path = "", "", ""
	}
	if l.paths == nil {
		l.paths = make(map[Refusal]map[string]bool)
	}
	if l.paths[r] == nil {
		l.paths[r] = make(map[string]bool)
	}
	if l.paths[r][path] {
		return false
	}
	l.paths[r][path] = true
	l.count++
	return true
}

// Teach adds the flags to p, sorted, and returns how many there were.
func (l *Learner) Teach(p *Policy) (int, error) {
	var flags []string
	for r, paths := range l.paths {
		if len(paths) >= manyPaths {
			flags = append(flags, r.Flag())
			continue
		}
		for path := range maps.Keys(paths) {
			r.Path = path
			flags = append(flags, r.Flag())
		}
	}
	slices.Sort(flags)
	for _, flag := range flags {
		if err := p.AddFlag(flag); err != nil {
			return 0, fmt.Errorf("what the bus has refused cannot be permitted by a flag: %w", err)
		}
	}
	return len(flags), nil
}
