package daemon

import (
	"log/slog"
	"sync"
	"time"

	"github.com/kdbus-go/kdbus/bus"
)

// denials writes to the log what is denied to whom. It is told with the bus locked, and by whoever pleases,
// so it writes in a goroutine of its own, and of each user not more than maxDenials at a time or
// denialsPerSecond for long: what one does in a rage does not hide what others do. Of those that are left
// out it says how many there were.
type denials struct {
	log *slog.Logger

	mu      sync.Mutex
	users   map[uint32]*allowance
	queue   []noted
	writing bool
}

// allowance is how much of one user is logged.
type allowance struct {
	credit float64
	at     time.Time // credit is of
	missed int       // since the last line
}

// noted is a line to be written.
type noted struct {
	err    error
	uid    uint32
	missed int // before it, of the same user
}

const (
	// maxDenials is how many denials of a user are logged at once.
	maxDenials = 50
	// denialsPerSecond is how many are logged if there are more all the time.
	denialsPerSecond = 5
	// maxNotedUsers is how many users are told apart. What others do is counted together.
	maxNotedUsers = 1024
	// maxNoted is how many lines may wait for the log.
	maxNoted = 1024
	// otherUsers stands for those who are not told apart: nobody has this number, see setreuid(2).
	otherUsers = 1<<32 - 1
)

func newDenials(log *slog.Logger) *denials {
	return &denials{log: log, users: make(map[uint32]*allowance)}
}

// note has logged what c is denied, and returns err, which says so.
func (d *denials) note(c *bus.Conn, err error) error {
	d.noteUser(c.UID(), err)
	return err
}

// noteUser is note for somebody who is not on the bus.
func (d *denials) noteUser(uid uint32, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	user, uid := d.user(uid)
	if !user.afford() || len(d.queue) >= maxNoted {
		user.missed++
		return
	}
	d.queue = append(d.queue, noted{err, uid, user.missed})
	user.missed = 0
	if !d.writing {
		d.writing = true
		go d.write()
	}
}

// user returns the allowance of a user, and under which number it is kept. mu is held.
func (d *denials) user(uid uint32) (*allowance, uint32) {
	if a := d.users[uid]; a != nil {
		return a, uid
	}
	if len(d.users) >= maxNotedUsers {
		for other, a := range d.users {
			if a.refill(); a.credit == maxDenials && a.missed == 0 {
				delete(d.users, other)
			}
		}
	}
	if len(d.users) >= maxNotedUsers {
		uid = otherUsers
		if a := d.users[uid]; a != nil {
			return a, uid
		}
	}
	a := &allowance{credit: maxDenials, at: time.Now()}
	d.users[uid] = a
	return a, uid
}

// refill adds what time has brought.
func (a *allowance) refill() {
	now := time.Now()
	a.credit = min(maxDenials, a.credit+now.Sub(a.at).Seconds()*denialsPerSecond)
	a.at = now
}

// afford reports whether one more may be logged now.
func (a *allowance) afford() bool {
	a.refill()
	if a.credit < 1 {
		return false
	}
	a.credit--
	return true
}

// write logs until there is nothing more to log.
func (d *denials) write() {
	for {
		d.mu.Lock()
		queue := d.queue
		d.queue = nil
		d.writing = len(queue) > 0
		d.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, n := range queue {
			var details []any // that dbus-daemon does not tell, and rules can be about
			if m, ok := n.err.(*denial); ok {
				details = m.details()
			}
			if n.missed > 0 {
				details = append(details, "unlogged", n.missed, "of", n.uid)
			}
			d.log.Warn(n.err.Error(), details...)
		}
	}
}
