package kdbus_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/kdbustest"
)

func TestDialSaysWhatIsWrong(t *testing.T) {
	b := kdbustest.Start(t)
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	path, _, _ := strings.Cut(b.Address(), ",guid=")
	for _, test := range []struct{ address, want string }{
		{"", "address"},
		{"unix:path=" + dir + "/none", "no such socket"},
		{"unix:path=" + dead, "nothing listens there"},
		{"unix:path=" + dir + "/none;unix:path=" + dead, "nothing listens there"},
		{"tcp:host=localhost,port=1", "tcp"},
		{path + ",guid=00000000000000000000000000000000", "another bus"},
	} {
		c, err := kdbus.Dial(testContext(t), test.address)
		if err == nil {
			c.Close()
			t.Errorf("%q: there is a bus", test.address)
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: the error is %q, want one with %q", test.address, err, test.want)
		}
	}
}

func TestAddressesAreTriedInOrder(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		c := dial(t, "unix:path="+t.TempDir()+"/none;"+address)
		if !strings.HasPrefix(c.Name(), ":") {
			t.Errorf("the name is %q", c.Name())
		}
	})
}

func TestTheEnvironmentLeadsToBuses(t *testing.T) {
	b := kdbustest.Start(t)
	for _, test := range []struct {
		variable string
		dial     func(context.Context) (*kdbus.Conn, error)
	}{
		{"DBUS_SESSION_BUS_ADDRESS", kdbus.DialSession}, {"DBUS_SYSTEM_BUS_ADDRESS", kdbus.DialSystem},
	} {
		t.Setenv(test.variable, b.Address())
		must(test.dial(testContext(t)))(t).Close()
		t.Setenv(test.variable, "unix:path=/nonexistent/bus")
		if _, err := test.dial(testContext(t)); err == nil || !strings.Contains(err.Error(), test.variable) {
			t.Errorf("the error is %v", err)
		}
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", "/nonexistent")
	if _, err := kdbus.DialSession(testContext(t)); err == nil || !strings.Contains(err.Error(), "/nonexistent/bus") {
		t.Errorf("the error is %v", err)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, err := kdbus.DialSession(testContext(t)); err == nil || !strings.Contains(err.Error(), "DBUS_SESSION_BUS_ADDRESS") {
		t.Errorf("the error is %v", err)
	}
}

// A server that never answers must not keep Dial longer than its context.
func TestTheContextEndsDialing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mute")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		if c, err := l.Accept(); err == nil {
			defer c.Close()
			c.Read(make([]byte, 1))
			cancel()
			c.Read(make([]byte, 1000))
			c.Read(make([]byte, 1))
		}
	}()
	if _, err := kdbus.Dial(ctx, "unix:path="+path); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestCloseFailsWhatWaitsAndLetsHandlersFinish(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		client, service, obj := serveEcho(t, address)
		failed := make(chan error)
		go func() {
			_, err := obj.Call(testContext(t), echoIface+".Wait")
			failed <- err
		}()
		must(obj.Call(testContext(t), echoIface+".Who"))(t)
		client.Close()
		if err := receive(t, failed); !errors.Is(err, kdbus.ErrClosed) {
			t.Errorf("a waiting call got %v", err)
		}
		if _, err := obj.Call(testContext(t), echoIface+".Who"); !errors.Is(err, kdbus.ErrClosed) {
			t.Errorf("a later call got %v", err)
		}
		if err := client.Emit(testContext(t), "/", "a.b.C"); !errors.Is(err, kdbus.ErrClosed) {
			t.Errorf("a later signal got %v", err)
		}
		if _, err := client.Subscribe(testContext(t), kdbus.Match{}, 0); !errors.Is(err, kdbus.ErrClosed) {
			t.Errorf("a later subscription got %v", err)
		}
		service.Close()
		<-service.Done()
		if !errors.Is(service.Err(), kdbus.ErrClosed) {
			t.Errorf("the service ended with %v", service.Err())
		}
	})
}

// A method that is running when the connection is closed still gives its answer.
func TestTheLastAnswerIsSent(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		client, service := dial(t, address), dial(t, address)
		l := &lastWord{called: make(chan struct{})}
		if err := service.Export("/", "a.b", l); err != nil {
			t.Fatal(err)
		}
		answered := make(chan string)
		go func() {
			text, err := kdbus.Call[string](testContext(t), client.Object(service.Name(), "/"), "a.b.Speak")
			if err != nil {
				text = err.Error()
			}
			answered <- text
		}()
		receive(t, l.called)
		service.Close()
		if got := receive(t, answered); got != "famous" {
			t.Errorf("the answer is %q", got)
		}
	})
}

type lastWord struct{ called chan struct{} }

func (l *lastWord) Speak(ctx context.Context) (string, error) {
	l.called <- struct{}{}
	<-ctx.Done()
	return "famous", nil
}

func TestALostBusEndsEverything(t *testing.T) {
	// A bus that hangs up after Hello is easily had: one whose test has ended.
	var c *kdbus.Conn
	var s *kdbus.Subscription
	t.Run("a bus", func(t *testing.T) {
		b := kdbustest.Start(t)
		var err error
		if c, err = kdbus.Dial(testContext(t), b.Address()); err != nil {
			t.Fatal(err)
		}
		s = subscribe(t, c, kdbus.Match{}, 0)
	})
	<-c.Done()
	for range s.Messages() {
	}
	for what, err := range map[string]error{"connection": c.Err(), "subscription": s.Err()} {
		if !errors.Is(err, kdbus.ErrDisconnected) {
			t.Errorf("the %s ended with %v", what, err)
		}
	}
	if _, err := c.ListNames(testContext(t)); !errors.Is(err, kdbus.ErrDisconnected) {
		t.Errorf("a call got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestNothingIsLeftOfAConnection(t *testing.T) {
	address := kdbustest.Start(t).Address()
	leakCheck(t, func() {
		service, err := kdbus.Dial(context.Background(), address)
		if err != nil {
			t.Fatal(err)
		}
		if err := service.Export(echoPath, echoIface, &echo{}); err != nil {
			t.Fatal(err)
		}
		subscribe(t, service, kdbus.Match{Sender: "com.example.Somebody"}, 0)
		client, err := kdbus.Dial(context.Background(), address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Object(service.Name(), echoPath).Call(context.Background(), echoIface+".Say", "x"); err != nil {
			t.Error(err)
		}
		client.Close()
		service.Close()
	})
}
