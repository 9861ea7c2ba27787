package bus

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// matchIndex finds the matches of a broadcast without trying each one. A match is filed where any
// message that it takes leads to: under a sender, under a name that the sender owns, under what a
// notification is about. If it has none of these but a bloom mask, then under one bit of the mask:
// a message has to have it, so looking under those bits that the message's filter has set is
// enough. That bit is the one that the fewest masks have, in the hope that few filters do: not one
// of those that say "signal". With the match goes the second rarest bit, which spares looking at
// most of those that do not match after all. Bus.mu guards the index.
type matchIndex struct {
	bits  uint64 // of a filter
	count int
	needs tally // what matches look at

	bins map[binKey]*bin // that are not empty
	// masks are the bins of matches that are filed under a bit, by that bit; nil until there is a
	// mask.
	masks []bin
	// common says how many masks have each bit.
	common []uint32
}

// binKey says what the matches in a bin have in common.
type binKey struct {
	kind binKind
	id   ID
	name string
}

type binKind uint8

const (
	ofAnyMessage binKind = iota
	ofAnyNotification
	ofSender
	ofName // owned by the sender
	ofChange
	// followed by one for each ChangeKind
)

type bin struct {
	key     binKey
	filings []filed
}

// filed is what a bin has of a filing.
type filed struct {
	*filing
	second int // another bit that the filter needs; -1 if there is none
}

// A filing is a match in a bin. A mask of several generations has a bit in each, and a filing for
// each.
type filing struct {
	match      *match
	generation int // of the mask; its last one stands for all that follow
	bin        *bin
	place      int
}

func (x *matchIndex) add(m *match) {
	x.count++
	x.needs.add(m.needs())
	x.note(m, 1)
	s := &m.spec
	message := len(m.masks)+len(s.Senders)+len(s.Destinations)+len(s.Names) > 0
	switch {
	case message && len(s.Changes) > 0:
		// No message satisfies both.
	case slices.ContainsFunc(s.Destinations, func(id ID) bool { return id != AnyID }):
		// For signals to one connection, which are not looked for here.
	case len(s.Changes) > 0:
		x.file(m, s.Changes[0].key())
	case !message:
		x.file(m, binKey{kind: ofAnyMessage})
		x.file(m, binKey{kind: ofAnyNotification})
	case len(s.Senders) > 0 && s.Senders[0] != AnyID:
		x.file(m, binKey{kind: ofSender, id: s.Senders[0]})
	case len(s.Names) > 0:
		x.file(m, binKey{kind: ofName, name: s.Names[0]})
	case len(m.masks) > 0:
		x.fileMask(m)
	default:
		x.file(m, binKey{kind: ofAnyMessage})
	}
}

func (x *matchIndex) file(m *match, key binKey) {
	b := x.bins[key]
	if b == nil {
		b = &bin{key: key}
		if x.bins == nil {
			x.bins = make(map[binKey]*bin)
		}
		x.bins[key] = b
	}
	b.add(m, 0, -1)
}

// fileMask files m under one bit of each generation of its first mask.
func (x *matchIndex) fileMask(m *match) {
	words := int(x.bits / 64)
	for generation := range len(m.masks[0]) / words {
		rarest, second := -1, -1
		for bit := range setBits(m.masks[0][generation*words:][:words]) {
			switch {
			case rarest < 0 || x.common[bit] < x.common[rarest]:
				rarest, second = bit, rarest
			case second < 0 || x.common[bit] < x.common[second]:
				second = bit
			}
		}
		if rarest >= 0 {
			x.masks[rarest].add(m, generation, second)
			continue
		}
		x.file(m, binKey{kind: ofAnyMessage}) // the mask takes every filter
		m.filings[len(m.filings)-1].generation = generation
	}
}

// note counts the bits of m's first mask, in all generations, or takes them off the count.
func (x *matchIndex) note(m *match, by int32) {
	if len(m.masks) == 0 {
		return
	}
	if x.masks == nil {
		x.masks = make([]bin, x.bits)
		x.common = make([]uint32, x.bits)
	}
	for bit := range setBits(m.masks[0]) {
		x.common[uint64(bit)%x.bits] += uint32(by)
	}
}

