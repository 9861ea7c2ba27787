//go:build conformance

package kdbus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// ofUser returns a bus that a user makes.
func ofUser(uid int, name string, flags ...abi.MakeFlags) *abi.BusMake {
	m := &abi.BusMake{Name: fmt.Sprintf("%d-%s", uid, name), Bloom: abi.DefaultBloom}
	for _, f := range flags {
		m.Flags |= f
	}
	return m
}

// exists checks whether there is a file.
func exists(t *testing.T, path string, want bool) {
	t.Helper()
	if _, err := os.Lstat(path); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, but it exists has to be %v", path, err, want)
	}
}

// kdbus.bus(7), "Description".
func TestBuses(t *testing.T) {
	prove(t, "what happens on one bus has no effect on others", func(t *testing.T, w *world) {
		other := &world{t: t, path: filepath.Join(w.control(root).makes(ofUser(root, "other")), "bus")}
		a, b := w.join(root), other.join(root)
		b.watches(true)
		b.matches()
		a.owns(name)
		a.sends(broadcast(1))
		w.join(root, holder("org.example.B"))
		b.sendRefused(syscall.ESRCH, toName(name, 1))
		if got := b.names(); len(got) != 0 {
			t.Errorf("%v", got)
		}
		b.getsNothing()
	})
	prove(t, "each bus counts its own connections", func(t *testing.T, w *world) {
		other := &world{t: t, path: filepath.Join(w.control(root).makes(ofUser(root, "other")), "bus")}
		if a, b := w.join(root), other.join(root); a.ID != 1 || b.ID != 1 {
			t.Errorf("ids %d and %d", a.ID, b.ID)
		}
	})
	prove(t, "a bus is a directory with the default endpoint bus", func(t *testing.T, w *world) {
		path := w.control(root).makes(ofUser(root, "mine"))
		if path != filepath.Join(w.domain, "0-mine") {
			t.Errorf("it is at %s", path)
		}
		exists(t, filepath.Join(path, "bus"), true)
	})
	prove(t, "a name that begins with the maker's uid and a dash is accepted, any other is not", func(t *testing.T, w *world) {
		c := w.control(alice)
		for _, name := range []string{"64002-foobar", "0-foobar", "foobar", "064001-foobar", "64001foobar", "-foobar", "64001-"} {
			c.refused(syscall.EINVAL, &abi.BusMake{Name: name, Bloom: abi.DefaultBloom})
		}
		c.makes(ofUser(alice, "foobar"))
	})
	prove(t, "a bus lives as long as its maker's connection, and goes with all endpoints and connections", func(t *testing.T, w *world) {
		keeper := w.control(root)
		path := keeper.makes(ofUser(root, "mine"))
		mine := &world{t: t, path: filepath.Join(path, "bus")}
		a := mine.join(root)
		door := mine.dial(root)
		endpoint := door.makes(&abi.EndpointMake{Name: "0-door"})
		b := mine.dialTo(endpoint, root)
		b.hello()
		exists(t, endpoint, true)
		keeper.Close()
		a.isGone()
		b.isGone()
		door.isGone()
		exists(t, path, false)
	})
	prove(t, "one connection makes one bus, and takes no other command", func(t *testing.T, w *world) {
		c := w.control(root)
		c.makes(ofUser(root, "mine"))
		for _, cmd := range []abi.Command{
			ofUser(root, "another"), &abi.EndpointMake{Name: "0-door"}, &abi.EndpointUpdate{}, &abi.List{}, &abi.ByeBye{},
		} {
			c.refused(syscall.EBADFD, cmd)
		}
		c.helloRefused(syscall.EBADFD)
	})
	prove(t, "each bus has a UUID of its own, of version 4 and variant DCE", func(t *testing.T, w *world) {
		other := &world{t: t, path: filepath.Join(w.control(root).makes(ofUser(root, "other")), "bus")}
		a, b := w.dial(root).hello().Reply.ID128, other.dial(root).hello().Reply.ID128
		if a == b || a[6]>>4 != 4 || a[8]>>6 != 2 || b[6]>>4 != 4 || b[8]>>6 != 2 {
			t.Errorf("%x and %x", a, b)
		}
	})
	prove(t, "the maker of a bus is privileged there", func(t *testing.T, w *world) {
		mine := &world{t: t, path: filepath.Join(w.control(alice).makes(ofUser(alice, "mine", abi.MakeAccessWorld)), "bus")}
		mine.join(alice, holder(name))
		a, b := mine.join(alice), mine.join(bob)
		a.owns(name)
		b.refused(syscall.EPERM, &abi.NameAcquire{Name: name})
		mine.dial(bob).helloRefused(syscall.EPERM, monitor)
		mine.join(alice, monitor)
		mine.join(root, monitor)
	})
}

