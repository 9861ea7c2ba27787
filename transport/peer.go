package transport

import (
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// Peer is one connected program. Whoever has the turn reads from it and has its Protocol handle what
// was read: that goroutine alone touches the fields in question. The socket is also written to by
// the goroutines of those who send to the peer; it is closed when the last of them lets go of it.
//
// It is the bus.Receiver of its connection.
type Peer struct {
	server *Server
	id     uint64 // for the poller
	fd     int
	users  atomic.Int32 // of fd: the reader and whoever writes
	turn   turn
	worker *worker // who has the turn, if that is one

	creds    meta.Creds
	remote   *remote     // nil if the kernel knows whose the socket is; else creds are what was proved
	known    bool        // creds are the peer's: it is not anonymous
	takesFDs bool        // as negotiated
	native   bool        // it asked for kdbus
	joined   bool        // it is on the bus, and the server has counted it
	auth     *sasl       // nil once the peer is authenticated
	deadline *time.Timer // for joining; nil afterwards
	protocol Protocol    // nil before the peer is authenticated
	conn     *bus.Conn   // nil before Join
	left     func()      // set by Settle

	in     reader
	out    writer
	sender sender
	end    error // why reading ended

	stats traffic

	account account // on whose the peer was when it was accepted
	counted bool    // it is no arrival any more; guarded by Server.mu
	held    int     // bytes of a long message, of Server.incoming; guarded by Server.mu
}

// traffic counts what a peer sent; atomic, since others may ask.
type traffic struct {
	messages, bytes, fds atomic.Uint64
}

// newPeer makes a peer of a connected socket, which it owns unless there is an error.
func newPeer(s *Server, fd int, d *door) (*Peer, error) {
	p := &Peer{server: s, fd: fd, creds: nobody}
	if d.remote {
		p.remote = &remote{nonce: d.nonce}
		if err := tuneRemote(fd); err != nil {
			return nil, err
		}
	} else {
		var err error
		if p.creds, err = meta.Socket(fd).Creds(); err != nil {
			return nil, err
		}
	}
	p.users.Store(1)
	p.auth = newSASL(p.offers(d.guid), p.creds.UID, !d.remote)
	return p, nil
}

// Server returns the server that the peer is connected to.
func (p *Peer) Server() *Server { return p.server }

// Conn returns the peer's connection, or nil before Join. It is for the Protocol.
func (p *Peer) Conn() *bus.Conn { return p.conn }

// Payer returns on whose account the descriptors are that the peer sends. It is for the Protocol.
func (p *Peer) Payer() bus.Payer {
	switch e := p.server.config.Endpoint; {
	case p.conn != nil:
		return p.conn.Payer()
	case e != nil:
		return e.Payer(p.creds.UID)
	default:
		return bus.PayerOf(p.creds.UID)
	}
}

// TakesFDs reports whether the peer can be sent file descriptors, as it said while authenticating.
func (p *Peer) TakesFDs() bool { return p.takesFDs }

// Sent returns how many messages the peer has sent, how many bytes they were, and how many file
// descriptors. Safe for concurrent use.
func (p *Peer) Sent() (messages, bytes, fds uint64) {
	return p.stats.messages.Load(), p.stats.bytes.Load(), p.stats.fds.Load()
}

// Join gives the peer a connection to the bus. The config's UID, Receiver, Peer and Anonymous, and what may be
// asked about the process that connected, are filled in. The Protocol goes on to greet its peer, by
// [bus.Conn.Deliver], and then makes it visible to others, by [bus.Conn.Hello].
//
// When it is the server that has too many peers, the error is ErrTooManyPeers. The peer may try
// again.
func (p *Peer) Join(config bus.ConnConfig) (*bus.Conn, error) {
	config.UID = p.creds.UID
	config.Receiver = p
	config.Peer = p
	config.Anonymous = !p.known
	config.Groups = p.memberships
	config.Collect = func(want meta.Kinds) meta.Data { return p.connectData(want &^ meta.KindCmdline) }
	conn, err := p.server.config.Endpoint.Connect(config)
	if err != nil {
		return nil, err
	}
	p.conn = conn // before others can find it among the peers
	if err := p.server.completed(p); err != nil {
		p.conn = nil
		conn.Close()
		return nil, err
	}
	p.settled()
	return conn, nil
}

// settled notes that the server has counted the peer as one that stays.
func (p *Peer) settled() {
	p.joined = true
	p.deadline.Stop()
	p.deadline = nil
}

// Settle lets the peer stay without a connection to the bus: it is not expected to Join any more. It is for the Protocol,
// in Frame. When the peer has gone, left is called, once, by a goroutine that may take its time. The error is
// ErrTooManyPeers; left is not called then.
func (p *Peer) Settle(left func()) error {
	if err := p.server.completed(p); err != nil {
		return err
	}
	p.settled()
	p.left = left
	return nil
}

// WriteEarly writes to a peer that has not joined. Such answers are few and short: a socket
// that has no space for one belongs to a peer that does not read.
func (p *Peer) WriteEarly(b []byte) error {
	n, err := syscall.Write(p.fd, b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// Notify writes to a peer that has settled, whole or not at all: b is short, and a socket takes what fits into
// one of its buffers at once. Any goroutine may call it, at any time.
func (p *Peer) Notify(b []byte) error {
	if !p.acquire() {
		return syscall.ENOTCONN
	}
	defer p.release()
	return p.WriteEarly(b)
}

// acquire takes hold of the socket; false means that it is closed.
func (p *Peer) acquire() bool {
	for {
		n := p.users.Load()
		if n == 0 {
			return false
		}
		if p.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release lets go of the socket.
func (p *Peer) release() {
	if p.users.Add(-1) == 0 {
		p.close()
	}
}

// close closes the socket, and the descriptors with what nobody has read: those can take their time.
func (p *Peer) close() {
	unix.Shutdown(p.fd, unix.SHUT_RDWR) // nothing more arrives
	if n, err := unix.IoctlGetInt(p.fd, unix.SIOCINQ); err == nil && n == 0 {
		unix.Close(p.fd)
		return
	}
	bus.CloseDescriptors(p.Payer(), []int{p.fd})
}

// HangUp ends the connection, from any goroutine: reading and writing fail from now on.
func (p *Peer) HangUp() {
	if p.acquire() {
		unix.Shutdown(p.fd, unix.SHUT_RDWR)
		p.release()
	}
}

// name is how the log calls the peer.
func (p *Peer) name() string {
	if p.conn == nil {
		return ""
	}
	return p.conn.UniqueName()
}

// expectJoin gives the peer a limited time to get onto the bus.
func (p *Peer) expectJoin() {
	timeout := p.server.limits.Load().AuthTimeout
	creds := p.creds // which authentication can change
	p.deadline = time.AfterFunc(timeout, func() {
		p.late(limitAuthTimeout, timeout, creds, nil, "has not said Hello in time")
		p.HangUp()
	})
}

// ready implements socket.
func (p *Peer) ready(events uint32, by *worker) (started bool) {
	if events&(unix.EPOLLOUT|hungUp) != 0 {
		started = p.writable()
	}
	news := uint32(turnNews)
	if events&hungUp != 0 {
		news |= turnHangUp
	}
	if events&(unix.EPOLLIN|hungUp) == 0 || !p.turn.take(news) {
		return started
	}
	p.worker = by
	if p.read(readsPerTurn) {
		return started
	}
	go func() {
		p.worker = nil
		for !p.read(readsPerTurn) {
			runtime.Gosched()
		}
	}()
	return true
}

// TakeLong says that what follows may take long, or wait for something that a peer can delay. If the
// goroutine is one that others need, too, another takes its place. It is for the Protocol, in Frame.
func (p *Peer) TakeLong() {
	if p.worker != nil {
		p.worker.leave()
		p.worker = nil
	}
}

// read reads and handles frames while there are some, up to budget batches. It returns true when it
// has given the turn back or the peer has left, and false if there may be more. The caller has the
// turn.
func (p *Peer) read(budget int) (done bool) {
	for {
		toEnd := p.turn.news()&turnHangUp != 0
		for drained := false; !drained; budget-- {
			if budget == 0 {
				p.turn.take(turnNews)
				if toEnd {
					p.turn.take(turnHangUp)
				}
				return false
			}
			drained = p.readBatch(toEnd)
			if p.end != nil {
				p.leave()
				return true
			}
		}
		if p.turn.end() {
			return true
		}
	}
}

// leave takes the peer off the bus. The turn is never given back.
func (p *Peer) leave() {
	unix.Shutdown(p.fd, unix.SHUT_RDWR)
	if p.deadline != nil {
		p.deadline.Stop()
	}
	if over, ok := errors.AsType[*LimitError](p.end); ok {
		p.exceeded(over)
	} else if p.end != nil && !errors.Is(p.end, io.EOF) && !errors.Is(p.end, syscall.ECONNRESET) && !errors.Is(p.end, syscall.EPIPE) {
		p.server.blame.warn(p.server.log, p.creds.UID, "disconnecting a peer", "reason", p.end, "name", p.name(), "pid", p.creds.PID, "uid", p.creds.UID)
	}
	p.server.poller.remove(p.id)
	p.server.hold(p, -p.in.got)
	p.in.drop(p.Payer())
	p.sender.forget()
	p.stopWriting()
	if p.conn != nil {
		p.conn.Close()
		p.conn.Flush()
	}
	if p.left != nil {
		p.TakeLong()
		p.left()
	}
	p.release()
	p.server.remove(p) // lets others in, for whom there is a file descriptor now
}
