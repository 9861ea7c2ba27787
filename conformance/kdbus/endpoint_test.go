//go:build conformance

package kdbus

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// lets returns what an endpoint lets through of a name.
func lets(name string, access ...abi.PolicyAccess) abi.Policy {
	return abi.Policy{Name: name, Access: access}
}

// door makes a custom endpoint, which everybody may use, and returns its maker and where it is.
func (w *world) door(policies ...abi.Policy) (maker *client, path string) {
	w.t.Helper()
	maker = w.dial(root)
	return maker, maker.makes(&abi.EndpointMake{Name: "0-door", Flags: abi.MakeAccessWorld, Policies: policies})
}

// joinBy connects by an endpoint.
func (w *world) joinBy(path string, uid int, change ...func(*abi.Hello)) *client {
	w.t.Helper()
	c := w.dialTo(path, uid)
	c.hello(change...)
	return c
}

// kdbus.endpoint(7), "Description".
func TestEndpoints(t *testing.T) {
	prove(t, "each bus has the endpoint bus", func(t *testing.T, w *world) {
		if filepath.Base(w.path) != "bus" {
			t.Errorf("%s", w.path)
		}
		w.join(root)
	})
	prove(t, "a custom endpoint is a file in the directory of its bus", func(t *testing.T, w *world) {
		_, path := w.door()
		if path != filepath.Join(w.domain, busName, "0-door") {
			t.Errorf("%s", path)
		}
		exists(t, path, true)
	})
	prove(t, "without entries an endpoint forbids everything", func(t *testing.T, w *world) {
		a := w.join(root)
		a.owns(name)
		_, path := w.door()
		c := w.joinBy(path, root)
		c.refused(syscall.EPERM, &abi.NameAcquire{Name: "org.example.B"})
		c.sendRefused(syscall.ESRCH, toName(name, 1))
		c.sendRefused(syscall.ENXIO, a.message(1))
		c.refused(syscall.ESRCH, &abi.ConnInfo{Name: name})
		c.refused(syscall.ENXIO, &abi.ConnInfo{ID: a.ID})
		if got := c.names(); len(got) != 0 {
			t.Errorf("%v", got)
		}
		a.getsNothing()
	})
	prove(t, "an endpoint lives as long as its maker's connection, and who came through it goes with it", func(t *testing.T, w *world) {
		maker, path := w.door()
		a, c := w.join(root), w.joinBy(path, root)
		a.watches(true)
		maker.Close()
		c.isGone()
		if n := a.told(abi.ItemIDRemove).Notification; n.Old.ID != c.ID {
			t.Errorf("%+v", n)
		}
		exists(t, path, false)
		a.does(&abi.List{})
	})
	prove(t, "who has made an endpoint can do nothing else than update it", func(t *testing.T, w *world) {
		maker, _ := w.door()
		for _, cmd := range []abi.Command{
			&abi.EndpointMake{Name: "0-another"}, &abi.List{}, &abi.NameAcquire{Name: name}, &abi.ByeBye{}, &abi.MatchAdd{},
		} {
			maker.refused(syscall.EBADFD, cmd)
		}
		maker.helloRefused(syscall.EBADFD)
		maker.does(&abi.EndpointUpdate{})
	})
	prove(t, "an endpoint's name begins with the maker's uid and a dash", func(t *testing.T, w *world) {
		c := w.dial(root)
		for _, name := range []string{"1-door", "door", "bus", "0-", "00-door", "0-a/b", "0-..", "0-a b"} {
			c.refused(syscall.EINVAL, &abi.EndpointMake{Name: name})
		}
		c.makes(&abi.EndpointMake{Name: "0-my-endpoint_1"})
	})
	prove(t, "an endpoint does not outlive its bus", func(t *testing.T, w *world) {
		maker, path := w.door()
		c := w.joinBy(path, root)
		w.maker.Close()
		c.isGone()
		maker.isGone()
		exists(t, path, false)
	})
}

