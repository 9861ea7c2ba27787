package busmodel

import (
	"slices"
	"strings"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// endpoint is a custom endpoint: kdbus.endpoint(7).
type endpoint struct {
	name     string
	policies []bus.NamePolicy
	closed   bool
}

// endpointMaker is the user who makes all of them.
const endpointMaker = 8

// payer is on whose account something is: kdbus.endpoint(7) has none, the module ("custom endpoints" in endpoint.c) one for each
// custom endpoint.
type payer struct {
	uid      uint32
	endpoint *endpoint
}

// payer: whoever comes by a custom endpoint is on its account, who passes for a user on that user's.
func (c *conn) payer() payer {
	if c.by != nil {
		return payer{endpoint: c.by}
	}
	if c.fake != nil && *c.fake&meta.KindCreds != 0 {
		return payer{uid: c.fakedUser} // the module, kdbus_conn_new in connection.c
	}
	return payer{uid: c.uid}
}

func (p payer) account() bus.Account {
	switch {
	case p.endpoint == nil:
		return bus.Account{UID: p.uid}
	case p.endpoint.closed:
		return bus.Account{Endpoint: "closed endpoint"}
	}
	return bus.Account{UID: endpointMaker, Endpoint: p.endpoint.name}
}

// mayCome: the module: no monitors (EOPNOTSUPP), and nobody is privileged (EPERM) on custom endpoints.
func (e *endpoint) mayCome(s spec) syscall.Errno {
	switch {
	case s.flags&bus.FlagMonitor != 0:
		return syscall.EOPNOTSUPP
	case s.flags&special != 0, s.fake != nil:
		return syscall.EPERM
	}
	return 0
}

// valid: kdbus.policy(7), "Description".
func (*endpoint) valid(policies []bus.NamePolicy) bool {
	return !slices.ContainsFunc(policies, func(p bus.NamePolicy) bool { return !sensible([]bus.NamePolicy{p}) })
}

// policiesFor returns the policies for a name: those for the very name, else those of one more level, as in kdbus.policy(7),
// "Wildcard names", else those of the longest subtree, which is our own.
func (e *endpoint) policiesFor(s string) (found []bus.NamePolicy) {
	of := func(subtree bool, name string) []bus.NamePolicy {
		return slices.DeleteFunc(slices.Clone(e.policies), func(p bus.NamePolicy) bool { return p.Subtree != subtree || p.Name != name })
	}
	if found = of(false, s); len(found) > 0 {
		return found
	}
	elements := strings.Split(s, ".")
	if found = of(false, strings.Join(elements[:len(elements)-1], ".")+".*"); len(found) > 0 {
		return found
	}
	for n := len(elements); n > 0 && len(found) == 0; n-- {
		found = of(true, strings.Join(elements[:n], "."))
	}
	return found
}

// lets: kdbus.policy(7), "Implicit policies": always enforced, and what is not permitted is denied.
func (e *endpoint) lets(c *conn, level bus.AccessLevel, s string) bool {
	return slices.ContainsFunc(e.policiesFor(s), func(p bus.NamePolicy) bool {
		return level == bus.AccessSee && len(p.Calls)+len(p.Broadcasts) > 0 || permits(p.Access, c, level)
	})
}

// letsTalk: kdbus.policy(7), "TALK access and multiple well-known names per connection". Rules are ours.
func (e *endpoint) letsTalk(c, to *conn, x *message) bool {
	return c == to || slices.ContainsFunc(to.owned, func(s string) bool {
		return e.lets(c, bus.AccessTalk, s) || x.flags&bus.Signal == 0 && slices.ContainsFunc(e.policiesFor(s), func(p bus.NamePolicy) bool {
			return slices.ContainsFunc(p.Calls, func(r bus.Rule) bool { return r.(cookieRule).takes(x.cookie) })
		})
	})
}

// letsHear: the same section: for broadcasts the receiver needs TALK to the sender.
func (e *endpoint) letsHear(c, from *conn, x *message) bool {
	return c == from || slices.ContainsFunc(from.owned, func(s string) bool {
		return e.lets(c, bus.AccessTalk, s) || x.dst == bus.Broadcast && slices.ContainsFunc(e.policiesFor(s), func(p bus.NamePolicy) bool {
			return slices.ContainsFunc(p.Broadcasts, func(r bus.Rule) bool { return r.(cookieRule).takes(x.cookie) })
		})
	})
}

// cookieRule takes messages with this cookie.
type cookieRule uint64

func (r cookieRule) takes(cookie uint64) bool                  { return cookie == uint64(r) }
func (r cookieRule) Match(_, _ *bus.Conn, m *bus.Message) bool { return r.takes(m.Cookie) }
func (r cookieRule) Needs() bus.Parts                          { return 0 }

// seesConn: the module ("kdbus_conn_policy_see"): one name that is seen is enough. Whom it has met it knows, and itself.
func (m *model) seesConn(c, other *conn) bool {
	return c.by == nil || c == other || c.met[other] || slices.ContainsFunc(other.owned, func(s string) bool { return m.sees(c, s) })
}

// meet notes that c, who came by a custom endpoint, gets x of from. It returns how to undo that.
func (m *model) meet(c, from *conn, x *message) (undo func()) {
	if c.by == nil || x.reply != 0 || x.flags&bus.Signal != 0 || m.seesConn(c, from) {
		return func() {}
	}
	c.met[from] = true
	return func() { delete(c.met, from) }
}

// losing: who sees the name of one who loses it knows that one from now on.
func (m *model) losing(owner *conn, s string) {
	for _, c := range m.conns {
		if c.by != nil && !c.closed && c != owner && m.sees(c, s) {
			c.met[owner] = true
		}
	}
}

// closeEndpoint: kdbus.endpoint(7), "Description": it is terminated, and with it who came through: the module.
func (m *model) closeEndpoint(e *endpoint) {
	if e.closed {
		return
	}
	e.closed = true
	for _, c := range m.conns {
		if c.by == e && !c.closed {
			messenger := &conn{spec: spec{uid: c.uid, by: c.by, fake: c.fake, fakedUser: c.fakedUser}}
			m.closeBy(messenger, c)
			m.flush(messenger)
		}
	}
}
