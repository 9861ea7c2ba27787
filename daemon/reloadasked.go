package daemon

import (
	"errors"
	"sync"
	"time"
)

// askedReloads are reloads that clients ask for. Reading a configuration is work, and policies let everybody ask
// for it. So those who ask while one is under way share the next one, which sees all that they
// have written before; and after each there is a rest, so that no more than a part of a processor's
// time is spent on it.
type askedReloads struct {
	reload func() error
	ending <-chan struct{} // closed when the bus ends

	mu   sync.Mutex
	next *askedReload // that has not begun; nil for none

	turn chan struct{} // has room for the one under way
	rest time.Time     // until when there is none; of the one under way
}

// askedReload is one reload for all who wait for it.
type askedReload struct {
	done chan struct{} // closed when err is there
	err  error
}

func newAskedReloads(reload func() error, ending <-chan struct{}) *askedReloads {
	return &askedReloads{reload: reload, ending: ending, turn: make(chan struct{}, 1)}
}

// restPerWork is how many times as long as a reload the rest after it is, within bounds: a reload has work done
// after it, too, such as by clients that hear of services that can be started.
const (
	restPerWork  = 4
	shortestRest = 100 * time.Millisecond
	longestRest  = 2 * time.Second
)

var errEnding = errors.New("the bus is ending")

// ask returns when a reload that has begun after the call has ended, with its error.
func (a *askedReloads) ask() error {
	a.mu.Lock()
	r := a.next
	first := r == nil
	if first {
		r = &askedReload{done: make(chan struct{})}
		a.next = r
	}
	a.mu.Unlock()
	if first {
		r.err = a.do()
		close(r.done)
	}
	<-r.done
	return r.err
}

// do is what the first does who waits for a reload, while others wait for it.
func (a *askedReloads) do() error {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	rest := time.NewTimer(time.Until(a.rest))
	defer rest.Stop()
	var err error
	select {
	case <-rest.C:
	case <-a.ending:
		err = errEnding
	}
	a.mu.Lock()
	a.next = nil // who comes now may have written something that is missed
	a.mu.Unlock()
	if err != nil {
		return err
	}
	begin := time.Now()
	err = a.reload()
	a.rest = time.Now().Add(min(max(restPerWork*time.Since(begin), shortestRest), longestRest))
	return err
}
