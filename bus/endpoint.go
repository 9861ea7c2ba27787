package bus

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync/atomic"
)

// An Endpoint is a door to a bus: kdbus.endpoint(7). Each bus has a default endpoint. Custom ones let through
// only what their policies permit, whoever comes (gate.go), and connections by them are on an account of the
// endpoint's own (account.go). Safe for concurrent use.
type Endpoint struct {
	bus    *Bus
	custom bool
	name   string
	uid    uint32
	door   uint16 // its number, which no other endpoint of this process has; 0 is the default one of a bus

	early atomic.Uint32 // gate.needs, to be read without the lock

	refused func(Refused) // as that of EndpointConfig

	// Guarded by Bus.mu.
	closed bool
	gate   *gate              // nil on the default endpoint
	conns  map[*Conn]struct{} // who came through, if custom
}

// EndpointConfig describes a custom endpoint to be made.
type EndpointConfig struct {
	// Name is the endpoint's name on its bus, "<uid>-<name>", whose syntax the caller has checked.
	Name string
	// UID is the user who makes it.
	UID uint32
	// Policies are what it lets through. Nothing else passes. They are copied.
	Policies []NamePolicy
	// Refused, if it is set, is told of what the endpoint does not let through, except that it hides names from
	// lists and notifications. It is called with the bus locked, from many goroutines at once: it must not
	// block, and not call back. Messages may be told of more than once.
	Refused func(Refused)
}

// defaultEndpoint is the name of each bus's default endpoint.
const defaultEndpoint = "bus"

// NewEndpoint makes a custom endpoint. Errors: ErrExists if there is one of this name, ErrInvalid for policies
// that cannot be meant so, ErrTooManyEndpoints, and ErrShutDown if the bus is closed.
func (b *Bus) NewEndpoint(config EndpointConfig) (*Endpoint, error) {
	e := &Endpoint{bus: b, custom: true, name: config.Name, uid: config.UID, refused: config.Refused, conns: make(map[*Conn]struct{})}
	gate, err := newGate(config.Policies)
	if err != nil {
		return nil, err
	}
	if err := b.domain.addEndpoint(e.uid); err != nil {
		return nil, err
	}
	b.mu.Lock()
	err = b.addEndpoint(e)
	if err == nil {
		e.install(gate)
	}
	b.mu.Unlock()
	if err != nil {
		b.domain.removeEndpoint(e.uid)
		return nil, err
	}
	return e, nil
}

// addEndpoint gives e a number. Bus.mu is held for writing.
func (b *Bus) addEndpoint(e *Endpoint) error {
	switch {
	case b.endpoint.closed:
		return errorf(ErrShutDown, "the bus is closed")
	case e.name == defaultEndpoint || b.endpoints[e.name] != nil:
		return errorf(ErrExists, "the bus has an endpoint %s already", e.name)
	}
	if e.door = takeDoor(); e.door == 0 {
		return errorf(ErrTooManyEndpoints, "all buses together have %d endpoints, as many as there can be", math.MaxUint16)
	}
	b.endpoints[e.name], b.doors[e.door] = e, e
	return nil
}

// SetPolicies replaces what a custom endpoint lets through, all at once: kdbus.endpoint(7), "Updating
// endpoints". Names keep their owners, and what is in queues is delivered. The slices are copied. Errors, with
// which everything stays as it was: ErrInvalid, ErrShutDown if the endpoint is closed, and ErrUnsupported for the
// default endpoint.
func (e *Endpoint) SetPolicies(policies []NamePolicy) error {
	if !e.custom {
		return errorf(ErrUnsupported, "the default endpoint of a bus has no policies")
	}
	gate, err := newGate(policies)
	if err != nil {
		return err
	}
	e.bus.mu.Lock()
	defer e.bus.mu.Unlock()
	if e.closed {
		return errorf(ErrShutDown, "the endpoint %s is closed", e.name)
	}
	e.install(gate)
	return nil
}

// install puts a gate in place. Bus.mu is held for writing.
func (e *Endpoint) install(g *gate) {
	e.gate = g
	if g.refused = e.refused; g.refused != nil {
		g.callNeeds |= PartView
		g.hearNeeds |= PartView
	}
	e.early.Store(uint32(g.callNeeds))
	e.bus.hearing = 0
	for _, other := range e.bus.doors {
		e.bus.hearing |= other.gate.hearNeeds
	}
}

// Close ends the endpoint. Who came through it is disconnected: see [Receiver]. It may be called by any goroutine
// that holds no lock, more than once. The default endpoint is closed with its bus only: see [Bus.Close].
func (e *Endpoint) Close() {
	if !e.custom {
		return
	}
	b := e.bus
	b.mu.Lock()
	if e.closed {
		b.mu.Unlock()
		return
	}
	e.closed = true
	conns := slices.SortedFunc(maps.Keys(e.conns), func(a, c *Conn) int { return cmp.Compare(a.id, c.id) })
	delete(b.endpoints, e.name)
	b.mu.Unlock()
	disconnect(conns)
	b.mu.Lock()
	delete(b.doors, e.door)
	b.mu.Unlock()
	returnDoor(e.door)
	b.domain.removeEndpoint(e.uid)
}

// Bus returns the bus behind the endpoint.
func (e *Endpoint) Bus() *Bus { return e.bus }

// Name returns the endpoint's name on its bus.
func (e *Endpoint) Name() string { return e.name }

// UID returns the user who made the endpoint, or the bus if it is the default one.
func (e *Endpoint) UID() uint32 { return e.uid }

// Custom reports whether the endpoint has policies of its own.
func (e *Endpoint) Custom() bool { return e.custom }
