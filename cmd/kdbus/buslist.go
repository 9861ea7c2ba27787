package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/table"
)

func newBusListCommand() *cobra.Command {
	var domain string
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List the buses of a domain",
		Long: `Lists the buses of a domain, one a line: its name, the user who made it, the process that did, who may
connect (user, group or world), the endpoints that it has besides the default one, and its address.

The process is what the bus tells. Of a bus that does not let this user in, "-" is all that is known of it.`,
		Example: `  kdbus bus list
  kdbus bus list --domain /run/kdbus --json=pretty`,
		Args: operands,
	}
	domainFlag(cmd, &domain)
	mode := jsonFlags(cmd)
	noLegend := cmd.Flags().Bool("no-legend", false, "do not print the heads of columns")
	print := pagerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := listBuses(cmd.Context(), domain)
		if err != nil {
			return err
		}
		if *mode != jsontext.Off {
			return print(jsontext.Append(nil, t.JSON(), *mode))
		}
		return print(t.Append(nil, !*noLegend, styleOf(cmd.OutOrStdout())))
	}
	return cmd
}

// listBuses makes the table of the buses in a domain.
func listBuses(ctx context.Context, domain string) (*table.Table, error) {
	if domain == "" {
		var err error
		if domain, err = kdbus.DefaultDomain(); err != nil {
			return nil, err
		}
	}
	domain, err := filepath.Abs(domain)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(domain)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no domain at %s: there is no such directory; start `kdbus daemon --domain %s`, or name another one with --domain", domain, domain)
	case err != nil:
		return nil, fmt.Errorf("list the domain: %w", err)
	}
	t := &table.Table{Columns: []table.Column{{Title: "NAME"}, {Title: "USER"}, {Title: "PID", Right: true}, {Title: "PROCESS"},
		{Title: "ACCESS"}, {Title: "ENDPOINTS"}, {Title: "ADDRESS"}}}
	var users metadata.Users
	for _, entry := range entries {
		if entry.IsDir() && numbered.MatchString(entry.Name()) {
			if row := busRow(ctx, filepath.Join(domain, entry.Name()), &users); row != nil {
				t.Rows = append(t.Rows, row)
			}
		}
	}
	return t, nil
}

// busTime is how long a bus may take to tell about itself.
const busTime = 2 * time.Second

// busRow is the row of the bus in a directory; nil if there is none.
func busRow(ctx context.Context, dir string, users *metadata.Users) []table.Cell {
	info, err := os.Stat(dir)
	if err != nil {
		return nil
	}
	addr := address.UnixPath(filepath.Join(dir, "bus")).String()
	row := make([]table.Cell, 7)
	row[0], row[6] = table.Text(filepath.Base(dir)), table.Text(addr)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		row[1] = table.Text(users.Name(uint64(stat.Uid)))
	}
	row[5] = endpointsCell(dir)
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	conn, err := kdbus.Dial(ctx, addr)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
			return nil // what a daemon has left that was killed
		}
		return row
	}
	defer conn.Close()
	bus, err := conn.BusInfo(ctx, abi.AttachPIDs|abi.AttachPIDComm|abi.AttachCreds)
	if err != nil {
		return row
	}
	row[4] = table.Text(accessOf(abi.MakeFlags(bus.Flags)))
	known := &bus.Metadata
	if known.Has&abi.AttachCreds != 0 {
		row[1] = table.Text(users.Name(known.Creds.EUID))
	}
	if known.Has&abi.AttachPIDs != 0 {
		row[2] = table.Cell{Text: strconv.FormatUint(known.PIDs.PID, 10), JSON: known.PIDs.PID}
	}
	if known.Has&abi.AttachPIDComm != 0 {
		row[3] = table.Text(known.PIDComm)
	}
	return row
}

// endpointsCell has the names of the endpoints of a bus that were made.
func endpointsCell(dir string) table.Cell {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return table.Cell{}
	}
	names := []any{}
	var text []string
	for _, entry := range entries {
		if entry.Type() == fs.ModeSocket && entry.Name() != "bus" {
			names, text = append(names, entry.Name()), append(text, entry.Name())
		}
	}
	slices.Sort(text)
	return table.Cell{Text: strings.Join(text, " "), JSON: names}
}
