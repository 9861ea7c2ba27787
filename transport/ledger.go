package transport

import (
	"fmt"
	"sync"
)

// ledger is what the servers of a poller know together: what is on whose account. Its lock is that of all
// these servers.
type ledger struct {
	mu       sync.Mutex
	arrivals map[account]*arrivals // peers that have not said Hello
	waiting  int                   // those of them that wait
	incoming map[account]int       // bytes of long messages that have not arrived in full
	looks    map[account]int       // goroutines that look at processes which can make them wait
}

func (l *ledger) init() {
	l.arrivals, l.incoming, l.looks = make(map[account]*arrivals), make(map[account]int), make(map[account]int)
}

// account is to whom something is accounted: the user uid, on all servers that have a bus, or, if server is not nil, on
// that one alone. All who come through the custom endpoint of a server are one: who is confined to it cannot use
// up what belongs to a user.
type account struct {
	server *Server
	uid    uint32 // 0 for a custom endpoint
}

// accountOf returns the account of a user's peers.
func (s *Server) accountOf(uid uint32) account {
	switch e := s.config.Endpoint; {
	case e == nil:
		return account{server: s, uid: uid}
	case e.Custom():
		return account{server: s}
	}
	return account{uid: uid}
}

// String names the account, for the log.
func (a account) String() string {
	if a.server != nil && a.server.config.Endpoint != nil {
		return "endpoint " + a.server.config.Endpoint.Name()
	}
	return fmt.Sprintf("user %d", a.uid)
}
