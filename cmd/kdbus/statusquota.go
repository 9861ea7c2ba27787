package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
)

// What is limited on a bus, what of it is used, and who has reached a limit.

// resource is something that is limited.
type resource struct {
	name, key string
	used, max uint64 // 0 is no limit
}

// String returns what is used and what is left.
func (r resource) String() string {
	if r.max == 0 {
		return fmt.Sprintf("%s=%d", r.name, r.used)
	}
	return fmt.Sprintf("%s=%d of %d", r.name, r.used, r.max)
}

func (r resource) json() jsontext.Member {
	o := jsontext.Object{{Key: "used", Value: r.used}}
	if r.max > 0 {
		o = append(o, jsontext.Member{Key: "max", Value: r.max})
	}
	return jsontext.Member{Key: r.key, Value: o}
}

// quotas is what kdbus status tells of limits.
type quotas struct {
	resources []resource // of a connection
	who       string     // what accounts have something of: "User" of the bus, "Queue" of a connection
	accounts  []accountQuota
	reached   []string // texts, of the bus
}

// accountQuota is what an account has.
type accountQuota struct {
	name      string
	resources []resource
	percent   uint64
	refused   uint64
}

// peerQuotas returns what a connection uses, and who fills its queue; nothing if the bus does not tell.
func peerQuotas(ctx context.Context, conn *kdbus.Conn, name string, users *metadata.Users) (q quotas) {
	stats, err := kdbus.Call[map[string]kdbus.Variant](ctx, conn.Object(busName, busPath), busName+".Debug.Stats.GetConnectionStats", name)
	if err != nil {
		return q
	}
	shares, ok := accounts(stats, "OutgoingPerUser", "OutgoingPerEndpoint")
	if !ok {
		return q
	}
	of := func(key string) uint64 { return uint64Of(stats[key]) }
	q.resources = []resource{
		{"QueuedMessages", "queued_messages", of("OutgoingMessages"), of("MaxOutgoingMessages")},
		{"QueuedBytes", "queued_bytes", of("OutgoingBytes"), of("MaxOutgoingBytes")},
		{"QueuedFDs", "queued_fds", of("OutgoingFDs"), of("MaxOutgoingFDs")},
		{"DroppedSignals", "dropped_signals", of("DroppedBroadcasts"), 0},
		{"PendingReplies", "pending_replies", of("PendingReplies"), of("MaxPendingReplies")},
		{"BusNames", "bus_names", max(of("BusNames"), 1) - 1, max(of("MaxBusNames"), 1) - 1}, // its unique name is none of those
	}
	q.who = "Queue"
	for who, has := range shares {
		q.accounts = append(q.accounts, accountQuota{name: who.name(users), percent: has["Percent"], resources: []resource{
			{"messages", "messages", has["Messages"], 0}, {"bytes", "bytes", has["Bytes"], has["MaxBytes"]}, {"fds", "fds", has["FDs"], 0},
		}})
	}
	q.sort()
	return q
}

// busQuotas returns what users and endpoints have on the bus, and which limits were reached; nothing if the bus does
// not tell.
func busQuotas(ctx context.Context, conn *kdbus.Conn, users *metadata.Users) (q quotas) {
	stats, err := kdbus.Call[map[string]kdbus.Variant](ctx, conn.Object(busName, busPath), busName+".Debug.Stats.GetStats")
	if err != nil {
		return q
	}
	has := quotasOf(stats)
	q.who = "User"
	for who, u := range has {
		q.accounts = append(q.accounts, accountQuota{name: who.name(users), percent: u.percent, refused: u.refused, resources: []resource{
			{"connections", "connections", u.connections, u.maxConnections},
			{"messages", "messages", u.messages, 0}, {"bytes", "bytes", u.bytes, 0},
		}})
	}
	q.sort()
	reached, _ := stats["LimitsReached"].Value.(map[string]map[string]kdbus.Variant)
	for _, limit := range slices.Sorted(maps.Keys(reached)) {
		text, _ := reached[limit]["LastText"].Value.(string)
		q.reached = append(q.reached, fmt.Sprintf("%s, %d times, last: %s", limit, uint64Of(reached[limit]["Times"]), text))
	}
	return q
}

func (q *quotas) sort() {
	slices.SortFunc(q.accounts, func(a, b accountQuota) int { return strings.Compare(a.name, b.name) })
}

// append appends lines as kdbus status prints them.
func (q *quotas) append(dst []byte) []byte {
	for _, r := range q.resources {
		dst = fmt.Appendf(dst, "%s\n", r)
	}
	for _, a := range q.accounts {
		dst = fmt.Appendf(dst, "%s=%s", q.who, a.name)
		for _, r := range a.resources {
			dst = fmt.Appendf(dst, " %s", r)
		}
		dst = fmt.Appendf(dst, " share=%d%%", a.percent)
		if q.who == "User" {
			dst = fmt.Appendf(dst, " refused=%d", a.refused)
		}
		dst = append(dst, '\n')
	}
	for _, text := range q.reached {
		dst = fmt.Appendf(dst, "LimitReached=%s\n", text)
	}
	return dst
}

// json returns the same as JSON.
func (q *quotas) json() (o jsontext.Object) {
	for _, r := range q.resources {
		o = append(o, r.json())
	}
	if q.who == "" {
		return o
	}
	list := []any{}
	for _, a := range q.accounts {
		one := jsontext.Object{{Key: "name", Value: a.name}}
		for _, r := range a.resources {
			one = append(one, r.json())
		}
		one = append(one, jsontext.Member{Key: "share", Value: a.percent})
		if q.who == "User" {
			one = append(one, jsontext.Member{Key: "refused", Value: a.refused})
		}
		list = append(list, one)
	}
	if q.who == "Queue" {
		return append(o, jsontext.Member{Key: "queue", Value: list})
	}
	o = append(o, jsontext.Member{Key: "users", Value: list})
	reached := []any{}
	for _, text := range q.reached {
		reached = append(reached, text)
	}
	return append(o, jsontext.Member{Key: "limits_reached", Value: reached})
}
