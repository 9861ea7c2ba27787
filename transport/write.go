package transport

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
)

// Writing. The core wakes a peer in the goroutine of whoever sent something to it, which then
// writes all that is queued, many messages at a time. Only when the socket is full does a goroutine
// of the peer's own take over and wait.

const (
	maxBatch   = 128     // messages per turn
	maxVectors = 256     // pieces per system call
	maxWrite   = 1 << 20 // bytes per system call, roughly: a socket holds less
	maxFavour  = 64      // turns that a sender's goroutine takes for one receiver before it goes back to its own work
	// largeSendBuffer is the send buffer, in bytes, of a socket that a message has once not fitted
	// in. The kernel allows any process as much by default (net.core.wmem_max), and doubles it.
	largeSendBuffer = 208 << 10
)

// delivery is the state of writing to one peer, while that is going on.
type delivery struct {
	pending []*bus.Message // taken from the queue and not yet written in full
	frames  []frame        // what they are on the wire
	sent    int            // bytes of pending[0] that are written

	batch    [maxBatch]*bus.Message
	encoded  [maxBatch]frame
	used     int // of encoded
	encoding Encoding
	vectors  [maxVectors]unix.Iovec
	header   unix.Msghdr
}

// frame is one message on the wire.
type frame struct {
	pieces [][]byte // parts of Encoding.pieces
	fds    []int    // part of Encoding.fds
	size   int
}

var deliveries = sync.Pool{New: func() any { return new(delivery) }}

// writer is what is kept of a peer's output while its socket is full.
type writer struct {
	mu      sync.Mutex
	blocked *delivery // waits for space
	watched bool      // the poller watches for space
	closed  bool

	grown bool // the socket has its largeSendBuffer; for whoever delivers
}

// Wake implements bus.Receiver.
func (p *Peer) Wake() {
	d := deliveries.Get().(*delivery)
	if !p.acquire() {
		p.discard(d)
		return
	}
	if !p.proceed(d) {
		go p.proceedOn(d)
	}
}

// proceed writes until nothing is left, the socket is full, or it is somebody else's turn to use
// this goroutine, and then returns false. The caller has acquired the socket for the delivery.
func (p *Peer) proceed(d *delivery) (done bool) {
	for range maxFavour {
		switch p.write(d) {
		case writeDone:
			p.finish(d)
			return true
		case writeFailed:
			unix.Shutdown(p.fd, unix.SHUT_RDWR) // what was lost cannot be made up for; what arrived is still read
			p.release()
			p.discard(d)
			return true
		case writeBlocked:
			p.block(d)
			return true
		}
	}
	return false
}

// proceedOn is proceed in a goroutine of its own.
func (p *Peer) proceedOn(d *delivery) {
	for !p.proceed(d) {
	}
}

// block leaves the delivery to the poller, which comes back with writable.
func (p *Peer) block(d *delivery) {
	p.out.mu.Lock()
	if p.out.closed {
		p.out.mu.Unlock()
		p.release()
		p.discard(d)
		return
	}
	p.out.blocked, p.out.watched = d, true
	p.server.poller.change(p.id, p.fd, watched|unix.EPOLLOUT)
	p.out.mu.Unlock()
}

// growSendBuffer makes the send buffer of a socket largeSendBuffer bytes, unless it is larger. More
// fits in then, and the bus and the receiver take fewer turns; if it cannot be, they take more.
func growSendBuffer(fd int) {
	now, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err == nil && now < 2*largeSendBuffer {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, largeSendBuffer)
	}
}

// finish ends a delivery that wrote everything there was.
func (p *Peer) finish(d *delivery) {
	deliveries.Put(d)
	p.out.mu.Lock()
	if p.out.watched && p.out.blocked == nil && !p.out.closed {
		p.out.watched = false
		p.server.poller.change(p.id, p.fd, watched)
	}
	p.out.mu.Unlock()
	p.release()
}

// writable goes on with a delivery when there is space. It returns true if a goroutine was started
// to do so.
func (p *Peer) writable() (busy bool) {
	p.out.mu.Lock()
	d := p.out.blocked
	p.out.blocked = nil
	p.out.mu.Unlock()
	if d == nil || p.proceed(d) {
		return false
	}
	go p.proceedOn(d)
	return true
}

