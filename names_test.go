package kdbus_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/kdbus-go/kdbus"
)

func TestNamesAreQueuedForAndEventsTell(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		a, b := dial(t, address), dial(t, address)
		ctx := testContext(t)
		const name = "com.example.Wanted"
		first := must(a.RequestName(ctx, name, kdbus.AllowReplacement))(t)
		if e := receive(t, first.Events()); !first.Owned() || e != kdbus.NameAcquired {
			t.Errorf("the first has %v, owned is %v", e, first.Owned())
		}
		second := must(b.RequestName(ctx, name, 0))(t)
		if second.Owned() {
			t.Error("both own the name")
		}
		if _, err := dial(t, address).RequestName(ctx, name, kdbus.DoNotQueue); !errors.Is(err, kdbus.ErrNameTaken) {
			t.Errorf("the third gets %v", err)
		}
		if again := must(b.RequestName(ctx, name, kdbus.ReplaceExisting))(t); again != second {
			t.Error("a name requested twice is two")
		}
		for _, step := range []struct {
			n    *kdbus.Name
			want kdbus.NameEvent
		}{{second, kdbus.NameAcquired}, {first, kdbus.NameLost}} {
			if e := receive(t, step.n.Events()); e != step.want {
				t.Errorf("the event is %v, want %v", e, step.want)
			}
		}
		if err := second.Release(ctx); err != nil {
			t.Error(err)
		}
		if e := receive(t, first.Events()); e != kdbus.NameAcquired {
			t.Errorf("the event is %v", e)
		}
		if e := receive(t, second.Events()); e != kdbus.NameLost {
			t.Errorf("after the release: %v", e)
		}
		if e, ok := <-second.Events(); ok {
			t.Errorf("after that: %v", e)
		}
		if got := must(a.NameOwner(ctx, name))(t); got != a.Name() {
			t.Errorf("the owner is %s, want %s", got, a.Name())
		}
		if got := must(a.ListNames(ctx))(t); !slices.Contains(got, name) || !slices.Contains(got, b.Name()) || !slices.IsSorted(got) {
			t.Errorf("the names are %q", got)
		}
		a.Close()
		if _, ok := <-first.Events(); ok || first.Owned() {
			t.Error("the name outlives the connection")
		}
	})
}

func TestNamesThatCannotBeRequested(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		c := dial(t, address)
		for _, name := range []string{"", ":1.1", "nodot", "a..b", "org.freedesktop.DBus"} {
			if _, err := c.RequestName(testContext(t), name, 0); err == nil {
				t.Errorf("%q was requested", name)
			}
		}
		if err := c.ReleaseName(testContext(t), "com.example.NotOurs"); err != nil {
			t.Error(err)
		}
		if _, err := c.NameOwner(testContext(t), "com.example.Nobodys"); !errors.Is(err, kdbus.ErrNameHasNoOwner) {
			t.Error(err)
		}
	})
}

func TestWaitForNameReturnsTheOwner(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		a, b := dial(t, address), dial(t, address)
		ctx := testContext(t)
		type result struct {
			owner string
			err   error
		}
		waited := make(chan result, 1)
		go func() {
			owner, err := a.WaitForName(ctx, "com.example.Late")
			waited <- result{owner, err}
		}()
		must(b.RequestName(ctx, "com.example.Late", 0))(t)
		if r := receive(t, waited); r.err != nil || r.owner != b.Name() {
			t.Errorf("the owner is %q, %v; want %q", r.owner, r.err, b.Name())
		}
		if owner, err := a.WaitForName(ctx, "com.example.Late"); err != nil || owner != b.Name() {
			t.Errorf("then the owner is %q, %v", owner, err)
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := a.WaitForName(canceled, "com.example.Never"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