// kdbus.bus(7), "Creating buses" and "Return value".
func TestMakingBuses(t *testing.T) {
	// open checks who can connect to the bus that alice makes with these flags. Her group has no other member than mallory.
	open := func(sentence string, flags abi.MakeFlags, toGroup, toAll bool) {
		prove(t, sentence, func(t *testing.T, w *world) {
			path := filepath.Join(w.control(alice).makes(ofUser(alice, "mine", flags)), "bus")
			admits(t, path, alice, alice, true)
			admits(t, path, mallory, alice, toGroup)
			admits(t, path, bob, bob, toAll)
			admits(t, path, root, root, true)
		})
	}
	open("without flags the bus is for its maker only", 0, false, false)
	open("ACCESS_GROUP makes the bus accessible to the maker's group", abi.MakeAccessGroup, true, false)
	open("ACCESS_WORLD makes the bus accessible to everybody", abi.MakeAccessWorld, true, true)
	prove(t, "the flags are told at HELLO, and with the creator of the bus", func(t *testing.T, w *world) {
		for name, flags := range map[string]abi.MakeFlags{"a": 0, "b": abi.MakeAccessGroup, "c": abi.MakeAccessWorld} {
			mine := &world{t: t, path: filepath.Join(w.control(root).makes(ofUser(root, name, flags)), "bus")}
			if h := mine.dial(root).hello(); h.Reply.BusFlags != flags {
				t.Errorf("%v: %v", flags, h.Reply.BusFlags)
			}
			if got := mine.join(root).info(&abi.BusCreatorInfo{}); got.Flags != uint64(flags) || got.BusName != "0-"+name {
				t.Errorf("%v: %+v", flags, got)
			}
		}
	})
	prove(t, "connections get the bloom parameters of the maker, and filters have that size", func(t *testing.T, w *world) {
		cmd := ofUser(root, "mine")
		cmd.Bloom = abi.BloomParameter{Size: 8, NHash: 1}
		mine := &world{t: t, path: filepath.Join(w.control(root).makes(cmd), "bus")}
		if h := mine.dial(root).hello(); h.Reply.Bloom != cmd.Bloom {
			t.Errorf("%+v", h.Reply.Bloom)
		}
		a, b := mine.join(root), mine.join(root)
		// The example of the manual page: kdbus.match(7).
		b.does(&abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: []byte{1, 1, 1, 1, 1, 1, 1, 1}}}})
		o := broadcast(1)
		a.sendRefused(syscall.EDOM, o)
		o.Bloom.Data = []byte{3, 3, 3, 3, 3, 3, 3, 3}
		a.sends(o)
		b.gets(1)
	})
	prove(t, "ATTACH_FLAGS_SEND is what is told of the maker, and without it nothing is", func(t *testing.T, w *world) {
		for name, kinds := range map[string]abi.AttachFlags{"a": 0, "b": abi.AttachPIDs, "c": abi.AttachPIDs | abi.AttachCreds} {
			cmd := ofUser(root, name)
			cmd.AttachFlagsSend = kinds
			mine := &world{t: t, path: filepath.Join(w.control(root).makes(cmd), "bus")}
			if got := mine.join(root).info(&abi.BusCreatorInfo{AttachFlags: abi.AttachAll}); got.Metadata.Has != kinds {
				t.Errorf("%v: %v", kinds, got.Metadata.Has)
			}
		}
	})
	prove(t, "the creator that is told is the user who made the bus", func(t *testing.T, w *world) {
		cmd := ofUser(alice, "mine", abi.MakeAccessWorld)
		cmd.AttachFlagsSend = abi.AttachCreds
		mine := &world{t: t, path: filepath.Join(w.control(alice).makes(cmd), "bus")}
		got := mine.join(bob).info(&abi.BusCreatorInfo{AttachFlags: abi.AttachCreds}).Metadata
		if got.Creds.EUID != alice || got.Creds.EGID != alice {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "BUS_MAKE that negotiates tells the valid flags and makes nothing", func(t *testing.T, w *world) {
		c := w.control(root)
		cmd := ofUser(root, "mine")
		cmd.Negotiate = abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemBloomParameter, abi.ItemFDs}}
		c.negotiates(cmd, 3, abi.ItemBloomParameter, 0)
		exists(t, filepath.Join(w.domain, "0-mine"), false)
		c.makes(ofUser(root, "mine"))
	})
	prove(t, "EBADMSG: no name", func(t *testing.T, w *world) {
		w.control(root).refused(syscall.EBADMSG, &abi.BusMake{Bloom: abi.DefaultBloom})
	})
	prove(t, "EBADMSG: no bloom parameter", func(t *testing.T, w *world) {
		b := withItem((&abi.ByeBye{}).Append(nil), abi.ItemMakeName, []byte("0-mine\x00"))
		w.control(root).rawRefused(syscall.EBADMSG, abi.CmdBusMake, b)
	})
	prove(t, "EINVAL: a flag that BUS_MAKE does not have", func(t *testing.T, w *world) {
		w.control(root).refused(syscall.EINVAL, ofUser(root, "mine", 1<<10))
	})
	prove(t, "EINVAL: an item that BUS_MAKE does not have", func(t *testing.T, w *world) {
		w.control(root).rawRefused(syscall.EINVAL, abi.CmdBusMake, withItem(ofUser(root, "mine").Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "EINVAL: a name with other characters than letters, digits, dashes and underscores", func(t *testing.T, w *world) {
		c := w.control(root)
		for _, name := range []string{"0-../x", "0-a/b", "0-blah@123", "0-blah-", "0-a b", "0-\xff", ".", ".."} {
			c.refused(syscall.EINVAL, &abi.BusMake{Name: name, Bloom: abi.DefaultBloom})
		}
	})
	prove(t, "EINVAL: bloom filters of no size, of odd size, of more than 4096 bytes, or without hash functions", func(t *testing.T, w *world) {
		c := w.control(root)
		for _, bloom := range []abi.BloomParameter{{Size: 0, NHash: 8}, {Size: 63, NHash: 8}, {Size: 4104, NHash: 8}, {Size: 64, NHash: 0}} {
			cmd := ofUser(root, "mine")
			cmd.Bloom = bloom
			c.refused(syscall.EINVAL, cmd)
		}
	})
	prove(t, "EEXIST: a bus of this name exists", func(t *testing.T, w *world) {
		w.control(root).refused(syscall.EEXIST, &abi.BusMake{Name: busName, Bloom: abi.DefaultBloom})
	})
	prove(t, "a name is free again when its bus has gone", func(t *testing.T, w *world) {
		c := w.control(root)
		c.makes(ofUser(root, "mine"))
		a := (&world{t: t, path: filepath.Join(w.domain, "0-mine", "bus")}).join(root)
		c.Close()
		a.isGone()
		w.control(root).makes(ofUser(root, "mine"))
	})
	prove(t, "EMFILE: a 17th bus of one user", func(t *testing.T, w *world) {
		for n := range 16 {
			w.control(alice).makes(ofUser(alice, fmt.Sprint(n)))
		}
		w.control(alice).refused(syscall.EMFILE, ofUser(alice, "mine"))
		w.control(bob).makes(ofUser(bob, "mine"))
	})
	prove(t, "ESHUTDOWN: the domain ends", func(t *testing.T, w *world) {
		c := w.control(root)
		w.daemon.Shutdown()
		c.isGone() // which is how a socket says so
	})
}

// admits checks whether a user with this primary group can connect to a socket.
func admits(t *testing.T, path string, uid, gid int, want bool) {
	t.Helper()
	var c *nativetest.Client
	err := become(uid, gid, func() (err error) {
		c, err = nativetest.Dial(path)
		return err
	})
	if err == nil {
		c.Close()
	}
	if (err == nil) != want || err != nil && !errors.Is(err, syscall.EACCES) {
		t.Errorf("user %d of group %d: %v", uid, gid, err)
	}
}

// kdbus.connection(7), "Return value": what HELLO has to do with buses.
func TestConnectionsOfOneUser(t *testing.T) {
	prove(t, "EMFILE: a 1025th connection of one user", func(t *testing.T, w *world) {
		for range 1024 {
			w.join(alice)
		}
		w.dial(alice).helloRefused(syscall.EMFILE)
		w.join(bob)
	})
}

// kdbus.fs(7), and kdbus(7) about domains.
func TestFileSystem(t *testing.T) {
	prove(t, "a domain has the node control, and a directory for each bus", func(t *testing.T, w *world) {
		w.control(alice).makes(ofUser(alice, "user", abi.MakeAccessWorld))
		w.dial(root).makes(&abi.EndpointMake{Name: "0-custom"})
		for _, path := range []string{
			"control", busName, busName + "/bus", busName + "/0-custom", "64001-user", "64001-user/bus", "0-system", "0-system/bus",
		} {
			exists(t, filepath.Join(w.domain, path), true)
		}
	})
	prove(t, "domains are independent of each other", func(t *testing.T, w *world) {
		other := newWorld(t) // whose bus has the same name
		a, b := w.join(root), other.join(root)
		b.watches(true)
		b.matches()
		a.owns(name)
		a.sends(broadcast(1))
		b.getsNothing()
		b.owns(name)
		if x, y := w.dial(root).hello(), other.dial(root).hello(); x.Reply.ID128 == y.Reply.ID128 {
			t.Error("the buses have one UUID")
		}
	})
	prove(t, "control takes BUS_MAKE only", func(t *testing.T, w *world) {
		c := w.control(root)
		c.helloRefused(syscall.EBADFD)
		c.refused(syscall.EBADFD, &abi.EndpointMake{Name: "0-door"})
		c.refused(syscall.EBADFD, &abi.List{})
		c.rawRefused(syscall.ENOTTY, 0x12345678, make([]byte, 24))
		c.makes(ofUser(root, "mine"))
	})
	prove(t, "an endpoint takes HELLO and ENDPOINT_MAKE only, until one of them was done", func(t *testing.T, w *world) {
		c := w.dial(root)
		c.refused(syscall.EBADFD, ofUser(root, "mine"))
		c.refused(syscall.EBADFD, &abi.EndpointUpdate{})
		c.refused(syscall.EBADFD, &abi.List{})
		c.hello()
		c.refused(syscall.EBADFD, &abi.EndpointMake{Name: "0-door"})
		c.refused(syscall.EBADFD, ofUser(root, "mine"))
	})
	prove(t, "the owner of a node decides by its mode who may connect", func(t *testing.T, w *world) {
		path := filepath.Join(w.control(alice).makes(ofUser(alice, "mine", abi.MakeAccessWorld)), "bus")
		admits(t, path, bob, bob, true)
		if err := become(alice, alice, func() error { return os.Chmod(path, 0o600) }); err != nil {
			t.Fatal(err)
		}
		admits(t, path, bob, bob, false)
		admits(t, path, alice, alice, true)
	})
	prove(t, "a domain may restrict which metadata there is", func(t *testing.T, w *world) {
		kinds := meta.KindPIDs
		masked := newDomain(t, &kinds)
		masked.path = filepath.Join(masked.control(root).makes(ofUser(root, "mine")), "bus")
		a := masked.join(root)
		if got := a.info(&abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachAll}); got.Metadata.Has != abi.AttachPIDs {
			t.Errorf("%v", got.Metadata.Has)
		}
	})
}
