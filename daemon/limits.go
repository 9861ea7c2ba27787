package daemon

import (
	"math"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/dbus1"
)

// limitsOf returns the limits of a configuration as the D-Bus 1 front-end takes them.
func limitsOf(l *busconfig.Limits) dbus1.Limits {
	return dbus1.Limits{
		MaxIncompleteConnections: limit(l.MaxIncompleteConnections),
		AuthTimeout:              l.AuthTimeout,
		MaxConnections:           limit(l.MaxCompletedConnections),
		MaxMessageSize:           limit(l.MaxMessageSize),
		MaxMessageFDs:            limit(l.MaxMessageUnixFDs),
		MaxIncomingBytes:         limit(l.MaxIncomingBytes),
		MaxQueueBytes:            limit(l.MaxOutgoingBytes),
		MaxQueueFDs:              limit(l.MaxOutgoingUnixFDs),
		MaxNames:                 limit(l.MaxNamesPerConnection),
		MaxMatchRules:            limit(l.MaxMatchRulesPerConnection),
		MaxPendingReplies:        limit(l.MaxRepliesPerConnection),
	}
}

// limit makes of 0 the least that a limit can be, since 0 means the default in Limits.
func limit(v int64) int { return int(min(max(v, 1), math.MaxInt32)) }
