package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/wire"
)

func newEmitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "emit [flags] OBJECT INTERFACE SIGNAL [SIGNATURE [VALUE...]]",
		Short: "Emit a signal",
		Long: `Emits a signal: to everybody who has subscribed to it or, with --destination, to one
peer.

` + valueHelp,
		Example: `  kdbus emit --user /com/example/Player com.example.Player Stopped
  kdbus emit --user --destination=com.example.Remote /com/example/Player com.example.Player Volume d 0.5`,
		Args: operands,
	}
	bus := addBusFlags(cmd)
	destination := cmd.Flags().String("destination", "", "emit it to `SERVICE` only")
	_ = cmd.RegisterFlagCompletionFunc("destination", completeServices) // it is there
	var autoStart boolean
	boolVar(cmd, &autoStart, "auto-start", true, "start the destination if it is not there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := wire.CheckObjectPath(args[0]); err != nil {
			return fmt.Errorf("%q is no object path: %w", args[0], err)
		}
		if *destination != "" {
			if err := wire.CheckBusName(*destination); err != nil {
				return fmt.Errorf("%q is no bus name: %w", *destination, err)
			}
		}
		if err := checkMember(args[1], args[2]); err != nil {
			return err
		}
		body, err := parseBody(args[3:])
		if err != nil {
			return err
		}
		conn, err := bus.dial(cmd.Context(), kdbus.Dialer{})
		if err != nil {
			return err
		}
		var flags kdbus.Flags
		if !autoStart {
			flags |= kdbus.NoAutoStart
		}
		err = conn.EmitRaw(cmd.Context(), *destination, kdbus.ObjectPath(args[0]), args[1]+"."+args[2], flags, body)
		if err = errors.Join(err, conn.Close()); err != nil { // closing sees to it that the bus has it
			return fmt.Errorf("cannot emit the signal: %w", plain(err))
		}
		return nil
	}
	return cmd
}
