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
	guests   int                   // peers of servers with Config.Guests
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
	guest  bool   // of all servers with Config.Guests
}

// accountOf returns the account of a user's peers.
func (s *Server) accountOf(uid uint32) account {
	switch e := s.config.Endpoint; {
	case e != nil && e.Custom():
		return account{server: s}
	case e == nil:
		return account{server: s, uid: uid}
	}
	return account{uid: uid, guest: s.config.Guests}
}

// String names the account, for the log.
func (a account) String() string {
	if a.server != nil && a.server.config.Endpoint != nil {
		return "endpoint " + a.server.config.Endpoint.Name()
	}
	return fmt.Sprintf("user %d", a.uid)
}

// invite counts a peer that is to be a guest, unless there are as many as may be. s.mu is held.
func (s *Server) invite() bool {
	if !s.config.Guests {
		return true
	}
	if s.guests >= maxFiles()/2 {
		return false
	}
	s.guests++
	return true
}

// uninvite is the counterpart of invite. s.mu is held.
func (s *Server) uninvite() {
	if s.config.Guests {
		s.guests--
	}
}
