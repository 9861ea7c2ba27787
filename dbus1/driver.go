package dbus1

import (
	"cmp"
	"errors"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// The driver: org.freedesktop.DBus, the bus as its programs talk to it. It is a table of interfaces
// and methods, from which calls are dispatched, properties are listed and introspection data is
// made.

const (
	driverPath      = "/org/freedesktop/DBus"
	driverInterface = "org.freedesktop.DBus"
	peerInterface   = "org.freedesktop.DBus.Peer"
)

// iface is an interface of the driver.
type iface struct {
	name       string
	anyPath    bool // on every object path; the others only on driverPath
	listed     bool // in the property Interfaces
	methods    []method
	properties []property
	signals    []signal
}

// method is a method of the driver.
type method struct {
	name       string
	in, out    string // signatures
	anyPath    bool   // on every object path where the interface is
	privileged bool   // for root and the user of the bus only
	open       bool   // not by custom endpoints, as it is about everybody
	handle     func(*call) error
}

// property is a constant property of the driver.
type property struct {
	name string
	typ  wire.Signature
	get  func(*Server) any
}

// signal is a signal of the driver.
type signal struct {
	name string
	args []arg
}

type arg struct{ name, typ string }

// interfaces is in the order in which dbus-daemon introspects; it is filled in by init, as the
// handlers of Properties and Introspectable refer to it.
var interfaces []iface

func init() {
	interfaces = []iface{
		{name: driverInterface, anyPath: true, methods: busMethods, properties: busProperties, signals: busSignals},
		{name: "org.freedesktop.DBus.Properties", methods: propertiesMethods, signals: []signal{
			{"PropertiesChanged", []arg{{"interface_name", "s"}, {"changed_properties", "a{sv}"}, {"invalidated_properties", "as"}}},
		}},
		{name: "org.freedesktop.DBus.Introspectable", anyPath: true, methods: []method{
			{name: "Introspect", out: "s", anyPath: true, handle: introspect},
		}},
		{name: "org.freedesktop.DBus.Monitoring", listed: true, methods: []method{
			{name: "BecomeMonitor", in: "asu", privileged: true, handle: becomeMonitor},
		}},
		{name: "org.freedesktop.DBus.Debug.Stats", listed: true, methods: statsMethods},
		{name: peerInterface, anyPath: true, methods: []method{
			{name: "GetMachineId", out: "s", anyPath: true, handle: getMachineID},
			{name: "Ping", anyPath: true, handle: ping},
		}},
	}
}

// call is a method call to the driver, while it is being answered.
type call struct {
	peer   *party
	server *Server
	header *wire.Header
	body   []byte
}

// callDriver handles a message to the driver.
func (p *party) callDriver(m *bus.Message, h *wire.Header, body []byte) error {
	m.DstName = driverName
	c := &call{peer: p, server: p.server, header: h, body: body}
	// Monitors see what comes of such a signal before they see it, as with dbus-daemon.
	failure := h.Type == wire.TypeSignal && c.isUnitFailure()
	if failure {
		c.unitFailed()
	}
	if err := p.conn.SendToBus(m); err != nil {
		return p.refused(h, err)
	}
	switch h.Type {
	case wire.TypeMethodReturn, wire.TypeError:
		return nil // nobody has asked, but the policy does not mind
	}
	if h.Type == wire.TypeSignal {
		return c.result(c.signalToBus(failure))
	}
	return c.result(c.dispatch())
}

// Call handles a message to the driver of a peer that uses another front-end, in its form as a D-Bus
// 1 message: h is its header, with the sender that it truly has, body its body, which is valid. Answers are
// delivered in the same form. An error is a reason to disconnect the peer.
func (s *Server) Call(c *bus.Conn, m *bus.Message, h *wire.Header, body []byte) error {
	return (&party{server: s, conn: c, name: c.UniqueName(), cookie: m.Cookie}).callDriver(m, h, body)
}

// result answers with err if that is one that the caller should see; others end the connection.
func (c *call) result(err error) error {
	var answer *Error
	if errors.As(err, &answer) {
		return c.peer.fail(c.header, answer)
	}
	return err
}

// dispatch finds the method that is called and runs it.
func (c *call) dispatch() error {
	h := c.header
	canonical := h.Path == driverPath
	unknown := "UnknownInterface"
	for i := range interfaces {
		in := &interfaces[i]
		if !(canonical || in.anyPath) || h.Interface != "" && h.Interface != in.name {
			continue
		}
		unknown = "UnknownMethod"
		for j := range in.methods {
			m := &in.methods[j]
			if m.name != h.Member {
				continue
			}
			if err := c.check(m, canonical); err != nil {
				return err
			}
			return m.handle(c)
		}
	}
	return dbusErrorf(unknown, "%s does not understand message %s", driverName, h.Member)
}

// check tells whether the caller may call m this way.
func (c *call) check(m *method, canonical bool) error {
	switch {
	case m.privileged && !c.peer.privileged(), m.open && c.peer.conn.Endpoint().Custom():
		return c.peer.unprivileged(m.name)
	case !(canonical || m.anyPath):
		return dbusErrorf("AccessDenied", "Method '%s' is only available at the canonical object path '%s'", m.name, driverPath)
	case c.header.Signature != m.in:
		return dbusErrorf("InvalidArgs", "Call to %s has wrong args (%s, expected %s)\n", m.name, c.header.Signature, m.in)
	}
	return nil
}

// args reads the arguments of the call, whose signature has been checked.
func (c *call) args(into ...any) error {
	return wire.Decode(c.header.Order, c.header.Signature, c.body, into...)
}

// reply answers the call. An answer that says nothing is left out if the caller does not want one;
// dbus-daemon sends all others even then.
func (c *call) reply(values ...any) error {
	if len(values) == 0 && c.header.Flags&wire.NoReplyExpected != 0 {
		return nil
	}
	return c.peer.reply(c.header, values...)
}

// unaddressed handles a message without destination that is not a signal. libdbus, and thus
// dbus-daemon, takes such a call as meant for the other end of the socket, which knows the
// interface Peer and nothing else.
func (p *party) unaddressed(m *bus.Message, h *wire.Header, body []byte) error {
	m.DstName = driverName
	err := p.conn.SendToBus(m)
	switch isCall := h.Type == wire.TypeMethodCall; {
	case !isCall && (err == nil || errors.Is(err, bus.ErrUnrequested)):
		return nil
	case err != nil:
		return p.refused(h, err)
	}
	if h.Interface == peerInterface {
		c := &call{peer: p, server: p.server, header: h, body: body}
		return c.result(c.dispatch())
	}
	return p.fail(h, dbusErrorf("UnknownMethod", "Method \"%s\" with signature \"%s\" on interface \"%s\" doesn't exist\n",
		h.Member, h.Signature, cmp.Or(h.Interface, "(null)")))
}
