package bus

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"slices"
	"sync"

	"github.com/kdbus-go/kdbus/meta"
)

// Config describes a bus to be made.
type Config struct {
	// Name is the bus's name in its domain, "<uid>-<name>".
	Name string
	// Policy is asked for everything on this bus; nil allows all.
	Policy Policy
	// Indexes find the receivers of broadcasts, one for each kind of subscription.
	Indexes []Index

	// Attach are the kinds of metadata that messages on this bus may carry; nil means all.
	Attach *meta.Kinds
	// Required are the kinds that every connection has to let its messages carry.
	Required meta.Kinds
	// Creator is what is known of whoever made the bus, which is told to whoever asks; may be nil.
	// Its user is not limited by the policies that connections hold, nor is root. If it is not
	// known, that is the user of this process.
	Creator *meta.Data
	// CreatorFlags are the flags that the bus was made with, as kdbus.bus(7) has them; told with
	// Creator.
	CreatorFlags uint64
	// Strict: names without entries that connections hold (policies of kdbus) are governed by kdbus's implicit rules,
	// as on the default endpoints of the kernel module: the privileged may own them, and they and connections of the
	// same user may talk to their owners, and receive their broadcasts; others may see that they exist. Who has no name at
	// all can be talked to by the same. Without it, names without entries are open.
	Strict bool
	// Bloom says how bloom filters are made on this bus. The zero value means DefaultBloom.
	Bloom BloomParameter

	// What waits until a service has started is judged again when it is known who gets it. View makes
	// the View of such a message anew, from its Payload, if the Policy needs PartHeader; nil if there is none.
	View func(m *Message) any
	// Refusal makes the message that tells src, a peer of D-Bus 1, that nobody gets m, which it has sent and which
	// has waited for a service; nil for none. It also makes what monitors see of messages that an Explainer denies: src
	// is nil for those of the bus itself. Others than D-Bus 1 peers are told of calls only, by ReplyDead and
	// ReplyTimeout. It is called without locks, by the goroutine of whoever caused it.
	Refusal func(src *Conn, m *Message, reason error) *Message
}

// BloomParameter says how bloom filters are made on a bus. The core looks at the size only, but all
// peers have to agree on both.
type BloomParameter struct {
	Size   uint64 // bytes, a multiple of 8, at most MaxBloomSize
	Hashes uint64 // bits that are set for each property
}

// DefaultBloom is what systemd used.
var DefaultBloom = BloomParameter{Size: 64, Hashes: 8}

// check looks for sizes that there are not.
func (p BloomParameter) check() error {
	if p.Size == 0 || p.Size%8 != 0 || p.Size > MaxBloomSize {
		return errorf(ErrInvalid, "bloom filters of %d bytes: not a multiple of 8 from 8 to %d", p.Size, MaxBloomSize)
	}
	return nil
}

// MaxBloomSize is how long a bloom filter may be, in bytes: kdbus's KDBUS_BUS_BLOOM_MAX_SIZE.
const MaxBloomSize = 4 << 10

// A Bus is where connections meet. Safe for concurrent use.
type Bus struct {
	domain  *Domain
	name    string
	guid    string
	owner   uint32 // the user who made the bus
	made    bool   // by MakeBus
	indexes []Index
	config  Config
	clock   clock
	attach  meta.Kinds // what messages on this bus may carry

	endpoint *Endpoint // the default one

	mu     sync.RWMutex
	lastID ID
	// lastService is the last id of an activator in services: see Service.
	lastService ID
	services    map[ID]*Conn
	conns       map[ID]*Conn
	names       map[string]*name
	vacant      int // names that only have an activator
	monitors    []*Conn
	broadcast   uint64  // number of the broadcast being routed; see Conn.mark
	receivers   []*Conn // of the broadcast being routed
	matches     matchIndex
	policies

	endpoints map[string]*Endpoint // the custom ones, by name
	doors     map[uint16]*Endpoint // and by number
	hearing   Parts                // what the custom endpoints look at in broadcasts

	audience     tally // what the connections want, monitors included
	monitorWants Parts // what all monitors together want of every message

	excesses Excesses

	telling sync.Mutex // see tellWanted; taken before mu
	peaks   Stats
}

