package dbus1

import (
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// A matchIndex finds the subscribers of a message without asking every one of
// them. The idea: a rule is filed under the values of all the keys it compares
// for equality, so that a message finds it by the values it has itself, or not
// at all. 5,000 connections that each watch one name of their own, or the
// properties of one object, are not even looked at.
//
// Which keys a rule has is its shape. A message has to be looked up once for
// every shape in use, which would be many if they were not grouped by interface
// and member first: among the rules for org.freedesktop.DBus.NameOwnerChanged
// only a few shapes occur, and only those are tried.
//
//	group   interface + member, each may be absent: at most 4 per message
//	shape   none, arg0 or arg0namespace; with or without path; with or without sender
//	bucket  the rules with the same values for all of those
//
// A bucket is found by a hash of everything. Different values may meet in one,
// which does no harm, since every rule found is then asked whether it matches:
// for that, and for the keys that are not part of the shape.
//
// Equal rules are stored once, with a list of their subscribers, so a signal
// with many receivers costs one comparison. An arg0namespace is found by looking
// up every prefix of the message's argument that ends before a dot.
//
// The index is not safe for concurrent use: the lock of the bus guards it. Held
// for reading, it allows any number of calls of collect at a time.
type matchIndex struct {
	seed  maphash.Seed
	files [numAudiences]matchFile
	subs  map[*bus.Conn]*subscriber
	total int
	heard int // subscriptions to rules that eavesdrop

	// sees tells whether a subscriber may learn who has a well-known name; nil: it may.
	sees func(c *bus.Conn, name string) bool
}

// audience divides rules by the messages they can match at all.
type audience uint8

const (
	// broadcastRules match broadcasts.
	broadcastRules audience = iota
	// eavesdropRules match broadcasts and unicasts.
	eavesdropRules
	// idleRules match nothing: they have a destination, but do not eavesdrop.
	// They are kept to be listed and removed.
	idleRules

	numAudiences
)

// matchFile holds the rules of one audience.
type matchFile struct {
	groups  map[uint64]*matchGroup // by the hash of interface and member
	buckets map[uint64]*filedRule  // by the hash of group and shape's values; a list
}

// matchGroup counts the rules with the same interface and member by shape.
type matchGroup struct {
	rules  [numShapes]uint32
	shapes uint16 // a bit for each shape that has rules
}

// matchShape says which keys a rule is filed under beside those of its group:
// a combination of shapePath, shapeSender, and at most one of the other two.
type matchShape uint8

const (
	shapePath matchShape = 1 << iota
	shapeSender
	shapeArg0
	shapeNamespace

	numShapes = (shapePath | shapeSender | shapeNamespace) + 1
)

// filedRule is a rule in its bucket.
type filedRule struct {
	rule       *matchRule
	subs       []*subscription // never empty
	next, prev *filedRule

	audience      audience
	shape         matchShape
	group, bucket uint64
}

// subscriber is a connection that has, or has had, subscriptions.
type subscriber struct {
	list []*subscription // in the order they were added
	peak int             // the most that list has held
}

// subscription is one call of AddMatch that no RemoveMatch has undone.
type subscription struct {
	conn   *bus.Conn
	filed  *filedRule
	pos    int     // in filed.subs
	cookie *uint64 // by which it is removed; nil: by its rule
}

func newMatchIndex() *matchIndex {
	x := &matchIndex{seed: maphash.MakeSeed(), subs: make(map[*bus.Conn]*subscriber)}
	for i := range x.files {
		x.files[i] = matchFile{groups: make(map[uint64]*matchGroup), buckets: make(map[uint64]*filedRule)}
	}
	return x
}

// add subscribes c to what rule matches. A connection may have the same rule any number of times.
// With a cookie, removeCookie undoes it; else remove.
func (x *matchIndex) add(c *bus.Conn, rule *matchRule, cookie *uint64) {
	f := x.find(rule)
	if f == nil {
		f = x.file(rule)
	}
	own := x.subs[c]
	if own == nil {
		own = new(subscriber)
		x.subs[c] = own
	}
	s := &subscription{conn: c, filed: f, pos: len(f.subs), cookie: cookie}
	f.subs = append(f.subs, s)
	own.list = append(own.list, s)
	own.peak = max(own.peak, len(own.list))
	x.total++
	if rule.Eavesdrop {
		x.heard++
	}
}

// remove undoes one add of an equal rule without a cookie. It reports whether there was one.
func (x *matchIndex) remove(c *bus.Conn, rule *matchRule) bool {
	f, own := x.find(rule), x.subs[c]
	if f == nil || own == nil {
		return false
	}
	i := slices.IndexFunc(own.list, func(s *subscription) bool { return s.filed == f && s.cookie == nil })
	if i < 0 {
		return false
	}
	x.unsubscribe(own.list[i])
	own.list = slices.Delete(own.list, i, i+1)
	return true
}

// removeCookie undoes every add with this cookie. It reports whether there was one.
func (x *matchIndex) removeCookie(c *bus.Conn, cookie uint64) bool {
	own := x.subs[c]
	if own == nil {
		return false
	}
	before := len(own.list)
	own.list = slices.DeleteFunc(own.list, func(s *subscription) bool {
		if s.cookie == nil || *s.cookie != cookie {
			return false
		}
		x.unsubscribe(s)
		return true
	})
	return len(own.list) < before
}

// removeAll undoes every add of c, and forgets it.
func (x *matchIndex) removeAll(c *bus.Conn) {
	if own := x.subs[c]; own != nil {
		for _, s := range own.list {
			x.unsubscribe(s)
		}
		delete(x.subs, c)
	}
}

// collect appends the connections that subscribed to m to dst and returns it. A
// connection may be there more than once. It allocates nothing if dst has room.
func (x *matchIndex) collect(m *matchMessage, dst []*bus.Conn) []*bus.Conn {
	p := matchProbe{message: m, seed: x.seed, sees: x.sees}
	if !m.unicast() {
		dst = x.files[broadcastRules].collect(&p, dst)
	}
	return x.files[eavesdropRules].collect(&p, dst)
}

// takes reports whether a rule of c describes m, a message for c alone.
func (x *matchIndex) takes(c *bus.Conn, m *matchMessage) bool {
	own := x.subs[c]
	return own != nil && slices.ContainsFunc(own.list, func(s *subscription) bool {
		return s.filed.rule.describes(m) && knowsSender(c, s.filed.rule.wellKnownSender(), x.sees)
	})
}

// eavesdroppers returns how many subscriptions take unicasts too.
func (x *matchIndex) eavesdroppers() int { return x.heard }

// len returns how many subscriptions there are.
func (x *matchIndex) len() int { return x.total }

// count returns how many subscriptions c has, and the most it has had.
func (x *matchIndex) count(c *bus.Conn) (now, peak int) {
	if own := x.subs[c]; own != nil {
		return len(own.list), own.peak
	}
	return 0, 0
}

// rules returns the rules of c in their canonical form, in the order they were
// added.
func (x *matchIndex) rules(c *bus.Conn) []string {
	var texts []string
	if own := x.subs[c]; own != nil {
		for _, s := range own.list {
			texts = append(texts, s.filed.rule.String())
		}
	}
	return texts
}

// place returns where rule is filed.
func (x *matchIndex) place(rule *matchRule) filedRule {
	f := filedRule{rule: rule}
	switch {
	case rule.Eavesdrop:
		f.audience = eavesdropRules
	case rule.Destination != "":
		f.audience = idleRules
	}
	f.group = groupHash(hashOf(x.seed, rule.Interface), hashOf(x.seed, rule.Member))
	var arg0, path, sender uint64
	if len(rule.Args) > 0 && rule.Args[0].Index == 0 {
		switch rule.Args[0].Kind {
		case wire.MatchArgExact:
			f.shape |= shapeArg0
			arg0 = hashOf(x.seed, rule.Args[0].Value)
		case wire.MatchArgNamespace:
			f.shape |= shapeNamespace
			arg0 = hashOf(x.seed, rule.Args[0].Value)
		}
	}
	if rule.Path != "" && !rule.PathIsNamespace {
		f.shape |= shapePath
		path = hashOf(x.seed, rule.Path)
	}
	if rule.Sender != "" {
		f.shape |= shapeSender
		sender = hashOf(x.seed, rule.Sender)
	}
	f.bucket = bucketHash(f.group, f.shape, arg0, path, sender)
	return f
}

// find returns the filed rule that equals rule, or nil.
func (x *matchIndex) find(rule *matchRule) *filedRule {
	at := x.place(rule)
	for f := x.files[at.audience].buckets[at.bucket]; f != nil; f = f.next {
		if f.rule.Equal(rule) {
			return f
		}
	}
	return nil
}

// file puts a rule into its bucket.
func (x *matchIndex) file(rule *matchRule) *filedRule {
	f := x.place(rule)
	in := &x.files[f.audience]
	g := in.groups[f.group]
	if g == nil {
		g = new(matchGroup)
		in.groups[f.group] = g
	}
	g.rules[f.shape]++
	g.shapes |= 1 << f.shape
	f.next = in.buckets[f.bucket]
	if f.next != nil {
		f.next.prev = &f
	}
	in.buckets[f.bucket] = &f
	return &f
}

// unfile takes a rule out of its bucket.
func (x *matchIndex) unfile(f *filedRule) {
	in := &x.files[f.audience]
	if f.next != nil {
		f.next.prev = f.prev
	}
	switch {
	case f.prev != nil:
		f.prev.next = f.next
	case f.next != nil:
		in.buckets[f.bucket] = f.next
	default:
		delete(in.buckets, f.bucket)
	}
	g := in.groups[f.group]
	if g.rules[f.shape]--; g.rules[f.shape] > 0 {
		return
	}
	if g.shapes &^= 1 << f.shape; g.shapes == 0 {
		delete(in.groups, f.group)
	}
}

// unsubscribe ends s. The list of its connection is left to the caller.
func (x *matchIndex) unsubscribe(s *subscription) {
	f := s.filed
	last := f.subs[len(f.subs)-1]
	f.subs[s.pos] = last
	last.pos = s.pos
	f.subs[len(f.subs)-1] = nil
	f.subs = f.subs[:len(f.subs)-1]
	x.total--
	if f.rule.Eavesdrop {
		x.heard--
	}
	if len(f.subs) == 0 {
		x.unfile(f)
	}
}

// collect looks in every group and shape where a rule for the message can be.
func (in *matchFile) collect(p *matchProbe, dst []*bus.Conn) []*bus.Conn {
	if len(in.groups) == 0 {
		return dst
	}
	p.hashHeader()
	for _, key := range p.groups[:p.numGroups] {
		g := in.groups[key]
		if g == nil {
			continue
		}
		for shapes := g.shapes; shapes != 0; shapes &= shapes - 1 {
			dst = in.collectShape(p, key, matchShape(bits.TrailingZeros16(shapes)), dst)
		}
	}
	return dst
}

// collectShape looks up the message as if it were a rule of this shape.
func (in *matchFile) collectShape(p *matchProbe, group uint64, shape matchShape, dst []*bus.Conn) []*bus.Conn {
	if shape&(shapeArg0|shapeNamespace) == 0 {
		return in.collectSenders(p, group, shape, 0, dst)
	}
	arg0 := p.message.arg(0)
	if arg0.typ != 's' {
		return dst
	}
	// How long the argument is must not matter, since a hostile sender chooses
	// it: what is longer than a rule equals nothing in one.
	if shape&shapeArg0 != 0 {
		if len(arg0.text) > maxMatchRuleLength {
			return dst
		}
		return in.collectSenders(p, group, shape, p.hashArg0(arg0.text), dst)
	}
	name := arg0.text[:min(len(arg0.text), wire.MaxNameLength+1)]
	for end := 0; end <= len(name); end++ {
		if end == len(name) || name[end] == '.' {
			dst = in.collectSenders(p, group, shape, hashOf(p.seed, name[:end]), dst)
		}
	}
	return dst
}

// collectSenders looks up the message once for each name of its sender, if the
// shape has one.
func (in *matchFile) collectSenders(p *matchProbe, group uint64, shape matchShape, arg0 uint64, dst []*bus.Conn) []*bus.Conn {
	var path uint64
	if shape&shapePath != 0 {
		path = p.path
	}
	if shape&shapeSender == 0 {
		return in.collectBucket(p, bucketHash(group, shape, arg0, path, 0), dst)
	}
	for _, name := range p.message.Senders {
		dst = in.collectBucket(p, bucketHash(group, shape, arg0, path, hashOf(p.seed, name)), dst)
	}
	return dst
}

func (in *matchFile) collectBucket(p *matchProbe, bucket uint64, dst []*bus.Conn) []*bus.Conn {
	for f := in.buckets[bucket]; f != nil; f = f.next {
		if !f.rule.matches(p.message) {
			continue
		}
		sender := f.rule.wellKnownSender()
		for _, s := range f.subs {
			if knowsSender(s.conn, sender, p.sees) {
				dst = append(dst, s.conn)
			}
		}
	}
	return dst
}

// knowsSender reports whether c may learn that a sender has the name by which a rule chooses it, "" for none. If not, it must not
// learn so from what it gets, either.
func knowsSender(c *bus.Conn, name string, sees func(*bus.Conn, string) bool) bool {
	return name == "" || sees == nil || sees(c, name)
}

// matchProbe is a message while it is looked up, with the hashes of what it has.
type matchProbe struct {
	message *matchMessage
	seed    maphash.Seed
	sees    func(*bus.Conn, string) bool

	hashed    bool
	groups    [4]uint64 // all it can belong to
	numGroups int
	path      uint64

	arg0Hashed bool
	arg0       uint64
}

func (p *matchProbe) hashHeader() {
	if p.hashed {
		return
	}
	p.hashed = true
	h := p.message.Header
	iface, member := hashOf(p.seed, h.Interface), hashOf(p.seed, h.Member)
	p.groups[0] = groupHash(0, 0)
	p.numGroups = 1
	if member != 0 {
		p.groups[p.numGroups] = groupHash(0, member)
		p.numGroups++
	}
	if iface != 0 {
		p.groups[p.numGroups] = groupHash(iface, 0)
		p.numGroups++
	}
	if iface != 0 && member != 0 {
		p.groups[p.numGroups] = groupHash(iface, member)
		p.numGroups++
	}
	if len(h.Path) <= maxMatchRuleLength {
		p.path = hashOf(p.seed, h.Path)
	}
}

func (p *matchProbe) hashArg0(text string) uint64 {
	if !p.arg0Hashed {
		p.arg0Hashed, p.arg0 = true, hashOf(p.seed, text)
	}
	return p.arg0
}

// hashOf hashes the value of a key. That of an absent one, which is empty, is 0.
func hashOf(seed maphash.Seed, s string) uint64 {
	if s == "" {
		return 0
	}
	return maphash.String(seed, s)
}

// groupHash and bucketHash combine hashes, each in a place of its own. They need
// not be good, only cheap: what is combined is random already and unknown to
// those who choose the values.
func groupHash(iface, member uint64) uint64 {
	return iface ^ bits.RotateLeft64(member, 21)
}

func bucketHash(group uint64, shape matchShape, arg0, path, sender uint64) uint64 {
	return group ^ bits.RotateLeft64(arg0, 11) ^ bits.RotateLeft64(path, 31) ^ bits.RotateLeft64(sender, 47) ^ uint64(shape)
}
