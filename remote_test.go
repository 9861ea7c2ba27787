package kdbus_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/daemon"
)

// startRemote starts a bus that listens at an address, with a home directory of its own for the cookies.
func startRemote(t *testing.T, config daemon.Config) address.Address {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	d, err := daemon.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	return d.Addresses()[0]
}

func TestBusesOnTCP(t *testing.T) {
	for _, test := range []struct {
		listen    string
		anonymous bool // nothing else is on offer
	}{
		{"tcp:host=127.0.0.1", false},
		{"tcp:host=localhost,bind=*", false},
		{"nonce-tcp:host=127.0.0.1", false},
		{"tcp:host=127.0.0.1", true},
		{"unix:tmpdir=/tmp", true},
	} {
		config := daemon.Config{Addresses: []string{test.listen}}
		if test.anonymous {
			config.AllowAnonymous, config.Mechanisms = true, []string{"ANONYMOUS"}
		}
		a := startRemote(t, config)
		c := dial(t, a.String())
		if c.Native() != (a.Transport == "unix") {
			t.Errorf("%s: native: %v", a, c.Native())
		}
		credentials, err := kdbus.Call[map[string]kdbus.Variant](testContext(t), c.Object("org.freedesktop.DBus", "/org/freedesktop/DBus"),
			"org.freedesktop.DBus.GetConnectionCredentials", c.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, known := credentials["UnixUserID"]; known == test.anonymous {
			t.Errorf("%s: the bus knows %v", a, credentials)
		}
	}
}

func TestFilesDoNotGoOverTCP(t *testing.T) {
	a := startRemote(t, daemon.Config{Addresses: []string{"tcp:host=127.0.0.1"}})
	c := dial(t, a.String())
	_, err := c.Object(c.Name(), "/").Call(testContext(t), "org.example.I.Take", os.Stdin)
	if err == nil || !strings.Contains(err.Error(), "cannot be sent over this connection") {
		t.Errorf("the error is %v", err)
	}
}

func TestBusesOnTCPThatLetNobodyIn(t *testing.T) {
	for name, test := range map[string]struct {
		listen string
		config daemon.Config
		change func(t *testing.T, a address.Address) address.Address
		want   string
	}{
		"without anything to prove": {listen: "tcp:host=127.0.0.1", config: daemon.Config{Mechanisms: []string{"EXTERNAL"}}, want: `it offers ["EXTERNAL"]`},
		"with another keyring": {listen: "tcp:host=127.0.0.1", change: func(t *testing.T, a address.Address) address.Address {
			dial(t, a.String()).Close() // so that the bus has its cookies elsewhere
			t.Setenv("HOME", t.TempDir())
			return a
		}, want: "DBUS_COOKIE_SHA1: look at the keyring"},
		"with another nonce": {listen: "nonce-tcp:host=127.0.0.1", change: func(t *testing.T, a address.Address) address.Address {
			file := t.TempDir() + "/nonce"
			os.WriteFile(file, make([]byte, 16), 0o600)
			return a.With("noncefile", file)
		}, want: "hung up"},
		"with a file that is no nonce": {listen: "nonce-tcp:host=127.0.0.1", change: func(t *testing.T, a address.Address) address.Address {
			return a.With("noncefile", "/dev/null")
		}, want: "has no nonce"},
		"without a file": {listen: "nonce-tcp:host=127.0.0.1", change: func(t *testing.T, a address.Address) address.Address {
			return a.With("noncefile", "/does/not/exist")
		}, want: "the nonce, without which"},
		"where nobody listens": {listen: "tcp:host=127.0.0.1", change: func(t *testing.T, a address.Address) address.Address {
			return a.With("port", "1")
		}, want: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Addresses = []string{test.listen}
			a := startRemote(t, test.config)
			if test.change != nil {
				a = test.change(t, a)
			}
			c, err := kdbus.Dial(testContext(t), a.String())
			if err == nil {
				c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}

// Nobody waits longer than it wants to for a bus that does not answer.
func TestDialingATCPAddressEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := startRemote(t, daemon.Config{Addresses: []string{"tcp:host=127.0.0.1"}})
	if c, err := kdbus.Dial(ctx, a.String()); err == nil {
		c.Close()
		t.Error("connected")
	}
}
