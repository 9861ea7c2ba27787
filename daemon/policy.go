package daemon

import (
	"sync"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// xmlPolicy is the policy of a configuration of dbus-daemon in force on a bus. busconfig knows what the rules
// say; what is decided here is what they are asked, which is what dbus-daemon asks:
//
//   - A message to somebody: whether the sender may send it to all the names that the receiver has, and
//     whether the receiver may receive it from all the names that the sender has. Names that somebody
//     waits for count as well. A message for a service that has yet to be started: whether it may be sent
//     to the name; and all of it again when there is somebody who has the name.
//   - A message to the bus: whether it may be sent to org.freedesktop.DBus. Exempt are Hello, and
//     what has no destination, which is for the library at the other end of the socket.
//   - A message of the bus: whether the receiver may receive it. If not it vanishes.
//   - A broadcast: both questions for each receiver who has subscribed to it. Who may not have it goes
//     without, and nobody is told. The same goes for those who eavesdrop.
//
// A native peer's message is judged by the header of its payload, which has to be what the
// sender told the bus. If the payload is none of D-Bus, rules that allow something of a header do not
// apply, and all rules that deny something do.
//
// The answers to all questions about a connection depend on its view of the policy and on those of its names
// that rules mention. That is kept with the connection (subject), so that a message costs a few look-ups of
// what is in its header. An xmlPolicy is for one bus.
type xmlPolicy struct {
	policy   *busconfig.Policy
	driver   *busconfig.Names // of the bus itself
	denials  *denials
	accounts accounts

	mu     sync.Mutex
	rights map[*busconfig.View]*rights

	copies copies // the bus asks about those with its lock held for writing
}

// newPolicy makes the policy of a configuration. What it denies is noted. Who may connect at all is asked
// before there is a connection: Daemon.allowUser.
func newPolicy(c *busconfig.Config, denials *denials) *xmlPolicy {
	return &xmlPolicy{
		policy: c.Policy, driver: busconfig.NewNames(driverName), denials: denials,
		accounts: accounts{console: c.Policy.AsksForConsole(), groups: c.Policy.AsksForGroups()},
		rights:   make(map[*busconfig.View]*rights),
	}
}

// install puts p in force on b. What is to be known about the users who are there is found out before, as
// the bus has to wait while the policy is exchanged.
func (p *xmlPolicy) install(b *bus.Bus) {
	for _, c := range b.Conns() {
		p.view(c)
	}
	b.SetPolicy(p)
}

// rights are what a view of the policy says about messages of the bus itself, of which there are few kinds.
type rights struct {
	view    *busconfig.View
	notices [bus.MessagesHeld + 1]bool // by kind of notification
	returns bool                       // whether answers of the driver may be received
}

const driverName = "org.freedesktop.DBus"

// maxRights is how many rights a policy remembers. There are as many as views, of which there are few, as each is
// for all users that the same rules concern.
const maxRights = 4096

// rightsOf returns the rights that go with a view.
func (p *xmlPolicy) rightsOf(view *busconfig.View) *rights {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.rights[view]; r != nil {
		return r
	}
	r := &rights{view: view}
	for kind := range r.notices {
		m := p.notice(bus.NotificationKind(kind))
		r.notices[kind] = view.MayReceive(&m).Allowed
	}
	answer := busconfig.Message{Type: wire.TypeMethodReturn, Reply: true, Requested: true, Sender: p.driver}
	r.returns = view.MayReceive(&answer).Allowed
	if len(p.rights) < maxRights {
		p.rights[view] = r
	}
	return r
}

// notice is a notification as the D-Bus message that it is to peers of D-Bus 1.
func (p *xmlPolicy) notice(kind bus.NotificationKind) busconfig.Message {
	m := busconfig.Message{Type: wire.TypeSignal, Path: "/org/freedesktop/DBus", Interface: driverName, Sender: p.driver}
	switch kind {
	case bus.NameChanged, bus.IDAdded, bus.IDRemoved:
		m.Member, m.Broadcast = "NameOwnerChanged", true
	case bus.NameAcquired:
		m.Member = "NameAcquired"
	case bus.NameLost:
		m.Member = "NameLost"
	case bus.ReplyDead, bus.ReplyTimeout:
		m = busconfig.Message{
			Type: wire.TypeError, ErrorName: "org.freedesktop.DBus.Error.NoReply",
			Reply: true, Requested: true, Sender: m.Sender,
		}
	}
	return m
}

// subject is what is kept of a connection.
type subject struct {
	rights   *rights
	holdings *busconfig.Holdings
	names    *busconfig.Names // that rules mention
	memos    *memos           // of messages that it sent; nil for none
}

// Subject implements bus.Policy. What the bus has connected itself has no Identity, and no policy limits it.
func (p *xmlPolicy) Subject(c *bus.Conn) bus.Subject {
	if _, ok := c.Peer().(dbus1.Identity); !ok {
		return nil
	}
	s := &subject{rights: p.rightsOf(p.view(c)), holdings: p.policy.NewHoldings()}
	s.Claimed(c.UniqueName())
	return s
}

// view returns the view of c.
func (p *xmlPolicy) view(c *bus.Conn) *busconfig.View {
	if c.Anonymous() {
		return p.policy.ForAnonymous()
	}
	groups, console := p.accounts.of(c)
	return p.policy.For(c.UID(), groups, console)
}

// Claimed implements bus.Subject.
func (s *subject) Claimed(name string) {
	s.holdings.Add(name)
	s.names = s.holdings.Names()
}

// Dropped implements bus.Subject.
func (s *subject) Dropped(name string) {
	s.holdings.Remove(name)
	s.names = s.holdings.Names()
}

// subjectOf returns what is kept of c; nil for what no policy limits.
func subjectOf(c *bus.Conn) *subject {
	s, _ := c.Subject().(*subject)
	return s
}
