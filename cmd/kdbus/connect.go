package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/tty"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/values"
)

// busFlags say which bus a command talks to. They are busctl's.
type busFlags struct {
	user      bool
	address   string
	watchBind boolean
}

// addBusFlags adds the flags to cmd.
func addBusFlags(cmd *cobra.Command) *busFlags {
	b := new(busFlags)
	flags := cmd.Flags()
	flags.Var(&scopeFlag{b, false}, "system", "talk to the bus of the machine (the default)")
	flags.Var(&scopeFlag{b, true}, "user", "talk to the bus of the user's session")
	flags.Lookup("system").NoOptDefVal, flags.Lookup("user").NoOptDefVal = "true", "true"
	flags.StringVar(&b.address, "address", "", "talk to the bus at `ADDRESS`, whatever else is said")
	boolVar(cmd, &b.watchBind, "watch-bind", false, "wait until the bus's socket is there")
	return b
}

// scopeFlag is --user or --system, of which the last one counts, as with busctl: so one can be in an
// alias.
type scopeFlag struct {
	bus  *busFlags
	user bool
}

// Set is pflag.Value's.
func (f *scopeFlag) Set(s string) error {
	on, err := strconv.ParseBool(s)
	if err == nil {
		f.bus.user = on == f.user
	}
	return err
}

// String is pflag.Value's.
func (f *scopeFlag) String() string { return strconv.FormatBool(f.bus != nil && f.user && f.bus.user) }

// Type is pflag.Value's.
func (*scopeFlag) Type() string { return "bool" }

// IsBoolFlag is pflag's: there need not be a value.
func (*scopeFlag) IsBoolFlag() bool { return true }

// boolean is the value of a flag that is given as --flag=yes or --flag=no, as systemd's tools have it.
type boolean bool

func boolVar(cmd *cobra.Command, b *boolean, name string, byDefault bool, usage string) {
	*b = boolean(byDefault)
	cmd.Flags().Var(b, name, usage)
}

// Set is pflag.Value's.
func (b *boolean) Set(s string) error {
	v, err := values.ParseBool(s)
	*b = boolean(v)
	return err
}

// String is pflag.Value's.
func (b *boolean) String() string {
	if *b {
		return "yes"
	}
	return "no"
}

// Type is pflag.Value's.
func (*boolean) Type() string { return "BOOL" }

// scope is what busctl calls the bus; empty if it was named by its address.
func (b *busFlags) scope() string {
	switch {
	case b.address != "":
		return ""
	case b.user:
		return "user"
	}
	return "system"
}

// where returns the address of the bus, and what has led to it.
func (b *busFlags) where() (addr, from string) {
	if b.address != "" {
		return b.address, "--address"
	}
	if !b.user {
		if addr := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); addr != "" {
			return addr, "DBUS_SYSTEM_BUS_ADDRESS"
		}
		return "unix:path=/run/dbus/system_bus_socket", ""
	}
	if addr := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); addr != "" {
		return addr, "DBUS_SESSION_BUS_ADDRESS"
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = fmt.Sprintf("/run/user/%d", os.Getuid())
	}
	return address.UnixPath(filepath.Join(dir, "bus")).String(), ""
}

// dial connects to the bus.
func (b *busFlags) dial(ctx context.Context, d kdbus.Dialer) (*kdbus.Conn, error) {
	addr, from := b.where()
	if from != "" {
		from = " (from " + from + ")"
	}
	list, err := address.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, from)
	}
	if b.watchBind {
		if err := waitForSocket(ctx, list); err != nil {
			return nil, err
		}
	}
	var failures []error
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	for _, a := range list {
		conn, err := d.Dial(ctx, a.String())
		if err == nil {
			return conn, nil
		}
		failures = append(failures, noBus(a, from, err))
	}
	return nil, errors.Join(failures...)
}

// noBus says why there is no bus at an address, and what to do.
func noBus(a address.Address, from string, err error) error {
	whole := a.String()
	a = a.With("guid", "") // which only programs read
	const advice = "start one with `kdbus daemon` or name one with --address"
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no bus at %s%s: nothing listens there; %s", a, from, advice)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no bus at %s%s: whoever listens there says nothing; restart it or name another one with --address", a, from)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no access to the bus at %s%s: the permissions of the socket or of a directory above it keep user %d out; "+
			"ask its owner, or name another one with --address", a, from, os.Geteuid())
	case errors.Is(err, kdbus.ErrDisconnected), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("no access to the bus at %s%s: it hung up on user %d; most buses let only root and their own user in, "+
			"and their log says why; be one of those, or name another bus with --address", a, from, os.Geteuid())
	}
	text := err.Error()
	if _, rest, ok := strings.Cut(text, "no bus at "+whole+": "); ok {
		text = rest
	}
	return fmt.Errorf("no bus at %s%s: %s", a, from, strings.TrimPrefix(text, "kdbus: "))
}

// jsonFlags adds --json and -j.
func jsonFlags(cmd *cobra.Command) *jsontext.Mode {
	mode := new(jsontext.Mode)
	flags := cmd.Flags()
	flags.Var(mode, "json", "print JSON: in one line (short), or for people (pretty)")
	flags.BoolP("json-auto", "j", false, "like --json=pretty on a terminal, --json=short elsewhere")
	_ = cmd.RegisterFlagCompletionFunc("json", cobra.FixedCompletions([]string{"short", "pretty", "off"}, cobra.ShellCompDirectiveNoFileComp)) // it is there
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if auto, _ := cmd.Flags().GetBool("json-auto"); auto {
			*mode = jsontext.Short
			if tty.Is(cmd.OutOrStdout()) {
				*mode = jsontext.Pretty
			}
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
	return mode
}

// pagerFlag adds --no-pager, and returns a function that prints what may be long, through a pager where that makes
// sense and is wanted.
func pagerFlag(cmd *cobra.Command) func(text []byte) error {
	no := cmd.Flags().Bool("no-pager", false, "print at once, not through a pager")
	return func(text []byte) error {
		stdout, ok := cmd.OutOrStdout().(*os.File)
		if !ok {
			_, err := cmd.OutOrStdout().Write(text)
			return err
		}
		out, end := tty.Page(stdout, !*no)
		_, err := out.Write(text)
		if errors.Is(err, syscall.EPIPE) && out != stdout {
			err = nil // who reads has seen enough
		}
		return errors.Join(err, end())
	}
}

// styleOf returns how what is printed to out may be coloured.
func styleOf(out io.Writer) tty.Style { return tty.StyleOf(out) }

// plain says what the bus or a peer has answered, without the words around it that say what was
// asked: the command says that better.
func plain(err error) error {
	if e, ok := errors.AsType[*kdbus.Error](err); ok {
		if e.Message != "" {
			return errors.New(strings.TrimRight(e.Message, "\n"))
		}
		return errors.New(e.Name)
	}
	return err
}
