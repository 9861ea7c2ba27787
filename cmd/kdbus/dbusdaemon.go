package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/kdbus-go/kdbus/dbus1"
)

// This file is the command line of dbus-daemon(1), which this program understands if it is called by
// that name: what starts a bus, such as dbus-run-session, dbus-launch, test suites and
// init scripts, starts this one then. It is taken apart by hand as that program does it, since
// nothing else does it so: a value may be behind = or be the next argument, for
// --print-address and --print-pid too, where it may be missing.

// dbusDaemonName is the name of the program by which it takes this command line.
const dbusDaemonName = "dbus-daemon"

// dbusDaemonVersion is the version of dbus-daemon whose behaviour this program has. Programs read it.
const dbusDaemonVersion = "1.14.10"

func isDBusDaemon(arg0 string) bool { return filepath.Base(arg0) == dbusDaemonName }

// Arguments that end the command line, as errors.
var (
	errHelp       = errors.New("--help")
	errVersion    = errors.New("--version")
	errIntrospect = errors.New("--introspect")
)

// usageError is a wrong command line. It is followed by the usage.
type usageError string

func (e usageError) Error() string { return string(e) }

// executeDBusDaemon runs the command line args of dbus-daemon and returns the exit code.
func executeDBusDaemon(args []string, stdout, stderr io.Writer) int {
	options, err := parseDBusDaemon(args)
	switch {
	case err == nil:
	case errors.Is(err, errHelp):
		fmt.Fprintln(stdout, dbusDaemonUsage)
		return exitOK
	case errors.Is(err, errVersion):
		fmt.Fprintf(stdout, "D-Bus Message Bus Daemon %s\nThis is %s,\nwhich does what that version of dbus-daemon does.\n",
			dbusDaemonVersion, versionLine())
		return exitOK
	case errors.Is(err, errIntrospect):
		fmt.Fprint(stdout, dbus1.Introspection())
		return exitOK
	default:
		fmt.Fprintln(stderr, err)
		if _, ok := errors.AsType[usageError](err); ok {
			fmt.Fprintln(stderr, dbusDaemonUsage)
		}
		return exitFailure
	}
	err = options.run(stderr)
	if err == nil {
		return exitOK
	}
	if isUnsaid(err) {
		fmt.Fprintf(stderr, "%s[%d]: %s%v\n", dbusDaemonName, os.Getpid(), startFailure, err)
	}
	return exitFailure
}

const dbusDaemonUsage = `dbus-daemon [--version] [--session] [--system] [--config-file=FILE] [--print-address[=DESCRIPTOR]] ` +
	`[--print-pid[=DESCRIPTOR]] [--introspect] [--address=ADDRESS] [--nopidfile] [--nosyslog] [--syslog] [--syslog-only] ` +
	`[--nofork] [--fork] [--systemd-activation]`

// parseDBusDaemon takes a command line apart. As in dbus-daemon, the last of options that contradict
// each other counts, but what can be said once only is refused if it is said again.
func parseDBusDaemon(args []string) (busOptions, error) {
	p := dbusDaemonParser{busOptions: busOptions{
		printAddress: noDescriptor, printPID: noDescriptor, level: slog.LevelInfo, asDBusDaemon: true}}
	previous := ""
	for _, arg := range args {
		if err := p.argument(previous, arg); err != nil {
			return busOptions{}, err
		}
		previous = arg
	}
	if p.configFile == "" {
		return busOptions{}, usageError("No configuration file specified.")
	}
	return p.busOptions, nil
}

type dbusDaemonParser struct {
	busOptions
	printAddressTo, printPIDTo string // descriptors as written
}

// argument takes one argument, which may be the value of the one before.
func (p *dbusDaemonParser) argument(previous, arg string) error {
	switch arg {
	case "--help", "-h", "-?":
		return errHelp
	case "--version":
		return errVersion
	case "--introspect":
		return errIntrospect
	case "--nosyslog":
		p.syslog, p.syslogOnly = never, false
	case "--syslog":
		p.syslog = always
	case "--syslog-only":
		p.syslog, p.syslogOnly = always, true
	case "--fork":
		p.fork = always
	case "--nofork":
		p.fork = never
	case "--nopidfile":
		p.noPIDFile = true
	case "--systemd-activation":
		p.systemdActivation = true
	case "--system", "--session":
		return p.setConfigFile(strings.TrimPrefix(arg, "--"), standardConfig(strings.TrimPrefix(arg, "--")))
	case "--config-file", "--address":
		// The value comes next.
	case "--print-address":
		p.printAddress = 1
	case "--print-pid":
		p.printPID = 1
	default:
		name, value, found := strings.Cut(arg, "=")
		if !found || !strings.HasPrefix(name, "--") {
			name, value = previous, arg
		}
		return p.value(name, value)
	}
	return nil
}

// value takes the value of the option name.
func (p *dbusDaemonParser) value(name, value string) error {
	switch name {
	case "--config-file":
		return p.setConfigFile("config-file", value)
	case "--address":
		if len(p.addresses) > 0 {
			return fmt.Errorf("--address specified but address %s already requested", p.addresses[0])
		}
		if value != "" {
			p.addresses = []string{value}
		}
		return nil
	case "--print-address":
		return setDescriptor(&p.printAddress, &p.printAddressTo, name, "address", value)
	case "--print-pid":
		return setDescriptor(&p.printPID, &p.printPIDTo, name, "pid", value)
	}
	return usageError(fmt.Sprintf("%q is no option.", value))
}

func (p *dbusDaemonParser) setConfigFile(option, file string) error {
	if p.configFile != "" {
		return fmt.Errorf("--%s specified but configuration file %s already requested", option, p.configFile)
	}
	p.configFile = file
	return nil
}

func setDescriptor(d *descriptor, written *string, option, what, value string) error {
	if *written != "" {
		return fmt.Errorf("%s specified but printing %s to %s already requested", option, what, *written)
	}
	*written = value
	if value == "" {
		*d = 1
		return nil
	}
	if err := d.Set(value); err != nil {
		return fmt.Errorf("%s=%s: %w", option, value, err)
	}
	return nil
}
