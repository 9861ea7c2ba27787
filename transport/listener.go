package transport

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("the server was shut down")

// errShutDown is why Serve ends when someone who shares the listening socket ends listening.
var errShutDown = errors.New("the listening socket was shut down")

// listener is a listening socket. It is watched for one event at a time, so that accepting pauses
// by not watching again.
type listener struct {
	server *Server
	id     uint64 // for the poller
	fd     int
	door   door
	ended  chan error // gets why accepting ended, once

	busy   sync.RWMutex // held for reading by whoever uses fd, until it is closed
	closed bool         // guarded by busy

	outOfFiles atomic.Bool // accepting failed for that the last time

	// Guarded by Server.mu.
	paused bool        // not watched until a peer leaves
	retry  *time.Timer // ends a pause for lack of file descriptors; made when first needed
}

const (
	listenerEvents = unix.EPOLLIN | unix.EPOLLONESHOT
	// acceptsPerTurn is how many connections a worker accepts before it looks after the others.
	acceptsPerTurn = 16
	// outOfFilesRetry is how long to wait for file descriptors if no peer leaves: others of this
	// process may free some.
	outOfFilesRetry = time.Second
)

// Serve accepts connections on l until Shutdown is called, and returns ErrServerClosed then, or
// what was wrong with l, a [net.UnixListener] or [net.TCPListener], which stays the caller's to close.
// guid identifies the listening address to its clients, 32 hexadecimal digits. When the process is out
// of file descriptors, accepting pauses. One server may serve several listeners.
func (s *Server) Serve(l net.Listener, guid string) error { return s.serve(l, door{guid: guid}) }

// ServeNonce is Serve for clients that have to prove, before anything else, that they have read
// the file with the nonce, which is what they send first.
func (s *Server) ServeNonce(l net.Listener, guid string, nonce [NonceSize]byte) error {
	return s.serve(l, door{guid: guid, nonce: nonce[:]})
}

func (s *Server) serve(l net.Listener, d door) error {
	d.remote = l.Addr().Network() != "unix"
	if d.nonce != nil && !d.remote {
		return fmt.Errorf("accept connections at %s: only TCP sockets have nonces", l.Addr())
	}
	fd, err := listeningDescriptor(l)
	if err != nil {
		return fmt.Errorf("accept connections at %s: %w", l.Addr(), err)
	}
	own := &listener{server: s, fd: fd, door: d, ended: make(chan error, 1)}
	defer own.close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[own] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	s.poller.register(own, &own.id)
	err = s.poller.add(own.id, fd, listenerEvents)
	if err == nil {
		err = <-own.ended
	}
	s.poller.remove(own.id)
	s.mu.Lock()
	delete(s.listeners, own)
	s.mu.Unlock()
	if errors.Is(err, ErrServerClosed) {
		return err
	}
	return fmt.Errorf("accept connections at %s: %w", l.Addr(), err)
}

// listeningDescriptor returns a descriptor of its own for a listening socket.
func listeningDescriptor(l net.Listener) (int, error) {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("a %T has no socket to accept from", l)
	}
	return dupDescriptor(socket)
}

// dupDescriptor returns a descriptor of its own for a socket of package net.
func dupDescriptor(socket syscall.Conn) (int, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1, err
	}
	var fd int
	var dupErr error
	if err := raw.Control(func(of uintptr) { fd, dupErr = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return fd, dupErr
}

// close closes the descriptor when no worker accepts from it any more.
func (l *listener) close() {
	l.busy.Lock()
	defer l.busy.Unlock()
	l.closed = true
	unix.Close(l.fd)
}

// end makes Serve return. Server.mu is held, which also keeps the descriptor open meanwhile.
func (l *listener) end(err error) {
	select {
	case l.ended <- err:
	default:
	}
}

// ready implements socket.
func (l *listener) ready(events uint32, _ *worker) (started bool) {
	l.busy.RLock()
	defer l.busy.RUnlock()
	if l.closed {
		return false
	}
	s := l.server
	if events&hungUp != 0 {
		s.mu.Lock()
		l.end(errShutDown)
		s.mu.Unlock()
		return false
	}
	for range acceptsPerTurn {
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch afterAccept(err) {
		case acceptedOne:
			l.outOfFiles.Store(false)
			s.start(fd, &l.door)
		case acceptLater:
			l.watch()
			return false
		case acceptAfterPause:
			l.pause(err)
			return false
		case acceptNoMore:
			s.mu.Lock()
			l.end(err)
			s.mu.Unlock()
			return false
		}
	}
	l.watch()
	return false
}

// acceptVerdict is what to do after an attempt to accept a connection.
type acceptVerdict uint8

const (
	acceptedOne      acceptVerdict = iota
	acceptLater                    // when the socket is readable
	acceptAfterPause               // when a peer has left, or after some time
	acceptNoMore                   // nothing will come of this socket any more
)

// afterAccept judges an error of accept(2), which tells of much that concerns only the connection that was to be accepted, or this
// moment. The bus ends when one of its sockets does, so that what is not known is no reason.
func afterAccept(err error) acceptVerdict {
	switch err {
	case nil:
		return acceptedOne
	case syscall.EAGAIN, syscall.ECONNABORTED, syscall.EINTR,
		// Of TCP: what has become of the connection before it was accepted.
		syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.ENONET, syscall.EHOSTUNREACH,
		syscall.ENETUNREACH, syscall.ETIMEDOUT, syscall.ECONNRESET:
		return acceptLater
	case syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK:
		return acceptNoMore
	}
	return acceptAfterPause // no descriptors or memory; or a security module that forbids it
}

// watch asks for the next event.
func (l *listener) watch() {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	l.watchLocked()
}

func (l *listener) watchLocked() {
	if _, serving := l.server.listeners[l]; serving {
		l.server.poller.change(l.id, l.fd, listenerEvents)
	}
}

// pause stops accepting until a peer leaves, or some time has passed.
func (l *listener) pause(err error) {
	s := l.server
	if !l.outOfFiles.Swap(true) { // every attempt would be too many lines
		s.blame.warn(s.log, s.uid, "not accepting connections until a peer leaves, or for a moment", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.paused = true
	if l.retry != nil {
		l.retry.Reset(outOfFilesRetry)
		return
	}
	l.retry = time.AfterFunc(outOfFilesRetry, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resumeAccepting()
	})
}

// resumeAccepting ends all pauses. Server.mu is held.
func (s *Server) resumeAccepting() {
	for l := range s.listeners {
		if l.paused {
			l.paused = false
			l.watchLocked()
		}
	}
}
