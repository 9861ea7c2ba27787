package kdbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// NameFlags say how a name is requested.
type NameFlags uint32

// The flags of RequestName (specification, "org.freedesktop.DBus.RequestName").
const (
	// AllowReplacement: another connection may take the name with ReplaceExisting.
	AllowReplacement NameFlags = 1 << iota
	// ReplaceExisting: take the name from an owner that allows it.
	ReplaceExisting
	// DoNotQueue: do not wait in the queue for the name.
	DoNotQueue
)

// NameEvent is what happens to a requested name.
type NameEvent int

// The events of a requested name.
const (
	// NameAcquired: the connection owns the name now.
	NameAcquired NameEvent = iota + 1
	// NameLost: the connection owns the name no more, and waits in its queue unless it asked
	// not to.
	NameLost
)

func (e NameEvent) String() string {
	switch e {
	case NameAcquired:
		return "acquired"
	case NameLost:
		return "lost"
	}
	return fmt.Sprintf("NameEvent(%d)", int(e))
}

// nameEvents is how many events of a name are kept for a program that does not read them.
const nameEvents = 16

// Name is a well-known name that a connection has requested: it owns it or waits for it.
type Name struct {
	conn   *Conn
	name   string
	mu     sync.Mutex
	owned  bool
	ended  bool
	asked  abi.NameFlags // of the last request: AllowReplacement, Queue, and what it has got
	events chan NameEvent
}

// String returns the name.
func (n *Name) String() string { return n.name }

// Owned reports whether the connection owns the name now.
func (n *Name) Owned() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.owned
}

// Flags returns how the connection has the name, as kdbus.name(7) puts it: abi.NamePrimary if it owns the
// name now, abi.NameInQueue if it waits for it; abi.NameAllowReplacement and abi.NameQueue as asked for
// last; and abi.NameAcquired if that request has got it the name, or the place in the queue, and it did not
// have that before. It is 0 when the name is lost for good.
func (n *Name) Flags() abi.NameFlags {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.ended:
		return 0
	case n.owned:
		return n.asked | abi.NamePrimary
	case n.asked&abi.NameQueue == 0:
		return 0
	}
	return n.asked | abi.NameInQueue
}

// Events returns the channel of what happens to the name, beginning with NameAcquired when it
// was acquired first. Of a program that does not read them, the oldest are thrown away: the
// last one always tells how things are. It is closed when the name is released or the
// connection ends.
func (n *Name) Events() <-chan NameEvent { return n.events }

// Release gives the name up, or leaves its queue.
func (n *Name) Release(ctx context.Context) error { return n.conn.ReleaseName(ctx, n.name) }

// granted notes what a request has got.
func (n *Name) granted(flags NameFlags, got abi.NameFlags) {
	asked := got & abi.NameAcquired
	if flags&AllowReplacement != 0 {
		asked |= abi.NameAllowReplacement
	}
	if flags&DoNotQueue == 0 {
		asked |= abi.NameQueue
	}
	n.mu.Lock()
	n.asked = asked
	n.mu.Unlock()
	if got&abi.NamePrimary != 0 {
		n.set(true)
	}
}

// set notes whether the name is owned, which makes an event if it is new.
func (n *Name) set(owned bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended || n.owned == owned {
		return
	}
	n.owned = owned
	event := NameLost
	if owned {
		event = NameAcquired
	}
	for {
		select {
		case n.events <- event:
			return
		default:
		}
		select {
		case <-n.events:
		default:
		}
	}
}

// end closes the channel of events.
func (n *Name) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ended {
		n.owned, n.ended = false, true
		close(n.events)
	}
}

// ownedNames are the names a connection has requested.
type ownedNames struct {
	mu     sync.Mutex
	byName map[string]*Name
}

// signal takes note of NameAcquired and NameLost.
func (o *ownedNames) signal(m *Message) {
	owned := m.header.Member == "NameAcquired"
	if !owned && m.header.Member != "NameLost" {
		return
	}
	var name string
	if m.Decode(&name) != nil {
		return
	}
	o.mu.Lock()
	n := o.byName[name]
	o.mu.Unlock()
	if n != nil {
		n.set(owned)
	}
}

// add returns the entry for a name, which may be there already.
func (o *ownedNames) add(c *Conn, name string) (n *Name, isNew bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n = o.byName[name]; n != nil {
		return n, false
	}
	if o.byName == nil {
		o.byName = make(map[string]*Name)
	}
	n = &Name{conn: c, name: name, events: make(chan NameEvent, nameEvents)}
	o.byName[name] = n
	return n, true
}

func (o *ownedNames) remove(name string) {
	o.mu.Lock()
	n := o.byName[name]
	delete(o.byName, name)
	o.mu.Unlock()
	if n != nil {
		n.end()
	}
}

