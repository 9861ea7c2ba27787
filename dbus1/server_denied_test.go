package dbus1_test

import (
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// An administrator can read who tries what only root and the user of the bus may: dbus-daemon logs all of it, too.
func TestWhatOnlyThePrivilegedMayIsToldWhenItIsDenied(t *testing.T) {
	type telling struct {
		conn *bus.Conn
		text string
	}
	told := make(chan telling, 1)
	r := startRemote(t, false, func(c *dbus1.Config) {
		c.AllowAnonymous = true
		c.Denied = func(c *bus.Conn, err error) { told <- telling{c, err.Error()} }
	})
	c := r.dialRemote(t, "\x00")
	if got := c.command(t, "AUTH ANONYMOUS"); got != "OK "+testGUID {
		t.Fatalf("the answer is %q", got)
	}
	c.begin(t)
	for _, test := range []struct {
		typ        wire.Type
		of, member string // interface "" for that of the driver
		args       []any
	}{
		{wire.TypeMethodCall, "", "UpdateActivationEnvironment", []any{map[string]string{"A": "b"}}},
		{wire.TypeMethodCall, "", "AddMatch", []any{"eavesdrop='true'"}},
		{wire.TypeMethodCall, "org.freedesktop.DBus.Monitoring", "BecomeMonitor", []any{[]string{}, uint32(0)}},
		{wire.TypeSignal, "org.freedesktop.systemd1.Activator", "ActivationFailure", []any{"a.service", "org.example.Error", "text"}},
	} {
		t.Run(test.member, func(t *testing.T) {
			m := c.newMessage(test.typ, driver, test.member, test.args...)
			if test.of != "" {
				m.Interface = test.of
			}
			c.mustFail(t, "AccessDenied", m)
			select {
			case got := <-told:
				if want := "rejected attempt to call " + test.member + " by connection " + c.name; !strings.HasPrefix(got.text, want) || got.conn.UniqueName() != c.name {
					t.Errorf("told %q of %s, want %q and so on", got.text, got.conn.UniqueName(), want)
				}
			default:
				t.Error("nobody is told")
			}
		})
	}
}
