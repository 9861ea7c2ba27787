package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
)

// What kdbus bus make and kdbus endpoint make have in common: something lasts as long as the command.

// makeExit are the exit codes of both.
const makeExit = `  0    success, and what was made is gone again
  n    the exit code of COMMAND
  1    failure; standard error says what and why
  2    the command line is wrong
  126  COMMAND cannot be executed
  127  with COMMAND: COMMAND was not found, or it could not be made; standard error says which
  128+n  COMMAND was ended by signal n
`

// makeArguments checks that there is a NAME, and nothing else but a command behind "--".
func makeArguments(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	switch {
	case len(args) == 0 || dash == 0:
		return &exitError{exitUsage, fmt.Errorf("NAME is missing; what is needed: %s", cmd.UseLine())}
	case len(args) > 1 && dash != 1:
		return &exitError{exitUsage, fmt.Errorf("%q is too much; a command goes behind --", args[1])}
	case dash == 1 && len(args) == 1:
		return &exitError{exitUsage, errors.New("behind -- there is no command")}
	}
	return nil
}

// made is what a command has made.
type made interface {
	Address() string
	Done() <-chan struct{}
	Err() error
	Close() error
}

// makeSignals returns where the signals come that end what was made, or that go to COMMAND.
func makeSignals() chan os.Signal {
	signals := make(chan os.Signal, 16)
	notifyUnlessIgnored(signals, forwarded...)
	return signals
}

// keep runs the command argv with m as its session bus; or, if there is none, says where m is and waits for a
// signal. update, if not nil, is called for HUP then.
func keep(cmd *cobra.Command, m made, signals chan os.Signal, argv []string, update func() error) error {
	if len(argv) > 0 {
		// Caught rather than ignored: COMMAND must not inherit that.
		notifyUnlessIgnored(make(chan os.Signal, 1), unix.SIGPIPE)
		return runCommand(argv, m.Address(), signals)
	}
	signal.Reset(unix.SIGUSR1, unix.SIGUSR2, unix.SIGQUIT)
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), m.Address()); err != nil {
		return err
	}
	for {
		select {
		case sig := <-signals:
			if sig != unix.SIGHUP || update == nil {
				return nil
			}
			if err := update(); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v; everything stays as it was\n", cmd.CommandPath(), err)
			}
		case <-m.Done():
			return fmt.Errorf("the bus has ended: %w", m.Err())
		}
	}
}

// makeFailed gives an error the exit code that it has with a command.
func makeFailed(args []string, err error) error {
	if len(args) > 1 {
		return &exitError{exitRunFailure, err}
	}
	return err
}

// cannotMake says why a thing was not made, and what to do.
func cannotMake(err error, what, domain string) error {
	advice := ""
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		if domain == "" {
			domain, _ = kdbus.DefaultDomain()
		}
		return fmt.Errorf("no domain at %s: nobody serves it; start `kdbus daemon --domain %s`, or name another one with --domain", domain, domain)
	case errors.Is(err, syscall.EEXIST):
		advice = "; choose another name"
	case errors.Is(err, syscall.EMFILE):
		advice = "; end one of them"
	case errors.Is(err, kdbus.ErrNotNative) && os.Getenv("KDBUS") == "0":
		advice = "; KDBUS=0 in the environment has it so"
	}
	return fmt.Errorf("cannot make the %s: %w%s", what, plain(err), advice)
}
