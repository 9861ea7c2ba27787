package bus

// An Endpoint is a door to a bus.
type Endpoint struct {
	bus *Bus
}

// Bus returns the bus behind the endpoint.
func (e *Endpoint) Bus() *Bus { return e.bus }

// Limits is what a connection may have and hold. Front-ends give their kind of connection the
// limits that its programs expect.
type Limits struct {
	Quota    Quota
	MaxNames int // well-known names, queued for or owned
	MaxCalls int // calls waiting for replies
}

// DefaultLimits are kdbus's.
var DefaultLimits = Limits{
	Quota:    Quota{Bytes: 16 << 20, Messages: 256, FDs: 16, Fair: true},
	MaxNames: 256,
	MaxCalls: 128,
}

// ConnConfig describes a connection to be made.
type ConnConfig struct {
	UID         uint32   // whose it is: as proved by the transport, never as claimed by the peer
	AcceptFDs   bool     // the peer can take file descriptors
	TellOwn     bool     // the peer is told by NameAcquired and NameLost what happens to its own names
	Limits      *Limits  // shared by many connections, never changed; nil is DefaultLimits
	Receiver    Receiver // not nil
	Description string
	Peer        any // what the front-end keeps about the peer; see Conn.Peer
}

// Connect makes a connection, with an id but not yet part of the bus: the front-end greets its peer
// by [Conn.Deliver] first, then calls [Conn.Hello]. Every Conn has to be closed.
func (e *Endpoint) Connect(config ConnConfig) (*Conn, error) {
	b := e.bus
	if config.Limits == nil {
		config.Limits = &DefaultLimits
	}
	if err := b.domain.enter(config.UID); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.lastID++
	id := b.lastID
	b.mu.Unlock()
	return &Conn{
		bus:         b,
		id:          id,
		uid:         config.UID,
		acceptFDs:   config.AcceptFDs,
		tellOwn:     config.TellOwn,
		limits:      config.Limits,
		receiver:    config.Receiver,
		description: config.Description,
		peer:        config.Peer,
	}, nil
}
