//go:build conformance

package kdbus

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
)

// kdbus.name(7), "Name validity".
func TestNameValidity(t *testing.T) {
	names := func(sentence string, valid bool, names ...string) {
		prove(t, sentence, func(t *testing.T, w *world) {
			c := w.join(root)
			for _, name := range names {
				if valid {
					c.owns(name)
				} else {
					c.refused(syscall.EINVAL, &abi.NameAcquire{Name: name})
				}
			}
		})
	}
	names("a name has two or more elements with dots between them", true, "a.b", "org.example.A", "a.b.c.d.e.f.g")
	names("a name without a dot is none", false, "a", "org")
	names("no element is empty", false, "a..b", "a.", "org.example..A")
	names("a name does not begin with a dot", false, ".a.b", ".a", ".")
	names("elements are of ASCII letters, digits and underscores", true, "a_.B9", "_._", "aZ0.Za9")
	names("other characters are refused", false, "a.b c", "a.ä", "a.b/c", "a.b\xff", ":1.5", "a.*")
	names("no element begins with a digit", false, "1.a", "a.1", "a.1b")
	names("a name of 255 characters is one", true, "a."+strings.Repeat("b", 253))
	names("a name of 256 characters is none", false, "a."+strings.Repeat("b", 254))
	names("dashes are valid as well, as in the last module", true, "a-b.c-d")
}

// kdbus.name(7), "Acquiring a name".
func TestAcquiringNames(t *testing.T) {
	prove(t, "a name that nobody has is acquired", func(t *testing.T, w *world) {
		a := w.join(root)
		if got := a.owns(name); got != abi.NamePrimary|abi.NameAcquired {
			t.Errorf("%v", got)
		}
		if got := a.names(); got[name] != a.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "REPLACE_EXISTING takes the name from who has it with ALLOW_REPLACEMENT", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name, abi.NameAllowReplacement)
		if got := b.owns(name, abi.NameReplaceExisting); got != abi.NamePrimary|abi.NameAcquired {
			t.Errorf("%v", got)
		}
		if got := a.names(); got[name] != b.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "REPLACE_EXISTING takes nothing from who has the name without ALLOW_REPLACEMENT", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name)
		b.refused(syscall.EEXIST, &abi.NameAcquire{Name: name, Flags: abi.NameReplaceExisting})
	})
	prove(t, "ALLOW_REPLACEMENT gives nothing to who does not ask with REPLACE_EXISTING", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name, abi.NameAllowReplacement)
		b.refused(syscall.EEXIST, &abi.NameAcquire{Name: name})
	})
	prove(t, "an activator's name is taken with REPLACE_EXISTING and without", func(t *testing.T, w *world) {
		w.join(root, activator(name))
		a := w.join(root)
		a.owns(name)
		a.does(&abi.NameRelease{Name: name})
		a.owns(name, abi.NameReplaceExisting)
	})
	prove(t, "who loses a name is notified", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name, abi.NameAllowReplacement)
		a.watches(false)
		b.owns(name, abi.NameReplaceExisting)
		if n := a.told(abi.ItemNameChange).Notification; n.Old.ID != a.ID || n.New.ID != b.ID || n.Name != name {
			t.Errorf("%+v", n)
		}
	})
	prove(t, "who is replaced and had asked with QUEUE waits for the name", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name, abi.NameAllowReplacement|abi.NameQueue)
		b.owns(name, abi.NameReplaceExisting)
		if got := a.list(abi.ListQueued); len(got) != 1 || got[0].ID != a.ID {
			t.Errorf("%+v", got)
		}
		b.does(&abi.NameRelease{Name: name})
		if got := a.names(); got[name] != a.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "who is replaced and had not asked with QUEUE has nothing to do with the name any more", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name, abi.NameAllowReplacement)
		b.owns(name, abi.NameReplaceExisting)
		a.refused(syscall.EADDRINUSE, &abi.NameRelease{Name: name})
	})
	prove(t, "QUEUE waits for a name that somebody has, and says so by IN_QUEUE", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name)
		if got := b.owns(name, abi.NameQueue); got != abi.NameQueue|abi.NameInQueue|abi.NameAcquired {
			t.Errorf("%v", got)
		}
		if got := b.owns(name, abi.NameQueue); got != abi.NameQueue|abi.NameInQueue {
			t.Errorf("again: %v", got)
		}
	})
	prove(t, "IN_QUEUE is not told of who has not asked with QUEUE", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name)
		b.refused(syscall.EEXIST, &abi.NameAcquire{Name: name})
		if got := b.list(abi.ListQueued); got != nil {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "the first who waits becomes the owner, and is notified", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		a.owns(name)
		b.owns(name, abi.NameQueue)
		c.owns(name, abi.NameQueue)
		b.watches(false)
		a.does(&abi.NameRelease{Name: name})
		if n := b.told(abi.ItemNameChange).Notification; n.Old.ID != a.ID || n.New.ID != b.ID {
			t.Errorf("%+v", n)
		}
		if got := b.names(); got[name] != b.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "who waits and asks again without QUEUE ceases to wait", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name)
		b.owns(name, abi.NameQueue)
		if got := b.owns(name); got&(abi.NamePrimary|abi.NameInQueue) != 0 {
			t.Errorf("%v", got)
		}
		if got := b.list(abi.ListQueued); got != nil {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "who owns a name and asks again changes its flags", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name)
		if got := a.owns(name, abi.NameAllowReplacement); got != abi.NamePrimary|abi.NameAllowReplacement {
			t.Errorf("%v", got)
		}
		b.owns(name, abi.NameReplaceExisting)
	})
	prove(t, "who replaces goes before those who wait", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		a.owns(name, abi.NameAllowReplacement)
		b.owns(name, abi.NameQueue)
		c.owns(name, abi.NameReplaceExisting)
		if got := a.names(); got[name] != c.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "NAME_ACQUIRE that negotiates tells the valid flags and does nothing", func(t *testing.T, w *world) {
		a := w.join(root)
		probe := abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemName, abi.ItemID}}
		a.negotiates(&abi.NameAcquire{Name: name, Negotiate: probe}, 7, abi.ItemName, 0)
		if got := a.names(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
	acquire := func(sentence string, want syscall.Errno, cmd abi.NameAcquire) {
		prove(t, sentence, func(t *testing.T, w *world) { w.join(root).refused(want, &cmd) })
	}
	acquire("EINVAL: a flag that NAME_ACQUIRE does not have", syscall.EINVAL, abi.NameAcquire{Name: name, Flags: 1 << 10})
	acquire("EINVAL: a flag that only the bus sets", syscall.EINVAL, abi.NameAcquire{Name: name, Flags: abi.NameActivator})
	acquire("EINVAL: a name that is none", syscall.EINVAL, abi.NameAcquire{Name: "noname"})
	acquire("EINVAL: no name", syscall.EINVAL, abi.NameAcquire{})
	prove(t, "EINVAL: an item that NAME_ACQUIRE does not have", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdNameAcquire, withItem((&abi.NameAcquire{Name: name}).Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "EOPNOTSUPP: an activator asks for a second name", func(t *testing.T, w *world) {
		w.join(root, activator(name)).refused(syscall.EOPNOTSUPP, &abi.NameAcquire{Name: "org.example.B"})
	})
	prove(t, "EPERM: a policy lets somebody else own the name", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(bob, abi.PolicyOwn)))
		w.join(alice).refused(syscall.EPERM, &abi.NameAcquire{Name: name})
		w.join(bob).owns(name)
	})
	prove(t, "EEXIST: somebody has the name", func(t *testing.T, w *world) {
		w.opens(name)
		w.join(alice).owns(name)
		w.join(bob).refused(syscall.EEXIST, &abi.NameAcquire{Name: name})
	})
	prove(t, "E2BIG: a 257th name", func(t *testing.T, w *world) {
		a := w.join(root)
		for i := range 256 {
			a.owns(fmt.Sprintf("org.example.N%d", i))
		}
		a.refused(syscall.E2BIG, &abi.NameAcquire{Name: name})
		w.join(root).owns(name)
	})
}

