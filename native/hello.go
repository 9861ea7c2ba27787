package native

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
)

const (
	// defaultPool is what kdbus clients ask for.
	defaultPool = 16 << 20
	// maxPool is the most that counts.
	maxPool = 1 << 30
	// messagesPerPool is how many messages each user may have in a queue of defaultPool bytes.
	messagesPerPool = abi.ConnMaxMsgs
	// maxQueuedMemfds is how many memfds each user may have in a queue.
	maxQueuedMemfds = 64
)

var pageSize = uint64(os.Getpagesize())

// hello brings the peer onto the bus: kdbus.connection(7), "Creating connections".
func (c *conn) hello(r *request, h *abi.Hello) error {
	if err := c.checkHello(h); err != nil {
		return err
	}
	config := bus.ConnConfig{
		Flags:       bus.ConnFlags(h.Flags),
		Limits:      limitsOf(h.PoolSize),
		Description: h.Description,
		TellDropped: true,
		Wants:       bus.Parts(h.AttachFlagsRecv) & bus.PartsMetadata,
		AttachSend:  meta.Kinds(h.AttachFlagsSend),
		Fake:        fakeData(h),
	}
	switch {
	case h.Flags&abi.HelloPolicyHolder != 0:
		config.Policies = namePolicies(abi.Policy{Name: h.Name, Access: h.Access})
	case h.Flags&abi.HelloActivator != 0:
		config.ActivatorName = h.Name
		if len(h.Access) > 0 {
			config.Policies = namePolicies(abi.Policy{Name: h.Name, Access: h.Access})
		}
	}
	if config.Fake == nil {
		data := c.peer.ConnectData(config.AttachSend)
		config.Metadata = &data
	}
	c.brief = r.Code&uint32(abi.FrameBrief) != 0
	conn, err := c.peer.Join(config)
	switch {
	case errors.Is(err, transport.ErrTooManyPeers), errors.Is(err, bus.ErrTooManyConns):
		return refusef(syscall.EMFILE, "%v", err)
	case err != nil:
		return err
	}
	c.bus = conn
	c.greet(r, h)
	if h.Flags&(abi.HelloActivator|abi.HelloPolicyHolder) == 0 {
		return nil
	}
	// Nothing is sent to activators and policy holders, so that they can join before they are told.
	r.after = nil
	err = conn.Hello()
	if err != nil {
		r.after = func() error { return io.EOF } // one cannot join twice
	}
	return err
}

// checkHello judges what takes knowledge of the bus.
func (c *conn) checkHello(h *abi.Hello) error {
	const special = abi.HelloActivator | abi.HelloPolicyHolder | abi.HelloMonitor
	switch {
	case h.PoolSize == 0 || h.PoolSize%pageSize != 0:
		return refusef(syscall.EINVAL, "a pool of %d bytes is not a multiple of the page size (%d), or is 0", h.PoolSize, pageSize)
	case h.Flags&abi.HelloMonitor != 0 && c.confined():
		return c.denied(refusef(syscall.EOPNOTSUPP, "there are no monitors on custom endpoints"))
	case h.Flags&special != 0 && !c.privileged():
		return c.denied(refusef(syscall.EPERM, "user %d may not connect as %v", c.peer.Creds().UID, h.Flags&special))
	case (h.Creds != nil || h.PIDs != nil || h.SecLabel != "") && !c.privileged():
		return c.denied(refusef(syscall.EPERM, "user %d may not pass for another process", c.peer.Creds().UID))
	}
	return nil
}

// confined reports whether the peer came to a custom endpoint.
func (c *conn) confined() bool {
	e := c.peer.Endpoint()
	return e != nil && e.Custom()
}

// privileged reports whether the peer is one that is trusted like the bus itself.
func (c *conn) privileged() bool {
	return c.peer.Known() && !c.confined() && c.server.config.Privileged(c.peer.Creds().UID)
}

// denied tells the log what the peer is denied, and returns err.
func (c *conn) denied(err error) error {
	if tell := c.server.config.Denied; tell != nil {
		creds := c.peer.Creds()
		tell(creds.UID, fmt.Errorf("%w (uid=%d pid=%d%s)", err, creds.UID, creds.PID, c.door()))
	}
	return err
}

// door says for the log where the peer came in, if that is remarkable.
func (c *conn) door() string {
	if c.confined() {
		return " endpoint=" + c.peer.Endpoint().Name()
	}
	return ""
}

