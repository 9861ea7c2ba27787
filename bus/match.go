package bus

import (
	"encoding/binary"
	"slices"
)

// AnyID in a match stands for every connection.
const AnyID = ^ID(0)

// A Match is what a connection subscribes to: kdbus.match(7). It is for broadcasts, for signals to
// the connection alone, and for notifications, and consists of conditions. A message matches if it
// satisfies all of them. Those on messages of peers and those on notifications exclude each other;
// a Match without any takes everything.
type Match struct {
	// Cookie is what the match is removed by. Several may have the same.
	Cookie uint64

	// Masks are conditions on the bloom filter, which must have set all bits that the mask has. Each
	// consists of masks of the size that the bus prescribes, for generation 0 and those that follow.
	// A filter of a later generation is compared with the last of them.
	Masks [][]byte
	// Senders are conditions on who sends: this connection, or AnyID.
	Senders []ID
	// Destinations are conditions on what the message is addressed to: a connection, or AnyID, which
	// is Broadcast, too.
	Destinations []ID
	// Names are well-known names of which the sender has to be the owner.
	Names []string

	// Changes are conditions on notifications.
	Changes []Change

	// Rule is a condition on anything, evaluated by the front-end. May be nil.
	Rule Rule
}

// A Change is a condition on notifications.
type Change struct {
	Kind ChangeKind
	// Name is the name in question, "" for any. Of names only.
	Name string
	// Old and New are its owners before and after, 0 for none, AnyID for whatever. Of ids there is
	// only New with IDAdd and only Old with IDRemove, again AnyID for whatever.
	Old, New ID
}

// ChangeKind is the kind of a notification, as kdbus tells them apart.
type ChangeKind uint8

const (
	NameAdd    ChangeKind = iota + 1 // a name that nobody owned has an owner
	NameRemove                       // nobody owns the name any more
	NameChange                       // the name went from one owner to another
	IDAdd                            // a connection appeared
	IDRemove                         // a connection left
)

// A Rule is a condition in a Match that only the front-end understands. It is called with the bus
// locked, from many goroutines at once, and must not call back.
type Rule interface {
	// Match takes the same src, dst and m as Collect of Index.
	Match(src, dst *Conn, m *Message) bool
	// Needs returns the parts of a message that Match looks at, always the same. A part that could
	// not be made may be absent all the same.
	Needs() Parts
}

// MaxMaskGenerations is how many generations a bloom mask may have. There has never been a second
// one; the limit bounds for how long a match keeps others from the bus when it is added.
const MaxMaskGenerations = 64

// match is a Match as it is kept.
type match struct {
	conn    *Conn
	spec    Match
	masks   []*mask
	filings []filing // in the index
}

// AddMatch subscribes c to what m describes; m is the core's from now on. With replace, matches
// that have the same cookie go. Errors: ErrBloomSize, ErrTooManyMatches, and ErrUnsupported for
// connections that receive no signals.
func (c *Conn) AddMatch(m Match, replace bool) error {
	made := &match{conn: c, spec: m}
	size := c.bus.config.Bloom.Size
	for _, mask := range m.Masks {
		if n := uint64(len(mask)); n == 0 || n%size != 0 {
			return errorf(ErrBloomSize, "the bloom mask has %d bytes, on this bus it must have %d for each generation", n, size)
		} else if n/size > MaxMaskGenerations {
			return errorf(ErrBloomSize, "the bloom mask has %d generations, more than %d", n/size, MaxMaskGenerations)
		}
	}
	made.spec.Masks = nil
	return c.EditMatches(func() error {
		if c.monitor != nil || !c.ordinary() {
			return errorf(ErrUnsupported, "connection %s is a monitor, an activator or a policy holder, which have no matches", c.UniqueName())
		}
		limit := c.limits.load().MaxMatches
		if limit == 0 {
			limit = DefaultLimits.MaxMatches
		}
		replaced := replace && c.removeMatches(m.Cookie)
		if !replaced && len(c.matches) >= limit {
			return errorf(ErrTooManyMatches, "connection %s has %d matches, as many as it may", c.UniqueName(), len(c.matches))
		}
		for _, mask := range m.Masks {
			made.masks = append(made.masks, c.bus.matches.intern(mask))
		}
		c.matches = append(c.matches, made)
		c.bus.matches.add(made)
		return nil
	})
}

// RemoveMatches removes all matches of c with this cookie. The error is ErrNoSuchMatch if there are
// none.
func (c *Conn) RemoveMatches(cookie uint64) error {
	return c.EditMatches(func() error {
		if !c.removeMatches(cookie) {
			return errorf(ErrNoSuchMatch, "connection %s has no match with the cookie %d", c.UniqueName(), cookie)
		}
		return nil
	})
}

