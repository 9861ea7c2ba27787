package bus

import (
	"maps"
	"sync"
	"time"
)

// An Excess is an attempt to go beyond a limit: which one, whose, how much there was, and who filled
// it. The attempt has failed by then; nothing else has happened.
type Excess struct {
	Limit       string // as dbus-daemon calls it, such as max_outgoing_bytes; or as kdbus does
	Amount, Max int64  // what there is, and what may be: numbers, bytes, or milliseconds
	UID         uint32 // the user that has so much
	Endpoint    string // or the custom endpoint, which that user has made; "" if it is a user
	Conn        ID     // the connection that the limit is one of; 0 if that is none
	Text        string // all of it, for people
}

// Account returns who has so much.
func (e *Excess) Account() Account { return Account{UID: e.UID, Endpoint: e.Endpoint} }

// The limits of the core, under the names that administrators know them by.
const (
	limitQueueBytes = "max_outgoing_bytes"
	limitQueueFDs   = "max_outgoing_unix_fds"
	limitCalls      = "max_replies_per_connection"
	limitUserConns  = "max_connections_per_user"
	limitReplyTime  = "reply_timeout"

	// Those that only connections of kdbus have.
	limitPool     = "pool size"
	limitMessages = "messages per user"
	limitMemfds   = "memfds per user"
)

const (
	// excessBurst is how many excesses of one user over one limit are reported one after the other, and
	// excessInterval how often in the long run.
	excessBurst    = 5
	excessInterval = 5 * time.Second
	// maxExcessUsers is how many pairs of users and limits are told apart.
	maxExcessUsers = 1024
)

// Excesses counts the attempts to go beyond limits on a bus, and has some of them reported: each user
// and each limit for itself, so that nobody can hide somebody else's. The zero value is ready. Safe
// for concurrent use; Note may be called with any locks held.
type Excesses struct {
	mu      sync.Mutex
	report  func(e Excess, times uint64)
	recent  map[excessKey]*excessAccount
	limits  map[string]ExcessCount
	pending []reportedExcess // to be reported by the goroutine that is doing so
	busy    bool             // there is one
}

type excessKey struct {
	limit   string
	account Account
}

// excessAccount is kept of a user and a limit.
type excessAccount struct {
	tokens int       // how many more are reported now
	filled time.Time // when there was one more
	since  uint64    // attempts since the last that was reported
	total  uint64
}

type reportedExcess struct {
	Excess
	times uint64
}

// ExcessCount is how often a limit has been reached, and the last one that was reported.
type ExcessCount struct {
	Times uint64
	Last  Excess
	At    time.Time // of Last
}

// Report sets who is told of excesses, by a goroutine of its own: times is how many there have been of
// the same user and limit since the last one told. Nobody is told more often than is good for a log.
func (x *Excesses) Report(report func(e Excess, times uint64)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.report = report
}

// Note counts an excess. What it takes to make the text is only done if somebody gets to see it.
func (x *Excesses) Note(e Excess, text func() string) {
	x.mu.Lock()
	times := x.count(&e)
	x.mu.Unlock()
	if times == 0 {
		return
	}
	e.Text = text()
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.limits[e.Limit]
	c.Last, c.At = e, time.Now()
	x.limits[e.Limit] = c
	if x.report == nil {
		return
	}
	x.pending = append(x.pending, reportedExcess{e, times})
	if !x.busy {
		x.busy = true
		go x.tell()
	}
}

// count enters an excess and returns for how many it is to be reported, 0 if it is not. x.mu is held.
func (x *Excesses) count(e *Excess) (times uint64) {
	if x.limits == nil {
		x.limits, x.recent = make(map[string]ExcessCount), make(map[excessKey]*excessAccount)
	}
	c := x.limits[e.Limit]
	c.Times++
	x.limits[e.Limit] = c
	now := time.Now()
	key := excessKey{e.Limit, e.Account()}
	account := x.recent[key]
	if account == nil {
		if len(x.recent) >= maxExcessUsers {
			x.forgetOld(now)
		}
		if len(x.recent) >= maxExcessUsers {
			return 0
		}
		account = &excessAccount{tokens: excessBurst, filled: now}
		x.recent[key] = account
	}
	account.since++
	account.total++
	if n := int(now.Sub(account.filled) / excessInterval); n > 0 {
		account.tokens, account.filled = min(account.tokens+n, excessBurst), now
	}
	if account.tokens == 0 {
		return 0
	}
	account.tokens--
	times, account.since = account.since, 0
	return times
}

// forgetOld makes space for others. x.mu is held.
func (x *Excesses) forgetOld(now time.Time) {
	maps.DeleteFunc(x.recent, func(_ excessKey, a *excessAccount) bool { return now.Sub(a.filled) >= excessBurst*excessInterval })
}

// tell reports what is pending.
func (x *Excesses) tell() {
	for {
		x.mu.Lock()
		batch, report := x.pending, x.report
		x.pending = nil
		if len(batch) == 0 {
			x.busy = false
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
		for _, e := range batch {
			report(e.Excess, e.times)
		}
	}
}

// ByLimit returns what there has been of each limit that was reached.
func (x *Excesses) ByLimit() map[string]ExcessCount {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.limits)
}

// ByAccount returns how often users, and custom endpoints, have reached limits. If there are many of them, it is
// not known of those who did so long ago.
func (x *Excesses) ByAccount() map[Account]uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	totals := make(map[Account]uint64)
	for key, account := range x.recent {
		totals[key.account] += account.total
	}
	return totals
}

// Excesses returns the account of attempts to go beyond limits on the bus.
func (b *Bus) Excesses() *Excesses { return &b.excesses }
