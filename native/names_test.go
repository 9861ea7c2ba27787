package native_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

func TestNamesAreAcquiredAndReleased(t *testing.T) {
	w := newWorld(t)
	clients := map[string]*nativetest.Client{"a": w.join(), "b": w.join()}
	for i, step := range []struct {
		who     string
		release bool
		name    string
		flags   abi.NameFlags
		want    abi.NameFlags
		errno   syscall.Errno
	}{
		{who: "a", name: "org.example.A", want: abi.NamePrimary | abi.NameAcquired},
		{who: "a", name: "org.example.A", want: abi.NamePrimary},
		{who: "b", name: "org.example.A", errno: syscall.EEXIST},
		{who: "b", name: "org.example.A", flags: abi.NameReplaceExisting, errno: syscall.EEXIST},
		{who: "b", name: "org.example.A", flags: abi.NameQueue, want: abi.NameQueue | abi.NameInQueue | abi.NameAcquired},
		{who: "b", name: "org.example.A", flags: abi.NameQueue, want: abi.NameQueue | abi.NameInQueue},
		{who: "a", release: true, name: "org.example.A"},
		{who: "a", release: true, name: "org.example.A", errno: syscall.EADDRINUSE},
		{who: "b", name: "org.example.A", flags: abi.NameAllowReplacement, want: abi.NameAllowReplacement | abi.NamePrimary},
		{who: "a", name: "org.example.A", flags: abi.NameReplaceExisting, want: abi.NamePrimary | abi.NameAcquired},
		{who: "b", release: true, name: "org.example.A", errno: syscall.EADDRINUSE},
		{who: "a", release: true, name: "org.example.A"},
		{who: "a", release: true, name: "org.example.A", errno: syscall.ESRCH},
		{who: "a", release: true, name: "no name", errno: syscall.ESRCH},
		{who: "a", name: "noname", errno: syscall.EINVAL},
		{who: "a", name: ":1.5", errno: syscall.EINVAL},
		{who: "a", name: native.DriverName, errno: syscall.EPERM},
		{who: "a", name: "org.example.A", flags: 1 << 10, errno: syscall.EINVAL},
	} {
		what := fmt.Sprintf("step %d", i)
		if step.release {
			_, err := clients[step.who].Do(&abi.NameRelease{Name: step.name})
			refuses(t, what, err, step.errno)
			continue
		}
		cmd := abi.NameAcquire{Name: step.name, Flags: step.flags}
		_, err := clients[step.who].Do(&cmd)
		refuses(t, what, err, step.errno)
		if cmd.ReturnFlags != step.want {
			t.Errorf("%s: %v, want %v", what, cmd.ReturnFlags, step.want)
		}
	}
}

func TestNamesOfAConnectionAreLimited(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	for i := range abi.ConnMaxNames {
		w.do(c, &abi.NameAcquire{Name: fmt.Sprintf("org.example.N%d", i)})
	}
	_, err := c.Do(&abi.NameAcquire{Name: "org.example.M"})
	refuses(t, "one too many", err, syscall.E2BIG)
}

// ownNothing is a policy that forbids names.
type ownNothing struct{ bus.AllowAll }

func (ownNothing) Own(*bus.Conn, string) error {
	return &bus.Error{Errno: bus.ErrDenied, Detail: "nobody owns anything here"}
}
func (ownNothing) Send(_, _ *bus.Conn, _ *bus.Message, _ bool) error {
	return errors.New("a reason without errno\x00 and with bytes \xff that are no text")
}

func TestPolicyIsObeyed(t *testing.T) {
	w := newWorld(t, func(b *bus.Config, _ *native.Config) { b.Policy = ownNothing{} })
	c := w.join()
	_, err := c.Do(&abi.NameAcquire{Name: "org.example.A"})
	refuses(t, "name", err, syscall.EPERM)
	_, err = c.Send(nativetest.Outgoing{Message: abi.Message{DstID: c.ID, Cookie: 1}})
	refuses(t, "message", err, syscall.EPERM)
}

// listed returns the entries of a LIST.
func listed(t *testing.T, c *nativetest.Client, flags abi.ListFlags) (entries []abi.ListEntry) {
	t.Helper()
	cmd := abi.List{Flags: flags}
	f, err := c.Do(&cmd)
	if err != nil {
		t.Fatal(err)
	}
	infos, err := f.Infos(cmd.Offset, cmd.ListSize)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range abi.ListEntries(infos) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b abi.ListEntry) int {
		if a.ID != b.ID {
			return int(a.ID) - int(b.ID)
		}
		return slices.Compare([]byte(a.Name.Name), []byte(b.Name.Name))
	})
	return entries
}

