package kdbus_test

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// kinds are the buses that the tests run on: ours in this process, natively and by D-Bus 1, and
// with the build tag conformance dbus-daemon too.
var kinds = map[string]func(testing.TB) (address string){
	"native": func(t testing.TB) string { return kdbustest.Start(t).Address() },
	"D-Bus 1": func(t testing.TB) string {
		t.Setenv("KDBUS", "0")
		return kdbustest.Start(t).Address()
	},
}

// onEachBus runs a test on a bus of each kind.
func onEachBus(t *testing.T, test func(t *testing.T, address string)) {
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

// patience bounds what a test waits for. It is reached only when the test fails.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial connects to a bus until the test ends.
func dial(t testing.TB, address string) *kdbus.Conn { return dialWith(t, &kdbus.Dialer{}, address) }

func dialWith(t testing.TB, d *kdbus.Dialer, address string) *kdbus.Conn {
	t.Helper()
	c, err := d.Dial(testContext(t), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// must returns v, or ends the test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// receive returns what comes on a channel, or ends the test.
func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// next returns the next message of a subscription, or ends the test.
func next(t testing.TB, s *kdbus.Subscription) *kdbus.Message {
	t.Helper()
	return receive(t, s.Messages())
}

// leakCheck fails the test if goroutines or descriptors are left of what f does.
func leakCheck(t *testing.T, f func()) {
	t.Helper()
	f() // what the runtime opens once and keeps
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 10 {
		f()
	}
	// Goroutines that have done their work, and the bus, may take a moment.
	end := time.Now().Add(patience)
	for (runtime.NumGoroutine() > goroutines || openFiles(t) > files) && time.Now().Before(end) {
		runtime.Gosched()
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before\n%s", got, goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	if got := openFiles(t); got > files {
		t.Errorf("%d open files, %d before", got, files)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
