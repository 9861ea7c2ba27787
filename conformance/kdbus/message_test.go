//go:build conformance

package kdbus

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
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
