package transport

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// reader is what is kept of a peer's stream between two batches: nothing, if the peer is idle.
type reader struct {
	partial []byte   // the beginning of a short message that has not arrived in full
	long    []byte   // where a longer one is being read to, instead
	got     int      // bytes of it so far
	mapping *mapping // that long is part of, or nil
	fds     []int    // descriptors that arrived and that no message has claimed yet
	timer   *time.Timer
}

// drop gives up what has not become a message; payer is on whose account it is.
func (r *reader) drop(payer bus.Payer) {
	bus.CloseDescriptors(payer, r.fds)
	if r.mapping != nil {
		r.mapping.put()
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	*r = reader{}
}

// readBatch reads once and handles the messages that are complete. It returns true when there is
// nothing left to read for now; with toEnd, only when that is certain: otherwise an event will
// tell. When the connection has ended, p.end is set.
func (p *Peer) readBatch(toEnd bool) (drained bool) {
	buf := readBuffers.Get().(*readBuffer)
	have := copy(buf.data[:], p.in.partial)
	p.in.partial = nil
	begun := have > 0 || p.in.long != nil
	target := buf.data[have:]
	if p.in.long != nil {
		target = p.in.long[p.in.got:]
	}
	n, control, err := p.receive(buf, target, begun)
	switch {
	case err == syscall.EAGAIN:
		drained = true
	case err != nil:
		p.end = err
	case p.in.long != nil:
		if p.end = p.hold(n); p.end == nil && p.in.got == len(p.in.long) {
			p.end = p.longFrame()
		}
	default:
		buf, have, p.end = p.consume(buf, have+n)
	}
	if p.conn != nil {
		p.conn.Flush()
	}
	if p.end == nil {
		if p.in.long == nil && have > 0 {
			p.in.partial = append([]byte(nil), buf.data[:have]...)
		}
		p.watchFDs()
	}
	readBuffers.Put(buf)
	p.sender.done()
	if p.sender.now.Known && p.sender.wanted.Load() == 0 {
		p.ceaseAsking()
	}
	if drained || toEnd || control || p.in.long != nil || p.in.partial != nil {
		return drained // the rest of a message is probably being written right now
	}
	// A read that was not filled has emptied the socket, unless it ended behind descriptors.
	return n < len(target)
}

// receive reads into target, at most once, without waiting. Descriptors that come along are added
// to p.in.fds; control tells of them and of anything else that came. begun tells that what comes
// continues a frame.
func (p *Peer) receive(buf *readBuffer, target []byte, begun bool) (n int, control bool, err error) {
	buf.vector.Base = unsafe.SliceData(target)
	buf.vector.SetLen(len(target))
	h := &buf.header
	*h = unix.Msghdr{Iov: &buf.vector, Iovlen: 1, Control: &buf.control[0]}
	h.SetControllen(len(buf.control))
	for {
		// The raw call: it does not wait, and telling the scheduler costs more than it takes.
		n, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(p.fd), uintptr(unsafe.Pointer(h)), unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return 0, false, errno
		}
		if control = h.Controllen > 0 || h.Flags&unix.MSG_CTRUNC != 0; control {
			if err := p.takeControl(buf, begun); err != nil {
				return 0, true, err
			}
		} else if p.sender.now.Known { // the kernel was not asked: who sent what came before says nothing
			p.sender.took(meta.Sender{}, begun)
		}
		if n == 0 {
			return 0, control, io.EOF
		}
		return int(n), control, nil
	}
}

// takeControl takes what arrived beside the bytes in buf.
func (p *Peer) takeControl(buf *readBuffer, begun bool) error {
	control, err := meta.ParseControl(buf.control[:buf.header.Controllen])
	p.in.fds = append(p.in.fds, control.FDs...)
	p.sender.took(control.Sender, begun)
	switch {
	case len(control.FDs) > 0 && bus.Stuck(p.Payer()):
		return fmt.Errorf("more than %d file descriptors that %v has sent do not close", bus.MaxClosing, p.server.accountOf(p.creds.UID))
	case err != nil:
		return fmt.Errorf("read what came beside a message: %w", err)
	case buf.header.Flags&unix.MSG_CTRUNC != 0:
		return errors.New("file descriptors were lost: this process has too many open files")
	}
	return nil
}

