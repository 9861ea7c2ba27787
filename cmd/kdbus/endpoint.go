package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/internal/sandbox/policy"
)

func newEndpointCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endpoint",
		Short: "Make further doors to a bus, for who is to be confined",
		Long: `Makes endpoints of a bus: sockets by which programs get onto it, but see, talk to and own only what
the endpoint lets through. Nobody is excepted, not even root. They go when the command ends.`,
		Example: `  kdbus endpoint make --user --talk=com.example.Player mine -- kdbus list --user`,
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEndpointMakeCommand())
	return cmd
}

// endpointOptions are the flags of kdbus endpoint make.
type endpointOptions struct {
	bus    *busFlags
	config kdbus.EndpointConfig
	flags  []string // those of the policy, as they were given
	file   string
}

func newEndpointMakeCommand() *cobra.Command {
	o := new(endpointOptions)
	cmd := &cobra.Command{
		Use:   "make [flags] NAME [-- COMMAND [ARGUMENT...]]",
		Short: "Make an endpoint that lasts as long as this command",
		Long: `Makes an endpoint of a bus, prints its address, and keeps it until the signal INT or TERM: then
the endpoint goes, and who came through it is disconnected. With COMMAND it prints nothing, runs
COMMAND with the endpoint as its session bus, and keeps the endpoint until COMMAND ends. COMMAND can still
connect to the bus itself if it knows how: 'kdbus sandbox' keeps it from doing so.

What the endpoint lets through is said as for 'kdbus sandbox', by the flags --see, --talk, --own,
--call and --broadcast, which can be given several times, or by a file with such flags, one a line: lines that
are empty or begin with # mean nothing. Without any, only the bus itself can be talked to. A NAME.* stands
for NAME and all names below it. A RULE is [METHOD][@PATH]: METHOD is a member with its interface,
an interface and .*, or *, and PATH an object, or what is below it with /*.

At the signal HUP the file is read again, and all of the policy replaced at once. Who is connected stays so, and
keeps its names.

The name of an endpoint begins with the number of the user who makes it; where NAME does not, it is put
before it. Only root and the user of the bus can make endpoints.`,
		Example: `  # what may a player's remote control do?
  kdbus endpoint make --user --talk=com.example.Player remote -- kdbus call --user \
      com.example.Player /com/example/Player org.freedesktop.DBus.Peer Ping

  # for a container: the socket is a file that can be mounted there
  kdbus endpoint make --system --access=world --call='org.freedesktop.locale1=org.freedesktop.DBus.Properties.*' container

  # with a policy that changes: kill -HUP when it has
  kdbus endpoint make --user --policy=player.policy player`,
		Annotations: map[string]string{exitAnnotation: makeExit},
		Args:        makeArguments,
	}
	o.bus = addBusFlags(cmd)
	accessFlag(cmd, &o.config.Access)
	o.addPolicyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if o.config.Policies, err = o.policies(); err != nil {
			return makeFailed(args, err)
		}
		o.config.Name = ownName(args[0])
		signals := makeSignals()
		endpoint, err := o.make(cmd.Context())
		if err != nil {
			return makeFailed(args, err)
		}
		defer endpoint.Close()
		var update func() error
		if o.file != "" {
			update = func() error { return o.update(cmd.Context(), endpoint) }
		}
		return keep(cmd, endpoint, signals, args[1:], update)
	}
	return cmd
}

func (o *endpointOptions) addPolicyFlags(cmd *cobra.Command) {
	for _, f := range [...]struct{ name, usage string }{
		{"see", "let `NAME` be seen"},
		{"talk", "let its owner be talked to, too: `NAME`"},
		{"own", "let it be owned, too: `NAME`"},
		{"call", "let some calls of a name through: `NAME=RULE`"},
		{"broadcast", "let some signals of its owner through: `NAME=RULE`"},
	} {
		cmd.Flags().Var(sandboxFlag{func(value string) error {
			flag := "--" + f.name + "=" + value
			o.flags = append(o.flags, flag)
			return trimFlag(new(policy.Policy).AddFlag(flag), flag)
		}}, f.name, f.usage)
	}
	for _, name := range [...]string{"see", "talk", "own"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completeServices) // it is there
	}
	cmd.Flags().StringVar(&o.file, "policy", "", "read such flags in `FILE`, too")
	_ = cmd.MarkFlagFilename("policy") // it is there
}

// trimFlag returns an error about a flag without the flag, which whoever reads the command line names.
func trimFlag(err error, flag string) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), flag+": "))
}

// policies returns what the flags, and those in the file, let through.
func (o *endpointOptions) policies() ([]kdbus.NamePolicy, error) {
	p := new(policy.Policy)
	for _, flag := range o.flags {
		if err := p.AddFlag(flag); err != nil {
			return nil, err
		}
	}
	if o.file != "" {
		file, err := os.Open(o.file)
		if err != nil {
			return nil, fmt.Errorf("read the policy: %w", err)
		}
		defer file.Close()
		if err := p.Read(file); err != nil {
			return nil, fmt.Errorf("%s: %w", o.file, err)
		}
	}
	return namePolicies(p.Entries())
}

// make makes the endpoint.
func (o *endpointOptions) make(ctx context.Context) (*kdbus.Endpoint, error) {
	addr, err := o.bus.reach(ctx)
	if err != nil {
		return nil, err
	}
	e, err := kdbus.MakeEndpoint(ctx, addr, o.config)
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EOPNOTSUPP):
		return nil, fmt.Errorf("cannot make the endpoint: %w", plain(err))
	case err != nil:
		return nil, cannotMake(err, "endpoint", "")
	}
	if _, err := os.Stat(e.Path()); errors.Is(err, fs.ErrNotExist) {
		e.Close()
		return nil, fmt.Errorf("the endpoint is at %s, which is not in the file system of this process: "+
			"make it where the bus is", e.Path())
	}
	return e, nil
}

// update puts the file in force as it is now.
func (o *endpointOptions) update(ctx context.Context, e *kdbus.Endpoint) error {
	policies, err := o.policies()
	if err == nil {
		err = e.Update(ctx, policies...)
	}
	return err
}
