package dbus1_test

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// TestAuthenticationTimeout: who does not say Hello in time is disconnected, however far it got.
func TestAuthenticationTimeout(t *testing.T) {
	s := startServer(t, func(c *dbus1.Config) { c.Limits.AuthTimeout = 500 * time.Millisecond })
	var late []*client
	for _, said := range []string{"", "\x00", "\x00AUTH EXTERNAL\r\n", string(handshake(false)), string(handshake(false)) + "l\x01\x00\x01"} {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		c.write([]byte(said)) // it may be too late for that already
		late = append(late, c)
	}
	var member *client
	eventually(t, "somebody who is quick gets in", func() bool {
		var err error
		member, err = s.join(wire.LittleEndian, false)
		return err == nil
	})
	defer member.close()
	for _, c := range late {
		if err := c.disconnected(); err != nil {
			t.Error(err)
		}
	}
	member.must(t, "GetId") // the time is for Hello only
	if !s.log.has("not said Hello in time") {
		t.Errorf("the log says:\n%s", strings.Join(s.log.lines(), "\n"))
	}
	eventually(t, "the others are gone", func() bool { return member.connections(t) == 1 })
}

// TestIncompleteConnectionsAreLimited: no more are listened to until one has said Hello, or is gone.
func TestIncompleteConnectionsAreLimited(t *testing.T) {
	const limit = 3
	s := startServer(t, func(c *dbus1.Config) { c.Limits.MaxIncompleteConnections = limit })
	others := s.watch(t)
	var waiting []*client
	for range limit {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if err := c.authenticate(false); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, c)
	}
	// These are connected, and the server does not read from them.
	var outside []*client
	answered := make(chan error, 2)
	for range 2 {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		outside = append(outside, c)
		go func() { answered <- c.authenticate(false) }()
	}
	eventually(t, "the log says so", func() bool {
		return s.log.has("a limit was reached", "max_incomplete_connections=3", "the next ones wait")
	})
	others.progress()
	if len(answered) > 0 {
		t.Fatal("a connection above the limit was accepted")
	}
	if err := waiting[0].hello(); err != nil { // one is done
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	others.progress()
	if len(answered) > 0 {
		t.Fatal("a connection above the limit was accepted")
	}
	waiting[1].close() // one is gone
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	for _, c := range outside {
		if err := c.hello(); err != nil {
			t.Error(err)
		}
	}
	others.stop()
}

// TestConnectionsAreLimited: who is one too many is told, and may try again.
func TestConnectionsAreLimited(t *testing.T) {
	domain := bus.DomainConfig{MaxConnsPerUser: 2}
	servers := map[string]*testServer{
		"of all users": startServer(t, func(c *dbus1.Config) { c.Limits.MaxConnections = 2 }),
		"of one user":  startServerIn(t, domain),
	}
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			first, second := s.connect(t), s.connect(t)
			third, err := s.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer third.close()
			if err := third.authenticate(false); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				third.mustFail(t, "LimitsExceeded", third.newMessage(wire.TypeMethodCall, driver, "Hello"))
			}
			if n := first.connections(t); n != 3 {
				t.Errorf("there are %d connections, want 3", n)
			}
			second.close()
			eventually(t, "a connection is free", func() bool { return first.connections(t) == 2 })
			if err := third.hello(); err != nil {
				t.Error(err)
			}
			third.must(t, "GetId")
		})
	}
}

// TestHelloComesFirst and once.
func TestHelloComesFirst(t *testing.T) {
	s := startServer(t)
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.authenticate(false); err != nil {
		t.Fatal(err)
	}
	c.mustFail(t, "AccessDenied", c.newMessage(wire.TypeMethodCall, driver, "ListNames"))
	c.mustFail(t, "InvalidArgs", c.newMessage(wire.TypeMethodCall, driver, "Hello", "argument"))
	if err := c.hello(); err != nil {
		t.Fatal(err)
	}
	c.mustFail(t, "Failed", c.newMessage(wire.TypeMethodCall, driver, "Hello"))
	c.must(t, "GetId")
}

// TestUsersWhoMayNotConnect are disconnected.
func TestUsersWhoMayNotConnect(t *testing.T) {
	type question struct {
		uid    uint32
		groups []uint32
	}
	asked := make(chan question, 1)
	s := startServer(t, func(c *dbus1.Config) {
		c.AllowUser = func(uid uint32, groups []uint32) error {
			asked <- question{uid, groups}
			return errors.New("as the test says")
		}
	})
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.write(handshake(true)); err != nil {
		t.Fatal(err)
	}
	if err := c.disconnected(); err != nil {
		t.Error(err)
	}
	q := <-asked
	if q.uid != uint32(os.Getuid()) {
		t.Errorf("it was asked whether user %d may connect, not user %d", q.uid, os.Getuid())
	}
	if !slices.Contains(q.groups, uint32(os.Getegid())) {
		t.Errorf("it was asked about the groups %d, without %d, the primary one", q.groups, os.Getegid())
	}
	eventually(t, "the log says why", func() bool { return s.log.has("disconnecting", "may not use this bus: as the test says") })
}

// TestAnonymousPeers are let in where that is allowed, and are nobody.
func TestAnonymousPeers(t *testing.T) {
	const handshake, accepted = "\x00AUTH ANONYMOUS 6b\r\nBEGIN\r\n", "OK " + testGUID + "\r\n"
	t.Run("refused", func(t *testing.T) {
		s := startServer(t)
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		c.write([]byte(handshake))
		want := "REJECTED EXTERNAL\r\n"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c.conn, got); err != nil || string(got) != want {
			t.Errorf("the answer is %q, %v, want %q", got, err, want)
		}
	})
	t.Run("allowed", func(t *testing.T) {
		s := startServer(t, func(c *dbus1.Config) {
			c.AllowAnonymous = true
			c.AllowUser = func(uint32, []uint32) error { return errors.New("nobody") }
		})
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if err := c.write([]byte(handshake)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(accepted))
		if _, err := io.ReadFull(c.conn, got); err != nil || string(got) != accepted {
			t.Fatalf("the answer is %q, %v", got, err)
		}
		if err := c.hello(); err != nil {
			t.Fatal(err)
		}
		c.mustFail(t, "Failed", c.newMessage(wire.TypeMethodCall, driver, "GetConnectionUnixUser", c.name))
		c.mustFail(t, "AccessDenied", c.newMessage(wire.TypeMethodCall, driver, "UpdateActivationEnvironment", map[string]string{"A": "b"}))
	})
}
