package bus

import (
	"cmp"
	"slices"
)

// ListFlags say what List returns, numbered as kdbus.name(7) has them.
type ListFlags uint64

const (
	ListUnique     ListFlags = 1 << iota // connections, also those of which no name is listed
	ListNames                            // names that connections own
	ListActivators                       // names that activators stand in for
	ListQueued                           // names that connections wait for
)

// A ListEntry is a connection, and one of its names.
type ListEntry struct {
	ID        ID
	ConnFlags ConnFlags
	Name      string // "" for the connection as such
	NameFlags NameFlags
	Service   bool // an activator of the bus itself: see Service
}

// List returns connections and names as far as c may see them, by id. A connection has one entry
// for each name; with ListUnique one without if there are none.
func (c *Conn) List(flags ListFlags) []ListEntry {
	entries := c.list(flags)
	slices.SortStableFunc(entries, func(a, b ListEntry) int { return cmp.Compare(a.ID, b.ID) })
	return entries
}

func (c *Conn) list(flags ListFlags) (entries []ListEntry) {
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	if flags&ListActivators != 0 {
		for _, conn := range b.services {
			if n := b.names[conn.activates]; c.seesName(n.name) {
				entries = append(entries, ListEntry{ID: conn.id, ConnFlags: conn.flags, Name: n.name, NameFlags: n.flags(conn), Service: true})
			}
		}
	}
	for _, conn := range b.conns {
		entry := ListEntry{ID: conn.id, ConnFlags: conn.flags}
		before := len(entries)
		for _, n := range conn.claims {
			of := n.flags(conn)
			if of.listing()&flags != 0 && c.seesName(n.name) && c.seesWaiting(conn) {
				entry.Name, entry.NameFlags = n.name, of
				entries = append(entries, entry)
			}
		}
		if len(entries) == before && flags&ListUnique != 0 && c.seesConn(conn) {
			entries = append(entries, ListEntry{ID: conn.id, ConnFlags: conn.flags})
		}
	}
	return entries
}

// listing returns which kind of list a name with these flags is in.
func (f NameFlags) listing() ListFlags {
	switch {
	case f&ActivatorName != 0:
		return ListActivators
	case f&QueuedFor != 0:
		return ListQueued
	}
	return ListNames
}

// Inspect returns the connection with this id, or, if name is not "", the owner of this name, who
// has to have this id, unless it is 0. What c may not see does not exist: the error is ErrNoSuchConn
// or ErrNoSuchName. What is known of the connection says [Conn.Info].
func (c *Conn) Inspect(id ID, name string) (*Conn, error) {
	b := c.bus
	b.mu.RLock()
	defer b.mu.RUnlock()
	switch {
	case name != "":
		n := b.names[name]
		if n == nil || !c.seesName(name) || id != 0 && id != n.primary().id {
			c.missed(RefusedSee, name, nil)
			return nil, errorf(ErrNoSuchName, "nobody owns the name %s", name)
		}
		return n.primary(), nil
	case id == 0:
		return nil, errorf(ErrInvalid, "neither an id nor a name is given")
	}
	found := b.conns[id]
	if found == nil || !c.seesConn(found) {
		return nil, errorf(ErrNoSuchConn, "no connection %s", id)
	}
	return found, nil
}
