package busmodel

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
)

// Entries of policy holders and activators: kdbus.policy(7). A name without entries is open, as bus/access.go
// has it; what entries do not permit is denied.

func (c *conn) privileged() bool {
	return c.by == nil && !c.anonymous && (c.uid == 0 || c.uid == busOwner)
}

// sensible: kdbus.policy(7), "Description", the layout of items.
func sensible(entries []bus.NamePolicy) bool {
	var seen []string
	for _, e := range entries {
		if slices.Contains(seen, e.Name) {
			return false
		}
		seen = append(seen, e.Name)
		for _, a := range e.Access {
			if a.Kind < bus.AccessUser || a.Kind > bus.AccessWorld || a.Level < bus.AccessSee || a.Level > bus.AccessOwn {
				return false
			}
		}
	}
	return true
}

func (m *model) heldByOthers(c *conn, entries []bus.NamePolicy) bool {
	for _, other := range m.conns {
		for _, held := range other.entries {
			if other != c && other.present() && slices.ContainsFunc(entries, func(e bus.NamePolicy) bool { return e.Name == held.Name }) {
				return true
			}
		}
	}
	return false
}

// setEntries: kdbus.connection(7), "Updating connection details": all at once, or not at all.
func (m *model) setEntries(c *conn, entries []bus.NamePolicy) syscall.Errno {
	switch {
	case !sensible(entries):
		return syscall.EINVAL
	case c.ordinary():
		return syscall.EOPNOTSUPP
	case !c.joined:
		return syscall.ENOTCONN
	case m.heldByOthers(c, entries):
		return syscall.EEXIST
	}
	c.entries = entries
	return 0
}

// entriesFor: kdbus.policy(7), "Wildcard names": exactly one more level.
func (m *model) entriesFor(s string) (access []bus.Access, found bool) {
	for _, wanted := range []string{s, s[:strings.LastIndexByte(s, '.')] + ".*"} {
		for _, c := range m.conns {
			for _, e := range c.entries {
				if c.present() && e.Name == wanted {
					return e.Access, true
				}
			}
		}
	}
	return nil, false
}

// may: kdbus.policy(7), "Description": user, group and world; OWN includes TALK, which includes SEE. Without entries, a strict
// bus has the rules of the module: all names are seen, and nothing else is permitted.
func (m *model) may(c *conn, level bus.AccessLevel, s string) bool {
	access, found := m.entriesFor(s)
	if !found {
		return !m.strict || level == bus.AccessSee
	}
	return permits(access, c, level)
}

func permits(access []bus.Access, c *conn, level bus.AccessLevel) bool {
	return slices.ContainsFunc(access, func(a bus.Access) bool {
		covered := a.Kind == bus.AccessWorld ||
			a.Kind == bus.AccessUser && a.ID == c.uid && !c.anonymous ||
			a.Kind == bus.AccessGroup && slices.Contains(c.groups, a.ID) && !c.anonymous
		return covered && a.Level >= level
	})
}

// mayOwn: kdbus.policy(7), "Privileged connections", and the policy of the bus.
func (m *model) mayOwn(c *conn, s string) bool {
	if c.by != nil && !c.by.lets(c, bus.AccessOwn, s) {
		return false
	}
	return (c.privileged() || m.may(c, bus.AccessOwn, s)) && !m.rules.own[rule(c.uid, s)]
}

// talks: kdbus.policy(7), "TALK access and multiple well-known names per connection": the most permissive of
// all names; "Implicit policies": the privileged, and connections of the same user.
func (m *model) talks(c, to *conn) bool {
	switch {
	case c == to, len(to.owned) == 0 && !m.strict, c.privileged():
		return true
	case c.uid == to.uid && !c.anonymous && !to.anonymous:
		return true
	}
	return slices.ContainsFunc(to.owned, func(s string) bool { return m.may(c, bus.AccessTalk, s) })
}

// maySend: the endpoint and the bus both have to permit it: kdbus.policy(7), "TALK access ...". Answers have been asked for.
func (m *model) maySend(src, dst *conn, x *message, requested bool) bool {
	return requested || (src.by == nil || src.by.letsTalk(src, dst, x)) && m.busLets(src, dst, x)
}

// busLets is maySend without the endpoint. Signals to one connection are a matter of who gets them, as in the module, on
// a strict bus.
func (m *model) busLets(src, dst *conn, x *message) bool {
	return (m.talks(src, dst) || m.strict && x.flags&bus.Signal != 0) && !m.rules.send[rule(src.uid, fmt.Sprint(dst.uid))]
}

// mayHear: kdbus.policy(7), "TALK access ...": who receives a broadcast needs TALK to its sender.
func (m *model) mayHear(dst, src *conn, x *message) bool {
	return m.hears(dst, src, x) && !m.rules.send[rule(src.uid, fmt.Sprint(dst.uid))]
}

// hears is mayHear without the policy of the bus.
func (m *model) hears(dst, src *conn, x *message) bool {
	return (dst.by == nil || dst.by.letsHear(dst, src, x)) && m.talks(dst, src)
}

// sees: kdbus.policy(7), SEE; who has a name knows it.
func (m *model) sees(c *conn, s string) bool {
	own := slices.Contains(c.owned, s)
	if c.by != nil && !own && !c.by.lets(c, bus.AccessSee, s) {
		return false
	}
	return (c.privileged() || own || m.may(c, bus.AccessSee, s)) && !m.rules.see[rule(c.uid, s)]
}

// rules are the policy of a bus: what is in them is denied.
type rules struct {
	own, send, see map[string]bool
}

func rule(uid uint32, what string) string { return fmt.Sprint(uid, " ", what) }

// enforced makes a bus.Policy of them.
type enforced struct {
	bus.AllowAll
	*rules
}

var errDenied = &bus.Error{Errno: bus.ErrDenied, Detail: "a rule of the test denies it"}

func (p enforced) Own(c *bus.Conn, s string) error {
	if p.own[rule(c.UID(), s)] {
		return errDenied
	}
	return nil
}

func (p enforced) Send(src, dst *bus.Conn, _ *bus.Message, requested bool) error {
	if src != nil && dst != nil && !requested && p.send[rule(src.UID(), fmt.Sprint(dst.UID()))] {
		return errDenied
	}
	return nil
}

func (p enforced) Overhear(src, dst *bus.Conn, m *bus.Message) bool {
	return p.Send(src, dst, m, false) == nil
}

func (p enforced) See(c *bus.Conn, s string) bool { return !p.see[rule(c.UID(), s)] }
