package bus

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// matchIndex finds the matches of a broadcast without trying each one. A match is filed where any
// message that it takes leads to: under a sender, under a name that the sender owns, under what a
// notification is about, or, if it has none of these, under its first bloom mask. Masks that are
// equal are one (many subscribe to the same signal), and that one is compared with a filter once,
// for whatever number of matches. Masks in turn are filed under one of their bits: a message has to
// have it, so looking under those bits that the message's filter has set is enough. That bit is the
// one that the fewest masks have, in the hope that few filters do: not one of those that say
// "signal". With the mask goes the second rarest bit, which spares looking at most of those that do
// not match after all. Bus.mu guards the index; it is held for writing by who searches, too.
type matchIndex struct {
	bits  uint64 // of a filter
	count int
	needs tally // what matches look at

	bins  map[binKey]*bin  // that are not empty
	masks map[string]*mask // those of all matches, by what they consist of
	// places are the masks that matches are filed under, by bit, and at the end those that every
	// filter passes. Nil until there is a mask.
	places [][]placed
	// taken has the bits set under which there are masks, so that a search looks at those places only.
	taken []uint64
	// common says how many masks in places have each bit.
	common []uint32
	// search numbers the searches.
	search uint64
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
	mask    *mask // if it is that of a mask, which has no key
	matches []binned
}

// binned is a match in a bin.
type binned struct {
	*match
	conn *Conn // of the match
	// sole: the mask that the bin belongs to is all that the match demands
	sole bool
}

// A filing is a place of a match.
type filing struct {
	bin   *bin
	place int
}

// A mask is a condition of matches on the bloom filter, the same for all that have an equal one.
type mask struct {
	key   string
	words []uint64 // of each generation in turn
	users int      // how many matches have it, each as often as it does

	bin    bin      // matches that are filed under it
	places []*place // as long as there are such, one for each generation

	// search is the one in which it was compared with a filter last, and passed how that ended.
	search uint64
	passed bool
}

// A place is where a mask is, in one of its generations.
type place struct {
	mask       *mask
	generation int // the last one stands for all that follow
	bit, index int
}

// placed is a mask in a place.
type placed struct {
	*place
	second int // another bit that the filter needs; -1 if there is none
}

// intern returns the mask that consists of these bytes, for one more match.
func (x *matchIndex) intern(data []byte) *mask {
	k := x.masks[string(data)]
	if k == nil {
		k = &mask{key: string(data), words: make([]uint64, len(data)/8)}
		for i := range k.words {
			k.words[i] = binary.LittleEndian.Uint64(data[i*8:])
		}
		k.bin.mask = k
		if x.masks == nil {
			x.masks = make(map[string]*mask)
		}
		x.masks[k.key] = k
	}
	k.users++
	return k
}

// release gives back what intern returned.
func (x *matchIndex) release(k *mask) {
	if k.users--; k.users == 0 {
		delete(x.masks, k.key)
	}
}

func (x *matchIndex) add(m *match) {
	x.count++
	x.needs.add(m.needs())
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
		x.fileUnderMask(m)
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
	b.add(m, false)
}

// fileUnderMask files m under its first mask.
func (x *matchIndex) fileUnderMask(m *match) {
	k := m.masks[0]
	if len(k.bin.matches) == 0 {
		x.place(k)
	}
	s := &m.spec
	k.bin.add(m, len(m.masks) == 1 && len(s.Senders)+len(s.Destinations) == 0 && s.Rule == nil)
}

// place puts k under one bit of each of its generations.
func (x *matchIndex) place(k *mask) {
	if x.places == nil {
		x.places = make([][]placed, x.bits+1)
		x.taken = make([]uint64, x.bits/64)
		x.common = make([]uint32, x.bits)
	}
	x.note(k, 1)
	words := int(x.bits / 64)
	for generation := range len(k.words) / words {
		rarest, second := -1, -1
		for bit := range setBits(k.words[generation*words:][:words]) {
			switch {
			case rarest < 0 || x.common[bit] < x.common[rarest]:
				rarest, second = bit, rarest
			case second < 0 || x.common[bit] < x.common[second]:
				second = bit
			}
		}
		bit := rarest
		if bit < 0 {
			bit = int(x.bits)
		} else {
			x.taken[bit/64] |= 1 << (bit % 64)
		}
		p := &place{mask: k, generation: generation, bit: bit, index: len(x.places[bit])}
		x.places[bit] = append(x.places[bit], placed{p, second})
		k.places = append(k.places, p)
	}
}

