package busconfig

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"time"
)

// Limits are the limits of a bus with the names of dbus-daemon(1). The defaults are the same for every type
// of bus; the stock session.conf raises most of them.
type Limits struct {
	MaxIncomingBytes           int64 // max_incoming_bytes
	MaxIncomingUnixFDs         int64 // max_incoming_unix_fds
	MaxOutgoingBytes           int64 // max_outgoing_bytes
	MaxOutgoingUnixFDs         int64 // max_outgoing_unix_fds
	MaxMessageSize             int64 // max_message_size, in bytes
	MaxMessageUnixFDs          int64 // max_message_unix_fds
	MaxCompletedConnections    int64 // max_completed_connections
	MaxIncompleteConnections   int64 // max_incomplete_connections
	MaxConnectionsPerUser      int64 // max_connections_per_user
	MaxPendingServiceStarts    int64 // max_pending_service_starts
	MaxNamesPerConnection      int64 // max_names_per_connection
	MaxMatchRulesPerConnection int64 // max_match_rules_per_connection
	MaxRepliesPerConnection    int64 // max_replies_per_connection
	MaxContainers              int64 // max_containers
	MaxContainersPerUser       int64 // max_containers_per_user
	MaxContainerMetadataBytes  int64 // max_container_metadata_bytes
	MaxConnectionsPerContainer int64 // max_connections_per_container

	ServiceStartTimeout time.Duration // service_start_timeout
	AuthTimeout         time.Duration // auth_timeout
	PendingFDTimeout    time.Duration // pending_fd_timeout
	// ReplyTimeout (reply_timeout) is negative by default: replies are waited for without limit.
	ReplyTimeout time.Duration
}

// DefaultLimits are those of a configuration that sets none.
func DefaultLimits() Limits {
	return Limits{
		MaxIncomingBytes:           127 << 20,
		MaxIncomingUnixFDs:         64,
		MaxOutgoingBytes:           127 << 20,
		MaxOutgoingUnixFDs:         64,
		MaxMessageSize:             32 << 20,
		MaxMessageUnixFDs:          16,
		MaxCompletedConnections:    2048,
		MaxIncompleteConnections:   64,
		MaxConnectionsPerUser:      256,
		MaxPendingServiceStarts:    512,
		MaxNamesPerConnection:      512,
		MaxMatchRulesPerConnection: 512,
		MaxRepliesPerConnection:    128,
		MaxContainers:              512,
		MaxContainersPerUser:       16,
		MaxContainerMetadataBytes:  4096,
		MaxConnectionsPerContainer: 8,
		ServiceStartTimeout:        25 * time.Second,
		AuthTimeout:                30 * time.Second,
		PendingFDTimeout:           150 * time.Second,
		ReplyTimeout:               -1,
	}
}

// limit is one of Limits: a number, or a time in milliseconds.
type limit struct {
	name   string
	number func(*Limits) *int64
	time   func(*Limits) *time.Duration
	wide   bool // may exceed an int of C
}

