package dbus1

import (
	"errors"
	"maps"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// What the driver has to do with services that the bus can start. It starts nothing itself: their
// activators in the core do, when something waits for them, be it only a call of StartServiceByName.

// Activation is who starts services, as the driver needs it: package activation has it. Its errors may have a
// method ErrorName, which says what they are to D-Bus.
type Activation interface {
	// Names returns the names of all services, in order.
	Names() []string
	// Appeared reports whether name is that of a service since a moment ago.
	Appeared(name string) bool
	// SetEnvironment sets variables for services that are started from now on. It may change the map.
	SetEnvironment(vars map[string]string) error
	// Systemd reports whether services are started by systemd.
	Systemd() bool
	// UnitFailed is told what systemd says: a unit cannot be started, with the name and the text of
	// the error.
	UnitFailed(unit, name, text string)
}

// startServiceByName answers when the service has an owner, or cannot have one. A name that has an owner
// is running, whether the bus could start it or not: there the specification differs from dbus-daemon.
func startServiceByName(c *call) error {
	var name string
	var flags uint32
	if err := c.args(&name, &flags); err != nil {
		return err
	}
	if c.hasOwner(name) {
		return c.reply(uint32(startReplyAlreadyRunning))
	}
	unknown := dbusErrorf("ServiceUnknown", "The name %s was not provided by any .service files", name)
	if wire.CheckWellKnownName(name) != nil {
		return unknown
	}
	answer := c.later()
	await := func() error {
		return c.peer.conn.AwaitOwner(name, func(reason error) *bus.Message {
			if reason != nil {
				return answer.failure(reason)
			}
			return answer.reply(uint32(startReplySuccess))
		})
	}
	err := await()
	if a := c.server.config.Activation; errors.Is(err, bus.ErrNoSuchName) && a != nil && c.peer.conn.Sees(name) && a.Appeared(name) {
		err = await()
	}
	switch {
	case errors.Is(err, bus.ErrExists):
		return c.reply(uint32(startReplyAlreadyRunning))
	case errors.Is(err, bus.ErrNoSuchName):
		return unknown
	case errors.Is(err, bus.ErrDenied):
		return dbusErrorf("AccessDenied", "%s", err.Error())
	case err != nil && !isDisconnect(err):
		return c.peer.dbusError(c.header, err)
	}
	return err
}

// laterAnswer is what is needed to answer a call when it is not there any more.
type laterAnswer struct {
	party  party
	header wire.Header // its serial and destination only
}

func (c *call) later() *laterAnswer {
	return &laterAnswer{*c.peer, wire.Header{Serial: c.header.Serial, Destination: c.header.Destination}}
}

func (a *laterAnswer) reply(values ...any) *bus.Message {
	m, err := a.party.replyMessage(&a.header, values...)
	if err != nil {
		return nil // values that are always the same
	}
	return &m.Message
}

func (a *laterAnswer) failure(reason error) *bus.Message {
	return a.party.failure(&a.header, reason)
}

// Refusal makes the answer to a message of src that has waited for a service and that nobody gets: see
// bus.Config.
func (s *Server) Refusal(src *bus.Conn, m *bus.Message, reason error) *bus.Message {
	h := headerOfPayload(m)
	if m.Notification != nil {
		h = &wire.Header{Serial: driverSerial}
	}
	if h == nil {
		return nil
	}
	p := &party{server: s, conn: src, name: driverName, cookie: m.Cookie}
	if src != nil {
		p.name = src.UniqueName()
	}
	return p.failure(h, reason)
}

// failure makes the answer to the message h for a reason; nil if that cannot be said.
func (p *party) failure(h *wire.Header, reason error) *bus.Message {
	m, err := p.errorMessage(h, p.dbusError(h, reason))
	if err != nil {
		return nil // a text that is none
	}
	return &m.Message
}

// ViewOf makes bus.Message.View anew for a message that has waited for a service: see bus.Config.
func ViewOf(m *bus.Message) any {
	if h := headerOfPayload(m); h != nil {
		return h
	}
	return nil
}

// headerOfPayload reads the header of a D-Bus message back; nil if it is none.
func headerOfPayload(m *bus.Message) *wire.Header {
	if len(m.Payload) == 0 {
		return nil
	}
	h := new(wire.Header)
	if _, err := h.Parse(m.Payload[0]); err != nil {
		return nil
	}
	return h
}

// activatable reports whether the name in h, which nobody has, is that of a service since a moment ago.
func (p *party) activatable(h *wire.Header, err error) bool {
	a := p.server.config.Activation
	return a != nil && h.Flags&wire.NoAutoStart == 0 && errors.Is(err, bus.ErrNoSuchName) && p.conn.Sees(h.Destination) && a.Appeared(h.Destination)
}

func updateActivationEnvironment(c *call) error {
	var environment map[string]string
	if err := c.args(&environment); err != nil {
		return err
	}
	if a := c.server.config.Activation; a != nil {
		if err := a.SetEnvironment(maps.Clone(environment)); err != nil {
			return c.peer.dbusError(c.header, err)
		}
	}
	return c.reply()
}

func listActivatableNames(c *call) error {
	names := []string{driverName}
	if a := c.server.config.Activation; a != nil {
		for _, name := range a.Names() {
			if c.peer.conn.Sees(name) {
				names = append(names, name)
			}
		}
	}
	for _, activator := range c.peer.conn.List(bus.ListActivators) {
		if !activator.Service {
			names = append(names, activator.Name)
		}
	}
	return c.reply(names)
}

const (
	systemdName      = "org.freedesktop.systemd1"
	systemdActivator = "org.freedesktop.systemd1.Activator"
)

// isUnitFailure reports whether the call is the signal by which systemd says that it cannot start a unit.
func (c *call) isUnitFailure() bool {
	a := c.server.config.Activation
	return c.mentionsUnit() && c.header.Signature == "sss" && a != nil && a.Systemd() &&
		c.peer.privileged() && c.peer.conn.Lookup(systemdName) == c.peer.conn
}

func (c *call) mentionsUnit() bool {
	return c.header.Interface == systemdActivator && c.header.Member == "ActivationFailure"
}

// unitFailed passes on that a unit cannot be started.
func (c *call) unitFailed() {
	var unit, name, text string
	if c.args(&unit, &name, &text) == nil {
		c.server.config.Activation.UnitFailed(unit, name, text)
	}
}

// signalToBus answers a signal for the driver. There is one that means something, and then it has been dealt with.
func (c *call) signalToBus(done bool) error {
	switch {
	case done || !c.mentionsUnit():
		return nil
	case !c.peer.privileged():
		return c.peer.unprivileged(c.header.Member)
	}
	c.server.config.Log.Warn("ignoring an ActivationFailure that is not systemd's", "sender", c.peer.name)
	return nil
}

// AnnounceActivatableServices tells everybody that the names of services have changed.
func (s *Server) AnnounceActivatableServices() {
	s.bus.Announce(func() *bus.Message {
		m := newMessage()
		h := wire.Header{
			Order: wire.LittleEndian, Type: wire.TypeSignal, Flags: wire.NoReplyExpected, Serial: driverSerial,
			Path: driverPath, Interface: driverInterface, Member: "ActivatableServicesChanged", Sender: driverName,
		}
		m.pieces[0] = h.Append(m.space(headerBound(&h)))
		m.Payload = m.pieces[:1]
		m.Cookie = uint64(driverSerial)
		return &m.Message
	}())
}
