package daemon

import (
	"log/slog"
	"sync"
	"time"
)

// denials writes to the log what a policy denies. It is told with the bus locked, and by whoever pleases,
// so it writes in a goroutine of its own, and not more than maxDenials at a time or denialsPerSecond for
// long; of the others it says how many there were.
type denials struct {
	log *slog.Logger

	mu      sync.Mutex
	queue   []error
	missed  int // since the last line
	credit  float64
	at      time.Time // credit is of
	writing bool
}

const (
	// maxDenials is how many denials are logged at once.
	maxDenials = 50
	// denialsPerSecond is how many are logged if there are more all the time.
	denialsPerSecond = 5
)

func newDenials(log *slog.Logger) *denials {
	return &denials{log: log, credit: maxDenials}
}

// note has err logged, and returns it.
func (d *denials) note(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.afford() {
		d.missed++
		return err
	}
	d.queue = append(d.queue, err)
	if !d.writing {
		d.writing = true
		go d.write()
	}
	return err
}

// afford reports whether one more may be logged now. mu is held.
func (d *denials) afford() bool {
	now := time.Now()
	if !d.at.IsZero() {
		d.credit = min(maxDenials, d.credit+now.Sub(d.at).Seconds()*denialsPerSecond)
	}
	d.at = now
	if d.credit < 1 || len(d.queue) >= maxDenials {
		return false
	}
	d.credit--
	return true
}

// write logs until there is nothing more to log.
func (d *denials) write() {
	for {
		d.mu.Lock()
		if len(d.queue) == 0 {
			d.writing = false
			d.mu.Unlock()
			return
		}
		queue, missed := d.queue, d.missed
		d.queue, d.missed = nil, 0
		d.mu.Unlock()
		if missed > 0 {
			d.log.Warn("more was denied than is logged", "denials", missed)
		}
		for _, err := range queue {
			var details []any // that dbus-daemon does not tell, and rules can be about
			if m, ok := err.(*denial); ok {
				details = m.details()
			}
			d.log.Warn(err.Error(), details...)
		}
	}
}