// greet prepares the answer to HELLO, which is the first thing that the peer gets; when it is queued,
// the peer becomes visible to others.
func (c *conn) greet(r *request, h *abi.Hello) {
	b := c.bus.Bus()
	bloom := b.Bloom()
	_, flags := b.Creator()
	r.infos = abi.BloomParameter{Size: bloom.Size, NHash: bloom.Hashes}.AppendItem(nil)
	h.Reply = abi.HelloReply{
		BusFlags:  abi.MakeFlags(flags),
		ID:        uint64(c.bus.ID()),
		Offset:    r.infosAt(),
		ItemsSize: uint64(len(r.infos)),
	}
	hex.Decode(h.Reply.ID128[:], []byte(b.GUID()))
	h.PutReply(r.cmd)
	if h.Flags&abi.HelloMonitor != 0 {
		r.after = func() error { return c.bus.BecomeMonitor(bus.Everything) }
		return
	}
	r.after = c.bus.Hello
}

// limitsOf returns what a connection may hold whose queue is to have this size: kdbus.pool(7).
func limitsOf(pool uint64) *bus.Limits {
	pool = min(pool, maxPool)
	if pool == defaultPool {
		return &defaultLimits
	}
	limits := defaultLimits
	limits.Quota.Bytes = int(pool)
	limits.Quota.Messages = max(messagesPerPool, int(pool/(defaultPool/messagesPerPool)))
	return &limits
}

var defaultLimits = bus.Limits{
	Quota: bus.Quota{
		Bytes:    defaultPool,
		Messages: messagesPerPool,
		FDs:      abi.ConnMaxFDsPerUser,
		Memfds:   maxQueuedMemfds,
		Fair:     true,
	},
	MaxNames:   abi.ConnMaxNames,
	MaxCalls:   abi.ConnMaxRequestsPending,
	MaxMatches: abi.MatchMax,
}

// byeBye takes the peer off the bus: kdbus.connection(7), "Termination of connections". What waits is
// what has not got into the peer's socket.
func (c *conn) byeBye(r *request, _ *abi.ByeBye) error {
	c.bus.Flush() // answers that are due are not what keeps the peer
	if n := c.bus.QueueStats().Bytes; n > 0 {
		return refusef(syscall.EBUSY, "messages of %d bytes wait to be received", n)
	}
	r.after = func() error {
		c.bus.Flush()
		if c.bus.QueueStats().Bytes > 0 {
			c.left = true // the peer goes when it has read the answer
			return nil
		}
		return io.EOF
	}
	return nil
}

// namePolicies translates policies. One without entries permits nothing.
func namePolicies(from ...abi.Policy) []bus.NamePolicy {
	policies := make([]bus.NamePolicy, len(from))
	for i, p := range from {
		policies[i].Name = p.Name
		for _, a := range p.Access {
			policies[i].Access = append(policies[i].Access, access(a))
		}
	}
	return policies
}

// access translates an entry, which package abi has found to be valid. The id of one for everybody
// can be anything.
func access(a abi.PolicyAccess) bus.Access {
	kinds := [...]bus.AccessKind{
		abi.PolicyAccessUser: bus.AccessUser, abi.PolicyAccessGroup: bus.AccessGroup, abi.PolicyAccessWorld: bus.AccessWorld,
	}
	levels := [...]bus.AccessLevel{abi.PolicySee: bus.AccessSee, abi.PolicyTalk: bus.AccessTalk, abi.PolicyOwn: bus.AccessOwn}
	return bus.Access{Kind: kinds[a.Type], ID: uint32(a.ID), Level: levels[a.Access]}
}

// update changes what is attached to messages, and the policy of a policy holder: kdbus.connection(7),
// "Updating connection details".
func (c *conn) update(_ *request, u *abi.Update) error {
	switch {
	case u.Policies != nil && c.bus.Flags()&bus.FlagPolicyHolder == 0:
		return refusef(syscall.EOPNOTSUPP, "only policy holders change policies")
	case u.AttachFlagsSend != nil && c.bus.Flags()&bus.FlagActivator != 0:
		return refusef(syscall.EOPNOTSUPP, "an activator sends nothing")
	}
	if u.Policies != nil {
		if err := c.bus.UpdatePolicies(namePolicies(u.Policies...)); err != nil {
			return err
		}
	}
	return c.bus.Update((*meta.Kinds)(u.AttachFlagsSend), (*meta.Kinds)(u.AttachFlagsRecv))
}
