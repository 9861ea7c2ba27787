package main

import (
	"context"
	"strings"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
)

// busPath is the object of the bus itself.
const busPath = "/org/freedesktop/DBus"

// queueUse is how full a connection's receive queue is.
type queueUse struct {
	messages, bytes uint64  // that wait in it
	limit           uint64  // in bytes; 0 if the bus does not tell
	dropped         uint64  // signals, since the connection was made
	percent         uint64  // what filledBy has used of its share
	filledBy        account // of whom most waits
	known           bool    // the bus has told messages and bytes
	shares          bool    // and the rest
}

// add adds what waits in another queue.
func (q *queueUse) add(o queueUse) {
	q.known = q.known || o.known
	q.messages += o.messages
	q.bytes += o.bytes
}

// account is whose something is: a user's, or that of an endpoint that somebody has made, of which all who came
// through it are one.
type account struct {
	uid      uint32 // if endpoint is ""
	endpoint string
}

// name returns what an account is called.
func (a account) name(users *metadata.Users) string {
	if a.endpoint != "" {
		return "endpoint " + a.endpoint
	}
	return users.Name(uint64(a.uid))
}

// accounts reads what the bus tells of each account; ok is false if it does not tell.
func accounts(stats map[string]kdbus.Variant, users, endpoints string) (all map[account]map[string]uint64, ok bool) {
	byID, ok := stats[users].Value.(map[uint32]map[string]uint64)
	byName, _ := stats[endpoints].Value.(map[string]map[string]uint64)
	all = make(map[account]map[string]uint64, len(byID)+len(byName))
	for uid, has := range byID {
		all[account{uid: uid}] = has
	}
	for name, has := range byName {
		all[account{endpoint: name}] = has
	}
	return all, ok
}

// userQuota is what an account has of what is limited.
type userQuota struct {
	connections, maxConnections uint64
	messages, bytes             uint64 // that it sent and that wait for their receivers
	percent                     uint64 // of its share, in the queue where that is most
	refused                     uint64 // how often a limit was reached, since the bus was made
}

// ask asks the bus who those are that have talked, and what waits for them.
func (t *top) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.interval)
	defer cancel()
	bus := t.asker.Object(busName, busPath)
	for name, talker := range t.counter.talkers {
		if name == busName || !strings.HasPrefix(name, ":") {
			continue
		}
		if !talker.asked && (talker.peer == nil || talker.peer.Has&abi.AttachPIDComm == 0) {
			talker.asked = true
			if p, err := describePeer(ctx, t.asker, name, topKinds); err == nil {
				_ = p.Augment(topKinds, false) // what the bus has said is enough
				talker.peer = p
			}
		}
		stats, err := kdbus.Call[map[string]kdbus.Variant](ctx, bus, busName+".Debug.Stats.GetConnectionStats", name)
		talker.queue = queueUse{}
		if err != nil {
			continue // the bus does not have that interface, or the connection has gone
		}
		talker.queue = queueUseOf(stats)
	}
	t.had = t.has
	t.has = t.quotas(ctx)
}

// quotas asks the bus what users have; nil if it does not tell.
func (t *top) quotas(ctx context.Context) map[account]userQuota {
	stats, err := kdbus.Call[map[string]kdbus.Variant](ctx, t.asker.Object(busName, busPath), busName+".Debug.Stats.GetStats")
	if err != nil {
		return nil
	}
	return quotasOf(stats)
}

// queueUseOf reads what GetConnectionStats has answered.
func queueUseOf(stats map[string]kdbus.Variant) queueUse {
	q := queueUse{known: true, messages: uint64Of(stats["OutgoingMessages"]), bytes: uint64Of(stats["OutgoingBytes"]),
		limit: uint64Of(stats["MaxOutgoingBytes"]), dropped: uint64Of(stats["DroppedBroadcasts"])}
	shares, ok := accounts(stats, "OutgoingPerUser", "OutgoingPerEndpoint")
	q.shares = ok
	most := uint64(0)
	for who, share := range shares {
		if share["Bytes"] > most || share["Bytes"] == most && who.uid < q.filledBy.uid {
			most, q.filledBy, q.percent = share["Bytes"], who, share["Percent"]
		}
	}
	return q
}

// quotasOf reads what GetStats has answered; nil if that does not tell.
func quotasOf(stats map[string]kdbus.Variant) map[account]userQuota {
	users, ok := accounts(stats, "Users", "Endpoints")
	if !ok {
		return nil
	}
	all := make(map[account]userQuota, len(users))
	for who, has := range users {
		all[who] = userQuota{connections: has["Connections"], maxConnections: has["MaxConnections"],
			messages: has["QueuedMessages"], bytes: has["QueuedBytes"], percent: has["FullestPercent"],
			refused: has["LimitsReached"]}
	}
	return all
}

func uint64Of(v kdbus.Variant) uint64 {
	switch n := v.Value.(type) {
	case uint32:
		return uint64(n)
	case uint64:
		return n
	}
	return 0
}
