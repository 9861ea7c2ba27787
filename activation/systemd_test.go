package activation_test

import (
	"testing"

	"github.com/kdbus-go/kdbus/daemon"
)

func withSystemd(c *daemon.Config) { c.SystemdActivation = true }

const unit = "\nSystemdService=dbus-com.example.A.service"

func TestSystemdIsAskedForUnitsWhenItComes(t *testing.T) {
	b := newBus(t, options{change: withSystemd, services: map[string]string{"com.example.A": "/bin/false" + unit}})
	caller, starter := b.connect(), b.connect()
	call := caller.send(caller.to("com.example.A", "Echo", "x"))
	caller.sync()
	start := starter.send(starter.start("com.example.A"))
	starter.sync()

	systemd := b.connect()
	systemd.own("org.freedesktop.systemd1")
	systemd.expect("signal NameAcquired org.freedesktop.systemd1", "signal ActivationRequest dbus-com.example.A.service")
	service := b.connect()
	service.own("com.example.A")
	service.expect("signal NameAcquired com.example.A")
	got := service.next()
	if describe(got) != "method_call Echo x" {
		t.Fatal(describe(got))
	}
	service.send(service.replyTo(got, "y"))
	if got := describe(caller.await(call)); got != "method_return y" {
		t.Error(got)
	}
	if got := describe(starter.await(start)); got != "method_return 1" {
		t.Error(got)
	}
}

func TestLaunchUnitStandsInForUnitsThatFilesDoNotName(t *testing.T) {
	b := newBus(t, options{
		change:   func(c *daemon.Config) { withSystemd(c); c.LaunchUnit = "launch@.service" },
		services: map[string]string{"com.example.A": "/bin/false", "com.example.B": "/bin/false\nSystemdService=b.service"},
	})
	systemd := b.connect()
	systemd.own("org.freedesktop.systemd1")
	systemd.expect("signal NameAcquired org.freedesktop.systemd1")
	caller := b.connect()
	for _, test := range []struct{ name, unit string }{{"com.example.A", "launch@com.example.A.service"}, {"com.example.B", "b.service"}} {
		call := caller.send(caller.to(test.name, "Echo", "x"))
		systemd.expect("signal ActivationRequest " + test.unit)
		service := b.connect()
		service.own(test.name)
		service.expect("signal NameAcquired " + test.name)
		service.send(service.replyTo(service.next(), "y"))
		if got := describe(caller.await(call)); got != "method_return y" {
			t.Errorf("%s: %s", test.name, got)
		}
	}
}
