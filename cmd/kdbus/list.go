package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/table"
	"github.com/kdbus-go/kdbus/meta"
)

// busName is the name of the bus itself.
const busName = "org.freedesktop.DBus"

// listOptions are the flags of kdbus list.
type listOptions struct {
	bus                           *busFlags
	json                          *jsontext.Mode
	unique, acquired, activatable bool
	noLegend                      bool
	augment                       boolean
}

func newListCommand() *cobra.Command {
	var options listOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the peers on a bus",
		Long: `Lists all names on a bus: unique names, which each connection has, well-known names, and
names that the bus would start a service for. Without --unique, --acquired and
--activatable all three are shown.

The columns are the name, the process that owns it and that process's name, the user, the
unique name, the systemd unit and login session of the process, and what the connection
says it is for. "-" is what there is none of, or what the bus does not tell.`,
		Example: `  kdbus list --user                    # everybody on the session bus
  kdbus list --user --acquired         # well-known names only
  kdbus list --user --json=short | jq '.[] | select(.process == "bash")'`,
		Args: operands,
	}
	options.bus = addBusFlags(cmd)
	options.json = jsonFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&options.unique, "unique", false, "show unique names")
	flags.BoolVar(&options.acquired, "acquired", false, "show well-known names that have an owner")
	flags.BoolVar(&options.activatable, "activatable", false, "show names whose service was not started yet")
	flags.BoolVar(&options.noLegend, "no-legend", false, "do not print the heads of columns")
	boolVar(cmd, &options.augment, "augment-creds", true, "read in /proc what the bus does not tell")
	print := pagerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !options.unique && !options.acquired && !options.activatable {
			options.unique, options.acquired, options.activatable = true, true, true
		}
		conn, err := options.bus.dial(cmd.Context(), kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer conn.Close()
		t, err := listPeers(cmd.Context(), conn, &options)
		if err != nil {
			return err
		}
		if *options.json != jsontext.Off {
			return print(jsontext.Append(nil, t.JSON(), *options.json))
		}
		return print(t.Append(nil, !options.noLegend, styleOf(cmd.OutOrStdout())))
	}
	return cmd
}

// listPeers makes the table of the names that the options ask for.
func listPeers(ctx context.Context, conn *kdbus.Conn, o *listOptions) (*table.Table, error) {
	var names, activatable []string
	var err error
	if o.unique || o.acquired {
		if names, err = conn.ListNames(ctx); err != nil {
			return nil, plain(err)
		}
	}
	if o.activatable {
		if activatable, err = conn.ListActivatableNames(ctx); err != nil {
			return nil, plain(err)
		}
	}
	wanted := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return strings.HasPrefix(name, ":") && !o.unique || !strings.HasPrefix(name, ":") && !o.acquired
	})
	peers := lookUp(ctx, conn, wanted, bool(o.augment))
	t := &table.Table{Columns: []table.Column{{Title: "NAME"}, {Title: "PID", Right: true}, {Title: "PROCESS"}, {Title: "USER"},
		{Title: "CONNECTION"}, {Title: "UNIT"}, {Title: "SESSION"}, {Title: "DESCRIPTION"}}}
	var users metadata.Users
	for _, name := range wanted {
		if p := peers[name]; p != nil {
			t.Rows = append(t.Rows, peerRow(name, p, &users))
		}
	}
	for _, name := range activatable {
		if !slices.Contains(names, name) {
			row := make([]table.Cell, len(t.Columns))
			row[0], row[4] = table.Text(name), table.Text("(activatable)")
			t.Rows = append(t.Rows, row)
		}
	}
	slices.SortStableFunc(t.Rows, func(a, b []table.Cell) int { return strings.Compare(a[0].Text, b[0].Text) })
	return t, nil
}

