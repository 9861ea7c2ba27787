package busconfig

import (
	"encoding/xml"
	"slices"
)

// What a policy says about itself, for whoever wants to know why it decides as it does. Nothing here is
// fast: it looks at every rule.

// Attribute returns the value of an attribute of r as it was written, such as that of send_interface, and
// whether r has it.
func (r *Rule) Attribute(name string) (string, bool) {
	var tag struct {
		Attributes []xml.Attr `xml:",any,attr"`
	}
	if xml.Unmarshal([]byte(r.text), &tag) != nil {
		return "", false // a rule that was not read from a file
	}
	for _, a := range tag.Attributes {
		if a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

// Rules returns the rules of a kind that concern the connection and count, in the order of
// evaluation, and those before them that do not: the first one that counts makes them void, if there
// are any. Of the kind Connect there are none, for who may connect is not asked of connections; see
// [Policy.ConnectRules].
func (v *View) Rules(kind Kind) (effect, void []*Rule) {
	if kind == Connect {
		return nil, nil
	}
	var all []*Rule
	for _, b := range v.parts {
		for _, r := range b.rules {
			if r.Kind == kind {
				all = append(all, r)
			}
		}
	}
	effect, _ = effective(slices.Clone(all), kind)
	return effect, all[:len(all)-len(effect)]
}

// MatchesName tells whether r, which is of the kind Own, is about name.
func (r *Rule) MatchesName(name string) bool { return r.Kind == Own && r.matchesName(name) }

// MatchesMessage tells whether r, which is of the kind Send or Receive, is about m.
func (r *Rule) MatchesMessage(m *Message) bool {
	return (r.Kind == Send || r.Kind == Receive) && r.matches(m)
}

// ConnectRules returns the rules that say whether a user may connect, in the order of evaluation: the
// last one decides. gids are all groups of the user.
func (p *Policy) ConnectRules(uid uint32, gids []uint32) (all []*Rule) {
	for _, r := range p.connect {
		if r.concerns(uid, gids) {
			all = append(all, r)
		}
	}
	return all
}

// concerns tells whether r, which is of the kind Connect, is about a user.
func (r *Rule) concerns(uid uint32, gids []uint32) bool {
	return r.wants == 0 || !r.group && r.id == uid || r.group && slices.Contains(gids, r.id)
}
