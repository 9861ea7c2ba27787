package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus/internal/sandbox/policy"
)

// sandboxOptions are the flags of kdbus sandbox.
type sandboxOptions struct {
	bus       busFlags
	policy    policy.Policy
	noNetwork bool
	log       bool
	learn     string // file to write; "" for none
}

func newSandboxCommand() *cobra.Command {
	o := &sandboxOptions{bus: busFlags{user: true}}
	cmd := &cobra.Command{
		Use:   "sandbox [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a command that can use a part of a message bus only",
		Long: `Runs COMMAND with a bus of which it sees, talks to and owns what the flags permit, and
nothing else. The flags are those of xdg-dbus-proxy(1) and mean the same, but there is no
proxy: the bus itself, which has to be kdbus, gives COMMAND an endpoint of its own. It
is where the bus was, and the bus is nowhere else. All ends with COMMAND.

A NAME is a well-known name, such as org.example.Name; NAME.* is it and all names below.
  --see        it shows up in lists, its owner can be asked for, its coming and going noticed
  --talk       also: call it, send it signals, start it, hear its broadcasts
  --own        also: own it
  --call       also: send it those messages, as if with --talk, that RULE describes
  --broadcast  also: hear those broadcasts that RULE describes
All flags that are about a name add up. A RULE is [METHOD][@PATH]. METHOD is *, all of an
interface, as in org.example.Interface.*, or one of it, as in org.example.Interface.Method;
PATH is an object, or with /* behind it that and all below.

COMMAND may always talk to the bus, be called by others, answer them, and broadcast.

It is a boundary for the bus, and not for files: COMMAND can still read and write what the
user can, talk to other buses and sockets, and use the network. But it has no capabilities,
even as root, sees no processes outside, inherits no descriptors but the standard ones, cannot
type on the terminal, and abstract sockets are out of its reach. docs/sandbox.md has more.`,
		Example: `  kdbus sandbox -- busctl --user list            # nobody is there
  kdbus sandbox --talk=org.freedesktop.Notifications -- notify-send hello
  kdbus sandbox --own=org.example.App.* --call=org.freedesktop.portal.*=* \
    --broadcast=org.freedesktop.portal.*=@/org/freedesktop/portal/* -- app
  kdbus sandbox --log --learn app.policy -- app  # what would it need?
  kdbus sandbox --policy app.policy -- app`,
		Annotations: map[string]string{"exit": `  n      the exit code of COMMAND
  128+n  COMMAND was ended by signal n
  126    COMMAND cannot be executed
  127    COMMAND was not found, or kdbus sandbox failed; standard error says which
`},
		Args: func(cmd *cobra.Command, args []string) error {
			err := cmd.ValidateFlagGroups()
			if err == nil && len(args) == 0 {
				err = errors.New("what to run is missing")
			}
			return tryHelp(cmd, err)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args, cmd.ErrOrStderr())
		},
	}
	cmd.SetFlagErrorFunc(tryHelp)
	o.addFlags(cmd)
	return cmd
}

// tryHelp makes an error of the command line one of a command whose exit codes are another's.
func tryHelp(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitRunFailure, fmt.Errorf("%w; try '%s --help'", err, cmd.CommandPath())}
}

func (o *sandboxOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SetInterspersed(false) // flags behind COMMAND are COMMAND's
	flags.SortFlags = false
	level := func(l policy.Level) func(string) error {
		return func(name string) error { return o.policy.Add(l, name) }
	}
	flags.Var(sandboxFlag{level(policy.See)}, "see", "let COMMAND see `NAME`")
	flags.Var(sandboxFlag{level(policy.Talk)}, "talk", "let it talk to `NAME`")
	flags.Var(sandboxFlag{level(policy.Own)}, "own", "let it own `NAME`")
	flags.Var(sandboxFlag{o.policy.AddCall}, "call", "let it send some messages to a name: `NAME=RULE`")
	flags.Var(sandboxFlag{o.policy.AddBroadcast}, "broadcast", "let it hear some broadcasts of a name's owner: `NAME=RULE`")
	flags.Var(sandboxFlag{o.readPolicy}, "policy", "read such flags from `FILE`, one in a line")
	flags.BoolVar(&o.log, "log", false, "print what was refused, and the flag that would permit it")
	flags.StringVar(&o.learn, "learn", "", "write the flags, and those that would permit what was refused, to `FILE`")
	flags.Var(&scopeFlag{&o.bus, true}, "user", "the bus of the user's session (the default)")
	flags.Var(&scopeFlag{&o.bus, false}, "system", "the bus of the machine, of which only root can give a part")
	flags.Lookup("user").DefValue = "false" // it is said in words
	flags.Lookup("user").NoOptDefVal, flags.Lookup("system").NoOptDefVal = "true", "true"
	flags.StringVar(&o.bus.address, "address", "", "the bus at `ADDRESS`; COMMAND finds it as that of its session")
	flags.BoolVar(&o.noNetwork, "no-network", false, "give COMMAND a network with nothing in it")
}

// readPolicy adds the flags in a file.
func (o *sandboxOptions) readPolicy(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := o.policy.Read(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// sandboxFlag is a flag that may be given several times, and adds something each time.
type sandboxFlag struct{ add func(string) error }

// Set is pflag.Value's.
func (f sandboxFlag) Set(s string) error { return f.add(s) }

// String is pflag.Value's.
func (sandboxFlag) String() string { return "" }

// Type is pflag.Value's.
func (sandboxFlag) Type() string { return "NAME" }
