package activation_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/daemon"
)

func TestReload(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("idle")}})
	c, service, watcher := b.connect(), b.connect(), b.connect()
	watcher.ask(watcher.toDriver("AddMatch", "member='ActivatableServicesChanged'"))
	reload := func(want string) {
		t.Helper()
		if err := b.daemon.Reload(); err != nil {
			t.Fatal(err)
		}
		if got := c.ask(c.toDriver("ListActivatableNames")); got != "method_return [org.freedesktop.DBus"+want+"]" {
			t.Error(got)
		}
	}
	arrivals := b.connect()
	arrivals.ask(arrivals.toDriver("AddMatch", "member='NameOwnerChanged'"))
	waiting := c.send(c.to(nameA, "Waits"))
	if got := arrivals.next(); got.Member != "NameOwnerChanged" { // of the program: it has been executed
		t.Fatal(describe(got))
	}
	b.put(nameB, role("echo", nameB))
	reload(" com.example.A com.example.B")
	watcher.expect("signal ActivatableServicesChanged")

	os.Remove(b.file(nameA))
	reload(" com.example.B")
	watcher.expect("signal ActivatableServicesChanged")
	// What has been executed goes on.
	service.own(nameA)
	service.expect("signal NameAcquired com.example.A")
	got := service.next()
	service.send(service.replyTo(got))
	if got := describe(c.await(waiting)); got != "method_return" {
		t.Error(got)
	}
	service.release(nameA)
	if got := c.ask(c.to(nameA, "Again")); got != "error ServiceUnknown The name com.example.A was not provided by any .service files" {
		t.Error(got)
	}
	if got := c.ask(c.to(nameB, "Echo", "x")); got != "method_return x" {
		t.Error(got)
	}
	// Back again.
	b.put(nameA, role("echo", nameA))
	reload(" com.example.A com.example.B")
	if got := c.ask(c.to(nameA, "Echo", "x")); got != "method_return x" {
		t.Error(got)
	}
}

// onStart does something when the bus has decided to start a service and has not looked at its file yet. It must not
// wait for the bus, of which one thread is kept.
type onStart struct {
	slog.Handler
	do func()
}

func (h onStart) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "activating a service" {
		h.do()
	}
	return h.Handler.Handle(ctx, r)
}

// A file that goes before its program is executed is one that is not there: who waits is told, and whoever takes the
// name gets what comes then.
func TestFileGoesBeforeTheServiceIsExecuted(t *testing.T) {
	made := make(chan *testBus, 1)
	b := newBus(t, options{services: map[string]string{nameA: role("idle")}, change: func(c *daemon.Config) {
		c.Log = slog.New(onStart{c.Log.Handler(), func() {
			b := <-made
			os.Remove(b.file(nameA))
			if err := b.daemon.Reload(); err != nil {
				t.Error(err)
			}
		}})
	}})
	made <- b
	c, service := b.connect(), b.connect()
	if got, want := c.ask(c.to(nameA, "Waits")), "error ServiceUnknown The name com.example.A was not provided by any .service files"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	service.own(nameA)
	service.expect("signal NameAcquired com.example.A")
	next := c.send(c.to(nameA, "Next"))
	got := service.next()
	if got.Member != "Next" {
		t.Fatal(describe(got))
	}
	service.send(service.replyTo(got))
	if got := describe(c.await(next)); got != "method_return" {
		t.Error(got)
	}
}

func TestServiceFilesCountAtOnce(t *testing.T) {
	b := newBus(t, options{})
	c, watcher := b.connect(), b.connect()
	watcher.ask(watcher.toDriver("AddMatch", "member='ActivatableServicesChanged'"))
	unknown := "error ServiceUnknown The name com.example.A was not provided by any .service files"
	if got := c.ask(c.to(nameA, "Echo", "x")); got != unknown {
		t.Error(got)
	}
	b.put(nameA, role("exit", "4"))
	if got := c.ask(c.start(nameA)); got != "error Spawn.ChildExited Process com.example.A exited with status 4" {
		t.Error(got)
	}
	watcher.expect("signal ActivatableServicesChanged") // when the bus has noticed by itself
	b.put(nameA, role("echo", nameA))
	if got := c.ask(c.to(nameA, "Echo", "x")); got != "method_return x" {
		t.Error(got)
	}
	b.put(nameB, role("echo", nameB))
	if got := c.ask(c.to(nameB, "Echo", "x")); got != "method_return x" {
		t.Error(got)
	}
	c.send(c.to(nameB, "Quit"))
	os.Remove(b.file(nameB))
	for {
		got := c.ask(c.to(nameB, "Echo", "x"))
		if got == strings.ReplaceAll(unknown, nameA, nameB) {
			break
		}
		if got != "method_return x" && !strings.HasPrefix(got, "error NoReply") { // it has just not ended yet
			t.Fatal(got)
		}
	}
}

func TestUnknownServices(t *testing.T) {
	b := newBus(t, options{})
	c := b.connect()
	for _, name := range []string{"com.example.Unknown", ":1.77", "no name", ""} {
		want := "error ServiceUnknown The name " + name + " was not provided by any .service files"
		if got := c.ask(c.start(name)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
