package bus

import (
	"slices"
	"strings"
)

// What a custom endpoint lets through: kdbus.policy(7), kdbus.endpoint(7). Its policies are asked first,
// whoever it is that came through it, root and the owner of the bus included; then the policy of the bus, which has to allow, too.
// There is nothing that is permitted by itself, but:
//
//   - Connections know themselves, their names, and the bus.
//   - An answer to a call goes through, in both directions: the call did.
//   - Others may call who came through, as far as the policy of the bus permits. From then on the one who was
//     called knows the caller, and may look it up and learn when it leaves: see Conn.meet.
//
// What is not seen does not exist, in anything that the bus says.

// gate is what a custom endpoint lets through. It does not change.
type gate struct {
	names, wildcards, subtrees map[string]*passage

	callNeeds, hearNeeds Parts // what rules look at in calls, and in broadcasts

	refused func(Refused) // as that of EndpointConfig
}

// passage is what a gate knows of a name.
type passage struct {
	access            []Access
	calls, broadcasts []Rule
}

// newGate compiles policies. Those of one name add up.
func newGate(policies []NamePolicy) (*gate, error) {
	g := &gate{names: make(map[string]*passage), wildcards: make(map[string]*passage), subtrees: make(map[string]*passage)}
	for i := range policies {
		p := &policies[i]
		if err := p.check(); err != nil {
			return nil, err
		}
		prefix, wildcard := strings.CutSuffix(p.Name, ".*")
		place := g.names
		switch {
		case wildcard && p.Subtree:
			return nil, errorf(ErrInvalid, "the policy of the name %s is for two kinds of subtrees", p.Name)
		case wildcard:
			place = g.wildcards
		case p.Subtree:
			place = g.subtrees
		}
		entry := place[prefix]
		if entry == nil {
			entry = new(passage)
			place[prefix] = entry
		}
		entry.add(p)
		for _, r := range p.Calls {
			g.callNeeds |= r.Needs()
		}
		for _, r := range p.Broadcasts {
			g.hearNeeds |= r.Needs()
		}
	}
	return g, nil
}

func (e *passage) add(p *NamePolicy) {
	e.access = append(e.access, p.Access...)
	e.calls = append(e.calls, p.Calls...)
	e.broadcasts = append(e.broadcasts, p.Broadcasts...)
}

// passage returns the most specific there is for a name, or nil.
func (g *gate) passage(name string) *passage {
	if e := g.names[name]; e != nil {
		return e
	}
	if len(g.wildcards) > 0 {
		if dot := strings.LastIndexByte(name, '.'); dot > 0 {
			if e := g.wildcards[name[:dot]]; e != nil {
				return e
			}
		}
	}
	if len(g.subtrees) == 0 {
		return nil
	}
	for {
		if e := g.subtrees[name]; e != nil {
			return e
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			return nil
		}
		name = name[:dot]
	}
}

// permits reports whether c, which came through the gate, has the level for a name.
func (g *gate) permits(c *Conn, name string, level AccessLevel) bool {
	e := g.passage(name)
	return e != nil && e.permits(c, level)
}

// permits is that of gate. e may be nil.
func (e *passage) permits(c *Conn, level AccessLevel) bool {
	if e == nil {
		return false
	}
	if level == AccessSee && len(e.calls)+len(e.broadcasts) > 0 {
		return true
	}
	for i := range e.access {
		if a := &e.access[i]; a.Level >= level && a.covers(c) {
			return true
		}
	}
	return false
}

// talks reports whether m may go out from c to dst.
func (g *gate) talks(c, dst *Conn, m *Message) bool {
	if c == dst {
		return true
	}
	for _, name := range dst.owned {
		e := g.passage(name)
		if e.permits(c, AccessTalk) {
			return true
		}
		if e != nil && m.Flags&Signal == 0 && matchesAny(e.calls, c, dst, m) {
			return true
		}
	}
	g.tellPeer(RefusedTalk, c, dst, m)
	return false
}

// hears reports whether c may get m, a signal of src for c or for all.
func (g *gate) hears(c, src *Conn, m *Message) bool {
	if c == src {
		return true
	}
	for _, name := range src.owned {
		e := g.passage(name)
		if e.permits(c, AccessTalk) {
			return true
		}
		if e != nil && m.Dst == Broadcast && matchesAny(e.broadcasts, src, nil, m) {
			return true
		}
	}
	g.tellPeer(RefusedHear, c, src, m)
	return false
}

func matchesAny(rules []Rule, src, dst *Conn, m *Message) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.Match(src, dst, m) })
}
