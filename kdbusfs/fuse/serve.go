package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is a mounted file system.
type Conn struct {
	dir    string
	fd     int
	helped bool // a program has mounted it for us
	others bool

	fs          FileSystem
	passthrough bool // files behind files are possible

	unmount sync.Once
	closing atomic.Bool
	ended   atomic.Bool
	users   atomic.Int32 // of fd: the reader, and whoever answers or notifies; the last one closes it

	lists   sync.Mutex
	lastDir uint64
	opened  map[uint64][]Dirent // directories

	waiting sync.Mutex
	pending map[uint64]*Pending // requests that are answered later, by their numbers

	watch watch
}

// bufferSize is the size of the buffer for a request: the kernel demands 8 KiB, and an ioctl has 16 KiB at most.
const bufferSize = 64 << 10

// reader is a goroutine that reads requests.
type reader struct {
	c       *Conn
	buffer  []byte
	out     []byte
	request Request
	busy    atomic.Uint64 // number of the request at hand if that may take long; taken if it does
}

func (c *Conn) newReader() *reader {
	return &reader{c: c, buffer: make([]byte, bufferSize), out: make([]byte, 0, 4096)}
}

// Serve answers requests until the file system is unmounted, by Unmount or by somebody else, and then closes the
// connection. It is called once.
func (c *Conn) Serve(fs FileSystem) error {
	c.fs = fs
	c.opened = make(map[uint64][]Dirent)
	c.pending = make(map[uint64]*Pending)
	c.users.Store(1)
	defer c.release()
	defer c.ended.Store(true)
	c.watch.begin(c)
	defer c.watch.end()
	first := c.newReader()
	if err := first.init(); err != nil {
		return err
	}
	c.watch.lead(first)
	return <-c.watch.done
}

