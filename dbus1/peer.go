package dbus1

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/wire"
)

// peer is one connected program. One goroutine, in run, drives it: it alone touches the fields of reading and
// dispatching. The socket is also written to by the goroutines of those who send to the peer; it is closed when
// the last of them lets go of it.
type peer struct {
	server *Server
	file   *os.File
	raw    syscall.RawConn
	fd     int
	users  atomic.Int32 // of file: run and whoever writes

	creds    meta.Creds
	known    bool        // creds are the peer's: it is not anonymous
	auth     *sasl       // nil once the peer is authenticated
	deadline *time.Timer // for saying Hello; nil afterwards
	takesFDs bool
	conn     *bus.Conn // nil before Hello
	name     string    // the unique name, once there is conn
	complete bool      // it has said Hello, and the server has counted it

	in     reader
	header wire.Header  // of the message being handled
	view   matchMessage // the same, for match rules
	end    error        // why reading ended

	stats traffic
}

// traffic counts what a peer sent; atomic, since others may ask.
type traffic struct {
	messages, bytes, fds atomic.Uint64
}

func newPeer(s *Server, file *os.File, guid string) (*peer, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &peer{server: s, file: file, raw: raw}
	p.users.Store(1)
	var credsErr error
	if err := raw.Control(func(fd uintptr) {
		p.fd = int(fd)
		p.creds, credsErr = meta.Socket(fd).Creds()
	}); err != nil {
		return nil, err
	}
	if credsErr != nil {
		return nil, credsErr
	}
	p.auth = newSASL(saslConfig{
		ServerGUID: guid,
		External:   true,
		Anonymous:  s.config.AllowAnonymous,
		UnixFD:     true,
	}, p.creds.UID, true)
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
		p.file.Close()
	}
}

// hangUp ends the connection, from any goroutine: reading and writing fail from now on.
func (p *peer) hangUp() {
	if p.acquire() {
		unix.Shutdown(p.fd, unix.SHUT_RDWR)
		p.release()
	}
}

// run drives the peer until it has left.
func (p *peer) run() {
	p.deadline = time.AfterFunc(p.server.limits.AuthTimeout, func() {
		p.server.blame.warn(p.server.log, "disconnecting a peer that has not said Hello in time",
			"pid", p.creds.PID, "uid", p.creds.UID, "auth_timeout", p.server.limits.AuthTimeout)
		p.hangUp()
	})
	// One call of Read lasts as long as the connection: it waits whenever readable returns false, and, other than
	// several calls would, never loses a wake-up.
	if err := p.raw.Read(p.readable); err != nil && p.end == nil {
		p.end = err
	}
	p.leave()
}

// leave takes the peer off the bus.
func (p *peer) leave() {
	unix.Shutdown(p.fd, unix.SHUT_RDWR)
	if p.deadline != nil {
		p.deadline.Stop()
	}
	if p.end != nil && !errors.Is(p.end, io.EOF) && !errors.Is(p.end, syscall.ECONNRESET) && !errors.Is(p.end, syscall.EPIPE) {
		p.server.blame.warn(p.server.log, "disconnecting a peer", "reason", p.end, "name", p.name, "pid", p.creds.PID, "uid", p.creds.UID)
	}
	p.in.drop()
	if p.conn != nil {
		p.conn.Close()
		p.conn.Flush()
	}
	p.server.remove(p, p.complete)
	p.release()
}

// String describes the peer to people.
func (p *peer) String() string {
	if p.name == "" {
		return fmt.Sprintf("pid=%d uid=%d", p.creds.PID, p.creds.UID)
	}
	return fmt.Sprintf("%s pid=%d uid=%d", p.name, p.creds.PID, p.creds.UID)
}
