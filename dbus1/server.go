package dbus1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
)

// Limits of a server. Zero values mean the defaults, which are those of dbus-daemon's session bus unless said otherwise.
type Limits struct {
	// MaxIncompleteConnections is how many peers may be connected that have not said Hello yet. When
	// there are that many, no more are accepted until one is done or gone.
	MaxIncompleteConnections int // max_incomplete_connections, 10,000
	// AuthTimeout is how long a peer may take from connecting to Hello.
	AuthTimeout time.Duration // auth_timeout, 30 s
	// MaxConnections is how many peers may have said Hello.
	MaxConnections int // max_completed_connections, 100,000
	// MaxMessageSize is the size of the longest message taken, in bytes.
	MaxMessageSize int // max_message_size, the specification's 128 MiB
	// MaxMessageFDs is how many file descriptors a message may carry.
	MaxMessageFDs int // max_message_unix_fds, 16
	// MaxQueueBytes is how much of one user may wait for a peer that does not read.
	MaxQueueBytes int // max_outgoing_bytes, 127 MiB as on the system bus
	// MaxQueueFDs is how many file descriptors of one user may wait for a peer that does not read.
	MaxQueueFDs int // max_outgoing_unix_fds, 64
	// MaxNames is how many names a peer may own or wait for.
	MaxNames int // max_names_per_connection, 50,000
	// MaxMatchRules is how many subscriptions a peer may have.
	MaxMatchRules int // max_match_rules_per_connection, 50,000
	// MaxPendingReplies is how many calls of a peer may wait for their replies.
	MaxPendingReplies int // max_replies_per_connection, 50,000
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&l.MaxIncompleteConnections, 10_000)
	set(&l.MaxConnections, 100_000)
	set(&l.MaxMessageSize, 128<<20)
	set(&l.MaxMessageFDs, 16)
	set(&l.MaxQueueBytes, 127<<20)
	set(&l.MaxQueueFDs, 64)
	set(&l.MaxNames, 50_000)
	set(&l.MaxMatchRules, 50_000)
	set(&l.MaxPendingReplies, 50_000)
	if l.AuthTimeout == 0 {
		l.AuthTimeout = 30 * time.Second
	}
	return l
}

// Config describes a server.
type Config struct {
	// Endpoint is the door to the bus that the server opens. Its bus must have Subscriptions among its indexes.
	Endpoint *bus.Endpoint
	// Subscriptions are the match rules of the bus's D-Bus 1 peers.
	Subscriptions *Subscriptions
	// Log gets what an administrator should know, rate-limited where peers could flood it. Nil discards.
	Log *slog.Logger
	// MachineID is the answer to org.freedesktop.DBus.Peer.GetMachineId, 32 hexadecimal digits; "" if unknown.
	MachineID string
	// Reload is what ReloadConfig does; nil is nothing.
	Reload func() error
	// AllowUser decides who may connect. Nil admits the user of this process and root.
	AllowUser func(uid uint32) bool
	// AllowAnonymous lets peers in that do not say who they are.
	AllowAnonymous bool
	Limits         Limits
}

// A Server speaks D-Bus 1 to the peers of one endpoint. Safe for concurrent use.
type Server struct {
	config   Config
	limits   Limits
	bus      *bus.Bus
	busLimit bus.Limits
	subs     *Subscriptions
	log      *slog.Logger
	blame    limiter // log lines about peers
	uid      uint32  // of this process

	serial atomic.Uint32 // of statistics

	mu          sync.Mutex
	environment map[string]string // what UpdateActivationEnvironment has set
	slot        *sync.Cond        // signalled when a peer leaves or says Hello, and at Shutdown
	peers       map[*peer]struct{}
	incomplete  int
	listeners   map[*os.File]struct{}
	closed      bool
	running     sync.WaitGroup
}