// A long batch to few receivers wakes them in between, every wakeEvery frames: on another processor they work on
// the beginning while the rest is handled. With more than wakeEarly receivers, as of broadcasts, that would be
// too many system calls.
const (
	wakeEvery = 16
	wakeEarly = 2
)

// consume handles all complete frames (or lines of authentication) in the first have bytes of buf,
// and moves what is left to the beginning of the buffer that it returns. That is another one if a
// frame has taken buf along.
func (p *Peer) consume(buf *readBuffer, have int) (*readBuffer, int, error) {
	rest, err := p.commands(buf.data[:have])
	if err != nil {
		return buf, 0, err
	}
	for n := 1; p.auth == nil && len(rest) >= p.protocol.HeaderSize(); n++ {
		if n%wakeEvery == 0 && p.conn != nil && p.conn.Touched() <= wakeEarly {
			p.conn.Flush()
		}
		size, err := p.protocol.FrameSize(rest)
		if err != nil {
			return buf, 0, err
		}
		if size > len(rest) {
			break
		}
		raw := rest[:size:size]
		rest = rest[size:]
		if size < takeAlong {
			err = p.frame(raw, false, nil)
		} else {
			// The frame takes buf along, and gives it back, perhaps before it is handled.
			taken := buf
			buf = readBuffers.Get().(*readBuffer)
			rest = buf.data[:copy(buf.data[:], rest)]
			err = p.frame(raw, true, func() { readBuffers.Put(taken) })
		}
		if err != nil {
			return buf, 0, err
		}
	}
	if err := p.checkFDs(len(rest) > 0); err != nil {
		return buf, 0, err
	}
	if p.auth == nil && len(rest) >= p.protocol.HeaderSize() {
		if size, _ := p.protocol.FrameSize(rest); size > maxPartial {
			return buf, 0, p.startLong(rest, size)
		}
	}
	return buf, copy(buf.data[:], rest), nil
}

// frame has the protocol handle a frame.
func (p *Peer) frame(raw []byte, owned bool, free func()) error {
	p.stats.messages.Add(1)
	p.stats.bytes.Add(uint64(len(raw)))
	err := p.protocol.Frame(raw, owned, free)
	p.sender.next()
	return err
}

// commands handles the complete lines of authentication that b begins with, and returns what
// follows them.
func (p *Peer) commands(b []byte) ([]byte, error) {
	if p.remote != nil && p.remote.nonce != nil {
		rest, err := p.checkNonce(b)
		if err != nil || p.remote.nonce != nil {
			return b, err
		}
		b = rest
	}
	for p.auth != nil && len(b) > 0 {
		n, err := p.authenticate(b)
		if err != nil || n == 0 {
			return b, err
		}
		b = b[n:]
	}
	return b, nil
}

// maxPartial is the size from which a message that arrives in pieces is read to memory of its own.
// The beginning of a shorter one is copied with each piece.
const maxPartial = 4 << 10

// startLong begins to read a message to memory of its own.
func (p *Peer) startLong(beginning []byte, size int) error {
	if size < takeAlong {
		p.in.long = make([]byte, size)
	} else {
		m, err := takeMapping(size)
		if err != nil {
			return fmt.Errorf("get memory for a message of %d bytes: %w", size, err)
		}
		p.in.mapping, p.in.long = m, m.data[:size:size]
	}
	return p.hold(copy(p.in.long, beginning))
}

// hold notes that n more bytes of the long message have arrived.
func (p *Peer) hold(n int) error {
	if err := p.server.hold(p, n); err != nil {
		return err
	}
	p.in.got += n
	return nil
}

// longFrame handles the frame in p.in.long, which is complete.
func (p *Peer) longFrame() error {
	raw, m := p.in.long, p.in.mapping
	p.server.hold(p, -p.in.got)
	p.in.long, p.in.mapping, p.in.got = nil, nil, 0
	var free func()
	if m != nil {
		free = m.put
	}
	if err := p.frame(raw, true, free); err != nil {
		return err
	}
	return p.checkFDs(false)
}

