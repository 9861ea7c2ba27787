//go:build conformance

package kdbus

import (
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
)

const name = "org.example.A"

// mayOwn checks whether a user may own a name, and nothing else.
func (w *world) mayOwn(uid int, name string, may bool) {
	w.t.Helper()
	c := w.join(uid)
	defer c.Close()
	if may {
		c.owns(name)
		c.does(&abi.NameRelease{Name: name})
		return
	}
	c.refused(syscall.EPERM, &abi.NameAcquire{Name: name})
}

// mayTalk checks whether a user may send to a connection.
func (w *world) mayTalk(uid int, to *client, may bool) {
	w.t.Helper()
	c := w.join(uid)
	defer c.Close()
	if may {
		c.sends(to.message(1))
		to.gets(1)
		return
	}
	c.sendRefused(syscall.EPERM, to.message(1))
	to.getsNothing()
}

// kdbus.policy(7), from its beginning to "Wildcard names".
func TestPolicyEntries(t *testing.T) {
	prove(t, "USER is for one user", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn)))
		w.mayOwn(alice, name, true)
		w.mayOwn(bob, name, false)
	})
	prove(t, "GROUP is for members of a group, primary or supplementary", func(t *testing.T, w *world) {
		w.join(root, holder(name, group(alice, abi.PolicyOwn)))
		w.join(root, holder("org.example.B", group(friends, abi.PolicyOwn)))
		w.mayOwn(alice, name, true)
		w.mayOwn(bob, name, false)
		w.mayOwn(bob, "org.example.B", true)
	})
	prove(t, "WORLD is for everybody, whatever its id is", func(t *testing.T, w *world) {
		w.join(root, holder(name, abi.PolicyAccess{Type: abi.PolicyAccessWorld, ID: 12345, Access: abi.PolicyOwn}))
		w.mayOwn(alice, name, true)
		w.mayOwn(bob, name, true)
	})
	prove(t, "OWN lets the name be owned", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn), user(bob, abi.PolicyTalk), user(mallory, abi.PolicySee)))
		w.mayOwn(alice, name, true)
		w.mayOwn(bob, name, false)
		w.mayOwn(mallory, name, false)
	})
	prove(t, "TALK lets the owner be sent to, and OWN includes it", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn), user(bob, abi.PolicyTalk), user(mallory, abi.PolicySee)))
		a := w.join(root)
		a.owns(name)
		w.mayTalk(alice, a, true)
		w.mayTalk(bob, a, true)
		w.mayTalk(mallory, a, false)
	})
	prove(t, "SEE lets the name be seen, and TALK includes it", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(bob, abi.PolicyTalk), user(mallory, abi.PolicySee)))
		a := w.join(root)
		a.owns(name)
		for uid, want := range map[int]int{alice: 0, bob: 1, mallory: 1} {
			c := w.join(uid)
			if got := c.names(); len(got) != want {
				t.Errorf("user %d sees %v", uid, got)
			}
			cmd := &abi.ConnInfo{Name: name}
			if want == 0 {
				c.refused(syscall.ESRCH, cmd)
			} else {
				c.does(cmd)
			}
		}
	})
	prove(t, "who may not see a name is not told of it, and is answered as if it did not exist", func(t *testing.T, w *world) {
		w.join(root, holder(name))
		c := w.join(alice)
		c.watches(false)
		a := w.join(root)
		a.owns(name, abi.NameAllowReplacement)
		b := w.join(root)
		b.owns(name, abi.NameReplaceExisting)
		c.sendRefused(syscall.ESRCH, toName(name, 1))
		o := toName(name, 1)
		o.DstID = a.ID
		c.sendRefused(syscall.ESRCH, o)
		c.refused(syscall.ESRCH, &abi.NameRelease{Name: name})
		b.does(&abi.NameRelease{Name: name})
		c.getsNothing()
	})
	prove(t, "a name can have any number of entries, which add up", func(t *testing.T, w *world) {
		var access []abi.PolicyAccess
		for i := range 500 {
			access = append(access, user(70000+i, abi.PolicyOwn))
		}
		access = append(access, anybody(abi.PolicySee), user(bob, abi.PolicyTalk), user(bob, abi.PolicyOwn), user(bob, abi.PolicySee))
		w.join(root, holder(name, access...))
		w.mayOwn(bob, name, true)
		w.mayOwn(alice, name, false)
	})
	prove(t, "a name without any entry permits nobody anything", func(t *testing.T, w *world) {
		w.join(root, holder(name))
		w.mayOwn(alice, name, false)
	})
	prove(t, "an entry's name has to be a name", func(t *testing.T, w *world) {
		for _, bad := range []string{"a", "a..b", "*", "a.*.b", "a.b*", ".*"} {
			w.dial(root).helloRefused(syscall.EINVAL, holder(bad))
		}
	})
	prove(t, "entries that permit what there is not are refused", func(t *testing.T, w *world) {
		for _, bad := range []abi.PolicyAccess{{Type: 0}, {Type: 4}, {Type: 1, Access: 3}, {Type: 1, ID: 1 << 32}, {Type: 2, ID: 1<<32 - 1}} {
			w.dial(root).helloRefused(syscall.EINVAL, holder(name, bad))
		}
	})
	prove(t, "without entries names are owned by the privileged only", func(t *testing.T, w *world) {
		w.mayOwn(alice, name, false)
		w.mayOwn(root, name, true)
	})
	prove(t, "without entries others are talked to by the same user and the privileged only", func(t *testing.T, w *world) {
		a := w.join(alice)
		w.mayTalk(bob, a, false)
		w.mayTalk(alice, a, true)
		w.mayTalk(root, a, true)
	})
	prove(t, "without entries all names and connections are seen", func(t *testing.T, w *world) {
		a := w.join(root)
		a.owns(name)
		c := w.join(alice)
		if got := c.names(); got[name] != a.ID {
			t.Errorf("%v", got)
		}
		if got := c.list(abi.ListUnique); len(got) != 2 {
			t.Errorf("%v", got)
		}
		c.sendRefused(syscall.EPERM, toName(name, 1))
	})
	prove(t, "a name has one holder", func(t *testing.T, w *world) {
		w.join(root, holder(name))
		c := w.dial(root)
		c.helloRefused(syscall.EEXIST, holder(name))
		c.isGone()
		w.join(root, holder("org.example.B")).refused(syscall.EEXIST, &abi.Update{Policies: []abi.Policy{{Name: name}}})
	})
	prove(t, "an activator's entries are for its name", func(t *testing.T, w *world) {
		w.join(root, activator(name, user(alice, abi.PolicyOwn), user(bob, abi.PolicyTalk)))
		w.mayOwn(bob, name, false)
		c := w.join(bob)
		c.sends(toName(name, 1))
		w.join(mallory).sendRefused(syscall.ESRCH, toName(name, 2))
		a := w.join(alice)
		a.owns(name)
		a.gets(1)
		a.getsNothing()
	})
	prove(t, "entries are exchanged all at once, and owners keep their names", func(t *testing.T, w *world) {
		h := w.join(root, holder(name, user(alice, abi.PolicyOwn)))
		a := w.join(alice)
		a.owns(name)
		h.does(&abi.Update{Policies: []abi.Policy{{Name: name, Access: []abi.PolicyAccess{user(bob, abi.PolicyOwn)}}}})
		if got := h.names(); got[name] != a.ID {
			t.Errorf("%v", got)
		}
		a.does(&abi.NameRelease{Name: name})
		w.mayOwn(alice, name, false)
		w.mayOwn(bob, name, true)
		h.refused(syscall.EINVAL, &abi.Update{Policies: []abi.Policy{{Name: "noname"}}})
		w.mayOwn(bob, name, true)
	})
	prove(t, "the example of the manual page holds", func(t *testing.T, w *world) {
		w.join(root, holder("org.foo.bar", user(alice, abi.PolicyOwn), user(bob, abi.PolicyTalk), anybody(abi.PolicySee)))
		w.join(root, holder("org.blah.baz", user(root, abi.PolicyOwn), anybody(abi.PolicyTalk)))
		w.mayOwn(bob, "org.foo.bar", false)
		w.mayOwn(alice, "org.blah.baz", false)
		a, b := w.join(alice), w.join(root)
		a.owns("org.foo.bar")
		b.owns("org.blah.baz")
		w.mayTalk(bob, a, true)
		w.mayTalk(mallory, a, false)
		w.mayTalk(mallory, b, true)
		if got := w.join(mallory).names(); len(got) != 2 {
			t.Errorf("%v", got)
		}
	})
}

