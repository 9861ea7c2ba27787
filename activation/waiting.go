package activation

import (
	"fmt"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
)

// The accounts of what waits for services: one for each user, so that nobody keeps others from starting any.

// load is what of one user waits.
type load struct{ pending, bytes int }

// admit counts what a user has waiting, unless it is too much.
func (a *Activation) admit(name string, uid uint32, size int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.waiting[uid]
	switch {
	case l.pending >= a.settings.MaxPending:
		return a.excess("max_pending_service_starts", uid, l.pending, max(a.settings.MaxPending, 0),
			"The maximum number of pending activations has been reached, activation of %s failed", name)
	case l.bytes+size > a.settings.MaxBytes && l.pending > 0:
		return a.excess("max_outgoing_bytes", uid, l.bytes, a.settings.MaxBytes,
			"Too many bytes wait for services to start, activation of %s failed", name)
	}
	a.waiting[uid] = load{l.pending + 1, l.bytes + size}
	return nil
}

// excess notes that a user wants more than may be, and returns the error that it gets.
func (a *Activation) excess(limit string, uid uint32, amount, most int, format string, args ...any) error {
	err := failure(syscall.ENOBUFS, "LimitsExceeded", "%s (%s=%d): user %d has %d", fmt.Sprintf(format, args...), limit, most, uid, amount)
	e := bus.Excess{Limit: limit, Amount: int64(amount), Max: int64(most), UID: uid}
	a.config.Endpoint.Bus().Excesses().Note(e, err.Error)
	return err
}

// release is admit's counterpart.
func (a *Activation) release(uid uint32, size int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.waiting[uid]
	if l.pending--; l.pending == 0 {
		delete(a.waiting, uid)
		return
	}
	l.bytes -= size
	a.waiting[uid] = l
}