// NewServer makes a server.
func NewServer(config Config) *Server {
	s := &Server{
		config:    config,
		limits:    config.Limits.withDefaults(),
		bus:       config.Endpoint.Bus(),
		subs:      config.Subscriptions,
		log:       config.Log,
		uid:       uint32(os.Getuid()),
		peers:     make(map[*peer]struct{}),
		listeners: make(map[*os.File]struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.config.AllowUser == nil {
		s.config.AllowUser = func(uid uint32) bool { return uid == s.uid || uid == 0 }
	}
	s.slot = sync.NewCond(&s.mu)
	s.busLimit = bus.Limits{
		Quota:    bus.Quota{Bytes: s.limits.MaxQueueBytes, FDs: s.limits.MaxQueueFDs},
		MaxNames: s.limits.MaxNames,
		MaxCalls: s.limits.MaxPendingReplies,
	}
	return s
}

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("dbus1: server closed")

// Serve accepts connections on l until Shutdown is called, and returns ErrServerClosed then, or what was wrong with l, which stays
// the caller's to close. guid identifies the listening address to its clients, 32 hexadecimal digits. When the process is out of
// file descriptors, Serve waits until there are some again. One server may serve several listeners.
func (s *Server) Serve(l *net.UnixListener, guid string) error {
	listener, err := dupListener(l)
	if err != nil {
		return fmt.Errorf("accept connections at %s: %w", l.Addr(), err)
	}
	defer listener.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[listener] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, listener)
		s.mu.Unlock()
	}()
	raw, err := listener.SyscallConn()
	if err != nil {
		return fmt.Errorf("accept connections at %s: %w", l.Addr(), err)
	}
	for {
		if !s.awaitSlot() {
			return ErrServerClosed
		}
		fd, err := accept(raw)
		switch {
		case err == nil:
			s.start(os.NewFile(uintptr(fd), "D-Bus connection"), guid)
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			s.blame.warn(s.log, "not accepting connections until a peer leaves: out of resources", "error", err, "address", l.Addr())
			if !s.awaitLeave() {
				return ErrServerClosed
			}
		case errors.Is(err, syscall.ECONNABORTED):
		case s.isClosed():
			return ErrServerClosed
		default:
			return fmt.Errorf("accept connections at %s: %w", l.Addr(), err)
		}
	}
}

// dupListener returns the listening socket as a file, which, other than a net.Listener, lets itself be waited for.
func dupListener(l *net.UnixListener) (*os.File, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	var dup int
	var dupErr error
	if err := raw.Control(func(fd uintptr) { dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, dupErr
	}
	return os.NewFile(uintptr(dup), "D-Bus listener"), nil
}

// accept waits for a connection. Its descriptor does not block and is closed on exec.
func accept(raw syscall.RawConn) (fd int, err error) {
	waitErr := raw.Read(func(listener uintptr) bool {
		for {
			fd, _, err = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	})
	if waitErr != nil {
		return -1, waitErr
	}
	return fd, err
}

// ServeConn serves one socket that is already connected, and returns. The server closes it. guid is what Serve takes.
func (s *Server) ServeConn(c *net.UnixConn, guid string) error {
	file, err := c.File()
	c.Close()
	if err != nil {
		return fmt.Errorf("serve a connection: %w", err)
	}
	if err := unix.SetNonblock(int(file.Fd()), true); err != nil {
		file.Close()
		return fmt.Errorf("serve a connection: %w", err)
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	file.Close()
	if err != nil {
		return fmt.Errorf("serve a connection: %w", err)
	}
	s.start(os.NewFile(uintptr(fd), "D-Bus connection"), guid)
	return nil
}

// awaitSlot waits until another peer may connect; false means that the server is closed.
func (s *Server) awaitSlot() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.incomplete >= s.limits.MaxIncompleteConnections && !s.closed {
		s.log.Warn("not accepting connections until those that are being set up are done",
			"waiting", s.incomplete, "max_incomplete_connections", s.limits.MaxIncompleteConnections)
	}
	for s.incomplete >= s.limits.MaxIncompleteConnections && !s.closed {
		s.slot.Wait()
	}
	return !s.closed
}

// outOfFilesRetry is how long to wait for file descriptors if no peer leaves: others of this process may free some.
const outOfFilesRetry = time.Second

// awaitLeave waits until a peer has left or some time has passed; false means that the server is closed.
func (s *Server) awaitLeave() bool {
	var expired atomic.Bool
	timer := time.AfterFunc(outOfFilesRetry, func() {
		expired.Store(true)
		s.slot.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.peers); len(s.peers) >= n && !s.closed && !expired.Load(); {
		s.slot.Wait()
	}
	return !s.closed
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// start makes a peer of a connected socket and lets it run.
func (s *Server) start(file *os.File, guid string) {
	p, err := newPeer(s, file, guid)
	if err != nil {
		s.blame.warn(s.log, "connection refused", "error", err)
		file.Close()
		return
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		p.release()
		return
	}
	s.peers[p] = struct{}{}
	s.incomplete++
	s.running.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		p.run()
	}()
}

// completed counts a peer that has said Hello.
func (s *Server) completed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.peers)-s.incomplete >= s.limits.MaxConnections {
		return errTooManyConnections
	}
	s.incomplete--
	s.slot.Broadcast()
	return nil
}

// remove takes off a peer that has left.
func (s *Server) remove(p *peer, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peers, p)
	if !complete {
		s.incomplete--
	}
	s.slot.Broadcast()
}

// counts returns how many peers have said Hello and how many have not.
func (s *Server) counts() (active, incomplete int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers) - s.incomplete, s.incomplete
}

// Shutdown closes the listeners and all connections, and returns when everything has ended or ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	for p := range s.peers {
		p.hangUp()
	}
	s.slot.Broadcast()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut down the server: %w", ctx.Err())
	}
}
