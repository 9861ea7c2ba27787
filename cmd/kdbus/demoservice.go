package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
)

// The service of the demo: systemd-localed's name, object and interface.
const (
	localeName = "org.freedesktop.locale1"
	localePath = "/org/freedesktop/locale1"
)

// localeService is what systemd-localed is, but for the files it would write.
type localeService struct {
	Locale               kdbus.Property[[]string]
	VConsoleKeymap       kdbus.Property[string]
	VConsoleKeymapToggle kdbus.Property[string]
}

// SetLocale changes the locale. Nobody is asked for permission: the bus is private.
func (s *localeService) SetLocale(locale []string, _ bool) error {
	if i := slices.IndexFunc(locale, func(v string) bool { return !strings.Contains(v, "=") }); i >= 0 {
		return kdbus.NewError(kdbus.ErrInvalidArgs.Name, "%q is no assignment such as LANG=C.UTF-8", locale[i])
	}
	s.Locale.Set(locale)
	return nil
}

// SetVConsoleKeyboard changes the keymap of the console.
func (s *localeService) SetVConsoleKeyboard(keymap, toggle string, _, _ bool) error {
	s.VConsoleKeymap.Set(keymap)
	s.VConsoleKeymapToggle.Set(toggle)
	return nil
}

func newDemoServiceCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "service",
		Short:  "Be the service of kdbus demo",
		Long:   "Is on the session bus what systemd-localed is on the system bus, until standard input ends. Prints its unique name.",
		Hidden: true,
		Args:   usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dialer := kdbus.Dialer{Description: "demo-localed"}
			conn, err := dialer.DialSession(cmd.Context())
			if err != nil {
				return err
			}
			defer conn.Close()
			s := new(localeService)
			s.Locale.Set([]string{"LANG=en_US.UTF-8"})
			s.VConsoleKeymap.Set("de-latin1-nodeadkeys")
			if err := conn.Export(localePath, localeName, s); err != nil {
				return err
			}
			if _, err := conn.RequestName(cmd.Context(), localeName, kdbus.DoNotQueue); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), conn.Name())
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				conn.Close()
			}()
			<-conn.Done()
			if err := conn.Err(); !errors.Is(err, kdbus.ErrClosed) && !errors.Is(err, kdbus.ErrDisconnected) {
				return err
			}
			return nil
		},
	}
}

func newDemoClientCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "client",
		Short:  "Be the client of kdbus demo",
		Long:   "Asks org.freedesktop.locale1 on the session bus for all its properties.",
		Hidden: true,
		Args:   usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), defaultTimeout)
			defer cancel()
			dialer := kdbus.Dialer{Description: "demo-client"}
			conn, err := dialer.DialSession(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Object(localeName, localePath).GetAll(ctx, "")
			return err
		},
	}
}
