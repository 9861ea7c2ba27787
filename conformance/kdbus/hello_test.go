//go:build conformance

package kdbus

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// kdbus.connection(7), "Creating connections".
func TestHello(t *testing.T) {
	prove(t, "return_flags is 0", func(t *testing.T, w *world) {
		c := w.dial(root)
		f := c.does(&abi.Hello{AttachFlagsSend: abi.AttachAny, PoolSize: nativetest.PoolSize})
		if f.Body[16] != 0 || string(f.Body[16:24]) != strings.Repeat("\x00", 8) {
			t.Errorf("% x", f.Body[:32])
		}
	})
	prove(t, "who has not set ACCEPT_FD is sent no descriptors", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, noFDs)
		o := b.message(1)
		o.FDs, o.Passed = []int32{0}, []int{pipe(t)}
		a.sendRefused(syscall.ECOMM, o)
	})
	prove(t, "who has set ACCEPT_FD is", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := b.message(1)
		o.FDs, o.Passed = []int32{0}, []int{pipe(t)}
		a.sends(o)
		if m := b.gets(1); len(m.Passed) != 1 {
			t.Errorf("%+v", m)
		}
	})
	prove(t, "the answer tells the flags and the UUID of the bus, the same to all", func(t *testing.T, w *world) {
		a, b := w.dial(root).hello(), w.dial(alice).hello()
		if a.Reply.ID128 != b.Reply.ID128 || a.Reply.ID128 == [16]byte{} || a.Reply.BusFlags != b.Reply.BusFlags {
			t.Errorf("%+v and %+v", a.Reply, b.Reply)
		}
	})
	prove(t, "the answer has the bloom parameters of the bus", func(t *testing.T, w *world) {
		if h := w.dial(root).hello(); h.Reply.Bloom != abi.DefaultBloom {
			t.Errorf("%+v", h.Reply)
		}
	})
	prove(t, "the description is what others are told", func(t *testing.T, w *world) {
		a := w.join(root, func(h *abi.Hello) { h.Description = "that-is-me" })
		got := w.join(root).info(&abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachConnDescription})
		if got.Metadata.Description != "that-is-me" {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "only metadata that the sender permits and the receiver asks for is attached", func(t *testing.T, w *world) {
		sender := w.join(root, func(h *abi.Hello) { h.AttachFlagsSend = abi.AttachPIDs | abi.AttachCreds })
		receiver := w.join(root, attach(abi.AttachPIDs|abi.AttachPIDComm))
		sender.sends(receiver.message(1))
		if m := receiver.gets(1); m.Meta.Has != abi.AttachPIDs || m.Meta.PIDs.PID != uint64(os.Getpid()) {
			t.Errorf("%+v", m.Meta)
		}
	})
	prove(t, "who withholds what the bus requires is refused", func(t *testing.T, w *world) {
		path := w.control(root).makes(&abi.BusMake{Name: "0-demanding", Bloom: abi.DefaultBloom, AttachFlagsRecv: abi.AttachCreds})
		c := w.dialTo(filepath.Join(path, "bus"), root)
		c.helloRefused(syscall.ECONNREFUSED, func(h *abi.Hello) { h.AttachFlagsSend = abi.AttachPIDs })
		c.hello(func(h *abi.Hello) { h.AttachFlagsSend = abi.AttachPIDs | abi.AttachCreds })
	})
	prove(t, "faked credentials change what is told, and not what is permitted", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn), user(bob, abi.PolicySee)))
		proxy := w.join(root, func(h *abi.Hello) { h.Creds = &abi.Creds{UID: bob, EUID: bob, SUID: bob, FSUID: bob} })
		b := w.join(bob)
		b.sendRefused(syscall.EPERM, proxy.message(1)) // they are not of one user
		a := w.join(alice)
		a.owns(name)
		proxy.sends(a.message(2)) // root may
		a.gets(2)
		a.sends(proxy.signal(3))
		proxy.getsNothing()
	})
	prove(t, "HELLO that negotiates tells the valid flags and does nothing", func(t *testing.T, w *world) {
		c := w.dial(root)
		probe := abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemCreds, abi.ItemFDs}}
		c.negotiates(&abi.Hello{Negotiate: probe}, 15, abi.ItemCreds, 0)
		if h := c.hello(); h.Reply.ID != 1 {
			t.Errorf("%+v", h.Reply)
		}
	})
}

