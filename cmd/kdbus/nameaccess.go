package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/busconfig"
)

// allowFlag adds --allow, which permits something with a name to somebody.
func allowFlag(cmd *cobra.Command, access *[]kdbus.Access) {
	cmd.Flags().Var(sandboxFlag{func(value string) error {
		a, err := parseAccess(value)
		if err == nil {
			*access = append(*access, a)
		}
		return err
	}}, "allow", "let somebody see, talk to or own it: `WHO=LEVEL`")
}

// parseAccess reads WHO=LEVEL, WHO being a user, @ and a group, or world.
func parseAccess(value string) (a kdbus.Access, err error) {
	who, level, ok := strings.Cut(value, "=")
	if !ok {
		return a, fmt.Errorf("it is WHO=LEVEL, such as world=talk, joe=own or @audio=see")
	}
	for _, l := range [...]kdbus.AccessLevel{kdbus.AccessSee, kdbus.AccessTalk, kdbus.AccessOwn} {
		if level == l.String() {
			a.Level = l
		}
	}
	if a.Level == 0 {
		return a, fmt.Errorf("%q is not one of see, talk and own", level)
	}
	group, isGroup := strings.CutPrefix(who, "@")
	switch {
	case who == "world":
		a.Kind = kdbus.AccessWorld
	case isGroup:
		a.Kind = kdbus.AccessGroup
		a.ID, err = number32(group, busconfig.SystemUsers{}.Group)
	default:
		a.Kind = kdbus.AccessUser
		a.ID, err = number32(who, busconfig.SystemUsers{}.User)
	}
	return a, err
}

// number32 returns the number that s is, or that find knows for it.
func number32(s string, find func(string) (uint32, error)) (n uint32, err error) {
	if _, err := fmt.Sscanf(s, "%d", &n); err == nil && fmt.Sprint(n) == s {
		return n, nil
	}
	return find(s)
}

func newNameProtectCommand() *cobra.Command {
	var access []kdbus.Access
	cmd := &cobra.Command{
		Use:   "protect [flags] NAME",
		Short: "Hold the policy of a name until a signal comes",
		Long: `Keeps a policy of a name in force until the signal INT, TERM or HUP: what --allow does not permit is
denied, but to root and the user of the bus. The policy of the bus's configuration, if there is one, has to allow as well.
A NAME.* is all names with one more element.

--allow can be given several times. WHO is a user, a group behind @, or world for everybody; LEVEL is see, talk or
own, each with those before it. Only root and the user of the bus can do this.`,
		Example: `  kdbus name protect --user --allow=world=talk --allow=root=own com.example.Name`,
		Args:    operands,
	}
	bus := addBusFlags(cmd)
	allowFlag(cmd, &access)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
		defer stop()
		addr, err := bus.reach(ctx)
		if err != nil {
			return err
		}
		holder, err := kdbus.DialPolicyHolder(ctx, addr, kdbus.NamePolicy{Name: args[0], Access: access})
		if err != nil {
			return cannotHold("protect", args[0], err)
		}
		defer holder.Close()
		fmt.Fprintln(cmd.OutOrStdout(), "protected")
		select {
		case <-holder.Done():
			return fmt.Errorf("the bus has ended: %w", holder.Err())
		case <-ctx.Done():
			return nil
		}
	}
	return cmd
}

// reach returns the address of the bus, after it has been found to be one, which says best why there is none.
func (b *busFlags) reach(ctx context.Context) (string, error) {
	conn, err := b.dial(ctx, kdbus.Dialer{})
	if err != nil {
		return "", err
	}
	conn.Close()
	addr, _ := b.where()
	return addr, nil
}

func newNameActivateCommand() *cobra.Command {
	var access []kdbus.Access
	cmd := &cobra.Command{
		Use:   "activate [flags] NAME -- COMMAND [ARGUMENT...]",
		Short: "Run a command when somebody needs the owner of a name",
		Long: `Stands in for the owner of a name until the signal INT, TERM or HUP: messages to the name wait at the bus, and
COMMAND, which is to own the name, is run. It gets them then, and what it has not received when it gives the name back waits
again. COMMAND finds the bus in DBUS_STARTER_ADDRESS. It is not run twice at a time.

With --allow, the name is protected, too: see 'kdbus name protect'. Only root and the user of the bus can do this.`,
		Example: `  kdbus name activate --user com.example.Name -- kdbus name acquire --user com.example.Name`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return &exitError{exitUsage, fmt.Errorf("COMMAND is missing; what is needed: %s", cmd.UseLine())}
			}
			return makeArguments(cmd, args)
		},
	}
	bus := addBusFlags(cmd)
	allowFlag(cmd, &access)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
		defer stop()
		addr, err := bus.reach(ctx)
		if err != nil {
			return err
		}
		activator, err := kdbus.DialActivator(ctx, addr, args[0], access...)
		if err != nil {
			return cannotHold("activate", args[0], err)
		}
		defer activator.Close()
		fmt.Fprintln(cmd.OutOrStdout(), "waiting")
		for {
			select {
			case <-activator.Waiting():
				service := exec.CommandContext(ctx, args[1], args[2:]...)
				service.Cancel = func() error { return service.Process.Signal(unix.SIGTERM) }
				service.Stdout, service.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
				service.Env = append(os.Environ(), "DBUS_STARTER_ADDRESS="+addr)
				if err := service.Run(); err != nil && ctx.Err() == nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s: %v\n", cmd.CommandPath(), args[1], err)
				}
			case <-activator.Done():
				return fmt.Errorf("the bus has ended: %w", activator.Err())
			case <-ctx.Done():
				return nil
			}
		}
	}
	return cmd
}