func TestConnectionsAndNamesAreListed(t *testing.T) {
	w := newWorld(t)
	a := w.join()
	b := w.join(func(h *abi.Hello) { h.Flags = 0 })
	activator := w.join(func(h *abi.Hello) { h.Flags, h.Name = abi.HelloActivator, "org.example.C" })
	w.do(a, &abi.NameAcquire{Name: "org.example.A"})
	w.do(a, &abi.NameAcquire{Name: "org.example.B", Flags: abi.NameAllowReplacement})
	w.do(b, &abi.NameAcquire{Name: "org.example.A", Flags: abi.NameQueue})
	const fd = abi.HelloAcceptFD
	owned := func(name string, flags abi.NameFlags) abi.OwnedName { return abi.OwnedName{Name: name, Flags: flags} }
	nameA := abi.ListEntry{ID: a.ID, Flags: fd, Name: owned("org.example.A", abi.NamePrimary)}
	nameB := abi.ListEntry{ID: a.ID, Flags: fd, Name: owned("org.example.B", abi.NamePrimary|abi.NameAllowReplacement)}
	queued := abi.ListEntry{ID: b.ID, Name: owned("org.example.A", abi.NameQueue|abi.NameInQueue)}
	stands := abi.ListEntry{ID: activator.ID, Flags: abi.HelloActivator, Name: owned("org.example.C", abi.NameActivator|abi.NamePrimary)}
	for _, c := range []struct {
		flags abi.ListFlags
		want  []abi.ListEntry
	}{
		{0, nil},
		{abi.ListUnique, []abi.ListEntry{{ID: a.ID, Flags: fd}, {ID: b.ID}, {ID: activator.ID, Flags: abi.HelloActivator}}},
		{abi.ListNames, []abi.ListEntry{nameA, nameB}},
		{abi.ListQueued, []abi.ListEntry{queued}},
		{abi.ListActivators, []abi.ListEntry{stands}},
		{abi.ListUnique | abi.ListNames, []abi.ListEntry{nameA, nameB, {ID: b.ID}, {ID: activator.ID, Flags: abi.HelloActivator}}},
		{abi.ListUnique | abi.ListNames | abi.ListQueued | abi.ListActivators, []abi.ListEntry{nameA, nameB, queued, stands}},
	} {
		if diff := cmp.Diff(c.want, listed(t, a, c.flags)); diff != "" {
			t.Errorf("%v: %s", c.flags, diff)
		}
	}
	_, err := a.Do(&abi.List{Flags: 1 << 20})
	refuses(t, "unknown flag", err, syscall.EINVAL)
}

// info returns what CONN_INFO or BUS_CREATOR_INFO tell.
func info(t *testing.T, c *nativetest.Client, cmd abi.Command) (i abi.Info, err error) {
	t.Helper()
	f, err := c.Do(cmd)
	if err != nil {
		return i, err
	}
	var offset, size uint64
	switch cmd := cmd.(type) {
	case *abi.ConnInfo:
		offset, size = cmd.Offset, cmd.InfoSize
	case *abi.BusCreatorInfo:
		offset, size = cmd.Offset, cmd.InfoSize
	}
	infos, err := f.Infos(offset, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Decode(infos); err != nil {
		t.Fatal(err)
	}
	return i, nil
}

func TestConnectionsAreTold(t *testing.T) {
	w := newWorld(t)
	a := w.join(func(h *abi.Hello) { h.Description = "me" })
	shy := w.join(func(h *abi.Hello) { h.AttachFlagsSend = abi.AttachConnDescription })
	w.do(a, &abi.NameAcquire{Name: "org.example.A"})
	for _, c := range []struct {
		name  string
		cmd   abi.ConnInfo
		has   abi.AttachFlags
		errno syscall.Errno
	}{
		{"by id", abi.ConnInfo{ID: a.ID}, 0, 0},
		{"by name", abi.ConnInfo{Name: "org.example.A"}, 0, 0},
		{"by both", abi.ConnInfo{ID: a.ID, Name: "org.example.A"}, 0, 0},
		{"metadata", abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachPIDs | abi.AttachConnDescription | abi.AttachNames},
			abi.AttachPIDs | abi.AttachConnDescription | abi.AttachNames, 0},
		{"command line", abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachCmdline}, abi.AttachCmdline, 0},
		{"metadata that is not permitted", abi.ConnInfo{ID: shy.ID, AttachFlags: abi.AttachPIDs}, 0, 0},
		{"name of another", abi.ConnInfo{ID: shy.ID, Name: "org.example.A"}, 0, syscall.ESRCH},
		{"nobody's name", abi.ConnInfo{Name: "org.example.B"}, 0, syscall.ESRCH},
		{"nobody's id", abi.ConnInfo{ID: 100}, 0, syscall.ENXIO},
		{"neither", abi.ConnInfo{}, 0, syscall.EINVAL},
		{"unknown attach flags", abi.ConnInfo{ID: a.ID, AttachFlags: 1 << 40}, 0, syscall.EINVAL},
	} {
		got, err := info(t, a, &c.cmd)
		refuses(t, c.name, err, c.errno)
		if err != nil {
			continue
		}
		if got.ID != a.ID && got.ID != shy.ID || got.Metadata.Has != c.has {
			t.Errorf("%s: %+v", c.name, got)
		}
		if c.has&abi.AttachPIDs != 0 && (got.Metadata.PIDs.PID != uint64(os.Getpid()) || got.Metadata.Description != "me") {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	got, err := info(t, a, &abi.BusCreatorInfo{AttachFlags: abi.AttachAny})
	if err != nil || got.BusName != "0-test" || got.Flags != 2 || got.Metadata.PIDs.PID != 42 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = info(t, a, &abi.BusCreatorInfo{AttachFlags: abi.AttachCreds})
	if err != nil || got.Metadata.Has != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestListThatDoesNotFitIsRefused(t *testing.T) {
	w := newWorld(t)
	owner := w.join()
	for i := range 200 {
		w.do(owner, &abi.NameAcquire{Name: fmt.Sprintf("org.example.N%d", i)})
	}
	small := w.join(func(h *abi.Hello) { h.PoolSize = uint64(os.Getpagesize()) })
	_, err := small.Do(&abi.List{Flags: abi.ListNames})
	refuses(t, "LIST", err, syscall.ENOBUFS)
	w.do(small, &abi.List{})
}
