package kdbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

const (
	busName = "org.freedesktop.DBus"
	busPath = "/org/freedesktop/DBus"
)

// flushTimeout bounds how long Close waits for a bus that does not read.
const flushTimeout = 5 * time.Second

// Conn is a connection to a bus. Its methods may be called from any goroutine; the package
// comment says which goroutine runs what.
type Conn struct {
	transport transport
	registry  registry
	name      string
	serial    atomic.Uint32
	dropped   atomic.Uint64 // by the bus

	// ctx is that of the methods of exported objects.
	ctx    context.Context
	cancel context.CancelFunc
	closed sync.Once
	done   chan struct{} // closed when the connection is lost or being closed
	ended  chan struct{} // closed when nothing of it runs any more
	turn   turn
	slow   atomic.Bool // the last answer took longer than callers wait in the kernel

	mu      sync.Mutex
	err     error // why there can be no more calls
	pending map[uint32]*pendingCall
	room    chan struct{} // closed when pending has shrunk; nil if nobody waits for that

	handlers handlers
	objects  objects
	names    ownedNames
	subs     subscriptions
}

// newConn returns a connection that lacks its transport and its registry.
func newConn(d *Dialer) *Conn {
	c := &Conn{
		done:    make(chan struct{}),
		ended:   make(chan struct{}),
		pending: make(map[uint32]*pendingCall),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.handlers.init(c, d)
	return c
}

// Name returns the unique name of the connection, such as ":1.42".
func (c *Conn) Name() string { return c.name }

// Native reports whether the connection speaks the native protocol; otherwise it is D-Bus 1. The
// difference is metadata, cheap large messages, and that [Conn.Dropped] can count.
func (c *Conn) Native() bool {
	_, native := c.transport.(*frames)
	return native
}

// Dropped returns how many signals the bus did not have room for, and so dropped instead of
// sending them here. Whose they were, nobody knows. A D-Bus 1 bus does not tell: then it is 0.
func (c *Conn) Dropped() uint64 { return c.dropped.Load() }

// Done returns a channel that is closed when the connection is lost or closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended: an error that wraps [ErrClosed] or [ErrDisconnected],
// or nil while it lasts.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == ErrMonitor {
		return nil
	}
	return c.err
}

// Close ends the connection in good order. Calls that wait for an answer fail with [ErrClosed];
// methods of exported objects that are running see their context end, and Close waits for them
// and until what they answered, and all else that was sent, is with the bus. Subscriptions end.
// When Close returns, nothing of the connection runs any more, no handler and no goroutine.
//
// A method of an exported object must not call it, as it would wait for itself. Closing twice
// is fine. The error says that something sent did not reach the bus.
func (c *Conn) Close() (err error) {
	c.closed.Do(func() {
		c.refuse(ErrClosed)
		c.cancel()
		c.handlers.stop()
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		// A connection that was lost is no news: Err tells, and all who waited were told.
		if c.transport.flush(ctx); ctx.Err() != nil {
			err = fmt.Errorf("kdbus: close: the bus has read nothing for %v; what was sent last is lost", flushTimeout)
		}
		c.fail(ErrClosed)
	})
	<-c.ended
	return err
}

// refuse makes err the result of all calls, waiting and future ones.
func (c *Conn) refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil && c.err != ErrMonitor {
		return
	}
	if err != ErrMonitor {
		close(c.done)
	}
	c.err = err
	for serial, p := range c.pending {
		delete(c.pending, serial)
		p.answer <- nil
	}
	c.madeRoom()
}

// fail ends the connection at once.
func (c *Conn) fail(err error) {
	c.refuse(err)
	c.transport.stop(c.Err())
	c.transport.close()
}

