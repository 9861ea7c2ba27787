//go:build conformance

package kdbus

import (
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/abi"
)

// kdbus.message(7), "Receiving messages".
func TestReceiving(t *testing.T) {
	prove(t, "messages with a lower priority number overtake those that wait", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		n := a.fillSocket(b)
		for _, priority := range []int64{5, 0, -5} {
			n++
			o := b.message(n)
			o.Priority = priority
			a.sends(o)
		}
		var last []uint64
		for range n {
			last = append(last, b.receives().Cookie)
		}
		at := func(cookie uint64) int {
			for i, c := range last {
				if c == cookie {
					return i
				}
			}
			return -1
		}
		if !(at(n) < at(n-1) && at(n-1) < at(n-2)) {
			t.Errorf("the order is %v", last)
		}
	})
	prove(t, "signals that find no space are dropped, counted, and told once", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, pool(1<<20))
		b.matches()
		const sent = 100
		for n := range uint64(sent) {
			o := broadcast(n + 1)
			o.Body = make([]byte, 50_000)
			a.sends(o)
		}
		dropped, received := uint64(0), uint64(0)
		for dropped+received < sent {
			m := b.receives()
			dropped += m.Dropped
			if m.SrcID == a.ID {
				received++
			}
		}
		a.sends(b.message(1000))
		if m := b.gets(1000); dropped == 0 || m.Dropped != 0 {
			t.Errorf("%d were dropped, and then %d", dropped, m.Dropped)
		}
	})
	prove(t, "a signal with descriptors to who takes none is dropped and counted", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, noFDs)
		b.matches()
		o := b.signal(1)
		o.FDs, o.Passed = []int32{0}, []int{pipe(t)}
		a.sends(o)
		if m := b.receives(); m.Dropped != 1 {
			t.Errorf("%+v", m)
		}
	})
	prove(t, "a queue has space for each user", func(t *testing.T, w *world) {
		w.opens(name)
		slow := w.join(root, pool(1<<20))
		slow.owns(name)
		a, b := w.join(alice), w.join(bob)
		a.stuff(slow, make([]byte, 20_000))
		o := slow.message(1)
		o.Body = make([]byte, 20_000)
		b.sends(o)
	})
	prove(t, "many connections of one user have one share of a queue", func(t *testing.T, w *world) {
		w.opens(name)
		slow := w.join(root, pool(1<<20))
		slow.owns(name)
		a, b := w.join(alice), w.join(alice)
		a.stuff(slow, make([]byte, 20_000))
		o := slow.message(1)
		o.Body = make([]byte, 20_000)
		b.sendRefused(syscall.ENOBUFS, o)
	})
}

// fillSocket sends messages to one who does not read until some have to wait in the bus, and returns how many.
func (c *client) fillSocket(slow *client) (n uint64) {
	c.t.Helper()
	for range 40 { // more than a socket takes, less than a queue does
		n++
		o := slow.message(n)
		o.Body = make([]byte, 50_000)
		c.sends(o)
	}
	return n
}

// kdbus.message(7), "Notifications".
func TestNotifications(t *testing.T) {
	prove(t, "a notification is a signal of the bus to all, with one item and no payload, and a timestamp for who asks", func(t *testing.T, w *world) {
		a := w.join(root, attach(abi.AttachAll))
		a.watches(true)
		w.join(root)
		m := a.told(abi.ItemIDAdd)
		if m.SrcID != abi.SrcIDKernel || m.DstID != abi.DstIDBroadcast || m.PayloadType != abi.PayloadKernel ||
			m.Message.Flags != abi.MsgSignal || m.Payload != nil || m.Meta.Has != abi.AttachTimestamp || m.Meta.Timestamp.MonotonicNS == 0 {
			t.Errorf("%+v", m)
		}
	})
	prove(t, "REPLY_DEAD tells the caller that the callee has gone without answering", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sends(expecting(b.message(7), never))
		b.gets(7)
		b.Close()
		if m := a.told(abi.ItemReplyDead); m.CookieReply != 7 || m.SrcID != abi.SrcIDKernel || m.DstID != a.ID || m.PayloadType != abi.PayloadKernel {
			t.Errorf("%+v", m.Message)
		}
	})
	prove(t, "REPLY_TIMEOUT tells the caller that no reply came in time", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sends(expecting(b.message(7), time.Millisecond))
		if m := a.told(abi.ItemReplyTimeout); m.CookieReply != 7 || m.SrcID != abi.SrcIDKernel || m.DstID != a.ID || m.PayloadType != abi.PayloadKernel {
			t.Errorf("%+v", m.Message)
		}
	})
	prove(t, "ID_ADD and ID_REMOVE tell of ordinary connections, activators and policy holders", func(t *testing.T, w *world) {
		a := w.join(root)
		a.watches(true)
		for _, kind := range []func(*abi.Hello){noFDs, holder("a.b")} {
			c := w.join(root, kind)
			if m := a.told(abi.ItemIDAdd); m.Notification.New.ID != c.ID {
				t.Errorf("%+v", m.Notification)
			}
			c.does(&abi.ByeBye{})
			if m := a.told(abi.ItemIDRemove); m.Notification.Old.ID != c.ID {
				t.Errorf("%+v", m.Notification)
			}
		}
		c := w.join(root, activator("a.b"))
		if m := a.told(abi.ItemIDAdd); m.Notification.New.ID != c.ID || m.Notification.New.Flags != uint64(abi.HelloActivator) {
			t.Errorf("%+v", m.Notification)
		}
	})
	prove(t, "NAME_ADD, NAME_CHANGE and NAME_REMOVE tell of owners, with the flags of both", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		c.watches(false)
		a.owns("org.example.A", abi.NameAllowReplacement)
		const primary, replaceable = uint64(abi.NamePrimary), uint64(abi.NamePrimary | abi.NameAllowReplacement)
		if got, want := c.told(abi.ItemNameAdd).Notification, (abi.Notification{
			Type: abi.ItemNameAdd, Name: "org.example.A", New: abi.Party{ID: a.ID, Flags: replaceable},
		}); got != want {
			t.Errorf("%+v", got)
		}
		b.owns("org.example.A", abi.NameReplaceExisting)
		if got, want := c.told(abi.ItemNameChange).Notification, (abi.Notification{
			Type: abi.ItemNameChange, Name: "org.example.A", Old: abi.Party{ID: a.ID, Flags: replaceable}, New: abi.Party{ID: b.ID, Flags: primary},
		}); got != want {
			t.Errorf("%+v", got)
		}
		b.does(&abi.NameRelease{Name: "org.example.A"})
		if got, want := c.told(abi.ItemNameRemove).Notification, (abi.Notification{
			Type: abi.ItemNameRemove, Name: "org.example.A", Old: abi.Party{ID: b.ID, Flags: primary},
		}); got != want {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "activators that get and lose their name are told of as owners", func(t *testing.T, w *world) {
		c := w.join(root)
		c.watches(false)
		act := w.join(root, activator("org.example.A"))
		if n := c.told(abi.ItemNameAdd).Notification; n.New.ID != act.ID || n.New.Flags&uint64(abi.NameActivator) == 0 {
			t.Errorf("%+v", n)
		}
		a := w.join(root)
		a.owns("org.example.A")
		if n := c.told(abi.ItemNameChange).Notification; n.Old.ID != act.ID || n.New.ID != a.ID {
			t.Errorf("%+v", n)
		}
		a.does(&abi.NameRelease{Name: "org.example.A"})
		if n := c.told(abi.ItemNameChange).Notification; n.Old.ID != a.ID || n.New.ID != act.ID {
			t.Errorf("%+v", n)
		}
	})
}
