package activation_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

const (
	nameA = "com.example.A"
	nameB = "com.example.B"
)

func TestServiceIsStartedWhenItIsCalled(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	c := b.connect()
	for _, step := range []struct {
		name string
		send *wire.Message
		want string
	}{
		{"not without leave", func() *wire.Message { m := c.to(nameA, "Echo", "x"); m.Flags |= wire.NoAutoStart; return m }(), `error NameHasNoOwner Name "com.example.A" does not exist`},
		{"has no owner yet", c.toDriver("NameHasOwner", nameA), "method_return false"},
		{"is no name yet", c.toDriver("GetNameOwner", nameA), "error NameHasNoOwner Could not get owner of name 'com.example.A': no such name"},
		{"can be started", c.toDriver("ListActivatableNames"), "method_return [org.freedesktop.DBus com.example.A]"},
		{"is not listed", c.toDriver("ListNames"), "method_return [org.freedesktop.DBus " + c.name + "]"},
		{"is started", c.to(nameA, "Echo", "x"), "method_return x"},
		{"has an owner", c.toDriver("NameHasOwner", nameA), "method_return true"},
		{"runs", c.start(nameA), "method_return 2"},
		{"is called", c.to(nameA, "Echo", "y"), "method_return y"},
	} {
		t.Run(step.name, func(t *testing.T) {
			if got := c.ask(step.send); got != step.want {
				t.Errorf("%q, want %q", got, step.want)
			}
		})
	}
}

func TestStartServiceByNameAnswersEachCallerWhenTheServiceRuns(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	one, two := b.connect(), b.connect()
	first, second := one.send(one.start(nameA)), one.send(one.start(nameA))
	third := two.send(two.start(nameA))
	for _, got := range []*wire.Message{one.await(first), one.await(second), two.await(third)} {
		if describe(got) != "method_return 1" || got.Sender != "org.freedesktop.DBus" {
			t.Errorf("%s from %s", describe(got), got.Sender)
		}
	}
	if n := strings.Count(b.log.String(), "activating a service"); n != 1 {
		t.Errorf("it was started %d times", n)
	}
}

func TestFailuresReachEverybodyWhoWaits(t *testing.T) {
	const (
		short = `<limit name="service_start_timeout">300</limit>`
		late  = "error TimedOut Failed to activate service 'com.example.A': timed out (service_start_timeout=300ms)"
	)
	for _, test := range []struct {
		name, exec, want string
	}{
		{"exit", role("exit", "3"), "error Spawn.ChildExited Process com.example.A exited with status 3"},
		{"crash", role("crash"), "error Spawn.ChildSignaled Process com.example.A received signal 9"},
		{"no such program", "/nowhere/program", "error Spawn.ExecFailed Failed to execute program com.example.A: No such file or directory"},
		{"no program", "/etc", "error Spawn.ExecFailed Failed to execute program com.example.A: Permission denied"},
		{"a program that is not looked for in PATH", "true", "error Spawn.ExecFailed Failed to execute program com.example.A: No such file or directory"},
		{"an open quote", "/bin/true 'x", "error InvalidArgs Unclosed quotes in command line"},
		{"exit without error", role("exit", "0"), late},
		{"never takes the name", role("idle"), late},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options{services: map[string]string{nameA: test.exec}}
			if test.want == late {
				o.elements = short
			}
			b := newBus(t, o)
			c := b.connect()
			// Whatever is sent, as with dbus-daemon.
			waiting := []uint32{
				c.send(c.to(nameA, "Echo", "x")), c.send(oneWay(c.to(nameA, "Echo", "x"))), c.send(signal(c.to(nameA, "Signal"))),
			}
			for _, serial := range waiting {
				got := c.await(serial)
				if describe(got) != test.want || got.Sender != "org.freedesktop.DBus" || got.Destination != c.name {
					t.Errorf("%d: %q from %s to %s, want %q", serial, describe(got), got.Sender, got.Destination, test.want)
				}
			}
			if got := c.ask(c.start(nameA)); got != test.want {
				t.Errorf("StartServiceByName: %q, want %q", got, test.want)
			}
		})
	}
}

func TestServiceThatTakesTooLongIsEnded(t *testing.T) {
	b := newBus(t, options{elements: `<limit name="service_start_timeout">300</limit>`, services: map[string]string{nameA: role("idle", t.Name())}})
	c := b.connect()
	if got := c.ask(c.start(nameA)); !strings.HasPrefix(got, "error TimedOut") {
		t.Fatal(got)
	}
	for runs(t.Name()) {
		runtime.Gosched() // it has been killed, and is on its way
	}
}

// runs reports whether there is a process with this argument.
func runs(argument string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(files, func(file string) bool {
		b, _ := os.ReadFile(file)
		return slices.Contains(strings.Split(string(b), "\x00"), argument)
	})
}

