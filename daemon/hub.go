package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/transport"
)

// hub is a bus with what its endpoints have in common: the default one, and those that clients make (it is the
// native.Endpoints of the bus). Each has a server of its own, with both front-ends; they share match rules, services,
// and the poller.
type hub struct {
	daemon *Daemon
	bus    *bus.Bus
	rules  *dbus1.Subscriptions
	// made is set if a client has made the bus, which has no configuration then.
	made bool
	// privileged decides who may do what only the owner of the bus may; nil for root and the user of this process.
	privileged func(uid uint32) bool
	tells      *meta.Kinds // see native.Config

	standard *dbus1.Server  // of the default endpoint
	front    *native.Server // the same, for kdbusfs
	since    time.Time
	inode    uint64 // in kdbusfs
	node     *node  // of the default endpoint, if a client has made the bus

	mu     sync.Mutex
	dir    nodeDir // "" until it is made
	closed bool
	custom map[*customEndpoint]struct{}
}

func (d *Daemon) newHub(b *bus.Bus, rules *dbus1.Subscriptions) *hub {
	return &hub{daemon: d, bus: b, rules: rules, since: time.Now(), inode: d.inode(2), custom: make(map[*customEndpoint]struct{})}
}

// newServer makes the server of an endpoint.
func (h *hub) newServer(e *bus.Endpoint, config dbus1.Config) (*dbus1.Server, *native.Server, error) {
	d := h.daemon
	config.Endpoint, config.Poller, config.Guests = e, d.poller, h.made
	config.Limits = h.limitsAt(e, config.Limits)
	config.Subscriptions = h.rules
	config.Bloom = native.BloomOf(h.bus.Bloom())
	config.Log = d.log
	config.MachineID = d.config.MachineID
	config.Denied = func(c *bus.Conn, err error) { d.denials.note(c, err) }
	// Each front-end uses something of the other: the driver answers native clients, too.
	kdbus := native.Config{Rules: h.rules, Privileged: h.privileged, Tells: h.tells, Denied: d.denials.noteUser}
	if !e.Custom() {
		kdbus.Endpoints = h
	}
	var front *native.Server
	config.Native = func(p *transport.Peer) transport.Protocol { return front.Protocol(p) }
	server, err := dbus1.NewServer(config)
	if err != nil {
		return nil, nil, err
	}
	kdbus.Driver = server
	front = native.New(kdbus)
	return server, front, nil
}

// What clients of a custom endpoint, or those of one user on all buses that users have made, may hold at most, if the limits of
// the bus are not lower.
const (
	maxConfinedPeers    = abi.UserMaxConn
	maxConfinedIncoming = 256 << 20 // bytes; twice the longest message
	maxGuestArrivals    = 64
)

// limits returns the limits that the servers of the hub begin with.
func (h *hub) limits() dbus1.Limits {
	if conf := h.daemon.inForce.Load(); conf != nil {
		return limitsOf(&conf.Limits)
	}
	return h.daemon.config.Limits
}

// limitsAt returns what the limits of the bus are at an endpoint.
func (h *hub) limitsAt(e *bus.Endpoint, l dbus1.Limits) dbus1.Limits {
	atMost := func(limit *int, most int) {
		if *limit == 0 || *limit > most { // 0 is the default, which is more
			*limit = most
		}
	}
	if e.Custom() || h.made {
		l.MaxConnectionsPerUser = 0 // that is the domain's
		atMost(&l.MaxIncomingBytes, maxConfinedIncoming)
	}
	if e.Custom() {
		atMost(&l.MaxConnections, maxConfinedPeers)
	}
	if h.made {
		atMost(&l.MaxIncompleteConnections, maxGuestArrivals)
	}
	return l
}

// setLimits changes the limits of all endpoints.
func (h *hub) setLimits(limits dbus1.Limits) {
	h.standard.SetLimits(h.limitsAt(h.bus.Endpoint(), limits))
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := range h.custom {
		e.server.SetLimits(h.limitsAt(e.endpoint, limits))
	}
}

// customEndpoint is a custom endpoint that a client has made. It is its native.Endpoint.
type customEndpoint struct {
	*node
	hub      *hub
	endpoint *bus.Endpoint
	server   *dbus1.Server
	front    *native.Server
	owner    nodeOwner
	since    time.Time
	inode    uint64
}

