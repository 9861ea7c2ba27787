package kdbus

import (
	"sync"
	"time"
)

// pace finds out where a caller does better to wait for its answer: in the kernel, or parked until
// another goroutine has received it. The former is quicker, unless the answer is made by a
// goroutine of the same process that needs the processor which the caller keeps. So now and then a
// few calls try the other way.
type pace struct {
	mu       sync.Mutex
	parked   bool // how callers wait now
	calls    int  // since the last trial
	interval int  // how many calls are between two trials
	trial    int  // how many calls of the trial are left; 0 if there is none
	best     [2]time.Duration
}

const (
	trialCalls    = 4
	firstInterval = 8
	maxInterval   = 8192
	// hopeless is by how many times the other way is slower if one call is enough to tell.
	hopeless = 8
)

// inKernel decides for the next call.
func (p *pace) inKernel() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trial > 0 {
		return p.parked
	}
	if p.interval == 0 {
		p.interval = firstInterval
	}
	switch p.calls++; p.calls {
	case p.interval - trialCalls:
		p.best[way(!p.parked)] = 0 // what is compared are the last calls before
	case p.interval:
		p.trial = trialCalls
		p.best[way(p.parked)] = 0
		return p.parked
	}
	return !p.parked
}

// way is the index of a way to wait.
func way(inKernel bool) int {
	if inKernel {
		return 1
	}
	return 0
}

// took notes how long a call took, and how it waited.
func (p *pace) took(inKernel bool, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	this, now := way(inKernel), way(!p.parked)
	if p.best[this] == 0 || d < p.best[this] {
		p.best[this] = d
	}
	if this == now || p.trial == 0 {
		return
	}
	if p.trial--; p.trial > 0 && (p.best[now] == 0 || d < hopeless*p.best[now]) {
		return
	}
	p.trial, p.calls = 0, 0
	if p.best[this] < p.best[now] {
		p.parked, p.interval = !p.parked, firstInterval
	} else {
		p.interval = min(2*p.interval, maxInterval)
	}
}
