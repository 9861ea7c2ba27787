package kdbusfs

import (
	"fmt"
	"log/slog"
	"sync"
	"syscall"

	"github.com/kdbus-go/kdbus/kdbusfs/fuse"
)

// FS is a mounted file system. It implements [fuse.FileSystem].
type FS struct {
	conn   *fuse.Conn
	log    *slog.Logger
	nodes  nodes
	device deviceOf
	served chan struct{} // closed when nothing is served any more

	mu    sync.Mutex
	last  uint64
	files map[uint64]*file // that are open, by their handles
}

// Config describes a file system to be mounted.
type Config struct {
	// Root is the domain.
	Root Node
	// Log is told what an administrator wants to know; nil discards it.
	Log *slog.Logger
}

// Mount mounts a file system on a directory, which has to be there, and serves it until it is unmounted.
func Mount(dir string, config Config) (*FS, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	conn, err := fuse.Mount(dir, fuse.Options{Source: "kdbus", Type: "kdbusfs"})
	if err != nil {
		return nil, fmt.Errorf("mount kdbus's file system: %w", err)
	}
	s := &FS{conn: conn, log: config.Log, served: make(chan struct{}), files: make(map[uint64]*file)}
	s.nodes.begin(config.Root)
	go s.serve(dir)
	return s, nil
}

func (s *FS) serve(dir string) {
	defer close(s.served)
	if err := s.conn.Serve(s); err != nil {
		s.log.Error("kdbus's file system is not served any longer", "directory", dir, "error", err)
	}
	s.mu.Lock()
	files := s.files
	s.files = nil
	s.mu.Unlock()
	for _, f := range files {
		f.close()
	}
}

// Missing says in words what those who use the file system cannot have, because of how it is mounted.
func (s *FS) Missing() (list []string) {
	if !s.conn.ForOthers() {
		list = append(list, "only the user who has mounted it can use it: root can mount it for all, or permit that by user_allow_other in /etc/fuse.conf")
	}
	if err := mayReadOthers(); err != nil {
		list = append(list, fmt.Sprintf("programs whose memory the kernel does not let it read cannot give commands: %v", err))
	}
	return list
}

// Unmount ends the file system. Who has files open gets ENOTCONN from now on. It returns when nothing is served any
// more, and may be called again.
func (s *FS) Unmount() error {
	err := s.conn.Unmount()
	if err == nil {
		<-s.served
	}
	return err
}

// Done is closed when nothing is served any more, as when somebody has unmounted it.
func (s *FS) Done() <-chan struct{} { return s.served }

// Lookup implements fuse.FileSystem.
func (s *FS) Lookup(directory uint64, name string) (fuse.Entry, error) {
	dir, err := s.directory(directory)
	if err != nil {
		return fuse.Entry{}, err
	}
	node, ok := dir.Node(name)
	if !ok {
		return fuse.Entry{}, syscall.ENOENT
	}
	id, k := s.nodes.tell(node)
	return fuse.Entry{Node: id, Attr: k.attr()}, nil
}

func (s *FS) directory(id uint64) (Directory, error) {
	k, err := s.nodes.find(id)
	if err != nil {
		return nil, err
	}
	if k.Directory == nil {
		return nil, syscall.ENOTDIR
	}
	return k.Directory, nil
}

// Forget implements fuse.FileSystem.
func (s *FS) Forget(node, times uint64) { s.nodes.forget(node, times) }

// Getattr implements fuse.FileSystem.
func (s *FS) Getattr(node uint64) (fuse.Attr, error) {
	k, err := s.nodes.find(node)
	if err != nil {
		return fuse.Attr{}, err
	}
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	return k.attr(), nil
}

// List implements fuse.FileSystem.
func (s *FS) List(directory uint64) ([]fuse.Dirent, error) {
	dir, err := s.directory(directory)
	if err != nil {
		return nil, err
	}
	nodes := dir.Nodes()
	list := make([]fuse.Dirent, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		list[i] = fuse.Dirent{Ino: n.ID, Name: n.Name, Mode: n.mode()}
	}
	return list, nil
}

// Open implements fuse.FileSystem.
func (s *FS) Open(node uint64, caller fuse.Caller) (fuse.Opened, error) {
	k, err := s.nodes.find(node)
	if err != nil {
		return fuse.Opened{}, err
	}
	if k.Node.Open == nil {
		return fuse.Opened{}, syscall.EISDIR
	}
	if k.Pool {
		s.nodes.mu.Lock()
		used := k.used
		k.used = true
		s.nodes.mu.Unlock()
		if used {
			return fuse.Opened{}, syscall.ESTALE
		}
	}
	return s.open(node, k, caller)
}

// Release implements fuse.FileSystem.
func (s *FS) Release(_, handle uint64) {
	s.mu.Lock()
	f := s.files[handle]
	delete(s.files, handle)
	s.mu.Unlock()
	if f != nil {
		f.close()
	}
}

// file returns an open file.
func (s *FS) file(handle uint64) *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[handle]
}

// Read implements fuse.FileSystem: it is how pages of a pool get into the page cache, if that is what is mapped.
func (s *FS) Read(handle uint64, b []byte, offset uint64) (int, error) {
	f := s.file(handle)
	if f == nil || f.pool == nil || f.pool.backing != 0 {
		return 0, syscall.EINVAL
	}
	return f.pool.read(b, offset)
}

// Poll implements fuse.FileSystem.
func (s *FS) Poll(handle, wakeup uint64) uint32 {
	f := s.file(handle)
	if f == nil {
		return pollError
	}
	if wakeup != 0 {
		f.wakeup.Store(wakeup)
	}
	return f.events()
}

// Ioctl implements fuse.FileSystem.
func (s *FS) Ioctl(r *fuse.Request, i *fuse.Ioctl) error {
	f := s.file(i.Handle)
	if f == nil {
		return syscall.EBADF
	}
	return f.ioctl(r, i)
}
