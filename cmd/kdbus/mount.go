package main

import (
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus/daemon"
)

func newMountCommand() *cobra.Command {
	options := busOptions{printAddress: noDescriptor, printPID: noDescriptor, fork: never}
	cmd := &cobra.Command{
		Use:   "mount DIR",
		Short: "Mount kdbus's file system, with a bus in it",
		Long: `Runs a message bus until SIGTERM or SIGINT, and mounts the file system on DIR that the
kernel's kdbus had at /sys/fs/kdbus: programs that were built for that find control there, with
which they make buses, and buses with their endpoints. DIR has to be there.

It is the file system of a domain, whose buses D-Bus programs and all others can use at the
same time, by its sockets: see kdbus daemon --domain. Where that domain has a daemon already, start
that one with --mount; this command refuses to be a second.

It takes the module fuse. Mounted by root it is for everybody. Others can mount it in a user
namespace, or by fusermount3, and what is missing then is said: whom it is for is decided by
/etc/fuse.conf, and the kernel lets us read the memory of programs only that we could trace.`,
		Example: `  # what was at /sys/fs/kdbus
  mkdir -p /run/kdbusfs && kdbus mount /run/kdbusfs

  # in a user namespace
  unshare --user --map-root-user --mount kdbus mount --domain /tmp/domain /mnt`,
		Args: usage(func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return errors.New("it takes one directory")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			options.mount = args[0]
			if options.domain == "" {
				return &exitError{exitUsage, errors.New("XDG_RUNTIME_DIR is not set, so --domain has to say where the domain's sockets are to be")}
			}
			return options.run(cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.domain, "domain", daemon.DefaultDomain(), "the domain that is shown: the `DIR`ectory of its sockets")
	flags.StringArrayVar(&options.addresses, "address", nil, "listen on `ADDRESS`, too, as kdbus daemon does; may be given several times")
	flags.Var(&options.printAddress, "print-address",
		"once it is mounted, print the addresses clients can use\nto the file descriptor; without =FD to standard output")
	flags.Lookup("print-address").NoOptDefVal = "1"
	options.level = logLevel(cmd, slog.LevelInfo)
	return cmd
}