// kdbus.name(7), "Releasing a name".
func TestReleasingNames(t *testing.T) {
	prove(t, "who releases a name does not have it any more", func(t *testing.T, w *world) {
		a := w.join(root)
		a.owns(name)
		a.does(&abi.NameRelease{Name: name})
		if got := a.names(); len(got) != 0 {
			t.Errorf("%v", got)
		}
		w.join(root).owns(name)
	})
	prove(t, "those who wait get the name in the order in which they came", func(t *testing.T, w *world) {
		owner := w.join(root)
		owner.owns(name)
		var waiting []*client
		for range 3 {
			c := w.join(root)
			c.owns(name, abi.NameQueue)
			waiting = append(waiting, c)
		}
		for _, next := range waiting {
			owner.does(&abi.NameRelease{Name: name})
			if got := owner.names(); got[name] != next.ID {
				t.Errorf("%v, want %d", got, next.ID)
			}
			owner = next
		}
	})
	prove(t, "who waits may cease to by NAME_RELEASE", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name)
		b.owns(name, abi.NameQueue)
		b.does(&abi.NameRelease{Name: name})
		a.does(&abi.NameRelease{Name: name})
		if got := a.names(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
	prove(t, "a connection that ends releases all its names", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		a.owns(name)
		a.owns("org.example.B")
		b.owns(name, abi.NameQueue)
		c.watches(true)
		a.Close()
		kinds := map[abi.ItemType]string{}
		for range 2 {
			m := c.receives()
			kinds[m.Notification.Type] = m.Notification.Name
		}
		c.told(abi.ItemIDRemove)
		if diff := cmp.Diff(map[abi.ItemType]string{abi.ItemNameChange: name, abi.ItemNameRemove: "org.example.B"}, kinds); diff != "" {
			t.Error(diff)
		}
	})
	prove(t, "ESRCH: a name that nobody has", func(t *testing.T, w *world) {
		w.join(root).refused(syscall.ESRCH, &abi.NameRelease{Name: name})
	})
	prove(t, "EADDRINUSE: a name that somebody else has", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.owns(name)
		b.refused(syscall.EADDRINUSE, &abi.NameRelease{Name: name})
	})
	prove(t, "EINVAL: flags of NAME_RELEASE", func(t *testing.T, w *world) {
		b := (&abi.NameRelease{Name: name}).Append(nil)
		putFlags(b, 1)
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdNameRelease, b)
	})
	prove(t, "EINVAL: NAME_RELEASE without a name", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdNameRelease, (&abi.ByeBye{}).Append(nil))
	})
	prove(t, "EINVAL: an item that NAME_RELEASE does not have", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdNameRelease, withItem((&abi.NameRelease{Name: name}).Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "NAME_RELEASE that negotiates has no flags", func(t *testing.T, w *world) {
		a := w.join(root)
		a.owns(name)
		a.negotiates(&abi.NameRelease{Name: name, Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemName}}}, 0, abi.ItemName)
		if got := a.names(); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
}

