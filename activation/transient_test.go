package activation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/activation"
	"github.com/kdbus-go/kdbus/wire"
)

// withTransientUnits makes a bus with a service that has no unit, and a systemd that is played by the test.
func withTransientUnits(t *testing.T, exec string, systemdRuns bool) (b *testBus, caller, systemd *client) {
	t.Cleanup(activation.PretendSystemd(func() bool { return systemdRuns }))
	b = newBus(t, options{change: withSystemd, services: map[string]string{nameA: exec}})
	caller, systemd = b.connect(), b.connect()
	systemd.own("org.freedesktop.systemd1")
	systemd.expect("signal NameAcquired org.freedesktop.systemd1")
	return b, caller, systemd
}

// asked returns the call of StartTransientUnit that systemd gets, and the name of the unit.
func (c *client) asked() (call *wire.Message, unit string) {
	c.Helper()
	if got := c.next(); got.Member != "Subscribe" {
		c.Fatal(describe(got))
	}
	call = c.next()
	var mode string
	var properties, more [][]any
	if err := call.Decode(&unit, &mode, &properties, &more); err != nil || call.Member != "StartTransientUnit" || mode != "replace" {
		c.Fatalf("%s: %v", describe(call), err)
	}
	return call, unit
}

// emit broadcasts a signal of systemd.
func (c *client) emit(path, iface, member string, args ...any) {
	c.Helper()
	m := signal(c.to("", member, args...))
	m.Path, m.Interface = path, iface
	c.send(m)
}

const (
	manager    = "org.freedesktop.systemd1.Manager"
	properties = "org.freedesktop.DBus.Properties"
)

func TestServiceWithoutUnitGetsOneMadeForIt(t *testing.T) {
	b, caller, systemd := withTransientUnits(t, "/usr/bin/a --one 'two three'", true)
	call := caller.send(caller.to(nameA, "Hello"))
	asked, unit := systemd.asked()
	for _, want := range []string{"ExecStart", "[/usr/bin/a [/usr/bin/a --one two three] false]", "DBUS_STARTER_ADDRESS=" + b.daemon.Address(), "KillMode"} {
		if !strings.Contains(describe(asked), want) {
			t.Errorf("%s is missing in %s", want, describe(asked))
		}
	}
	if strings.Contains(describe(asked), "User") {
		t.Error(describe(asked))
	}
	systemd.send(systemd.replyTo(asked, wire.ObjectPath("/org/freedesktop/systemd1/job/1")))
	systemd.emit("/org/freedesktop/systemd1", manager, "JobRemoved", uint32(1), wire.ObjectPath("/org/freedesktop/systemd1/job/1"), unit, "done")
	systemd.sync()
	service := b.connect()
	service.own(nameA)
	service.expect("signal NameAcquired com.example.A")
	service.send(service.replyTo(service.next()))
	if got := describe(caller.await(call)); got != "method_return" {
		t.Error(got)
	}
	// Nobody needs the connection any more.
	for strings.Contains(caller.ask(caller.toDriver("NameHasOwner", asked.Sender)), "true") {
	}
}

// Somebody takes the name while systemd is about to be asked.
func TestNoUnitIsMadeForAServiceThatHasCome(t *testing.T) {
	b, caller, systemd := withTransientUnits(t, "/usr/bin/a", true)
	service := b.connect()
	activation.PretendSystemd(func() bool { service.own(nameA); return true }) // undone with the other
	call := caller.send(caller.to(nameA, "Hello"))
	subscribe := systemd.next()
	service.expect("signal NameAcquired com.example.A")
	service.send(service.replyTo(service.next()))
	if got := describe(caller.await(call)); got != "method_return" {
		t.Error(got)
	}
	for caller.ask(caller.toDriver("NameHasOwner", subscribe.Sender)) == "method_return true" {
	}
	ping := systemd.send(systemd.toDriver("GetId"))
	if got := systemd.next(); got.ReplySerial != ping {
		t.Errorf("systemd is asked for %s", describe(got))
	}
}

// pathOf returns the object of a unit.
func pathOf(unit string) string {
	return "/org/freedesktop/systemd1/unit/" + strings.NewReplacer("-", "_2d", ".", "_2e", "@", "_40").Replace(unit)
}

// mainProcess are the properties that tell how the main process of a unit ended.
func mainProcess(code, status int32) map[string]wire.Variant {
	return map[string]wire.Variant{"ExecMainCode": {Signature: "i", Value: code}, "ExecMainStatus": {Signature: "i", Value: status}}
}

