package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/tty"
	"github.com/kdbus-go/kdbus/daemon"
)

func newDemoCommand() *cobra.Command {
	var level *slog.Level
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a bus at work",
		Long: `Starts a private bus and two programs on it: a service that is what systemd-localed is,
with the name org.freedesktop.locale1, and a client that asks it for all its properties.
What a monitor sees of that is printed as kdbus monitor prints it: each message with who
sent it, as the bus knows from the kernel.

When standard input is a terminal the bus then stays up until Ctrl-C, with the service
on it and the monitor printing, for you to try other programs on it.`,
		Example: `  kdbus demo              # stays up
  kdbus demo </dev/null   # ends after the exchange`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
			defer stop()
			d := &demo{out: cmd.OutOrStdout(), diagnostics: cmd.ErrOrStderr(), stay: tty.Is(os.Stdin)}
			return d.run(ctx, newLog(cmd.ErrOrStderr(), level))
		},
	}
	level = logLevel(cmd, slog.LevelWarn)
	cmd.AddCommand(newDemoServiceCommand(), newDemoClientCommand())
	return cmd
}

// demo is a demonstration under way.
type demo struct {
	out, diagnostics io.Writer
	stay             bool // until ctx ends
	address          string
	printer          *messagePrinter
	text             []byte
}

// run shows the exchange and, if the demo is to stay, what else happens on the bus until ctx ends.
func (d *demo) run(ctx context.Context, log *slog.Logger) error {
	bus, err := daemon.StartPrivate(daemon.Config{Log: log})
	if err != nil {
		return err
	}
	defer bus.Shutdown()
	d.address = bus.Address()
	err = d.show(ctx)
	if ctx.Err() != nil {
		return nil // what went wrong is that it was to end
	}
	return err
}

func (d *demo) show(ctx context.Context) error {
	service, end, err := d.startService(ctx)
	if err != nil {
		return fmt.Errorf("the service: %w", err)
	}
	defer end()
	dialer := kdbus.Dialer{Metadata: abi.AttachAll, Description: "demo-monitor"}
	conn, err := dialer.Dial(ctx, d.address)
	if err != nil {
		return fmt.Errorf("the monitor: %w", err)
	}
	defer conn.Close()
	sub, err := conn.Monitor(ctx, watchQueue)
	if err != nil {
		return fmt.Errorf("the monitor: %w", err)
	}
	d.printer = newMessagePrinter(conn.Native(), styleOf(d.out).Bold, jsontext.Off, false)

	fmt.Fprintf(d.out, "A bus is at %s.\n%s is on it as %s. A client asks it for its properties:\n\n", d.address, localeName, service)
	client := d.program(ctx, "client")
	client.Stderr = d.diagnostics
	if err := client.Start(); err != nil {
		return fmt.Errorf("the client: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }()
	name, count, err := d.exchange(ctx, sub)
	if err = errors.Join(err, <-ended); err != nil {
		return fmt.Errorf("the client: %w", err)
	}
	fmt.Fprintf(d.out, "%d messages; client %s has its answer and is gone.\n", count, name)
	if !d.stay {
		return nil
	}
	fmt.Fprintf(d.out, "\nThe bus stays up until Ctrl-C. In another terminal:\n\n"+
		"  export DBUS_SESSION_BUS_ADDRESS='%s'\n  %s list --user\n  %[2]s introspect --user %s %s\n"+
		"  busctl --user call %[3]s %[4]s %s GetAll s ''\n\n",
		d.address, typed(), localeName, localePath, propertiesInterface)
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if err := d.print(m); err != nil {
			return err
		}
	}
}

// typed is how to call this program from another shell: by its path, unless it is found without.
func typed() string {
	if _, err := exec.LookPath("kdbus"); err == nil {
		return "kdbus"
	}
	self, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return self
}

// program returns a command that runs one of the two programs.
func (d *demo) program(ctx context.Context, role string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.CommandContext(ctx, self, "demo", role)
	cmd.Args[0] = os.Args[0]
	cmd.Env = sessionEnvironment(os.Environ(), d.address)
	return cmd
}

// startService starts the service and waits until it is on the bus; it returns its unique name.
func (d *demo) startService(ctx context.Context) (name string, end func(), err error) {
	cmd := d.program(ctx, "service")
	cmd.Stderr = d.diagnostics
	// It ends when its standard input does: with this process, however that ends.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		stdin.Close()
		_ = cmd.Wait() // how it ended says nothing to who watches
	}
	line := bufio.NewScanner(stdout)
	if !line.Scan() {
		end()
		return "", nil, errors.New("it has ended at once")
	}
	return line.Text(), end, nil
}

// exchange prints messages until the client has come and gone; it returns the name the client had
// and how many messages that took.
func (d *demo) exchange(ctx context.Context, sub *kdbus.Subscription) (client string, count int, err error) {
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return client, count, err
		}
		count++
		if err := d.print(m); err != nil {
			return client, count, err
		}
		var name, before, after string
		if m.Member() != "NameOwnerChanged" || m.Sender() != busName || m.Decode(&name, &before, &after) != nil {
			continue
		}
		switch {
		case client == "" && before == "":
			client = name
		case name == client && after == "":
			return client, count, nil
		}
	}
}

func (d *demo) print(m *kdbus.Message) (err error) {
	if d.text, err = d.printer.append(d.text[:0], m); err == nil {
		_, err = d.out.Write(d.text)
	}
	return err
}
