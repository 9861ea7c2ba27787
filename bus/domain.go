package bus

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/meta"
)

// DomainConfig holds the limits of a domain.
type DomainConfig struct {
	// MaxConnsPerUser is how many connections one user may have on all buses of the domain. 0 means
	// DefaultMaxConnsPerUser.
	MaxConnsPerUser int
	// Attach are the kinds of metadata that messages in this domain may carry; nil means all.
	Attach *meta.Kinds
}

// DefaultMaxConnsPerUser is what dbus-daemon allows on a session bus. (kdbus: 1,024.)
const DefaultMaxConnsPerUser = 100_000

// A Domain is the root of a tree of buses that share users, quotas and the message sequence
// counter, and know nothing of other domains. Safe for concurrent use.
type Domain struct {
	config   DomainConfig
	sequence atomic.Uint64

	mu       sync.Mutex
	maxConns int            // as DomainConfig.MaxConnsPerUser
	users    map[uint32]int // connections by user id
}

// NewDomain makes an empty domain.
func NewDomain(config DomainConfig) *Domain {
	d := &Domain{config: config, users: make(map[uint32]int)}
	d.SetMaxConnsPerUser(config.MaxConnsPerUser)
	return d
}

// SetMaxConnsPerUser changes how many connections one user may have; 0 means DefaultMaxConnsPerUser,
// and less than that none. Who has more keeps them.
func (d *Domain) SetMaxConnsPerUser(n int) {
	if n == 0 {
		n = DefaultMaxConnsPerUser
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.maxConns = max(n, 0)
}

// MaxConnsPerUser returns how many connections one user may have now.
func (d *Domain) MaxConnsPerUser() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.maxConns
}

// enter counts a connection of the user uid, which had n; unless that is the limit.
func (d *Domain) enter(uid uint32) (n, limit int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n = d.users[uid]
	if n >= d.maxConns {
		return n, d.maxConns, false
	}
	d.users[uid]++
	return n, d.maxConns, true
}

// leave is enter's counterpart.
func (d *Domain) leave(uid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users[uid]--; d.users[uid] == 0 {
		delete(d.users, uid)
	}
}

// userConns returns how many connections each user has who has some.
func (d *Domain) userConns() map[uint32]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.users)
}

// UserConns returns how many connections the user uid has now.
func (d *Domain) UserConns(uid uint32) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.users[uid]
}
