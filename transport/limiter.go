package transport

import (
	"log/slog"
	"sync"
	"time"
)

// limiter keeps peers from flooding the log: it lets logBurst lines through at once and one per
// logInterval in the long run. The lines that were left out are counted in the next one. The zero
// value is ready.
type limiter struct {
	mu         sync.Mutex
	tokens     int
	last       time.Time
	suppressed int
}

const (
	logBurst    = 20
	logInterval = time.Second
)

func (l *limiter) warn(log *slog.Logger, message string, args ...any) {
	l.mu.Lock()
	now := time.Now()
	if l.last.IsZero() {
		l.tokens, l.last = logBurst, now
	}
	if n := int(now.Sub(l.last) / logInterval); n > 0 {
		l.tokens = min(l.tokens+n, logBurst)
		l.last = now
	}
	if l.tokens == 0 {
		l.suppressed++
		l.mu.Unlock()
		return
	}
	l.tokens--
	if l.suppressed > 0 {
		args = append(args, "suppressed", l.suppressed)
		l.suppressed = 0
	}
	l.mu.Unlock()
	log.Warn(message, args...)
}