func TestServicesWithTheSameCommandFailTogether(t *testing.T) {
	// The first one to fail does so when it is told to.
	b := newBus(t, options{services: map[string]string{}})
	fifo, trigger := b.fifo("go")
	script := "read x < " + fifo + "; exit 7"
	exec := "/bin/sh -c '" + script + "'"
	b.put(nameA, exec)
	b.put(nameB, exec)
	c := b.connect()
	if got := c.ask(c.toDriver("ReloadConfig")); got != "method_return" {
		t.Fatal(got)
	}
	one, two := c.send(c.start(nameA)), c.send(c.start(nameB))
	c.sync()
	trigger.WriteString("\n\n") // a line for each
	exits := " exited with status 7"
	a, z := describe(c.await(one)), describe(c.await(two))
	if !strings.HasSuffix(a, exits) || a != z {
		t.Errorf("%q and %q", a, z)
	}
	for runs(script) {
		runtime.Gosched() // the other one
	}
}

func TestDaemonisingServiceIsWaitedFor(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("fork", nameA)}})
	c := b.connect()
	if got := c.ask(c.to(nameA, "Echo", "x")); got != "method_return x" {
		t.Error(got)
	}
}

func TestMessagesWaitInOrderAndTheNameComesFirst(t *testing.T) {
	// The service is played by the test: the program that is started waits until it is killed.
	b := newBus(t, options{services: map[string]string{nameA: role("idle")}})
	caller, other, watcher, service := b.connect(), b.connect(), b.connect(), b.connect()
	watcher.ask(watcher.toDriver("AddMatch", "member='NameOwnerChanged',arg0='com.example.A'"))
	service.ask(service.toDriver("AddMatch", "member='NameOwnerChanged',arg0='com.example.A'"))
	calls := []uint32{}
	for i := range 20 {
		switch i % 4 {
		case 0:
			caller.send(signal(caller.to(nameA, fmt.Sprint("Signal", i))))
		case 1:
			caller.send(oneWay(caller.to(nameA, fmt.Sprint("OneWay", i))))
		default:
			calls = append(calls, caller.send(caller.to(nameA, fmt.Sprint("Call", i), strings.Repeat("x", i*1000))))
		}
	}
	caller.sync()
	started := other.send(other.start(nameA))
	other.sync()

	service.own(nameA)
	service.expect("signal NameOwnerChanged com.example.A  "+service.name, "signal NameAcquired com.example.A")
	watcher.expect("signal NameOwnerChanged com.example.A  " + service.name)
	for i := range 20 {
		got := service.next()
		want := []string{"Signal", "OneWay", "Call", "Call"}[i%4] + fmt.Sprint(i)
		if got.Member != want || got.Sender != caller.name {
			t.Fatalf("message %d is %s of %s, want %s", i, got.Member, got.Sender, want)
		}
		if got.Type == wire.TypeMethodCall && got.Flags&wire.NoReplyExpected == 0 {
			service.send(service.replyTo(got, uint32(i)))
		}
	}
	for i, serial := range calls {
		if got := describe(caller.await(serial)); got != fmt.Sprint("method_return ", i/2*4+i%2+2) {
			t.Errorf("call %d: %s", i, got)
		}
	}
	if got := describe(other.await(started)); got != "method_return 1" {
		t.Error(got)
	}
}

func TestCallerWhoLeavesIsForgotten(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("idle")}})
	gone, stays, service := b.connect(), b.connect(), b.connect()
	gone.send(gone.to(nameA, "OfGone"))
	gone.send(gone.start(nameA))
	gone.sync()
	stays.ask(stays.toDriver("AddMatch", "member='NameOwnerChanged',arg0='"+gone.name+"'"))
	call := stays.send(stays.to(nameA, "OfStays"))
	stays.sync()
	gone.conn.Close()
	stays.expect("signal NameOwnerChanged " + gone.name + " " + gone.name + " ")
	service.own(nameA)
	service.expect("signal NameAcquired com.example.A")
	got := service.next()
	if got.Member != "OfStays" {
		t.Fatal(describe(got))
	}
	service.send(service.replyTo(got))
	if got := describe(stays.await(call)); got != "method_return" {
		t.Error(got)
	}
}

func TestWhatTheOwnerHasNotReadIsLostWithIt(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	c, first := b.connect(), b.connect()
	first.own(nameA)
	call := c.send(c.to(nameA, "Echo", "x"))
	c.sync()
	first.conn.Close()
	if got := describe(c.await(call)); got != "error NoReply Message recipient disconnected from message bus without replying" {
		t.Error(got)
	}
	if got := c.ask(c.to(nameA, "Echo", "y")); got != "method_return y" {
		t.Error(got)
	}
}

