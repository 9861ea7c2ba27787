package bus

import "github.com/kdbus-go/kdbus/meta"

// ConnConfig describes a connection to be made.
type ConnConfig struct {
	UID         uint32   // whose it is: as proved by the transport, never as claimed by the peer
	AcceptFDs   bool     // the peer can take file descriptors
	TellOwn     bool     // the peer is told by NameAcquired and NameLost what happens to its own names
	TellDropped bool     // the peer is told by MessagesDropped, if no other message follows, that some were lost
	Limits      *Limits  // what it may have and hold, never changed; nil is DefaultLimits
	Receiver    Receiver // not nil
	Description string
	Peer        any // what the front-end keeps about the peer; see Conn.Peer

	// SharedLimits are limits instead of Limits that can be changed for all connections that have them.
	SharedLimits *SharedLimits

	// Flags is what kind of connection it is. FlagAcceptFDs and AcceptFDs mean the same, either
	// will do.
	Flags ConnFlags
	// ActivatorName is the well-known name that a connection with FlagActivator stands in for.
	ActivatorName string
	// Service makes an activator that of a service which the bus itself can start. May be nil.
	Service Service
	// Policies are the entries that a connection with FlagActivator or FlagPolicyHolder holds, from
	// Hello on: see [Conn.UpdatePolicies]. They are copied.
	Policies []NamePolicy
	// Groups returns the primary and the supplementary groups of the peer. It is called once at most,
	// when an entry of a policy asks for it, with the bus locked: it must not block. May be nil.
	Groups func() []uint32
	// Anonymous: the peer has proved to be nobody in particular. Policies that connections hold permit
	// it what they permit everybody, whatever UID is.
	Anonymous bool

	// Wants are the parts of messages that the peer wants: PartDBus1, without which a D-Bus 1 peer
	// can do nothing, and kinds of metadata.
	Wants Parts
	// AttachSend are the kinds of metadata that messages of the peer may carry, and that others may
	// learn about it.
	AttachSend meta.Kinds
	// Metadata is what was known of the process that connected, when it did; may be nil.
	Metadata *meta.Data
	// Collect supplies that when it is asked for, if Metadata is nil; may be nil. It is called without
	// locks, by any goroutine.
	Collect func(want meta.Kinds) meta.Data
	// Fake is what a privileged peer wants to be known instead of what would be collected, with
	// Has saying which kinds. All process kinds that it has not are absent then. With credentials, the connection and
	// what it sends are on the account of their user, and not of UID. May be nil.
	Fake *meta.Data
}

// ConnFlags are the kind of a connection, numbered as those of HELLO in kdbus.connection(7).
type ConnFlags uint64

const (
	// FlagAcceptFDs: the peer can take file descriptors.
	FlagAcceptFDs ConnFlags = 1 << iota
	// FlagActivator: the connection stands in for a service that does not run.
	FlagActivator
	// FlagPolicyHolder: the connection does nothing but hold entries of the policy.
	FlagPolicyHolder
	// FlagMonitor: the connection sees everything. The front-end calls [Conn.BecomeMonitor] in place
	// of [Conn.Hello].
	FlagMonitor
)

// Connect makes a connection, with an id but not yet part of the bus: the front-end greets its peer
// by [Conn.Deliver] first, then calls [Conn.Hello]. Every Conn has to be closed. Errors:
// ErrTooManyConns, ErrRequired, ErrInvalid for flags that exclude each other, and for policies of who
// cannot hold them or that cannot be meant so; ErrShutDown if the endpoint or its bus is closed. Through a
// custom endpoint there are no monitors (ErrUnsupported), activators, policy holders, nor who wants to be
// known as somebody else (ErrDenied).
func (e *Endpoint) Connect(config ConnConfig) (*Conn, error) {
	b := e.bus
	if config.AcceptFDs {
		config.Flags |= FlagAcceptFDs
	}
	if config.SharedLimits == nil {
		config.SharedLimits = shareLimits(config.Limits)
	}
	if err := e.admits(&config); err != nil {
		return nil, err
	}
	c := &Conn{
		bus:         b,
		endpoint:    e,
		uid:         config.UID,
		charged:     chargedUser(&config),
		flags:       config.Flags,
		acceptFDs:   config.Flags&FlagAcceptFDs != 0,
		tellOwn:     config.TellOwn,
		tellDropped: config.TellDropped,
		limits:      config.SharedLimits,
		receiver:    config.Receiver,
		description: config.Description,
		peer:        config.Peer,
		metadata:    config.Metadata,
		collect:     config.Collect,
		fake:        config.Fake,
		activates:   config.ActivatorName,
		service:     config.Service,
		attachSend:  config.AttachSend,
		attachable:  config.AttachSend & b.attach,
		policies:    clonePolicies(config.Policies),
	}
	c.credentials.anonymous, c.credentials.ask = config.Anonymous, config.Groups
	if c.flags&FlagActivator != 0 {
		config.Wants |= PartDBus1 // in case that the service is one of D-Bus 1
	}
	c.wants.Store(uint32(config.Wants))
	policy, err := c.enter()
	if err != nil {
		return nil, err
	}
	c.subject = policy.Subject(c)
	return c, nil
}