// peerRow is the row of a name that has an owner.
func peerRow(name string, p *metadata.Peer, users *metadata.Users) []table.Cell {
	row := make([]table.Cell, 8)
	row[0] = table.Text(name)
	row[0].Bold = !strings.HasPrefix(name, ":")
	if p.Has&abi.AttachPIDs != 0 && p.PIDs.PID != 0 {
		row[1] = table.Cell{Text: strconv.FormatUint(p.PIDs.PID, 10), JSON: p.PIDs.PID}
		row[2] = table.Cell{Text: "n/a"}
	}
	if p.Has&abi.AttachPIDComm != 0 {
		row[2] = table.Text(p.PIDComm)
	}
	if p.Has&abi.AttachCreds != 0 && p.Creds.EUID != abi.IDUnset {
		row[3] = table.Text(users.Name(p.Creds.EUID))
	}
	if p.Unique != busName {
		row[4] = table.Text(p.Unique)
	}
	if p.Has&abi.AttachCGroup != 0 {
		path := meta.CGroupPath(p.CGroup)
		row[5], row[6] = table.Text(path.Unit()), table.Text(path.Session())
	}
	row[7] = table.Text(p.Description)
	return row
}

// lookUps is how many questions to the bus are under way at a time.
const lookUps = 32

// lookUp asks the bus who the owners of names are. A name that has lost its owner meanwhile is not
// in the result.
func lookUp(ctx context.Context, conn *kdbus.Conn, names []string, augment bool) map[string]*metadata.Peer {
	const kinds = abi.AttachCreds | abi.AttachPIDs | abi.AttachPIDComm | abi.AttachCGroup | abi.AttachConnDescription | abi.AttachNames
	peers := make(map[string]*metadata.Peer, len(names))
	owners := make(map[string]string)
	var mu sync.Mutex
	ask := func(list []string, f func(name string)) {
		work := make(chan string)
		var wait sync.WaitGroup
		for range min(lookUps, len(list)) {
			wait.Go(func() {
				for name := range work {
					f(name)
				}
			})
		}
		for _, name := range list {
			work <- name
		}
		close(work)
		wait.Wait()
	}
	describe := func(name string) {
		p, err := describePeer(ctx, conn, name, kinds)
		if err != nil {
			return
		}
		if augment {
			_ = p.Augment(kinds, false) // a process that has gone is described by what the bus has said
		}
		mu.Lock()
		defer mu.Unlock()
		peers[name] = p
		for _, owned := range p.Names {
			if owned.Flags&abi.NameInQueue == 0 {
				owners[owned.Name] = name
			}
		}
	}
	unique, known := []string{}, []string{}
	for _, name := range names {
		if strings.HasPrefix(name, ":") || name == busName {
			unique = append(unique, name)
		} else {
			known = append(known, name)
		}
	}
	ask(unique, describe)
	unowned := slices.DeleteFunc(slices.Clone(known), func(name string) bool { return owners[name] != "" })
	ask(unowned, func(name string) {
		if owner, err := conn.NameOwner(ctx, name); err == nil {
			mu.Lock()
			defer mu.Unlock()
			owners[name] = owner
		}
	})
	var others []string // owners that were not asked for themselves
	for _, name := range known {
		if owner := owners[name]; owner != "" && peers[owner] == nil && !slices.Contains(others, owner) {
			others = append(others, owner)
		}
	}
	ask(others, describe)
	for _, name := range known {
		if p := peers[owners[name]]; p != nil {
			peers[name] = p
		}
	}
	return peers
}

// describePeer asks the bus about a peer by its unique name, or about itself.
func describePeer(ctx context.Context, conn *kdbus.Conn, unique string, kinds abi.AttachFlags) (*metadata.Peer, error) {
	known, err := conn.PeerMetadata(ctx, unique, kinds)
	if err != nil {
		return nil, err
	}
	p := &metadata.Peer{Metadata: *known, Unique: unique}
	if !conn.Native() && p.Has&abi.AttachCreds != 0 {
		p.Creds.UID = abi.IDUnset // which D-Bus 1 does not tell from the effective one
	}
	return p, nil
}

// isGone reports whether an error says that a peer is not there any more.
func isGone(err error) bool {
	return errors.Is(err, kdbus.ErrNameHasNoOwner) || errors.Is(err, kdbus.ErrServiceUnknown)
}
