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

// kdbus.connection(7), from its beginning to "Monitor connections".
func TestConnections(t *testing.T) {
	prove(t, "ids count from 1, one more for each connection, and are not used again", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		if a.ID != 1 || b.ID != 2 {
			t.Errorf("ids %d and %d", a.ID, b.ID)
		}
		b.does(&abi.ByeBye{})
		b.isGone()
		if c := w.join(root); c.ID != 3 {
			t.Errorf("id %d", c.ID)
		}
	})
	prove(t, "a message to an id goes to the connection with this id", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		a.sends(b.message(5))
		if m := b.gets(5); m.SrcID != a.ID || m.DstID != b.ID {
			t.Errorf("%+v", m.Message)
		}
		c.getsNothing()
	})
	prove(t, "a broadcast goes to whoever has a match for it, and to nobody else", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		b.matches()
		a.sends(broadcast(5))
		if m := b.gets(5); m.DstID != abi.DstIDBroadcast {
			t.Errorf("%+v", m.Message)
		}
		c.getsNothing()
		a.getsNothing()
	})
	prove(t, "what the bus itself says comes from id 0", func(t *testing.T, w *world) {
		a := w.join(root)
		a.matches(idRule(abi.ItemIDAdd))
		w.join(root)
		if m := a.told(abi.ItemIDAdd); m.SrcID != abi.SrcIDKernel {
			t.Errorf("%+v", m.Message)
		}
	})
	prove(t, "a message to a name goes to its owner", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		b.owns("org.example.A")
		a.sends(toName("org.example.A", 5))
		if m := b.gets(5); m.DstName != "org.example.A" {
			t.Errorf("%+v", m.Message)
		}
		c.getsNothing()
	})
	prove(t, "root and the maker of the bus are privileged, and others are not", func(t *testing.T, w *world) {
		w.join(root, monitor)
		w.dial(alice).helloRefused(syscall.EPERM, monitor)
	})
}