// NewBus makes a bus. It lives as long as somebody holds it, or until [Bus.Close]. It is nobody's, as far as limits are
// concerned; [Domain.MakeBus] makes those that users ask for. It panics if the size of bloom filters is not one that
// BloomParameter allows.
func (d *Domain) NewBus(config Config) *Bus {
	b := d.newBus(config)
	d.add(b)
	return b
}

func (d *Domain) newBus(config Config) *Bus {
	var guid [16]byte
	rand.Read(guid[:])
	guid[6] = guid[6]&0x0f | 4<<4 // a UUID of version 4, of the variant DCE: kdbus.bus(7)
	guid[8] = guid[8]&0x3f | 2<<6
	b := &Bus{
		domain:  d,
		config:  config,
		clock:   readClock(),
		name:    config.Name,
		guid:    hex.EncodeToString(guid[:]),
		owner:   ownerOf(&config),
		indexes: config.Indexes,
		conns:   make(map[ID]*Conn),

		lastService: firstService,
		services:    make(map[ID]*Conn),
		names:       make(map[string]*name),
		endpoints:   make(map[string]*Endpoint),
		doors:       make(map[uint16]*Endpoint),
	}
	b.endpoint = &Endpoint{bus: b, name: defaultEndpoint, uid: b.owner}
	if b.config.Bloom == (BloomParameter{}) {
		b.config.Bloom = DefaultBloom
	}
	if err := b.config.Bloom.check(); err != nil {
		panic(err)
	}
	b.attach = meta.AllKinds
	for _, permits := range []*meta.Kinds{d.config.Attach, config.Attach} {
		if permits != nil {
			b.attach &= *permits
		}
	}
	b.matches.bits = b.config.Bloom.Size * 8
	b.SetPolicy(config.Policy)
	if config.Strict {
		b.protect(true)
	}
	return b
}

// Name returns the bus's name in its domain.
func (b *Bus) Name() string { return b.name }

// GUID returns the bus's id128 in hexadecimal.
func (b *Bus) GUID() string { return b.guid }

// Domain returns the domain of the bus.
func (b *Bus) Domain() *Domain { return b.domain }

// Bloom returns how bloom filters are made on this bus.
func (b *Bus) Bloom() BloomParameter { return b.config.Bloom }

// Creator returns what is known of whoever made the bus, and with which flags. It may be nil, and
// must not be changed.
func (b *Bus) Creator() (*meta.Data, uint64) { return b.config.Creator, b.config.CreatorFlags }

// Endpoint returns the default endpoint.
func (b *Bus) Endpoint() *Endpoint { return b.endpoint }

// Close ends the bus: everybody on it is disconnected, as by [Endpoint.Close], and nobody can connect any more. Its name in the
// domain is free. It may be called by any goroutine that holds no lock, more than once.
func (b *Bus) Close() {
	b.mu.Lock()
	if b.endpoint.closed {
		b.mu.Unlock()
		return
	}
	b.endpoint.closed = true
	endpoints := slices.Collect(maps.Values(b.endpoints))
	b.mu.Unlock()
	for _, e := range endpoints {
		e.Close()
	}
	b.mu.RLock()
	all := slices.Concat(slices.Collect(maps.Values(b.conns)), b.monitors, slices.Collect(maps.Values(b.services)))
	b.mu.RUnlock()
	disconnect(all)
	b.domain.remove(b)
}

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
	s.Names = b.nameCount()
	s.Monitors = len(b.monitors)
	return s
}

// peak notes new maxima. Bus.mu is held for writing.
func (b *Bus) peak() {
	b.peaks.PeakConns = max(b.peaks.PeakConns, len(b.conns))
	b.peaks.PeakNames = max(b.peaks.PeakNames, b.nameCount())
}

// nameCount returns how many names have an owner, unique ones included. Bus.mu is held.
func (b *Bus) nameCount() int { return len(b.conns) + len(b.names) - b.vacant }
