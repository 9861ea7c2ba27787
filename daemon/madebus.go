package daemon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/transport"
)

// Buses that clients make: kdbus.bus(7). They have no configuration: kdbus's own rules hold there, and the owner
// and root are privileged. Nothing on them starts services.

// serve serves the control socket.
func (m *domain) serve() error {
	d := m.daemon
	var err error
	m.server, err = transport.NewServer(transport.Config{
		Poller:    d.poller,
		Guests:    true,
		Native:    d.control.Protocol,
		Log:       d.log,
		AllowUser: admitAll,
		Limits:    transport.Limits{MaxIncompleteConnections: maxGuestArrivals},
	})
	if err != nil {
		return err
	}
	d.serve(m.control, m.server)
	return nil
}

// MakeBus implements native.Buses.
func (m *domain) MakeBus(maker native.Maker, config native.BusConfig) (native.Node, error) {
	d := m.daemon
	creator, tells := creatorOf(maker, config.Tells)
	rules := dbus1.NewSubscriptions()
	h := d.newHub(nil, rules)
	var err error
	h.bus, err = d.bus.Domain().MakeBus(bus.Config{
		Name:         config.Name,
		Strict:       true,
		Indexes:      []bus.Index{rules},
		Attach:       d.config.Metadata,
		Required:     config.Required,
		Creator:      creator,
		CreatorFlags: uint64(config.Access),
		Bloom:        config.Bloom,
		View:         dbus1.ViewOf,
		Refusal: func(src *bus.Conn, msg *bus.Message, reason error) *bus.Message {
			return h.standard.Refusal(src, msg, reason)
		},
	})
	if err != nil {
		return nil, err
	}
	owner := creator.Creds.EUID
	h.made, h.tells = true, &tells
	h.privileged = func(uid uint32) bool { return uid == 0 || uid == owner }
	if err := m.openBus(h, ownerOf(maker.Creds(), config.Access)); err != nil {
		h.bus.Close()
		return nil, err
	}
	d.serveNode(h.node, h.standard.Server, maker)
	d.log.Log(context.Background(), slog.LevelDebug, "made a bus", "bus", h.dir, "uid", owner, "pid", maker.Creds().PID)
	return &madeBus{h, m}, nil
}

// creatorOf returns what is known of who makes a bus, and what of it is to be told. Whose the bus is has to be
// known in any case.
func creatorOf(maker native.Maker, tells meta.Kinds) (*meta.Data, meta.Kinds) {
	creator := maker.ConnectData(tells | meta.KindCreds)
	if who := maker.Creds(); creator.Has&meta.KindCreds == 0 || creator.Creds.EUID != who.UID {
		tells &^= meta.KindCreds
		creator.Has |= meta.KindCreds
		creator.Creds = meta.IDs{EUID: who.UID, EGID: who.GID}
	}
	return &creator, tells
}

// openBus gives a bus its directory, the socket of its default endpoint, and the server.
func (m *domain) openBus(h *hub, owner nodeOwner) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return &bus.Error{Errno: syscall.ESHUTDOWN, Detail: "the domain ends"}
	}
	err := h.openStandard(filepath.Join(m.path, h.bus.Name()), owner)
	if err != nil {
		return nodeError(errors.Join(err, h.close()))
	}
	m.buses[h] = struct{}{}
	return nil
}

// openStandard makes the directory of a bus, and in it the default endpoint.
func (h *hub) openStandard(dir string, owner nodeOwner) (err error) {
	if h.dir, err = makeNodeDir(dir, owner); err != nil {
		return err
	}
	if h.node, err = bindNode(filepath.Join(dir, "bus"), owner); err != nil {
		return err
	}
	config := h.serverConfig()
	config.AllowUser = h.node.admit
	h.standard, h.front, err = h.newServer(h.bus.Endpoint(), config)
	return err
}

// madeBus is a bus that a client keeps.
type madeBus struct {
	*hub
	domain *domain
}

// Path implements native.Node.
func (b *madeBus) Path() string { return string(b.dir) }

// Close implements native.Node.
func (b *madeBus) Close() {
	m := b.domain
	m.mu.Lock()
	delete(m.buses, b.hub)
	err := b.close()
	m.mu.Unlock()
	if err != nil {
		m.daemon.log.Warn("cannot remove the files of a bus", "bus", b.Path(), "error", err)
	}
	b.bus.Close()
	b.front.CloseHandles()
	m.daemon.retire(b.standard)
}

// shut ends the nodes of all buses, and lets nobody make any more.
func (m *domain) shut() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	var failed []error
	for h := range m.buses {
		failed = append(failed, h.close())
	}
	return errors.Join(failed...)
}
