package transport

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Poller waits for the sockets of all peers of one server or of several, with an epoll instance of its own. The one
// of the Go runtime would want a parked goroutine for each socket, which is most of what an idle
// connection would cost; it would wake up whenever a receiver has read something; and it does not
// tell whether the other end has hung up, so that every batch would need one more system call to
// find that there is nothing left.
//
// A few workers wait and handle what is there by themselves. A peer that has more to say than is
// good for the others gets a goroutine of its own for the time being. There are fewer workers than
// processors: a worker that waits keeps a processor from the scheduler for a while, which would
// delay other goroutines of a program that embeds the server.
//
// Servers with the same Poller also know together what users hold who are not on a bus yet, or whose messages
// have not arrived in full (see [Limits]): who may connect to many of them has no more than by one.
//
// Safe for concurrent use.
type Poller struct {
	epoll int
	stop  int // an eventfd: readable means that the workers should end

	workers sync.WaitGroup
	closing sync.Once

	mu      sync.RWMutex
	lastID  uint64
	sockets map[uint64]socket

	ledger ledger
}

// socket is what is watched. ready is called with the events that have happened, by several workers
// at once, and returns true if it has started a goroutine. What it does may take long if the worker
// leaves before.
type socket interface {
	ready(events uint32, by *worker) (started bool)
}

const (
	// eventsPerWait is how many sockets one worker takes on at a time; others may be free to take
	// the rest.
	eventsPerWait = 16
	// readsPerTurn is how many batches of one peer a worker reads before it turns to other peers.
	readsPerTurn = 8

	watched = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	hungUp  = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

// NewPoller makes a poller, for [Config]. It is to be closed when all servers that have it have been shut down.
func NewPoller() (*Poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	w := &Poller{epoll: epoll, stop: stop, sockets: make(map[uint64]socket)}
	w.ledger.init()
	if err := w.control(unix.EPOLL_CTL_ADD, stop, unix.EPOLLIN, 0); err != nil {
		unix.Close(epoll)
		unix.Close(stop)
		return nil, err
	}
	for range max(runtime.GOMAXPROCS(0)/2, 1) {
		w.workers.Go((&worker{poller: w}).work)
	}
	return w, nil
}

// Close ends the workers, and returns when they have ended. No server may have the poller any more.
func (w *Poller) Close() {
	w.closing.Do(func() {
		unix.Write(w.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		w.workers.Wait()
		unix.Close(w.epoll)
		unix.Close(w.stop)
	})
}

// worker waits for sockets and handles their events.
type worker struct {
	poller *Poller
	events [eventsPerWait]unix.EpollEvent
	rest   []unix.EpollEvent // that have happened and are not handled yet
	left   bool              // another has taken its place
}

func (w *worker) work() {
	for w.handle() {
		n, err := unix.EpollWait(w.poller.epoll, w.events[:], -1)
		if err != nil && err != syscall.EINTR {
			panic(fmt.Sprintf("transport: epoll_wait: %v", err)) // none of its errors can happen here
		}
		w.rest = w.events[:max(n, 0)]
	}
}

// handle handles the events in w.rest. It returns false if the worker is to end.
func (w *worker) handle() bool {
	started := false
	for len(w.rest) > 0 {
		e := &w.rest[0]
		w.rest = w.rest[1:]
		id := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
		if id == 0 {
			return false
		}
		if s := w.poller.lookup(id); s != nil {
			started = s.ready(e.Events, w) || started
		}
		if w.left {
			return false
		}
	}
	if started {
		runtime.Gosched() // the next wait would keep the processor from the goroutine just started
	}
	return true
}

// leave has another worker take over, since the goroutine goes on to what may take long. It ends
// when that is done.
func (w *worker) leave() {
	w.left = true
	next := &worker{poller: w.poller}
	next.rest = next.events[:copy(next.events[:], w.rest)]
	w.rest = nil
	w.poller.workers.Go(next.work)
}

func (w *Poller) lookup(id uint64) socket {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.sockets[id]
}

// register sets the id of s, by which add, change and remove know it. Ids are never given again, so
// that a late event finds nobody.
func (w *Poller) register(s socket, id *uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastID++
	*id = w.lastID
	w.sockets[w.lastID] = s
}

// remove forgets a socket. Closing it ends the watching.
func (w *Poller) remove(id uint64) {
	w.mu.Lock()
	delete(w.sockets, id)
	w.mu.Unlock()
}

// add begins to watch the socket fd. Its events may come before add returns.
func (w *Poller) add(id uint64, fd int, events uint32) error {
	return w.control(unix.EPOLL_CTL_ADD, fd, events, id)
}

// change sets what is watched for. What has happened already is an event too.
func (w *Poller) change(id uint64, fd int, events uint32) {
	if err := w.control(unix.EPOLL_CTL_MOD, fd, events, id); err != nil {
		panic(fmt.Sprintf("transport: %v", err)) // the socket is open and watched
	}
}

func (w *Poller) control(op, fd int, events uint32, id uint64) error {
	e := unix.EpollEvent{Events: events, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	if err := unix.EpollCtl(w.epoll, op, fd, &e); err != nil {
		return fmt.Errorf("watch a socket: %w", os.NewSyscallError("epoll_ctl", err))
	}
	return nil
}

// turn lets one goroutine at a time read from a peer, and keeps what happens meanwhile for it.
type turn struct{ state atomic.Uint32 }

const (
	turnTaken  = 1 << iota // somebody reads
	turnNews               // there may be something to read
	turnHangUp             // the other end has hung up: read until the end
)

// take notes news, and returns true if it is now the caller's turn.
func (t *turn) take(news uint32) bool {
	return t.state.Or(turnTaken|news)&turnTaken == 0
}

// news returns what was noted since it was last asked. The caller has the turn.
func (t *turn) news() uint32 {
	return t.state.Swap(turnTaken) &^ turnTaken
}

// end gives the turn back; false means that there is news and it goes on.
func (t *turn) end() bool {
	return t.state.CompareAndSwap(turnTaken, 0)
}