func (x *matchIndex) remove(m *match) {
	x.count--
	x.needs.remove(m.needs())
	x.note(m, -1)
	for _, f := range m.filings {
		b := f.bin
		last := b.filings[len(b.filings)-1]
		b.filings[f.place], last.place = last, f.place
		b.filings[len(b.filings)-1] = filed{}
		b.filings = b.filings[:len(b.filings)-1]
		if len(b.filings) == 0 {
			b.filings = nil
			if x.bins[b.key] == b {
				delete(x.bins, b.key)
			}
		}
	}
	m.filings = nil
}

func (b *bin) add(m *match, generation, second int) {
	f := &filing{match: m, generation: generation, bin: b, place: len(b.filings)}
	b.filings = append(b.filings, filed{f, second})
	m.filings = append(m.filings, f)
}

// collect appends the connections that have a match for m, a broadcast, to found. src is nil for the
// bus itself.
func (x *matchIndex) collect(src *Conn, m *Message, found []*Conn) []*Conn {
	if n := m.Notification; n != nil {
		found = x.look(binKey{kind: ofAnyNotification}, src, m, found)
		key := n.key()
		found = x.look(key, src, m, found)
		if key.name != "" {
			return x.look(binKey{kind: key.kind}, src, m, found)
		}
		return x.look(binKey{kind: key.kind, id: AnyID}, src, m, found)
	}
	if src == nil {
		return found
	}
	found = x.look(binKey{kind: ofAnyMessage}, src, m, found)
	found = x.look(binKey{kind: ofSender, id: src.id}, src, m, found)
	for _, name := range src.owned {
		found = x.look(binKey{kind: ofName, name: name}, src, m, found)
	}
	filter, generation := m.Bloom()
	if filter == nil || x.masks == nil {
		return found
	}
	for i := 0; i < len(filter); i += 8 {
		for word := binary.LittleEndian.Uint64(filter[i:]); word != 0; word &= word - 1 {
			for _, f := range x.masks[i*8+bits.TrailingZeros64(word)].filings {
				if f.second >= 0 && filter[f.second/8]&(1<<(f.second%8)) == 0 {
					continue
				}
				if f.concerns(generation) && f.match.takes(src, nil, m) {
					found = append(found, f.match.conn)
				}
			}
		}
	}
	return found
}

func (x *matchIndex) look(key binKey, src *Conn, m *Message, found []*Conn) []*Conn {
	b := x.bins[key]
	if b == nil {
		return found
	}
	_, generation := m.Bloom()
	for _, f := range b.filings {
		if f.concerns(generation) && f.match.takes(src, nil, m) {
			found = append(found, f.match.conn)
		}
	}
	return found
}

// concerns reports whether f is the filing of its match that counts for filters of this generation.
func (f *filing) concerns(generation uint64) bool {
	n := uint64(len(f.match.filings))
	return n == 1 || f.match.masks == nil || min(generation, n-1) == uint64(f.generation)
}

// key returns where a match with the condition c is filed.
func (c *Change) key() binKey {
	key := binKey{kind: ofChange + binKind(c.Kind), name: c.Name}
	switch c.Kind {
	case IDAdd:
		return binKey{kind: key.kind, id: c.New}
	case IDRemove:
		return binKey{kind: key.kind, id: c.Old}
	}
	return key
}

// key returns where matches for n, and not for any of its kind, are filed.
func (n *Notification) key() binKey {
	key := binKey{kind: ofChange + binKind(n.change()), name: n.Name}
	switch n.change() {
	case IDAdd:
		key.id = n.NewOwner
	case IDRemove:
		key.id = n.OldOwner
	}
	return key
}

// setBits yields the numbers of the bits that are set.
func setBits(words []uint64) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i, word := range words {
			for ; word != 0; word &= word - 1 {
				if !yield(i*64 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}
