package native

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// Making custom endpoints and buses: kdbus.endpoint(7), kdbus.bus(7). A connection that has made something has no
// other purpose any more: it keeps what it has made, which goes when it goes.

// Endpoints makes custom endpoints of a bus, with sockets by which they can be reached. Safe for concurrent use.
type Endpoints interface {
	// MakeEndpoint makes one for the user of maker's peer. The name begins with that user's number, and can be that of a
	// file; it and the policies have been judged in all other respects, too. Refused is that of
	// [bus.EndpointConfig], and may be nil. It may take its time. The error is a [*bus.Error], or has an errno.
	MakeEndpoint(maker Maker, name string, access abi.MakeFlags, policies []bus.NamePolicy, refused func(bus.Refused)) (Endpoint, error)
}

// Endpoint is a custom endpoint that a client has made.
type Endpoint interface {
	Node
	// Addresses returns where the bus itself listens, as D-Bus addresses separated by semicolons.
	Addresses() string
	// SetPolicies replaces what it lets through: see [bus.Endpoint.SetPolicies].
	SetPolicies(policies []bus.NamePolicy) error
}

// Node is something in the file system that a client has made, and that the client's connection keeps.
type Node interface {
	// Path returns where it is.
	Path() string
	// Close ends it, with everybody who uses it. It is called once, when the client has left.
	Close()
}

// Buses makes the buses of a domain. Safe for concurrent use.
type Buses interface {
	// MakeBus makes one for the user of maker's peer. As for names and errors, see [Endpoints]. The Path of the
	// result is its directory.
	MakeBus(maker Maker, config BusConfig) (Node, error)
}

// BusConfig is what a client wants its bus to be: kdbus.bus(7), "Creating buses".
type BusConfig struct {
	Name   string
	Access abi.MakeFlags
	Bloom  bus.BloomParameter
	// Tells are the kinds of metadata that are told about who made the bus.
	Tells meta.Kinds
	// Required are the kinds that everybody on the bus has to let others see.
	Required meta.Kinds
}

// setup is what a connection has become by its first command, besides one that has said HELLO.
type setup struct {
	made     Node     // nil: nothing
	endpoint Endpoint // the same, if it is one
	cmd      abi.Cmd  // that has made it
}

// mayRun judges whether the connection can be given a command, as things stand: kdbus took each only of
// a file descriptor that was what it takes.
func (c *conn) mayRun(cmd abi.Cmd) error {
	control := c.server.config.Buses != nil
	switch {
	case c.left:
		return refusef(syscall.ENOTCONN, "BYEBYE was said before")
	case c.setup.made != nil && (cmd != abi.CmdEndpointUpdate || c.setup.endpoint == nil):
		return refusef(syscall.EBADFD, "%v on a connection that has done %v", cmd, c.setup.cmd)
	case control && cmd != abi.CmdBusMake:
		return refusef(syscall.EBADFD, "%v on the socket by which buses are made", cmd)
	case !control && cmd == abi.CmdBusMake:
		return refusef(syscall.EBADFD, "%v on the socket of a bus: it is for that named control of a domain", cmd)
	case cmd == abi.CmdEndpointUpdate && c.setup.endpoint == nil:
		return refusef(syscall.EBADFD, "%v on a connection that has made no endpoint", cmd)
	case c.bus != nil && (cmd == abi.CmdHello || cmd == abi.CmdEndpointMake):
		return refusef(syscall.EBADFD, "%v, but HELLO was said before", cmd)
	case c.bus == nil && !isSetup(cmd):
		return refusef(syscall.EBADFD, "%v before HELLO", cmd)
	case cmd == abi.CmdEndpointMake:
		return c.mayMakeEndpoints()
	}
	return nil
}

// isSetup reports whether a command is for connections that are not on a bus.
func isSetup(cmd abi.Cmd) bool {
	switch cmd {
	case abi.CmdHello, abi.CmdBusMake, abi.CmdEndpointMake, abi.CmdEndpointUpdate:
		return true
	}
	return false
}

// mayMakeEndpoints judges what is not about a certain endpoint.
func (c *conn) mayMakeEndpoints() error {
	switch {
	case !c.privileged():
		return c.denied(refusef(syscall.EPERM, "user %d may not make endpoints here: who owns the bus and root may, at its default endpoint", c.peer.Creds().UID))
	case c.server.config.Endpoints == nil:
		return refusef(syscall.EOPNOTSUPP, "this bus makes no custom endpoints")
	}
	return nil
}

