package bus

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
)

// Config describes a bus to be made.
type Config struct {
	// Name is the bus's name in its domain, "<uid>-<name>".
	Name string
	// Policy is asked for everything on this bus; nil allows all.
	Policy Policy
	// Indexes find the receivers of broadcasts, one for each kind of subscription.
	Indexes []Index
}

// A Bus is where connections meet. Safe for concurrent use.
type Bus struct {
	domain  *Domain
	name    string
	guid    string
	policy  Policy
	indexes []Index
	timers  timers

	mu        sync.RWMutex
	lastID    ID
	conns     map[ID]*Conn
	names     map[string]*name
	monitors  []*Conn
	broadcast uint64  // number of the broadcast being routed; see Conn.mark
	receivers []*Conn // scratch space of the broadcast being routed
	peaks     Stats
}

// NewBus makes a bus. It lives as long as somebody holds it.
func (d *Domain) NewBus(config Config) *Bus {
	var guid [16]byte
	rand.Read(guid[:])
	b := &Bus{
		domain:  d,
		name:    config.Name,
		guid:    hex.EncodeToString(guid[:]),
		policy:  config.Policy,
		indexes: config.Indexes,
		conns:   make(map[ID]*Conn),
		names:   make(map[string]*name),
	}
	if b.policy == nil {
		b.policy = allowAll{}
	}
	b.timers.bus = b
	return b
}

// Name returns the bus's name in its domain.
func (b *Bus) Name() string { return b.name }

// GUID returns the bus's id128 in hexadecimal.
func (b *Bus) GUID() string { return b.guid }

// Domain returns the domain of the bus.
func (b *Bus) Domain() *Domain { return b.domain }

// Endpoint returns the default endpoint.
func (b *Bus) Endpoint() *Endpoint { return &Endpoint{bus: b} }

// stamp gives m its sequence number and settles what it is accounted with.
func (b *Bus) stamp(m *Message) {
	m.Sequence = b.domain.sequence.Add(1)
	m.account()
}

// Conn returns the connection with this id, or nil.
func (b *Bus) Conn(id ID) *Conn {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.conns[id]
}

// Conns returns all connections, monitors excepted, in no order.
func (b *Bus) Conns() []*Conn {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]*Conn, 0, len(b.conns))
	for _, c := range b.conns {
		all = append(all, c)
	}
	return all
}

// Stats counts what is on a bus, now and at its peak.
type Stats struct {
	Conns, PeakConns int
	Names, PeakNames int // well-known and unique
	PeakConnNames    int // of one connection
	Monitors         int
}

// Stats returns the counts of now.
func (b *Bus) Stats() Stats {
	b.mu.RLock()
	defer b.mu.RUnlock()
	s := b.peaks
	s.Conns = len(b.conns)
	s.Names = len(b.conns) + len(b.names)
	s.Monitors = len(b.monitors)
	return s
}

// peak notes new maxima. Bus.mu is held for writing.
func (b *Bus) peak() {
	b.peaks.PeakConns = max(b.peaks.PeakConns, len(b.conns))
	b.peaks.PeakNames = max(b.peaks.PeakNames, len(b.conns)+len(b.names))
}
