package main

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/table"
)

func newNameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "name",
		Short: "Own, protect and activate names, and list them as kdbus does",
		Long: `Does with names what the commands of kdbus do: owns one, stands in for the owner of one until
somebody is needed, says who may do what with one, and lists them all with how they are owned.`,
		Example: `  kdbus name list --user`,
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNameListCommand(), newNameAcquireCommand(), newNameActivateCommand(), newNameProtectCommand())
	return cmd
}

func newNameListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List names and connections as the bus has them",
		Long: `Lists connections and names of a kdbus bus by the ids of connections: names that are owned,
those that an activator stands in for, those that somebody waits for, and connections of which no name
is listed. All four, unless flags choose among them.`,
		Example: `  kdbus name list --user
  kdbus name list --user --queued --activators`,
		Args: operands,
	}
	bus := addBusFlags(cmd)
	mode := jsonFlags(cmd)
	var kinds abi.ListFlags
	for _, f := range [...]struct {
		name, usage string
		kind        abi.ListFlags
	}{
		{"unique", "connections, by their unique names", abi.ListUnique},
		{"owned", "names that are owned", abi.ListNames},
		{"activators", "names that an activator stands in for", abi.ListActivators},
		{"queued", "names that somebody waits for", abi.ListQueued},
	} {
		cmd.Flags().BoolFunc(f.name, f.usage, func(string) error { kinds |= f.kind; return nil })
	}
	noLegend := cmd.Flags().Bool("no-legend", false, "do not print the heads of columns")
	print := pagerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		conn, err := bus.dial(cmd.Context(), kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer conn.Close()
		if kinds == 0 {
			kinds = abi.ListUnique | abi.ListNames | abi.ListActivators | abi.ListQueued
		}
		entries, err := conn.List(cmd.Context(), kinds)
		if err != nil {
			return fmt.Errorf("cannot list names: %w", plain(err))
		}
		t := nameTable(entries)
		if *mode != jsontext.Off {
			return print(jsontext.Append(nil, t.JSON(), *mode))
		}
		return print(t.Append(nil, !*noLegend, styleOf(cmd.OutOrStdout())))
	}
	return cmd
}

func nameTable(entries []abi.ListEntry) *table.Table {
	t := &table.Table{Columns: []table.Column{{Title: "CONNECTION"}, {Title: "NAME"}, {Title: "NAME FLAGS"}, {Title: "CONNECTION FLAGS"}}}
	for _, e := range entries {
		connection := table.Text(fmt.Sprintf(":1.%d", e.ID))
		if e.ID >= firstServiceID {
			connection = table.Cell{} // of the bus itself
		}
		t.Rows = append(t.Rows, []table.Cell{connection, table.Text(e.Name.Name), table.Text(e.Name.Flags.String()), table.Text(e.Flags.String())})
	}
	return t
}

// firstServiceID is the least id of those that stand in for services which the bus itself starts; no connection has it.
const firstServiceID = 1 << 62

func newNameAcquireCommand() *cobra.Command {
	var queue, allow, replace bool
	cmd := &cobra.Command{
		Use:   "acquire [flags] NAME",
		Short: "Own a name until a signal comes",
		Long: `Owns a name, and prints what becomes of that, a word a line: acquired, queued, lost. It ends at the
signals INT, TERM and HUP, and when the name is lost for good.`,
		Example: `  kdbus name acquire --user --allow-replacement com.example.Name &
  kdbus name acquire --user --replace com.example.Name`,
		Args:              operands,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	bus := addBusFlags(cmd)
	cmd.Flags().BoolVar(&queue, "queue", false, "wait for the name if somebody else has it, and when it is taken away")
	cmd.Flags().BoolVar(&allow, "allow-replacement", false, "let others take it away")
	cmd.Flags().BoolVar(&replace, "replace", false, "take it away from an owner who lets that happen")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var flags kdbus.NameFlags
		for _, f := range [...]struct {
			on   bool
			flag kdbus.NameFlags
		}{{!queue, kdbus.DoNotQueue}, {allow, kdbus.AllowReplacement}, {replace, kdbus.ReplaceExisting}} {
			if f.on {
				flags |= f.flag
			}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
		defer stop()
		conn, err := bus.dial(ctx, kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer conn.Close()
		name, err := conn.RequestName(ctx, args[0], flags)
		if errors.Is(err, kdbus.ErrNameTaken) {
			return fmt.Errorf("somebody else owns %s; --queue waits for it, --replace takes it if its owner lets that happen", args[0])
		}
		if err != nil {
			return fmt.Errorf("cannot own %s: %w", args[0], plain(err))
		}
		if name.Flags()&abi.NameInQueue != 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "queued")
		}
		for {
			select {
			case event, ok := <-name.Events():
				if !ok {
					return fmt.Errorf("the bus has ended: %w", conn.Err())
				}
				fmt.Fprintln(cmd.OutOrStdout(), event)
				if event == kdbus.NameLost && !queue {
					return nil
				}
			case <-ctx.Done():
				return nil
			}
		}
	}
	return cmd
}

// cannotHold says why a connection of a special kind was not made.
func cannotHold(what, name string, err error) error {
	switch {
	case errors.Is(err, kdbus.ErrNotNative):
		return fmt.Errorf("cannot %s %s: the bus is not kdbus, or KDBUS=0 in the environment has it not be", what, name)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("cannot %s %s: only root and the user of the bus can", what, name)
	}
	return fmt.Errorf("cannot %s %s: %w", what, name, plain(err))
}