// use takes hold of the connection; false means that it is closed.
func (c *Conn) use() bool {
	for {
		n := c.users.Load()
		if n == 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release lets go of it.
func (c *Conn) release() {
	if c.users.Add(-1) == 0 {
		unix.Close(c.fd)
	}
}

// read reads a request. It returns nil and no error if there are to be no more.
func (r *reader) read() ([]byte, error) {
	for {
		n, err := unix.Read(r.c.fd, r.buffer)
		switch {
		case err == unix.EINTR, err == unix.ENOENT, err == unix.EAGAIN: // ENOENT: one that was given up meanwhile
			continue
		case err == unix.ENODEV, err == unix.ECONNABORTED:
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("read a request of the kernel: %w", err)
		case n < sizeIn || int(u32(r.buffer, 0)) != n:
			return nil, fmt.Errorf("read a request of the kernel: %d bytes are none", n)
		}
		return r.buffer[:n], nil
	}
}

// init agrees with the kernel on what there is.
func (r *reader) init() error {
	b, err := r.read()
	if err != nil {
		return err
	}
	if b == nil {
		return errors.New("the file system was unmounted before it was used")
	}
	if opcode(u32(b, 4)) != opInit || len(b) < sizeIn+16 {
		return errors.New("the kernel does not begin with INIT")
	}
	in := b[sizeIn:]
	major, minor := u32(in, 0), u32(in, 4)
	if major != version || minor < oldestMinor {
		return fmt.Errorf("the kernel speaks version %d.%d of FUSE; %d.%d is needed (Linux 5.4)", major, minor, version, oldestMinor)
	}
	offered := uint64(u32(in, 12))
	if offered&initExt != 0 && len(in) >= 20 {
		offered |= uint64(u32(in, 16)) << 32
	}
	flags := offered & (initAsyncRead | initParallelDirs | initAbortError | initExt | initPassthrough)
	r.c.passthrough = flags&initPassthrough != 0
	// In the background are RELEASEs only: as many as there can be, so that none holds others up.
	const (
		maxBackground = 1 << 15
		maxWrite      = 4096
		stackDepth    = 1
	)
	out := appendU32(r.reply(), version, minorVersion, u32(in, 8), uint32(flags), maxBackground|maxBackground<<16, maxWrite, 1, 0)
	out = appendU32(out, uint32(flags>>32), stackDepth, 0, 0, 0, 0, 0, 0)
	r.request.begin(r.c, b)
	return r.c.send(out, r.request.unique, nil)
}

// reply begins an answer.
func (r *reader) reply() []byte { return append(r.out[:0], make([]byte, sizeOut)...) }

// Request is a request of the kernel.
type Request struct {
	// Caller made the system call.
	Caller
	c      *Conn
	unique uint64
	node   uint64
	state  atomic.Int32
	// interrupted is set if a signal has come that could not be heeded at once.
	interrupted atomic.Bool
}

// begin reads the header of a request.
func (q *Request) begin(c *Conn, b []byte) {
	q.c = c
	q.unique, q.node = u64(b, 8), u64(b, 16)
	q.Caller = Caller{UID: u32(b, 24), GID: u32(b, 28), TID: u32(b, 32)}
	q.state.Store(stateEasy)
	q.interrupted.Store(false)
}

// send sends an answer: b begins with space for its header. With an error nothing else is sent.
func (c *Conn) send(b []byte, unique uint64, failure error) error {
	code := uint32(0)
	if failure != nil {
		code = uint32(-int32(errnoOf(failure)))
		b = b[:sizeOut]
	}
	appendU32(b[:0], uint32(len(b)), code)
	appendU64(b[:8], unique)
	return c.write(b)
}

// write writes an answer or a notification. The kernel takes it at once.
func (c *Conn) write(b []byte) error {
	_, err := unix.Write(c.fd, b)
	for err == unix.EINTR {
		_, err = unix.Write(c.fd, b)
	}
	return err
}

// lead reads and handles requests until there are no more, or somebody else has taken over.
func (r *reader) lead() (err error, taken bool) {
	for {
		b, err := r.read()
		if err != nil || b == nil {
			return err, false
		}
		op := opcode(u32(b, 4))
		if op != opIoctl {
			r.request.begin(r.c, b)
			r.handle(op, b[sizeIn:])
		} else if r.ioctl(b) {
			return nil, true
		}
		if r.c.closing.Load() && r.c.helped {
			return nil, false
		}
	}
}

// handle answers what cannot take long.
func (r *reader) handle(op opcode, in []byte) {
	q := &r.request
	out, answered, err := r.answer(op, in)
	if answered {
		r.c.send(out, q.unique, err) // who waited may be gone
	}
}

// answer makes the answer to a request; answered is false if there is to be none.
func (r *reader) answer(op opcode, in []byte) (out []byte, answered bool, err error) {
	c, node, out := r.c, r.request.node, r.reply()
	if need := minInput(op); len(in) < need {
		return out, true, syscall.EIO
	}
	switch op {
	case opForget:
		c.fs.Forget(node, u64(in, 0))
		return out, false, nil
	case opBatchForget:
		for rest, n := in[8:], u32(in, 0); n > 0 && len(rest) >= 16; n, rest = n-1, rest[16:] {
			c.fs.Forget(u64(rest, 0), u64(rest, 8))
		}
		return out, false, nil
	case opInterrupt:
		c.interrupt(u64(in, 0))
		return out, false, nil
	case opDestroy:
		return out, true, nil
	case opLookup:
		var e Entry
		if e, err = c.fs.Lookup(node, cString(in)); err == nil {
			out = appendU64(out, e.Node, 0, 0, 0, 0) // valid for no time: buses and endpoints come and go
			out = e.Attr.append(out)
		}
	case opGetattr:
		out, err = c.attributes(out, node)
	case opSetattr:
		if u32(in, 0)&^setattrHarmless != 0 {
			return out, true, syscall.EPERM
		}
		out, err = c.attributes(out, node)
	case opOpen:
		var o Opened
		if o, err = c.fs.Open(node, r.request.Caller); err == nil {
			out = appendOpened(out, o)
		}
	case opRelease:
		c.fs.Release(node, u64(in, 0))
	case opFlush:
	case opRead:
		out, err = c.readFile(out, in)
	case opOpendir:
		out, err = c.openDirectory(out, node)
	case opReaddir:
		out, err = c.readDirectory(out, node, in)
	case opReleasedir:
		c.lists.Lock()
		delete(c.opened, u64(in, 0))
		c.lists.Unlock()
	case opStatfs:
		out = appendStatfs(out)
	case opPoll:
		wakeup := uint64(0)
		if u32(in, 16)&pollScheduleNotify != 0 {
			wakeup = u64(in, 8)
		}
		out = appendU32(out, c.fs.Poll(u64(in, 0), wakeup), 0)
	default:
		err = syscall.ENOSYS
	}
	return out, true, err
}

// minInput is how long the struct of a request is at least, in bytes.
func minInput(op opcode) int {
	switch op {
	case opForget, opBatchForget, opInterrupt, opOpen, opOpendir, opFlush, opRelease, opReleasedir:
		return 8
	case opSetattr, opLookup:
		return 1
	case opRead, opReaddir, opPoll:
		return sizePollIn
	}
	return 0
}

// cString returns the name that b begins with.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func (c *Conn) attributes(out []byte, node uint64) ([]byte, error) {
	a, err := c.fs.Getattr(node)
	if err != nil {
		return out, err
	}
	return a.append(appendU64(out, 0, 0)), nil
}

func appendOpened(out []byte, o Opened) []byte {
	var flags uint32
	switch {
	case o.Backing != 0:
		flags = openPassthrough | openDirectIO
	case o.Cached:
		flags = openKeepCache
	default:
		flags = openDirectIO
	}
	return appendU32(appendU64(out, o.Handle), flags|openNoFlush, uint32(o.Backing))
}

// appendStatfs tells df(1) that nothing takes space.
func appendStatfs(out []byte) []byte {
	const (
		blockSize  = 4096
		nameLength = 255
	)
	out = appendU64(out, 0, 0, 0, 0, 0)
	return appendU32(out, blockSize, nameLength, blockSize, 0, 0, 0, 0, 0, 0, 0)
}

// readFile reads from a file.
func (c *Conn) readFile(out, in []byte) ([]byte, error) {
	size := min(int(u32(in, 16)), directoryReadBuffer)
	start := len(out)
	out = append(out, make([]byte, size)...)
	n, err := c.fs.Read(u64(in, 0), out[start:], u64(in, 8))
	return out[:start+n], err
}
