package busmodel

import (
	"slices"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
)

// addMatch: kdbus.match(7), "Adding a match", EDOM and EMFILE.
func (m *model) addMatch(c *conn, x bus.Match, replace bool) syscall.Errno {
	for _, mask := range x.Masks {
		if len(mask) == 0 || len(mask)%bloomSize != 0 {
			return syscall.EDOM
		}
	}
	if c.closed {
		return syscall.ENOTCONN
	}
	if c.monitor || !c.ordinary() {
		return syscall.EOPNOTSUPP
	}
	var rest []bus.Match
	for _, other := range c.matches {
		if !replace || other.Cookie != x.Cookie {
			rest = append(rest, other)
		}
	}
	if len(rest) == len(c.matches) && len(rest) >= c.limits.MaxMatches {
		return syscall.EMFILE
	}
	c.matches = append(rest, x)
	return 0
}

// removeMatch: kdbus.match(7), "Removing a match", EBADSLT: all that have the cookie go.
func (m *model) removeMatch(c *conn, cookie uint64) syscall.Errno {
	if c.closed {
		return syscall.ENOTCONN
	}
	before := len(c.matches)
	c.matches = slices.DeleteFunc(slices.Clone(c.matches), func(x bus.Match) bool { return x.Cookie == cookie })
	if len(c.matches) == before {
		return syscall.EBADSLT
	}
	return 0
}

// subscribed: kdbus.match(7), "Adding a match": one match is enough, of which every rule must be satisfied.
// src is nil for notifications.
func (c *conn) subscribed(src *conn, x *message) bool {
	return slices.ContainsFunc(c.matches, func(match bus.Match) bool {
		if src == nil {
			return takesNote(match, x.note)
		}
		return c.takes(match, src, x)
	})
}

// takes: kdbus.match(7), "Matches for signal messages from other connections". Names that c may not see have no owner for it.
func (c *conn) takes(match bus.Match, src *conn, x *message) bool {
	if len(match.Changes) > 0 {
		return false
	}
	for _, id := range match.Senders {
		if id != bus.AnyID && id != src.id {
			return false
		}
	}
	for _, id := range match.Destinations {
		if id != bus.AnyID && id != x.dst {
			return false
		}
	}
	for _, s := range match.Names {
		if !slices.Contains(src.owned, s) || !c.model.sees(c, s) {
			return false
		}
	}
	for _, mask := range match.Masks {
		if !passes(mask, x.bloom, x.generation) {
			return false
		}
	}
	return true
}

// passes: kdbus.match(7), "Bloom filters" and "Generations": the closest generation. The page has filter and
// mask the wrong way round in places; a filter has to have what the mask has, as in the module.
func passes(mask, filter []byte, generation uint64) bool {
	if filter == nil {
		return false
	}
	last := uint64(len(mask)/bloomSize - 1)
	mask = mask[min(generation, last)*bloomSize:][:bloomSize]
	for i := range mask {
		if filter[i]&mask[i] != mask[i] {
			return false
		}
	}
	return true
}

// takesNote: kdbus.match(7), "Matches for kernel notifications" and NAME_ADD to ID_REMOVE in "Adding a match".
func takesNote(match bus.Match, n *note) bool {
	if len(match.Masks)+len(match.Senders)+len(match.Destinations)+len(match.Names) > 0 {
		return false
	}
	for _, change := range match.Changes {
		kind := bus.NameChange
		switch {
		case n.kind == bus.IDAdded:
			kind = bus.IDAdd
		case n.kind == bus.IDRemoved:
			kind = bus.IDRemove
		case n.old == 0:
			kind = bus.NameAdd
		case n.new == 0:
			kind = bus.NameRemove
		}
		if change.Kind != kind {
			return false
		}
		if kind != bus.IDAdd && change.Old != bus.AnyID && change.Old != n.old {
			return false
		}
		if kind != bus.IDRemove && change.New != bus.AnyID && change.New != n.new {
			return false
		}
		if n.kind == bus.NameChanged && change.Name != "" && change.Name != n.name {
			return false
		}
	}
	return true
}
