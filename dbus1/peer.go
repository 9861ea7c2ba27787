package dbus1

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

// peer is one connected program. Whoever has the turn reads from it and dispatches what was read:
// that goroutine alone touches the fields in question. The socket is also written to by the
// goroutines of those who send to the peer; it is closed when the last of them lets go of it.
type peer struct {
	server *Server
	id     uint64 // for the poller
	fd     int
	users  atomic.Int32 // of fd: the reader and whoever writes
	turn   turn

	creds    meta.Creds
	known    bool        // creds are the peer's: it is not anonymous
	takesFDs bool        // as negotiated
	complete bool        // it has said Hello, and the server has counted it
	auth     *sasl       // nil once the peer is authenticated
	deadline *time.Timer // for saying Hello; nil afterwards
	conn     *bus.Conn   // nil before Hello
	name     string      // the unique name, once there is conn

	in  reader
	out writer
	end error // why reading ended

	stats     traffic
	peakRules int // the most match rules at a time; guarded by the lock of the bus
}

// traffic counts what a peer sent; atomic, since others may ask.
type traffic struct {
	messages, bytes, fds atomic.Uint64
}

// newPeer makes a peer of a connected socket, which it owns unless there is an error.
func newPeer(s *Server, fd int, guid string) (*peer, error) {
	creds, err := meta.Socket(fd).Creds()
	if err != nil {
		return nil, err
	}
	p := &peer{server: s, fd: fd, creds: creds}
	p.users.Store(1)
	p.auth = newSASL(saslConfig{
		ServerGUID: guid,
		External:   true,
		Anonymous:  s.config.AllowAnonymous,
		UnixFD:     true,
	}, creds.UID, true)
	return p, nil
}

// acquire takes hold of the socket; false means that it is closed.
func (p *peer) acquire() bool {
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
func (p *peer) release() {
	if p.users.Add(-1) == 0 {
		unix.Close(p.fd)
	}
}

// hangUp ends the connection, from any goroutine: reading and writing fail from now on.
func (p *peer) hangUp() {
	if p.acquire() {
		unix.Shutdown(p.fd, unix.SHUT_RDWR)
		p.release()
	}
}

// expectHello gives the peer a limited time to say Hello.
func (p *peer) expectHello() {
	p.deadline = time.AfterFunc(p.server.limits.AuthTimeout, func() {
		p.server.blame.warn(p.server.log, "disconnecting a peer that has not said Hello in time",
			"pid", p.creds.PID, "uid", p.creds.UID, "auth_timeout", p.server.limits.AuthTimeout)
		p.hangUp()
	})
}

// Wanted implements bus.Receiver. Nothing is collected here yet.
func (p *peer) Wanted(meta.Kinds) {}

// ready implements socket.
func (p *peer) ready(events uint32) (started bool) {
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
	if p.read(readsPerTurn) {
		return started
	}
	go func() {
		for !p.read(readsPerTurn) {
			runtime.Gosched()
		}
	}()
	return true
}

// read reads and dispatches while there is something, up to budget batches. It returns true when it
// has given the turn back or the peer has left, and false if there may be more. The caller has the
// turn.
func (p *peer) read(budget int) (done bool) {
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
func (p *peer) leave() {
	unix.Shutdown(p.fd, unix.SHUT_RDWR)
	if p.deadline != nil {
		p.deadline.Stop()
	}
	if p.end != nil && !errors.Is(p.end, io.EOF) && !errors.Is(p.end, syscall.ECONNRESET) && !errors.Is(p.end, syscall.EPIPE) {
		p.server.blame.warn(p.server.log, "disconnecting a peer", "reason", p.end, "name", p.name, "pid", p.creds.PID, "uid", p.creds.UID)
	}
	p.server.poller.remove(p.id)
	p.server.hold(p.creds.UID, -p.in.got)
	p.in.drop()
	p.stopWriting()
	if p.conn != nil {
		p.conn.Close()
		p.conn.Flush()
	}
	p.release()
	p.server.remove(p) // lets others in, for whom there is a file descriptor now
}