func TestServiceThatWasKilledIsStartedAnew(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	c := b.connect()
	before := ""
	for range 5 {
		pid := c.ask(c.to(nameA, "PID"))
		if pid == before || !strings.HasPrefix(pid, "method_return ") {
			t.Fatalf("%q after %q", pid, before)
		}
		before = pid
		// Called again at once, before anybody has noticed.
		quit, again := c.send(c.to(nameA, "Quit")), c.send(c.to(nameA, "Echo", "x"))
		if got := describe(c.await(quit)); got != "error NoReply Message recipient disconnected from message bus without replying" {
			t.Fatal(got)
		}
		if got := describe(c.await(again)); got != "method_return x" && !strings.HasPrefix(got, "error NoReply") {
			t.Fatal(got)
		}
	}
}

func TestSomebodyElseMayTakeTheName(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("idle")}})
	c, other := b.connect(), b.connect()
	call := c.send(c.to(nameA, "Hello"))
	c.sync()
	other.own(nameA)
	other.expect("signal NameAcquired com.example.A")
	got := other.next()
	other.send(other.replyTo(got))
	if got := describe(c.await(call)); got != "method_return" {
		t.Error(got)
	}
	other.release(nameA)
	if got := c.ask(c.toDriver("NameHasOwner", nameA)); got != "method_return false" {
		t.Error(got)
	}
}

func TestLimits(t *testing.T) {
	const limits = `<limit name="max_pending_service_starts">3</limit>`
	full := fmt.Sprintf("error LimitsExceeded The maximum number of pending activations has been reached, activation of com.example.B failed (max_pending_service_starts=3): user %d has 3", os.Getuid())
	b := newBus(t, options{elements: limits, services: map[string]string{nameA: role("idle"), nameB: role("idle")}})
	c, service := b.connect(), b.connect()
	c.send(c.to(nameA, "One"))
	c.send(signal(c.to(nameB, "Two")))
	c.send(c.start(nameA))
	for _, m := range []*wire.Message{c.to(nameB, "Three"), c.start(nameB)} {
		if got := c.ask(m); got != full {
			t.Errorf("%q", got)
		}
	}
	// What is on its way to its owner does not count any more.
	service.own(nameA)
	c.expect("method_return 1")
	four := c.send(c.to(nameB, "Four"))
	five := c.send(c.to(nameB, "Five"))
	if got := c.ask(c.start(nameB)); got != full {
		t.Errorf("%q", got)
	}
	service.own(nameB)
	for _, want := range []string{"NameAcquired", "One", "NameAcquired", "Two", "Four", "Five"} {
		got := service.next()
		if got.Member != want {
			t.Fatalf("%s, want %s", describe(got), want)
		}
		if got.Type == wire.TypeMethodCall {
			service.send(service.replyTo(got))
		}
	}
	c.await(four)
	c.await(five)
}

func TestNoneMayBeStarted(t *testing.T) {
	b := newBus(t, options{elements: `<limit name="max_pending_service_starts">0</limit>`, services: map[string]string{nameA: role("echo", nameA)}})
	c := b.connect()
	if got := c.ask(c.to(nameA, "Echo", "x")); !strings.HasPrefix(got, "error LimitsExceeded The maximum number of pending activations") {
		t.Error(got)
	}
}

func TestPolicyIsAskedBeforeAndAfterTheStart(t *testing.T) {
	const policy = `<policy context="mandatory">
		<deny send_destination="com.example.A"/>
		<deny receive_interface="com.example.Iface" receive_member="Secret"/>
		</policy>`
	b := newBus(t, options{elements: policy, services: map[string]string{nameA: role("idle"), nameB: role("idle")}})
	c, service := b.connect(), b.connect()
	if got := c.ask(c.to(nameA, "Echo")); !strings.HasPrefix(got, "error AccessDenied Rejected send message") {
		t.Error(got)
	}
	if strings.Contains(b.log.String(), "activating a service") {
		t.Error("it was started all the same")
	}
	secret := c.send(c.to(nameB, "Secret"))
	open := c.send(c.to(nameB, "Open"))
	c.sync()
	service.own(nameB)
	service.expect("signal NameAcquired com.example.B")
	got := service.next()
	if got.Member != "Open" {
		t.Fatal(describe(got))
	}
	service.send(service.replyTo(got))
	if got := describe(c.await(secret)); !strings.HasPrefix(got, "error AccessDenied Rejected receive message") {
		t.Error(got)
	}
	c.await(open)
}

func TestDescriptorsWaitToo(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("idle")}})
	c, service := b.connect(), b.connect()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.send(oneWay(c.to(nameA, "Take")), int(w.Fd()))
	w.Close()
	c.sync()
	service.own(nameA)
	service.expect("signal NameAcquired com.example.A", "method_call Take")
}
