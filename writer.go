package kdbus

import (
	"context"
	"sync"
)

// This file is the way out. Whoever sends while nobody else does writes to the socket itself,
// which is nearly always so. Who comes while somebody is writing leaves the message in a queue
// and goes; the writer takes the whole queue with its next write. Only when the socket is full
// does a goroutine of its own wait for it. A queue that is full makes senders wait: memory is
// bounded, and order is that of sending.

const (
	// maxQueued is how many bytes may wait before senders have to.
	maxQueued = 1 << 20
	// maxRounds is how often a sender writes what others left before a goroutine takes over.
	maxRounds = 8
)

// writer owns the sending side of a socket.
type writer struct {
	socket *socket

	mu    sync.Mutex
	busy  bool  // somebody writes, and will look at queue when done
	err   error // after which nothing is written
	queue batch
	spare batch         // empty, for its memory
	room  chan struct{} // closed when the queue was taken; nil if nobody waits for that
	idle  chan struct{} // closed when nothing is left to write; nil if nobody waits for that
}

// batch is a run of messages.
type batch struct {
	data  []byte
	marks []mark
}

// mark says that descriptors go out with the byte at a position in a batch.
type mark struct {
	at  int
	fds []int
}

// send writes the message head+body or leaves it to be written. It takes over fds in any
// case, and needs the bytes no longer when it returns.
func (w *writer) send(ctx context.Context, head, body []byte, fds []int) error {
	w.mu.Lock()
	for w.busy && w.err == nil && len(w.queue.data) > maxQueued {
		if err := w.waitForRoom(ctx); err != nil {
			w.mu.Unlock()
			closeFDs(fds)
			return err
		}
	}
	if w.err != nil {
		defer w.mu.Unlock()
		closeFDs(fds)
		return w.err
	}
	if w.busy {
		w.queue.add(head, body, fds)
		w.mu.Unlock()
		return nil
	}
	w.busy = true
	w.mu.Unlock()
	n, err := w.socket.send(head, body, fds)
	var rest batch
	if n > 0 || err != nil {
		closeFDs(fds)
		fds = nil
	}
	if err == nil && n < len(head)+len(body) {
		if n < len(head) {
			rest.add(head[n:], body, fds)
		} else {
			rest.add(body[n-len(head):], nil, nil)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drain(rest, err)
	return err
}

// add appends a message, or the rest of one.
func (b *batch) add(head, body []byte, fds []int) {
	if len(fds) > 0 {
		b.marks = append(b.marks, mark{len(b.data), append([]int(nil), fds...)})
	}
	b.data = append(append(b.data, head...), body...)
}

// drain ends a sender's turn: it writes what is left and what others have queued, or has a
// goroutine do it. It is called with the lock held by the one who is busy.
func (w *writer) drain(rest batch, err error) {
	for rounds := 0; err == nil; rounds++ {
		if len(rest.data) > 0 || rounds == maxRounds {
			go w.flush(rest)
			return
		}
		if len(w.queue.data) == 0 {
			w.rest(nil)
			return
		}
		rest = w.take()
		w.mu.Unlock()
		err = w.write(&rest)
		w.mu.Lock()
	}
	rest.drop()
	w.rest(err)
}

// flush writes rest and then all that is queued, waiting for the socket.
func (w *writer) flush(rest batch) {
	var err error
	for {
		for len(rest.data) > 0 && err == nil {
			if err = w.socket.waitWritable(); err == nil {
				err = w.write(&rest)
			}
		}
		w.mu.Lock()
		if err != nil || len(w.queue.data) == 0 {
			rest.drop()
			w.rest(err)
			w.mu.Unlock()
			return
		}
		rest = w.take()
		w.mu.Unlock()
		err = w.write(&rest)
	}
}

// take takes all that is queued. The one who is busy calls it, with the lock held.
func (w *writer) take() batch {
	taken := w.queue
	w.queue, w.spare = w.spare, batch{}
	if w.room != nil {
		close(w.room)
		w.room = nil
	}
	return taken
}

// write writes as much of b as the socket takes, and leaves the rest in it. Descriptors go out
// at the beginning of a write, so a write ends before the next ones.
func (w *writer) write(b *batch) error {
	whole := b.data
	for len(b.data) > 0 {
		var fds []int
		end := len(b.data)
		for _, m := range b.marks {
			if m.at > 0 {
				end = m.at
				break
			}
			fds = m.fds
		}
		n, err := w.socket.send(b.data[:end], nil, fds)
		if err != nil || n == 0 {
			return err
		}
		if fds != nil {
			closeFDs(fds)
			b.marks = b.marks[1:]
		}
		b.data = b.data[n:]
		for i := range b.marks {
			b.marks[i].at -= n
		}
	}
	w.mu.Lock()
	if cap(whole) <= 64<<10 {
		w.spare = batch{data: whole[:0]}
	}
	w.mu.Unlock()
	b.data = nil
	return nil
}

// drop closes the descriptors of what will not be written.
func (b *batch) drop() {
	for _, m := range b.marks {
		closeFDs(m.fds)
	}
	b.data, b.marks = nil, nil
}

// rest ends the turn of the one who is busy: nothing is left, or nothing more can be written.
func (w *writer) rest(err error) {
	w.busy = false
	if err != nil {
		w.fail(err)
	}
	w.wake()
}

// fail makes err the result of everything sent from now on.
func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.queue.drop()
}

// wake wakes all who wait for a change.
func (w *writer) wake() {
	for _, c := range [...]*chan struct{}{&w.room, &w.idle} {
		if *c != nil {
			close(*c)
			*c = nil
		}
	}
}

// stop makes sending fail with err. What was being written goes on until the socket is closed.
func (w *writer) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(err)
	w.wake()
}

// waitForRoom waits, without the lock, until the queue was taken.
func (w *writer) waitForRoom(ctx context.Context) error { return w.wait(ctx, &w.room) }

// waitIdle waits until everything sent so far is with the kernel.
func (w *writer) waitIdle(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy && w.err == nil {
		if err := w.wait(ctx, &w.idle); err != nil {
			return err
		}
	}
	return w.err
}

func (w *writer) wait(ctx context.Context, c *chan struct{}) error {
	if *c == nil {
		*c = make(chan struct{})
	}
	woken := *c
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
