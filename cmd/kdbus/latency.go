package main

import (
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
)

// latencies pairs calls with their answers.
type latencies struct {
	calls map[callID]time.Duration
	begun time.Time // where times without a timestamp of the bus are counted from
}

// callID identifies a call among those that wait for an answer.
type callID struct {
	caller string
	serial uint32
}

// maxCalls is how many calls wait for their answers at most: more are forgotten, as they may be
// calls that are never answered.
const maxCalls = 1 << 16

// pair takes note of a message. If it is the answer to a call that was seen, it returns how long
// that took: by the clock of the bus, if it tells; else by when the messages arrived here.
func (l *latencies) pair(m *kdbus.Message) (took time.Duration, answered bool) {
	switch m.Type() {
	case kdbus.TypeMethodCall:
		if m.Flags()&kdbus.NoReplyExpected != 0 {
			return 0, false
		}
		if l.calls == nil || len(l.calls) >= maxCalls {
			l.calls = make(map[callID]time.Duration)
		}
		l.calls[callID{m.Sender(), m.Serial()}] = l.when(m)
	case kdbus.TypeMethodReturn, kdbus.TypeError:
		id := callID{m.Destination(), m.ReplySerial()}
		sent, ok := l.calls[id]
		if ok {
			delete(l.calls, id)
			return l.when(m) - sent, true
		}
	}
	return 0, false
}

// when returns the time of a message.
func (l *latencies) when(m *kdbus.Message) time.Duration {
	if known := m.Metadata(); known != nil && known.Has&abi.AttachTimestamp != 0 {
		return time.Duration(known.Timestamp.MonotonicNS)
	}
	if l.begun.IsZero() {
		l.begun = time.Now()
	}
	return time.Since(l.begun)
}
