package policy

import (
	"cmp"
	"slices"

	"github.com/kdbus-go/kdbus/abi"
)

// An Entry is what an endpoint lets through of a name, or of a name and all below it.
type Entry struct {
	Name    string
	Subtree bool
	// Level is never 0. With See alone there may be rules besides.
	Level Level
	// Calls and Broadcasts are D-Bus match rules, sorted; "" matches every message, and is alone
	// then. There are none from Talk on, which permits every message.
	Calls, Broadcasts []string
}

// Entries returns the policy as entries of which only the most specific counts for a name: the one for
// this very name, else that for the longest name that it is below of. They are sorted by name.
func (p *Policy) Entries() []Entry {
	entries := make([]Entry, 0, len(p.grants))
	for s := range p.grants {
		sum := p.around(s)
		e := Entry{Name: s.name, Subtree: s.subtree, Level: max(sum.level, See)}
		if e.Level < Talk {
			e.Calls, e.Broadcasts = simplify(sum.calls), simplify(sum.broadcasts)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), compareBool(a.Subtree, b.Subtree))
	})
	return entries
}

// around adds up what is said of all that s is part of.
func (p *Policy) around(s subject) grant {
	var sum grant
	for other, g := range p.grants {
		if other.covers(s) {
			sum.level = max(sum.level, g.level)
			sum.calls = append(sum.calls, g.calls...)
			sum.broadcasts = append(sum.broadcasts, g.broadcasts...)
		}
	}
	return sum
}

// simplify returns rules sorted and each once, or only the one that matches everything.
func simplify(rules []string) []string {
	if slices.Contains(rules, "") {
		return []string{""}
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// ABI returns the entry as the commands ENDPOINT_MAKE and ENDPOINT_UPDATE have it.
func (e Entry) ABI() abi.Policy {
	levels := [...]abi.PolicyType{See: abi.PolicySee, Talk: abi.PolicyTalk, Own: abi.PolicyOwn}
	return abi.Policy{
		Name:    e.Name,
		Subtree: e.Subtree,
		// Whoever comes through the endpoint is in the sandbox.
		Access:     []abi.PolicyAccess{{Type: abi.PolicyAccessWorld, Access: levels[e.Level]}},
		Calls:      e.Calls,
		Broadcasts: e.Broadcasts,
	}
}
