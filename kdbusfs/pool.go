package kdbusfs

import (
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/kdbusfs/fuse"
)

// pool is the memory of a connection that its client can read: kdbus.pool(7). It is a file in memory, that uses memory only where
// something was written. What is used of it is in our memory, not in that file.
type pool struct {
	conn    *fuse.Conn
	node    uint64
	fd      int
	backing int32 // 0 if the page cache is what is mapped

	mu     sync.Mutex
	size   uint64 // 0 before HELLO
	closed bool
	slices []slice // by their offsets
}

// slice is a part that is in use.
type slice struct {
	offset, size uint64 // size a multiple of 8
}

// newPool makes the pool of a file that is opened, without a size.
func newPool(conn *fuse.Conn, node uint64) (*pool, error) {
	fd, err := unix.MemfdCreate("kdbus-pool", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	p := &pool{conn: conn, node: node, fd: fd}
	switch backing, err := conn.OpenBacking(fd); err {
	case nil:
		p.backing = backing
	case unix.EPERM, unix.EOPNOTSUPP: // not for us, or for nobody
	default:
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

// close gives the memory back, as far as nobody has it mapped.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if p.backing != 0 {
		p.conn.CloseBacking(p.backing)
	}
	unix.Close(p.fd)
}

// resize gives the pool its size, once: HELLO has said it.
func (p *pool) resize(size uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return syscall.ECONNRESET
	}
	if p.size != 0 {
		return nil
	}
	if size > 1<<62 {
		return syscall.ENOMEM
	}
	if err := unix.Ftruncate(p.fd, int64(size)); err != nil {
		return syscall.ENOMEM
	}
	p.size = size
	return nil
}

// Size implements native.Pool.
func (p *pool) Size() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// Place implements native.Pool. The error is ENOBUFS if there is no space.
func (p *pool) Place(pieces [][]byte, skip int) (uint64, error) {
	size := -skip
	for _, b := range pieces {
		size += len(b)
	}
	if size <= 0 {
		return p.Size(), nil
	}
	offset, err := p.allocate(uint64(size))
	if err != nil {
		return 0, err
	}
	at := offset
	for _, b := range pieces {
		n := min(skip, len(b))
		b, skip = b[n:], skip-n
		if err := p.write(b, at); err != nil {
			p.free(offset)
			return 0, syscall.ENOMEM
		}
		at += uint64(len(b))
	}
	return offset, nil
}

// allocate finds space: the smallest that does.
func (p *pool) allocate(size uint64) (uint64, error) {
	size = (size + 7) &^ 7
	p.mu.Lock()
	defer p.mu.Unlock()
	best, bestGap, end := -1, uint64(0), uint64(0)
	for i := 0; i <= len(p.slices); i++ {
		next := p.size
		if i < len(p.slices) {
			next = p.slices[i].offset
		}
		if gap := next - end; gap >= size && (best < 0 || gap < bestGap) {
			best, bestGap = i, gap
		}
		if i < len(p.slices) {
			end = next + p.slices[i].size
		}
	}
	if best < 0 {
		return 0, syscall.ENOBUFS
	}
	offset := uint64(0)
	if best > 0 {
		offset = p.slices[best-1].offset + p.slices[best-1].size
	}
	p.slices = slices.Insert(p.slices, best, slice{offset, size})
	return offset, nil
}

// free gives a slice back. It reports whether there was one that begins there.
func (p *pool) free(offset uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, found := slices.BinarySearchFunc(p.slices, offset, func(s slice, at uint64) int {
		switch {
		case s.offset < at:
			return -1
		case s.offset > at:
			return 1
		}
		return 0
	})
	if found {
		p.slices = slices.Delete(p.slices, i, i+1)
	}
	return found
}

// write writes to a slice, and so to what the client has mapped.
func (p *pool) write(b []byte, at uint64) error {
	for done := 0; done < len(b); {
		n, err := unix.Pwrite(p.fd, b[done:], int64(at)+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		done += n
	}
	if p.backing == 0 && len(b) > 0 {
		return p.conn.Store(p.node, at, b)
	}
	return nil
}

// read reads pages, for the page cache.
func (p *pool) read(b []byte, at uint64) (int, error) {
	n, err := unix.Pread(p.fd, b, int64(at))
	return max(n, 0), err
}
