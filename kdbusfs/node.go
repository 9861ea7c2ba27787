package kdbusfs

import (
	"sync"
	"syscall"
	"time"

	"github.com/kdbus-go/kdbus/kdbusfs/fuse"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
)

// Directory has nodes: a domain, or a bus. Safe for concurrent use; it must not block.
type Directory interface {
	// Nodes returns all nodes in it.
	Nodes() []Node
	// Node returns the one that is called name.
	Node(name string) (Node, bool)
}

// Node is a file or a directory: kdbus.fs(7).
type Node struct {
	Name     string
	UID, GID uint32
	Mode     uint32 // permissions
	Made     time.Time
	// ID is its number, by which users tell files apart: not that of another node, not even of one that is gone.
	ID uint64
	// Directory has what is in it, if it is a directory.
	Directory Directory
	// Open makes a handle of a file that is opened. Its error has an errno.
	Open func(creds meta.Creds, groups []uint32, changed func()) (*native.Handle, error)
	// Pool says that what is opened has a pool.
	Pool bool
}

// mode returns the mode with the type of file.
func (n *Node) mode() uint32 {
	if n.Directory != nil {
		return n.Mode | syscall.S_IFDIR
	}
	return n.Mode | syscall.S_IFREG
}

// nodes are those that the kernel was told of, by their ids.
type nodes struct {
	mu    sync.Mutex
	last  uint64
	known map[uint64]*known
}

// known is a node that the kernel was told of.
type known struct {
	Node
	times uint64 // that it was told
	used  bool   // a file with a pool that was opened: its id stands for that pool
	file  *file  // that is open now and has a pool
}

func (n *nodes) begin(root Node) {
	n.last = fuse.RootID
	n.known = map[uint64]*known{fuse.RootID: {Node: root, times: 1}}
}

// find returns a node that the kernel was told of.
func (n *nodes) find(id uint64) (*known, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.known[id]
	if k == nil {
		return nil, syscall.ESTALE
	}
	return k, nil
}

// tell gives a node an id of its own.
func (n *nodes) tell(node Node) (uint64, *known) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	k := &known{Node: node, times: 1}
	n.known[n.last] = k
	return n.last, k
}

// forget takes back what the kernel was told.
func (n *nodes) forget(id, times uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.known[id]
	if k == nil || id == fuse.RootID {
		return
	}
	if k.times > times {
		k.times -= times
		return
	}
	delete(n.known, id)
}

// attr returns what stat(2) tells of a node.
func (k *known) attr() fuse.Attr {
	a := fuse.Attr{Ino: k.ID, Mode: k.mode(), Nlink: 1, UID: k.UID, GID: k.GID, Time: k.Made.UnixNano()}
	if k.Directory != nil {
		a.Nlink = 2
	}
	if f := k.file; f != nil {
		a.Size = f.pool.Size()
	}
	return a
}
