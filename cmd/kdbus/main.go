// Command kdbus is a D-Bus message bus and what goes with one. `kdbus --help` says
// what it can do; each subcommand is in a file of its name. The work is done by
// package daemon; what is here belongs to a process: flags, environment, signals,
// standard output, exit codes.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes, documented in the help of kdbus and kdbus run.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// exitError makes the command end with code. The error it wraps is printed; without
// one nothing is.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// execute runs the command line args and returns the exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ran, err := root.ExecuteC()
	if err == nil {
		return exitOK
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok {
		exit = &exitError{exitFailure, err}
	}
	if exit.err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", ran.CommandPath(), exit.err)
	}
	if exit.code == exitUsage {
		fmt.Fprintf(stderr, "Try '%s --help'.\n", ran.CommandPath())
	}
	return exit.code
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kdbus",
		Short: "A D-Bus message bus",
		Long: `kdbus is a D-Bus message bus: programs that talk D-Bus, connected to it, find each
other by name, call each other's methods and hear each other's signals. Programs
need no change; they only have to be told the bus's address.`,
		Example: `  kdbus demo                      # see a bus at work, then read its messages
  kdbus run -- busctl --user list # one command with a bus of its own
  kdbus daemon --print-address    # a bus that stays
  kdbus COMMAND --help            # all about one command`,
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
		// Reached when the first argument is no command.
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetHelpTemplate(helpTemplate)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newDaemonCommand(), newRunCommand(), newDemoCommand(), newBenchCommand(), newVersionCommand())
	root.AddCommand(newListCommand(), newStatusCommand())
	return root
}

// helpTemplate is cobra's with the exit codes below.
const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}{{with index .Annotations "exit"}}
Exit codes:
{{.}}{{else}}
Exit codes:
  0  success
  1  failure; standard error says what and why
  2  the command line is wrong
{{end}}`

// usage makes a wrong number of arguments a usage error.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &exitError{exitUsage, err}
		}
		return nil
	}
}

// logLevel adds the flag --log-level to cmd and returns where its value will be.
func logLevel(cmd *cobra.Command, byDefault slog.Level) *slog.Level {
	level := new(slog.Level)
	cmd.Flags().TextVar(level, "log-level", byDefault, "least `level` logged: DEBUG, INFO, WARN or ERROR")
	return level
}

// newLog returns a log in text form, as an administrator or journald reads it.
func newLog(w io.Writer, level *slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
