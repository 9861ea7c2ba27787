package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
	"github.com/kdbus-go/kdbus/wire"
)

func newStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [flags] [SERVICE|PID]",
		Short: "Show who a peer is, or who made the bus",
		Long: `Shows what is known of the owner of a bus name, one field a line; of a process, if the
argument is its number; or, without an argument, of the bus and of the process that made
it.

What the bus knows is what was true when the peer connected. What it does not tell is
read in /proc, if that process still runs; --augment-creds=no leaves that out. Capabilities
go over several lines. "n/a" is what there is none of.

A kdbus bus also tells what is used of what is limited, and of how much: of a connection, what
waits in its queue, whose it is and how much of its share there that has used (at 100% the bus refuses
more); of the bus, what each user has, and each endpoint that was made, how often they were refused
something, and which limits those were.`,
		Example: `  kdbus status --user                            # the bus
  kdbus status --user org.freedesktop.portal.Desktop
  kdbus status 1234                              # a process, on any bus or none`,
		Args:              operands,
		ValidArgsFunction: completeServices,
	}
	bus := addBusFlags(cmd)
	mode := jsonFlags(cmd)
	var augment boolean
	boolVar(cmd, &augment, "augment-creds", true, "read in /proc what the bus does not tell")
	print := pagerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var head [][2]string
		var p *metadata.Peer
		var limited quotas
		var users metadata.Users
		var err error
		if pid, isNumber := processID(args); isNumber {
			if p, err = metadata.Process(pid); err != nil {
				return fmt.Errorf("there is no process %d", pid)
			}
		} else {
			conn, err := bus.dial(cmd.Context(), kdbus.Dialer{})
			if err != nil {
				return err
			}
			defer conn.Close()
			if len(args) == 0 {
				head = busHead(conn, bus)
				args = []string{busName}
			}
			if p, err = peerStatus(cmd.Context(), conn, args[0], bool(augment)); err != nil {
				return err
			}
			if args[0] == busName {
				limited = busQuotas(cmd.Context(), conn, &users)
			} else {
				limited = peerQuotas(cmd.Context(), conn, args[0], &users)
			}
		}
		if *mode != jsontext.Off {
			var o jsontext.Object
			for _, field := range head {
				o = append(o, jsontext.Member{Key: strings.Replace(strings.ToLower(field[0]), "bus", "bus_", 1), Value: field[1]})
			}
			return print(jsontext.Append(nil, slices.Concat(o, metadata.JSON(p), limited.json()), *mode))
		}
		style := styleOf(cmd.OutOrStdout())
		var text []byte
		for _, field := range head {
			text = fmt.Appendf(text, "%s=%s\n", field[0], style.Bold(field[1]))
		}
		return print(limited.append(metadata.AppendStatus(text, p, style.Bold)))
	}
	return cmd
}

// processID returns the number of a process that is the only argument.
func processID(args []string) (pid uint64, ok bool) {
	if len(args) != 1 {
		return 0, false
	}
	pid, err := strconv.ParseUint(args[0], 10, 31)
	return pid, err == nil && pid > 0
}

// busHead returns what is known of the bus itself.
func busHead(conn *kdbus.Conn, bus *busFlags) [][2]string {
	addr, _ := bus.where()
	head := [][2]string{{"BusAddress", addr}}
	if scope := bus.scope(); scope != "" {
		head = append(head, [2]string{"BusScope", scope})
	}
	return append(head, [2]string{"BusID", conn.ServerID()})
}

// peerStatus returns all that can be known of the owner of a name.
func peerStatus(ctx context.Context, conn *kdbus.Conn, name string, augment bool) (*metadata.Peer, error) {
	if err := wire.CheckBusName(name); err != nil {
		return nil, fmt.Errorf("%q is neither a bus name nor the number of a process: %w", name, err)
	}
	unique := name
	if !wire.IsUniqueName(name) && name != busName {
		owner, err := conn.NameOwner(ctx, name)
		if err != nil {
			return nil, noOwner(name, err)
		}
		unique = owner
	}
	p, err := describePeer(ctx, conn, unique, abi.AttachAll&^abi.AttachTimestamp)
	if err != nil {
		return nil, noOwner(name, err)
	}
	if unique == busName {
		p.Unique = "" // whoever made the bus, and no connection
	}
	if augment {
		_ = p.Augment(abi.AttachAll, true) // a process that has gone is described by what the bus has said
	}
	return p, nil
}

// noOwner says that a name has no owner, and what to do.
func noOwner(name string, err error) error {
	if isGone(err) {
		return fmt.Errorf("nobody on the bus has the name %s; `kdbus list` shows who is there", name)
	}
	return fmt.Errorf("cannot ask the bus about %s: %w", name, plain(err))
}
