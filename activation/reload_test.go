package activation_test

import (
	"os"
	"strings"
	"testing"
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
	waiting := c.send(c.to(nameA, "Waits"))
	c.sync()
	b.put(nameB, role("echo", nameB))
	reload(" com.example.A com.example.B")
	watcher.expect("signal ActivatableServicesChanged")

	os.Remove(b.file(nameA))
	reload(" com.example.B")
	watcher.expect("signal ActivatableServicesChanged")
	// What is being started goes on.
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