// negotiates runs a command that only asks, and checks the answer.
func (c *client) negotiates(cmd abi.Command, flags uint64, items ...abi.ItemType) {
	c.t.Helper()
	f, err := c.Raw(cmd.Cmd(), cmd.Append(nil))
	if err != nil {
		c.t.Fatal(err)
	}
	b, _, err := abi.CutStruct(f.Body, cmd.Cmd().String())
	if err != nil {
		c.t.Fatal(err)
	}
	gotFlags, gotItems, err := cmd.Cmd().Negotiated(b)
	if diff := cmp.Diff(items, gotItems); err != nil || gotFlags != flags || diff != "" {
		c.t.Errorf("%v: flags %#x, %v, %s", cmd.Cmd(), gotFlags, err, diff)
	}
}

// kdbus.connection(7), "Return value": HELLO.
func TestHelloErrors(t *testing.T) {
	hello := func(sentence string, want syscall.Errno, uid int, change ...func(*abi.Hello)) {
		prove(t, sentence, func(t *testing.T, w *world) {
			c := w.dial(uid)
			c.helloRefused(want, change...)
			if c.dialled() {
				c.hello() // it is not the end
			}
		})
	}
	set := func(flags abi.HelloFlags, name string) func(*abi.Hello) {
		return func(h *abi.Hello) { h.Flags, h.Name = flags, name }
	}
	hello("EINVAL: no pool size", syscall.EINVAL, root, pool(0))
	hello("EINVAL: a pool size that is no multiple of the page size", syscall.EINVAL, root, pool(4097))
	hello("EINVAL: an unknown flag", syscall.EINVAL, root, set(1<<10, ""))
	hello("EINVAL: monitor and activator", syscall.EINVAL, root, set(abi.HelloMonitor|abi.HelloActivator, "a.b"))
	hello("EINVAL: monitor and policy holder", syscall.EINVAL, root, set(abi.HelloMonitor|abi.HelloPolicyHolder, "a.b"))
	hello("EINVAL: activator and policy holder", syscall.EINVAL, root, set(abi.HelloActivator|abi.HelloPolicyHolder, "a.b"))
	hello("EINVAL: an activator without a name", syscall.EINVAL, root, set(abi.HelloActivator, ""))
	hello("EINVAL: a policy holder without a name", syscall.EINVAL, root, set(abi.HelloPolicyHolder, ""))
	hello("EINVAL: a name for an ordinary connection", syscall.EINVAL, root, set(0, "a.b"))
	hello("EINVAL: an unknown attach flag", syscall.EINVAL, root, attach(1<<40))
	hello("EPERM: other credentials, of the unprivileged", syscall.EPERM, alice, func(h *abi.Hello) { h.Creds = &abi.Creds{} })
	hello("EPERM: other pids, of the unprivileged", syscall.EPERM, alice, func(h *abi.Hello) { h.PIDs = &abi.PIDs{PID: 1} })
	hello("EPERM: another label, of the unprivileged", syscall.EPERM, alice, func(h *abi.Hello) { h.SecLabel = "x" })
	prove(t, "EINVAL: an item that HELLO does not have", func(t *testing.T, w *world) {
		b := (&abi.Hello{AttachFlagsSend: abi.AttachAny, PoolSize: nativetest.PoolSize}).Append(nil)
		w.dial(root).rawRefused(syscall.EINVAL, abi.CmdHello, withItem(b, abi.ItemFDs, []byte{0, 0, 0, 0}))
	})
	prove(t, "EBADFD: HELLO again", func(t *testing.T, w *world) {
		w.join(root).helloRefused(syscall.EBADFD)
	})
	prove(t, "EBADFD: another command than HELLO before HELLO", func(t *testing.T, w *world) {
		w.dial(root).refused(syscall.EBADFD, &abi.List{})
	})
	prove(t, "ENOTTY: a command that there is not", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.ENOTTY, 0x40189599, make([]byte, 24))
	})
	prove(t, "EEXIST: an activator for a name that has one", func(t *testing.T, w *world) {
		w.join(root, activator("org.example.A"))
		c := w.dial(root)
		c.helloRefused(syscall.EEXIST, activator("org.example.A"))
		c.isGone()
	})
}

// dialled reports whether the client has not said HELLO yet.
func (c *client) dialled() bool { return c.ID == 0 }

// withItem appends an item to a struct.
func withItem(b []byte, kind abi.ItemType, data []byte) []byte {
	b = abi.AppendItem(b, kind, data)
	putSize(b, uint64(len(b)))
	return b
}
