package main

import (
	"context"
	"sync"

	"github.com/kdbus-go/kdbus"
)

// backlog holds the messages that a watch has seen and that were not looked at yet. It is bounded in number
// and in bytes: others decide how much is said on a bus, and whoever reads what is printed may be slow, or
// have stopped.
type backlog struct {
	mu      sync.Mutex
	waiting []*kdbus.Message
	bytes   int
	dropped uint64
	err     error         // that there will be no more
	more    chan struct{} // has an element if there may be something new

	batch []*kdbus.Message // taken, to be given out; of whoever calls next
	given int              // how many of them were
}

const (
	maxBacklog      = 1 << 16   // messages
	maxBacklogBytes = 128 << 20 // of messages, with messageOverhead each
	messageOverhead = 1 << 10
)

// fill takes over what comes until the subscription ends, or ctx. File descriptors are of no use here.
func (b *backlog) fill(ctx context.Context, sub *kdbus.Subscription) {
	for {
		m, err := sub.Next(ctx)
		if err == nil {
			for _, file := range m.Files() {
				file.Close()
			}
		}
		b.mu.Lock()
		size := 0
		switch {
		case err != nil:
			b.err = err
		case len(b.waiting) >= maxBacklog, b.bytes >= maxBacklogBytes:
			b.dropped++
		default:
			size = m.Size() + messageOverhead
			b.waiting = append(b.waiting, m)
		}
		b.bytes += size
		b.mu.Unlock()
		select {
		case b.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// next returns the next message. It is for one goroutine.
func (b *backlog) next(ctx context.Context) (*kdbus.Message, error) {
	for b.given == len(b.batch) {
		b.mu.Lock()
		clear(b.batch)
		b.batch, b.waiting = b.waiting, b.batch[:0]
		b.given, b.bytes = 0, 0
		err := b.err
		b.mu.Unlock()
		if len(b.batch) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-b.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m := b.batch[b.given]
	b.given++
	return m, nil
}

// empty reports whether no message waits. It is for the goroutine that calls next.
func (b *backlog) empty() bool {
	if b.given < len(b.batch) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) == 0
}

// missed returns how many messages there was no space for.
func (b *backlog) missed() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}
