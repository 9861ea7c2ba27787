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
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus/internal/sandbox"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == sandboxChild {
		os.Exit(sandbox.Main(os.Args[2:]))
	}
	if isDBusDaemon(os.Args[0]) {
		os.Exit(executeDBusDaemon(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

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
	root.SetArgs(arrange(root, arrangeCompleted(root, args)))
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
		for line := range strings.Lines(exit.err.Error()) {
			fmt.Fprintf(stderr, "%s: %s\n", ran.CommandPath(), strings.TrimSuffix(line, "\n"))
		}
	}
	if exit.code != exitUsage || exit.err == nil {
		return exit.code // which may be that of a command that was run
	}
	fmt.Fprintf(stderr, "Try '%s --help'.\n", ran.CommandPath())
	if isVerb(ran) {
		return exitFailure
	}
	return exitUsage
}

// exitAnnotation is the annotation of a command with exit codes of its own, as its help tells them.
const exitAnnotation = "exit"

// verbExit are the exit codes of busctl and of the commands that do what it does.
const verbExit = `  0  success
  1  failure; standard error says what and why. A wrong command line is one, too
`

// isVerb reports whether a command does what busctl does.
func isVerb(cmd *cobra.Command) bool { return cmd.Annotations[exitAnnotation] == verbExit }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kdbus",
		Short: "A D-Bus message bus",
		Long: `kdbus is a D-Bus message bus: programs that talk D-Bus, connected to it, find each
other by name, call each other's methods and hear each other's signals. Programs
need no change; they only have to be told the bus's address.

The other commands look at a bus, this one or any other, and talk to who is there, as
busctl does: they take its flags and print what it prints, and what only kdbus knows.
They talk to the bus of the machine unless --user or --address names another one.`,
		Example: `  kdbus demo                      # see a bus at work, then read its messages
  kdbus run -- kdbus list --user  # one command with a bus of its own
  kdbus daemon --print-address    # a bus that stays
  kdbus monitor --user            # what crosses the session bus
  kdbus COMMAND --help            # all about one command

  source <(kdbus completion bash) # complete services, objects and methods`,
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
		// Reached when the first argument is no command.
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, explainFlag(err)} })
	root.SetVersionTemplate("{{.Version}}\n")
	cobra.AddTemplateFunc("exitCodes", exitCodes)
	root.SetHelpTemplate(helpTemplate)
	root.AddGroup(&cobra.Group{ID: "bus", Title: "Run a bus:"}, &cobra.Group{ID: "verbs", Title: "Look at a bus, and talk to who is there:"})
	for _, cmd := range []*cobra.Command{newDaemonCommand(), newRunCommand(), newSandboxCommand(), newBusCommand(), newEndpointCommand(), newMountCommand(), newNameCommand(), newDemoCommand(), newBenchCommand()} {
		cmd.GroupID = "bus"
		root.AddCommand(cmd)
	}
	verbs := []*cobra.Command{newListCommand(), newStatusCommand(), newTreeCommand(), newIntrospectCommand(),
		newCallCommand(), newEmitCommand(), newWaitCommand(), newGetPropertyCommand(), newSetPropertyCommand(),
		newMonitorCommand(), newCaptureCommand(), newTopCommand()}
	takeBusctlFlags(verbs)
	for _, verb := range verbs {
		verb.GroupID = "verbs"
		verb.Annotations = map[string]string{exitAnnotation: verbExit}
		root.AddCommand(verb)
	}
	root.AddCommand(newPolicyCommand(), newVersionCommand(), newManCommand(), newCompletionCommand())
	return root
}

// helpTemplate is cobra's with the exit codes below.
const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}
Exit codes:
{{exitCodes .}}`

// exitCodes returns the exit codes of a command, as its help and its manual page tell them.
func exitCodes(cmd *cobra.Command) string {
	if own := cmd.Annotations[exitAnnotation]; own != "" {
		return own
	}
	return `  0  success
  1  failure; standard error says what and why
  2  the command line is wrong
`
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
