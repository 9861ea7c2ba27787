package kdbusfs

import "sync"

// interruption brings a signal to a call that waits, whichever of the two is first.
type interruption struct {
	mu     sync.Mutex
	raised bool
	cancel func()
}

// raise is called when the signal has come.
func (i *interruption) raise() {
	i.mu.Lock()
	i.raised = true
	cancel := i.cancel
	i.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// set says what ends the waiting.
func (i *interruption) set(cancel func()) {
	i.mu.Lock()
	i.cancel = cancel
	raised := i.raised
	i.mu.Unlock()
	if raised {
		cancel()
	}
}
