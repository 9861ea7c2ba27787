package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/wire"
)

// The service of the demo: systemd-localed's name, object and one of its interfaces.
const (
	localeName = "org.freedesktop.locale1"
	localePath = "/org/freedesktop/locale1"
)

func newDemoCommand() *cobra.Command {
	var level *slog.Level
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a bus at work",
		Long: `Starts a private bus and three programs' worth of connections: a service that has the
name org.freedesktop.locale1, a client that asks it for all its properties, and a
monitor that prints every message the client's visit causes.

When standard input is a terminal the bus then stays up until Ctrl-C, with the service
on it and the monitor printing, for you to try other programs on it.`,
		Example: `  kdbus demo              # stays up
  kdbus demo </dev/null   # ends after the exchange`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, stay := terminal(os.Stdin)
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
			defer stop()
			return runDemo(ctx, cmd.OutOrStdout(), stay, newLog(cmd.ErrOrStderr(), level))
		},
	}
	level = logLevel(cmd, slog.LevelWarn)
	return cmd
}

// runDemo prints the exchange to out and, if stay is set, what else happens on the bus
// until ctx is done.
func runDemo(ctx context.Context, out io.Writer, stay bool, log *slog.Logger) error {
	d, err := daemon.StartPrivate(daemon.Config{Log: log})
	if err != nil {
		return err
	}
	defer d.Shutdown()
	// Whatever a connection waits for, it stops when the bus ends.
	defer context.AfterFunc(ctx, d.Shutdown)()
	err = demonstrate(d, out, stay)
	if ctx.Err() != nil {
		return nil // what went wrong is that the bus ended
	}
	return err
}

func demonstrate(d *daemon.Daemon, out io.Writer, stay bool) error {
	at := d.Addresses()[0]
	service, err := startLocaleService(at)
	if err != nil {
		return fmt.Errorf("the service: %w", err)
	}
	defer service.close()
	monitor, err := startMonitor(at)
	if err != nil {
		return fmt.Errorf("the monitor: %w", err)
	}
	defer monitor.close()

	fmt.Fprintf(out, "A bus is at %s.\n%s is on it as %s. A client asks it for its properties:\n\n",
		at, localeName, service.name)
	client, err := askLocaleService(at)
	if err != nil {
		return fmt.Errorf("the client: %w", err)
	}
	count := 0
	for left := false; !left; count++ {
		m, err := monitor.receive()
		if err != nil {
			return fmt.Errorf("the monitor: %w", err)
		}
		if err := printMessage(out, m); err != nil {
			return err
		}
		left = tellsLeaving(m, client)
	}
	fmt.Fprintf(out, "%d messages; client %s has its answer and is gone.\n", count, client)
	if !stay {
		return nil
	}
	fmt.Fprintf(out, "\nThe bus stays up until Ctrl-C. In another terminal:\n\n"+
		"  export DBUS_SESSION_BUS_ADDRESS='%s'\n  busctl --user list\n"+
		"  busctl --user call %s %s %s GetAll s ''\n\n",
		at, localeName, localePath, propertiesInterface)
	for {
		m, err := monitor.receive()
		if err != nil {
			return fmt.Errorf("the monitor: %w", err)
		}
		if err := printMessage(out, m); err != nil {
			return err
		}
	}
}

// startLocaleService connects the service and lets it answer calls until its
// connection ends.
func startLocaleService(at address.Address) (*demoClient, error) {
	c, err := dialDemo(at)
	if err != nil {
		return nil, err
	}
	const doNotQueue = uint32(4)
	if _, err := c.callBus("org.freedesktop.DBus", "RequestName", localeName, doNotQueue); err != nil {
		c.close()
		return nil, err
	}
	go func() {
		for {
			m, err := c.receive()
			if err != nil {
				return
			}
			if m.Type == wire.TypeMethodCall && m.Flags&wire.NoReplyExpected == 0 {
				if answerLocaleCall(c, m) != nil {
					return
				}
			}
		}
	}()
	return c, nil
}

// answerLocaleCall is the service's one method.
func answerLocaleCall(c *demoClient, call *wire.Message) error {
	answer := &wire.Message{Header: wire.Header{
		Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, ReplySerial: call.Serial, Destination: call.Sender,
	}}
	if call.Path == localePath && call.Interface == propertiesInterface && call.Member == "GetAll" && call.Signature == "s" {
		return c.send(answer, map[string]wire.Variant{
			"Locale":               {Value: []string{"LANG=en_US.UTF-8"}},
			"VConsoleKeymap":       {Value: "de-latin1-nodeadkeys"},
			"VConsoleKeymapToggle": {Value: ""},
		})
	}
	answer.Type, answer.ErrorName = wire.TypeError, "org.freedesktop.DBus.Error.UnknownMethod"
	return c.send(answer, fmt.Sprintf("%s at %s has only %s.GetAll, not %s.%s with signature %q",
		localeName, localePath, propertiesInterface, call.Interface, call.Member, call.Signature))
}

// startMonitor connects and becomes a monitor of everything.
func startMonitor(at address.Address) (*demoClient, error) {
	c, err := dialDemo(at)
	if err != nil {
		return nil, err
	}
	if _, err := c.callBus("org.freedesktop.DBus.Monitoring", "BecomeMonitor", []string{}, uint32(0)); err != nil {
		c.close()
		return nil, err
	}
	// The bus's farewell to the connection that the monitor was.
	for {
		m, err := c.receive()
		if err != nil {
			c.close()
			return nil, err
		}
		if m.Type == wire.TypeSignal && m.Member == "NameLost" && m.Destination == c.name {
			return c, nil
		}
	}
}

// askLocaleService is the client: it comes, asks the service for all its properties,
// and leaves. It returns the unique name it had.
func askLocaleService(at address.Address) (string, error) {
	c, err := dialDemo(at)
	if err != nil {
		return "", err
	}
	defer c.close()
	_, err = c.call(&wire.Message{Header: wire.Header{
		Destination: localeName, Path: localePath, Interface: propertiesInterface, Member: "GetAll",
	}}, "")
	return c.name, err
}

// tellsLeaving reports whether m is the bus's signal that the connection name is gone.
func tellsLeaving(m *wire.Message, name string) bool {
	if m.Type != wire.TypeSignal || m.Member != "NameOwnerChanged" || m.Sender != "org.freedesktop.DBus" {
		return false
	}
	var changed, before, after string
	return m.Decode(&changed, &before, &after) == nil && changed == name && after == ""
}
