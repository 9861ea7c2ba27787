package activation

import (
	"fmt"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
)

// The accounts of what waits for services: one for each user and each custom endpoint, so that nobody keeps others from starting any.

// load is what waits on one account.
type load struct{ pending, bytes int }

// admit counts what waits on an account, unless it is too much.
func (a *Activation) admit(name string, payer bus.Payer, who bus.Account, size int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.waiting[payer]
	switch {
	case l.pending >= a.settings.MaxPending:
		return a.excess("max_pending_service_starts", who, l.pending, max(a.settings.MaxPending, 0),
			"The maximum number of pending activations has been reached, activation of %s failed", name)
	case l.bytes+size > a.settings.MaxBytes && l.pending > 0:
		return a.excess("max_outgoing_bytes", who, l.bytes, a.settings.MaxBytes,
			"Too many bytes wait for services to start, activation of %s failed", name)
	}
	a.waiting[payer] = load{l.pending + 1, l.bytes + size}
	return nil
}

// excess notes that somebody wants more than may be, and returns the error that it gets.
func (a *Activation) excess(limit string, who bus.Account, amount, most int, format string, args ...any) error {
	err := failure(syscall.ENOBUFS, "LimitsExceeded", "%s (%s=%d): %v has %d", fmt.Sprintf(format, args...), limit, most, who, amount)
	e := bus.Excess{Limit: limit, Amount: int64(amount), Max: int64(most), UID: who.UID, Endpoint: who.Endpoint}
	a.config.Endpoint.Bus().Excesses().Note(e, err.Error)
	return err
}

// release is admit's counterpart.
func (a *Activation) release(payer bus.Payer, size int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.waiting[payer]
	if l.pending--; l.pending == 0 {
		delete(a.waiting, payer)
		return
	}
	l.bytes -= size
	a.waiting[payer] = l
}
