package busconfig

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// Policy is the security policy of a bus, compiled from its rules. It may be used from several
// goroutines.
type Policy struct {
	rules []*Rule

	// The parts whose rules concern the same connections. Those for everybody are never nil.
	everybody, mandatory    *part
	atConsole, notAtConsole *part
	groups, users           map[uint32]*part
	connect                 []*Rule // of the kind Connect that count, in order of evaluation
	texts, names, prefixes  map[string]symbol
	anonymous               *View
	viewsMu                 sync.Mutex
	views                   map[string]*View
	numbers                 symbol
}

// NewPolicy compiles rules that are in the order of their files. The slice is kept.
func NewPolicy(rules []*Rule) *Policy {
	p := &Policy{
		rules:  rules,
		groups: map[uint32]*part{}, users: map[uint32]*part{},
		texts: map[string]symbol{}, names: map[string]symbol{}, prefixes: map[string]symbol{},
		views: map[string]*View{},
	}
	by := map[Context][]*Rule{}
	for _, r := range rules {
		p.mention(r)
		c := Context{Kind: r.Context.Kind, ID: r.Context.ID} // whatever it was called
		by[c] = append(by[c], r)
	}
	p.everybody = newPart(p, by[Context{Kind: Default}])
	p.mandatory = newPart(p, by[Context{Kind: Mandatory}])
	p.atConsole = newPart(p, by[Context{Kind: AtConsole}])
	p.notAtConsole = newPart(p, by[Context{Kind: NotAtConsole}])
	for c, list := range by {
		switch c.Kind {
		case OfGroup:
			p.groups[c.ID] = newPart(p, list)
		case OfUser:
			p.users[c.ID] = newPart(p, list)
		}
	}
	for _, kind := range []ContextKind{Default, Mandatory} {
		for _, r := range by[Context{Kind: kind}] {
			if r.Kind == Connect {
				p.connect = append(p.connect, r)
			}
		}
	}
	p.anonymous = newView(p, []*part{p.everybody, p.mandatory})
	return p
}

// mention gives numbers to what r compares.
func (p *Policy) mention(r *Rule) {
	number := func(in map[string]symbol, s string, w wants) {
		if r.wants&w != 0 && in[s] == 0 {
			p.numbers++
			in[s] = p.numbers
		}
	}
	number(p.texts, r.path, wantsPath)
	number(p.texts, r.iface, wantsInterface)
	number(p.texts, r.member, wantsMember)
	number(p.texts, r.errorName, wantsError)
	switch {
	case r.Kind == Own: // which has a table of its own
	case r.wants&wantsPrefix != 0:
		number(p.prefixes, r.peer, wantsPrefix)
	default:
		number(p.names, r.peer, wantsPeer)
	}
}

// Rules returns all rules in the order of the files, whomever they concern.
func (p *Policy) Rules() []*Rule { return slices.Clone(p.rules) }

// MayConnect tells whether a user may connect to a bus that runs as the user owner. If no rule matches,
// only the owner may, root not excepted. gids are all groups of the user. (dbus-daemon looks them up in the user
// database, and refuses who is not in it.)
func (p *Policy) MayConnect(uid uint32, gids []uint32, owner uint32) Verdict {
	for _, r := range slices.Backward(p.connect) {
		if r.concerns(uid, gids) {
			return Verdict{Allowed: r.Allow, Rule: r}
		}
	}
	return Verdict{Allowed: uid == owner}
}

// For returns the view of a connection of the user uid, with all its groups gids, the primary one included. atConsole is
// set for users who sit at the machine; dbus-daemon asks logind whether the user is logged in at a
// seat. Connections that the same parts of the policy concern get the same View.
func (p *Policy) For(uid uint32, gids []uint32, atConsole bool) *View {
	parts := []*part{p.everybody}
	key := make([]byte, 0, 32)
	if len(p.groups) > 0 {
		gids = slices.Clone(gids)
		slices.Sort(gids)
		for _, gid := range slices.Compact(gids) {
			if g := p.groups[gid]; g != nil {
				parts = append(parts, g)
				key = binary.LittleEndian.AppendUint32(key, gid)
			}
		}
	}
	user := p.users[uid]
	if user != nil {
		parts = append(parts, user)
		key = binary.LittleEndian.AppendUint32(append(key, 'u'), uid)
	}
	console := p.notAtConsole
	if atConsole {
		console = p.atConsole
		key = append(key, 'c')
	}
	parts = append(parts, console, p.mandatory)

	p.viewsMu.Lock()
	defer p.viewsMu.Unlock()
	if v := p.views[string(key)]; v != nil {
		return v
	}
	v := newView(p, parts)
	if len(p.views) < maxViews {
		p.views[string(key)] = v
	}
	return v
}

// AsksForGroups tells whether the groups of a connection make a difference, and AsksForConsole whether its
// user's sitting at the machine does: who asks [Policy.For] need not find them out otherwise.
func (p *Policy) AsksForGroups() bool { return len(p.groups) > 0 }

// AsksForConsole is like AsksForGroups.
func (p *Policy) AsksForConsole() bool { return len(p.atConsole.rules)+len(p.notAtConsole.rules) > 0 }

// ForAnonymous returns the view of a connection that is of no user: nothing that is said about users,
// groups and the console concerns it.
func (p *Policy) ForAnonymous() *View { return p.anonymous }

// warnings are about rules that do more than their author may think.
func (p *Policy) warnings() (all []Warning) {
	for _, r := range p.rules {
		if r.careless() {
			all = append(all, Warning{r.Source, r.element(), fmt.Sprintf(
				"makes all %s rules before it void, as in dbus-daemon, although it does not match all messages; "+
					"add an attribute such as %s_type, or repeat what is to hold after it", r.Kind, r.Kind)})
		}
	}
	return all
}

func (r *Rule) element() string {
	if r.Allow {
		return "<allow>"
	}
	return "<deny>"
}

// part has the rules of one context.
type part struct {
	rules         []*Rule // all of them, in order
	send, receive *messageIndex
	own           nameIndex
}

func newPart(p *Policy, rules []*Rule) *part {
	return &part{
		rules: rules,
		send:  newMessageIndex(p, Send, rules), receive: newMessageIndex(p, Receive, rules),
		own: newNameIndex(rules),
	}
}

// effective are the rules of a kind that count, and whether they begin with one that voids all
// before it.
func effective(rules []*Rule, kind Kind) (list []*Rule, first bool) {
	for _, r := range rules {
		if r.Kind != kind {
			continue
		}
		if r.voids() {
			list, first = list[:0], true
		}
		list = append(list, r)
	}
	return list, first
}
