package kdbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// Connections of special kinds: kdbus.connection(7), "Creating connections". Only the privileged may
// make one, root and the user of the bus (EPERM), and only natively (ErrNotNative).

// special is a connection that neither sends nor receives messages. Its methods may be called from any
// goroutine.
type special struct{ conn *Conn }

// Done returns a channel that is closed when the connection is lost or closed.
func (s *special) Done() <-chan struct{} { return s.conn.Done() }

// Err returns why the connection ended: an error that wraps [ErrClosed] or [ErrDisconnected], or
// nil while it lasts.
func (s *special) Err() error { return s.conn.Err() }

// Close ends the connection, and what it stands for with it. Closing twice is fine. The error says
// that something sent did not reach the bus.
func (s *special) Close() error { return s.conn.Close() }

// An Activator stands in for the owner of a well-known name as long as there is none: messages that are
// sent to the name wait at the bus, in the order they came, until somebody takes the name; then they
// are that connection's, with their files and metadata. When the owner gives the name back, or leaves,
// messages to the name that it has not received wait again. A message with [NoAutoStart] is refused
// rather than made to wait (EADDRNOTAVAIL). Messages that wait are on their senders' accounts.
//
// That is how a service is started when it is needed: by whoever holds its Activator, when
// [Activator.Waiting] tells. Package activation does so for those of .service and .busname files.
type Activator struct {
	special
	name    string
	waiting chan struct{}
}

// DialActivator makes a connection that is the activator of a name, which need not be free: an owner
// stays. Errors are EEXIST if the name has an activator, or somebody else holds its policy, and
// those of all special connections.
//
// With any access, the activator also holds the policy of the name, as a [PolicyHolder] does.
func (d *Dialer) DialActivator(ctx context.Context, addr, name string, access ...Access) (*Activator, error) {
	a := &Activator{name: name, waiting: make(chan struct{}, 1)}
	if err := wire.CheckWellKnownName(name); err != nil {
		return nil, fmt.Errorf("kdbus: activator of %q: %w", name, err)
	}
	h, err := d.specialHello(abi.HelloActivator, NamePolicy{Name: name, Access: access})
	if err != nil {
		return nil, fmt.Errorf("kdbus: activator: %w", err)
	}
	a.conn, err = d.dial(ctx, addr, "no activator of "+name, func(ctx context.Context, c *Conn) error {
		c.held = a.tell
		return c.hello(ctx, h)
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// DialActivator is [Dialer.DialActivator] with the zero Dialer.
func DialActivator(ctx context.Context, addr, name string, access ...Access) (*Activator, error) {
	return new(Dialer).DialActivator(ctx, addr, name, access...)
}

// Name returns the name that the activator stands in for.
func (a *Activator) Name() string { return a.name }

// Waiting returns a channel on which something comes when messages have come to wait for the name:
// once for any number that came since the last time. It is never closed; see Done.
func (a *Activator) Waiting() <-chan struct{} { return a.waiting }

func (a *Activator) tell() {
	select {
	case a.waiting <- struct{}{}:
	default:
	}
}

// A PolicyHolder keeps a policy in force at the bus as long as it lasts: who may see, talk to and own a name. It
// need not own the name. Other policies of the bus hold as well. To root and the user of the bus everything
// is permitted.
type PolicyHolder struct{ special }

// DialPolicyHolder makes a connection that holds a policy, which cannot have what is for endpoints only.
// Errors are EEXIST if somebody else holds a policy of the same name, and those of all special
// connections.
func (d *Dialer) DialPolicyHolder(ctx context.Context, addr string, policy NamePolicy) (*PolicyHolder, error) {
	h, err := d.specialHello(abi.HelloPolicyHolder, policy)
	if err != nil {
		return nil, fmt.Errorf("kdbus: policy holder: %w", err)
	}
	p := new(PolicyHolder)
	p.conn, err = d.dial(ctx, addr, "no policy holder of "+policy.Name, func(ctx context.Context, c *Conn) error { return c.hello(ctx, h) })
	if err != nil {
		return nil, err
	}
	return p, nil
}

// DialPolicyHolder is [Dialer.DialPolicyHolder] with the zero Dialer.
func DialPolicyHolder(ctx context.Context, addr string, policy NamePolicy) (*PolicyHolder, error) {
	return new(Dialer).DialPolicyHolder(ctx, addr, policy)
}

// Update replaces the policy, which may be that of another name, at once: there is no moment without one.
// With an error, EEXIST for example, the old one stays. Names keep the owners that they have.
func (p *PolicyHolder) Update(ctx context.Context, policy NamePolicy) error {
	list, err := held(policy)
	if err == nil {
		err = p.conn.do(ctx, &abi.Update{Policies: list}, nil)
	}
	if err != nil {
		return fmt.Errorf("kdbus: update the policy of %s: %w", policy.Name, err)
	}
	return nil
}

// held returns a policy that a connection is to hold in the form of kdbus.h.
func held(policy NamePolicy) ([]abi.Policy, error) {
	if policy.Subtree || len(policy.Calls)+len(policy.Broadcasts) > 0 {
		return nil, fmt.Errorf("the policy of %s has Subtree, Calls or Broadcasts, which only endpoints have", policy.Name)
	}
	return asked([]NamePolicy{policy})
}

// specialHello returns the HELLO of a connection that neither sends nor receives messages.
func (d *Dialer) specialHello(kind abi.HelloFlags, policy NamePolicy) (*abi.Hello, error) {
	list, err := held(policy)
	if err != nil {
		return nil, err
	}
	h := d.hello()
	h.Flags |= kind
	// What waits with an activator carries what its receiver wants, who is not known yet. To a policy
	// holder nothing is sent.
	h.AttachFlagsRecv = abi.AttachAny
	h.Name, h.Access = list[0].Name, list[0].Access
	return h, nil
}

// DialMonitor connects as a monitor, which sees all messages on the bus, to whomever, before those they are
// for. Unlike one that [Conn.Monitor] makes, it never is anything else: natively nobody on the bus
// learns that it is there (kdbus.connection(7), "Monitor connections"). It can only listen: all that sends
// fails with [ErrMonitor]. Queue is as for [Conn.Subscribe].
//
// On D-Bus 1, [Conn.Monitor] is used. Close the connection in the end.
func (d *Dialer) DialMonitor(ctx context.Context, addr string, queue int) (*Conn, *Subscription, error) {
	h := d.hello()
	h.Flags |= abi.HelloMonitor
	h.Creds, h.PIDs, h.SecLabel = nil, nil, "" // nobody sees it
	var s *Subscription
	c, err := d.dial(ctx, addr, "no monitor", func(ctx context.Context, c *Conn) error {
		s = newSubscription(c, Match{}, queue)
		return c.helloThen(ctx, h, func() { c.becomeMonitor(s) })
	})
	if errors.Is(err, ErrNotNative) && d.Impersonate == nil {
		if c, err = d.Dial(ctx, addr); err != nil {
			return nil, nil, err
		}
		if s, err = c.Monitor(ctx, queue); err != nil {
			c.Close()
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return c, s, nil
}

// DialMonitor is [Dialer.DialMonitor] with the zero Dialer.
func DialMonitor(ctx context.Context, addr string, queue int) (*Conn, *Subscription, error) {
	return new(Dialer).DialMonitor(ctx, addr, queue)
}
