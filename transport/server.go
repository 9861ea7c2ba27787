package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/keyring"
)

// Config describes a server.
type Config struct {
	// Endpoint is the door to the bus that the server opens. Nil: there is no bus, and peers cannot Join.
	Endpoint *bus.Endpoint
	// Poller waits for the server's sockets, and is shared with other servers. It is the caller's to close. Nil: the
	// server has one of its own.
	Poller *Poller
	// Guests: the server is there for what users have made. Its peers, with those of all such servers that have the same
	// Poller, hold half of the files of this process at most, and are on accounts of their own.
	Guests bool
	// DBus1 makes the protocol of a peer that asked for no other. Nil: who does is disconnected.
	DBus1 func(*Peer) Protocol
	// Native makes the protocol of a peer that asked for kdbus. Nil: that is not on offer.
	Native func(*Peer) Protocol
	// Log gets what an administrator should know, rate-limited where peers could flood it. Nil
	// discards.
	Log *slog.Logger
	// AllowUser decides who may connect: nil, or why not, for the log. It is asked once a peer has
	// proved who it is, unless that is nobody. groups are those of the peer, the primary one
	// included, or nil if they cannot be known; it may keep the slice. It is called by a goroutine that others need,
	// too, so it must not wait. Nil admits the user of this process and root.
	AllowUser func(uid uint32, groups []uint32) error
	// AllowAnonymous lets peers in that do not say who they are.
	AllowAnonymous bool
	// Mechanisms are those by which peers may authenticate: see [Mechanisms]. Nil means EXTERNAL where
	// the kernel knows the peer and DBUS_COOKIE_SHA1 where not; and ANONYMOUS. That is
	// never on offer without AllowAnonymous.
	Mechanisms []string
	// Keyring has the cookies of this user for DBUS_COOKIE_SHA1; nil means [keyring.Own].
	Keyring *keyring.Ring
	Limits  Limits
}

// A Server serves the peers of one endpoint. Safe for concurrent use.
type Server struct {
	config Config
	poller *Poller
	limits atomic.Pointer[Limits]
	log    *slog.Logger
	blame  limiter // log lines about peers
	uid    uint32  // of this process

	// noBus is who counts excesses where there is no bus.
	noBus bus.Excesses

	*ledger    // of the poller; its lock guards what follows, too
	peers      map[*Peer]struct{}
	incomplete int
	listeners  map[*listener]struct{}
	closed     bool
	running    sync.WaitGroup // calls of Serve, and peers

	cookies func() (*keyring.Ring, error)
	names   func() []string // of the user of this process
}

// NewServer makes a server, to be ended by Shutdown.
func NewServer(config Config) (*Server, error) {
	poller := config.Poller
	if poller == nil {
		var err error
		if poller, err = NewPoller(); err != nil {
			return nil, fmt.Errorf("make a server for a bus: %w", err)
		}
	}
	s := &Server{
		poller:    poller,
		ledger:    &poller.ledger,
		config:    config,
		log:       config.Log,
		uid:       uint32(os.Getuid()),
		peers:     make(map[*Peer]struct{}),
		listeners: make(map[*listener]struct{}),
	}
	s.cookies = sync.OnceValues(s.ownKeyring)
	s.names = sync.OnceValue(s.ownNames)
	s.SetLimits(config.Limits)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if e := config.Endpoint; e == nil || !e.Custom() {
		s.excesses().Report(s.reportExcess) // once for each bus
	}
	return s, nil
}

// allowUser asks whether who has proved to be p's user may connect.
func (s *Server) allowUser(p *Peer) error {
	uid := p.creds.UID
	if decide := s.config.AllowUser; decide != nil {
		return decide(uid, p.memberships())
	}
	if uid != s.uid && uid != 0 {
		return fmt.Errorf("only user %d, who runs it, and root may", s.uid)
	}
	return nil
}

// ServeConn serves one socket that is already connected, and returns. c is closed; the server has a
// descriptor of its own. guid is what Serve takes.
func (s *Server) ServeConn(c *net.UnixConn, guid string) error {
	defer c.Close()
	fd, err := dupDescriptor(c)
	if err != nil {
		return fmt.Errorf("serve a connection: %w", err)
	}
	s.start(fd, &door{guid: guid})
	return nil
}

// door is where peers come in.
type door struct {
	guid   string // 32 hexadecimal digits
	remote bool   // the kernel does not know who they are, and passes no descriptors
	nonce  []byte // what they have to begin with, if that is not nil
}

// start makes a peer of a connected socket and watches it.
func (s *Server) start(fd int, d *door) {
	p, err := newPeer(s, fd, d)
	if err != nil {
		s.blame.warn(s.log, s.uid, "connection refused", "error", err)
		unix.Close(fd)
		return
	}
	if bus.Stuck(p.Payer()) {
		s.blame.warn(s.log, p.creds.UID, "connection refused: too many file descriptors that were sent before do not close", "uid", p.creds.UID, "account", s.accountOf(p.creds.UID))
		p.release()
		return
	}
	if s.arrive(p) {
		s.begin(p)
	}
}

// begin reads from a peer that arrive has counted.
func (s *Server) begin(p *Peer) {
	p.expectJoin()
	s.poller.register(p, &p.id)
	if err := s.poller.add(p.id, p.fd, watched); err != nil {
		p.end = err
		p.leave()
	}
}

// ErrTooManyPeers is returned by Join when the server has as many peers as it may.
var ErrTooManyPeers = errors.New("as many peers as may be on the bus are")

// completed counts a peer that has said Hello.
func (s *Server) completed(p *Peer) error {
	s.mu.Lock()
	n, limit := len(s.peers)-s.incomplete, s.limits.Load().MaxConnections
	if n >= limit {
		s.mu.Unlock()
		s.tooManyPeers(p, n, limit)
		return fmt.Errorf("%w: %s=%d", ErrTooManyPeers, limitConnections, limit)
	}
	s.incomplete--
	next := s.departed(p)
	s.mu.Unlock()
	if next != nil {
		next.server.begin(next)
	}
	return nil
}

// remove takes off a peer that has left.
func (s *Server) remove(p *Peer) {
	s.mu.Lock()
	delete(s.peers, p)
	var next *Peer
	if !p.joined {
		s.incomplete--
		next = s.departed(p)
	}
	s.uninvite()
	s.resumeAccepting()
	s.running.Done()
	s.mu.Unlock()
	if next != nil {
		next.server.begin(next)
	}
}

// hold counts n more bytes of unfinished messages of a peer, or fewer if n is negative.
func (s *Server) hold(p *Peer, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.accountOf(p.creds.UID)
	held := s.incoming[who] + n
	if limit := s.limits.Load().MaxIncomingBytes; n > 0 && held > limit {
		return s.tooMuchIncoming(p, held, limit)
	}
	p.held += n
	if held == 0 {
		delete(s.incoming, who)
	} else {
		s.incoming[who] = held
	}
	return nil
}

// Endpoint returns the door to the bus that the server opens, or nil.
func (s *Server) Endpoint() *bus.Endpoint { return s.config.Endpoint }

// UID returns the user of this process.
func (s *Server) UID() uint32 { return s.uid }

// Counts returns how many peers have said Hello and how many have not.
func (s *Server) Counts() (active, incomplete int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers) - s.incomplete, s.incomplete
}

// Shutdown closes the listeners and all connections, and returns when everything has ended or ctx
// is done.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.end(ErrServerClosed)
	}
	for p := range s.peers {
		p.HangUp()
	}
	s.turnAway()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		if s.config.Poller == nil {
			s.poller.Close()
		}
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut down the server: %w", ctx.Err())
	}
}
