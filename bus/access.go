package bus

import (
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/meta"
)

// Policy entries that connections hold: kdbus.policy(7). A name that has entries is protected, for as
// long as their holder, an activator or a policy holder, is connected. kdbus denies what no entry
// permits, and so does a bus with Config.Strict; on others names without entries are open. The entries add to the Policy
// of the bus: both must allow.

// AccessKind says whom an Access is for.
type AccessKind uint8

const (
	AccessUser  AccessKind = iota + 1 // the user Access.ID
	AccessGroup                       // the members of the group Access.ID
	AccessWorld                       // everybody
)

// AccessLevel is what an Access permits. Each level includes those below.
type AccessLevel uint8

const (
	AccessSee  AccessLevel = iota + 1 // learn that the name exists
	AccessTalk                        // send to its owner, and receive its broadcasts
	AccessOwn                         // own the name
)

// An Access permits something to somebody.
type Access struct {
	Kind  AccessKind
	ID    uint32 // user or group
	Level AccessLevel
}

// A NamePolicy protects a name: what Access does not permit is denied, except to privileged
// connections.
type NamePolicy struct {
	// Name is a well-known name, whose syntax the caller has checked. One that ends in ".*" stands
	// for all names that have exactly one more element, and no entries of their own.
	Name   string
	Access []Access

	// Only custom endpoints know the following, which kdbus does not have.

	// Subtree: the policy is for Name, which has no ".*", and all names below, at any depth, that have none that is more
	// specific: those for the very name and with ".*" come first, then the longest.
	Subtree bool
	// Calls are what everybody may send to the owner of the name though it may not talk to it, and Broadcasts those of
	// the owner that everybody may receive. Everybody may also see the name then.
	Calls, Broadcasts []Rule
}

// credentials are what entries judge a connection by.
type credentials struct {
	anonymous bool
	once      sync.Once
	ask       func() []uint32
	groups    []uint32
}

// inGroup reports whether c is of the group.
func (c *Conn) inGroup(gid uint32) bool { return slices.Contains(c.Groups(), gid) }

// Privileged reports whether c is of root or the creator of the bus, whom no entry limits. On custom endpoints nobody is.
func (c *Conn) Privileged() bool {
	return c.confined == nil && !c.credentials.anonymous && (c.uid == 0 || c.uid == c.bus.owner)
}

// sameUser reports whether two connections are of one user.
func sameUser(a, b *Conn) bool {
	return a == b || a.uid == b.uid && !a.credentials.anonymous && !b.credentials.anonymous
}

// ownerOf returns the user who made a bus: the one who is told as such, or that of this process.
func ownerOf(config *Config) uint32 {
	if creator := config.Creator; creator != nil && creator.Has&meta.KindCreds != 0 {
		return creator.Creds.EUID
	}
	return uint32(os.Geteuid())
}

// protection is the Policy of a bus as long as there are entries, and always if the bus is strict. It asks the
// Policy that it stands before for what the entries allow.
type protection struct {
	Policy
	strict    bool // as Config.Strict
	names     map[string]*protected
	wildcards map[string]*protected // by the name without ".*"
}

// protected are the entries of a name.
type protected struct {
	holder *Conn
	access []Access
}

// place returns where the entries for name are kept, which may be a wildcard, and the key there.
func (p *protection) place(name string) (map[string]*protected, string) {
	if prefix, ok := strings.CutSuffix(name, ".*"); ok {
		return p.wildcards, prefix
	}
	return p.names, name
}

// level returns what c may do with name, and whether there are entries for it at all.
func (p *protection) level(c *Conn, name string) (highest AccessLevel, isProtected bool) {
	entries := p.names[name]
	if dot := strings.LastIndexByte(name, '.'); entries == nil && dot > 0 {
		entries = p.wildcards[name[:dot]]
	}
	if entries == nil {
		return 0, false
	}
	for _, a := range entries.access {
		if a.Level > highest && a.covers(c) {
			highest = a.Level
		}
	}
	return highest, true
}

func (a Access) covers(c *Conn) bool {
	switch {
	case a.Kind == AccessWorld:
		return true
	case c.credentials.anonymous:
		return false
	case a.Kind == AccessUser:
		return c.uid == a.ID
	}
	return c.inGroup(a.ID)
}

// talks reports whether c may talk to other, which it may if it may to one of other's names.
func (p *protection) talks(c, other *Conn) bool {
	if sameUser(c, other) || c.Privileged() || len(other.owned) == 0 && !p.strict {
		return true
	}
	return slices.ContainsFunc(other.owned, func(name string) bool {
		level, isProtected := p.level(c, name)
		return level >= AccessTalk || !isProtected && !p.strict
	})
}

// Own implements Policy.
func (p *protection) Own(c *Conn, name string) error {
	level, isProtected := p.level(c, name)
	if (isProtected || p.strict) && level < AccessOwn && !c.Privileged() {
		return errorf(ErrDenied, "the policy of the name %s does not let user %d own it", name, c.uid)
	}
	return p.Policy.Own(c, name)
}

