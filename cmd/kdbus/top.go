package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/table"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/tty"
)

// top is a measurement of who talks how much.
type top struct {
	watch    *watch
	asker    *kdbus.Conn // which can still send
	counter  counter
	users    metadata.Users
	interval time.Duration
	mode     jsontext.Mode
	noLegend bool
}

// topKinds are the kinds of metadata that tell who somebody is.
const topKinds = abi.AttachPIDs | abi.AttachPIDComm | abi.AttachCreds | abi.AttachNames

func newTopCommand() *cobra.Command {
	interval := duration(2 * time.Second)
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show who talks how much",
		Long: `Counts for a while, two seconds unless --interval says otherwise, what every connection
and every user sends and receives: messages, bytes of their bodies, calls made, errors
answered with, how long answers took on average and at most, and what waits in the bus to
be received. Who talked most comes first. Signals to everybody count as sent only.

On a terminal the tables are shown again and again until Ctrl-C; elsewhere, and as JSON,
once. Times in JSON are in microseconds, the interval in seconds.`,
		Example: `  kdbus top --user
  kdbus top --user --interval=10s --json=pretty`,
		Args: usage(cobra.NoArgs),
	}
	options := &watchOptions{bus: addBusFlags(cmd), kinds: topKinds | abi.AttachTimestamp}
	mode := jsonFlags(cmd)
	cmd.Flags().Var(&interval, "interval", "how long to count: 5s, 500ms, 2min; without unit seconds")
	noLegend := cmd.Flags().Bool("no-legend", false, "do not print the heads of columns")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		asker, err := options.bus.dial(ctx, kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer asker.Close()
		w, err := startWatch(ctx, options, nil)
		if err != nil {
			return err
		}
		defer w.close()
		t := &top{watch: w, asker: asker, interval: time.Duration(interval), mode: *mode, noLegend: *noLegend}
		var names watchFilter
		if err := names.learnOwners(ctx, asker); err != nil {
			return err
		}
		t.counter.owners = names.owners
		fmt.Fprintf(cmd.ErrOrStderr(), "Counting bus messages for %v.\n", t.interval)
		return t.run(ctx, cmd.OutOrStdout())
	}
	return cmd
}

func (t *top) run(ctx context.Context, out io.Writer) error {
	live := tty.Is(out) && t.mode == jsontext.Off
	if live {
		fmt.Fprint(out, tty.EnterScreen)
		defer fmt.Fprint(out, tty.LeaveScreen)
	}
	for {
		if err := t.measure(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		t.ask(ctx)
		var text []byte
		switch {
		case t.mode != jsontext.Off:
			text = jsontext.Append(nil, t.json(), t.mode)
		case live:
			columns, lines := tty.Size(out)
			text = screen(t.tables(styleOf(out)), columns, lines)
		default:
			text = t.tables(styleOf(out))
		}
		if _, err := out.Write(text); err != nil || !live {
			return err
		}
		t.counter.reset()
	}
}

// measure counts for one interval, or until ctx ends.
func (t *top) measure(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, t.interval)
	defer cancel()
	for {
		m, err := t.watch.sub.Next(bounded)
		if bounded.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the bus has ended: %w", err)
		}
		// What is asked for the tables is not traffic of others.
		if m.Sender() != t.asker.Name() && m.Destination() != t.asker.Name() {
			t.counter.count(m)
		}
		for _, file := range m.Files() {
			file.Close()
		}
	}
}

// ask asks the bus who those are that have talked, and what waits for them.
func (t *top) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.interval)
	defer cancel()
	bus := t.asker.Object(busName, "/org/freedesktop/DBus")
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
		if err != nil {
			continue // the bus does not have that interface, or the connection has gone
		}
		talker.queued, talker.queuedBytes = uint64Of(stats["OutgoingMessages"]), uint64Of(stats["OutgoingBytes"])
	}
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

// columns of both tables, behind those that say who it is.
var trafficColumns = []table.Column{{Title: "SENT", Right: true}, {Title: "SENT BYTES", Right: true}, {Title: "RECEIVED", Right: true},
	{Title: "RECEIVED BYTES", Right: true}, {Title: "CALLS", Right: true}, {Title: "ERRORS", Right: true}, {Title: "LATENCY", Right: true},
	{Title: "SLOWEST", Right: true}, {Title: "QUEUED", Right: true}, {Title: "QUEUED BYTES", Right: true}}

func trafficCells(t *traffic) []table.Cell {
	number := func(n uint64) table.Cell { return table.Cell{Text: strconv.FormatUint(n, 10), JSON: n} }
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
	return []table.Cell{number(t.sent), number(t.sentBytes), number(t.received), number(t.receivedBytes), number(t.calls),
		number(t.errors), span(mean), span(t.slowest), number(t.queued), number(t.queuedBytes)}
}

// connections makes the table of connections; byUser adds them up.
func (t *top) connections() (connections, byUser *table.Table) {
	connections = &table.Table{Columns: append([]table.Column{{Title: "CONNECTION"}, {Title: "NAME"}, {Title: "PID", Right: true},
		{Title: "PROCESS"}, {Title: "USER"}}, trafficColumns...)}
	byUser = &table.Table{Columns: append([]table.Column{{Title: "USER"}}, trafficColumns...)}
	names := make(map[string]string)
	for name, owner := range t.counter.owners {
		if known := names[owner]; known == "" || name < known {
			names[owner] = name
		}
	}
	users := make(map[string]*traffic)
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
		connections.Rows = append(connections.Rows, append(row, trafficCells(&talker.traffic)...))
		if users[user] == nil {
			users[user] = new(traffic)
		}
		users[user].add(&talker.traffic)
	}
	order := make([]string, 0, len(users))
	for user := range users {
		order = append(order, user)
	}
	slices.SortFunc(order, func(a, b string) int { return cmp.Or(cmp.Compare(users[b].sent, users[a].sent), cmp.Compare(a, b)) })
	for _, user := range order {
		byUser.Rows = append(byUser.Rows, append([]table.Cell{table.Text(user)}, trafficCells(users[user])...))
	}
	return connections, byUser
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
	if n := t.watch.sub.Dropped(); n > 0 {
		text = fmt.Appendf(text, "\n%d messages were missed.\n", n)
	}
	return text
}

func (t *top) json() jsontext.Object {
	connections, users := t.connections()
	return jsontext.Object{{Key: "interval", Value: t.interval.Seconds()}, {Key: "connections", Value: connections.JSON()},
		{Key: "users", Value: users.JSON()}, {Key: "missed", Value: t.watch.sub.Dropped()}}
}

// screen makes of a text what fills a terminal of a size, from its first line.
func screen(text []byte, columns, lines int) []byte {
	out := []byte(tty.Home)
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if i >= lines-1 {
			break
		}
		out = append(append(out, tty.Cut(line, columns)...), tty.ClearLine+"\r\n"...)
	}
	return append(out, tty.ClearBelow...)
}
