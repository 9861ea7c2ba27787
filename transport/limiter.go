package transport

import (
	"log/slog"
	"sync"
	"time"
)

// limiter keeps peers from flooding the log: of each user it lets logBurst lines through at once and one per
// logInterval in the long run, so that nobody hides what is said of others. The lines that were left out are
// counted in the next one. The zero value is ready.
type limiter struct {
	mu    sync.Mutex
	users map[uint32]*allowance
}

// allowance is what is left of one user's lines.
type allowance struct {
	tokens     int
	filled     time.Time // when there was one more
	suppressed int
}

const (
	logBurst    = 20
	logInterval = time.Second
	// maxLogUsers is how many users are told apart; beyond that nothing is said of more.
	maxLogUsers = 1024
)

// warn logs a line for which the user uid is to blame.
func (l *limiter) warn(log *slog.Logger, uid uint32, message string, args ...any) {
	suppressed, ok := l.take(uid)
	if !ok {
		return
	}
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	log.Warn(message, args...)
}

// take returns whether there may be a line, and how many were left out before it.
func (l *limiter) take(uid uint32) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	a := l.users[uid]
	if a == nil {
		if len(l.users) >= maxLogUsers && !l.forget(now) {
			return 0, false
		}
		if l.users == nil {
			l.users = make(map[uint32]*allowance)
		}
		a = &allowance{tokens: logBurst, filled: now}
		l.users[uid] = a
	}
	if n := int(now.Sub(a.filled) / logInterval); n > 0 {
		a.tokens, a.filled = min(a.tokens+n, logBurst), now
	}
	if a.tokens == 0 {
		a.suppressed++
		return 0, false
	}
	a.tokens--
	suppressed, a.suppressed = a.suppressed, 0
	return suppressed, true
}

// forget makes space, if there is some: those of whom there was nothing to say for a while. l.mu is held.
func (l *limiter) forget(now time.Time) bool {
	for uid, a := range l.users {
		if now.Sub(a.filled) >= logBurst*logInterval {
			delete(l.users, uid)
		}
	}
	return len(l.users) < maxLogUsers
}
