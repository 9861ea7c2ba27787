package daemon

import (
	"math"
	"time"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/dbus1"
)

// limitsOf returns the limits of a configuration as the D-Bus 1 front-end takes them.
// Those of containers (max_containers and so on) limit nothing here: there is no interface Containers1, as
// there is none in dbus-daemon as distributions build it. max_pending_service_starts and
// service_start_timeout are package activation's.
func limitsOf(l *busconfig.Limits) dbus1.Limits {
	return dbus1.Limits{
		MaxIncompleteConnections: limit(l.MaxIncompleteConnections),
		AuthTimeout:              limitTime(l.AuthTimeout),
		MaxConnections:           limit(l.MaxCompletedConnections),
		MaxMessageSize:           limit(l.MaxMessageSize),
		MaxMessageFDs:            limit(l.MaxMessageUnixFDs),
		MaxConnectionsPerUser:    limit(l.MaxConnectionsPerUser),
		MaxIncomingBytes:         limit(l.MaxIncomingBytes),
		MaxIncomingFDs:           limit(l.MaxIncomingUnixFDs),
		PendingFDTimeout:         limitTime(l.PendingFDTimeout),
		MaxQueueBytes:            limit(l.MaxOutgoingBytes),
		MaxQueueFDs:              limit(l.MaxOutgoingUnixFDs),
		MaxNames:                 limit(l.MaxNamesPerConnection),
		MaxMatchRules:            limit(l.MaxMatchRulesPerConnection),
		MaxPendingReplies:        limit(l.MaxRepliesPerConnection),
		ReplyTimeout:             l.ReplyTimeout, // for ever if it is negative
	}
}

// limit makes of 0 what means none in Limits, where 0 means the default.
func limit(v int64) int {
	if v <= 0 {
		return -1
	}
	return int(min(v, math.MaxInt32))
}

// limitTime makes of 0 the shortest time that there is.
func limitTime(d time.Duration) time.Duration { return max(d, 1) }
