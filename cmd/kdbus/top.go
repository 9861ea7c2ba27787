package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/tty"
)

// top is a measurement of who talks how much.
type top struct {
	watch    *watch
	asker    *kdbus.Conn // which can still send
	counter  counter
	had, has map[account]userQuota // what users had before and have now; nil if the bus does not tell
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

A kdbus bus also tells how full queues are. QUOTA of a connection is how much of its share
in that queue the user FILLED BY has used, of whom most waits there; at 100% the bus refuses
to take more from that user for that connection. Of users, it is the same where it is most,
HELD is what they have sent and nobody has received yet, REFUSED how often they have reached
a limit meanwhile, and CONNECTIONS how many they have. What comes through an endpoint that somebody
has made counts as the endpoint's, and not as its user's: it has a line of its own.

On a terminal the tables are shown again and again until Ctrl-C; elsewhere, and as JSON,
once. Times in JSON are in microseconds, the interval in seconds.`,
		Example: `  kdbus top --user
  kdbus top --user --interval=10s --json=pretty`,
		Args: operands,
	}
	options := &watchOptions{bus: addBusFlags(cmd), kinds: topKinds | abi.AttachTimestamp}
	mode := jsonFlags(cmd)
	cmd.Flags().Var(&interval, "interval", "how long to count: 5s, 500ms, 2min; without unit seconds")
	noLegend := cmd.Flags().Bool("no-legend", false, "do not print the heads of columns")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if interval == 0 || interval == forEver {
			return &exitError{exitUsage, errors.New("--interval must be a time that is more than 0 and has an end")}
		}
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
		t.counter.owners, t.has = names.owners, t.quotas(ctx)
		fmt.Fprintf(cmd.ErrOrStderr(), "Counting bus messages for %v.\n", t.interval)
		return t.run(ctx, cmd.OutOrStdout())
	}
	return cmd
}

func (t *top) run(ctx context.Context, out io.Writer) error {
	live := tty.HasCursor(out) && t.mode == jsontext.Off
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
		m, err := t.watch.backlog.next(bounded)
		if bounded.Err() != nil || ctx.Err() != nil { // the end of ctx gets to the watch first, perhaps
			return nil
		}
		if err != nil {
			return fmt.Errorf("the bus has ended: %w", err)
		}
		// What is asked for the tables is not traffic of others.
		if m.Sender() != t.asker.Name() && m.Destination() != t.asker.Name() {
			t.counter.count(m)
		}
	}
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
