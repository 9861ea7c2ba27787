package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bench"
)

// benchOptions are the flags of kdbus bench that are not handed on as they are.
type benchOptions struct {
	bench.Options
	compare bool
	against []string
	json    bool
}

func newBenchCommand() *cobra.Command {
	var options benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the speed and memory of a message bus",
		Long: `Measures the message bus at an address or, with --compare, this one and others side
by side. All are measured by the same clients, which are processes of their own and
do as little as a client can: blocking sockets, messages made in advance.

  memory     by how much the bus grows with each connection that does nothing
  roundtrip  a method call and its reply, one at a time: the time of the median and
             of the slowest 1 %
  inflight   calls and replies per second with 64 calls under way
  broadcast  signals delivered per second to 1, 20 and 200 receivers
  payload    a round trip with an argument of 8 B to 8 MiB and an empty reply
  native     roundtrip, inflight, broadcast and payload with the native protocol, where
             the bus speaks it: 64 KiB as they are, 128 KiB to 64 MiB in a memfd. Also
             measures what of the others it is to be compared with
  endpoint   a call through an endpoint of 100 rules, as those of kdbus sandbox, and through
             xdg-dbus-proxy with the same ones, where that is installed
  connect    connections per second: connect, authenticate, Hello, close

Everything but memory is measured with all processes, the bus too, on one CPU, which
shows the work there is to do, and free, which shows what a user gets. The column
"socket pair" is the floor: the same done without a bus between the two processes.
Each number is the median of the rounds; in each round every bus has its turn.

The column "to row" compares two rows of this bus, the native one with that of the
same kind; the target says which.

With --compare every measurement starts a new bus, which is gone afterwards. The
targets are those of docs/performance.md. Without it, the bus must be on this machine,
its process must be ours to put on one CPU (or we are root), and memory says something
only of a bus that had fewer connections so far.`,
		Example: `  kdbus bench                                     # the session bus
  kdbus bench --address unix:path=/run/bus --only roundtrip,inflight
  kdbus bench --compare                           # with dbus-daemon and dbus-broker
  kdbus bench --compare --policies 300            # with the policy of a large system bus
  kdbus bench --compare --against= --json         # this bus alone, started for it`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := options.complete(cmd); err != nil {
				return &exitError{exitUsage, err}
			}
			return runBench(options, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.Address, "address", "", "measure the bus at `ADDRESS` (default $DBUS_SESSION_BUS_ADDRESS)")
	flags.IntVar(&options.PID, "pid", 0, "process `ID` of that bus (default: who listens at the address)")
	flags.BoolVar(&options.compare, "compare", false, "start and measure this bus and others")
	flags.StringSliceVar(&options.against, "against", []string{bench.DBusDaemon, bench.DBusBroker}, "the other `BUSES` to start and compare with")
	flags.StringSliceVar(&options.Only, "only", nil, "measure only `LIST` of "+strings.Join(bench.Groups, ","))
	flags.IntVar(&options.Rounds, "rounds", 5, "measure everything `N` times")
	flags.DurationVar(&options.Duration, "duration", 500*time.Millisecond, "how much `TIME` one measurement takes")
	flags.IntSliceVar(&options.Connections, "connections", []int{1000, 5000}, "measure memory with these `NUMBERS` of idle connections")
	flags.IntVar(&options.Policies, "policies", 0, "start buses with the policy of system buses and `N` files of packages, dbus-broker excepted")
	flags.IntVar(&options.CPU, "cpu", -1, "`NUMBER` of the one CPU to measure on; -1: the last")
	flags.BoolVar(&options.json, "json", false, "print JSON, as the documentation of package bench describes it")
	cmd.AddCommand(&cobra.Command{
		Use:    "worker",
		Short:  "Be a client of kdbus bench",
		Hidden: true,
		Args:   usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if status := bench.Worker(); status != 0 {
				return &exitError{code: status}
			}
			return nil
		},
	})
	return cmd
}

// complete fills in what follows from the flags together.
func (o *benchOptions) complete(cmd *cobra.Command) error {
	o.Worker = []string{bench.Self, "bench", "worker"}
	o.Kdbus = []string{bench.Self, "daemon"}
	if !o.compare {
		if o.Policies > 0 {
			return fmt.Errorf("--policies is only for --compare")
		}
		if cmd.Flags().Changed("against") {
			return fmt.Errorf("--against is only for --compare")
		}
		if o.Address == "" {
			o.Address = os.Getenv("DBUS_SESSION_BUS_ADDRESS")
		}
		if o.Address == "" {
			return fmt.Errorf("which bus? Give --address, set DBUS_SESSION_BUS_ADDRESS, or start buses with --compare")
		}
		return nil
	}
	if o.Address != "" || o.PID != 0 {
		return fmt.Errorf("--compare starts its own buses; leave out --address and --pid")
	}
	o.Start = append([]string{bench.Kdbus}, o.against...)
	return nil
}

func runBench(o benchOptions, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	_, progress := terminal(stderr)
	if progress {
		o.Progress = func(text string) { fmt.Fprint(stderr, clearLine, text) }
	}
	report, err := bench.Run(ctx, o.Options)
	if progress {
		fmt.Fprint(stderr, clearLine)
	}
	if err != nil {
		return err
	}
	write := report.WriteTable
	if o.json {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if n := len(report.Failures); n > 0 {
		return fmt.Errorf("%d measurements failed; the report says why", n)
	}
	return nil
}

// clearLine makes a terminal forget the line the cursor is on.
const clearLine = "\r\x1b[K"

// terminal returns stream as a file, and whether it is a terminal.
func terminal(stream any) (*os.File, bool) {
	file, ok := stream.(*os.File)
	if !ok {
		return nil, false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return file, err == nil
}