func TestUnitThatFails(t *testing.T) {
	for _, test := range []struct {
		name         string
		code, status int32
		job          string
		want         string
	}{
		{"exits", 1, 3, "", "error Spawn.ChildExited Process com.example.A exited with status 3"},
		{"crashes", 3, 11, "", "error Spawn.ChildSignaled Process com.example.A received signal 11"},
		{"cannot be executed", 1, 203, "failed", "error Spawn.ExecFailed Failed to execute program com.example.A: see the log of the unit "},
		{"is not started", 0, 0, "canceled", "error Spawn.Failed systemd could not start the unit "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, caller, systemd := withTransientUnits(t, "/usr/bin/a", true)
			call := caller.send(caller.to(nameA, "Hello"))
			asked, unit := systemd.asked()
			systemd.send(systemd.replyTo(asked, wire.ObjectPath("/org/freedesktop/systemd1/job/1")))
			if test.code != 0 {
				systemd.emit(pathOf(unit), properties, "PropertiesChanged", "org.freedesktop.systemd1.Service", mainProcess(test.code, test.status), []string{})
			}
			if test.job != "" {
				systemd.emit("/org/freedesktop/systemd1", manager, "JobRemoved", uint32(1), wire.ObjectPath("/org/freedesktop/systemd1/job/1"), unit, test.job)
			} else {
				systemd.emit(pathOf(unit), properties, "PropertiesChanged", "org.freedesktop.systemd1.Unit",
					map[string]wire.Variant{"ActiveState": {Signature: "s", Value: "failed"}}, []string{})
			}
			if got := describe(caller.await(call)); !strings.HasPrefix(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestServiceIsExecutedIfSystemdMakesNoUnit(t *testing.T) {
	_, caller, systemd := withTransientUnits(t, role("echo", nameA), true)
	for _, refuse := range []bool{true, false} {
		call := caller.send(caller.to(nameA, "Echo", "x"))
		asked, _ := systemd.asked()
		if refuse {
			answer := systemd.replyTo(asked, "no")
			answer.Type, answer.ErrorName = wire.TypeError, "org.freedesktop.DBus.Error.AccessDenied"
			systemd.send(answer)
		} else {
			systemd.conn.Close() // without an answer
		}
		if got := describe(caller.await(call)); got != "method_return x" {
			t.Fatal(got)
		}
		caller.send(caller.to(nameA, "Quit"))
		for strings.HasSuffix(caller.ask(caller.toDriver("NameHasOwner", nameA)), "true") {
		}
	}
	// Now nobody is there who could be asked.
	if got := caller.ask(caller.to(nameA, "Echo", fmt.Sprint(1))); got != "method_return 1" {
		t.Error(got)
	}
}

func TestNoUnitsWithoutSystemd(t *testing.T) {
	_, caller, systemd := withTransientUnits(t, role("echo", nameA), false)
	if got := caller.ask(caller.to(nameA, "Echo", "x")); got != "method_return x" {
		t.Error(got)
	}
	systemd.send(systemd.toDriver("GetId"))
	if got := systemd.next(); got.Type == wire.TypeMethodCall {
		t.Error(describe(got))
	}
}

func TestWhatBecomesOfUnitsIsForSystemdToSay(t *testing.T) {
	b, caller, systemd := withTransientUnits(t, "/usr/bin/a", true)
	call := caller.send(caller.to(nameA, "Hello"))
	asked, unit := systemd.asked()
	stranger := b.connect()
	forged := signal(stranger.to(asked.Sender, "JobRemoved", uint32(1), wire.ObjectPath("/org/freedesktop/systemd1/job/1"), unit, "failed"))
	forged.Path, forged.Interface = "/org/freedesktop/systemd1", manager
	stranger.send(forged)
	stranger.sync()
	systemd.emit(pathOf(unit), properties, "PropertiesChanged", "org.freedesktop.systemd1.Service", mainProcess(3, 11), []string{})
	systemd.emit("/org/freedesktop/systemd1", manager, "JobRemoved", uint32(1), wire.ObjectPath("/org/freedesktop/systemd1/job/1"), unit, "failed")
	if got, want := describe(caller.await(call)), "error Spawn.ChildSignaled"; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q: a stranger was believed", got, want)
	}
}