// kdbus.name(7), "Dumping the name registry".
func TestListing(t *testing.T) {
	// registry is a bus with some of everything.
	registry := func(w *world) (a, b, act *client) {
		a, b = w.join(root), w.join(root, noFDs)
		act = w.join(root, activator("org.example.C"))
		a.owns("org.example.A")
		a.owns("org.example.B", abi.NameAllowReplacement)
		b.owns("org.example.A", abi.NameQueue)
		return a, b, act
	}
	entry := func(c *client, flags abi.HelloFlags, name string, nameFlags abi.NameFlags) abi.ListEntry {
		return abi.ListEntry{ID: c.ID, Flags: flags, Name: abi.OwnedName{Name: name, Flags: nameFlags}}
	}
	const fd, act = abi.HelloAcceptFD, abi.HelloActivator
	list := func(sentence string, flags abi.ListFlags, want func(a, b, c *client) []abi.ListEntry) {
		prove(t, sentence, func(t *testing.T, w *world) {
			a, b, c := registry(w)
			if diff := cmp.Diff(want(a, b, c), a.list(flags)); diff != "" {
				t.Error(diff)
			}
		})
	}
	list("without flags nothing is listed", 0, func(a, b, c *client) []abi.ListEntry { return nil })
	list("UNIQUE lists connections, whether they own names or not", abi.ListUnique, func(a, b, c *client) []abi.ListEntry {
		return []abi.ListEntry{entry(a, fd, "", 0), entry(b, 0, "", 0), entry(c, act, "", 0)}
	})
	list("NAMES lists names that connections other than activators own", abi.ListNames, func(a, b, c *client) []abi.ListEntry {
		return []abi.ListEntry{
			entry(a, fd, "org.example.A", abi.NamePrimary), entry(a, fd, "org.example.B", abi.NamePrimary|abi.NameAllowReplacement),
		}
	})
	list("ACTIVATORS lists names of activators", abi.ListActivators, func(a, b, c *client) []abi.ListEntry {
		return []abi.ListEntry{entry(c, act, "org.example.C", abi.NameActivator|abi.NamePrimary)}
	})
	list("QUEUED lists who waits for names", abi.ListQueued, func(a, b, c *client) []abi.ListEntry {
		return []abi.ListEntry{entry(b, 0, "org.example.A", abi.NameQueue|abi.NameInQueue)}
	})
	list("flags can be combined", abi.ListUnique|abi.ListActivators|abi.ListQueued, func(a, b, c *client) []abi.ListEntry {
		return []abi.ListEntry{
			entry(a, fd, "", 0), entry(b, 0, "org.example.A", abi.NameQueue|abi.NameInQueue),
			entry(c, act, "org.example.C", abi.NameActivator|abi.NamePrimary),
		}
	})
	prove(t, "an activator whose name is taken is still listed, and as one that waits", func(t *testing.T, w *world) {
		c := w.join(root, activator("org.example.C"))
		a := w.join(root)
		a.owns("org.example.C")
		want := []abi.ListEntry{entry(c, act, "org.example.C", abi.NameActivator|abi.NameInQueue)}
		got := a.list(abi.ListActivators)
		for i := range got {
			got[i].Name.Flags &^= abi.NameQueue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	prove(t, "LIST that negotiates tells the valid flags", func(t *testing.T, w *world) {
		w.join(root).negotiates(&abi.List{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemName}}}, 15, 0)
	})
	prove(t, "EINVAL: a flag that LIST does not have", func(t *testing.T, w *world) {
		w.join(root).refused(syscall.EINVAL, &abi.List{Flags: 1 << 10})
	})
	prove(t, "ENOBUFS: a list that does not fit into half of the pool", func(t *testing.T, w *world) {
		a := w.join(root)
		for i := range 200 {
			a.owns(fmt.Sprintf("org.example.N%d", i))
		}
		w.join(root, pool(4096)).refused(syscall.ENOBUFS, &abi.List{Flags: abi.ListNames})
	})
}
