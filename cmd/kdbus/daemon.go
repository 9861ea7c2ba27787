package main

import (
	"errors"
	"log/slog"

	"github.com/spf13/cobra"
)

func newDaemonCommand() *cobra.Command {
	options := busOptions{printAddress: noDescriptor, printPID: noDescriptor}
	var system, session, fork, noFork, syslog, noSyslog bool
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Run a message bus",
		Long: `Runs a message bus until SIGTERM or SIGINT.

An ADDRESS to listen on is one of
  unix:path=/run/my-bus   a socket file
  unix:abstract=my-bus    a socket in Linux's abstract namespace
  unix:dir=/tmp           a socket file with a random name in the directory;
                          unix:tmpdir= is the same
  unix:runtime=yes        the user's session bus: $XDG_RUNTIME_DIR/bus
  systemd:                the sockets that systemd passed (ListenStream=)
  tcp:host=localhost      TCP, with port=N for a port of one's choice; clients prove by a
                          cookie in their home directory who they are. All of it can be
                          read and changed on the way: not for networks
  nonce-tcp:host=...      the same for those who can read a file that it makes
or several separated by semicolons, of which the first possible one is used.
Bytes other than letters, digits and -_/.* are written %XX. Without --address and --domain it
is unix:runtime=yes if XDG_RUNTIME_DIR is set, else unix:tmpdir=/tmp.

With --domain the bus is to be found in a directory, too, and programs can make buses of their
own there: a domain of kdbus. The bus is UID-system/bus in it if it is that of a machine, or if
root runs it without a configuration, else UID-user/bus; UID is the user who starts it. Clients
look in /run/kdbus for root's domain, and in $XDG_RUNTIME_DIR/kdbus for others'. The directory is
made if there is none, and given to the user that the bus becomes. Domains know nothing of each
other, and each has one daemon: a second one does not start. What one has left there that was
killed is removed.

A socket file that a dead bus left behind is replaced; one on which a server
listens is not. Socket files are removed at the end. The log goes to standard error.
With NOTIFY_SOCKET set (Type=notify), systemd is told when the bus is ready.

With --config-file, --system or --session the bus is what dbus-daemon(1) would run from
that file: its addresses, unless there is --address, its policy, limits and
activatable services; the user it becomes, going to the background, pid file and syslog.
SIGHUP, the method ReloadConfig, and changes in the directories that the file includes, and
in those of services, make it read the file again. A file that cannot be used is refused with the
line that is wrong, and the bus keeps what it has.

Called by the name dbus-daemon, say by a link to it, this program takes that program's command
line, and does the same.`,
		Example: `  # a bus for this shell, in the background
  exec 3< <(kdbus daemon --address unix:dir=/tmp --print-address)
  read -r DBUS_SESSION_BUS_ADDRESS <&3; export DBUS_SESSION_BUS_ADDRESS
  busctl --user list

  # a domain of one's own: kdbus bus make makes more buses in it
  kdbus daemon --domain "$XDG_RUNTIME_DIR/kdbus" --address unix:runtime=yes

  # two sockets, one bus
  kdbus daemon --address unix:path=/tmp/a --address unix:abstract=b

  # the bus of the machine
  kdbus daemon --system`,
		Args: usage(func(cmd *cobra.Command, args []string) error {
			return errors.Join(cobra.NoArgs(cmd, args), checkBusFlags(cmd))
		}),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case system:
				options.configFile = standardConfig("system")
			case session:
				options.configFile = standardConfig("session")
			}
			options.fork = chosen(fork, noFork)
			options.syslog = chosen(syslog || options.syslogOnly, noSyslog)
			return options.run(cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&options.addresses, "address", nil, "listen on `ADDRESS`; may be given several times")
	flags.StringVar(&options.domain, "domain", "", "be found in the directory `DIR`, too, and let clients make buses there")
	flags.StringVar(&options.mount, "mount", "", "with it, mount kdbus's file system on `DIR`: see kdbus mount")
	flags.StringVar(&options.configFile, "config-file", "", "run the bus that `FILE` describes, as dbus-daemon would")
	flags.BoolVar(&system, "system", false, "the same with /usr/share/dbus-1/system.conf")
	flags.BoolVar(&session, "session", false, "the same with /usr/share/dbus-1/session.conf")
	flags.Var(&options.printAddress, "print-address",
		"once the sockets listen, print the addresses clients can use\nto the file descriptor; without =FD to standard output")
	flags.Var(&options.printPID, "print-pid", "print the process id likewise")
	flags.Lookup("print-address").NoOptDefVal = "1"
	flags.Lookup("print-pid").NoOptDefVal = "1"
	flags.BoolVar(&fork, "fork", false, "go to the background when the bus is ready")
	flags.BoolVar(&noFork, "nofork", false, "do not, even if the file says so")
	flags.BoolVar(&options.noPIDFile, "nopidfile", false, "write no pid file, even if the file names one")
	flags.BoolVar(&syslog, "syslog", false, "log to the journal or syslog, too")
	flags.BoolVar(&options.syslogOnly, "syslog-only", false, "log to the journal or syslog, and not to standard error")
	flags.BoolVar(&noSyslog, "nosyslog", false, "do not, even if the file says so")
	flags.BoolVar(&options.systemdActivation, "systemd-activation", false, "start services by way of systemd if they have a unit")
	flags.StringVar(&options.launchUnit, "launch-unit", "", "with it, start services that have no unit by this `TEMPLATE` unit,\nsuch as kdbus-launch@.service, with their names as instances")
	options.level = logLevel(cmd, slog.LevelInfo)
	cmd.MarkFlagsMutuallyExclusive("config-file", "system", "session")
	cmd.MarkFlagsMutuallyExclusive("fork", "nofork")
	cmd.MarkFlagsMutuallyExclusive("syslog", "syslog-only", "nosyslog")
	return cmd
}

// checkBusFlags refuses flags that contradict each other, and an empty name of a configuration: a
// script whose variable is empty must not run a bus without a policy.
func checkBusFlags(cmd *cobra.Command) error {
	if file := cmd.Flags().Lookup("config-file"); file.Changed && file.Value.String() == "" {
		return errors.New("--config-file needs the name of a file")
	}
	if domain := cmd.Flags().Lookup("domain"); domain != nil && domain.Changed && domain.Value.String() == "" {
		return errors.New("--domain needs the name of a directory")
	}
	return cmd.ValidateFlagGroups()
}

// chosen returns the choice of a pair of flags.
func chosen(yes, no bool) choice {
	switch {
	case yes:
		return always
	case no:
		return never
	}
	return asConfigured
}