// stopWriting drops what waits for space, for good.
func (p *Peer) stopWriting() {
	p.out.mu.Lock()
	d := p.out.blocked
	p.out.blocked, p.out.closed = nil, true
	p.out.mu.Unlock()
	if d != nil {
		p.release()
		p.discard(d)
	}
}

// discard drops what is queued for a peer whose socket is closed. It may be the last to do so.
func (p *Peer) discard(d *delivery) {
	for {
		p.conn.Delivered(d.pending)
		if d.pending = p.conn.Dequeue(d.batch[:0]); len(d.pending) == 0 {
			break
		}
	}
	d.reset()
	deliveries.Put(d)
}

// reset forgets what was delivered.
func (d *delivery) reset() {
	clear(d.encoded[:d.used])
	d.encoding.reset()
	d.used = 0
	d.pending, d.frames, d.sent = nil, nil, 0
}

// take gets messages from the queue. It returns false if there are none.
func (p *Peer) take(d *delivery) bool {
	d.reset()
	d.pending = p.conn.Dequeue(d.batch[:0])
	e := &d.encoding
	for i, m := range d.pending {
		pieces, fds := len(e.pieces), len(e.fds)
		p.protocol.Encode(e, m)
		f := &d.encoded[i]
		f.pieces, f.fds, f.size = e.pieces[pieces:], e.fds[fds:], 0
		for _, piece := range f.pieces {
			f.size += len(piece)
		}
	}
	d.used = len(d.pending)
	d.frames = d.encoded[:d.used]
	return len(d.pending) > 0
}

type writeOutcome uint8

const (
	writeMore    writeOutcome = iota // something was written
	writeDone                        // nothing is left
	writeBlocked                     // the socket is full
	writeFailed                      // the socket is closed
)

// write makes one system call's worth of progress.
func (p *Peer) write(d *delivery) writeOutcome {
	if len(d.pending) == 0 && !p.take(d) {
		return writeDone
	}
	n, errno := p.sendmsg(d)
	switch errno {
	case 0:
		p.advance(d, n)
		if d.sent > 0 && !p.out.grown {
			p.out.grown = true
			growSendBuffer(p.fd)
		}
		return writeMore
	case syscall.EAGAIN:
		return writeBlocked
	case syscall.ETOOMANYREFS:
		// The kernel passes on no more descriptors until some are received (unix(7)). This message
		// cannot be delivered, the next may.
		p.server.blame.warn(p.server.log, p.creds.UID, "message dropped: too many file descriptors are in flight", "to", p.name(), "from", d.pending[0].Src)
		p.conn.Undeliverable(d.pending[0])
		p.delivered(d, 1)
		return writeMore
	}
	return writeFailed
}

// sendmsg writes the beginning of d.pending.
func (p *Peer) sendmsg(d *delivery) (int, syscall.Errno) {
	d.header = unix.Msghdr{Iov: &d.vectors[0]}
	count, size, skip := 0, 0, d.sent
	for i := range d.frames {
		f := &d.frames[i]
		if len(f.fds) > 0 && i > 0 || size > maxWrite {
			break // descriptors travel with the first byte of a system call
		}
		if len(f.fds) > 0 && d.sent == 0 {
			control := unix.UnixRights(f.fds...)
			d.header.Control = &control[0]
			d.header.SetControllen(len(control))
		}
		for _, piece := range f.pieces {
			if skip >= len(piece) {
				skip -= len(piece)
				continue
			}
			if count == maxVectors {
				break
			}
			v := &d.vectors[count]
			v.Base = &piece[skip]
			v.SetLen(len(piece) - skip)
			size += len(piece) - skip
			skip = 0
			count++
		}
		if count == maxVectors {
			break
		}
	}
	d.header.Iovlen = uint64(count)
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&d.header)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if errno != syscall.EINTR {
			clear(d.vectors[:count])
			d.header.Control = nil
			return int(n), errno
		}
	}
}

// advance notes that n bytes of d.pending are written.
func (p *Peer) advance(d *delivery, n int) {
	n += d.sent
	done := 0
	for done < len(d.frames) && n >= d.frames[done].size {
		n -= d.frames[done].size
		done++
	}
	p.delivered(d, done)
	d.sent = n
}

// delivered gives the first n of d.pending back.
func (p *Peer) delivered(d *delivery, n int) {
	p.conn.Delivered(d.pending[:n])
	d.pending, d.frames = d.pending[n:], d.frames[n:]
	d.sent = 0
}
