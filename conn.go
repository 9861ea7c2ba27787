package kdbus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
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
	serverID  string
	serial    atomic.Uint32
	dropped   atomic.Uint64 // by the bus
	refused   func(Refusal) // of an endpoint
	held      func()        // of an activator: messages wait for its name. It must not wait

	// ctx is that of the methods of exported objects.
	ctx    context.Context
	cancel context.CancelFunc
	closed sync.Once
	done   chan struct{} // closed when the connection is lost or being closed
	ended  chan struct{} // closed when nothing of it runs any more
	turn   turn
	pace   pace

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

// ServerID returns the id of the server that the connection is to, 32 hexadecimal digits in lower
// case: what the server called itself while authenticating, which is the guid of its address, if
// that has one (specification, "UUIDs"). The bus has an id of its own, which it answers GetId with.
func (c *Conn) ServerID() string { return c.serverID }

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