// displace undoes place.
func (x *matchIndex) displace(k *mask) {
	x.note(k, -1)
	for _, p := range k.places {
		under := x.places[p.bit]
		last := under[len(under)-1]
		under[p.index], last.index = last, p.index
		under[len(under)-1] = placed{}
		if x.places[p.bit] = under[:len(under)-1]; len(under) > 1 {
			continue
		}
		x.places[p.bit] = nil
		if p.bit < int(x.bits) {
			x.taken[p.bit/64] &^= 1 << (p.bit % 64)
		}
	}
	k.places = nil
}

// note counts the bits of k, in all generations, or takes them off the count.
func (x *matchIndex) note(k *mask, by int32) {
	for bit := range setBits(k.words) {
		x.common[uint64(bit)%x.bits] += uint32(by)
	}
}

func (x *matchIndex) remove(m *match) {
	x.count--
	x.needs.remove(m.needs())
	for _, f := range m.filings {
		b := f.bin
		if b.remove(f.place); len(b.matches) > 0 {
			continue
		}
		b.matches = nil
		if b.mask != nil {
			x.displace(b.mask)
		} else {
			delete(x.bins, b.key)
		}
	}
	m.filings = nil
	for _, k := range m.masks {
		x.release(k)
	}
}

func (b *bin) add(m *match, sole bool) {
	m.filings = append(m.filings, filing{b, len(b.matches)})
	b.matches = append(b.matches, binned{m, m.conn, sole})
}

// remove takes the match at a place out, which the last one takes.
func (b *bin) remove(place int) {
	last := len(b.matches) - 1
	moved := b.matches[last]
	for i := range moved.filings {
		if f := &moved.filings[i]; f.bin == b {
			f.place = place
		}
	}
	b.matches[place] = moved
	b.matches[last] = binned{}
	b.matches = b.matches[:last]
}

// collect appends the connections that have a match for m, a broadcast, to found. src is nil for the
// bus itself.
func (x *matchIndex) collect(src *Conn, m *Message, found []*Conn) []*Conn {
	x.search++
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
	if filter == nil || x.places == nil {
		return found
	}
	for i, taken := range x.taken {
		for word := binary.LittleEndian.Uint64(filter[i*8:]) & taken; word != 0; word &= word - 1 {
			under := x.places[i*64+bits.TrailingZeros64(word)]
			for i := range under {
				if p := &under[i]; p.leadsOn(filter, generation) && p.mask.takes(filter, generation, x.search) {
					found = x.open(&p.mask.bin, src, m, found)
				}
			}
		}
	}
	for _, p := range x.places[x.bits] {
		if p.leadsOn(filter, generation) && p.mask.takes(filter, generation, x.search) {
			found = x.open(&p.mask.bin, src, m, found)
		}
	}
	return found
}

func (x *matchIndex) look(key binKey, src *Conn, m *Message, found []*Conn) []*Conn {
	if b := x.bins[key]; b != nil {
		return x.open(b, src, m, found)
	}
	return found
}

// open appends the connections that have a match for m in b, the bin under which m has led. If it is
// that of a mask, m passes it.
func (x *matchIndex) open(b *bin, src *Conn, m *Message, found []*Conn) []*Conn {
	for i := range b.matches {
		if e := &b.matches[i]; e.sole || e.takes(src, nil, m, x.search) {
			found = append(found, e.conn)
		}
	}
	return found
}

// leadsOn reports whether a filter that has the bit under which p is may pass the mask, and whether
// p stands for the generation of the mask that counts for it.
func (p *placed) leadsOn(filter []byte, generation uint64) bool {
	if p.second >= 0 && filter[p.second/8]&(1<<(p.second%8)) == 0 {
		return false
	}
	n := uint64(len(p.mask.places))
	return n == 1 || min(generation, n-1) == uint64(p.generation)
}

// takes reports whether a filter of this generation passes k. It is the same for all that ask in one
// search, so that it is found out once in each; with 0, what is known from others stays.
func (k *mask) takes(filter []byte, generation, search uint64) bool {
	if search == 0 {
		return passes(filter, k.words, generation)
	}
	if k.search != search {
		k.search, k.passed = search, passes(filter, k.words, generation)
	}
	return k.passed
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
