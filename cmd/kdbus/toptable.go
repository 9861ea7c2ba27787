package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/table"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/tty"
)

// trafficColumns are in both tables, behind those that say who it is.
var trafficColumns = []table.Column{{Title: "SENT", Right: true}, {Title: "SENT BYTES", Right: true}, {Title: "RECEIVED", Right: true},
	{Title: "RECEIVED BYTES", Right: true}, {Title: "CALLS", Right: true}, {Title: "ERRORS", Right: true}, {Title: "LATENCY", Right: true},
	{Title: "SLOWEST", Right: true}, {Title: "QUEUED", Right: true}, {Title: "QUEUED BYTES", Right: true}}

// Columns of one table, behind those.
var (
	queueColumns = []table.Column{{Title: "QUEUE LIMIT BYTES", Data: true}, {Title: "DROPPED", Right: true}, {Title: "QUOTA", Right: true}, {Title: "FILLED BY"}}
	userColumns  = []table.Column{{Title: "HELD", Right: true}, {Title: "HELD BYTES", Right: true}, {Title: "QUOTA", Right: true},
		{Title: "REFUSED", Right: true}, {Title: "MAX CONNECTIONS", Data: true}, {Title: "CONNECTIONS", Right: true}}
)

func number(n uint64) table.Cell { return table.Cell{Text: strconv.FormatUint(n, 10), JSON: n} }

func percent(n uint64) table.Cell {
	return table.Cell{Text: strconv.FormatUint(n, 10) + "%", JSON: n, Bold: n >= nearlyFull}
}

// nearlyFull is the percentage of a quota that stands out.
const nearlyFull = 80

func trafficCells(t *traffic, queue queueUse) []table.Cell {
	span := func(d time.Duration) table.Cell {
		if t.answers == 0 {
			return table.Cell{}
		}
		return table.Cell{Text: d.Round(time.Microsecond).String(), JSON: d.Microseconds()}
	}
	mean := time.Duration(0)
	if t.answers > 0 {
		mean = t.took / time.Duration(t.answers)
	}
	cells := []table.Cell{number(t.sent), number(t.sentBytes), number(t.received), number(t.receivedBytes), number(t.calls),
		number(t.errors), span(mean), span(t.slowest), {}, {}}
	if queue.known {
		cells[8], cells[9] = number(queue.messages), number(queue.bytes)
	}
	return cells
}

// queueCells tell how full a connection's queue is, as far as the bus does.
func (t *top) queueCells(queue queueUse) []table.Cell {
	cells := make([]table.Cell, len(queueColumns))
	if queue.known && queue.shares {
		cells[0], cells[1], cells[2] = number(queue.limit), number(queue.dropped), percent(queue.percent)
		if queue.percent > 0 || queue.messages > 0 {
			cells[3] = table.Text(queue.filledBy.name(&t.users))
		}
	}
	return cells
}

// userTraffic is what the connections of a user add up to.
type userTraffic struct {
	traffic
	queue queueUse
	quota *userQuota // nil if the bus does not tell
}

// connections makes the table of connections; byUser adds them up.
func (t *top) connections() (connections, byUser *table.Table) {
	connections = &table.Table{Columns: slices.Concat([]table.Column{{Title: "CONNECTION"}, {Title: "NAME"}, {Title: "PID", Right: true},
		{Title: "PROCESS"}, {Title: "USER"}}, trafficColumns, queueColumns)}
	names := make(map[string]string)
	for name, owner := range t.counter.owners {
		if known := names[owner]; known == "" || name < known {
			names[owner] = name
		}
	}
	users := make(map[string]*userTraffic)
	for who, quota := range t.has {
		quota.refused -= t.had[who].refused
		users[who.name(&t.users)] = &userTraffic{quota: &quota}
	}
	for _, unique := range t.busiest() {
		talker := t.counter.talkers[unique]
		row := make([]table.Cell, 5)
		row[0], row[1] = table.Text(unique), table.Text(names[unique])
		user := ""
		if p := talker.peer; p != nil && unique != busName {
			known := peerRow(unique, p, &t.users)
			copy(row[2:], known[1:4])
			user = row[4].Text
		}
		connections.Rows = append(connections.Rows, slices.Concat(row, trafficCells(&talker.traffic, talker.queue), t.queueCells(talker.queue)))
		if users[user] == nil {
			users[user] = new(userTraffic)
		}
		users[user].add(&talker.traffic)
		users[user].queue.add(talker.queue)
	}
	return connections, userTable(users)
}

// userTable makes the table of users who have talked, or of whom messages wait.
func userTable(users map[string]*userTraffic) *table.Table {
	t := &table.Table{Columns: slices.Concat([]table.Column{{Title: "USER"}}, trafficColumns, userColumns)}
	order := make([]string, 0, len(users))
	for user, u := range users {
		if u.sent+u.received > 0 || u.quota != nil && u.quota.messages+u.quota.refused > 0 {
			order = append(order, user)
		}
	}
	slices.SortFunc(order, func(a, b string) int { return cmp.Or(cmp.Compare(users[b].sent, users[a].sent), cmp.Compare(a, b)) })
	for _, user := range order {
		u := users[user]
		quota := make([]table.Cell, len(userColumns))
		if q := u.quota; q != nil {
			quota = []table.Cell{number(q.messages), number(q.bytes), percent(q.percent), number(q.refused), number(q.maxConnections), number(q.connections)}
		}
		t.Rows = append(t.Rows, slices.Concat([]table.Cell{table.Text(user)}, trafficCells(&u.traffic, u.queue), quota))
	}
	return t
}

// busiest returns the unique names of connections that have talked, those first that sent and
// received most.
func (t *top) busiest() []string {
	var list []string
	for name, talker := range t.counter.talkers {
		if talker.sent+talker.received > 0 {
			list = append(list, name)
		}
	}
	total := func(name string) uint64 { return t.counter.talkers[name].sent + t.counter.talkers[name].received }
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(total(b), total(a)), cmp.Compare(a, b)) })
	return list
}

func (t *top) tables(style tty.Style) []byte {
	connections, users := t.connections()
	text := append(connections.Append(nil, !t.noLegend, style), '\n')
	text = users.Append(text, !t.noLegend, style)
	if n := t.watch.missed(); n > 0 {
		text = fmt.Appendf(text, "\n%d messages were missed.\n", n)
	}
	return text
}

func (t *top) json() jsontext.Object {
	connections, users := t.connections()
	return jsontext.Object{{Key: "interval", Value: t.interval.Seconds()}, {Key: "connections", Value: connections.JSON()},
		{Key: "users", Value: users.JSON()}, {Key: "missed", Value: t.watch.missed()}}
}
