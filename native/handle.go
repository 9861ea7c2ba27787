package native

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// Handle is a connection whose commands are not in frames: each is given by a call of Exec, as one to kdbus's files is by
// ioctl(2), and takes what comes out of a pool. It runs the same commands as a peer at a socket.
//
// All methods are safe for concurrent use. Commands of one handle run one at a time, but for those that wait for a reply.
type Handle struct {
	conn   conn
	config HandleConfig

	turn     sync.Mutex // held while a command runs. The caller's memory is not touched meanwhile
	exchange *Exchange  // of the command that runs
	tag      uint64     // of the last synchronous call
	leave    func()     // ends what was made; nil for nothing

	inbox  inbox
	joined atomic.Bool // for who has not the turn
	gone   atomic.Bool
}

// HandleConfig describes a Handle.
type HandleConfig struct {
	// Endpoint is where it was opened, nil if that is the control file of a domain.
	Endpoint *bus.Endpoint
	// Creds and Groups are whose it is: of who has opened it, not of who uses it.
	Creds  meta.Creds
	Groups []uint32
	// Changed is called when what Poll returns may have changed. It must not wait, nor call back.
	Changed func()
}

// Exchange is one command given to a [Handle].
type Exchange struct {
	Cmd abi.Cmd
	// Frame is the command as it would be in a frame: FrameHeaderSize bytes of space, then its struct. For SEND there follow,
	// padded to a multiple of 8, the message and its payload, with offsets from the beginning of the message
	// in place of addresses; and numbers of FDs in place of descriptors. It is the handle's to keep.
	Frame []byte
	// FDs are descriptors that come with a SEND. They are the handle's from now on, whatever happens.
	FDs []int
	// Collect returns what can be known of the process that gives the command.
	Collect func(want meta.Kinds) meta.Data
	// Pool is where results go that have no place in the struct.
	Pool Pool
	// Interrupt is called when a SEND is about to wait for its reply, with what ends the waiting.
	Interrupt func(cancel func())

	// Struct is the command's struct with what was filled in: all of it is to be written back if All is set, which is so if it
	// negotiates, else the fixed part.
	Struct []byte
	All    bool

	taken *queued // what RECV has taken
}

// Pool is the memory in which who holds a [Handle] finds what it was sent: kdbus.pool(7).
type Pool interface {
	// Place copies pieces, one behind the other but for the first skip bytes, to a slice of the pool that
	// is whoever gives commands' to free, and returns where that is. The error has an errno.
	Place(pieces [][]byte, skip int) (offset uint64, err error)
	// Size returns how large the pool is, which is where something empty is said to be.
	Size() uint64
}

// Open makes a handle. It has to be closed.
func (s *Server) Open(config HandleConfig) *Handle {
	h := &Handle{config: config}
	h.conn = conn{server: s, peer: holder{h}}
	h.inbox.handle = h
	return h
}

// Exec runs a command. The error has an errno (see [Errno]).
func (h *Handle) Exec(x *Exchange) error {
	h.turn.Lock()
	h.exchange = x
	wait, err := h.exec(x)
	h.exchange = nil
	h.turn.Unlock()
	if wait != nil {
		return h.await(x, wait)
	}
	return err
}

// Errno returns the errno of an error of Exec.
func Errno(err error) syscall.Errno { return errnoOf(err) }