// kdbus.policy(7), "Wildcard names".
func TestPolicyWildcards(t *testing.T) {
	prove(t, "a wildcard is for names with exactly one more element", func(t *testing.T, w *world) {
		w.join(root, holder("foo.bar.*", user(alice, abi.PolicyOwn)))
		w.mayOwn(alice, "foo.bar.baz", true)
		w.mayOwn(alice, "foo.bar.bazbaz", true)
		w.mayOwn(alice, "foo.bar.baz.baz", false)
		w.mayOwn(alice, "foo.bar", false)
		w.mayOwn(alice, "foo.barbaz", false)
		w.mayOwn(bob, "foo.bar.baz", false)
	})
	prove(t, "a name's own entries come before those of a wildcard", func(t *testing.T, w *world) {
		w.join(root, holder("foo.bar.*", user(alice, abi.PolicyOwn)))
		w.join(root, holder("foo.bar.baz", user(bob, abi.PolicyOwn)))
		w.mayOwn(alice, "foo.bar.baz", false)
		w.mayOwn(bob, "foo.bar.baz", true)
		w.mayOwn(alice, "foo.bar.other", true)
	})
	prove(t, "wildcards are for TALK and SEE as well", func(t *testing.T, w *world) {
		w.join(root, holder("foo.bar.*", user(alice, abi.PolicyTalk)))
		a := w.join(root)
		a.owns("foo.bar.baz")
		w.mayTalk(alice, a, true)
		w.mayTalk(bob, a, false)
		if got := w.join(bob).names(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
	prove(t, "an activator has no wildcard", func(t *testing.T, w *world) {
		w.dial(root).helloRefused(syscall.EINVAL, activator("foo.bar.*"))
	})
}

// kdbus.policy(7), "TALK access and multiple well-known names per connection".
func TestPolicyOfConnections(t *testing.T) {
	prove(t, "who may talk to one of the names of a connection may talk to all of them, and to its id", func(t *testing.T, w *world) {
		w.join(root, holder("org.foo.bar", anybody(abi.PolicySee)))
		w.join(root, holder("org.blah.baz", anybody(abi.PolicyTalk)))
		a, c := w.join(root), w.join(alice)
		a.owns("org.foo.bar")
		c.sendRefused(syscall.EPERM, toName("org.foo.bar", 1))
		a.owns("org.blah.baz")
		c.sends(toName("org.foo.bar", 2))
		c.sends(a.message(3))
		a.gets(2)
		a.gets(3)
		a.does(&abi.NameRelease{Name: "org.blah.baz"})
		c.sendRefused(syscall.EPERM, toName("org.foo.bar", 4))
	})
	prove(t, "a name that a connection waits for permits nothing", func(t *testing.T, w *world) {
		w.join(root, holder("org.foo.bar", anybody(abi.PolicySee)))
		w.join(root, holder("org.blah.baz", anybody(abi.PolicyTalk)))
		a, b, c := w.join(root), w.join(root), w.join(alice)
		a.owns("org.foo.bar")
		b.owns("org.blah.baz")
		a.owns("org.blah.baz", abi.NameQueue)
		c.sendRefused(syscall.EPERM, a.message(1))
	})
	prove(t, "who receives a broadcast needs TALK to its sender", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyTalk), user(bob, abi.PolicySee)))
		a, b, c := w.join(root), w.join(alice), w.join(bob)
		a.owns(name)
		b.matches()
		c.matches()
		a.sends(broadcast(1))
		b.gets(1)
		c.getsNothing()
	})
	prove(t, "who receives a signal needs TALK to its sender, and else it is dropped silently", func(t *testing.T, w *world) {
		w.join(root, holder(name))
		w.join(root, holder("org.example.C", anybody(abi.PolicyTalk)))
		a, c := w.join(root), w.join(alice)
		a.owns(name)
		c.matches()
		a.sends(c.signal(1))
		c.getsNothing()
	})
	prove(t, "a signal to one connection does not need TALK to it", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn), user(bob, abi.PolicyTalk)))
		a, b, c := w.join(alice), w.join(bob), w.join(mallory)
		a.owns(name)
		b.matches()
		c.matches()
		a.sendRefused(syscall.EPERM, b.message(1))
		a.sends(b.signal(2))
		a.sends(c.signal(3))
		b.gets(2)
		c.getsNothing()
	})
	prove(t, "anybody may broadcast", func(t *testing.T, w *world) {
		a, b := w.join(alice), w.join(root)
		b.matches()
		a.sends(broadcast(1))
		b.gets(1)
	})
}