// removeMatches is RemoveMatches with Bus.mu held for writing.
func (c *Conn) removeMatches(cookie uint64) (removed bool) {
	c.matches = slices.DeleteFunc(c.matches, func(m *match) bool {
		if m.spec.Cookie != cookie {
			return false
		}
		c.bus.matches.remove(m)
		removed = true
		return true
	})
	return removed
}

// forgetMatches removes all matches. Bus.mu is held for writing.
func (c *Conn) forgetMatches() {
	for _, m := range c.matches {
		c.bus.matches.remove(m)
	}
	c.matches = nil
}

// subscribed reports whether c has a match for m, a signal to c that src sends. Bus.mu is held.
func (c *Conn) subscribed(src *Conn, m *Message) bool {
	return slices.ContainsFunc(c.matches, func(x *match) bool { return x.takes(src, c, m, 0) }) ||
		slices.ContainsFunc(c.bus.indexes, func(x Index) bool { return x.Takes(src, c, m) })
}

// matchNeeds returns the parts of a message that c's matches look at, and those that others
// may have of it.
func (c *Conn) matchNeeds() (needs Parts) {
	for _, m := range c.matches {
		needs |= m.needs()
	}
	for _, x := range c.bus.indexes {
		needs |= x.Needs()
	}
	return needs
}

func (x *match) needs() (needs Parts) {
	if x.masks != nil {
		needs |= PartBloom
	}
	if x.spec.Rule != nil {
		needs |= x.spec.Rule.Needs()
	}
	return needs
}

// takes reports whether m satisfies every condition. src is nil for the bus itself. search is the
// number of the search in the index, 0 if this is none.
func (x *match) takes(src, dst *Conn, m *Message, search uint64) bool {
	if m.Notification != nil {
		if !x.takesNotification(m) {
			return false
		}
	} else if !x.takesMessage(src, m, search) {
		return false
	}
	return x.spec.Rule == nil || x.spec.Rule.Match(src, dst, m)
}

func (x *match) takesMessage(src *Conn, m *Message, search uint64) bool {
	if len(x.spec.Changes) > 0 || src == nil {
		return false
	}
	for _, id := range x.spec.Senders {
		if id != src.id && id != AnyID {
			return false
		}
	}
	for _, id := range x.spec.Destinations {
		if id != m.Dst && id != AnyID {
			return false
		}
	}
	filter, generation := m.Bloom()
	for _, mask := range x.masks {
		if !mask.takes(filter, generation, search) {
			return false
		}
	}
	for _, name := range x.spec.Names {
		if !slices.Contains(src.owned, name) || !x.conn.seesName(name) {
			return false
		}
	}
	return true
}

// passes reports whether a filter of this generation has set all bits of the mask that goes with
// it. No filter passes no mask.
func passes(filter []byte, masks []uint64, generation uint64) bool {
	if filter == nil {
		return false
	}
	words := len(filter) / 8
	last := len(masks)/words - 1
	mask := masks[min(generation, uint64(last))*uint64(words):]
	for i := range words {
		if mask[i]&^binary.LittleEndian.Uint64(filter[i*8:]) != 0 {
			return false
		}
	}
	return true
}

func (x *match) takesNotification(m *Message) bool {
	if len(x.masks)+len(x.spec.Senders)+len(x.spec.Destinations)+len(x.spec.Names) > 0 {
		return false
	}
	for i := range x.spec.Changes {
		if !x.spec.Changes[i].takes(m.Notification) {
			return false
		}
	}
	return true
}

func (c *Change) takes(n *Notification) bool {
	if c.Kind != n.change() {
		return false
	}
	old := c.Old == AnyID || c.Old == n.OldOwner
	new := c.New == AnyID || c.New == n.NewOwner
	switch c.Kind {
	case IDAdd:
		return new
	case IDRemove:
		return old
	}
	return old && new && (c.Name == "" || c.Name == n.Name)
}

// change returns which of kdbus's kinds n is; 0 for those that are told to one connection only.
func (n *Notification) change() ChangeKind {
	switch {
	case n.Kind == IDAdded:
		return IDAdd
	case n.Kind == IDRemoved:
		return IDRemove
	case n.Kind != NameChanged:
		return 0
	case n.OldOwner == 0:
		return NameAdd
	case n.NewOwner == 0:
		return NameRemove
	}
	return NameChange
}