// read is the goroutine that receives what no caller does.
func (c *Conn) read() {
	var lost error
	err := c.transport.await(func() bool {
		if !c.turn.takeOrKnock() {
			return false
		}
		lost = c.receive(0)
		return lost != nil
	})
	if lost == nil {
		lost = err
	}
	c.fail(explainLoss(lost))
	if c.turn.takeOrKnock() {
		_ = c.receive(0) // it drops what belongs to no message; so does who has the turn
	}
	c.cancel()
	c.names.end()
	c.subs.end(c.Err())
	c.handlers.stop()
	close(c.ended)
}

// receive routes all that is there, after waiting for some patience, and ends the turn, which its
// caller has. After an error it is nobody's any more.
func (c *Conn) receive(patience time.Duration) error {
	for {
		m, err := c.transport.receive(patience)
		switch {
		case err != nil:
			c.transport.drop()
			return err
		case m != nil:
			c.route(m)
			patience = 0
		case c.turn.end():
			return nil
		default:
			patience = 0
		}
	}
}

// patience is how long a caller waits for its answer in the kernel before it leaves receiving to
// the goroutine that is there for it. An answer that comes sooner saves two changes of goroutines.
// It is short, as the caller does not look at its context meanwhile, and keeps a processor from
// other goroutines until Go's scheduler notices; but not shorter than a tick of the kernel, as
// then the timer of the processor would have to be set, which costs more than is saved.
const patience = 5 * time.Millisecond

// exchange sends a call and waits a little for what comes, which may be the answer. It does
// nothing if that is not to be expected, if somebody else receives, or if there is no room to
// send: who waits for that must not have the turn.
func (c *Conn) exchange(m *outgoing, p *pendingCall) (sent bool) {
	if c.slow.Load() || len(m.fds) > 0 || !c.turn.take() {
		return false
	}
	c.transport.expect()
	wait := patience
	if err := c.transport.send(ended, m); err != nil {
		wait = 0
	}
	if err := c.receive(wait); err != nil {
		c.fail(explainLoss(err))
	}
	c.slow.Store(len(p.answer) == 0)
	return wait > 0
}

// ended is a context that has ended: it lets nobody wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func explainLoss(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
		return fmt.Errorf("%w: the bus hung up", ErrDisconnected)
	default:
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
}

// route hands a message to whom it is for. It runs on the goroutine that receives, whichever that
// is, and never waits.
func (c *Conn) route(m *Message) {
	if c.monitored(m) {
		return
	}
	switch m.header.Type {
	case wire.TypeMethodReturn, wire.TypeError:
		c.answered(m)
	case wire.TypeMethodCall:
		c.handlers.add(m)
	case wire.TypeSignal:
		if m.header.Sender == busName && m.header.Interface == busName {
			c.names.signal(m)
			c.subs.ownerChanged(m)
		}
		c.subs.deliver(m)
	default:
		m.discard() // the specification has receivers ignore such
	}
}

// pendingCall waits for the answer to a call.
type pendingCall struct {
	answer chan *Message // of one; nil if the connection failed
	dest   string
	hook   func(*Message)
}

var pendingCalls = sync.Pool{New: func() any { return &pendingCall{answer: make(chan *Message, 1)} }}

// answered hands an answer to the call that waits for it, if any still does.
func (c *Conn) answered(m *Message) {
	c.mu.Lock()
	p := c.pending[m.header.ReplySerial]
	if p == nil || !mayAnswer(m.header.Sender, p.dest) {
		c.mu.Unlock()
		m.discard()
		return
	}
	delete(c.pending, m.header.ReplySerial)
	c.madeRoom()
	c.mu.Unlock()
	if p.hook != nil {
		p.hook(m)
	}
	p.answer <- m
}

// mayAnswer reports whether a call to dest can be answered by sender. Some buses let through
// answers that nobody asked for; who owns a well-known name is theirs to know.
func mayAnswer(sender, dest string) bool {
	return sender == dest || sender == busName || sender == "" || dest != busName && !wire.IsUniqueName(dest)
}

// send sends m, which needs no answer, and releases it.
func (c *Conn) send(ctx context.Context, m *outgoing) error {
	defer m.release()
	m.header.Serial = c.nextSerial()
	if err := m.check(); err != nil {
		return err
	}
	return c.transport.send(ctx, m)
}