// MakeEndpoint implements native.Endpoints.
func (h *hub) MakeEndpoint(maker native.Maker, name string, access abi.MakeFlags, policies []bus.NamePolicy, refused func(bus.Refused)) (native.Endpoint, error) {
	creds := maker.Creds()
	endpoint, err := h.bus.NewEndpoint(bus.EndpointConfig{Name: name, UID: creds.UID, Policies: policies, Refused: refused})
	if err != nil {
		return nil, err
	}
	e := &customEndpoint{hub: h, endpoint: endpoint, owner: ownerOf(creds, access), since: time.Now(), inode: h.daemon.inode(1)}
	if err := h.open(e, e.owner); err != nil {
		endpoint.Close()
		return nil, err
	}
	h.daemon.serveNode(e.node, e.server.Server, maker)
	h.daemon.log.Log(context.Background(), slog.LevelDebug, "made a custom endpoint", "endpoint", e.Path(), "uid", creds.UID, "pid", creds.PID)
	return e, nil
}

// Addresses implements native.Endpoint.
func (e *customEndpoint) Addresses() string {
	if e.hub.node != nil {
		return e.hub.node.address.String()
	}
	return e.hub.daemon.Address()
}

// open gives an endpoint its socket and its server.
func (h *hub) open(e *customEndpoint, owner nodeOwner) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return &bus.Error{Errno: syscall.ESHUTDOWN, Detail: "the bus ends"}
	}
	if h.dir == "" {
		dir, err := h.daemon.privateNodes(h.bus.Name())
		if err != nil {
			return nodeError(err)
		}
		h.dir = dir
	}
	var err error
	if e.node, err = bindNode(filepath.Join(string(h.dir), e.endpoint.Name()), owner); err != nil {
		return nodeError(err)
	}
	config := h.serverConfig()
	config.AllowUser = e.admit
	if e.server, e.front, err = h.newServer(e.endpoint, config); err != nil {
		return nodeError(errors.Join(err, e.unlink()))
	}
	h.custom[e] = struct{}{}
	return nil
}

// serverConfig returns what the servers of all endpoints of the bus have in common.
func (h *hub) serverConfig() dbus1.Config {
	config := dbus1.Config{Limits: h.limits()}
	if !h.made {
		config.Activation = h.daemon.starter()
	}
	return config
}

// nodeError makes an error for the client of one of the file system, whose errno would mean something else to it.
func nodeError(err error) error {
	if known, ok := errors.AsType[*bus.Error](err); ok {
		return known
	}
	return &bus.Error{Errno: syscall.EIO, Detail: fmt.Sprintf("the bus could not make the files: %v", err)}
}

// Path implements native.Node.
func (e *customEndpoint) Path() string { return e.file.(*nodeFile).path }

// SetPolicies implements native.Endpoint.
func (e *customEndpoint) SetPolicies(policies []bus.NamePolicy) error {
	return e.endpoint.SetPolicies(policies)
}

// Close implements native.Node.
func (e *customEndpoint) Close() {
	h := e.hub
	h.mu.Lock()
	delete(h.custom, e)
	err := e.unlink()
	h.mu.Unlock()
	if err != nil {
		h.daemon.log.Warn("cannot remove the socket of a custom endpoint", "endpoint", e.Path(), "error", err)
	}
	e.endpoint.Close()
	e.front.CloseHandles()
	h.daemon.retire(e.server)
}

// close ends the nodes of the hub. Those who keep its endpoints are told when they are disconnected.
func (h *hub) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	var failed []error
	for e := range h.custom {
		failed = append(failed, e.unlink())
	}
	if h.node != nil {
		failed = append(failed, h.node.unlink())
	}
	failed = append(failed, h.dir.remove())
	return errors.Join(failed...)
}

// serveNode serves clients at a node. If that ends for another reason than that the server is shut down, what the maker
// has made ends.
func (d *Daemon) serveNode(n *node, server *transport.Server, maker native.Maker) {
	d.background.Go(func() {
		if err := n.serve(server, n.guid); !errors.Is(err, transport.ErrServerClosed) {
			d.log.Error("ending what a client has made, because its socket cannot be served any longer", "address", n.address.String(), "error", err)
			maker.HangUp()
		}
	})
}

// retire shuts a server down. That waits for all its peers, of which somebody else must not have to: what they ask
// for can take long.
func (d *Daemon) retire(server interface {
	Shutdown(context.Context) error
}) {
	d.background.Go(func() { server.Shutdown(context.Background()) })
}