var limits = []limit{
	{name: "max_incoming_bytes", number: func(l *Limits) *int64 { return &l.MaxIncomingBytes }, wide: true},
	{name: "max_incoming_unix_fds", number: func(l *Limits) *int64 { return &l.MaxIncomingUnixFDs }, wide: true},
	{name: "max_outgoing_bytes", number: func(l *Limits) *int64 { return &l.MaxOutgoingBytes }, wide: true},
	{name: "max_outgoing_unix_fds", number: func(l *Limits) *int64 { return &l.MaxOutgoingUnixFDs }, wide: true},
	{name: "max_message_size", number: func(l *Limits) *int64 { return &l.MaxMessageSize }, wide: true},
	{name: "max_message_unix_fds", number: func(l *Limits) *int64 { return &l.MaxMessageUnixFDs }, wide: true},
	{name: "service_start_timeout", time: func(l *Limits) *time.Duration { return &l.ServiceStartTimeout }},
	{name: "auth_timeout", time: func(l *Limits) *time.Duration { return &l.AuthTimeout }},
	{name: "pending_fd_timeout", time: func(l *Limits) *time.Duration { return &l.PendingFDTimeout }},
	{name: "reply_timeout", time: func(l *Limits) *time.Duration { return &l.ReplyTimeout }},
	{name: "max_completed_connections", number: func(l *Limits) *int64 { return &l.MaxCompletedConnections }},
	{name: "max_incomplete_connections", number: func(l *Limits) *int64 { return &l.MaxIncompleteConnections }},
	{name: "max_connections_per_user", number: func(l *Limits) *int64 { return &l.MaxConnectionsPerUser }},
	{name: "max_pending_service_starts", number: func(l *Limits) *int64 { return &l.MaxPendingServiceStarts }},
	{name: "max_names_per_connection", number: func(l *Limits) *int64 { return &l.MaxNamesPerConnection }},
	{name: "max_match_rules_per_connection", number: func(l *Limits) *int64 { return &l.MaxMatchRulesPerConnection }},
	{name: "max_replies_per_connection", number: func(l *Limits) *int64 { return &l.MaxRepliesPerConnection }},
	{name: "max_containers", number: func(l *Limits) *int64 { return &l.MaxContainers }},
	{name: "max_containers_per_user", number: func(l *Limits) *int64 { return &l.MaxContainersPerUser }},
	{name: "max_container_metadata_bytes", number: func(l *Limits) *int64 { return &l.MaxContainerMetadataBytes }},
	{name: "max_connections_per_container", number: func(l *Limits) *int64 { return &l.MaxConnectionsPerContainer }},
}

// All yields every limit under the name that a configuration has for it, times in milliseconds and -1
// for never.
func (l *Limits) All() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for _, one := range limits {
			if !yield(one.name, one.get(l)) {
				return
			}
		}
	}
}

func (one limit) get(l *Limits) int64 {
	if one.number != nil {
		return *one.number(l)
	}
	if t := *one.time(l); t >= 0 {
		return t.Milliseconds()
	}
	return -1
}

// set gives the limit name the value that text has. With a nil error it may return a complaint.
func (l *Limits) set(name, text string) (complaint string, err error) {
	for _, one := range limits {
		if one.name != name {
			continue
		}
		v, rest, err := parseNumber(text)
		switch {
		case err != nil:
			return "", fmt.Errorf("the value %q of %s is not a number; write for example %d", text, name, max(one.get(l), 1))
		case v < 0:
			return "", fmt.Errorf("%s is %d, but it may not be negative", name, v)
		case !one.wide && v > math.MaxInt32:
			return "", fmt.Errorf("%s is %d, but it may not be more than %d", name, v, math.MaxInt32)
		}
		if one.number != nil {
			*one.number(l) = v
		} else {
			*one.time(l) = time.Duration(v) * time.Millisecond
		}
		if rest != "" {
			complaint = fmt.Sprintf("%q after the number %d is ignored; remove it", rest, v)
		}
		return complaint, nil
	}
	return "", fmt.Errorf("there is no limit %q; the limits are %s", name, limitNames())
}

func limitNames() string {
	names := make([]string, len(limits))
	for i := range limits {
		names[i] = limits[i].name
	}
	return strings.Join(names, ", ")
}

var errNumber = errors.New("not a number")

// parseNumber reads what strtol(3) reads with base 0: white space, a sign, and a number that is octal after 0
// and hexadecimal after 0x. The rest is what follows, less white space.
func parseNumber(s string) (v int64, rest string, err error) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	base := int64(10)
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' && digit(s[2]) < 16 {
		base, s = 16, s[2:]
	} else if strings.HasPrefix(s, "0") {
		base = 8
	}
	i := 0
	for ; i < len(s) && digit(s[i]) < base; i++ {
		d := digit(s[i])
		if v > (math.MaxInt64-d)/base {
			return 0, "", errNumber
		}
		v = v*base + d
	}
	if i == 0 {
		return 0, "", errNumber
	}
	if negative {
		v = -v
	}
	return v, strings.Trim(s[i:], " \t\n\v\f\r"), nil
}

// digit returns the value of c as a digit, or 99.
func digit(c byte) int64 {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int64(c|0x20-'a') + 10
	}
	return 99
}
