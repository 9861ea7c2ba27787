package kdbus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/wire"
)

// handlers runs the methods of exported objects, in a few goroutines that are started when
// there is work for them and then stay. The goroutine that receives leaves calls in a queue, and
// never waits.
//
// As soon as a call has a priority, and until none waits, calls wait in ranked, and in the queue there is
// a nil for each of them.
type handlers struct {
	conn    *Conn
	queue   chan *Message // which only add puts something into
	max     int
	stopped atomic.Bool
	workers sync.WaitGroup

	mu      sync.Mutex
	running int
	free    int // workers with nothing to do, and nothing in the queue meant for them
	backlog int // calls in the queue for which there was no worker
	ranked  ranked
}

func (h *handlers) init(c *Conn, d *Dialer) {
	h.conn, h.max = c, d.Handlers
	if h.max <= 0 {
		h.max = defaultHandlers
	}
	size := d.QueuedCalls
	if size <= 0 {
		size = defaultQueuedCalls
	}
	h.queue = make(chan *Message, size)
}

// add has a call handled, or refuses it if too many wait.
func (h *handlers) add(m *Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped.Load() {
		m.discard() // its caller is told by the bus, at the latest when the connection ends
		return
	}
	if len(h.queue) == cap(h.queue) {
		h.refuse(m)
		return
	}
	if m.priority != 0 || h.ranked.Len() > 0 {
		h.rank(m)
		m = nil
	}
	h.queue <- m
	switch {
	case h.free > 0:
		h.free--
	case h.running < h.max:
		h.running++
		h.workers.Go(h.work)
	default:
		h.backlog++
	}
}

// rank puts m among the calls that wait by priority, with those in the queue. h.mu is held.
func (h *handlers) rank(m *Message) {
	if h.ranked.Len() == 0 {
		for queued := h.queued(); queued != nil; queued = h.queued() {
			h.ranked.add(queued)
		}
		for range h.ranked.Len() {
			h.queue <- nil
		}
	}
	h.ranked.add(m)
}

// queued returns the first call in the queue, or nil if there is none.
func (h *handlers) queued() *Message {
	select {
	case m := <-h.queue:
		return m
	default:
		return nil
	}
}

// next returns the call to be handled when m has come out of the queue.
func (h *handlers) next(m *Message) *Message {
	if m != nil {
		return m
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ranked.take()
}

// refuse answers a call that nobody will handle. The goroutine that receives must not wait for
// room to answer, so there is no answer when the way out is full too.
func (h *handlers) refuse(m *Message) {
	h.conn.answer(ended, m, nil, &Error{Name: ErrLimitsExceeded.Name,
		Message: fmt.Sprintf("%d calls already wait to be handled", cap(h.queue))})
	m.discard()
}

// work handles calls until there will be no more.
func (h *handlers) work() {
	for m := range h.queue {
		m = h.next(m)
		if h.stopped.Load() {
			m.discard()
			continue
		}
		h.conn.handle(m)
		h.mu.Lock()
		if h.backlog > 0 {
			h.backlog--
		} else {
			h.free++
		}
		h.mu.Unlock()
	}
}

// stop refuses further calls and waits for those that are being handled.
func (h *handlers) stop() {
	h.mu.Lock()
	if !h.stopped.Swap(true) {
		close(h.queue)
	}
	h.mu.Unlock()
	h.workers.Wait()
}

// handle calls the method that m calls, and answers.
func (c *Conn) handle(m *Message) {
	method, err := c.objects.find(m)
	if err != nil {
		c.answer(context.Background(), m, nil, err)
		m.discard()
		return
	}
	results, err := method.invoke(c.ctx, c, m)
	c.answer(context.Background(), m, method, err, results...)
	closeFiles(results)
	if !method.keepsMessage {
		m.discard() // with files the method was not given
	}
}

// answer answers a call with results or, if err is not nil, with an error.
func (c *Conn) answer(ctx context.Context, call *Message, method *method, err error, results ...any) {
	if call.header.Flags&NoReplyExpected != 0 {
		return
	}
	if err == nil {
		if err = c.reply(ctx, call, wire.TypeMethodReturn, "", method.out, results); err == nil {
			return
		}
		err = fmt.Errorf("the method %s has answered what cannot be sent: %w", call.header.Member, err)
	}
	e := asError(err)
	// If that cannot be sent, the connection is lost, and the caller is told by the bus.
	if c.reply(ctx, call, wire.TypeError, e.Name, "", slices.Concat([]any{e.Message}, e.Body)) != nil {
		_ = c.reply(ctx, call, wire.TypeError, e.Name, "s", []any{e.Message})
	}
}

func (c *Conn) reply(ctx context.Context, call *Message, typ Type, errorName, signature string, values []any) error {
	m := newOutgoing(typ)
	h := &m.header
	h.Destination, h.ReplySerial, h.ErrorName, h.Flags = call.header.Sender, call.header.Serial, errorName, NoReplyExpected
	if err := m.setBody(signature, values); err != nil {
		m.release()
		return err
	}
	return c.send(ctx, m)
}