// kdbus.connection(7), "Activator and policy holder connection".
func TestActivatorsAndPolicyHolders(t *testing.T) {
	prove(t, "messages to an activator go to the implementer when it takes the name, in their order", func(t *testing.T, w *world) {
		w.join(root, activator("org.example.A"))
		a := w.join(root)
		for i := range uint64(5) {
			a.sends(toName("org.example.A", i+1))
		}
		b := w.join(root)
		if got := b.owns("org.example.A"); got != abi.NamePrimary|abi.NameAcquired {
			t.Errorf("return flags %v", got)
		}
		for i := range uint64(5) {
			if m := b.gets(i + 1); m.SrcID != a.ID || b.content(m) != "hello" {
				t.Errorf("%+v", m.Message)
			}
		}
	})
	prove(t, "descriptors, metadata and priorities move to the implementer with their messages", func(t *testing.T, w *world) {
		w.join(root, activator("org.example.A"), attach(abi.AttachPIDs), func(h *abi.Hello) { h.Flags |= abi.HelloAcceptFD })
		a := w.join(root)
		o := toName("org.example.A", 1)
		o.FDs, o.Passed, o.Priority = []int32{0}, []int{pipe(t)}, 7
		a.sends(o)
		o = toName("org.example.A", 2)
		o.Priority = -7
		a.sends(o)
		b := w.join(root, attach(abi.AttachPIDs))
		b.owns("org.example.A")
		b.gets(2)
		m := b.gets(1)
		if m.Meta.PIDs.PID != uint64(os.Getpid()) || len(m.Passed) != 1 {
			t.Fatalf("%+v", m)
		}
		buf := make([]byte, 4)
		if n, err := syscall.Read(m.Passed[0], buf); err != nil || string(buf[:n]) != "pipe" {
			t.Errorf("%q, %v", buf, err)
		}
	})
	prove(t, "a call to an activator is answered by the implementer", func(t *testing.T, w *world) {
		w.join(root, activator("org.example.A"))
		a := w.join(root)
		a.sends(expecting(toName("org.example.A", 1), nativetest.Patience))
		b := w.join(root)
		b.owns("org.example.A")
		b.sends(replyTo(b.gets(1), "answer"))
		if m := a.receives(); m.CookieReply != 1 || a.content(m) != "answer" {
			t.Errorf("%+v", m.Message)
		}
	})
	prove(t, "an activator cannot send", func(t *testing.T, w *world) {
		b := w.join(root)
		w.join(root, activator("org.example.A")).sendRefused(syscall.EOPNOTSUPP, b.message(1))
	})
	prove(t, "a policy holder's entries last as long as its connection", func(t *testing.T, w *world) {
		h := w.join(root, holder("org.example.A"))
		a := w.join(alice)
		a.refused(syscall.EPERM, &abi.NameAcquire{Name: "org.example.A"})
		h.does(&abi.ByeBye{})
		h.isGone()
		// It is its entries that matter: that one of the next holder permits what was not.
		w.join(root, holder("org.example.A", user(alice, abi.PolicyOwn)))
		a.owns("org.example.A")
	})
	prove(t, "a policy may be held for a name that nobody has", func(t *testing.T, w *world) {
		w.join(root, holder("org.example.A", user(alice, abi.PolicyOwn)))
		w.join(bob).refused(syscall.EPERM, &abi.NameAcquire{Name: "org.example.A"})
		w.join(alice).owns("org.example.A")
	})
	prove(t, "a policy holder cannot send, receive, own names or have matches", func(t *testing.T, w *world) {
		b := w.join(root)
		h := w.join(root, holder("org.example.A"))
		h.sendRefused(syscall.EOPNOTSUPP, b.message(1))
		h.refused(syscall.EOPNOTSUPP, &abi.NameAcquire{Name: "org.example.A"})
		h.refused(syscall.EOPNOTSUPP, &abi.NameRelease{Name: "org.example.A"})
		h.refused(syscall.EOPNOTSUPP, &abi.MatchAdd{})
		h.refused(syscall.EOPNOTSUPP, &abi.MatchRemove{})
		b.sendRefused(syscall.ENXIO, h.message(1))
	})
	prove(t, "activators and policy holders are made by the privileged only", func(t *testing.T, w *world) {
		w.dial(alice).helloRefused(syscall.EPERM, activator("org.example.A"))
		w.dial(alice).helloRefused(syscall.EPERM, holder("org.example.A"))
	})
	prove(t, "NO_AUTO_START is refused where there is an activator only, and wakes nobody", func(t *testing.T, w *world) {
		act, a := w.join(root, activator("org.example.A")), w.join(root)
		o := toName("org.example.A", 1)
		o.Message.Flags |= abi.MsgNoAutoStart
		a.sendRefused(syscall.EADDRNOTAVAIL, o)
		act.getsNothing()
		b := w.join(root)
		b.owns("org.example.A")
		a.sends(o)
		b.gets(1)
	})
	prove(t, "messages that the implementer has not read return to the activator when it leaves", func(t *testing.T, w *world) {
		w.join(root, activator("org.example.A"))
		a, b := w.join(root), w.join(root)
		b.owns("org.example.A")
		sent := uint64(0)
		for ; ; sent++ { // until b's socket is full, and its queue
			o := toName("org.example.A", sent+1)
			o.Body = make([]byte, 200_000)
			if _, err := a.Send(o); err != nil {
				break
			}
		}
		// b reads nothing before the name has changed hands.
		a.watches(false)
		release, _ := b.Request(abi.CmdNameRelease, 0, 0, (&abi.NameRelease{Name: "org.example.A"}).Append(nil)...)
		if err := b.Write(release); err != nil {
			t.Fatal(err)
		}
		a.told(abi.ItemNameChange)
		b.does(&abi.List{})
		read := uint64(0)
		for b.Pending() {
			read = b.receives().Cookie
		}
		c := w.join(root)
		c.owns("org.example.A")
		for n := read + 1; n <= sent; n++ {
			c.gets(n)
		}
		if read == 0 || read == sent {
			t.Errorf("%d of %d messages were read", read, sent)
		}
	})
	prove(t, "the activator has the name again when the implementer leaves", func(t *testing.T, w *world) {
		act, a := w.join(root, activator("org.example.A")), w.join(root)
		b := w.join(root)
		b.owns("org.example.A")
		if got := a.names()["org.example.A"]; got != b.ID && got != act.ID {
			t.Errorf("owner %d", got)
		}
		b.does(&abi.ByeBye{})
		b.isGone()
		if got := a.info(&abi.ConnInfo{Name: "org.example.A"}); got.ID != act.ID || got.Flags != uint64(abi.HelloActivator) {
			t.Errorf("%+v", got)
		}
	})
}

