//go:build conformance

package kdbus

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

const never = time.Duration(1 << 62)

// kdbus.message(7), "Message payload".
func TestPayload(t *testing.T) {
	prove(t, "a vector arrives as PAYLOAD_OFF, with an offset from the beginning of the message", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sends(b.message(1))
		m := b.gets(1)
		if len(m.Payload) != 1 || m.Payload[0].Type != abi.ItemPayloadOff || b.content(m) != "hello" {
			t.Errorf("%+v", m.Message)
		}
	})
	prove(t, "vectors and memfds are one stream, in the order of their items", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := b.message(1)
		o.Body = []byte("one ")
		o.Payload = []abi.Payload{{Type: abi.ItemPayloadMemfd, Offset: 4, Size: 4}, {Type: abi.ItemPayloadVec, Size: 2}}
		o.Passed = []int{memfd(t, "0123two 789")}
		a.sends(o)
		if got := b.content(b.gets(1)); got != "one two \x00\x00" {
			t.Errorf("%q", got)
		}
	})
	prove(t, "a memfd goes to those as well who take no descriptors", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, noFDs)
		o := b.message(1)
		o.Body, o.Payload, o.Passed = nil, []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: 5}}, []int{memfd(t, "memfd")}
		a.sends(o)
		if got := b.content(b.gets(1)); got != "memfd" {
			t.Errorf("%q", got)
		}
	})
	prove(t, "what arrives in a memfd cannot be changed by anybody", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		sent := memfd(t, "memfd")
		o := b.message(1)
		o.Body, o.Payload, o.Passed = nil, []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: 5}}, []int{sent}
		a.sends(o)
		m := b.gets(1)
		for _, fd := range []int{sent, m.Passed[0]} {
			if _, err := unix.Pwrite(fd, []byte("x"), 0); err != unix.EPERM {
				t.Errorf("a write: %v", err)
			}
			if err := unix.Ftruncate(fd, 1); err != unix.EPERM {
				t.Errorf("ftruncate: %v", err)
			}
		}
	})
	prove(t, "descriptors arrive, and lead to the same files", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := b.message(1)
		o.FDs, o.Passed = []int32{1, 0}, []int{pipe(t), pipe(t)}
		a.sends(o)
		m := b.gets(1)
		if len(m.FDs) != 2 || len(m.Passed) != 2 {
			t.Fatalf("%+v", m)
		}
		for i, fd := range m.FDs {
			var sent, got unix.Stat_t
			if unix.Fstat(o.Passed[1-i], &sent) != nil || unix.Fstat(m.Passed[fd], &got) != nil || sent.Ino != got.Ino {
				t.Errorf("descriptor %d is another file", i)
			}
		}
	})
	prove(t, "a message of 2 MiB in vectors arrives", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := b.message(1)
		o.Body = make([]byte, abi.MsgMaxPayloadVecSize)
		done := make(chan error, 1)
		go func() { _, err := a.Send(o); done <- err }()
		if got := len(b.content(b.gets(1))); got != abi.MsgMaxPayloadVecSize {
			t.Errorf("%d bytes", got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// kdbus.message(7), "Sending messages".
func TestSending(t *testing.T) {
	prove(t, "messages do not cross buses", func(t *testing.T, w *world) {
		other := newWorld(t)
		a, b := w.join(root), other.join(root)
		b.owns("org.example.B")
		b.watches(true)
		a.sendRefused(syscall.ESRCH, toName("org.example.B", 1))
		a.owns("org.example.B")
		a.sends(a.message(1))
		w.join(root)
		b.getsNothing()
	})
	prove(t, "SYNC_REPLY waits for the reply and returns it, outside of the queue", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := expecting(b.message(1), never)
		o.Flags = abi.SendSyncReply
		tag, err := a.Start(o, 0)
		if err != nil {
			t.Fatal(err)
		}
		call := b.gets(1)
		b.sends(a.message(2))
		b.sends(replyTo(call, "answer"))
		m, err := a.Reply(tag)
		if err != nil || m.CookieReply != 1 || m.SrcID != b.ID || a.content(m) != "answer" {
			t.Fatalf("%+v, %v", m, err)
		}
		a.gets(2)
		a.getsNothing()
	})
	prove(t, "other commands go on while a SYNC_REPLY waits", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := expecting(b.message(1), never)
		o.Flags = abi.SendSyncReply
		tag, err := a.Start(o, 0)
		if err != nil {
			t.Fatal(err)
		}
		a.owns("org.example.A")
		b.sends(replyTo(b.gets(1), "answer"))
		if _, err := a.Reply(tag); err != nil {
			t.Error(err)
		}
	})
	prove(t, "a call is answered by a message with its cookie, once, by who was called", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		a.sends(expecting(b.message(7), never))
		call := b.gets(7)
		if call.Message.Flags != abi.MsgExpectReply {
			t.Errorf("%+v", call.Message)
		}
		c.sendRefused(syscall.EBADSLT, replyTo(call, "of another"))
		wrong := replyTo(call, "to another call")
		wrong.CookieReply = 8
		b.sendRefused(syscall.EBADSLT, wrong)
		b.sends(replyTo(call, "answer"))
		b.sendRefused(syscall.EBADSLT, replyTo(call, "again"))
		if m := a.receives(); m.CookieReply != 7 || a.content(m) != "answer" {
			t.Errorf("%+v", m.Message)
		}
		a.getsNothing()
	})
	prove(t, "a reply is neither a broadcast nor a signal", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sends(expecting(b.message(7), never))
		b.gets(7)
		o := a.signal(1)
		o.CookieReply = 7
		b.sendRefused(syscall.EINVAL, o)
		o = broadcast(1)
		o.CookieReply = 7
		b.sendRefused(syscall.ENOTUNIQ, o)
	})
	prove(t, "a call without a reply in time ends with REPLY_TIMEOUT, and a later reply is refused", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sends(expecting(b.message(7), 30*time.Millisecond))
		call := b.gets(7)
		if m := a.told(abi.ItemReplyTimeout); m.CookieReply != 7 {
			t.Errorf("%+v", m.Message)
		}
		b.sendRefused(syscall.EBADSLT, replyTo(call, "too late"))
	})
	prove(t, "a call opens the policy for its reply, until it is answered", func(t *testing.T, w *world) {
		w.join(root, holder("org.example.A"))
		a, b := w.join(root), w.join(alice)
		a.owns("org.example.A")
		b.sendRefused(syscall.EPERM, a.message(1))
		a.sends(expecting(b.message(7), never))
		b.sends(replyTo(b.gets(7), "answer"))
		b.sendRefused(syscall.EPERM, a.message(2))
		if m := a.receives(); m.CookieReply != 7 {
			t.Errorf("%+v", m.Message)
		}
	})
	prove(t, "with an id and a name, the message is sent if that connection owns the name", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.owns("org.example.B")
		o := toName("org.example.B", 1)
		o.DstID = b.ID
		a.sends(o)
		b.gets(1)
		o.DstID = a.ID
		a.sendRefused(syscall.EREMCHG, o)
	})
	prove(t, "src_id is filled in by the bus", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sends(b.message(1))
		o := b.message(2)
		o.SrcID = a.ID
		a.sends(o)
		for n := uint64(1); n <= 2; n++ {
			if m := b.gets(n); m.SrcID != a.ID {
				t.Errorf("%+v", m.Message)
			}
		}
	})
	prove(t, "payload types, cookies, priorities and timeouts arrive as they were sent", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := expecting(b.message(12345), never)
		o.Priority = -99
		a.sends(o)
		m := b.gets(12345)
		if m.PayloadType != opaque || m.Priority != -99 || m.TimeoutNS != o.TimeoutNS {
			t.Errorf("%+v", m.Message)
		}
	})
	prove(t, "messages of one sender arrive in the order sent", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches()
		for n := uint64(1); n <= 200; n += 2 {
			a.sends(b.message(n))
			a.sends(broadcast(n + 1))
		}
		for n := uint64(1); n <= 200; n++ {
			b.gets(n)
		}
	})
	prove(t, "SEND that negotiates tells the valid flags and sends nothing", func(t *testing.T, w *world) {
		a := w.join(root)
		probe := abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemFDs}}
		a.negotiates(&abi.Send{Negotiate: probe}, 1, 0)
		message := (&abi.Message{DstID: a.ID, Negotiate: probe}).Append((&abi.Send{Negotiate: probe}).Append(nil))
		f, err := a.Raw(abi.CmdSend, message)
		if err != nil {
			t.Fatal(err)
		}
		_, answer, err := abi.CutStruct(f.Body, "SEND")
		if err != nil {
			t.Fatal(err)
		}
		flags, items, err := abi.NegotiatedMessage(answer)
		if err != nil || flags != 7 || len(items) != 1 || items[0] != abi.ItemFDs {
			t.Errorf("%#x, %v, %v", flags, items, err)
		}
		a.getsNothing()
	})
}

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