// call sends the call m, releases it, and waits for the answer. An error message is returned as
// an *Error. The hook, if there is one, is called with the answer before that, by the goroutine
// that receives: nothing that came later has been looked at then.
func (c *Conn) call(ctx context.Context, m *outgoing, hook func(*Message)) (*Message, error) {
	noAutoStart := m.header.Flags&NoAutoStart != 0
	reply, err := c.callOnce(ctx, m, hook)
	if err != nil && noAutoStart {
		err = notStarted(err)
	}
	return reply, err
}

func (c *Conn) callOnce(ctx context.Context, m *outgoing, hook func(*Message)) (*Message, error) {
	serial := c.nextSerial()
	m.header.Serial = serial
	err := m.check()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		m.release()
		return nil, err
	}
	m.deadline, _ = ctx.Deadline()
	p := pendingCalls.Get().(*pendingCall)
	p.dest, p.hook = m.header.Destination, hook
	c.mu.Lock()
	for len(c.pending) >= maxPending && c.err == nil && err == nil {
		err = c.waitForRoom(ctx)
	}
	if err == nil {
		err = c.err
	}
	if err == nil {
		c.pending[serial] = p
	}
	alone := len(c.pending) == 1
	c.mu.Unlock()
	if err != nil {
		m.release()
		return nil, err
	}
	// Of several callers none waits in the kernel: what the others have to do comes first.
	if !alone || !c.exchange(m, p) {
		err = c.transport.send(ctx, m)
	}
	m.release()
	if err != nil {
		c.forget(serial, p)
		return nil, err
	}
	return c.wait(ctx, serial, p)
}

// maxPending is how many calls of a connection may be under way; others wait. Buses refuse more:
// kdbus by its quota, and dbus-daemon has the same limit unless it is configured otherwise.
const maxPending = abi.ConnMaxRequestsPending

// waitForRoom waits until fewer calls are under way. It is called with the lock, which it gives up
// meanwhile.
func (c *Conn) waitForRoom(ctx context.Context) error {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	room := c.room
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// madeRoom wakes those who wait for room. The lock is held.
func (c *Conn) madeRoom() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// wait waits for the answer to a call that was sent.
func (c *Conn) wait(ctx context.Context, serial uint32, p *pendingCall) (*Message, error) {
	var reply *Message
	if c.slow.Load() {
		begin := time.Now()
		defer func() { c.slow.Store(time.Since(begin) > patience) }()
	}
	if done := ctx.Done(); done == nil {
		reply = <-p.answer
	} else {
		select {
		case reply = <-p.answer:
		case <-done:
			c.forget(serial, p)
			return nil, ctx.Err()
		}
	}
	*p = pendingCall{answer: p.answer}
	pendingCalls.Put(p)
	if reply == nil {
		return nil, c.Err()
	}
	if reply.header.Type == wire.TypeError {
		err := errorOf(reply)
		reply.discard()
		return nil, err
	}
	return reply, nil
}

// forget ends the wait for an answer. One that comes later is thrown away.
func (c *Conn) forget(serial uint32, p *pendingCall) {
	c.mu.Lock()
	_, waiting := c.pending[serial]
	delete(c.pending, serial)
	c.madeRoom()
	c.mu.Unlock()
	if waiting {
		c.registry.cancelCall(serial)
	} else {
		if late := <-p.answer; late != nil {
			late.discard()
		}
	}
	*p = pendingCall{answer: p.answer}
	pendingCalls.Put(p)
}

func (c *Conn) nextSerial() uint32 {
	for {
		if n := c.serial.Add(1); n != 0 {
			return n
		}
	}
}

// splitMember takes "com.example.Interface.Member" apart. Without a dot, all is the member.
func splitMember(name string) (iface, member string) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return "", name
	}
	return name[:dot], name[dot+1:]
}
