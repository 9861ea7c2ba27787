package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/wire"
)

func newWaitCommand() *cobra.Command {
	var timeout duration
	cmd := &cobra.Command{
		Use:   "wait [flags] [SERVICE] OBJECT INTERFACE SIGNAL",
		Short: "Wait for a signal",
		Long: `Waits until an object emits a signal, and prints what the signal carries as call prints an
answer. With SERVICE, only its owner's signals count. Without --timeout, or if that is 0, it
waits for ever.`,
		Example: `  kdbus wait --user /com/example/Player com.example.Player Stopped
  kdbus wait --user --timeout=10s com.example.Player /com/example/Player com.example.Player Stopped`,
		Args: operands,
	}
	bus := addBusFlags(cmd)
	mode := jsonFlags(cmd)
	flags := cmd.Flags()
	quiet := flags.BoolP("quiet", "q", false, "do not print what the signal carries")
	verbose := flags.Bool("verbose", false, "print it as a tree")
	flags.Var(&timeout, "timeout", "how long to wait: 5s, 500ms, 2min; without unit seconds")
	flags.Lookup("timeout").DefValue = "0s"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		match := kdbus.Match{}
		if len(args) == 4 {
			if err := wire.CheckBusName(args[0]); err != nil {
				return fmt.Errorf("%q is no bus name: %w", args[0], err)
			}
			match.Sender, args = args[0], args[1:]
		}
		if err := wire.CheckObjectPath(args[0]); err != nil {
			return fmt.Errorf("%q is no object path: %w", args[0], err)
		}
		if err := checkMember(args[1], args[2]); err != nil {
			return err
		}
		match.Path, match.Interface, match.Member = kdbus.ObjectPath(args[0]), args[1], args[2]
		ctx := cmd.Context()
		conn, err := bus.dial(ctx, kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer conn.Close()
		s, err := conn.Subscribe(ctx, match, 1)
		if err != nil {
			return fmt.Errorf("cannot subscribe to the signal: %w", plain(err))
		}
		waiting, cancel := ctx, context.CancelFunc(func() {})
		if timeout != 0 {
			waiting, cancel = timeout.bound(ctx)
		}
		defer cancel()
		m, err := s.Next(waiting)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%s did not emit %s.%s within %v", args[0], args[1], args[2], time.Duration(timeout))
		case err != nil:
			return err
		}
		if *quiet {
			return nil
		}
		return printAnswer(cmd.OutOrStdout(), m, *verbose, *mode)
	}
	return cmd
}
