package bus

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/meta"
)

// A Conn is one peer on a bus. The methods that act for the peer (Hello, Send, SendToBus, Deliver,
// AcquireName, ClaimName, ReleaseName, EditMatches, BecomeMonitor, Flush, Close) are for one
// goroutine at a time, the one that drives the connection; what they queued is handed over by
// Flush. The others are safe for concurrent use.
//
// The order of the fields matters: a broadcast goes through many connections, and what it touches in
// each is together.
type Conn struct {
	bus         *Bus
	id          ID
	limits      *SharedLimits
	receiver    Receiver
	flags       ConnFlags
	charged     uint32        // the user on whose account it is, unless door is: see account.go
	wants       atomic.Uint32 // Parts of messages that it wants; changed with Bus.mu held for writing
	mark        uint64        // the last broadcast that was queued here; guarded by Bus.mu
	subject     Subject       // what the policy keeps about it; guarded by Bus.mu
	acceptFDs   bool
	tellOwn     bool
	tellDropped bool
	door        uint16 // the number of the custom endpoint by which it came; 0 if that is the default one
	uid         uint32 // whose connection it is

	mu    sync.Mutex
	queue queue
	calls map[callKey]*call // calls of this connection that wait for a reply
	owed  *call             // calls that this connection has to answer, a list
	met   map[ID]struct{}   // others that it knows of, if it is confined: see meet
	// manyCalls: calls has had more than fewCalls entries
	manyCalls bool
	expiry    expiry // of calls

	touched  []*Conn   // receivers to wake at the next Flush; the driving goroutine's
	refusals []refusal // to be told by the next Flush; the same's

	endpoint    *Endpoint
	confined    *Endpoint // endpoint, if that is a custom one
	description string
	peer        any
	metadata    *meta.Data // of the process that connected
	collect     func(meta.Kinds) meta.Data
	fake        *meta.Data // what the peer wants to be known instead
	activates   string     // the name of an activator
	service     Service    // which the bus can start, if that is what activates is
	credentials credentials

	// Guarded by Bus.mu.
	joined     bool
	closed     bool
	monitor    Filter     // not nil: this is a monitor
	judged     uint64     // of which exchange of policies subject is
	owned      []string   // well-known names of which this is the primary owner, oldest first
	peak       int        // the most names that owned has held
	claims     []*name    // names owned or queued for
	matches    []*match   // in the order they were added
	attachSend meta.Kinds // what messages of the peer may carry
	attachable meta.Kinds // the same, as far as the bus permits it
	policies   []NamePolicy

	told meta.Kinds // what Receiver.Wanted was called with; guarded by Bus.telling
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

// Endpoint returns the endpoint by which the connection came.
func (c *Conn) Endpoint() *Endpoint { return c.endpoint }

// AcceptFDs reports whether the peer takes file descriptors.
func (c *Conn) AcceptFDs() bool { return c.acceptFDs }

// Flags returns what kind of connection it is.
func (c *Conn) Flags() ConnFlags { return c.flags }

// Fake returns what a privileged peer has given to be known instead of what it is: see ConnConfig. It is nil if that is
// nothing, and must not be changed.
func (c *Conn) Fake() *meta.Data { return c.fake }

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

// ordinary reports whether c can send and be sent to, neither an activator nor a policy holder.
// Whether it is a monitor is another question.
func (c *Conn) ordinary() bool { return c.flags&(FlagActivator|FlagPolicyHolder) == 0 }

// Hello makes c part of its bus: others see it from now on. Only that of an activator can fail, if
// it may not have the name (ErrDenied, or whatever the policy says) or somebody else has it as such
// (ErrExists), and that of a connection with policies, if somebody else holds one for the same name
// (ErrExists).
func (c *Conn) Hello() error {
	b := c.bus
	b.mu.Lock()
	if c.joined || c.closed || c.monitor != nil {
		b.mu.Unlock()
		return nil
	}
	if err := c.mayJoin(); err != nil {
		b.mu.Unlock()
		return err
	}
	if c.judged != b.serial {
		c.judge() // the policy was exchanged in between
	}
	if c.service != nil {
		c.joined = true
		b.services[c.id] = c
		c.standIn()
		b.mu.Unlock()
		return nil
	}
	before := b.audience.parts
	c.joined = true
	b.conns[c.id] = c
	b.audience.add(c.wanted())
	b.peak()
	c.announce(Notification{Kind: IDAdded, NewOwner: c.id, NewFlags: uint64(c.flags)})
	if c.tellOwn {
		c.tell(c, 0, Notification{Kind: NameAcquired, Name: c.UniqueName(), NewOwner: c.id})
	}
	if c.activates != "" {
		c.standIn()
	}
	changed := wantsChanged(before, b.audience.parts)
	concerned := c.wantedOfIt() != 0
	b.mu.Unlock()
	if changed {
		b.tellWanted()
	} else if concerned {
		b.tellWanted(c)
	}
	return nil
}

// mayJoin asks for the permissions that only special connections need, and puts their policies into
// force. Bus.mu is held for writing.
func (c *Conn) mayJoin() error {
	b := c.bus
	if c.endpoint.closed {
		return c.gone()
	}
	if c.ordinary() {
		return nil
	}
	if c.flags&FlagActivator != 0 {
		if c.service == nil {
			if err := b.policy.Own(c, c.activates); err != nil {
				return err
			}
		}
		if n := b.names[c.activates]; n != nil && n.activator != nil {
			return errorf(ErrExists, "the name %s has an activator already", c.activates)
		}
	}
	return c.hold(c.policies)
}

// leave takes away everything that c has on the bus: subscriptions, names, its id, and the calls in
// which it takes part. by is whose doing it is. Bus.mu is held for writing.
func (c *Conn) leave(by *Conn) {
	b := c.bus
	for _, index := range b.indexes {
		index.Forget(c)
	}
	c.forgetMatches()
	if c.flags&FlagActivator != 0 {
		c.standDown(by)
	}
	for len(c.claims) > 0 {
		b.removeOwner(by, c.claims[len(c.claims)-1], c)
	}
	if c.service != nil {
		c.joined = false
		delete(b.services, c.id)
	} else if c.joined {
		c.joined = false
		b.audience.remove(c.wanted())
		if c.tellOwn {
			by.tell(c, 0, Notification{Kind: NameLost, Name: c.UniqueName(), OldOwner: c.id})
		}
		by.announce(Notification{Kind: IDRemoved, OldOwner: c.id, OldFlags: uint64(c.flags)})
		delete(b.conns, c.id)
		b.forgetMet(c)
	}
	c.unhold() // after the announcements of names that it keeps from some
	c.abandonCalls(by)
}

// Close takes c off its bus, ends the calls that it takes part in and drops what is still in its
// queue. The caller goes on to Flush, for the others to learn of it. The Receiver may still be
// woken, for nothing. Closing twice is fine.
func (c *Conn) Close() { c.close(c) }

// close is Close, for which by is woken up others. It reports whether c had not been closed before.
func (c *Conn) close(by *Conn) bool {
	b := c.bus
	b.mu.Lock()
	if c.closed {
		b.mu.Unlock()
		return false
	}
	before := b.audience.parts
	c.closed = true
	c.leave(by)
	c.unmonitor()
	if c.confined != nil {
		delete(c.confined.conns, c)
	}
	changed := wantsChanged(before, b.audience.parts)
	b.mu.Unlock()
	c.shut()
	if c.service == nil && c.confined == nil {
		b.domain.leave(b.made, c.charged)
	}
	if changed {
		b.tellWanted()
	}
	return true
}

// disconnect closes connections that others drive, and tells their Receivers.
func disconnect(conns []*Conn) {
	for _, c := range conns {
		messenger := &Conn{bus: c.bus, charged: c.charged, door: c.door}
		if !c.close(messenger) {
			continue
		}
		messenger.Flush()
		if r, ok := c.receiver.(interface{ HangUp() }); ok {
			r.HangUp()
		}
	}
}