// kdbus.connection(7), "Monitor connections".
func TestMonitors(t *testing.T) {
	prove(t, "a monitor gets every unicast, broadcast and notification, without a match", func(t *testing.T, w *world) {
		m := w.join(root, monitor)
		a := w.join(root)
		m.told(abi.ItemIDAdd)
		b := w.join(root)
		m.told(abi.ItemIDAdd)
		a.owns("org.example.A")
		m.told(abi.ItemNameAdd)
		a.sends(b.message(1))
		if got := m.gets(1); got.SrcID != a.ID || got.DstID != b.ID || m.content(got) != "hello" {
			t.Errorf("%+v", got.Message)
		}
		a.sends(broadcast(2, 5))
		m.gets(2)
		a.sends(expecting(b.message(3), nativetest.Patience))
		m.gets(3)
		b.gets(1)
		b.sends(replyTo(b.gets(3), "answer"))
		if got := m.receives(); got.CookieReply != 3 || m.content(got) != "answer" {
			t.Errorf("%+v", got.Message)
		}
	})
	prove(t, "a monitor has a message before its receiver can react to it", func(t *testing.T, w *world) {
		m := w.join(root, monitor)
		a, b := w.join(root), w.join(root)
		m.told(abi.ItemIDAdd)
		m.told(abi.ItemIDAdd)
		for i := range uint64(50) {
			a.sends(expecting(b.message(i+1), nativetest.Patience))
			b.sends(replyTo(b.gets(i+1), "answer"))
			m.gets(i + 1)
			if got := m.receives(); got.CookieReply != i+1 {
				t.Fatalf("%+v", got.Message)
			}
		}
	})
	prove(t, "a monitor may not add matches", func(t *testing.T, w *world) {
		w.join(root, monitor).refused(syscall.EOPNOTSUPP, &abi.MatchAdd{})
	})
	prove(t, "a monitor cannot send, and cannot be sent to", func(t *testing.T, w *world) {
		m, a := w.join(root, monitor), w.join(root)
		m.sendRefused(syscall.EOPNOTSUPP, a.message(1))
		a.sendRefused(syscall.ENXIO, m.message(1))
	})
	prove(t, "a monitor owns no names, and is no activator", func(t *testing.T, w *world) {
		w.join(root, monitor).refused(syscall.EOPNOTSUPP, &abi.NameAcquire{Name: "org.example.A"})
		w.dial(root).helloRefused(syscall.EINVAL, activator("org.example.A"), monitor)
	})
	prove(t, "nobody is told that a monitor comes or goes", func(t *testing.T, w *world) {
		a := w.join(root)
		a.watches(true)
		m := w.join(root, monitor)
		a.getsNothing()
		m.does(&abi.ByeBye{})
		m.isGone()
		a.getsNothing()
	})
	prove(t, "a monitor is neither listed nor can it be asked about", func(t *testing.T, w *world) {
		m, a := w.join(root, monitor), w.join(root)
		const all = abi.ListUnique | abi.ListNames | abi.ListActivators | abi.ListQueued
		if got := a.list(all); len(got) != 1 || got[0].ID != a.ID {
			t.Errorf("%+v", got)
		}
		a.refused(syscall.ENXIO, &abi.ConnInfo{ID: m.ID})
	})
	prove(t, "monitors are made by the privileged only", func(t *testing.T, w *world) {
		w.dial(alice).helloRefused(syscall.EPERM, monitor)
	})
	prove(t, "a monitor asks about others as anybody may", func(t *testing.T, w *world) {
		m, a := w.join(root, monitor), w.join(root)
		if got := m.info(&abi.ConnInfo{ID: a.ID}); got.ID != a.ID {
			t.Errorf("%+v", got)
		}
		if got := m.list(abi.ListUnique); len(got) != 1 {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "what a monitor does not read is lost to it alone", func(t *testing.T, w *world) {
		m := w.join(root, monitor, pool(1<<20))
		a, b := w.join(root), w.join(root)
		for n := range uint64(100) {
			o := b.message(n + 1)
			o.Body = make([]byte, 50_000)
			a.sends(o)
			b.gets(n + 1)
		}
		dropped := uint64(0)
		a.sends(b.message(1000))
		for {
			got := m.receives()
			dropped += got.Dropped
			if got.Cookie == 1000 {
				break
			}
			if got.Dropped > 0 && got.Cookie == 0 {
				a.sends(b.message(1000))
			}
		}
		if dropped == 0 {
			t.Error("nothing was lost")
		}
	})
}

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

// kdbus.connection(7), "Retrieving information on a connection" and on the bus's creator.
func TestInformation(t *testing.T) {
	prove(t, "a connection is found by its id and by its name", func(t *testing.T, w *world) {
		w.opens("org.example.A")
		a, b := w.join(root), w.join(alice)
		b.owns("org.example.A")
		for _, cmd := range []*abi.ConnInfo{{ID: b.ID}, {Name: "org.example.A"}} {
			if got := a.info(cmd); got.ID != b.ID {
				t.Errorf("%+v: %+v", cmd, got)
			}
		}
	})
	prove(t, "the flags are those of HELLO", func(t *testing.T, w *world) {
		a := w.join(root)
		for flags, id := range map[abi.HelloFlags]uint64{
			0: w.join(root, noFDs).ID, abi.HelloAcceptFD: a.ID, abi.HelloActivator: w.join(root, activator("a.b")).ID,
			abi.HelloPolicyHolder: w.join(root, holder("a.b")).ID,
		} {
			if got := a.info(&abi.ConnInfo{ID: id}); got.Flags != uint64(flags) {
				t.Errorf("%v: %+v", flags, got)
			}
		}
	})
	prove(t, "it has the metadata that is asked for and permitted, as it was at HELLO", func(t *testing.T, w *world) {
		a := w.join(root, func(h *abi.Hello) { h.AttachFlagsSend = abi.AttachAll &^ abi.AttachExe })
		const asked = abi.AttachCreds | abi.AttachPIDs | abi.AttachExe | abi.AttachPIDComm
		got := w.join(alice).info(&abi.ConnInfo{ID: a.ID, AttachFlags: asked})
		if got.Metadata.Has != asked&^abi.AttachExe || got.Metadata.PIDs.PID != uint64(os.Getpid()) || got.Metadata.Creds.UID != root {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "the names that a connection owns are among its metadata", func(t *testing.T, w *world) {
		a := w.join(root)
		a.owns("org.example.A")
		a.owns("org.example.B", abi.NameAllowReplacement)
		got := a.info(&abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachNames})
		want := []abi.OwnedName{{Name: "org.example.A", Flags: abi.NamePrimary}, {Name: "org.example.B", Flags: abi.NamePrimary | abi.NameAllowReplacement}}
		if diff := cmp.Diff(want, got.Metadata.Names); diff != "" {
			t.Error(diff)
		}
	})
	prove(t, "faked credentials are what is told", func(t *testing.T, w *world) {
		a := w.join(root, func(h *abi.Hello) { h.Creds = &abi.Creds{UID: 7}; h.SecLabel = "label" })
		got := w.join(root).info(&abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachAny})
		if got.Metadata.Creds.UID != 7 || got.Metadata.SecLabel != "label" || got.Metadata.Has&abi.AttachPIDs != 0 {
			t.Errorf("%+v", got.Metadata)
		}
	})
	prove(t, "the creator of the bus is told with the name and the flags of the bus", func(t *testing.T, w *world) {
		a := w.join(alice)
		h := w.dial(alice).hello()
		got := a.info(&abi.BusCreatorInfo{AttachFlags: abi.AttachCreds})
		if got.BusName != busName || got.Flags != uint64(h.Reply.BusFlags) || got.Metadata.Creds.UID != root {
			t.Errorf("%+v", got)
		}
	})
	info := func(sentence string, want syscall.Errno, cmd abi.Command) {
		prove(t, sentence, func(t *testing.T, w *world) { w.join(root).refused(want, cmd) })
	}
	info("ESRCH: a name that nobody has", syscall.ESRCH, &abi.ConnInfo{Name: "org.example.A"})
	info("ENXIO: an id that nobody has", syscall.ENXIO, &abi.ConnInfo{ID: 1000})
	info("EINVAL: neither an id nor a name", syscall.EINVAL, &abi.ConnInfo{})
	info("EINVAL: unknown attach flags of CONN_INFO", syscall.EINVAL, &abi.ConnInfo{ID: 1, AttachFlags: 1 << 40})
	info("EINVAL: unknown attach flags of BUS_CREATOR_INFO", syscall.EINVAL, &abi.BusCreatorInfo{AttachFlags: 1 << 40})
	prove(t, "EINVAL: flags of CONN_INFO", func(t *testing.T, w *world) {
		b := (&abi.ConnInfo{ID: 1}).Append(nil)
		putFlags(b, 1)
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdConnInfo, b)
	})
	prove(t, "CONN_INFO and BUS_CREATOR_INFO that negotiate have no flags", func(t *testing.T, w *world) {
		c := w.join(root)
		probe := abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemName}}
		c.negotiates(&abi.ConnInfo{Negotiate: probe}, 0, abi.ItemName)
		c.negotiates(&abi.BusCreatorInfo{Negotiate: probe}, 0, 0)
	})
}

