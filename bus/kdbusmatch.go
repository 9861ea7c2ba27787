package bus

// AnyID in a match stands for every connection.
const AnyID = ^ID(0)

// A Match is what a connection subscribes to: kdbus.match(7). A message matches if it satisfies every
// condition in it. Those on messages of peers and those on notifications exclude each other; a Match
// without any takes everything.
type Match struct {
	// Cookie is what the match is removed by. Several may have the same.
	Cookie uint64

	// Masks are of bloom filters. Each has the size that the bus prescribes, once for every generation,
	// beginning with generation 0.
	Masks [][]byte
	// Senders are the ids of the sender, or AnyID. More than one contradict each other.
	Senders []ID
	// Destinations are what the message is addressed to, or AnyID.
	Destinations []ID
	// Names are well-known names that the sender owns.
	Names []string

	// Changes are notifications.
	Changes []Change

	// Rule is a condition that the front-end evaluates; it applies to both. May be nil.
	Rule Rule
}

// A Change is a condition on notifications.
type Change struct {
	Kind     ChangeKind
	Name     string // of names; empty is every name
	Old, New ID     // AnyID, an owner, or 0 for none. With IDAdded only New counts, with IDRemoved only Old.
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

// A Rule is a condition in a Match that only the front-end understands. It is called with the bus locked, and
// must not call back.
type Rule interface {
	// Match takes the same src, dst and m as Collect of Index.
	Match(src, dst *Conn, m *Message) bool
	// Needs returns the parts of a message that Match looks at, always the same.
	Needs() Parts
}

// AddMatch subscribes c to what m describes, which is the core's from now on. With replace, matches with
// the same cookie are removed. Errors: ErrBloomSize, ErrTooManyMatches, ErrInvalid, ErrUnsupported for
// connections that do not receive signals.
func (c *Conn) AddMatch(m Match, replace bool) error {
	return nil
}

// RemoveMatches removes all matches with this cookie. The error is ErrNoSuchMatch if there are none.
func (c *Conn) RemoveMatches(cookie uint64) error {
	return nil
}
