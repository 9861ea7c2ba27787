package bus_test

import (
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
)

const example = "com.example.Name"

func TestAcquireName(t *testing.T) {
	const (
		allow   = bus.AllowReplacement
		replace = bus.ReplaceExisting
		refuse  = bus.DoNotQueue
	)
	type request struct {
		conn  bus.ID
		flags bus.NameFlags
		want  bus.Ownership
	}
	tests := []struct {
		name     string
		requests []request
		owners   []bus.ID // in the end
	}{
		{"a free name is had at once", []request{{1, 0, bus.PrimaryOwner}}, []bus.ID{1}},
		{"a free name is had at once whatever the flags", []request{{1, allow | replace | refuse, bus.PrimaryOwner}}, []bus.ID{1}},
		{"who comes later waits", []request{{1, 0, bus.PrimaryOwner}, {2, 0, bus.InQueue}, {3, 0, bus.InQueue}}, []bus.ID{1, 2, 3}},
		{"who does not want to wait is told", []request{{1, 0, bus.PrimaryOwner}, {2, refuse, bus.Exists}}, []bus.ID{1}},
		{"an owner that allows it is replaced and waits first",
			[]request{{1, allow, bus.PrimaryOwner}, {2, 0, bus.InQueue}, {3, replace, bus.PrimaryOwner}}, []bus.ID{3, 1, 2}},
		{"an owner that does not want to wait is gone when replaced",
			[]request{{1, allow | refuse, bus.PrimaryOwner}, {2, 0, bus.InQueue}, {3, replace, bus.PrimaryOwner}}, []bus.ID{3, 2}},
		{"no replacement unless the owner allows it", []request{{1, 0, bus.PrimaryOwner}, {2, replace | refuse, bus.Exists}}, []bus.ID{1}},
		{"no replacement unless asked for", []request{{1, allow, bus.PrimaryOwner}, {2, refuse, bus.Exists}}, []bus.ID{1}},
		{"who could not replace goes before the others that wait",
			[]request{{1, 0, bus.PrimaryOwner}, {2, 0, bus.InQueue}, {3, replace, bus.InQueue}}, []bus.ID{1, 3, 2}},
		{"who waits already may still move up so",
			[]request{{1, 0, bus.PrimaryOwner}, {2, 0, bus.InQueue}, {3, 0, bus.InQueue}, {3, replace, bus.InQueue}}, []bus.ID{1, 3, 2}},
		{"asking again to wait changes no place",
			[]request{{1, 0, bus.PrimaryOwner}, {2, 0, bus.InQueue}, {3, 0, bus.InQueue}, {2, allow, bus.InQueue}}, []bus.ID{1, 2, 3}},
		{"asking again without waiting ends the wait",
			[]request{{1, 0, bus.PrimaryOwner}, {2, 0, bus.InQueue}, {3, 0, bus.InQueue}, {2, refuse, bus.Exists}}, []bus.ID{1, 3}},
		{"who waits may replace",
			[]request{{1, 0, bus.PrimaryOwner}, {2, 0, bus.InQueue}, {3, 0, bus.InQueue}, {1, allow, bus.AlreadyOwner}, {3, replace, bus.PrimaryOwner}}, []bus.ID{3, 1, 2}},
		{"the owner changes its flags and keeps the name",
			[]request{{1, 0, bus.PrimaryOwner}, {1, allow | refuse, bus.AlreadyOwner}, {2, replace, bus.PrimaryOwner}}, []bus.ID{2}},
		{"the owner may forbid what it allowed",
			[]request{{1, allow, bus.PrimaryOwner}, {1, 0, bus.AlreadyOwner}, {2, replace, bus.InQueue}}, []bus.ID{1, 2}},
		{"a replaced owner may replace in turn",
			[]request{{1, allow, bus.PrimaryOwner}, {2, allow | replace, bus.PrimaryOwner}, {1, allow | replace, bus.PrimaryOwner}}, []bus.ID{1, 2}},
		{"having replaced somebody does not allow to be replaced",
			[]request{{1, allow, bus.PrimaryOwner}, {2, replace, bus.PrimaryOwner}, {1, replace, bus.InQueue}, {3, replace, bus.InQueue}}, []bus.ID{2, 3, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			peers := []*peer{nil, b.connect(), b.connect(), b.connect()}
			for i, r := range test.requests {
				got, err := peers[r.conn].AcquireName(example, r.flags)
				if err != nil || got != r.want {
					t.Fatalf("request %d: got %d, %v, want %d", i, got, err, r.want)
				}
			}
			if diff := cmp.Diff(test.owners, peers[1].ListOwners(example)); diff != "" {
				t.Errorf("owners (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFlagsOfWhoWaitsCountOnceItOwnsTheName(t *testing.T) {
	tests := []struct {
		name          string
		first, second bus.NameFlags // of the request to wait, and of the one that changes it
		want          bus.Ownership // for one who wants to replace
	}{
		{"as asked first", bus.AllowReplacement, bus.AllowReplacement, bus.PrimaryOwner},
		{"allowed later", 0, bus.AllowReplacement, bus.PrimaryOwner},
		{"forbidden later", bus.AllowReplacement, 0, bus.InQueue},
		{"forbidden on moving up", bus.AllowReplacement, bus.ReplaceExisting, bus.InQueue},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			first, waiting, third := b.connect(), b.connect(), b.connect()
			first.mustAcquire(example, 0)
			waiting.mustAcquire(example, test.first)
			waiting.mustAcquire(example, test.second)
			first.leave()
			got, err := third.AcquireName(example, bus.ReplaceExisting)
			if err != nil || got != test.want {
				t.Errorf("got %d, %v, want %d", got, err, test.want)
			}
		})
	}
}

func TestReleaseName(t *testing.T) {
	setUp := func(t *testing.T) (first, second, third *peer) {
		b := newBus(t)
		first, second, third = b.connect(), b.connect(), b.connect()
		first.mustAcquire(example, 0)
		second.mustAcquire(example, 0)
		return first, second, third
	}
	expectOwners := func(t *testing.T, p *peer, want ...bus.ID) {
		t.Helper()
		if diff := cmp.Diff(want, p.ListOwners(example)); diff != "" {
			t.Errorf("owners (-want +got):\n%s", diff)
		}
	}
	t.Run("the name passes to who waits", func(t *testing.T) {
		first, second, _ := setUp(t)
		expectError(t, first.ReleaseName(example), 0)
		expectOwners(t, first, 2)
		if got := second.Names(); !slices.Equal(got, []string{example}) {
			t.Errorf("second owns %q", got)
		}
		if got := first.Names(); len(got) != 0 {
			t.Errorf("first owns %q", got)
		}
	})
	t.Run("waiting ends", func(t *testing.T) {
		first, second, _ := setUp(t)
		expectError(t, second.ReleaseName(example), 0)
		expectOwners(t, first, 1)
	})
	t.Run("the last one leaves nothing", func(t *testing.T) {
		first, second, _ := setUp(t)
		expectError(t, second.ReleaseName(example), 0)
		expectError(t, first.ReleaseName(example), 0)
		expectOwners(t, first)
		if names, _ := first.ListNames(); len(names) != 0 {
			t.Errorf("names %q", names)
		}
		if owner := first.Lookup(example); owner != nil {
			t.Errorf("owner %v", owner.UniqueName())
		}
	})
	t.Run("names of others are refused", func(t *testing.T) {
		_, _, third := setUp(t)
		expectError(t, third.ReleaseName(example), bus.ErrNotOwner)
	})
	t.Run("free names are refused", func(t *testing.T) {
		_, _, third := setUp(t)
		expectError(t, third.ReleaseName("com.example.Other"), bus.ErrNoSuchName)
	})
}

func TestChangeOfOwnerIsToldInOrder(t *testing.T) {
	b := newBus(t)
	first, second, quiet, witness := b.connect(tellOwn), b.connect(tellOwn), b.connect(), b.connect()
	// All of one name's news come to one connection if it is owner and subscriber.
	for _, p := range []*peer{first, second, witness} {
		p.subscribe(notifications)
		p.forget()
	}

	first.mustAcquire(example, bus.AllowReplacement)
	first.expect("NameChanged com.example.Name 0>1", "NameAcquired com.example.Name")
	second.expect("NameChanged com.example.Name 0>1")
	witness.expect("NameChanged com.example.Name 0>1")

	second.mustAcquire(example, bus.ReplaceExisting)
	first.expect("NameLost com.example.Name", "NameChanged com.example.Name 1>2")
	second.expect("NameChanged com.example.Name 1>2", "NameAcquired com.example.Name")
	witness.expect("NameChanged com.example.Name 1>2")

	expectError(t, second.ReleaseName(example), 0)
	second.Flush()
	first.expect("NameChanged com.example.Name 2>1", "NameAcquired com.example.Name")
	second.expect("NameLost com.example.Name", "NameChanged com.example.Name 2>1")
	witness.expect("NameChanged com.example.Name 2>1")

	expectError(t, first.ReleaseName(example), 0)
	first.Flush()
	first.expect("NameLost com.example.Name", "NameChanged com.example.Name 1>0")
	second.expect("NameChanged com.example.Name 1>0")
	witness.expect("NameChanged com.example.Name 1>0")

	quiet.mustAcquire(example, 0)
	quiet.expect() // it did not ask to be told
}

func TestWaitingForANameIsToldToNobody(t *testing.T) {
	b := newBus(t)
	owner, waiting := b.connect(tellOwn), b.connect(tellOwn)
	owner.subscribe(notifications)
	waiting.subscribe(notifications)
	owner.mustAcquire(example, 0)
	owner.forget()
	waiting.forget()

	waiting.mustAcquire(example, 0)
	waiting.mustAcquire(example, bus.ReplaceExisting)
	waiting.mustAcquire(example, bus.DoNotQueue)
	owner.mustAcquire(example, bus.AllowReplacement)
	waiting.mustAcquire("com.example.Own", 0)
	owner.expect("NameChanged com.example.Own 0>2")
	waiting.expect("NameChanged com.example.Own 0>2", "NameAcquired com.example.Own")
}

func TestNamesThatWaitCountForTheLimit(t *testing.T) {
	b := newBus(t)
	other := b.connect()
	other.mustAcquire("com.example.A", 0)
	p := b.connect(limited(bus.Limits{Quota: roomy.Quota, MaxNames: 2}))
	p.mustAcquire("com.example.A", 0) // waits
	p.mustAcquire("com.example.B", 0)

	_, err := p.AcquireName("com.example.C", 0)
	expectError(t, err, bus.ErrTooManyNames)
	if owner := p.Lookup("com.example.C"); owner != nil {
		t.Errorf("the name that was refused belongs to %s", owner.UniqueName())
	}
	expectError(t, p.ReleaseName("com.example.A"), 0)
	p.mustAcquire("com.example.C", 0)
}

func TestNamesAreForThoseOnTheBus(t *testing.T) {
	b := newBus(t)
	tests := []struct {
		name string
		peer func() *peer
		want syscall.Errno
	}{
		{"before Hello", func() *peer { return b.introduce() }, bus.ErrDisconnected},
		{"after Close", func() *peer { p := b.connect(); p.leave(); return p }, bus.ErrDisconnected},
		{"a monitor", func() *peer { return b.monitor() }, bus.ErrMonitor},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := test.peer()
			_, err := p.AcquireName(example, 0)
			expectError(t, err, test.want)
			if names, _ := p.ListNames(); len(names) != 0 {
				t.Errorf("names %q", names)
			}
		})
	}
}

func TestMessagesToANameGoToItsPrimaryOwner(t *testing.T) {
	b := newBus(t)
	first, second, sender := b.connect(), b.connect(), b.connect()
	first.mustAcquire(example, 0)
	second.mustAcquire(example, 0)

	sender.mustPost(toName(example, "one"))
	first.leave()
	sender.mustPost(toName(example, "two"))
	second.leave()
	expectError(t, sender.post(toName(example, "three")), bus.ErrNoSuchName)
	first.expect("3: one")
	second.expect("3: two")
}

func TestStatsCountNamesAndPeaks(t *testing.T) {
	b := newBus(t)
	p, q := b.connect(), b.connect()
	p.mustAcquire("com.example.A", 0)
	p.mustAcquire("com.example.B", 0)
	q.mustAcquire("com.example.B", 0)
	p.leave()
	b.monitor()
	want := bus.Stats{Conns: 1, PeakConns: 2, Names: 2, PeakNames: 4, PeakConnNames: 2, Monitors: 1}
	if diff := cmp.Diff(want, b.Stats()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
