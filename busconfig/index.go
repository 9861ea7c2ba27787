package busconfig

import (
	"slices"
	"sync/atomic"
)

// messageIndex finds the last of many rules that matches a message.
//
// What a rule compares decides in which table it is: all rules that compare, say, destination and interface
// are in one, under the values they want. A message is looked up once in every table, for each name that
// its peer has, and of all that is found the rule with the highest number counts. Rules under the same
// values differ in their conditions only, which are few: those that can never be the last one are left out.
//
// A message that lacks a field is not compared in it (Rule.wantsOf). So there is a set of tables
// for each combination of fields that a message may lack. Those of ordinary messages are made
// in advance, the others when they are needed first.
type messageIndex struct {
	policy *Policy
	rules  []*Rule                                  // in order; their places are their numbers
	first  bool                                     // the first rule voids those of earlier parts
	sets   [wantsFields + 2]atomic.Pointer[[]table] // the last one is for those without header
}

// table has the rules that compare the same fields.
type table struct {
	wants wants
	last  int32           // the highest number in it
	all   []int32         // if nothing is compared: the numbers of the rules, the highest first
	by    map[key][]int32 // else the same for what is compared
}

// key is what rules want: the symbols of the fields that are compared, 0 for the others.
type key struct{ peer, path, iface, member, errorName symbol }

func newMessageIndex(p *Policy, kind Kind, rules []*Rule) *messageIndex {
	x := &messageIndex{policy: p}
	x.rules, x.first = effective(rules, kind)
	if len(x.rules) > 0 {
		x.tables(wantsError)                                            // calls and signals
		x.tables(wantsError | wantsInterface)                           // calls without interface
		x.tables(wantsPath | wantsInterface | wantsMember | wantsError) // returns
		x.tables(wantsPath | wantsInterface | wantsMember)              // errors
	}
	return x
}

func (x *messageIndex) extent() (int, bool) { return len(x.rules), x.first }

// last returns the last rule that matches m; nil for none.
func (x *messageIndex) last(m *Message, peer *mentioned) *Rule {
	best := int32(-1)
	tables := x.tables(m.known.absentFields)
	for i := range tables {
		t := &tables[i]
		if t.last <= best {
			break // so are all that follow
		}
		if t.wants == 0 {
			best = x.newest(t.all, best, m)
			continue
		}
		k, ok := m.known.key(t.wants)
		if !ok {
			continue // wants something that no rule mentions
		}
		switch {
		case t.wants&wantsPeer == 0:
			best = x.newest(t.by[k], best, m)
		case t.wants&wantsPrefix != 0:
			for _, k.peer = range peer.prefixes {
				best = x.newest(t.by[k], best, m)
			}
		default:
			for _, k.peer = range peer.exact {
				best = x.newest(t.by[k], best, m)
			}
		}
	}
	if best < 0 {
		return nil
	}
	return x.rules[best]
}

// newest returns the first of numbers above best whose condition m fulfils, or else best.
func (x *messageIndex) newest(numbers []int32, best int32, m *Message) int32 {
	for _, n := range numbers {
		if n <= best {
			break
		}
		if x.rules[n].condition.holds(m) {
			return n
		}
	}
	return best
}

// key is what a message has for the fields w, without the peer. It is false if one of them is
// nothing that rules mention.
func (s *symbols) key(w wants) (k key, ok bool) {
	if w&wantsPath != 0 {
		if k.path = s.path; k.path == 0 {
			return k, false
		}
	}
	if w&wantsInterface != 0 {
		if k.iface = s.iface; k.iface == 0 {
			return k, false
		}
	}
	if w&wantsMember != 0 {
		if k.member = s.member; k.member == 0 {
			return k, false
		}
	}
	if w&wantsError != 0 {
		if k.errorName = s.errorName; k.errorName == 0 {
			return k, false
		}
	}
	return k, true
}

// tables are those for messages without the fields absent, the one with the highest number first.
func (x *messageIndex) tables(absent wants) []table {
	set := &x.sets[min(absent, wantsFields+1)]
	if t := set.Load(); t != nil {
		return *t
	}
	t := x.build(absent)
	set.Store(&t) // somebody else may have, too; they are alike
	return t
}

func (x *messageIndex) build(absent wants) []table {
	var tables []table
	for n, r := range slices.Backward(x.rules) {
		w, possible := r.wantsOf(absent)
		if !possible {
			continue
		}
		i := slices.IndexFunc(tables, func(t table) bool { return t.wants == w })
		if i < 0 {
			i = len(tables)
			tables = append(tables, table{wants: w, last: int32(n)})
		}
		t := &tables[i]
		if w == 0 {
			t.all = x.add(t.all, n)
			continue
		}
		if t.by == nil {
			t.by = map[key][]int32{}
		}
		k := x.policy.key(r, w)
		t.by[k] = x.add(t.by[k], n)
	}
	return tables
}

// add appends the rule n to rules that come after it, unless one of these matches whenever it does.
func (x *messageIndex) add(later []int32, n int) []int32 {
	c := &x.rules[n].condition
	if slices.ContainsFunc(later, func(l int32) bool { return x.rules[l].condition.covers(c) }) {
		return later
	}
	return append(later, int32(n))
}

// key is what r wants of the fields w.
func (p *Policy) key(r *Rule, w wants) (k key) {
	if w&wantsPath != 0 {
		k.path = p.texts[r.path]
	}
	if w&wantsInterface != 0 {
		k.iface = p.texts[r.iface]
	}
	if w&wantsMember != 0 {
		k.member = p.texts[r.member]
	}
	if w&wantsError != 0 {
		k.errorName = p.texts[r.errorName]
	}
	switch {
	case w&wantsPrefix != 0:
		k.peer = p.prefixes[r.peer]
	case w&wantsPeer != 0:
		k.peer = p.names[r.peer]
	}
	return k
}

// nameIndex finds the last of many rules of the kind Own that matches a name.
type nameIndex struct {
	rules           []*Rule
	first           bool // as in messageIndex
	exact, prefixes map[string]int
	all             int // the last rule for every name; -1 for none
}

func newNameIndex(rules []*Rule) nameIndex {
	x := nameIndex{exact: map[string]int{}, prefixes: map[string]int{}, all: -1}
	x.rules, x.first = effective(rules, Own)
	for n, r := range x.rules {
		switch {
		case r.wants&wantsPrefix != 0:
			x.prefixes[r.peer] = n
		case r.wants&wantsPeer != 0:
			x.exact[r.peer] = n
		default:
			x.all = n
		}
	}
	return x
}

func (x *nameIndex) extent() (int, bool) { return len(x.rules), x.first }

// last returns the last rule that matches name; nil for none.
func (x *nameIndex) last(name string) *Rule {
	best := x.all
	if n, ok := x.exact[name]; ok {
		best = max(best, n)
	}
	if len(x.prefixes) > 0 {
		for prefix := range prefixesOf(name) {
			if n, ok := x.prefixes[prefix]; ok {
				best = max(best, n)
			}
		}
	}
	if best < 0 {
		return nil
	}
	return x.rules[best]
}
