package bus

import (
	"sync/atomic"
	"time"
)

// Limits is what a connection may have and hold. Front-ends give their kind of connection the
// limits that its programs expect.
type Limits struct {
	Quota    Quota
	MaxNames int // well-known names, queued for or owned
	MaxCalls int // calls waiting for replies

	MaxMatches int // see [Conn.AddMatch]; 0 means that of DefaultLimits

	// CallTimeout is how long a call of the connection waits for its reply at most, whatever deadline
	// it has: then its caller is told by ReplyTimeout. 0 is for ever.
	CallTimeout time.Duration
}

// DefaultLimits are kdbus's.
var DefaultLimits = Limits{
	Quota:      Quota{Bytes: 16 << 20, Messages: 256, FDs: 16, Memfds: 64, Fair: true},
	MaxNames:   256,
	MaxCalls:   128,
	MaxMatches: 256,
}

// SharedLimits are the limits of many connections, for all of which they can be changed at once. The
// zero value is DefaultLimits. Safe for concurrent use.
type SharedLimits struct{ current atomic.Pointer[Limits] }

// Set changes the limits. What a connection has beyond them it keeps: it gets no more until it has
// less, and calls that wait already have the time that they were given.
func (s *SharedLimits) Set(l Limits) { s.current.Store(&l) }

// Get returns the limits of now.
func (s *SharedLimits) Get() Limits { return *s.load() }

// load returns the limits of now, which must not be changed.
func (s *SharedLimits) load() *Limits {
	if l := s.current.Load(); l != nil {
		return l
	}
	return &DefaultLimits
}

var defaultShared SharedLimits

// shareLimits makes limits that nobody changes of l; nil is DefaultLimits.
func shareLimits(l *Limits) *SharedLimits {
	if l == nil {
		return &defaultShared
	}
	s := new(SharedLimits)
	s.current.Store(l)
	return s
}
