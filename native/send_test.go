package native_test

import (
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

const never = 1<<64 - 1

// filter returns a bloom filter, all of whose bits are set.
func filter(size int) abi.BloomFilter {
	f := abi.BloomFilter{Data: make([]byte, size)}
	for i := range f.Data {
		f.Data[i] = 0xff
	}
	return f
}

func TestMessagesGoBothWays(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	w.do(b, &abi.NameAcquire{Name: "org.example.B"})
	due := deadline(time.Minute)
	w.send(a, nativetest.Outgoing{
		Message: abi.Message{
			DstName: "org.example.B", Cookie: 1, Flags: abi.MsgExpectReply | abi.MsgNoAutoStart, TimeoutNS: due,
			Priority: -5, PayloadType: 77,
		},
		Body: []byte("question"),
	})
	got := w.recv(b)
	want := abi.Message{
		Flags: abi.MsgExpectReply | abi.MsgNoAutoStart, Priority: -5, SrcID: a.ID, DstName: "org.example.B", PayloadType: 77,
		Cookie: 1, TimeoutNS: due,
	}
	if diff := cmp.Diff(want, got.Message, cmpopts.IgnoreFields(abi.Message{}, "Payload"), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if w.content(got) != "question" {
		t.Error(w.content(got))
	}
	w.send(b, nativetest.Outgoing{Message: abi.Message{DstID: a.ID, Cookie: 1, CookieReply: 1}, Body: []byte("answer")})
	if m := w.recv(a); m.SrcID != b.ID || m.CookieReply != 1 || w.content(m) != "answer" {
		t.Fatalf("%+v", m)
	}
	_, err := b.Send(nativetest.Outgoing{Message: abi.Message{DstID: a.ID, Cookie: 2, CookieReply: 1}, Body: []byte("again")})
	refuses(t, "second reply", err, syscall.EBADSLT)
}

func TestSendIsJudged(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	noFDs := w.join(func(h *abi.Hello) { h.Flags = 0 })
	w.do(b, &abi.NameAcquire{Name: "org.example.B"})
	piece := func(p ...abi.Payload) []abi.Payload { return p }
	vec := func(offset, size uint64) abi.Payload {
		return abi.Payload{Type: abi.ItemPayloadVec, Offset: offset, Size: size}
	}
	for _, c := range []struct {
		name    string
		message abi.Message
		flags   abi.SendFlags
		want    syscall.Errno
	}{
		{"to an id", abi.Message{DstID: b.ID, Cookie: 1}, 0, 0},
		{"to a name", abi.Message{DstName: "org.example.B", Cookie: 1}, 0, 0},
		{"to a name and its owner", abi.Message{DstName: "org.example.B", DstID: b.ID, Cookie: 1}, 0, 0},
		{"to a name and somebody else", abi.Message{DstName: "org.example.B", DstID: a.ID, Cookie: 1}, 0, syscall.EREMCHG},
		{"to nobody", abi.Message{DstID: 100, Cookie: 1}, 0, syscall.ENXIO},
		{"to nobody's name", abi.Message{DstName: "org.example.C", Cookie: 1}, 0, syscall.ESRCH},
		{"to no name", abi.Message{DstName: "noname", Cookie: 1}, 0, syscall.EINVAL},
		{"to nothing", abi.Message{Cookie: 1}, 0, syscall.EDESTADDRREQ},
		{"from oneself", abi.Message{DstID: b.ID, SrcID: a.ID, Cookie: 1}, 0, 0},
		{"from another", abi.Message{DstID: b.ID, SrcID: b.ID, Cookie: 1}, 0, syscall.EINVAL},
		{"of the bus's type", abi.Message{DstID: b.ID, PayloadType: 0, Cookie: 1}, 0, 0}, // the client fills it in
		{"unknown flag", abi.Message{DstID: b.ID, Flags: 1 << 20, Cookie: 1}, 0, syscall.EINVAL},
		{"call", abi.Message{DstID: b.ID, Flags: abi.MsgExpectReply, TimeoutNS: never, Cookie: 100}, 0, 0},
		{"call with a cookie that waits", abi.Message{DstID: b.ID, Flags: abi.MsgExpectReply, TimeoutNS: never, Cookie: 100}, 0, syscall.EEXIST},
		{"call without timeout", abi.Message{DstID: b.ID, Flags: abi.MsgExpectReply, Cookie: 1}, 0, syscall.EINVAL},
		{"call without cookie", abi.Message{DstID: b.ID, Flags: abi.MsgExpectReply, TimeoutNS: never}, 0, syscall.EINVAL},
		{"synchronous without call", abi.Message{DstID: b.ID, Cookie: 1}, abi.SendSyncReply, syscall.EINVAL},
		{"synchronous and too late", abi.Message{DstID: b.ID, Flags: abi.MsgExpectReply, TimeoutNS: 1, Cookie: 1}, abi.SendSyncReply, syscall.ETIMEDOUT},
		{"unknown flag of SEND", abi.Message{DstID: b.ID, Cookie: 1}, 1 << 10, syscall.EINVAL},
		{"unrequested reply", abi.Message{DstID: b.ID, CookieReply: 5, Cookie: 1}, 0, syscall.EBADSLT},
		{"broadcast", abi.Message{DstID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Bloom: filter(64), Cookie: 1}, 0, 0},
		{"broadcast that is no signal", abi.Message{DstID: abi.DstIDBroadcast, Cookie: 1}, 0, syscall.EBADMSG},
		{"broadcast with timeout", abi.Message{DstID: abi.DstIDBroadcast, Flags: abi.MsgSignal | abi.MsgExpectReply, TimeoutNS: 5, Bloom: filter(64), Cookie: 1}, 0, syscall.ENOTUNIQ},
		{"broadcast with a name", abi.Message{DstID: abi.DstIDBroadcast, DstName: "org.example.B", Flags: abi.MsgSignal, Bloom: filter(64), Cookie: 1}, 0, syscall.EBADMSG},
		{"signal without filter", abi.Message{DstID: b.ID, Flags: abi.MsgSignal, Cookie: 1}, 0, syscall.EBADMSG},
		{"filter without signal", abi.Message{DstID: b.ID, Bloom: filter(64), Cookie: 1}, 0, syscall.EBADMSG},
		{"signal that expects a reply", abi.Message{DstID: b.ID, Flags: abi.MsgSignal | abi.MsgExpectReply, TimeoutNS: 5, Bloom: filter(64), Cookie: 1}, 0, syscall.ENOTUNIQ},
		{"filter of another size", abi.Message{DstID: b.ID, Flags: abi.MsgSignal, Bloom: filter(32), Cookie: 1}, 0, syscall.EDOM},
		{"filter of odd size", abi.Message{DstID: b.ID, Flags: abi.MsgSignal, Bloom: filter(63), Cookie: 1}, 0, syscall.EFAULT},
		{"zeros", abi.Message{DstID: b.ID, Cookie: 1, Payload: piece(vec(0, 100))}, 0, 0},
		{"too many zeros", abi.Message{DstID: b.ID, Cookie: 1, Payload: piece(vec(0, 2<<20+1))}, 0, syscall.EMSGSIZE},
		{"empty piece", abi.Message{DstID: b.ID, Cookie: 1, Payload: piece(vec(0, 0))}, 0, syscall.EINVAL},
		{"payload before itself", abi.Message{DstID: b.ID, Cookie: 1, Payload: piece(vec(8, 8))}, 0, syscall.EFAULT},
		{"payload beyond the frame", abi.Message{DstID: b.ID, Cookie: 1, Payload: piece(vec(96, 8))}, 0, syscall.EFAULT},
		{"payload far beyond the frame", abi.Message{DstID: b.ID, Cookie: 1, Payload: piece(vec(1<<63, 8))}, 0, syscall.EFAULT},
		{"descriptor that did not come", abi.Message{DstID: b.ID, Cookie: 1, FDs: []int32{0}}, 0, syscall.EBADF},
		{"no descriptor", abi.Message{DstID: b.ID, Cookie: 1, FDs: []int32{-1}}, 0, syscall.EBADF},
		{"memfd that did not come", abi.Message{DstID: b.ID, Cookie: 1, Payload: piece(abi.Payload{Type: abi.ItemPayloadMemfd, Size: 1})}, 0, syscall.EBADF},
		{"item of a received message", abi.Message{DstID: b.ID, Cookie: 1, Payload: piece(abi.Payload{Type: abi.ItemPayloadOff, Size: 1})}, 0, syscall.EINVAL},
		{"question in a message to be sent", abi.Message{DstID: b.ID, Cookie: 1, Negotiate: abi.Negotiation{Items: []abi.ItemType{1}}}, 0, syscall.EINVAL},
		{"message that negotiates alone", abi.Message{DstID: b.ID, Cookie: 1, Negotiate: abi.Negotiation{Probe: true}}, 0, syscall.EINVAL},
	} {
		_, err := a.Send(nativetest.Outgoing{Message: c.message, Flags: c.flags})
		refuses(t, c.name, err, c.want)
	}
	_, err := a.Raw(abi.CmdSend, append((&abi.Send{CancelFD: 0, HasCancelFD: true}).Append(nil),
		(&abi.Message{DstID: b.ID, PayloadType: 1}).Append(nil)...))
	refuses(t, "CANCEL_FD", err, syscall.EOPNOTSUPP)
	_, err = a.Raw(abi.CmdSend, append((&abi.Send{}).Append(nil), (&abi.Message{DstID: b.ID, PayloadType: abi.PayloadKernel}).Append(nil)...))
	refuses(t, "payload of the bus's type", err, syscall.EINVAL)
	_, err = a.Raw(abi.CmdSend, (&abi.Send{}).Append(nil))
	refuses(t, "no message", err, syscall.EINVAL)
	_, err = a.Raw(abi.CmdSend, append((&abi.Send{}).Append(nil), make([]byte, 64)...))
	refuses(t, "message of zeros", err, syscall.EINVAL)
	huge := (&abi.Message{DstID: b.ID, PayloadType: 1}).Append((&abi.Send{}).Append(nil))
	huge = append(huge, make([]byte, 40<<10)...)
	putU64(huge[56:], 40<<10)
	_, err = a.Raw(abi.CmdSend, huge)
	refuses(t, "message of 40 KiB", err, syscall.EMSGSIZE)
	pipe := pipeEnd(t)
	_, err = a.Send(nativetest.Outgoing{Message: abi.Message{DstID: noFDs.ID, Cookie: 1, FDs: []int32{0}}, Passed: []int{pipe}})
	refuses(t, "descriptor to one who takes none", err, syscall.ECOMM)
	_, err = a.Send(nativetest.Outgoing{Message: abi.Message{DstID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Bloom: filter(64), Cookie: 1, FDs: []int32{0}}, Passed: []int{pipe}})
	refuses(t, "broadcast with a descriptor", err, syscall.ENOTUNIQ)

	// After all that, what got through is there, and nothing else.
	for i := range 8 {
		m := w.recv(b)
		if m.SrcID != a.ID {
			t.Errorf("message %d is from %d", i, m.SrcID)
		}
		if m.Cookie == 100 {
			break
		}
	}
}

func TestPayloadIsOneStream(t *testing.T) {
	w := newWorld(t)
	for _, receiver := range []struct {
		name  string
		flags abi.AttachFlags
	}{{"without metadata", 0}, {"with metadata", abi.AttachAny}} {
		for _, size := range []int{1, 7, 8, 100, 5000, 70_000, 300_000, 2<<20 - 4200} {
			t.Run(fmt.Sprintf("%s, %d bytes", receiver.name, size), func(t *testing.T) {
				a, b := w.join(), w.join(func(h *abi.Hello) { h.AttachFlagsRecv = receiver.flags })
				// Inline, zeros, inline with a gap, memfd, inline.
				var inline []byte
				for i := range size {
					inline = append(inline, byte(i*7+i>>8))
				}
				fd, err := nativetest.Memfd([]byte("0123456789 in a memfd"))
				if err != nil {
					t.Fatal(err)
				}
				defer syscall.Close(fd)
				k := abi.Message{DstID: b.ID, Cookie: 9, PayloadType: abi.PayloadDBus, Priority: 3}
				k.Payload = []abi.Payload{
					{Type: abi.ItemPayloadVec, Size: uint64(size)}, {Type: abi.ItemPayloadVec, Size: 4000},
					{Type: abi.ItemPayloadVec, Size: 3}, {Type: abi.ItemPayloadMemfd, Offset: 10, Size: 6},
					{Type: abi.ItemPayloadVec, Size: 5},
				}
				at := uint64(k.Size())
				k.Payload[0].Offset = at
				gap := -size & 7
				k.Payload[2].Offset = at + uint64(size+gap)
				k.Payload[4].Offset = k.Payload[2].Offset + 3
				frame := append(k.Append((&abi.Send{}).Append(nil)), inline...)
				frame = append(frame, make([]byte, gap)...)
				frame = append(frame, "abcdefgh"...)
				if _, err := a.Raw(abi.CmdSend, append(frame, 0, 0, 0), fd); err != nil {
					t.Fatal(err)
				}
				m := w.recv(b)
				got, err := m.Content()
				if err != nil {
					t.Fatal(err)
				}
				want := string(inline) + string(make([]byte, 4000)) + "abc" + " in a " + "defgh"
				if string(got) != want {
					t.Errorf("%d bytes, want %d", len(got), len(want))
				}
				if m.Cookie != 9 || m.Priority != 3 || m.SrcID != a.ID || len(m.Payload) != 5 {
					t.Errorf("%+v", m.Message)
				}
				if (m.Meta.Has != 0) != (receiver.flags != 0) {
					t.Errorf("metadata %v", m.Meta.Has)
				}
			})
		}
	}
}

func TestBytesThatAreNoPayloadAreRefused(t *testing.T) {
	w := newWorld(t)
	a := w.join()
	k := abi.Message{DstID: a.ID, Cookie: 1, PayloadType: 1, Payload: []abi.Payload{{Type: abi.ItemPayloadVec, Size: 8}}}
	for name, c := range map[string]struct {
		before, after int
		want          syscall.Errno
	}{
		"exact":            {0, 0, 0},
		"a little padding": {7, 7, 0},
		"a gap before":     {8, 0, syscall.EFAULT},
		"bytes behind":     {0, 8, syscall.EFAULT},
	} {
		k.Payload[0].Offset = uint64(k.Size() + c.before)
		frame := append(k.Append((&abi.Send{}).Append(nil)), make([]byte, c.before+8+c.after)...)
		_, err := a.Raw(abi.CmdSend, frame)
		refuses(t, name, err, c.want)
	}
}

func TestMessageWithLowerPriorityNumberOvertakes(t *testing.T) {
	w := newWorld(t)
	slow, sender := w.join(), w.join()
	conn := w.bus.Conn(bus.ID(slow.ID))
	n := uint64(0)
	body := make([]byte, 60_000)
	for conn.QueueStats().Messages == 0 { // until the socket is full
		n++
		w.send(sender, nativetest.Outgoing{Message: abi.Message{DstID: slow.ID, Cookie: n}, Body: body})
	}
	first := n
	for _, priority := range []int64{5, 0, -5} {
		n++
		w.send(sender, nativetest.Outgoing{Message: abi.Message{DstID: slow.ID, Cookie: n, Priority: priority}, Body: body})
	}
	var order []uint64
	for range n {
		if m := w.recv(slow); m.Cookie >= first {
			order = append(order, m.Cookie)
		}
	}
	// What the bus has taken off the queue already may come first.
	if diff := cmp.Diff([]uint64{first, first + 3, first + 2, first + 1}, order); diff != "" {
		if diff2 := cmp.Diff([]uint64{first + 3, first, first + 2, first + 1}, order); diff2 != "" {
			t.Error(diff)
		}
	}
}

func TestDroppedSignalsAreCounted(t *testing.T) {
	w := newWorld(t)
	slow := w.join(func(h *abi.Hello) { h.PoolSize = 1 << 20 })
	sender := w.join()
	w.do(slow, &abi.MatchAdd{Cookie: 1})
	conn := w.bus.Conn(bus.ID(slow.ID))
	body := make([]byte, 50_000)
	sent := uint64(0)
	for range 5 {
		for before := conn.QueueStats().Dropped; conn.QueueStats().Dropped == before; sent++ {
			w.send(sender, nativetest.Outgoing{
				Message: abi.Message{DstID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Bloom: filter(64), Cookie: sent + 1}, Body: body,
			})
		}
	}
	dropped := conn.QueueStats().Dropped
	told, received := uint64(0), uint64(0)
	for told+received < sent {
		m := w.recv(slow)
		told += m.Dropped
		if m.SrcID == sender.ID {
			received++
		}
	}
	if told != dropped {
		t.Errorf("%d were dropped, %d were told", dropped, told)
	}
	w.send(sender, nativetest.Outgoing{Message: abi.Message{DstID: slow.ID, Cookie: 1}})
	if m := w.recv(slow); m.Dropped != 0 || m.SrcID != sender.ID {
		t.Errorf("%+v", m)
	}
}

func TestQueueOfOneWhoDoesNotReadIsLimited(t *testing.T) {
	w := newWorld(t)
	slow, sender := w.join(func(h *abi.Hello) { h.PoolSize = 1 << 20 }), w.join()
	body := make([]byte, 50_000)
	for i := uint64(1); ; i++ {
		if _, err := sender.Send(nativetest.Outgoing{Message: abi.Message{DstID: slow.ID, Cookie: i}, Body: body}); err != nil {
			refuses(t, "full queue", err, syscall.ENOBUFS)
			break
		}
	}
}

func TestClientThatDoesNotReadItsAnswersIsDisconnected(t *testing.T) {
	w := newWorld(t)
	c := w.join(func(h *abi.Hello) { h.PoolSize = 1 << 20 })
	for range 200_000 {
		b, _ := c.Request(abi.CmdList, 0, 0, (&abi.List{Flags: abi.ListUnique}).Append(nil)...)
		if err := c.Write(b); err != nil {
			return
		}
	}
	for {
		if _, err := c.ReadFrame(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
