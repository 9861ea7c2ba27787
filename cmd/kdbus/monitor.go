package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/transcript"
	"github.com/kdbus-go/kdbus/wire"
)

// watchOptions are the flags of commands that watch the messages of a bus.
type watchOptions struct {
	bus     *busFlags
	matches []string
	limit   uint64
	kinds   abi.AttachFlags // of metadata wanted
}

// addWatchFlags adds those flags to cmd.
func addWatchFlags(cmd *cobra.Command) *watchOptions {
	o := &watchOptions{bus: addBusFlags(cmd), kinds: abi.AttachAll}
	cmd.Flags().StringArrayVar(&o.matches, "match", nil, "only messages that match `RULE`; one of them, if there are several")
	cmd.Flags().Uint64VarP(&o.limit, "limit-messages", "N", 0, "end after `NUMBER` messages")
	return o
}

// watchQueue is how many messages can wait to be taken into the backlog, or to be printed by the demo.
const watchQueue = 1 << 12

func newMonitorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "monitor [flags] [SERVICE...]",
		Short: "Show the messages that cross a bus",
		Long: `Shows the messages that cross a bus until Ctrl-C: all, or those from and to services,
whatever names they are addressed by and whoever owns the names at the time; all, or
those that one of the match rules describes. With both, a message has to meet both.

On a kdbus bus each message comes with what the bus knows of its sender and with the
time it was sent. On other buses it is shown with the time it arrived here.

A match rule is one of the D-Bus specification, such as type='signal',interface='a.b'.
With --latency, each answer tells how long it took. As JSON, what the bus knows is under
the key "metadata", and that time, in microseconds, is "latency". If messages come faster
than they can be printed, some are missed; standard error says how many.`,
		Example: `  kdbus monitor --user
  kdbus monitor --user --latency org.freedesktop.locale1
  kdbus monitor --user --match "type='signal'" --json=short | jq .member`,
		ValidArgsFunction: completeServices,
	}
	options := addWatchFlags(cmd)
	mode := jsonFlags(cmd)
	latency := cmd.Flags().Bool("latency", false, "tell of each answer how long it took")
	cmd.RunE = func(cmd *cobra.Command, services []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		w, err := startWatch(ctx, options, services)
		if err != nil {
			return err
		}
		defer w.close()
		fmt.Fprintln(cmd.ErrOrStderr(), "Monitoring bus message stream.")
		p := newMessagePrinter(w.conn.Native(), styleOf(cmd.OutOrStdout()).Bold, *mode, *latency)
		return w.show(ctx, p, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// messagePrinter prints messages one after the other, as monitor and demo do.
type messagePrinter struct {
	transcript.Printer
	mode      jsontext.Mode
	latencies *latencies // nil if nobody wants to know
}

func newMessagePrinter(native bool, bold func(string) string, mode jsontext.Mode, latency bool) *messagePrinter {
	p := &messagePrinter{Printer: transcript.Printer{Native: native, Bold: bold}, mode: mode}
	if latency {
		p.latencies = new(latencies)
	}
	return p
}

// append appends the text of a message.
func (p *messagePrinter) append(dst []byte, m *kdbus.Message) ([]byte, error) {
	if !p.Native {
		p.Arrived = time.Now()
	}
	took, answered := time.Duration(0), false
	if p.latencies != nil {
		took, answered = p.latencies.pair(m)
	}
	if p.mode != jsontext.Off {
		o, err := p.JSON(m, p.mode)
		if err != nil {
			return dst, err
		}
		if answered {
			o = append(o, jsontext.Member{Key: "latency", Value: took.Microseconds()})
		}
		return jsontext.Append(dst, o, p.mode), nil
	}
	if p.Note = ""; answered {
		p.Note = fmt.Sprintf("Latency=%v", took.Round(time.Microsecond))
	}
	return p.Append(dst, m)
}

// watch is a connection that sees the messages of a bus.
type watch struct {
	conn    *kdbus.Conn
	sub     *kdbus.Subscription
	backlog *backlog
	filter  *watchFilter
	limit   uint64
}

// startWatch begins to watch what the options and the names of services select.
func startWatch(ctx context.Context, o *watchOptions, services []string) (*watch, error) {
	f := &watchFilter{services: services}
	for _, name := range services {
		if err := wire.CheckBusName(name); err != nil {
			return nil, fmt.Errorf("%q is no bus name: %w", name, err)
		}
	}
	for _, rule := range o.matches {
		match, err := kdbus.ParseMatch(rule)
		if err != nil {
			return nil, fmt.Errorf("--match %q: %w", rule, err)
		}
		f.matches = append(f.matches, match)
	}
	conn, err := o.bus.dial(ctx, kdbus.Dialer{Metadata: o.kinds})
	if err != nil {
		return nil, err
	}
	sub, err := f.start(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot watch the bus: %w; most buses let only root and their own user do that", plain(err))
	}
	w := &watch{conn: conn, sub: sub, backlog: &backlog{more: make(chan struct{}, 1)}, filter: f, limit: o.limit}
	go w.backlog.fill(ctx, sub)
	return w, nil
}

// missed returns how many messages nobody will see.
func (w *watch) missed() uint64 { return w.sub.Dropped() + w.backlog.missed() }

func (w *watch) close() { w.conn.Close() }

// show prints messages until ctx ends, the bus does, or there were enough of them.
func (w *watch) show(ctx context.Context, p *messagePrinter, out, diagnostics io.Writer) error {
	buffered := bufio.NewWriterSize(out, 256<<10)
	var text []byte
	return w.each(ctx, buffered, diagnostics, func(m *kdbus.Message) (err error) {
		text, err = p.append(text[:0], m)
		if err != nil {
			// It is not one that the library should have let through; others may follow.
			fmt.Fprintf(diagnostics, "A message of %s cannot be read: %v\n", m.Sender(), err)
			return nil
		}
		_, err = buffered.Write(text)
		return err
	})
}

// each calls f for each message that is wanted, and flushes out whenever no message waits. An end
// that was asked for is no error, neither is it that nobody reads on.
func (w *watch) each(ctx context.Context, out *bufio.Writer, diagnostics io.Writer, f func(*kdbus.Message) error) (err error) {
	told := uint64(0)
	tell := func() {
		if n := w.missed(); n > told {
			fmt.Fprintf(diagnostics, "%d messages were missed.\n", n-told)
			told = n
		}
	}
	defer func() {
		if err == nil {
			err = out.Flush()
		}
		if errors.Is(err, syscall.EPIPE) {
			err = nil
		}
		tell()
	}()
	for seen := uint64(0); w.limit == 0 || seen < w.limit; {
		if w.backlog.empty() {
			if err := out.Flush(); err != nil {
				return err
			}
			tell()
		}
		m, err := w.backlog.next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the bus has ended: %w", err)
		}
		if w.filter.wants(m) {
			seen++
			if err := f(m); err != nil {
				return err
			}
		}
	}
	return nil
}