// Send implements Policy. On a strict bus signals to one connection are as in the module: it is who gets them that
// has to be on speaking terms with the sender, see hears, so that services can tell something to nameless clients.
func (p *protection) Send(src, dst *Conn, m *Message, requested bool) error {
	if src != nil && dst != nil && !requested && !(p.strict && m.Flags&Signal != 0) && !p.talks(src, dst) {
		return errorf(ErrDenied, "the policy of the names of connection %s does not let user %d talk to it", dst.UniqueName(), src.uid)
	}
	return p.Policy.Send(src, dst, m, requested)
}

// Overhear implements Policy. Who overhears a unicast needs to be on speaking terms with both ends.
func (p *protection) Overhear(src, dst *Conn, m *Message) bool {
	if src != nil {
		addressee := p.addressee(src.bus, m)
		if !p.talks(dst, src) || addressee != nil && !p.talks(dst, addressee) {
			return false
		}
	}
	return p.Policy.Overhear(src, dst, m)
}

// addressee returns to whom a message goes, nil for all or the bus itself.
func (p *protection) addressee(b *Bus, m *Message) *Conn {
	if m.DstName == "" {
		return b.conns[m.Dst]
	}
	if n := b.names[m.DstName]; n != nil {
		return n.primary()
	}
	return nil
}

// See implements Policy. Ids are no secret; nor is a name to those who have it.
func (p *protection) See(c *Conn, name string) bool {
	level, isProtected := p.level(c, name)
	if isProtected && level < AccessSee && !c.Privileged() && !slices.Contains(c.owned, name) {
		return false
	}
	return p.Policy.See(c, name)
}

// UpdatePolicies replaces the entries that c, an activator or a policy holder, holds, all at once.
// Names keep the owners that they have. The slices are copied. Errors, with which everything stays as
// it was: ErrExists if somebody else holds entries for one of the names, ErrInvalid for entries that
// cannot be meant so, ErrUnsupported for other connections, and ErrDisconnected.
func (c *Conn) UpdatePolicies(policies []NamePolicy) error {
	if err := checkHeld(policies); err != nil {
		return err
	}
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.ordinary():
		return errorf(ErrUnsupported, "connection %s is neither an activator nor a policy holder", c.UniqueName())
	case !c.joined:
		return errorf(ErrDisconnected, "connection %s is not on the bus", c.UniqueName())
	}
	return c.hold(clonePolicies(policies))
}

// checkHeld looks for what no policy that a connection holds may have.
func checkHeld(policies []NamePolicy) error {
	seen := make(map[string]bool, len(policies))
	for _, p := range policies {
		if seen[p.Name] {
			return errorf(ErrInvalid, "the name %s has two policies", p.Name)
		}
		seen[p.Name] = true
		if p.Subtree || len(p.Calls)+len(p.Broadcasts) > 0 {
			return errorf(ErrInvalid, "the policy of the name %s has what only custom endpoints know", p.Name)
		}
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// check looks for accesses that there are not.
func (p *NamePolicy) check() error {
	for _, a := range p.Access {
		if a.Kind < AccessUser || a.Kind > AccessWorld || a.Level < AccessSee || a.Level > AccessOwn {
			return errorf(ErrInvalid, "the policy of the name %s permits what does not exist: %+v", p.Name, a)
		}
	}
	return nil
}

func clonePolicies(policies []NamePolicy) []NamePolicy {
	policies = slices.Clone(policies)
	for i := range policies {
		policies[i].Access = slices.Clone(policies[i].Access)
	}
	return policies
}

// protect puts a protection in front of the policy. Bus.mu is held for writing.
func (b *Bus) protect(strict bool) {
	b.protection = &protection{b.policy, strict, make(map[string]*protected), make(map[string]*protected)}
	b.policy = b.protection
}

// hold makes policies the entries that c holds; it keeps them. Bus.mu is held for writing.
func (c *Conn) hold(policies []NamePolicy) error {
	b := c.bus
	if p := b.protection; p != nil {
		for _, add := range policies {
			names, key := p.place(add.Name)
			if e := names[key]; e != nil && e.holder != c {
				return errorf(ErrExists, "connection %s holds the policy of the name %s already", e.holder.UniqueName(), add.Name)
			}
		}
	}
	c.unhold()
	c.policies = policies
	if len(policies) == 0 {
		return nil
	}
	if b.protection == nil {
		b.protect(false)
	}
	for _, add := range policies {
		names, key := b.protection.place(add.Name)
		names[key] = &protected{c, add.Access}
	}
	return nil
}

// unhold drops the entries that c holds. Without any, a bus does not look for them. Bus.mu is held
// for writing.
func (c *Conn) unhold() {
	b := c.bus
	p := b.protection
	if p == nil {
		return
	}
	for _, held := range c.policies {
		names, key := p.place(held.Name)
		if e := names[key]; e != nil && e.holder == c {
			delete(names, key)
		}
	}
	c.policies = nil
	if len(p.names) == 0 && len(p.wildcards) == 0 && !p.strict {
		b.policy, b.protection = p.Policy, nil
	}
}