// kdbus.endpoint(7), "Creating custom endpoints", "Updating endpoints" and "Return value".
func TestMakingEndpoints(t *testing.T) {
	open := func(sentence string, flags abi.MakeFlags, toGroup, toAll bool) {
		prove(t, sentence, func(t *testing.T, w *world) {
			bus := filepath.Join(w.control(alice).makes(ofUser(alice, "mine", abi.MakeAccessWorld)), "bus")
			path := w.dialTo(bus, alice).makes(&abi.EndpointMake{Name: "64001-door", Flags: flags})
			admits(t, path, alice, alice, true)
			admits(t, path, mallory, alice, toGroup)
			admits(t, path, bob, bob, toAll)
		})
	}
	open("without flags the endpoint is for its maker only", 0, false, false)
	open("ACCESS_GROUP makes the endpoint accessible to the maker's group", abi.MakeAccessGroup, true, false)
	open("ACCESS_WORLD makes the endpoint accessible to everybody", abi.MakeAccessWorld, true, true)
	prove(t, "the maker can change the mode of its endpoint", func(t *testing.T, w *world) {
		_, path := w.door()
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		admits(t, path, bob, bob, false)
	})
	prove(t, "the items of ENDPOINT_MAKE are the policy of the endpoint", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, user(alice, abi.PolicySee)), lets("org.example.B", anybody(abi.PolicySee)))
		a := w.join(root)
		a.owns(name)
		a.owns("org.example.B")
		a.owns("org.example.C")
		if got := w.joinBy(path, alice).names(); len(got) != 2 {
			t.Errorf("%v", got)
		}
		if got := w.joinBy(path, bob).names(); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
	prove(t, "ENDPOINT_UPDATE replaces the policy, all at once, for those as well who are there", func(t *testing.T, w *world) {
		maker, path := w.door(lets(name, anybody(abi.PolicyTalk)), lets("org.example.B", anybody(abi.PolicyTalk)))
		a, c := w.join(root), w.joinBy(path, root)
		a.owns(name)
		c.sends(toName(name, 1))
		a.gets(1)
		maker.does(&abi.EndpointUpdate{Policies: []abi.Policy{lets("org.example.B", anybody(abi.PolicyTalk))}})
		c.sendRefused(syscall.ESRCH, toName(name, 2))
		a.owns("org.example.B")
		c.sends(toName("org.example.B", 3))
		a.gets(3)
		maker.does(&abi.EndpointUpdate{})
		c.sendRefused(syscall.ESRCH, toName("org.example.B", 4))
	})
	prove(t, "an ENDPOINT_UPDATE that is refused changes nothing", func(t *testing.T, w *world) {
		maker, path := w.door(lets(name, anybody(abi.PolicyTalk)))
		a, c := w.join(root), w.joinBy(path, root)
		a.owns(name)
		maker.refused(syscall.EINVAL, &abi.EndpointUpdate{Policies: []abi.Policy{lets("org.example.B", anybody(abi.PolicyTalk)), lets("noname")}})
		c.sends(toName(name, 1))
		a.gets(1)
	})
	prove(t, "names keep their owners when the policy changes", func(t *testing.T, w *world) {
		maker, path := w.door(lets(name, anybody(abi.PolicyOwn)))
		w.opens(name)
		c := w.joinBy(path, root)
		c.owns(name)
		maker.does(&abi.EndpointUpdate{})
		if got := w.join(root).names(); got[name] != c.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "ENDPOINT_MAKE and ENDPOINT_UPDATE that negotiate tell the valid flags and do nothing", func(t *testing.T, w *world) {
		c := w.dial(root)
		probe := abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemPolicyAccess, abi.ItemFDs}}
		c.negotiates(&abi.EndpointMake{Name: "0-door", Negotiate: probe}, 3, abi.ItemPolicyAccess, 0)
		exists(t, filepath.Join(filepath.Dir(w.path), "0-door"), false)
		c.makes(&abi.EndpointMake{Name: "0-door"})
		c.negotiates(&abi.EndpointUpdate{Negotiate: probe}, 0, abi.ItemPolicyAccess, 0)
	})
	prove(t, "EINVAL: a flag that ENDPOINT_MAKE does not have", func(t *testing.T, w *world) {
		w.dial(root).refused(syscall.EINVAL, &abi.EndpointMake{Name: "0-door", Flags: 1 << 10})
	})
	prove(t, "EINVAL: ENDPOINT_MAKE without a name", func(t *testing.T, w *world) {
		w.dial(root).rawRefused(syscall.EINVAL, abi.CmdEndpointMake, (&abi.ByeBye{}).Append(nil))
	})
	prove(t, "EINVAL: an entry of ENDPOINT_MAKE before its name", func(t *testing.T, w *world) {
		b := withItem((&abi.ByeBye{}).Append(nil), abi.ItemMakeName, []byte("0-door\x00"))
		w.dial(root).rawRefused(syscall.EINVAL, abi.CmdEndpointMake, withItem(b, abi.ItemPolicyAccess, nums(3, 0, 0)))
	})
	prove(t, "EINVAL: an item that ENDPOINT_MAKE does not have", func(t *testing.T, w *world) {
		b := (&abi.EndpointMake{Name: "0-door"}).Append(nil)
		w.dial(root).rawRefused(syscall.EINVAL, abi.CmdEndpointMake, withItem(b, abi.ItemID, make([]byte, 8)))
	})
	prove(t, "EEXIST: an endpoint of this name exists", func(t *testing.T, w *world) {
		maker, path := w.door()
		w.dial(root).refused(syscall.EEXIST, &abi.EndpointMake{Name: "0-door"})
		c := w.joinBy(path, root)
		maker.Close()
		c.isGone()
		w.dial(root).makes(&abi.EndpointMake{Name: "0-door"})
	})
	prove(t, "EPERM: who is not privileged makes an endpoint", func(t *testing.T, w *world) {
		w.dial(alice).refused(syscall.EPERM, &abi.EndpointMake{Name: "64001-door"})
	})
	prove(t, "the maker of the bus makes endpoints", func(t *testing.T, w *world) {
		bus := filepath.Join(w.control(alice).makes(ofUser(alice, "mine", abi.MakeAccessWorld)), "bus")
		w.dialTo(bus, alice).makes(&abi.EndpointMake{Name: "64001-door"})
		w.dialTo(bus, bob).refused(syscall.EPERM, &abi.EndpointMake{Name: "64002-door"})
	})
	prove(t, "EINVAL: flags of ENDPOINT_UPDATE", func(t *testing.T, w *world) {
		maker, _ := w.door()
		b := (&abi.EndpointUpdate{}).Append(nil)
		putFlags(b, 1)
		maker.rawRefused(syscall.EINVAL, abi.CmdEndpointUpdate, b)
	})
	prove(t, "EINVAL: an entry of ENDPOINT_UPDATE before its name", func(t *testing.T, w *world) {
		maker, _ := w.door()
		maker.rawRefused(syscall.EINVAL, abi.CmdEndpointUpdate, withItem((&abi.EndpointUpdate{}).Append(nil), abi.ItemPolicyAccess, nums(3, 0, 0)))
	})
	prove(t, "EINVAL: an item that ENDPOINT_UPDATE does not have", func(t *testing.T, w *world) {
		maker, _ := w.door()
		maker.rawRefused(syscall.EINVAL, abi.CmdEndpointUpdate, withItem((&abi.EndpointUpdate{}).Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "no endpoints are made at a custom endpoint", func(t *testing.T, w *world) {
		_, path := w.door()
		c := w.dialTo(path, root)
		if _, err := c.Do(&abi.EndpointMake{Name: "0-inner"}); !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EOPNOTSUPP) {
			t.Errorf("%v", err)
		}
	})
	prove(t, "EOPNOTSUPP: a monitor on a custom endpoint", func(t *testing.T, w *world) {
		_, path := w.door()
		w.dialTo(path, root).helloRefused(syscall.EOPNOTSUPP, monitor)
	})
	prove(t, "EPERM: nobody is privileged on a custom endpoint", func(t *testing.T, w *world) {
		_, path := w.door()
		w.dialTo(path, root).helloRefused(syscall.EPERM, activator("org.example.B"))
		w.dialTo(path, root).helloRefused(syscall.EPERM, holder("org.example.B"))
		w.dialTo(path, root).helloRefused(syscall.EPERM, func(h *abi.Hello) { h.Creds = &abi.Creds{} })
	})
}

// kdbus.policy(7), "Implicit policies": custom endpoints.
func TestPolicyOfEndpoints(t *testing.T) {
	prove(t, "the privileged are held to the endpoint's policy", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicySee)))
		a, c := w.join(alice), w.joinBy(path, root)
		b := w.join(root)
		b.owns(name)
		c.sendRefused(syscall.EPERM, toName(name, 1))
		c.refused(syscall.EPERM, &abi.NameAcquire{Name: name})
		c.sendRefused(syscall.ENXIO, a.message(1))
		b.getsNothing()
	})
	prove(t, "connections of the same user are held to it as well", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicySee)))
		w.opens(name)
		a, c := w.join(alice), w.joinBy(path, alice)
		a.owns(name)
		c.sendRefused(syscall.EPERM, toName(name, 1))
		a.getsNothing()
	})
	prove(t, "a broadcast comes in to who may talk to its sender, of the same user or not", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, user(root, abi.PolicyTalk), anybody(abi.PolicySee)))
		a, b := w.join(root), w.join(root)
		a.owns(name)
		c, d := w.joinBy(path, root), w.joinBy(path, alice)
		c.matches()
		d.matches()
		a.sends(broadcast(1))
		b.sends(broadcast(2))
		c.gets(1)
		c.getsNothing()
		d.getsNothing()
	})
	prove(t, "SEE restricts the names that are seen, and what is told of them", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicySee)))
		a, c := w.join(root), w.joinBy(path, root)
		c.watches(false)
		a.owns("org.example.B")
		a.owns(name)
		if n := c.told(abi.ItemNameAdd).Notification; n.Name != name {
			t.Errorf("%+v", n)
		}
		c.getsNothing()
		if got := c.names(); len(got) != 1 {
			t.Errorf("%v", got)
		}
		c.refused(syscall.ESRCH, &abi.ConnInfo{Name: "org.example.B"})
		if got := c.info(&abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachNames}).Metadata.Names; len(got) != 1 || got[0].Name != name {
			t.Errorf("%v", got)
		}
	})
	prove(t, "a connection is seen if one of its names is", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicySee)))
		a, b, c := w.join(root), w.join(root), w.joinBy(path, root)
		a.owns(name)
		b.owns("org.example.B")
		c.info(&abi.ConnInfo{ID: a.ID})
		c.refused(syscall.ENXIO, &abi.ConnInfo{ID: b.ID})
		ids := map[uint64]bool{}
		for _, e := range c.list(abi.ListUnique) {
			ids[e.ID] = true
		}
		if !ids[a.ID] || !ids[c.ID] || ids[b.ID] {
			t.Errorf("%v", ids)
		}
	})
	prove(t, "connections that are not seen come and go unnoticed", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicySee)))
		c := w.joinBy(path, root)
		c.watches(true)
		a, b := w.join(root), w.join(root)
		a.owns(name)
		c.told(abi.ItemNameAdd)
		b.does(&abi.ByeBye{})
		b.isGone()
		a.does(&abi.ByeBye{})
		a.isGone()
		c.told(abi.ItemNameRemove)
		if n := c.told(abi.ItemIDRemove).Notification; n.Old.ID != a.ID {
			t.Errorf("%+v", n)
		}
		c.getsNothing()
	})
	prove(t, "both endpoint and bus have to permit that a name is owned", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicyOwn)), lets("org.example.B", anybody(abi.PolicyOwn)), lets("org.example.C", anybody(abi.PolicySee)))
		w.opens(name)
		w.opens("org.example.C")
		c := w.joinBy(path, alice)
		c.owns(name)
		c.refused(syscall.EPERM, &abi.NameAcquire{Name: "org.example.B"})
		c.refused(syscall.EPERM, &abi.NameAcquire{Name: "org.example.C"})
	})
	prove(t, "both endpoint and bus have to permit that a message is sent", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicyTalk)), lets("org.example.B", anybody(abi.PolicyTalk)), lets("org.example.C", anybody(abi.PolicySee)))
		w.opens(name)
		w.opens("org.example.C")
		for _, name := range []string{name, "org.example.B", "org.example.C"} {
			w.join(root).owns(name)
		}
		c := w.joinBy(path, alice)
		c.sends(toName(name, 1))
		c.sendRefused(syscall.EPERM, toName("org.example.B", 2))
		c.sendRefused(syscall.EPERM, toName("org.example.C", 3))
	})
	prove(t, "a bus that hides a name hides it at its endpoints", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicyTalk)))
		w.join(root, holder(name))
		w.join(root).owns(name)
		if got := w.joinBy(path, alice).names(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
	prove(t, "a call that was let out is answered", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicyTalk)))
		a, c := w.join(root), w.joinBy(path, root)
		a.owns(name)
		c.sends(expecting(toName(name, 1), nativetest.Patience))
		a.sends(replyTo(a.gets(1), "answer"))
		if m := c.receives(); m.CookieReply != 1 || m.SrcID != a.ID {
			t.Errorf("%+v", m.Message)
		}
	})
	prove(t, "a call from outside is answered by who is inside, and by nothing else", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicyOwn)))
		w.opens(name)
		a, c := w.join(root), w.joinBy(path, root)
		c.owns(name)
		a.sends(expecting(toName(name, 1), nativetest.Patience))
		call := c.gets(1)
		c.sends(replyTo(call, "answer"))
		if m := a.receives(); m.CookieReply != 1 {
			t.Errorf("%+v", m.Message)
		}
		if _, err := c.Send(a.message(5)); !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENXIO) {
			t.Errorf("%v", err)
		}
		a.getsNothing()
	})
	prove(t, "a wildcard is for names with exactly one more element, of an endpoint too", func(t *testing.T, w *world) {
		_, path := w.door(lets("foo.bar.*", anybody(abi.PolicySee)))
		a := w.join(root)
		for _, name := range []string{"foo.bar", "foo.bar.baz", "foo.bar.baz.baz"} {
			a.owns(name)
		}
		if got := w.joinBy(path, root).names(); len(got) != 1 || got["foo.bar.baz"] != a.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "a signal to one connection needs TALK like every message, from inside", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicyTalk)))
		a, b, c := w.join(root), w.join(root), w.joinBy(path, root)
		a.owns(name)
		a.matches()
		b.matches()
		c.sends(a.signal(1))
		a.gets(1)
		c.sendRefused(syscall.ENXIO, b.signal(2))
		b.getsNothing()
	})
	prove(t, "who is inside may broadcast, to whom the bus permits", func(t *testing.T, w *world) {
		_, path := w.door()
		a, c := w.join(root), w.joinBy(path, root)
		a.matches()
		c.sends(broadcast(1))
		a.gets(1)
	})
}