// kdbus.connection(7), "Updating connection details".
func TestUpdate(t *testing.T) {
	flags := func(f abi.AttachFlags) *abi.AttachFlags { return &f }
	prove(t, "what a connection lets its messages carry can be changed", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, attach(abi.AttachPIDs|abi.AttachCreds))
		a.does(&abi.Update{AttachFlagsSend: flags(abi.AttachCreds)})
		a.sends(b.message(1))
		if m := b.gets(1); m.Meta.Has != abi.AttachCreds {
			t.Errorf("%+v", m.Meta)
		}
	})
	prove(t, "what a connection wants to know can be changed", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.does(&abi.Update{AttachFlagsRecv: flags(abi.AttachPIDs)})
		a.sends(b.message(1))
		if m := b.gets(1); m.Meta.Has != abi.AttachPIDs {
			t.Errorf("%+v", m.Meta)
		}
	})
	prove(t, "a policy holder can exchange its entries", func(t *testing.T, w *world) {
		h, a := w.join(root, holder("org.example.A")), w.join(alice)
		a.refused(syscall.EPERM, &abi.NameAcquire{Name: "org.example.A"})
		h.does(&abi.Update{Policies: []abi.Policy{{Name: "org.example.A", Access: []abi.PolicyAccess{user(alice, abi.PolicyOwn)}}}})
		a.owns("org.example.A")
	})
	policies := []abi.Policy{{Name: "org.example.A", Access: []abi.PolicyAccess{anybody(abi.PolicySee)}}}
	prove(t, "EOPNOTSUPP: entries of who is no policy holder", func(t *testing.T, w *world) {
		w.join(root).refused(syscall.EOPNOTSUPP, &abi.Update{Policies: policies})
		w.join(root, activator("org.example.A")).refused(syscall.EOPNOTSUPP, &abi.Update{Policies: policies})
	})
	prove(t, "EINVAL: attach flags that there are not", func(t *testing.T, w *world) {
		w.join(root).refused(syscall.EINVAL, &abi.Update{AttachFlagsRecv: flags(1 << 40)})
	})
	prove(t, "EINVAL: flags of UPDATE", func(t *testing.T, w *world) {
		b := (&abi.Update{}).Append(nil)
		putFlags(b, 1)
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdUpdate, b)
	})
	prove(t, "EINVAL: an item that UPDATE does not have", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdUpdate, withItem((&abi.Update{}).Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "EINVAL: an entry before its name", func(t *testing.T, w *world) {
		b := withItem((&abi.Update{}).Append(nil), abi.ItemPolicyAccess, nums(3, 0, 0))
		w.join(root, holder("org.example.A")).rawRefused(syscall.EINVAL, abi.CmdUpdate, b)
	})
	prove(t, "E2BIG: two names of a policy holder", func(t *testing.T, w *world) {
		more := append(policies, abi.Policy{Name: "org.example.B"})
		w.join(root, holder("org.example.A")).refused(syscall.E2BIG, &abi.Update{Policies: more})
	})
	prove(t, "UPDATE that negotiates has no flags", func(t *testing.T, w *world) {
		w.join(root).negotiates(&abi.Update{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemAttachFlagsRecv}}}, 0, abi.ItemAttachFlagsRecv)
	})
}

