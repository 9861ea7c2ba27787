package fuse

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A caller can make whoever reads its memory wait: with userfaultfd(2), or with memory that is a file of a slow file system. The
// watch sees to it that nobody else waits then. It looks at the reader now and then, while there is something to do; costs
// nothing while there is nothing; and a stall costs others two looks at most, once.

const (
	// lookEvery is how often the watch looks.
	lookEvery = 5 * time.Millisecond
	// idleLooks is after how many looks at which there was nothing it sleeps.
	idleLooks = 20
	// suspectFor is how long a user who has stalled is suspected of doing so again.
	suspectFor = 10 * time.Second
	// maxDetached is how many requests of one user may stall at a time, each of which takes a thread.
	maxDetached = 64
	// busyTaken is in place of the number of a request that somebody else goes on reading behind.
	busyTaken = ^uint64(0)
)

// watch has the readers of a connection.
type watch struct {
	c     *Conn
	done  chan error    // gets the reason why nothing is read any more
	wake  chan struct{} // for the watch that sleeps
	stop  chan struct{}
	sleep atomic.Bool

	leader atomic.Pointer[reader]
	count  atomic.Uint64 // of requests

	// suspicious is how many users are suspected.
	suspicious atomic.Int32

	mu       sync.Mutex
	suspect  map[uint32]time.Time // until when
	detached map[uint64]*Request  // requests that nobody waits behind, by their numbers
	of       map[uint32]int       // users: how many of them
	running  sync.WaitGroup       // the watch itself
}

func (w *watch) begin(c *Conn) {
	w.c = c
	w.done, w.wake, w.stop = make(chan error, 1), make(chan struct{}, 1), make(chan struct{})
	w.suspect, w.detached, w.of = make(map[uint32]time.Time), make(map[uint64]*Request), make(map[uint32]int)
	w.sleep.Store(true)
	w.running.Go(w.run)
}

func (w *watch) end() {
	close(w.stop)
	w.running.Wait()
}

// lead has r read requests from now on.
func (w *watch) lead(r *reader) {
	w.leader.Store(r)
	go func() {
		if err, taken := r.lead(); !taken {
			w.done <- err
		}
	}()
}

// look says that there is something to look at.
func (w *watch) look() {
	w.count.Add(1)
	if w.sleep.Load() && w.sleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// run looks.
func (w *watch) run() {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	var seen, count uint64
	for idle := idleLooks; ; {
		if idle == idleLooks {
			w.sleep.Store(true)
			select {
			case <-w.wake:
				idle = 0
			case <-w.stop:
				return
			}
		}
		timer.Reset(lookEvery)
		select {
		case <-timer.C:
		case <-w.stop:
			return
		}
		r := w.leader.Load()
		now := r.busy.Load()
		if now != 0 && now == seen {
			w.replace(r, now)
		}
		seen = now
		if n := w.count.Load(); n == count && now == 0 {
			idle++
		} else {
			idle, count = 0, n
		}
		w.forgive()
	}
}

// replace has another reader go on, if r still is at the same request.
func (w *watch) replace(r *reader, unique uint64) {
	q := &r.request
	w.mu.Lock()
	if !r.busy.CompareAndSwap(unique, busyTaken) {
		w.mu.Unlock()
		return
	}
	w.detached[unique] = q
	w.of[q.UID]++
	if _, known := w.suspect[q.UID]; !known {
		w.suspicious.Add(1)
	}
	w.suspect[q.UID] = time.Now().Add(suspectFor)
	w.mu.Unlock()
	w.c.use() // as the reader does, which is to let go of it when it is over
	w.lead(w.c.newReader())
}

// forgive ends suspicions.
func (w *watch) forgive() {
	if w.suspicious.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for uid, until := range w.suspect {
		if now.After(until) && w.of[uid] == 0 {
			delete(w.suspect, uid)
			w.suspicious.Add(-1)
		}
	}
}

// suspects reports whether requests of a user are not to be waited for.
func (w *watch) suspects(uid uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, suspect := w.suspect[uid]
	return suspect
}

// detach handles an ioctl in a goroutine of its own.
func (w *watch) detach(q *Request, b []byte) {
	own := new(Request)
	own.begin(w.c, b)
	out := make([]byte, sizeOut, sizeOut+sizeIoctlOut)
	w.mu.Lock()
	if w.of[own.UID] >= maxDetached {
		w.mu.Unlock()
		w.c.sendResult(out, own.unique, syscall.ENOMEM)
		return
	}
	w.detached[own.unique] = own
	w.of[own.UID]++
	w.mu.Unlock()
	in := append([]byte(nil), b[sizeIn:]...)
	w.c.use() // as the reader does
	go func() {
		defer w.over(own)
		defer w.c.release()
		w.c.runIoctl(own, in, out)
	}()
}

// over notes that a detached request is at its end.
func (w *watch) over(q *Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.detached, q.unique)
	if w.of[q.UID]--; w.of[q.UID] == 0 {
		delete(w.of, q.UID)
	}
}

// interrupt gives a detached request up whose caller a signal has come to, as far as that is possible: it may wait for
// memory that is there only when the caller goes on.
func (w *watch) interrupt(unique uint64) {
	w.mu.Lock()
	q := w.detached[unique]
	w.mu.Unlock()
	if q == nil {
		return
	}
	q.interrupted.Store(true)
	if q.state.CompareAndSwap(stateEasy, stateOver) {
		w.c.sendResult(make([]byte, sizeOut, sizeOut+sizeIoctlOut), unique, syscall.EINTR)
	}
}