// kdbus.endpoint(7) and the last module: whose account connections by a custom endpoint are on.
func TestAccountsOfEndpoints(t *testing.T) {
	prove(t, "connections by a custom endpoint do not count for the user, but for the endpoint", func(t *testing.T, w *world) {
		_, path := w.door()
		for range 1024 {
			w.joinBy(path, alice)
		}
		w.dialTo(path, alice).helloRefused(syscall.EMFILE)
		w.dialTo(path, bob).helloRefused(syscall.EMFILE)
		w.join(alice)
	})
	prove(t, "in a queue, too, they have a share of their own", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicyTalk)))
		w.opens(name)
		slow := w.join(root, pool(1<<20))
		slow.owns(name)
		a, c, d := w.join(alice), w.joinBy(path, alice), w.joinBy(path, bob)
		a.stuff(slow, make([]byte, 20_000))
		o := slow.message(1)
		o.Body = make([]byte, 20_000)
		c.sends(o)
		c.stuff(slow, make([]byte, 20_000))
		d.sendRefused(syscall.ENOBUFS, o)
	})
	prove(t, "messages say truly who sent them", func(t *testing.T, w *world) {
		_, path := w.door(lets(name, anybody(abi.PolicyTalk)))
		w.opens(name)
		a := w.join(root, attach(abi.AttachPIDs))
		a.owns(name)
		c := w.joinBy(path, alice)
		c.sends(toName(name, 1))
		if m := a.gets(1); m.SrcID != c.ID || m.Meta.PIDs.PID != uint64(os.Getpid()) {
			t.Errorf("%+v", m)
		}
		if got := a.info(&abi.ConnInfo{ID: c.ID, AttachFlags: abi.AttachCreds}).Metadata; got.Creds.EUID != alice {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "a maker that waits does not keep others from making endpoints", func(t *testing.T, w *world) {
		for n := range uint64(100) { // more than may arrive at a time
			w.dial(root).makes(&abi.EndpointMake{Name: "0-" + itoa(n)})
		}
		w.join(root)
	})
}
