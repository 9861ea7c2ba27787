package bus

import (
	"sync"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/meta"
)

// DomainConfig holds the limits of a domain.
type DomainConfig struct {
	// MaxConnsPerUser is how many connections one user may have on all buses of the domain that
	// NewBus made. 0 means DefaultMaxConnsPerUser.
	MaxConnsPerUser int
	// MaxMadeConnsPerUser is the same for all buses that MakeBus made. 0 means DefaultMaxMadeConnsPerUser.
	MaxMadeConnsPerUser int
	// MaxBusesPerUser is how many buses MakeBus makes for one user. 0 means DefaultMaxBusesPerUser.
	MaxBusesPerUser int
	// MaxEndpointsPerUser is how many custom endpoints one user may have made that are not closed, on all buses of the
	// domain. 0 means DefaultMaxEndpointsPerUser.
	MaxEndpointsPerUser int
	// Attach are the kinds of metadata that messages in this domain may carry; nil means all.
	Attach *meta.Kinds
}

// The limits of a domain that was not told others.
const (
	// DefaultMaxConnsPerUser is what dbus-daemon allows on a session bus.
	DefaultMaxConnsPerUser = 100_000
	// DefaultMaxMadeConnsPerUser and DefaultMaxBusesPerUser are kdbus's.
	DefaultMaxMadeConnsPerUser = 1024
	DefaultMaxBusesPerUser     = 16
	// DefaultMaxEndpointsPerUser is ours: kdbus had none.
	DefaultMaxEndpointsPerUser = 256
)

// A Domain is the root of a tree of buses that share users, quotas and the message sequence
// counter, and know nothing of other domains. Safe for concurrent use.
//
// Custom endpoints are accounts of their own: who connects by one is not counted here, and it may have as
// many connections as a user may.
type Domain struct {
	config   DomainConfig
	sequence atomic.Uint64

	mu        sync.Mutex
	maxConns  int             // as DomainConfig.MaxConnsPerUser
	users     map[uint32]user // who has something
	busByName map[string]*Bus // those that MakeBus made, and the first of each name that NewBus made
}

// user is what one user has in a domain.
type user struct {
	conns     int // on buses that NewBus made
	madeConns int // on buses that MakeBus made
	buses     int // that MakeBus made
	endpoints int
}

// NewDomain makes an empty domain.
func NewDomain(config DomainConfig) *Domain {
	for limit, standard := range map[*int]int{
		&config.MaxMadeConnsPerUser: DefaultMaxMadeConnsPerUser,
		&config.MaxBusesPerUser:     DefaultMaxBusesPerUser,
		&config.MaxEndpointsPerUser: DefaultMaxEndpointsPerUser,
	} {
		if *limit == 0 {
			*limit = standard
		}
	}
	d := &Domain{config: config, users: make(map[uint32]user), busByName: make(map[string]*Bus)}
	d.SetMaxConnsPerUser(config.MaxConnsPerUser)
	return d
}

// MakeBus makes a bus for the user who is its creator: kdbus.bus(7). Its name, whose syntax the caller has
// checked, is its until [Bus.Close]. Errors: ErrExists if there is a bus of this name, ErrTooManyBuses, and ErrInvalid for
// a Bloom that is not allowed.
func (d *Domain) MakeBus(config Config) (*Bus, error) {
	if config.Bloom != (BloomParameter{}) {
		if err := config.Bloom.check(); err != nil {
			return nil, err
		}
	}
	b := d.newBus(config)
	b.made = true
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[b.owner]
	switch {
	case d.busByName[b.name] != nil:
		return nil, errorf(ErrExists, "there is a bus %s already", b.name)
	case u.buses >= d.config.MaxBusesPerUser:
		return nil, errorf(ErrTooManyBuses, "user %d has %d buses, as many as it may", b.owner, u.buses)
	}
	u.buses++
	d.users[b.owner] = u
	d.busByName[b.name] = b
	return b, nil
}

// add notes the name of a bus that NewBus makes.
func (d *Domain) add(b *Bus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busByName[b.name] == nil {
		d.busByName[b.name] = b
	}
}

// remove is the counterpart of add and MakeBus.
func (d *Domain) remove(b *Bus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busByName[b.name] == b {
		delete(d.busByName, b.name)
	}
	if b.made {
		d.change(b.owner, func(u *user) { u.buses-- })
	}
}

// change changes what a user has. d.mu is held.
func (d *Domain) change(uid uint32, do func(*user)) {
	u := d.users[uid]
	do(&u)
	if d.users[uid] = u; u == (user{}) {
		delete(d.users, uid)
	}
}

// addEndpoint counts a custom endpoint of the user uid, unless it has as many as it may.
func (d *Domain) addEndpoint(uid uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.users[uid].endpoints; n >= d.config.MaxEndpointsPerUser {
		return errorf(ErrTooManyEndpoints, "user %d has %d custom endpoints, as many as it may", uid, n)
	}
	d.change(uid, func(u *user) { u.endpoints++ })
	return nil
}

// removeEndpoint is addEndpoint's counterpart.
func (d *Domain) removeEndpoint(uid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.change(uid, func(u *user) { u.endpoints-- })
}

// SetMaxConnsPerUser changes how many connections one user may have on buses that NewBus made; 0 means
// DefaultMaxConnsPerUser, and less than that none. Who has more keeps them.
func (d *Domain) SetMaxConnsPerUser(n int) {
	if n == 0 {
		n = DefaultMaxConnsPerUser
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.maxConns = max(n, 0)
}

// MaxConnsPerUser returns how many connections one user may have now on buses that NewBus made.
func (d *Domain) MaxConnsPerUser() int { return d.maxConnsOf(false) }

// maxConnsOf returns how many connections one user, or one custom endpoint, may have now, on buses that MakeBus made or
// on the others.
func (d *Domain) maxConnsOf(made bool) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.limit(made)
}

// limit is maxConnsOf with d.mu held.
func (d *Domain) limit(made bool) int {
	if made {
		return d.config.MaxMadeConnsPerUser
	}
	return d.maxConns
}

// connsOn returns the count of connections on buses that MakeBus made, or on the others.
func (u *user) connsOn(made bool) *int {
	if made {
		return &u.madeConns
	}
	return &u.conns
}

// enter counts a connection of the user uid, which had n; unless that is the limit.
func (d *Domain) enter(made bool, uid uint32) (n, limit int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[uid]
	count := u.connsOn(made)
	n, limit = *count, d.limit(made)
	if n >= limit {
		return n, limit, false
	}
	*count++
	d.users[uid] = u
	return n, limit, true
}

// leave is enter's counterpart.
func (d *Domain) leave(made bool, uid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.change(uid, func(u *user) { *u.connsOn(made)-- })
}

// userConns returns how many connections each user has who has some.
func (d *Domain) userConns(made bool) map[uint32]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	users := make(map[uint32]int, len(d.users))
	for uid, u := range d.users {
		if n := *u.connsOn(made); n > 0 {
			users[uid] = n
		}
	}
	return users
}

// UserConns returns how many connections the user uid has now, custom endpoints excepted.
func (d *Domain) UserConns(uid uint32) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[uid]
	return u.conns + u.madeConns
}