// endpointMake makes a custom endpoint: kdbus.endpoint(7), "Creating custom endpoints".
func (c *conn) endpointMake(r *request, m *abi.EndpointMake) error {
	if err := c.checkOwnName(m.Name); err != nil {
		return err
	}
	c.peer.TakeLong()
	policies, err := c.endpointPolicies(m.Policies)
	if err != nil {
		return err
	}
	var reports *reporter
	var refused func(bus.Refused)
	if m.Report {
		reports = newReporter(c.peer, c.server.config.Rules)
		refused = reports.note
	}
	made, err := c.server.config.Endpoints.MakeEndpoint(c.peer, m.Name, m.Flags, policies, refused)
	if err != nil {
		return err
	}
	if reports != nil {
		made = &reported{made, reports}
		go reports.run()
	}
	if err := c.keep(r, made); err != nil {
		return err
	}
	r.infos = abi.AppendAddress(r.infos, made.Addresses())
	c.setup.endpoint = made
	return nil
}

// reported is an endpoint with somebody who tells what it refuses.
type reported struct {
	Endpoint
	reports *reporter
}

// SetPolicies implements Endpoint. What was refused before is told before its answer.
func (r *reported) SetPolicies(policies []bus.NamePolicy) error {
	err := r.Endpoint.SetPolicies(policies)
	r.reports.drain()
	return err
}

// Close implements Node.
func (r *reported) Close() {
	r.Endpoint.Close()
	r.reports.stop()
}

// endpointUpdate replaces what the endpoint lets through: kdbus.endpoint(7), "Updating endpoints".
func (c *conn) endpointUpdate(_ *request, m *abi.EndpointUpdate) error {
	c.peer.TakeLong()
	policies, err := c.endpointPolicies(m.Policies)
	if err != nil {
		return err
	}
	return c.setup.endpoint.SetPolicies(policies)
}

// busMake makes a bus: kdbus.bus(7), "Creating buses".
func (c *conn) busMake(r *request, m *abi.BusMake) error {
	if err := c.checkOwnName(m.Name); err != nil {
		return err
	}
	// The bus makes filters, too: for signals of peers that do not.
	if _, err := abi.NewBloom(m.Bloom); err != nil {
		return refusef(syscall.EINVAL, "%v", err)
	}
	c.peer.TakeLong()
	made, err := c.server.config.Buses.MakeBus(c.peer, BusConfig{
		Name:     m.Name,
		Access:   m.Flags,
		Bloom:    bus.BloomParameter{Size: m.Bloom.Size, Hashes: m.Bloom.NHash},
		Tells:    kindsOf(m.AttachFlagsSend),
		Required: kindsOf(m.AttachFlagsRecv),
	})
	if err != nil {
		return err
	}
	return c.keep(r, made)
}

// checkOwnName judges whether a name, which is valid, is one that the peer may give to something of its own.
func (c *conn) checkOwnName(name string) error {
	if !c.peer.Known() {
		return c.denied(refusef(syscall.EPERM, "who does not say who it is cannot make anything"))
	}
	if prefix := fmt.Sprintf("%d-", c.peer.Creds().UID); !strings.HasPrefix(name, prefix) {
		return refusef(syscall.EINVAL, "the name %s does not begin with %s, as what this user makes has to", name, prefix)
	}
	return nil
}

// keep has what was made live as long as the connection, and tells the peer where it is.
func (c *conn) keep(r *request, made Node) error {
	if err := c.peer.Settle(made.Close); err != nil {
		made.Close()
		return refusef(syscall.EMFILE, "%v", err)
	}
	c.setup.made, c.setup.cmd = made, r.Cmd
	r.infos = abi.AppendPath(nil, made.Path())
	return nil
}

// endpointPolicies translates the policies of a custom endpoint.
func (c *conn) endpointPolicies(from []abi.Policy) ([]bus.NamePolicy, error) {
	policies := namePolicies(from...)
	for i, p := range from {
		to := &policies[i]
		to.Subtree = p.Subtree
		var err error
		if to.Calls, err = c.compile(p.Calls); err == nil {
			to.Broadcasts, err = c.compile(p.Broadcasts)
		}
		if err != nil {
			return nil, err
		}
	}
	return policies, nil
}

// compile reads D-Bus match rules.
func (c *conn) compile(texts []string) ([]bus.Rule, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	if c.server.config.Rules == nil {
		return nil, errNoRules
	}
	rules := make([]bus.Rule, len(texts))
	for i, text := range texts {
		var err error
		if rules[i], err = c.server.config.Rules.Compile(text); err != nil {
			return nil, err
		}
	}
	return rules, nil
}