// kdbus.connection(7), "Termination of connections".
func TestTermination(t *testing.T) {
	prove(t, "closing the socket ends the connection, and what it has not read is gone", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		c.watches(true)
		b.owns("org.example.A")
		c.told(abi.ItemNameAdd)
		a.sends(b.message(1))
		b.Close()
		c.told(abi.ItemNameRemove)
		if m := c.told(abi.ItemIDRemove); m.Notification.Old.ID != b.ID {
			t.Errorf("%+v", m.Notification)
		}
		a.sendRefused(syscall.ENXIO, b.message(2))
	})
	prove(t, "who has said BYEBYE is sent nothing any more", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.does(&abi.ByeBye{})
		b.isGone()
		a.sendRefused(syscall.ENXIO, b.message(1))
	})
	prove(t, "BYEBYE succeeds once all messages have left the queue", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, pool(1<<20))
		sent := a.stuff(b, make([]byte, 20_000))
		read := uint64(0)
		for {
			_, err := b.Do(&abi.ByeBye{})
			for b.Pending() {
				b.receives()
				read++
			}
			if err == nil {
				break
			}
			b.isRefused("BYEBYE", err, syscall.EBUSY)
			if t.Failed() {
				return
			}
		}
		if read != sent {
			t.Errorf("%d of %d messages arrive", read, sent)
		}
	})
	prove(t, "EINVAL: flags of BYEBYE", func(t *testing.T, w *world) {
		b := (&abi.ByeBye{}).Append(nil)
		putFlags(b, 1)
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdByeBye, b)
	})
	prove(t, "EINVAL: an item of BYEBYE", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdByeBye, withItem((&abi.ByeBye{}).Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "BYEBYE that negotiates has no flags and ends nothing", func(t *testing.T, w *world) {
		c := w.join(root)
		c.negotiates(&abi.ByeBye{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemID}}}, 0, 0)
		c.does(&abi.List{})
	})
}
