package daemon

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/kdbusfs"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
)

// The domain as kdbus's file system: the same buses and endpoints that are sockets in its directory, with the same
// owners, and modes as kdbus had them.

// Inode numbers. A bus has two, for its directory and its default endpoint; custom endpoints have one.
const (
	rootInode    = 1
	controlInode = 2
	firstInode   = 3
)

// inode returns the first of n numbers that nothing has had yet.
func (d *Daemon) inode(n uint64) uint64 { return d.inodes.Add(n) - n + firstInode }

// mount mounts it, if that is asked for.
func (d *Daemon) mount() error {
	if d.config.Mount == "" {
		return nil
	}
	if d.domain == nil {
		return errors.New("mount kdbus's file system: it shows a domain, and this daemon is to have none")
	}
	since := time.Now()
	fs, err := kdbusfs.Mount(d.config.Mount, kdbusfs.Config{
		Root: kdbusfs.Node{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Mode: 0o555, Made: since, ID: rootInode, Directory: domainDirectory{d, since}},
		Log:  d.log,
	})
	if err != nil {
		return err
	}
	d.mounted = fs
	for _, missing := range fs.Missing() {
		d.log.Warn("kdbus's file system is not all that it could be", "directory", d.config.Mount, "reason", missing)
	}
	return nil
}

func (d *Daemon) unmount() {
	if d.mounted == nil {
		return
	}
	if err := d.mounted.Unmount(); err != nil {
		d.log.Warn("cannot unmount kdbus's file system", "directory", d.config.Mount, "error", err)
	}
}

// domainDirectory is the directory of a domain: its control file, and its buses.
type domainDirectory struct {
	daemon *Daemon
	since  time.Time
}

// Nodes implements kdbusfs.Directory.
func (m domainDirectory) Nodes() []kdbusfs.Node {
	nodes := []kdbusfs.Node{m.control()}
	for _, h := range m.daemon.hubs() {
		nodes = append(nodes, h.busNode())
	}
	return nodes
}

// Node implements kdbusfs.Directory.
func (m domainDirectory) Node(name string) (kdbusfs.Node, bool) {
	if name == controlName {
		return m.control(), true
	}
	for _, h := range m.daemon.hubs() {
		if h.bus.Name() == name {
			return h.busNode(), true
		}
	}
	return kdbusfs.Node{}, false
}

// hubs returns all buses of the domain.
func (d *Daemon) hubs() []*hub {
	list := []*hub{d.hub}
	d.domain.mu.Lock()
	defer d.domain.mu.Unlock()
	for h := range d.domain.buses {
		list = append(list, h)
	}
	return list
}

func (m domainDirectory) control() kdbusfs.Node {
	front := m.daemon.control
	return kdbusfs.Node{
		Name: controlName, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Mode: 0o666, Made: m.since, ID: controlInode,
		Open: opener(front, nil, nil),
	}
}

// opener makes handles of an endpoint, for users whom allow lets; nil lets everybody whom the mode of the file does.
func opener(front *native.Server, e *bus.Endpoint, allow func(uid uint32, groups []uint32) error) func(meta.Creds, []uint32, func()) (*native.Handle, error) {
	return func(creds meta.Creds, groups []uint32, changed func()) (*native.Handle, error) {
		if allow != nil {
			if err := allow(creds.UID, groups); err != nil {
				return nil, syscall.EACCES
			}
		}
		return front.Open(native.HandleConfig{Endpoint: e, Creds: creds, Groups: groups, Changed: changed}), nil
	}
}

// owner returns whose the bus is, and who may see it.
func (h *hub) owner() nodeOwner {
	creator, flags := h.bus.Creator()
	o := nodeOwner{uid: creator.Creds.EUID, gid: creator.Creds.EGID, access: abi.MakeFlags(flags)}
	if !h.made {
		o.access = abi.MakeAccessWorld // who may connect is for the bus to say
	}
	return o
}

// busNode returns the directory of a bus.
func (h *hub) busNode() kdbusfs.Node {
	o := h.owner()
	mode := uint32(o.mode())
	mode = mode&0o444 | mode&0o444>>2
	return kdbusfs.Node{Name: h.bus.Name(), UID: o.uid, GID: o.gid, Mode: mode, Made: h.since, ID: h.inode, Directory: h}
}

// Nodes implements kdbusfs.Directory.
func (h *hub) Nodes() []kdbusfs.Node {
	nodes := []kdbusfs.Node{h.standardNode()}
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := range h.custom {
		nodes = append(nodes, e.fileNode())
	}
	return nodes
}

// Node implements kdbusfs.Directory.
func (h *hub) Node(name string) (kdbusfs.Node, bool) {
	for _, n := range h.Nodes() {
		if n.Name == name {
			return n, true
		}
	}
	return kdbusfs.Node{}, false
}

// standardNode returns the default endpoint.
func (h *hub) standardNode() kdbusfs.Node {
	o := h.owner()
	var allow func(uint32, []uint32) error
	if !h.made {
		allow = h.daemon.admitted
	}
	return kdbusfs.Node{
		Name: "bus", UID: o.uid, GID: o.gid, Mode: uint32(o.mode()), Made: h.since, ID: h.inode + 1, Pool: true,
		Open: opener(h.front, h.bus.Endpoint(), allow),
	}
}

// admitted decides who may connect to the daemon's own bus.
func (d *Daemon) admitted(uid uint32, groups []uint32) error {
	if allow := d.allowUser(); allow != nil {
		return allow(uid, groups)
	}
	return nodeOwner{uid: d.server.UID()}.judge(uid, groups)
}

// fileNode returns a custom endpoint.
func (e *customEndpoint) fileNode() kdbusfs.Node {
	return kdbusfs.Node{
		Name: e.endpoint.Name(), UID: e.owner.uid, GID: e.owner.gid, Mode: uint32(e.owner.mode()), Made: e.since, ID: e.inode, Pool: true,
		Open: opener(e.front, e.endpoint, nil),
	}
}
