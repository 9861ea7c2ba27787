package dbus1

import (
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// The interface org.freedesktop.DBus.Debug.Stats: what is on the bus and what waits, now and at the
// peak. Names are dbus-daemon's where there is something to report under them. What it does not tell is
// who fills a queue, and how much it may hold: the keys Users and Endpoints, OutgoingPerUser and OutgoingPerEndpoint and those
// with Max; and which limits there are and have been reached: Limits and LimitsReached (statslimits.go).

var statsMethods = []method{
	{name: "GetStats", out: "a{sv}", open: true, handle: getStats},
	{name: "GetConnectionStats", in: "s", out: "a{sv}", open: true, handle: getConnectionStats},
	{name: "GetAllMatchRules", out: "a{sas}", open: true, handle: getAllMatchRules},
}

// statistics collects numbers for an answer.
type statistics map[string]wire.Variant

func (s statistics) set(name string, n int) {
	s[name] = wire.Variant{Signature: "u", Value: uint32(n)}
}

func (s statistics) set64(name string, n uint64) {
	s[name] = wire.Variant{Signature: "t", Value: n}
}

// perAccount are numbers of users and of custom endpoints.
type perAccount map[bus.Account]map[string]uint64

// set sets one of the numbers of an account.
func (p perAccount) set(a bus.Account, key string, n uint64) {
	if p[a] == nil {
		p[a] = make(map[string]uint64)
	}
	p[a][key] = n
}

// setPerAccount tells the numbers of users, by their ids, and those of endpoints, by their names.
func (s statistics) setPerAccount(users, endpoints string, accounts perAccount) {
	byID, byName := make(map[uint32]map[string]uint64), make(map[string]map[string]uint64)
	for a, numbers := range accounts {
		if a.Endpoint == "" {
			byID[a.UID] = numbers
		} else {
			byName[a.Endpoint] = numbers
		}
	}
	s[users] = wire.Variant{Signature: "a{ua{st}}", Value: byID}
	s[endpoints] = wire.Variant{Signature: "a{sa{st}}", Value: byName}
}

func getStats(c *call) error {
	s := make(statistics)
	active, incomplete := c.server.Counts()
	onBus := c.server.bus.Stats()
	rules := c.server.subs.count(c.peer.conn)
	s.set("Serial", int(c.server.serial.Add(1)-1))
	s.set("ActiveConnections", active)
	s.set("PeakActiveConnections", onBus.PeakConns)
	s.set("IncompleteConnections", incomplete)
	s.set("Monitors", onBus.Monitors)
	s.set("MatchRules", rules.now)
	s.set("PeakMatchRules", rules.peak)
	s.set("PeakMatchRulesPerConnection", rules.peakPerConn)
	s.set("BusNames", onBus.Names)
	s.set("PeakBusNames", onBus.PeakNames)
	s.set("PeakBusNamesPerConnection", onBus.PeakConnNames+1) // and the unique name
	s.setPerAccount("Users", "Endpoints", c.server.accountStatistics())
	s["Limits"] = wire.Variant{Signature: "a{sx}", Value: c.server.limitStatistics()}
	s["LimitsReached"] = wire.Variant{Signature: "a{sa{sv}}", Value: reachedStatistics(c.server.bus.Excesses())}
	return c.reply(map[string]wire.Variant(s))
}

// accountStatistics tells what users and endpoints have that have something, or have reached a limit.
func (s *Server) accountStatistics() perAccount {
	accounts := make(perAccount)
	for a, u := range s.bus.UserStats() {
		accounts[a] = map[string]uint64{
			"Connections": uint64(u.Conns), "MaxConnections": uint64(u.MaxConns),
			"QueuedMessages": uint64(u.Messages), "QueuedBytes": uint64(u.Bytes), "QueuedFDs": uint64(u.FDs),
			"FullestPercent": uint64(u.FullestPercent),
		}
	}
	for uid, n := range s.Arrivals() {
		accounts.set(bus.Account{UID: uid}, "IncompleteConnections", uint64(n.Begun))
		accounts.set(bus.Account{UID: uid}, "WaitingConnections", uint64(n.Waiting))
	}
	for a, times := range s.bus.Excesses().ByAccount() {
		accounts.set(a, "LimitsReached", times)
	}
	return accounts
}

func getConnectionStats(c *call) error {
	name, owner, self, err := c.named("statistics")
	if err != nil {
		return err
	}
	if self {
		return dbusErrorf("InvalidArgs", "GetConnectionStats is not meaningful for the message bus \"%s\" itself", name)
	}
	s := make(statistics)
	queue := owner.conn.QueueStats()
	s.set("Serial", int(c.server.serial.Add(1)-1))
	s["UniqueName"] = wire.Variant{Signature: "s", Value: owner.conn.UniqueName()}
	rules, peakRules := c.server.subs.countOf(c.peer.conn, owner.conn)
	s.set("MatchRules", rules)
	s.set("PeakMatchRules", peakRules)
	s.set("BusNames", len(owner.conn.Names())+1)
	s.set("PeakBusNames", owner.conn.PeakNames()+1)
	s.set("PendingReplies", owner.conn.PendingCalls())
	// Messages of the peer are routed as soon as they are complete: none waits.
	s.set("IncomingMessages", 0)
	s.set("IncomingBytes", 0)
	s.set("IncomingFDs", 0)
	s.set("PeakIncomingBytes", 0)
	s.set("PeakIncomingFDs", 0)
	s.set("OutgoingMessages", queue.Messages)
	s.set("OutgoingBytes", queue.Bytes)
	s.set("OutgoingFDs", queue.FDs)
	s.set("PeakOutgoingBytes", queue.PeakBytes)
	s.set("PeakOutgoingFDs", queue.PeakFDs)
	s.set64("DroppedBroadcasts", queue.Dropped)
	setLimits(s, owner.conn)
	messages, bytes, fds := owner.Sent()
	s.set64("SentMessages", messages)
	s.set64("SentBytes", bytes)
	s.set64("SentFDs", fds)
	return c.reply(map[string]wire.Variant(s))
}

// setLimits tells what a connection may have, and who has filled its queue.
func setLimits(s statistics, conn *bus.Conn) {
	limits := conn.Limits()
	s.set64("MaxOutgoingBytes", uint64(limits.Quota.Bytes))
	s.set64("MaxOutgoingFDs", uint64(limits.Quota.FDs))
	s.set64("MaxOutgoingMessages", uint64(limits.Quota.Messages)) // 0: as many as there is space for
	s.set64("MaxBusNames", uint64(limits.MaxNames)+1)
	s.set64("MaxPendingReplies", uint64(limits.MaxCalls))
	accounts := make(perAccount)
	for _, share := range conn.QueueShares() {
		accounts[share.Account] = map[string]uint64{
			"Messages": uint64(share.Messages), "Bytes": uint64(share.Bytes), "FDs": uint64(share.FDs), "Memfds": uint64(share.Memfds),
			"MaxBytes": uint64(share.MaxBytes), "Percent": uint64(share.Percent()),
		}
	}
	s.setPerAccount("OutgoingPerUser", "OutgoingPerEndpoint", accounts)
}

func getAllMatchRules(c *call) error {
	all := make(map[string][]string)
	for _, conn := range c.server.bus.Conns() {
		all[conn.UniqueName()] = c.server.subs.rules(c.peer.conn, conn)
	}
	return c.reply(all)
}
