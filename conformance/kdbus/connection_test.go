//go:build conformance

package kdbus

import (
	"os"
	"syscall"
	"testing"

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
	prove(t, "what waits at an activator is limited like every other queue", func(t *testing.T, w *world) {
		w.join(root, activator(name), pool(1<<20))
		a := w.join(root)
		sent := uint64(0)
		for ; ; sent++ {
			o := toName(name, sent+1)
			o.Body = make([]byte, 20_000)
			if _, err := a.Send(o); err != nil {
				a.isRefused("SEND", err, syscall.ENOBUFS)
				break
			}
		}
		b := w.join(root)
		b.owns(name)
		for n := range sent {
			b.gets(n + 1)
		}
		a.sends(toName(name, 1000))
		b.gets(1000)
	})
	prove(t, "what the implementer has no space for is lost, which it is told by its count of dropped messages", func(t *testing.T, w *world) {
		w.join(root, activator(name))
		a := w.join(root)
		const sent = 60
		for n := range uint64(sent) {
			o := toName(name, n+1)
			o.Body = make([]byte, 20_000)
			a.sends(o)
		}
		b := w.join(root, pool(1<<20))
		b.owns(name)
		got, dropped := uint64(0), uint64(0)
		for got+dropped < sent {
			m := b.receives()
			dropped += m.Dropped
			if m.SrcID == a.ID {
				got++
			}
		}
		if got == 0 || dropped == 0 {
			t.Errorf("%d arrive and %d are dropped", got, dropped)
		}
	})
	prove(t, "callers whose call waits at an activator that leaves are told by REPLY_DEAD", func(t *testing.T, w *world) {
		act, a := w.join(root, activator(name)), w.join(root)
		a.sends(expecting(toName(name, 7), nativetest.Patience))
		act.Close()
		if m := a.told(abi.ItemReplyDead); m.CookieReply != 7 {
			t.Errorf("%+v", m.Message)
		}
		a.sendRefused(syscall.ESRCH, toName(name, 8))
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
	prove(t, "a monitor without ACCEPT_FD is not shown what has descriptors", func(t *testing.T, w *world) {
		m := w.join(root, func(h *abi.Hello) { h.Flags = abi.HelloMonitor })
		all := w.join(root, monitor)
		a, b := w.join(root), w.join(root)
		for _, c := range []*client{m, all} {
			c.told(abi.ItemIDAdd)
			c.told(abi.ItemIDAdd)
		}
		o := b.message(1)
		o.FDs, o.Passed = []int32{0}, []int{pipe(t)}
		a.sends(o)
		a.sends(b.message(2))
		m.gets(2)
		if got := all.gets(1); len(got.Passed) != 1 {
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
