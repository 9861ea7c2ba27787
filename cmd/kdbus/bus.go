package main

import (
	"fmt"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
)

func newBusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bus",
		Short: "Make buses in a domain, and list them",
		Long: `Makes buses besides those that a machine and its users have, and lists the buses there are.

Buses are in a domain, a directory that 'kdbus daemon --domain DIR' serves: /run/kdbus for root,
and $XDG_RUNTIME_DIR/kdbus for other users, unless --domain names another one. Each bus is a
directory in there, and the socket "bus" in it is where programs connect.`,
		Example: `  kdbus bus list
  kdbus bus make tests -- make check`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBusMakeCommand(), newBusListCommand())
	return cmd
}

func newBusMakeCommand() *cobra.Command {
	var config kdbus.BusConfig
	cmd := &cobra.Command{
		Use:   "make [flags] NAME [-- COMMAND [ARGUMENT...]]",
		Short: "Make a bus that lasts as long as this command",
		Long: `Makes a bus in a domain, prints its address, and keeps it until the signal INT, TERM or HUP:
then the bus goes, and everybody on it is disconnected. With COMMAND it prints nothing, runs COMMAND
with the bus as its session bus, and keeps the bus until COMMAND ends.

The name of a bus begins with the number of the user who makes it; where NAME does not, it is put
before it: tests becomes 1000-tests. A user can make 16 buses.

The bus is one of kdbus, without configuration and services to start. Only its user and root may own names
on it and talk to those who do, unless a policy holder says otherwise. --access says who may connect.`,
		Example: `  # in one terminal
  kdbus bus make mine

  # a program and its tests, on a bus of their own
  kdbus bus make tests -- kdbus list --user

  # one that others may connect to
  kdbus bus make --access=world meeting-point`,
		Annotations: map[string]string{exitAnnotation: makeExit},
		Args:        makeArguments,
	}
	domainFlag(cmd, &config.Domain)
	accessFlag(cmd, &config.Access)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config.Name = ownName(args[0])
		config.Tells = abi.AttachAll
		signals := makeSignals()
		bus, err := kdbus.MakeBus(cmd.Context(), config)
		if err != nil {
			return makeFailed(args, cannotMake(err, "bus", config.Domain))
		}
		defer bus.Close()
		return keep(cmd, bus, signals, args[1:], nil)
	}
	return cmd
}

// domainFlag adds --domain.
func domainFlag(cmd *cobra.Command, domain *string) {
	cmd.Flags().StringVar(domain, "domain", "", "the domain is the directory `DIR`")
	_ = cmd.MarkFlagDirname("domain") // it is there
}

// accessFlag adds --access.
func accessFlag(cmd *cobra.Command, access *abi.MakeFlags) {
	cmd.Flags().Var((*accessValue)(access), "access", "let `WHO` connect: user, group or world; by default only the user")
	_ = cmd.RegisterFlagCompletionFunc("access", cobra.FixedCompletions([]string{"user", "group", "world"}, cobra.ShellCompDirectiveNoFileComp))
}

// accessValue is the value of --access.
type accessValue abi.MakeFlags

// Set is pflag.Value's.
func (a *accessValue) Set(s string) error {
	switch s {
	case "user":
		*a = 0
	case "group":
		*a = accessValue(abi.MakeAccessGroup)
	case "world":
		*a = accessValue(abi.MakeAccessGroup | abi.MakeAccessWorld)
	default:
		return fmt.Errorf("it is user, group or world")
	}
	return nil
}

// String is pflag.Value's.
func (a *accessValue) String() string { return accessOf(abi.MakeFlags(*a)) }

// Type is pflag.Value's.
func (*accessValue) Type() string { return "WHO" }

// accessOf says who may connect.
func accessOf(flags abi.MakeFlags) string {
	switch {
	case flags&abi.MakeAccessWorld != 0:
		return "world"
	case flags&abi.MakeAccessGroup != 0:
		return "group"
	}
	return "user"
}

var numbered = regexp.MustCompile(`^[0-9]+-`)

// ownName returns the name of something that this user makes.
func ownName(name string) string {
	if numbered.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%d-%s", os.Geteuid(), name)
}
