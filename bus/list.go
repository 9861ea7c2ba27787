package bus

// ListFlags say what List returns, numbered as kdbus.name(7) has them.
type ListFlags uint64

const (
	ListUnique     ListFlags = 1 << iota // connections, also those of which nothing else is listed
	ListNames                            // names and their owners
	ListActivators                       // names of activators
	ListQueued                           // names that somebody waits for
)

// A ListEntry is a connection, and one of its names.
type ListEntry struct {
	ID        ID
	ConnFlags ConnFlags
	Name      string // empty for the connection as such
	NameFlags NameFlags
}

// List returns connections and names as far as c may see them, in no order.
func (c *Conn) List(flags ListFlags) []ListEntry {
	return nil
}

// Inspect returns the connection with this id, or, if name is not empty, the owner of this name, who must be
// the connection with this id unless that is 0. What c may not see does not exist: the error is
// ErrNoSuchConn or ErrNoSuchName.
func (c *Conn) Inspect(id ID, name string) (*Conn, error) {
	return nil, errorf(ErrNoSuchConn, "no connection %s", id)
}
