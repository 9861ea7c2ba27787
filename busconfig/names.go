package busconfig

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// Names are the names of a connection: its unique name, and all names that it owns or waits for, since
// rules about a name concern everybody in its queue. Keep one for each connection and make a new one
// when its names change: which rules concern them is found out once.
//
// Names may be used from several goroutines. nil are no names.
type Names struct {
	names  []string
	spaces []string // namespaces in which there are further names
	known  atomic.Pointer[mentioned]
}

// mentioned are the names that rules of a policy mention, and the prefixes that they have.
type mentioned struct {
	policy          *Policy
	exact, prefixes []symbol
}

// NewNames returns the given names. The slice is copied, the strings are kept.
func NewNames(names ...string) *Names { return &Names{names: slices.Clone(names)} }

// All returns a copy of the names.
func (n *Names) All() []string {
	if n == nil {
		return nil
	}
	return slices.Clone(n.names)
}

var noNames mentioned

// Holdings are the names of a connection, as far as rules of a policy mention them: what a bus
// keeps that changes them one by one, however many there are. It is for one goroutine at a time.
type Holdings struct {
	policy *Policy
	spaces map[string]int // how many of the names are in each namespace that is mentioned
	exact  []string
	names  *Names // nil for none
}

// NewHoldings returns those of a connection that has no names yet.
func (p *Policy) NewHoldings() *Holdings { return &Holdings{policy: p} }

// Names returns the names that are mentioned, and the namespaces that are and have names in them. It is
// the same as long as these are the same; nil if there are none.
func (h *Holdings) Names() *Names { return h.names }

// Add adds a name that is not there yet. The string is kept.
func (h *Holdings) Add(name string) {
	changed := h.policy.names[name] != 0
	if changed {
		h.exact = append(h.exact, name)
	}
	for space := range h.mentioned(name) {
		if h.spaces == nil {
			h.spaces = make(map[string]int)
		}
		if h.spaces[space]++; h.spaces[space] == 1 {
			changed = true
		}
	}
	h.update(changed)
}

// Remove removes a name that is there.
func (h *Holdings) Remove(name string) {
	changed := h.policy.names[name] != 0
	if i := slices.Index(h.exact, name); i >= 0 {
		h.exact = slices.Delete(h.exact, i, i+1)
	}
	for space := range h.mentioned(name) {
		if h.spaces[space]--; h.spaces[space] == 0 {
			delete(h.spaces, space)
			changed = true
		}
	}
	h.update(changed)
}

// mentioned yields the namespaces that name is in and that rules mention.
func (h *Holdings) mentioned(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if len(h.policy.prefixes) == 0 {
			return
		}
		for space := range prefixesOf(name) {
			if h.policy.prefixes[space] != 0 && !yield(space) {
				return
			}
		}
	}
}

// update makes names anew.
func (h *Holdings) update(changed bool) {
	switch {
	case !changed:
	case len(h.exact) == 0 && len(h.spaces) == 0:
		h.names = nil
	default:
		h.names = &Names{names: slices.Clone(h.exact), spaces: slices.Sorted(maps.Keys(h.spaces))}
	}
}

// resolve returns what p knows of n.
func (n *Names) resolve(p *Policy) *mentioned {
	if n == nil {
		return &noNames
	}
	if k := n.known.Load(); k != nil && k.policy == p {
		return k
	}
	k := &mentioned{policy: p}
	for _, space := range n.spaces {
		if s := p.prefixes[space]; s != 0 {
			k.prefixes = append(k.prefixes, s)
		}
	}
	for _, name := range n.names {
		if s := p.names[name]; s != 0 {
			k.exact = append(k.exact, s)
		}
		for prefix := range prefixesOf(name) {
			if s := p.prefixes[prefix]; s != 0 && !slices.Contains(k.prefixes, s) {
				k.prefixes = append(k.prefixes, s)
			}
		}
	}
	n.known.Store(k)
	return k
}

// has tells whether one of the names is s, or lies in the namespace s.
func (n *Names) has(s string, namespace bool) bool {
	if n == nil {
		return false
	}
	if namespace && slices.Contains(n.spaces, s) {
		return true
	}
	return slices.ContainsFunc(n.names, func(name string) bool {
		return name == s && !namespace || namespace && within(name, s)
	})
}

// prefixesOf yields name, and all that it is within, from the longest to the shortest.
func prefixesOf(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '.') {
			if !yield(name[:end]) {
				return
			}
		}
	}
}