// checkFDs judges the descriptors that no message has claimed.
func (p *Peer) checkFDs(incomplete bool) error {
	switch n := len(p.in.fds); {
	case n == 0:
	case p.auth != nil || !p.takesFDs && !p.native:
		bus.CloseDescriptors(p.Payer(), p.in.fds)
		p.in.fds = nil
	case n > p.protocol.MaxFDs():
		return &LimitError{Limit: limitMessageFDs, Amount: int64(n), Max: int64(p.protocol.MaxFDs()),
			Reason: fmt.Sprintf("%d file descriptors came with a message", n)}
	case incomplete && n > p.server.limits.Load().MaxIncomingFDs:
		return &LimitError{Limit: limitIncomingFDs, Amount: int64(n), Max: int64(p.server.limits.Load().MaxIncomingFDs),
			Reason: fmt.Sprintf("%d file descriptors wait for the rest of their messages", n)}
	case !incomplete:
		return fmt.Errorf("%d file descriptors came that belong to no message", n)
	}
	return nil
}

// watchFDs sees to it that descriptors do not wait for ever for the rest of their message.
func (p *Peer) watchFDs() {
	switch {
	case len(p.in.fds) > 0 && p.in.timer == nil:
		timeout, conn := p.server.limits.Load().PendingFDTimeout, p.conn
		p.in.timer = time.AfterFunc(timeout, func() {
			p.late(limitPendingFDs, timeout, p.creds, conn, "sent file descriptors without their message")
			p.HangUp()
		})
	case len(p.in.fds) == 0 && p.in.timer != nil:
		p.in.timer.Stop()
		p.in.timer = nil
	}
}

// ClaimFDs takes the n oldest descriptors that have arrived for the frame at hand; they are the
// caller's from now on. It is for the Protocol, in Frame.
func (p *Peer) ClaimFDs(n uint32) ([]int, error) {
	if n == 0 {
		return nil, nil
	}
	if int64(n) > int64(len(p.in.fds)) {
		return nil, fmt.Errorf("a message should come with %d file descriptors, but %d have arrived", n, len(p.in.fds))
	}
	fds := p.in.fds[:n:n]
	if p.in.fds = p.in.fds[n:]; len(p.in.fds) == 0 {
		p.in.fds = nil
	}
	p.stats.fds.Add(uint64(n))
	return fds, nil
}

// authenticate feeds the authentication and returns how many bytes it took.
func (p *Peer) authenticate(in []byte) (int, error) {
	n, out, err := p.auth.feed(in)
	if refusal := p.auth.refusal; refusal != nil {
		p.auth.refusal = nil
		p.server.blame.warn(p.server.log, p.creds.UID, "cannot authenticate a peer by cookies", "reason", refusal)
	}
	if len(out) > 0 {
		if writeErr := p.WriteEarly(out); writeErr != nil {
			return n, fmt.Errorf("answer during authentication: %w", writeErr)
		}
	}
	if err != nil {
		return n, err
	}
	if p.auth.done() {
		p.takesFDs, p.native = p.auth.unixFD, p.auth.native
		p.known = !p.auth.identity.Anonymous
		if p.remote != nil && p.known {
			p.creds.UID = p.auth.identity.UID
			if err := p.lookUpGroups(); err != nil {
				p.server.blame.warn(p.server.log, p.creds.UID, "the groups of a user are not known", "uid", p.creds.UID, "error", err)
			}
		}
		p.auth = nil
		if err := p.admit(); err != nil {
			return n, err
		}
		switch {
		case p.native:
			p.protocol = p.server.config.Native(p)
		case p.server.config.DBus1 == nil:
			return n, errNativeOnly
		default:
			p.protocol = p.server.config.DBus1(p)
		}
	}
	return n, nil
}

// errNativeOnly is why a peer of D-Bus 1 is disconnected where there is no bus.
var errNativeOnly = errors.New("this socket is not that of a bus: what it takes are commands of kdbus")

// admit asks whether the peer, which has proved who it is, may connect.
func (p *Peer) admit() error {
	if !p.known {
		return nil
	}
	if err := p.server.allowUser(p); err != nil {
		return fmt.Errorf("user %d may not use this bus: %w", p.creds.UID, err)
	}
	return nil
}
