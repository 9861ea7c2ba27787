package bus_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// A runner is a peer with a goroutine of its own that reads. It checks that the core keeps the contract of Receiver: a Wake whenever
// there is something to read, and only then.
type runner struct {
	*bus.Conn
	t     *testing.T
	woken chan struct{}
	done  chan struct{}
	gone  atomic.Bool // left the bus: what others flush now may come to nothing
	read  func(r *runner, m *bus.Message)

	driving sync.Mutex // held by who acts for the connection
}

// run connects a runner that calls read for every message, in one goroutine. stop ends that goroutine when it has read
// what was flushed.
func run(t *testing.T, b *testBus, read func(r *runner, m *bus.Message)) (r *runner, stop func()) {
	t.Helper()
	r = &runner{t: t, read: read, woken: make(chan struct{}, 1), done: make(chan struct{})}
	conn, err := b.Endpoint().Connect(bus.ConnConfig{UID: 1000, AcceptFDs: true, Limits: b.limits, Receiver: r, Wants: bus.PartDBus1})
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	r.Conn = conn
	var running sync.WaitGroup
	running.Go(r.loop)
	conn.Hello()
	conn.Flush()
	return r, func() {
		close(r.done)
		running.Wait()
	}
}

func (r *runner) Wanted(meta.Kinds) {}

func (r *runner) Wake() {
	select {
	case r.woken <- struct{}{}:
	default:
		if !r.gone.Load() {
			r.t.Errorf("%s was woken again before it could read", r.UniqueName())
		}
	}
}

func (r *runner) loop() {
	for {
		select {
		case <-r.woken:
			r.drain()
		case <-r.done:
			if len(r.woken) > 0 {
				r.drain()
			}
			return
		}
	}
}

func (r *runner) drain() {
	space := make([]*bus.Message, 0, 8)
	batch := r.Dequeue(space)
	if len(batch) == 0 && !r.gone.Load() {
		r.t.Errorf("%s was woken for nothing", r.UniqueName())
	}
	for ; len(batch) > 0; batch = r.Dequeue(space) {
		for _, m := range batch {
			r.read(r, m)
		}
		r.Delivered(batch)
	}
}

// post sends m and gives it back.
func (r *runner) post(m *bus.Message) error {
	r.driving.Lock()
	defer r.driving.Unlock()
	err := r.Send(m)
	r.Flush()
	m.Release()
	return err
}

func (r *runner) mustPost(m *bus.Message) {
	if err := r.post(m); err != nil {
		r.t.Errorf("%s: %v", r.UniqueName(), err)
	}
}

// leave closes the connection.
func (r *runner) leave() {
	r.driving.Lock()
	defer r.driving.Unlock()
	r.gone.Store(true)
	r.Close()
	r.Flush()
}