// kdbus.message(7), "Return value": SEND.
func TestSendErrors(t *testing.T) {
	// send is about a message from one to another, who has the name org.example.B.
	send := func(sentence string, want syscall.Errno, change func(o *nativetest.Outgoing, b *client)) {
		prove(t, sentence, func(t *testing.T, w *world) {
			a, b := w.join(root), w.join(root)
			b.owns("org.example.B")
			o := b.message(1)
			change(&o, b)
			a.sendRefused(want, o)
			b.getsNothing()
		})
	}
	// set changes the message only.
	set := func(sentence string, want syscall.Errno, change func(m *abi.Message)) {
		send(sentence, want, func(o *nativetest.Outgoing, b *client) { change(&o.Message) })
	}
	passing := func(sentence string, want syscall.Errno, change func(o *nativetest.Outgoing), fd func(t *testing.T) int) {
		prove(t, sentence, func(t *testing.T, w *world) {
			a, b := w.join(root), w.join(root)
			o := b.message(1)
			o.Passed = []int{fd(t)}
			change(&o)
			a.sendRefused(want, o)
			b.getsNothing()
		})
	}
	payload := func(p ...abi.Payload) func(o *nativetest.Outgoing) {
		return func(o *nativetest.Outgoing) { o.Body, o.Payload = nil, p }
	}
	inMemfd := func(o *nativetest.Outgoing) {
		payload(abi.Payload{Type: abi.ItemPayloadMemfd, Size: 5})(o)
	}

	set("EINVAL: an unknown flag of a message", syscall.EINVAL, func(m *abi.Message) { m.Flags = 1 << 20 })
	set("EINVAL: EXPECT_REPLY without a timeout", syscall.EINVAL, func(m *abi.Message) { m.Flags = abi.MsgExpectReply })
	set("EINVAL: EXPECT_REPLY without a cookie", syscall.EINVAL, func(m *abi.Message) { m.Flags, m.TimeoutNS, m.Cookie = abi.MsgExpectReply, 1<<62, 0 })
	send("EINVAL: SYNC_REPLY without EXPECT_REPLY", syscall.EINVAL, func(o *nativetest.Outgoing, _ *client) { o.Flags = abi.SendSyncReply })
	send("EINVAL: an unknown flag of SEND", syscall.EINVAL, func(o *nativetest.Outgoing, _ *client) { o.Flags = 1 << 10 })
	send("EINVAL: src_id of somebody else", syscall.EINVAL, func(o *nativetest.Outgoing, b *client) { o.SrcID = b.ID })
	set("EINVAL: a destination name that is none", syscall.EINVAL, func(m *abi.Message) { m.DstID, m.DstName = 0, "noname" })
	set("EINVAL: a signal that is a reply", syscall.EINVAL, func(m *abi.Message) { m.Flags, m.Bloom.Data, m.CookieReply = abi.MsgSignal, bitField(), 1 })
	prove(t, "EINVAL: the payload type of the bus", func(t *testing.T, w *world) {
		a := w.join(root)
		a.rawRefused(syscall.EINVAL, abi.CmdSend, (&abi.Message{DstID: a.ID, PayloadType: abi.PayloadKernel}).Append((&abi.Send{}).Append(nil)))
	})
	prove(t, "EINVAL: an item that SEND does not have", func(t *testing.T, w *world) {
		a := w.join(root)
		b := withItem((&abi.Send{}).Append(nil), abi.ItemID, make([]byte, 8))
		a.rawRefused(syscall.EINVAL, abi.CmdSend, (&abi.Message{DstID: a.ID, PayloadType: opaque}).Append(b))
	})
	message := func(w *world, kind abi.ItemType, data []byte, more ...byte) (*client, []byte) {
		a := w.join(root)
		m := withItem((&abi.Message{DstID: a.ID, PayloadType: opaque}).Append(nil), kind, data)
		return a, append(append((&abi.Send{}).Append(nil), m...), more...)
	}
	prove(t, "EINVAL: an item that a message does not have", func(t *testing.T, w *world) {
		a, b := message(w, abi.ItemPayloadOff, make([]byte, 16))
		a.rawRefused(syscall.EINVAL, abi.CmdSend, b)
	})
	prove(t, "EINVAL: a destination name without its NUL", func(t *testing.T, w *world) {
		a, b := message(w, abi.ItemDstName, []byte("org.example"))
		a.rawRefused(syscall.EINVAL, abi.CmdSend, b)
	})
	prove(t, "EINVAL: an item of the wrong size", func(t *testing.T, w *world) {
		a, b := message(w, abi.ItemPayloadVec, make([]byte, 8))
		a.rawRefused(syscall.EINVAL, abi.CmdSend, b)
	})
	passing("EINVAL: nothing of a memfd", syscall.EINVAL, payload(abi.Payload{Type: abi.ItemPayloadMemfd}), func(t *testing.T) int { return memfd(t, "memfd") })

	set("ENOTUNIQ: a broadcast that expects a reply", syscall.ENOTUNIQ, func(m *abi.Message) {
		m.DstID, m.Flags, m.TimeoutNS, m.Bloom.Data = abi.DstIDBroadcast, abi.MsgSignal|abi.MsgExpectReply, 5, bitField()
	})
	set("ENOTUNIQ: a signal that expects a reply", syscall.ENOTUNIQ, func(m *abi.Message) {
		m.Flags, m.TimeoutNS, m.Bloom.Data = abi.MsgSignal|abi.MsgExpectReply, 5, bitField()
	})
	set("ENOTUNIQ: a broadcast with a timeout", syscall.ENOTUNIQ, func(m *abi.Message) {
		m.DstID, m.Flags, m.CookieReply, m.Bloom.Data = abi.DstIDBroadcast, abi.MsgSignal, 5, bitField() // the same field
	})
	passing("ENOTUNIQ: a broadcast with descriptors", syscall.ENOTUNIQ, func(o *nativetest.Outgoing) {
		o.DstID, o.Message.Flags, o.Bloom.Data, o.FDs = abi.DstIDBroadcast, abi.MsgSignal, bitField(), []int32{0}
	}, pipe)

	prove(t, "E2BIG: a 17th memfd", func(t *testing.T, w *world) {
		a := w.join(root)
		o := a.message(1)
		o.Body = nil
		for i := range int32(17) {
			o.Passed = append(o.Passed, memfd(t, "memfd"))
			o.Payload = append(o.Payload, abi.Payload{Type: abi.ItemPayloadMemfd, FD: i, Size: 5})
		}
		a.sendRefused(syscall.E2BIG, o)
	})
	prove(t, "EMSGSIZE: message and items of more than 32 KiB", func(t *testing.T, w *world) {
		a := w.join(root)
		b := (&abi.Message{DstID: a.ID, PayloadType: opaque}).Append(nil)
		b = append(b, make([]byte, 40<<10)...)
		putSize(b, uint64(len(b)))
		a.rawRefused(syscall.EMSGSIZE, abi.CmdSend, append((&abi.Send{}).Append(nil), b...))
	})
	prove(t, "EMSGSIZE: more than 2 MiB in vectors", func(t *testing.T, w *world) {
		a := w.join(root)
		o := a.message(1)
		o.Body, o.Payload = nil, []abi.Payload{{Type: abi.ItemPayloadVec, Size: 2<<20 + 1}}
		a.sendRefused(syscall.EMSGSIZE, o)
	})
	passing("EMSGSIZE: a range of a memfd beyond all numbers", syscall.EMSGSIZE,
		payload(abi.Payload{Type: abi.ItemPayloadMemfd, Offset: 1<<64 - 1, Size: 2}), func(t *testing.T) int { return memfd(t, "memfd") })

	twice := func(sentence string, kind abi.ItemType, data []byte, flags abi.MsgFlags) {
		prove(t, sentence, func(t *testing.T, w *world) {
			a := w.join(root)
			m := (&abi.Message{DstID: a.ID, PayloadType: opaque, Flags: flags}).Append(nil)
			m = withItem(withItem(m, kind, data), kind, data)
			a.rawRefused(syscall.EEXIST, abi.CmdSend, append((&abi.Send{}).Append(nil), m...))
		})
	}
	twice("EEXIST: FDS twice", abi.ItemFDs, nil, 0)
	twice("EEXIST: BLOOM_FILTER twice", abi.ItemBloomFilter, make([]byte, 8+64), abi.MsgSignal)
	twice("EEXIST: DST_NAME twice", abi.ItemDstName, []byte("a.b\x00"), 0)
	prove(t, "EEXIST: the cookie of a call that waits", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sends(expecting(b.message(1), never))
		a.sendRefused(syscall.EEXIST, expecting(b.message(1), never))
	})

	set("EBADF: a descriptor that there is not", syscall.EBADF, func(m *abi.Message) { m.FDs = []int32{0} })
	set("EBADF: a descriptor of -1", syscall.EBADF, func(m *abi.Message) { m.FDs = []int32{-1} })
	send("EBADF: a memfd that there is not", syscall.EBADF, func(o *nativetest.Outgoing, _ *client) { inMemfd(o) })
	passing("EMEDIUMTYPE: a pipe as a memfd", syscall.EMEDIUMTYPE, inMemfd, pipe)
	prove(t, "EMFILE: more than 253 descriptors", func(t *testing.T, w *world) {
		a := w.join(root)
		o := a.message(1)
		o.FDs = make([]int32, 254)
		a.sendRefused(syscall.EMFILE, o)
	})
	prove(t, "EMFILE: a 17th descriptor of one user in a queue", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		fd := pipe(t)
		o := b.message(1)
		for i := range int32(17) {
			o.FDs, o.Passed = append(o.FDs, i), append(o.Passed, fd)
		}
		a.sendRefused(syscall.EMFILE, o)
		o.FDs, o.Passed = o.FDs[:16], o.Passed[:16]
		a.sends(o)
		b.gets(1)
	})

	set("EBADMSG: a broadcast that is no signal", syscall.EBADMSG, func(m *abi.Message) { m.DstID = abi.DstIDBroadcast })
	set("EBADMSG: a broadcast with a name", syscall.EBADMSG, func(m *abi.Message) {
		m.DstID, m.DstName, m.Flags, m.Bloom.Data = abi.DstIDBroadcast, "org.example.B", abi.MsgSignal, bitField()
	})
	set("EBADMSG: a signal without a filter", syscall.EBADMSG, func(m *abi.Message) { m.Flags = abi.MsgSignal })
	set("EBADMSG: a filter without a signal", syscall.EBADMSG, func(m *abi.Message) { m.Bloom.Data = bitField() })
	passing("ETXTBSY: a memfd without seals", syscall.ETXTBSY, inMemfd, func(t *testing.T) int {
		fd, err := unix.MemfdCreate("conformance", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		unix.Write(fd, []byte("memfd"))
		return fd
	})
	prove(t, "ECOMM: descriptors to who does not take them", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, noFDs)
		o := b.message(1)
		o.FDs, o.Passed = []int32{0}, []int{pipe(t)}
		a.sendRefused(syscall.ECOMM, o)
	})
	set("EFAULT: a filter whose size is no multiple of 8", syscall.EFAULT, func(m *abi.Message) { m.Flags, m.Bloom.Data = abi.MsgSignal, make([]byte, 63) })
	set("EFAULT: payload that is not in the frame", syscall.EFAULT, func(m *abi.Message) {
		m.Payload = []abi.Payload{{Type: abi.ItemPayloadVec, Offset: 1 << 40, Size: 8}}
	})
	set("EDOM: a filter of another size than the bus's", syscall.EDOM, func(m *abi.Message) { m.Flags, m.Bloom.Data = abi.MsgSignal, make([]byte, 32) })
	set("EDESTADDRREQ: neither an id nor a name", syscall.EDESTADDRREQ, func(m *abi.Message) { m.DstID = 0 })
	set("ESRCH: a name that nobody has", syscall.ESRCH, func(m *abi.Message) { m.DstID, m.DstName = 0, "org.example.C" })
	set("ENXIO: an id that nobody has", syscall.ENXIO, func(m *abi.Message) { m.DstID = 1000 })
	set("EREMCHG: an id and a name that it does not own", syscall.EREMCHG, func(m *abi.Message) { m.DstID, m.DstName = 1, "org.example.B" })
	prove(t, "EADDRNOTAVAIL: NO_AUTO_START to an activator", func(t *testing.T, w *world) {
		w.join(root, activator("org.example.A"))
		o := toName("org.example.A", 1)
		o.Message.Flags = abi.MsgNoAutoStart
		w.join(root).sendRefused(syscall.EADDRNOTAVAIL, o)
	})
	prove(t, "EOPNOTSUPP: activators, policy holders and monitors do not send", func(t *testing.T, w *world) {
		a := w.join(root)
		for _, c := range []*client{w.join(root, activator("a.b")), w.join(root, holder("a.c")), w.join(root, monitor)} {
			c.sendRefused(syscall.EOPNOTSUPP, a.message(1))
		}
	})
	prove(t, "EOPNOTSUPP: CANCEL_FD", func(t *testing.T, w *world) {
		a := w.join(root)
		b := (&abi.Send{CancelFD: 0, HasCancelFD: true}).Append(nil)
		a.rawRefused(syscall.EOPNOTSUPP, abi.CmdSend, (&abi.Message{DstID: a.ID, PayloadType: opaque}).Append(b))
	})
	synchronous := func(c *client, timeout time.Duration) nativetest.Outgoing {
		o := expecting(c.message(1), timeout)
		o.Flags = abi.SendSyncReply
		return o
	}
	prove(t, "ETIMEDOUT: no reply in time to SYNC_REPLY", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sendRefused(syscall.ETIMEDOUT, synchronous(b, 30*time.Millisecond))
		b.gets(1)
	})
	prove(t, "ETIMEDOUT: a timeout that has passed already", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := synchronous(b, 0)
		o.TimeoutNS = 1
		a.sendRefused(syscall.ETIMEDOUT, o)
		b.getsNothing()
	})
	prove(t, "EPIPE: the callee goes before it answers SYNC_REPLY", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		tag, err := a.Start(synchronous(b, never), 0)
		if err != nil {
			t.Fatal(err)
		}
		b.gets(1)
		b.Close()
		_, err = a.Answer(tag)
		a.isRefused("SEND", err, syscall.EPIPE)
	})
	prove(t, "ECANCELED: CANCEL of a SYNC_REPLY", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		tag, err := a.Start(synchronous(b, never), 0)
		if err != nil {
			t.Fatal(err)
		}
		call := b.gets(1)
		a.does(&abi.Cancel{Tag: tag})
		_, err = a.Answer(tag)
		a.isRefused("SEND", err, syscall.ECANCELED)
		b.sendRefused(syscall.EBADSLT, replyTo(call, "too late"))
	})
	prove(t, "ENOBUFS: the receiver's queue is full", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, pool(1<<20))
		a.stuff(b, make([]byte, 20_000))
	})
	prove(t, "ENOBUFS: 256 messages of one user wait", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		if taken := a.stuff(b, make([]byte, 5000)); taken < 256 {
			t.Errorf("%d were taken", taken)
		}
	})
	prove(t, "EMLINK: a 129th call that waits for its reply", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		for n := range uint64(128) {
			a.sends(expecting(b.message(n+1), never))
		}
		a.sendRefused(syscall.EMLINK, expecting(b.message(1000), never))
		a.sends(b.message(1001))
	})
	prove(t, "EPERM: no TALK", func(t *testing.T, w *world) {
		w.join(root, holder("org.example.B", anybody(abi.PolicySee)))
		b := w.join(root)
		b.owns("org.example.B")
		w.join(alice).sendRefused(syscall.EPERM, toName("org.example.B", 1))
	})
	prove(t, "EOPNOTSUPP: RECV and FREE, which sockets do not need", func(t *testing.T, w *world) {
		a := w.join(root)
		a.rawRefused(syscall.EOPNOTSUPP, abi.CmdFree, (&abi.Free{}).Append(nil))
		request, tag := a.Request(abi.CmdRecv, 0, 0, (&abi.Recv{}).Append(nil)...)
		if err := a.Write(request); err != nil {
			t.Fatal(err)
		}
		// It has the command of a message that arrives, and is told from one by its errno.
		if f, err := a.ReadFrame(); err != nil || f.Tag != tag || f.Code != uint32(syscall.EOPNOTSUPP) {
			t.Errorf("%+v, %v", f, err)
		}
	})
}

// kdbus.message(7): a file that is no memfd, and is not of tmpfs, as payload.
func TestFilesAreNoMemfds(t *testing.T) {
	prove(t, "EMEDIUMTYPE or ETXTBSY: a file as a memfd", func(t *testing.T, w *world) {
		file, err := os.Create(filepath.Join(filepath.Dir(w.path), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		file.WriteString(strings.Repeat("x", 100))
		a := w.join(root)
		o := a.message(1)
		o.Body, o.Payload, o.Passed = nil, []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: 5}}, []int{int(file.Fd())}
		if _, err := a.Send(o); err == nil {
			t.Error("it is taken")
		}
	})
}