// end ends all names with the connection.
func (o *ownedNames) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.byName {
		n.end()
	}
	clear(o.byName)
}

// RequestName requests a well-known name. Without [DoNotQueue] the connection waits in the
// name's queue if it cannot have it at once: [Name.Owned] tells, [Name.Events] tells of changes.
// With it, a name that cannot be had is an error that wraps [ErrNameTaken].
//
// A name requested a second time is the same *Name, with new flags. When ctx ends before the
// bus has answered, the name is released.
func (c *Conn) RequestName(ctx context.Context, name string, flags NameFlags) (*Name, error) {
	if err := wire.CheckWellKnownName(name); err != nil {
		return nil, fmt.Errorf("kdbus: request %q: %w", name, err)
	}
	n, isNew := c.names.add(c, name)
	err := c.registry.requestName(ctx, name, flags, func(got abi.NameFlags, err error) {
		if err != nil {
			return
		}
		if isNew {
			got |= abi.NameAcquired // on D-Bus 1, the bus says so of owners only
		}
		n.granted(flags, got)
	})
	switch {
	case errors.Is(err, ErrNameTaken):
		c.names.remove(name)
		return nil, fmt.Errorf("kdbus: request %s: %w", name, err)
	case err != nil:
		if isNew {
			c.names.remove(name)
		}
		if e := ctx.Err(); e != nil && errors.Is(err, e) {
			c.registry.abandonName(name)
		}
		return nil, fmt.Errorf("kdbus: request %s: %w", name, err)
	}
	return n, nil
}

// ReleaseName gives a name up, or leaves its queue. It is no error not to have it.
func (c *Conn) ReleaseName(ctx context.Context, name string) error {
	if err := c.registry.releaseName(ctx, name); err != nil {
		return fmt.Errorf("kdbus: release %s: %w", name, err)
	}
	c.names.remove(name)
	return nil
}

// NameOwner returns the unique name of the owner of a name. Without one the error is
// [ErrNameHasNoOwner].
func (c *Conn) NameOwner(ctx context.Context, name string) (owner string, err error) {
	err = c.registry.nameOwner(ctx, name, func(got string, e error) { owner = got })
	if err != nil {
		return "", fmt.Errorf("kdbus: owner of %s: %w", name, err)
	}
	return owner, nil
}

// ListNames returns all names on the bus that have an owner, unique names included, sorted.
func (c *Conn) ListNames(ctx context.Context) ([]string, error) { return c.sortedNames(ctx, false) }

// ListActivatableNames returns the names that the bus can start a service for, sorted.
func (c *Conn) ListActivatableNames(ctx context.Context) ([]string, error) {
	return c.sortedNames(ctx, true)
}

func (c *Conn) sortedNames(ctx context.Context, activatable bool) ([]string, error) {
	names, err := c.registry.listNames(ctx, activatable)
	if err != nil {
		return nil, fmt.Errorf("kdbus: list names: %w", err)
	}
	slices.SortFunc(names, strings.Compare)
	return names, nil
}

// List returns connections and names of a native bus, sorted by the ids of connections, as far as this
// connection may see them: what LIST does in kdbus.name(7). With abi.ListUnique there is an entry for
// every connection of which no name is listed; with abi.ListNames one for each name that is owned, with
// abi.ListActivators for each that an activator stands in for, with abi.ListQueued for each that a connection waits
// for. The unique name of a connection is ":1." and its id. On D-Bus 1 the error is [ErrNotNative].
func (c *Conn) List(ctx context.Context, flags abi.ListFlags) ([]abi.ListEntry, error) {
	bus, native := c.registry.(*nativeBus)
	err := ErrNotNative
	var entries []abi.ListEntry
	if native {
		entries, err = bus.entries(ctx, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("kdbus: list: %w", err)
	}
	return entries, nil
}

// WaitForName waits until a name has an owner, and returns the owner's unique name. It does not
// start a service.
func (c *Conn) WaitForName(ctx context.Context, name string) (owner string, err error) {
	s, err := c.Subscribe(ctx, Match{Sender: busName, Interface: busName, Member: "NameOwnerChanged",
		Args: map[int]string{0: name}}, 0)
	if err != nil {
		return "", fmt.Errorf("kdbus: wait for %s: %w", name, err)
	}
	defer s.Close()
	if owner, err = c.NameOwner(ctx, name); !errors.Is(err, ErrNameHasNoOwner) {
		return owner, err
	}
	for {
		m, err := s.Next(ctx)
		if err != nil {
			return "", fmt.Errorf("kdbus: wait for %s: %w", name, err)
		}
		var is, old string
		if err := m.Decode(&is, &old, &owner); err == nil && owner != "" {
			return owner, nil
		}
	}
}
