package busconfig

import "slices"

// Verdict is the answer to whether something is allowed.
type Verdict struct {
	Allowed bool
	// Rule is the one that decided; nil if none matches, which forbids (but see [Policy.MayConnect]).
	Rule *Rule
}

// Log tells whether dbus-daemon would log a message that it passes on because of this verdict.
func (v Verdict) Log() bool { return v.Allowed && v.Rule != nil && v.Rule.Log }

// View is a policy as it concerns a connection. It is shared by connections and goroutines, and
// as good as the policy for as long as that is in force.
type View struct {
	policy *Policy
	parts  []*part // in the order of evaluation
	// The indexes to be asked, from the last part to the first one that is not void.
	send, receive []*messageIndex
	own           []*nameIndex
}

func newView(p *Policy, parts []*part) *View {
	v := &View{policy: p, parts: parts}
	v.send = indexes(parts, func(b *part) *messageIndex { return b.send })
	v.receive = indexes(parts, func(b *part) *messageIndex { return b.receive })
	v.own = indexes(parts, func(b *part) *nameIndex { return &b.own })
	return v
}

// indexes returns those of parts that count and are not empty, the last one first.
func indexes[I interface {
	extent() (rules int, first bool)
}](parts []*part, of func(*part) I) (all []I) {
	for _, b := range slices.Backward(parts) {
		i := of(b)
		rules, first := i.extent()
		if rules > 0 {
			all = append(all, i)
		}
		if first {
			break
		}
	}
	return all
}

// Policy returns the policy of which v is a view.
func (v *View) Policy() *Policy { return v.policy }

// MayOwn tells whether the connection may own a well-known name.
func (v *View) MayOwn(name string) Verdict {
	for _, i := range v.own {
		if r := i.last(name); r != nil {
			return Verdict{Allowed: r.Allow, Rule: r}
		}
	}
	return Verdict{}
}

// MaySend tells whether the connection may send m to one receiver. m.Sender does not matter. It does not
// allocate.
func (v *View) MaySend(m *Message) Verdict {
	if len(v.send) == 0 {
		return Verdict{}
	}
	return v.last(v.send, m, m.Destination)
}

// MayReceive tells whether the connection may receive m. m.Destination does not matter. It does not
// allocate.
func (v *View) MayReceive(m *Message) Verdict {
	if len(v.receive) == 0 {
		return Verdict{}
	}
	return v.last(v.receive, m, m.Sender)
}

func (v *View) last(from []*messageIndex, m *Message, names *Names) Verdict {
	m.resolve(v.policy)
	peer := names.resolve(v.policy)
	for _, i := range from {
		if r := i.last(m, peer); r != nil {
			return Verdict{Allowed: r.Allow, Rule: r}
		}
	}
	return Verdict{}
}

// SendRules returns the rules that match when the connection sends m, in the order of evaluation: the
// last one decides. dbus-daemon tells their number in its errors. It looks at every rule, for when
// time does not matter.
func (v *View) SendRules(m *Message) []*Rule {
	return v.matching(Send, func(r *Rule) bool { return r.matches(m) })
}

// ReceiveRules is [View.SendRules] for receiving.
func (v *View) ReceiveRules(m *Message) []*Rule {
	return v.matching(Receive, func(r *Rule) bool { return r.matches(m) })
}

// OwnRules is [View.SendRules] for owning a name.
func (v *View) OwnRules(name string) []*Rule {
	return v.matching(Own, func(r *Rule) bool { return r.matchesName(name) })
}

func (v *View) matching(kind Kind, matches func(*Rule) bool) (all []*Rule) {
	var rules []*Rule
	for _, b := range v.parts {
		rules = append(rules, b.rules...)
	}
	rules, _ = effective(rules, kind)
	for _, r := range rules {
		if matches(r) {
			all = append(all, r)
		}
	}
	return all
}
