package kdbus_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/kdbustest"
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

func TestFlagsOfANameAreThoseOfNAMEACQUIRE(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		ctx := testContext(t)
		a, b := dial(t, address), dial(t, address)
		const name = "com.example.Flags"
		for i, step := range []struct {
			who   *kdbus.Conn
			flags kdbus.NameFlags
			want  abi.NameFlags
			taken bool
		}{
			{a, kdbus.AllowReplacement, abi.NamePrimary | abi.NameAcquired | abi.NameAllowReplacement | abi.NameQueue, false},
			{a, kdbus.AllowReplacement, abi.NamePrimary | abi.NameAllowReplacement | abi.NameQueue, false},
			{b, kdbus.DoNotQueue, 0, true},
			{b, 0, abi.NameInQueue | abi.NameAcquired | abi.NameQueue, false},
			{b, 0, abi.NameInQueue | abi.NameQueue, false},
			{b, kdbus.DoNotQueue, 0, true},
			{b, kdbus.ReplaceExisting | kdbus.DoNotQueue, abi.NamePrimary | abi.NameAcquired, false},
			{a, kdbus.ReplaceExisting | kdbus.DoNotQueue, 0, true},
		} {
			n, err := step.who.RequestName(ctx, name, step.flags)
			switch {
			case step.taken:
				if !errors.Is(err, kdbus.ErrNameTaken) || step.who.Native() != errors.Is(err, syscall.EEXIST) {
					t.Errorf("step %d: %v", i, err)
				}
			case err != nil:
				t.Fatal(err)
			case n.Flags() != step.want:
				t.Errorf("step %d: %v, want %v", i, n.Flags(), step.want)
			}
		}
	})
}

func TestListHasFourKinds(t *testing.T) {
	address := kdbustest.Start(t).Address()
	ctx := testContext(t)
	defer must(kdbus.DialActivator(ctx, address, activatedName))(t).Close()
	a, b := dial(t, address), dial(t, address)
	must(a.RequestName(ctx, "com.example.Owned", kdbus.AllowReplacement))(t)
	must(b.RequestName(ctx, "com.example.Owned", 0))(t)
	c := dial(t, address)
	for _, test := range []struct {
		flags abi.ListFlags
		want  []string
	}{
		{abi.ListUnique, []string{"", "", "", ""}},
		{abi.ListNames, []string{"com.example.Owned ALLOW_REPLACEMENT|QUEUE|PRIMARY"}},
		{abi.ListActivators, []string{activatedName + " ACTIVATOR|PRIMARY"}},
		{abi.ListQueued, []string{"com.example.Owned QUEUE|IN_QUEUE"}},
		{abi.ListUnique | abi.ListNames | abi.ListQueued | abi.ListActivators, []string{activatedName + " ACTIVATOR|PRIMARY",
			"com.example.Owned ALLOW_REPLACEMENT|QUEUE|PRIMARY", "com.example.Owned QUEUE|IN_QUEUE", ""}},
		{0, nil},
	} {
		var got []string
		for _, e := range must(c.List(ctx, test.flags))(t) {
			line := ""
			if e.Name.Name != "" {
				line = e.Name.Name + " " + e.Name.Flags.String()
			}
			got = append(got, line)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: %q, want %q", test.flags, got, test.want)
		}
	}
}