// exec runs a command. It returns a call if the command is answered by the reply to that. h.turn is held.
func (h *Handle) exec(x *Exchange) (wait *awaited, err error) {
	c, r := &h.conn, &request{raw: x.Frame, fds: x.FDs, owned: true}
	defer r.end(c)
	r.Cmd = x.Cmd
	size := len(x.Frame) - abi.FrameHeaderSize // at least that of the struct, as its caller has found
	if x.Cmd == abi.CmdSend {
		first, _, err := abi.CutStruct(x.Frame[abi.FrameHeaderSize:], "SEND")
		if err != nil {
			return nil, err
		}
		size = len(first)
	}
	x.Struct = append([]byte(nil), x.Frame[abi.FrameHeaderSize:][:size]...)
	switch {
	case h.gone.Load():
		return nil, refusef(syscall.ECONNRESET, "the connection has ended")
	case x.Cmd == abi.CmdCancel:
		return nil, refusef(syscall.ENOTTY, "there is no %v: CANCEL_FD is what does that", x.Cmd)
	case x.Cmd == abi.CmdRecv || x.Cmd == abi.CmdFree:
		if c.bus == nil {
			return nil, refusef(syscall.EBADFD, "%v before HELLO", x.Cmd)
		}
		if x.Cmd == abi.CmdRecv {
			return nil, h.recv(x)
		}
		return nil, nil // the pool is not ours
	}
	var failed error
	r.place = func(infos []byte) uint64 {
		offset, err := x.Pool.Place([][]byte{infos}, 0)
		if err != nil {
			failed = err
		}
		return offset
	}
	if x.Cmd == abi.CmdSend && u64(x.Struct[offFlags:])&uint64(abi.SendSyncReply) != 0 && c.bus != nil {
		h.tag++
		r.Tag = h.tag
		wait = h.inbox.expect(r.Tag)
	}
	err = c.run(r)
	if err == nil {
		err = failed
	}
	if err == nil && r.after != nil {
		err = r.after()
	}
	if r.asked || x.Cmd != abi.CmdSend {
		copy(x.Struct, r.cmd)
	}
	x.All = r.asked
	if c.bus != nil {
		h.joined.Store(true)
		c.bus.Flush()
	}
	if wait != nil && r.later {
		return wait, nil
	}
	if wait != nil {
		h.inbox.forget(wait.tag)
	}
	switch {
	case errors.Is(err, io.EOF):
		h.end()
		return nil, nil
	case err != nil && x.Cmd == abi.CmdHello && c.bus != nil && !errors.Is(err, syscall.EBADFD):
		h.end() // one cannot join twice
	}
	return nil, err
}

// await waits for the reply to a synchronous call.
func (h *Handle) await(x *Exchange, a *awaited) error {
	cancelled := make(chan struct{})
	var once sync.Once
	if x.Interrupt != nil {
		x.Interrupt(func() { once.Do(func() { close(cancelled) }) })
	}
	select {
	case <-a.done:
	case <-cancelled:
		if h.conn.cancelCall(a.tag) {
			h.inbox.forget(a.tag)
			return refusef(syscall.EINTR, "SEND: a signal came before the reply")
		}
		<-a.done // it has come
	}
	m := a.reply
	if m == nil {
		return refusef(syscall.ECONNRESET, "SEND: the connection has ended")
	}
	defer h.conn.bus.Delivered([]*bus.Message{m})
	if n := m.Notification; n != nil {
		return failure(n)
	}
	info, err := h.place(x, m)
	if err != nil {
		return err
	}
	answer := abi.Send{Reply: info}
	answer.PutReply(x.Struct)
	return nil
}

// failure is why there is no reply.
func failure(n *bus.Notification) error {
	switch {
	case n.Reason != nil:
		return n.Reason
	case n.Kind == bus.ReplyTimeout:
		return refusef(syscall.ETIMEDOUT, "SEND: no reply came in time")
	}
	return refusef(syscall.EPIPE, "SEND: the one who was called left without a reply")
}

// Settle is called when the results of a command are in its caller's memory, or, with ok false, if they could not be put
// there, so that it has not happened: a message that was taken is in the queue again.
func (h *Handle) Settle(x *Exchange, ok bool) {
	if x.taken == nil {
		return
	}
	if ok {
		h.conn.bus.Delivered([]*bus.Message{x.taken.message})
	} else {
		h.inbox.putBack(x.taken)
	}
	x.taken = nil
}

// Connected reports whether the handle is a connection to a bus.
func (h *Handle) Connected() bool { return h.joined.Load() && !h.gone.Load() }

