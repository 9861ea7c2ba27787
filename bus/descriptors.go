package bus

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Closing what peers have sent. That can take as long as its sender likes: a socket may linger
// (SO_LINGER in socket(7)), and a file system in user space is asked by close(2) to flush. Nobody but
// that sender may have to wait, and no lock may be held meanwhile. Those of a custom endpoint are one sender, and not their
// users, whom they could shut out.

// MaxClosing is how many descriptors of one user, or of one custom endpoint, may wait to be closed, before front-ends take no
// more from there.
const MaxClosing = 512

// closers are the descriptors that wait to be closed, by the account of who sent them, while there are some. A
// goroutine for each such account closes them.
var closers = struct {
	mu      sync.Mutex
	waiting map[Payer]*closing
}{waiting: make(map[Payer]*closing)}

// closing is what waits, and since when there has always been something.
type closing struct {
	fds   []int
	since time.Time
}

// closingPatience is for how long there may be more than MaxClosing: who sends many at a time is ahead of the
// goroutine that closes them.
const closingPatience = time.Second

// CloseDescriptors closes descriptors that were sent by who is on the account of payer. It does not wait: those
// that may not close at once are closed later, in the order of their coming. Safe for concurrent use.
func CloseDescriptors(payer Payer, fds []int) {
	for _, fd := range fds {
		if closesAtOnce(fd) {
			unix.Close(fd)
		} else {
			closeLater(payer, fd)
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

func closeLater(payer Payer, fd int) {
	closers.mu.Lock()
	defer closers.mu.Unlock()
	waiting := closers.waiting[payer]
	if waiting == nil {
		waiting = &closing{since: time.Now()}
		closers.waiting[payer] = waiting
		go waiting.closeAll(payer)
	}
	waiting.fds = append(waiting.fds, fd)
}

// closeAll closes what waits until there is nothing. The one that is being closed is still counted.
func (c *closing) closeAll(payer Payer) {
	for done := 0; ; done = 1 {
		closers.mu.Lock()
		if c.fds = c.fds[done:]; len(c.fds) == 0 {
			delete(closers.waiting, payer)
			closers.mu.Unlock()
			return
		}
		fd := c.fds[0]
		closers.mu.Unlock()
		unix.Close(fd)
	}
}

// Stuck reports whether more than MaxClosing descriptors of one account wait to be closed, and not for the
// moment only.
func Stuck(payer Payer) bool {
	closers.mu.Lock()
	defer closers.mu.Unlock()
	waiting := closers.waiting[payer]
	return waiting != nil && len(waiting.fds) > MaxClosing && time.Since(waiting.since) > closingPatience
}
