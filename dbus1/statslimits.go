package dbus1

import (
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// What Debug.Stats tells of limits: what they are, by the names of dbus-daemon(1), and which have been
// reached.

// limitStatistics returns the limits; times in milliseconds, -1 for never.
func (s *Server) limitStatistics() map[string]int64 {
	own, below := s.limits.load(), s.Server.Limits()
	all := map[string]int64{
		"max_incoming_bytes":             int64(below.MaxIncomingBytes),
		"max_incoming_unix_fds":          int64(below.MaxIncomingFDs),
		"max_outgoing_bytes":             int64(own.MaxQueueBytes),
		"max_outgoing_unix_fds":          int64(own.MaxQueueFDs),
		"max_message_size":               int64(own.MaxMessageSize),
		"max_message_unix_fds":           int64(own.MaxMessageFDs),
		"auth_timeout":                   below.AuthTimeout.Milliseconds(),
		"pending_fd_timeout":             below.PendingFDTimeout.Milliseconds(),
		"max_completed_connections":      int64(below.MaxConnections),
		"max_incomplete_connections":     int64(below.MaxIncompleteConnections),
		"max_connections_per_user":       int64(s.bus.Domain().MaxConnsPerUser()),
		"max_names_per_connection":       int64(own.MaxNames),
		"max_match_rules_per_connection": int64(own.MaxMatchRules),
		"max_replies_per_connection":     int64(own.MaxPendingReplies),
		"reply_timeout":                  -1,
	}
	if own.ReplyTimeout > 0 {
		all["reply_timeout"] = own.ReplyTimeout.Milliseconds()
	}
	return all
}

// reachedStatistics returns, of each limit that was reached, how often, and the last case that was reported.
func reachedStatistics(x *bus.Excesses) map[string]map[string]wire.Variant {
	all := make(map[string]map[string]wire.Variant)
	for limit, count := range x.ByLimit() {
		all[limit] = map[string]wire.Variant{
			"Times":          {Signature: "t", Value: count.Times},
			"LastAmount":     {Signature: "x", Value: count.Last.Amount},
			"LastMax":        {Signature: "x", Value: count.Last.Max},
			"LastUnixUserID": {Signature: "u", Value: count.Last.UID},
			"LastText":       {Signature: "s", Value: count.Last.Text},
			"LastTime":       {Signature: "t", Value: uint64(max(count.At.UnixNano()/int64(time.Microsecond), 0))},
		}
		if count.Last.Conn != 0 {
			all[limit]["LastConnection"] = wire.Variant{Signature: "s", Value: count.Last.Conn.String()}
		}
	}
	return all
}