// Readable reports whether RECV has something to return.
func (h *Handle) Readable() bool { return h.Connected() && h.inbox.readable() }

// Close ends the handle, and what was made by it. It may be called again.
func (h *Handle) Close() {
	h.turn.Lock()
	h.end()
	leave := h.leave
	h.leave = nil
	h.turn.Unlock()
	if leave != nil {
		go leave()
	}
}

// end takes the connection off the bus. h.turn is held.
func (h *Handle) end() {
	if h.gone.Swap(true) || h.conn.bus == nil {
		return
	}
	h.conn.bus.Close()
	h.conn.bus.Flush() // so that others learn of it
	h.inbox.close()
	h.conn.server.handles.remove(h)
	h.config.Changed()
}

// holder is the peer of a handle, for its conn, and for the driver.
type holder struct{ *Handle }

func (h holder) Creds() meta.Creds       { return h.config.Creds }
func (h holder) Known() bool             { return true }
func (h holder) Endpoint() *bus.Endpoint { return h.config.Endpoint }
func (h holder) TakeLong()               {} // nobody else waits

// ConnectData implements Maker: it is the process that gives the command, as with kdbus.
func (h holder) ConnectData(want meta.Kinds) meta.Data { return h.Collect(want) }

// Collect implements peer.
func (h holder) Collect(want meta.Kinds) meta.Data {
	if h.exchange == nil || h.exchange.Collect == nil {
		return meta.Data{}
	}
	return h.exchange.Collect(want)
}

// Join implements peer.
func (h holder) Join(config bus.ConnConfig) (*bus.Conn, error) {
	config.UID = h.config.Creds.UID
	config.Receiver = &h.inbox
	config.Peer = h
	config.Groups = func() []uint32 { return h.config.Groups }
	conn, err := h.config.Endpoint.Connect(config)
	if err != nil {
		return nil, err
	}
	h.inbox.bus = conn
	if !h.conn.server.handles.add(h.Handle) {
		conn.Close()
		conn.Flush()
		return nil, refusef(syscall.ESHUTDOWN, "the endpoint is closed")
	}
	return conn, nil
}

// Settle implements peer.
func (h holder) Settle(left func()) error {
	h.leave = left
	return nil
}

// HangUp implements Maker.
func (h holder) HangUp() { go h.Close() }

// The following are what the driver tells D-Bus 1 peers.

func (h holder) Groups() ([]uint32, bool)          { return h.config.Groups, h.config.Groups != nil }
func (h holder) SecurityLabel() string             { return "" }
func (h holder) PIDFD() (int, bool)                { return -1, false }
func (h holder) Sent() (messages, bytes, f uint64) { return 0, 0, 0 }

var errNoFrames = errors.New("a handle has no frames")

func (holder) ClaimFDs(uint32) ([]int, error) { return nil, errNoFrames }
func (holder) WriteEarly([]byte) error        { return errNoFrames }

// Notify implements peer. Reports of what an endpoint refuses have no place in kdbus's files.
func (holder) Notify([]byte) error { return errNoFrames }

// handles are those of a server that are on the bus.
type handles struct {
	mu     sync.Mutex
	closed bool
	set    map[*Handle]struct{}
}

func (s *handles) add(h *Handle) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.set == nil {
		s.set = make(map[*Handle]struct{})
	}
	s.set[h] = struct{}{}
	return true
}

func (s *handles) remove(h *Handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, h)
}

// CloseHandles ends all handles, because the endpoint ends. There will be no more.
func (s *Server) CloseHandles() {
	l := &s.handles
	l.mu.Lock()
	l.closed = true
	list := make([]*Handle, 0, len(l.set))
	for h := range l.set {
		list = append(list, h)
	}
	l.mu.Unlock()
	for _, h := range list {
		h.Close()
	}
}

// String names the handle in logs.
func (h *Handle) String() string {
	return fmt.Sprintf("handle of user %d", h.config.Creds.UID)
}
