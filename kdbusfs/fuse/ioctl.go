package fuse

import (
	"errors"
	"sync"
	"syscall"
)

// ErrLater is what [FileSystem.Ioctl] returns if the request is answered later.
var ErrLater = errors.New("answered later")

// How far a request is. One that is in its caller's memory can be given up, because of a signal, at any time; while
// a command is carried out, which takes no time, it cannot.
const (
	stateEasy    int32 = iota // in the caller's memory
	stateRunning              // being carried out
	stateOver                 // answered
)

// Begin says that all that is needed of the caller's memory has been read, and a command will be carried out. It returns
// false if the caller has gone meanwhile: nothing is to be done then.
func (q *Request) Begin() bool { return q.state.CompareAndSwap(stateEasy, stateRunning) }

// Results says that the command has been carried out, and results are written to the caller's memory.
func (q *Request) Results() { q.state.CompareAndSwap(stateRunning, stateEasy) }

// take takes the right to answer.
func (q *Request) take() bool { return q.state.Swap(stateOver) != stateOver }

// ioctl handles an ioctl. It returns true if that took so long that somebody else has taken over.
func (r *reader) ioctl(b []byte) (taken bool) {
	q := &r.request
	q.begin(r.c, b)
	if w := &r.c.watch; w.suspicious.Load() > 0 && w.suspects(q.UID) {
		w.detach(q, b)
		return false
	}
	r.busy.Store(q.unique)
	r.c.watch.look()
	r.c.runIoctl(q, b[sizeIn:], r.reply())
	if r.busy.CompareAndSwap(q.unique, 0) {
		return false
	}
	r.c.watch.over(q)
	r.c.release()
	return true
}

// runIoctl has the file system answer an ioctl.
func (c *Conn) runIoctl(q *Request, in, out []byte) {
	if len(in) < sizeIoctlIn {
		c.send(out, q.unique, syscall.EIO)
		return
	}
	flags := u32(in, 8)
	i := Ioctl{Node: q.node, Handle: u64(in, 0), Cmd: u32(in, 12), Arg: u64(in, 16), Compat: flags&compatIoctl != 0}
	i.Input = in[sizeIoctlIn:]
	if size := u32(in, 24); uint64(size) < uint64(len(i.Input)) {
		i.Input = i.Input[:size]
	}
	if flags&ioctlDir != 0 {
		c.send(out, q.unique, syscall.ENOTTY)
		return
	}
	err := c.fs.Ioctl(q, &i)
	if err == ErrLater || !q.take() {
		return
	}
	c.sendResult(out, q.unique, err)
}

// sendResult answers an ioctl.
func (c *Conn) sendResult(out []byte, unique uint64, err error) {
	result := int32(0)
	if err != nil {
		result = -int32(syscall.EIO)
		if errno, ok := err.(syscall.Errno); ok && errno > 0 && errno <= maxDescribedResult {
			result = -int32(errno)
		}
	}
	c.send(appendU32(out, uint32(result), 0, 0, 0), unique, nil)
}

// Pending is a request that is answered later.
type Pending struct {
	c         *Conn
	unique    uint64
	interrupt func()
	once      sync.Once
}

// Later says that the request is answered later, by a call of [Pending.Result] or [Pending.Restart]. If a signal
// comes to who waits for the answer, interrupt is called, perhaps when the answer has been given already. It must
// not wait, and has to see to it that there is an answer soon: as long as there is none, the caller cannot even be killed.
func (q *Request) Later(interrupt func()) *Pending {
	p := &Pending{c: q.c, unique: q.unique, interrupt: interrupt}
	q.c.waiting.Lock()
	q.c.pending[q.unique] = p
	q.c.waiting.Unlock()
	q.state.Store(stateOver)
	if q.interrupted.Load() {
		interrupt()
	}
	return p
}

// Result answers the request with the result of the ioctl. Safe for concurrent use; only the first answer counts.
func (p *Pending) Result(err error) {
	p.once.Do(func() {
		p.c.waiting.Lock()
		delete(p.c.pending, p.unique)
		p.c.waiting.Unlock()
		if !p.c.use() {
			return
		}
		defer p.c.release()
		p.c.sendResult(make([]byte, sizeOut, sizeOut+sizeIoctlOut), p.unique, err)
	})
}

// Restart answers the request, because of a signal and only after interrupt was called, so that it fails with EINTR or is made
// anew, as the caller has asked for with SA_RESTART.
func (p *Pending) Restart() { p.Result(syscall.Errno(restartSys)) }

// interrupt is called when a signal has come to who waits for the answer to a request.
func (c *Conn) interrupt(unique uint64) {
	c.waiting.Lock()
	p := c.pending[unique]
	c.waiting.Unlock()
	if p != nil {
		p.interrupt()
		return
	}
	c.watch.interrupt(unique)
}
