package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/internal/process"
)

// Exit codes of kdbus run besides the command's own: those of dbus-run-session, env
// and the shells.
const (
	exitRunFailure    = 127
	exitNotExecutable = 126
	exitSignalBase    = 128
)

func newRunCommand() *cobra.Command {
	var level *slog.Level
	var configFile string
	var session bool
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a command with a message bus of its own",
		Long: `Runs COMMAND with a message bus of its own, and ends the bus when COMMAND ends: what
dbus-run-session does. The bus is in this process and listens on a socket in a new
directory that only this user can enter; at the end it is removed.

COMMAND finds the bus in DBUS_SESSION_BUS_ADDRESS. DBUS_SESSION_BUS_PID,
DBUS_SESSION_BUS_WINDOWID, DBUS_STARTER_ADDRESS and DBUS_STARTER_BUS_TYPE, which
would speak of another bus, are removed from its environment.

The signals HUP, INT, QUIT, TERM, USR1 and USR2 are passed on to COMMAND. INT and
QUIT are not in the foreground of a terminal: there Ctrl-C reaches COMMAND itself.

With --session, or --config-file, the bus has the policy, the limits and the activatable
services of that file, see 'kdbus daemon --help'. It still listens where only this
user can enter, stays with this user, and ends with COMMAND.

dbus-run-session(1) itself can run this bus, too: with --dbus-daemon=FILE, FILE being a link
to this program by the name dbus-daemon.`,
		Example: `  kdbus run -- make check          # tests that need a session bus
  kdbus run -- bash                # look around: busctl --user, gdbus, dbus-monitor
  kdbus run --session -- gsettings list-schemas  # a service is started for it
  kdbus run -- sh -c 'busctl --user status; busctl --user list'`,
		Annotations: map[string]string{"exit": `  n      the exit code of COMMAND
  128+n  COMMAND was ended by signal n
  126    COMMAND cannot be executed
  127    COMMAND was not found, or kdbus run failed; standard error says which
`},
		Args: func(cmd *cobra.Command, args []string) error {
			if err := checkBusFlags(cmd); err != nil {
				return &exitError{exitRunFailure, fmt.Errorf("%w; try 'kdbus run --help'", err)}
			}
			if len(args) == 0 {
				return &exitError{exitRunFailure, errors.New("what to run is missing; try 'kdbus run --help'")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if session {
				configFile = standardConfig("session")
			}
			return runWithBus(configFile, args, newLog(cmd.ErrOrStderr(), level))
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &exitError{exitRunFailure, fmt.Errorf("%w; try 'kdbus run --help'", err)}
	})
	cmd.Flags().SetInterspersed(false) // flags behind COMMAND are COMMAND's
	cmd.Flags().StringVar(&configFile, "config-file", "", "run the bus that `FILE` describes")
	cmd.Flags().BoolVar(&session, "session", false, "the same with /usr/share/dbus-1/session.conf")
	cmd.MarkFlagsMutuallyExclusive("config-file", "session")
	level = logLevel(cmd, slog.LevelWarn)
	return cmd
}

// forwarded are the signals that kdbus run passes on.
var forwarded = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2}

// runWithBus runs the command argv with a private bus, of a configuration unless that is "". The error
// it returns has the exit code; it is nil for 0.
func runWithBus(configFile string, argv []string, log *slog.Logger) error {
	signals := make(chan os.Signal, 16)
	notifyUnlessIgnored(signals, forwarded...)
	// Caught rather than ignored: COMMAND must not inherit that.
	notifyUnlessIgnored(make(chan os.Signal, 1), unix.SIGPIPE)

	config := daemon.Config{Log: log}
	if configFile != "" {
		var err error
		if config.File, err = daemon.Load(configFile); err != nil {
			return &exitError{exitRunFailure, err}
		}
		if err := checkStays(config.File); err != nil {
			return &exitError{exitRunFailure, err}
		}
	}
	d, err := daemon.StartPrivate(config)
	if err != nil {
		return &exitError{exitRunFailure, err}
	}
	defer d.Shutdown()
	return runCommand(argv, d.Address(), signals)
}

// runCommand runs the command argv with the session bus at address, and passes signals on to it. The error
// it returns has the exit code; it is nil for 0.
func runCommand(argv []string, address string, signals <-chan os.Signal) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = sessionEnvironment(os.Environ(), address)
	err := cmd.Start()
	if err != nil {
		return startError(argv[0], err)
	}
	ended := make(chan struct{})
	go func() {
		err = cmd.Wait()
		close(ended)
	}()
	for {
		select {
		case sig := <-signals:
			if !fromTerminal(sig) {
				cmd.Process.Signal(sig) // fails only when the process has ended
			}
		case <-ended:
			return endError(argv[0], err)
		}
	}
}

// checkStays refuses a configuration that would have the bus become another user: COMMAND would have to
// become one with it.
func checkStays(conf *busconfig.Config) error {
	if conf.User == "" || os.Geteuid() != 0 {
		return nil
	}
	if account, err := process.LookupAccount(conf.User); err == nil && account.UID == 0 {
		return nil
	}
	return &busconfig.Error{Source: conf.UserAt, Element: "<user>",
		Reason: fmt.Sprintf("the bus should become user %s, and kdbus run cannot; use kdbus daemon", conf.User)}
}

// notifyUnlessIgnored is signal.Notify, but leaves signals ignored that whoever started
// the process ignored: nohup, or a shell that runs it in the background.
func notifyUnlessIgnored(c chan<- os.Signal, signals ...os.Signal) {
	for _, sig := range signals {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
}

// sessionEnvironment returns env as a program on the bus at address is to see it.
func sessionEnvironment(env []string, address string) []string {
	out := make([]string, 0, len(env)+1)
	for _, variable := range env {
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "DBUS_SESSION_BUS_ADDRESS", "DBUS_SESSION_BUS_PID", "DBUS_SESSION_BUS_WINDOWID",
			"DBUS_STARTER_ADDRESS", "DBUS_STARTER_BUS_TYPE":
		default:
			out = append(out, variable)
		}
	}
	return append(out, "DBUS_SESSION_BUS_ADDRESS="+address)
}

// startError says why name could not be started.
func startError(name string, err error) error {
	code := exitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitRunFailure
	}
	var wrapped *exec.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	} else if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return &exitError{code, fmt.Errorf("cannot run %s: %w", name, err)}
}

// endError passes on how the command ended.
func endError(name string, err error) error {
	if err == nil {
		return nil
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return &exitError{exitRunFailure, fmt.Errorf("wait for %s: %w", name, err)}
	}
	status := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return &exitError{code: exitSignalBase + int(status.Signal())}
	}
	return &exitError{code: status.ExitStatus()}
}

// fromTerminal reports whether sig has reached the command already: a terminal sends
// the signals of its keys to the whole foreground process group, which the command
// shares with us.
func fromTerminal(sig os.Signal) bool {
	if sig != unix.SIGINT && sig != unix.SIGQUIT {
		return false
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false // no terminal
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
