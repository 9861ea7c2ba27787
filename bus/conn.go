package bus

import (
	"slices"
	"strconv"
	"sync"

	"github.com/kdbus-go/kdbus/meta"
)

// A Conn is one peer on a bus. The methods that act for the peer (Hello, Send, Deliver,
// AcquireName, ReleaseName, EditMatches, BecomeMonitor, Flush, Close) are for one goroutine at a
// time, the one that drives the connection; what they queued is handed over by Flush. The others
// are safe for concurrent use.
type Conn struct {
	bus         *Bus
	id          ID
	uid         uint32
	acceptFDs   bool
	tellOwn     bool
	limits      *Limits
	receiver    Receiver
	description string
	peer        any
	flags       ConnFlags

	touched []*Conn // receivers to wake at the next Flush; the driving goroutine's

	// Guarded by Bus.mu.
	joined  bool
	closed  bool
	monitor Filter   // not nil: this is a monitor
	owned   []string // well-known names of which this is the primary owner, oldest first
	peak    int      // the most names that owned has held
	claims  []*name  // names owned or queued for
	mark    uint64   // the last broadcast that was queued here

	wants      Parts
	attachSend meta.Kinds

	mu    sync.Mutex
	queue queue
	calls map[callKey]*call // calls of this connection that wait for a reply
	owed  *call             // calls that this connection has to answer, a list
	// manyCalls: calls has had more than fewCalls entries
	manyCalls bool
}

// ID returns the connection's id.
func (c *Conn) ID() ID { return c.id }

// UniqueName returns the id as D-Bus writes it.
func (c *Conn) UniqueName() string { return c.id.String() }

// String returns the id as a unique name of D-Bus.
func (id ID) String() string { return ":1." + strconv.FormatUint(uint64(id), 10) }

// UID returns the user whose connection this is.
func (c *Conn) UID() uint32 { return c.uid }

// Bus returns the bus that the connection is on.
func (c *Conn) Bus() *Bus { return c.bus }

// AcceptFDs reports whether the peer takes file descriptors.
func (c *Conn) AcceptFDs() bool { return c.acceptFDs }

// Flags returns what kind of connection it is.
func (c *Conn) Flags() ConnFlags { return c.flags }

// Description returns what the peer calls itself.
func (c *Conn) Description() string { return c.description }

// Peer returns what the front-end that made the connection keeps about its peer.
func (c *Conn) Peer() any { return c.peer }

// Owned returns the well-known names that c is the primary owner of. It is for Index, Filter and
// Policy, which are called with the bus locked; the result must be neither changed nor kept.
func (c *Conn) Owned() []string { return c.owned }

// Names returns the well-known names that c owns now, oldest first.
func (c *Conn) Names() []string {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	return slices.Clone(c.owned)
}

// PeakNames returns the most well-known names that c has owned at a time.
func (c *Conn) PeakNames() int {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	return c.peak
}

// Hello makes c part of its bus: others see it from now on.
func (c *Conn) Hello() {
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.joined || c.closed || c.monitor != nil {
		return
	}
	c.joined = true
	b.conns[c.id] = c
	b.peak()
	c.announce(Notification{Kind: IDAdded, NewOwner: c.id})
	if c.tellOwn {
		c.tell(c, 0, Notification{Kind: NameAcquired, Name: c.UniqueName(), NewOwner: c.id})
	}
}

// leave takes away everything that c has on the bus: subscriptions, names, its id, and the calls in
// which it takes part. Bus.mu is held for writing.
func (c *Conn) leave() {
	b := c.bus
	for _, index := range b.indexes {
		index.Forget(c)
	}
	for len(c.claims) > 0 {
		b.removeOwner(c, c.claims[len(c.claims)-1], c)
	}
	if c.joined {
		c.joined = false
		if c.tellOwn {
			c.tell(c, 0, Notification{Kind: NameLost, Name: c.UniqueName(), OldOwner: c.id})
		}
		c.announce(Notification{Kind: IDRemoved, OldOwner: c.id})
		delete(b.conns, c.id)
	}
	c.abandonCalls()
}

// Close takes c off its bus, ends the calls that it takes part in and drops what is still in its
// queue. The caller goes on to Flush, for the others to learn of it. The Receiver may still be
// woken, for nothing. Closing twice is fine.
func (c *Conn) Close() {
	b := c.bus
	b.mu.Lock()
	if c.closed {
		b.mu.Unlock()
		return
	}
	c.closed = true
	c.leave()
	if c.monitor != nil {
		b.monitors = slices.DeleteFunc(b.monitors, func(m *Conn) bool { return m == c })
	}
	b.mu.Unlock()
	c.shut()
	b.domain.leave(c.uid)
}