// enter counts c, unless there are as many already as may be, and gives it its id. It returns the policy
// that is to be asked about it.
func (c *Conn) enter() (Policy, error) {
	b, e := c.bus, c.endpoint
	counted := c.service == nil && !e.custom
	if counted {
		if n, limit, ok := b.domain.enter(b.made, c.charged); !ok {
			return nil, b.tooManyConns(c.Account(), n, limit)
		}
	}
	most := 0
	if e.custom {
		most = b.domain.maxConnsOf(b.made)
	}
	b.mu.Lock()
	shut := e.closed
	full := e.custom && len(e.conns) >= most
	if !shut && !full {
		c.join(e)
	}
	n, policy := len(e.conns), b.policy
	b.mu.Unlock()
	if counted && shut {
		b.domain.leave(b.made, c.charged)
	}
	switch {
	case shut:
		return nil, errorf(ErrShutDown, "the endpoint is closed")
	case full:
		return nil, b.tooManyConns(e.account(), n, most)
	}
	return policy, nil
}

// join makes c one of e's connections, with an id. Bus.mu is held for writing.
func (c *Conn) join(e *Endpoint) {
	b := c.bus
	last := &b.lastID
	if c.service != nil {
		last = &b.lastService
	}
	*last++
	c.id, c.judged = *last, b.serial
	if e.custom {
		c.confined, c.door = e, e.door
		e.conns[c] = struct{}{}
	}
}

// admits checks what a connection wants to be.
func (e *Endpoint) admits(config *ConnConfig) error {
	special := config.Flags & (FlagActivator | FlagPolicyHolder | FlagMonitor)
	if special&(special-1) != 0 {
		return errorf(ErrInvalid, "a connection can be one of activator, policy holder and monitor only")
	}
	if (special == FlagActivator) != (config.ActivatorName != "") {
		return errorf(ErrInvalid, "an activator needs a name, and others have none")
	}
	if e.custom {
		if err := e.admitsConfined(config, special); err != nil {
			return err
		}
	}
	if config.Service != nil && special != FlagActivator {
		return errorf(ErrInvalid, "only an activator can be that of a service")
	}
	if len(config.Policies) > 0 {
		if special&(FlagActivator|FlagPolicyHolder) == 0 {
			return errorf(ErrInvalid, "policies are held by activators and policy holders only")
		}
		if err := checkHeld(config.Policies); err != nil {
			return err
		}
	}
	if missing := meta.Missing(e.bus.config.Required, config.AttachSend); missing != 0 {
		return errorf(ErrRequired, "the bus requires metadata that the connection does not let its messages carry: %s", missing)
	}
	return nil
}

// admitsConfined is admits for custom endpoints, where nobody is privileged.
func (e *Endpoint) admitsConfined(config *ConnConfig, special ConnFlags) error {
	switch {
	case special&FlagMonitor != 0:
		return errorf(ErrUnsupported, "there are no monitors on the custom endpoint %s", e.name)
	case special != 0, config.Service != nil:
		return errorf(ErrDenied, "there are no activators and policy holders on the custom endpoint %s", e.name)
	case config.Fake != nil:
		return errorf(ErrDenied, "nobody on the custom endpoint %s may pass for another process", e.name)
	}
	return nil
}
