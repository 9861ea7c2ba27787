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
