package main

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strconv"

	sddaemon "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/daemon"
)

// daemonOptions are the flags of kdbus daemon.
type daemonOptions struct {
	addresses    []string
	printAddress descriptor
	printPID     descriptor
	level        *slog.Level
}

func newDaemonCommand() *cobra.Command {
	options := daemonOptions{printAddress: noDescriptor, printPID: noDescriptor}
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
or several separated by semicolons, of which the first possible one is used.
Bytes other than letters, digits and -_/.* are written %XX. Without --address it is
unix:runtime=yes if XDG_RUNTIME_DIR is set, else unix:tmpdir=/tmp.

A socket file that a dead bus left behind is replaced; one on which a server
listens is not. Socket files are removed at the end. The log goes to standard error.
With NOTIFY_SOCKET set (Type=notify), systemd is told when the bus is ready.`,
		Example: `  # a bus for this shell, in the background
  exec 3< <(kdbus daemon --address unix:dir=/tmp --print-address)
  read -r DBUS_SESSION_BUS_ADDRESS <&3; export DBUS_SESSION_BUS_ADDRESS
  busctl --user list

  # two sockets, one bus
  kdbus daemon --address unix:path=/tmp/a --address unix:abstract=b`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDaemon(options, newLog(cmd.ErrOrStderr(), options.level))
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&options.addresses, "address", nil, "listen on `ADDRESS`; may be given several times")
	flags.Var(&options.printAddress, "print-address",
		"once the sockets listen, print the addresses clients can use\nto the file descriptor; without =FD to standard output")
	flags.Var(&options.printPID, "print-pid", "print the process id likewise")
	flags.Lookup("print-address").NoOptDefVal = "1"
	flags.Lookup("print-pid").NoOptDefVal = "1"
	options.level = logLevel(cmd, slog.LevelInfo)
	return cmd
}

func runDaemon(options daemonOptions, log *slog.Logger) error {
	// Whoever read the log or the address may be gone; that is no reason to die.
	signal.Ignore(unix.SIGPIPE)
	stop := make(chan os.Signal, 1)
	notifyUnlessIgnored(stop, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)

	out := make(descriptors)
	if err := errors.Join(
		out.take("--print-address", options.printAddress), out.take("--print-pid", options.printPID)); err != nil {
		return err
	}
	d, err := daemon.Start(daemon.Config{Addresses: options.addresses, Log: log})
	if err != nil {
		return err
	}
	defer d.Shutdown()
	log.Info("listening", "address", d.Address(), "pid", os.Getpid())
	if err := errors.Join(
		out.print(options.printAddress, d.Address()),
		out.print(options.printPID, strconv.Itoa(os.Getpid())),
		out.close()); err != nil {
		return err
	}
	notify(log, sddaemon.SdNotifyReady)

	ended := make(chan error, 1)
	go func() { ended <- d.Wait() }()
	for {
		select {
		case sig := <-stop:
			if sig == unix.SIGHUP {
				log.Info("SIGHUP ignored: there is no configuration to read again")
				continue
			}
			log.Info("ending", "signal", sig.String())
			signal.Stop(stop) // the next one ends the process at once
			notify(log, sddaemon.SdNotifyStopping)
			return nil
		case err := <-ended:
			notify(log, sddaemon.SdNotifyStopping)
			return err
		}
	}
}

// notify tells the service manager, if there is one, about state.
func notify(log *slog.Logger, state string) {
	if _, err := sddaemon.SdNotify(false, state); err != nil {
		log.Warn("cannot notify the service manager", "state", state, "error", err)
	}
}
