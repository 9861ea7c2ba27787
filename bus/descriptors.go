package bus

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Closing what peers have sent. That can take as long as its sender likes: a socket may linger
// (SO_LINGER in socket(7)), and a file system in user space is asked by close(2) to flush. Nobody but
// that sender may have to wait, and no lock may be held meanwhile.

// MaxClosing is how many descriptors of one user may wait to be closed, before front-ends take no
// more from that user.
const MaxClosing = 512

// closers are the descriptors that wait to be closed, by the user who sent them, while there are some. A
// goroutine for each such user closes them.
var closers = struct {
	mu      sync.Mutex
	waiting map[uint32]*closing
}{waiting: make(map[uint32]*closing)}

// closing is what waits, and since when there has always been something.
type closing struct {
	fds   []int
	since time.Time
}

// closingPatience is for how long there may be more than MaxClosing: who sends many at a time is ahead of the
// goroutine that closes them.
const closingPatience = time.Second

// CloseDescriptors closes descriptors that a peer of the user uid has sent. It does not wait: those
// that may not close at once are closed later, in the order of their coming. Safe for concurrent use.
func CloseDescriptors(uid uint32, fds []int) {
	for _, fd := range fds {
		if closesAtOnce(fd) {
			unix.Close(fd)
		} else {
			closeLater(uid, fd)
		}
	}
}

// closesAtOnce reports whether nothing can keep a descriptor from being closed: it is a pipe. Asking
// that does not wait, either.
func closesAtOnce(fd int) bool {
	var stat unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &stat)
	return err == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO
}

func closeLater(uid uint32, fd int) {
	closers.mu.Lock()
	defer closers.mu.Unlock()
	waiting := closers.waiting[uid]
	if waiting == nil {
		waiting = &closing{since: time.Now()}
		closers.waiting[uid] = waiting
		go waiting.closeAll(uid)
	}
	waiting.fds = append(waiting.fds, fd)
}

// closeAll closes what waits until there is nothing. The one that is being closed is still counted.
func (c *closing) closeAll(uid uint32) {
	for done := 0; ; done = 1 {
		closers.mu.Lock()
		if c.fds = c.fds[done:]; len(c.fds) == 0 {
			delete(closers.waiting, uid)
			closers.mu.Unlock()
			return
		}
		fd := c.fds[0]
		closers.mu.Unlock()
		unix.Close(fd)
	}
}

// Stuck reports whether more than MaxClosing descriptors of a user wait to be closed, and not for the
// moment only.
func Stuck(uid uint32) bool {
	closers.mu.Lock()
	defer closers.mu.Unlock()
	waiting := closers.waiting[uid]
	return waiting != nil && len(waiting.fds) > MaxClosing && time.Since(waiting.since) > closingPatience
}
