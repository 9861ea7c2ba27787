package kdbus

import (
	"context"
	"fmt"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/address"
)

// EndpointConfig describes an endpoint to be made.
type EndpointConfig struct {
	// Name is the number of this process's user, a hyphen, and anything of letters, digits, '_', and within
	// also '-' and '.': "1000-sandbox". It is 63 bytes at most, and that of no other endpoint of the bus.
	Name string
	// Policies are what it lets through, and nothing else: without any, who connects can talk to the bus
	// itself only.
	Policies []NamePolicy
	// Access says who may connect besides the user who makes it: abi.MakeAccessGroup, abi.MakeAccessWorld.
	Access abi.MakeFlags
	// Refused, if it is not nil, is told of what somebody asked for, or sent, that the endpoint has not let through. It is
	// called in the order in which that happened, and keeps whatever else the bus says waiting.
	Refused func(Refusal)
}

// A Refusal is something that an endpoint has not let through.
type Refusal struct {
	// Peer is the unique name of who came through the endpoint.
	Peer string
	// Policy would permit it, if its Name is a well-known one. It has one Access, or one of Calls or Broadcasts, which
	// describes the message. Name is a unique name if it was about a peer without any other.
	Policy NamePolicy
	// Lost is how many refusals before this one were not told, as there were too many.
	Lost uint64
}

// An Endpoint is a further door to a bus, which this program has made (kdbus.endpoint(7)). Programs of either
// protocol come in by its Address, to be ordinary peers of the bus: but they see, talk to and own what the
// policies of the endpoint permit, and of the rest they cannot learn that it is there. That holds for
// everybody, root included. What they have on the bus is not on the account of their users, but on that of the endpoint. It
// goes with the Endpoint: when that is closed, or its program ends, they are disconnected.
//
// Its address is that of a socket, a file that can be put into a container by a bind mount.
type Endpoint struct {
	special
	path string
	bus  string
}

// MakeEndpoint makes an endpoint of the bus at addr. Errors are EPERM, if the user is neither root nor that of
// the bus, or addr is itself that of an endpoint that was made; EINVAL for a name that does not begin with the
// user's number, EEXIST for one that is in use, EMFILE if the user has made as many as it may, EOPNOTSUPP
// if the bus makes none, and [ErrNotNative].
func MakeEndpoint(ctx context.Context, addr string, config EndpointConfig) (*Endpoint, error) {
	policies, err := asked(config.Policies)
	if err != nil {
		return nil, fmt.Errorf("kdbus: make the endpoint %s: %w", config.Name, err)
	}
	e := new(Endpoint)
	cmd := &abi.EndpointMake{Flags: config.Access, Name: config.Name, Policies: policies, Report: config.Refused != nil}
	e.conn, err = new(Dialer).dial(ctx, addr, "no endpoint "+config.Name, func(ctx context.Context, c *Conn) (err error) {
		c.refused = config.Refused
		e.path, e.bus, err = c.make(ctx, cmd)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Path returns where the endpoint's socket is, in the file system of the bus.
func (e *Endpoint) Path() string { return e.path }

// Address returns the D-Bus address of the endpoint.
func (e *Endpoint) Address() string { return address.UnixPath(e.path).String() }

// BusAddresses returns the D-Bus addresses of the bus itself, separated by semicolons: what a program that is to
// use the endpoint only has to be kept from.
func (e *Endpoint) BusAddresses() string { return e.bus }

// Update replaces all that the endpoint lets through, at once: no message is judged by half of it. Who is connected
// stays so, and keeps names that it owns. With an error, everything stays as it was.
func (e *Endpoint) Update(ctx context.Context, policies ...NamePolicy) error {
	list, err := asked(policies)
	if err == nil {
		err = e.conn.do(ctx, &abi.EndpointUpdate{Policies: list}, nil)
	}
	if err != nil {
		return fmt.Errorf("kdbus: update the endpoint %s: %w", e.path, err)
	}
	return nil
}

// make runs a command that makes something, and returns where that is, and where its bus is.
func (c *Conn) make(ctx context.Context, cmd abi.Command) (path, addresses string, err error) {
	err = c.do(ctx, cmd, func(answer []byte, err error) error {
		if err != nil {
			return err
		}
		_, items, err := abi.CutStruct(answer, cmd.Cmd().String())
		if err == nil {
			path, err = abi.DecodePath(items)
		}
		if err == nil {
			addresses, err = abi.DecodeAddress(items)
		}
		if err == nil && path == "" {
			err = fmt.Errorf("the bus has answered %v without saying where it is", cmd.Cmd())
		}
		return err
	})
	return path, addresses, err
}

// tellRefused tells who has made an endpoint of something that it has refused.
func (c *Conn) tellRefused(lost uint64, report []byte) error {
	var r abi.Refused
	if err := r.Decode(report); err != nil {
		return err
	}
	if c.refused == nil {
		return nil
	}
	levels := [...]AccessLevel{abi.PolicySee: AccessSee, abi.PolicyTalk: AccessTalk, abi.PolicyOwn: AccessOwn}
	told := Refusal{Peer: uniqueName(r.ID), Policy: NamePolicy{Name: r.Policy.Name}, Lost: lost}
	for _, a := range r.Policy.Access {
		told.Policy.Access = append(told.Policy.Access, Access{Kind: AccessWorld, Level: levels[a.Access]})
	}
	for _, list := range [...]struct {
		from []string
		to   *[]Match
	}{{r.Policy.Calls, &told.Policy.Calls}, {r.Policy.Broadcasts, &told.Policy.Broadcasts}} {
		for _, text := range list.from {
			m, err := ParseMatch(text)
			if err != nil {
				return err
			}
			*list.to = append(*list.to, m)
		}
	}
	c.refused(told)
	return nil
}