// kdbus.policy(7), "Privileged connections" and "Implicit policies": default endpoints.
func TestImplicitPolicies(t *testing.T) {
	prove(t, "entries do not hold for the privileged", func(t *testing.T, w *world) {
		w.join(root, holder(name))
		a, b := w.join(root), w.join(alice)
		a.owns(name)
		w.join(root).sends(a.message(1))
		a.gets(1)
		if got := w.join(root).names(); got[name] != a.ID {
			t.Errorf("%v", got)
		}
		b.matches()
		a.sends(b.message(2))
		b.gets(2)
	})
	prove(t, "connections of the same user always talk to each other", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn)))
		h := w.join(alice)
		h.owns(name)
		w.mayTalk(alice, h, true)
		w.mayTalk(bob, h, false)
	})
	prove(t, "and receive each other's broadcasts", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn)))
		a, b, c := w.join(alice), w.join(alice), w.join(bob)
		a.owns(name)
		b.matches()
		c.matches()
		a.sends(broadcast(1))
		b.gets(1)
		c.getsNothing()
	})
	prove(t, "being of the same user does not let a name be owned", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(bob, abi.PolicyOwn)))
		w.join(bob).owns(name, abi.NameAllowReplacement)
		w.join(alice).refused(syscall.EPERM, &abi.NameAcquire{Name: name, Flags: abi.NameReplaceExisting})
	})
}
