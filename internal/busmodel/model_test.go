package busmodel

import (
	"slices"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// model is a bus as it should be.
type model struct {
	conns  []*conn // all there ever were, by id
	names  map[string]*name
	rules  *rules // the policy of the bus
	strict bool   // whether the bus has kdbus's implicit rules
	stamps uint64 // messages so far
	owed   uint64 // calls so far that somebody had to answer
	now    uint64 // nanoseconds since the start
}

// The limits of the bus and its domain.
const (
	busOwner     = 50 // the user who made the bus
	maxUserConns = 3
	bloomSize    = 8
	required     = meta.KindCreds
)

// permitted is what messages on the bus may carry.
const permitted = meta.AllKinds &^ meta.KindCmdline

// A spec says what kind of connection is to be made.
type spec struct {
	flags       bus.ConnFlags
	activates   string
	uid         uint32
	groups      []uint32
	anonymous   bool
	dbus1       bool // it reads nothing but D-Bus 1
	tellOwn     bool
	tellDropped bool
	limits      bus.Limits
	entries     []bus.NamePolicy
	send        meta.Kinds
	receive     meta.Kinds
	description string
	fake        *meta.Kinds // impersonation: what it gives of itself; nil if it does not
	fakedUser   uint32      // whose credentials those are, if they are among that
	slow        bool        // it reads only when told to
	by          *endpoint   // the custom endpoint by which it comes; nil is the default one
}

const special = bus.FlagActivator | bus.FlagPolicyHolder

// conn is what should be true of a connection.
type conn struct {
	spec
	model                   *model
	id                      bus.ID
	joined, closed, monitor bool

	claims  []string // names owned or waited for, first asked first
	owned   []string // names of which it is the owner, first had first
	matches []bus.Match
	calls   []*call        // that it waits for
	met     map[*conn]bool // others that it knows, if it came by a custom endpoint

	queue, held, taken []*message // to be read, held for the owner of a name, read but not given back
	woken, news, noted bool
	untold, dropped    uint64
	wakes              int
	got                []string // what it has read
	order              []uint64 // the numbers of that
	touched            []*conn  // to be woken by its Flush
}

func (c *conn) ordinary() bool     { return c.flags&special == 0 }
func (c *conn) acceptsFDs() bool   { return c.flags&bus.FlagAcceptFDs != 0 }
func (c *conn) present() bool      { return c.joined }
func (c *conn) wantsDBus1() bool   { return c.dbus1 || c.flags&bus.FlagActivator != 0 }
func (c *conn) wants() bus.Parts   { return parts(c.receive, c.wantsDBus1()) }
func (c *conn) uniqueName() string { return c.id.String() }

func parts(kinds meta.Kinds, dbus1 bool) bus.Parts {
	if dbus1 {
		return bus.Parts(kinds) | bus.PartDBus1
	}
	return bus.Parts(kinds)
}

// conn returns the connection on the bus that has this id, or nil.
func (m *model) conn(id bus.ID) *conn {
	for _, c := range m.conns {
		if c.id == id && c.present() {
			return c
		}
	}
	return nil
}

// monitors are ordered as they became such; that makes no difference to what they see.
func (m *model) monitors() (monitors []*conn) {
	for _, c := range m.conns {
		if c.monitor && !c.closed {
			monitors = append(monitors, c)
		}
	}
	return monitors
}

// connect: kdbus.connection(7), "Creating new connections", and its errors. kdbus.bus(7) has the limit of
// connections per user.
func (m *model) connect(s spec) (*conn, syscall.Errno) {
	kind := s.flags & (special | bus.FlagMonitor)
	if kind&(kind-1) != 0 || (kind == bus.FlagActivator) != (s.activates != "") {
		return nil, syscall.EINVAL
	}
	if s.by != nil {
		if errno := s.by.mayCome(s); errno != 0 {
			return nil, errno
		}
	}
	if len(s.entries) > 0 && (kind&special == 0 || !sensible(s.entries)) {
		return nil, syscall.EINVAL
	}
	if required&^s.send != 0 {
		return nil, syscall.ECONNREFUSED
	}
	switch {
	case s.by != nil && s.by.closed:
		return nil, syscall.ESHUTDOWN
	case m.connsOf((&conn{spec: s}).payer()) >= maxUserConns:
		return nil, syscall.EUSERS
	}
	c := &conn{spec: s, model: m, id: bus.ID(len(m.conns) + 1), met: make(map[*conn]bool)}
	m.conns = append(m.conns, c)
	return c, 0
}

func (m *model) connsOf(p payer) (n int) {
	for _, c := range m.conns {
		if c.payer() == p && !c.closed {
			n++
		}
	}
	return n
}

// hello: kdbus.connection(7), "Activator and policy holder connection": a name has one activator, and one
// holder of its policy. kdbus.message(7), "Notifications": others are told by ID_ADD.
func (m *model) hello(c *conn) syscall.Errno {
	if c.flags&bus.FlagActivator != 0 {
		if !m.mayOwn(c, c.activates) {
			return syscall.EPERM
		}
		if n := m.names[c.activates]; n != nil && n.activator != nil {
			return syscall.EEXIST
		}
	}
	if m.heldByOthers(c, c.entries) {
		return syscall.EEXIST
	}
	c.joined = true
	m.announce(c, note{kind: bus.IDAdded, new: c.id, newFlags: uint64(c.flags)})
	if c.tellOwn {
		m.tell(c, c, 0, note{kind: bus.NameAcquired, name: c.uniqueName(), new: c.id})
	}
	if c.activates != "" {
		m.standIn(c)
	}
	return 0
}

// becomeMonitor: kdbus.connection(7), "Monitor connections": invisible, without names and matches. Who was
// on the bus before leaves it.
func (m *model) becomeMonitor(c *conn) syscall.Errno {
	switch {
	case c.closed:
		return syscall.ENOTCONN
	case c.by != nil:
		return syscall.EOPNOTSUPP
	}
	if !c.monitor {
		m.leave(c, c)
		c.monitor = true
	}
	return 0
}

// close: kdbus.connection(7), "Terminating a connection"; kdbus.name(7), "Releasing a name": names are given
// back. kdbus.message(7), "Notifications": ID_REMOVE, and REPLY_DEAD for those who wait for an answer.
func (m *model) close(c *conn) { m.closeBy(c, c) }

// closeBy is close; by causes it.
func (m *model) closeBy(by, c *conn) {
	if c.closed {
		return
	}
	c.closed = true
	m.leave(by, c)
	c.queue, c.held = nil, nil
}

func (m *model) leave(by, c *conn) {
	c.matches = nil
	if n := m.names[c.activates]; n != nil && n.activator == c {
		c.claims = nil
		if n.primary() == c {
			m.handOver(by, n, func() { n.activator = nil })
		} else {
			n.activator = nil
		}
	}
	for len(c.claims) > 0 {
		m.giveUp(by, m.names[c.claims[len(c.claims)-1]], c)
	}
	if c.joined {
		if c.tellOwn {
			m.tell(by, c, 0, note{kind: bus.NameLost, name: c.uniqueName(), old: c.id})
		}
		m.announce(by, note{kind: bus.IDRemoved, old: c.id, oldFlags: uint64(c.flags)})
		c.joined = false
		for _, other := range m.conns {
			delete(other.met, c)
		}
	}
	c.entries = nil
	c.calls = nil
	waiting := m.callsTo(c)
	for _, w := range slices.Backward(waiting) { // the newest first
		w.end()
		m.tell(by, w.caller, w.cookie, note{kind: bus.ReplyDead, old: c.id})
	}
}

// update: kdbus.connection(7), "Updating connection details".
func (m *model) update(c *conn, send, receive *meta.Kinds) syscall.Errno {
	if c.closed {
		return syscall.ENOTCONN
	}
	if send != nil {
		c.send = *send
	}
	if receive != nil {
		c.receive = *receive & meta.AllKinds
	}
	return 0
}

// list: kdbus.name(7), "Dumping the name registry".
func (m *model) list(by *conn, flags bus.ListFlags) (entries []bus.ListEntry) {
	for _, c := range m.conns {
		if !c.present() {
			continue
		}
		listed := false
		for _, s := range c.claims {
			has := m.names[s].flags(c)
			kind := bus.ListNames
			if has&bus.ActivatorName != 0 {
				kind = bus.ListActivators
			} else if has&bus.QueuedFor != 0 {
				kind = bus.ListQueued
			}
			if kind&flags != 0 && m.sees(by, s) && m.seesConn(by, c) {
				entries = append(entries, bus.ListEntry{ID: c.id, ConnFlags: c.flags, Name: s, NameFlags: has})
				listed = true
			}
		}
		if !listed && flags&bus.ListUnique != 0 && m.seesConn(by, c) {
			entries = append(entries, bus.ListEntry{ID: c.id, ConnFlags: c.flags})
		}
	}
	return entries
}

// inspect: kdbus.connection(7), "Retrieving information about a connection", ESRCH, ENXIO and EINVAL.
func (m *model) inspect(by *conn, id bus.ID, s string) (*conn, syscall.Errno) {
	if s != "" {
		n := m.names[s]
		if n == nil || !m.sees(by, s) || id != 0 && n.primary().id != id {
			return nil, syscall.ESRCH
		}
		return n.primary(), 0
	}
	if id == 0 {
		return nil, syscall.EINVAL
	}
	if c := m.conn(id); c != nil && m.seesConn(by, c) {
		return c, 0
	}
	return nil, syscall.ENXIO
}

// info: kdbus.connection(7), "Retrieving information about a connection": no more than it lets its messages carry.
func (m *model) info(c *conn) meta.Kinds {
	kinds := c.send & permitted &^ meta.KindTimestamp
	if c.fake != nil {
		kinds &= meta.ConnectionKinds | *c.fake
	}
	if len(c.owned) == 0 {
		kinds &^= meta.KindNames
	}
	if c.description == "" {
		kinds &^= meta.KindDescription
	}
	return kinds
}
