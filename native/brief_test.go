package native_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// joinBriefly connects a client that takes brief frames.
func (w *world) joinBriefly(change ...func(*abi.Hello)) *nativetest.Client {
	w.t.Helper()
	c := w.dial()
	c.Brief = true
	h := abi.Hello{Flags: abi.HelloAcceptFD}
	for _, f := range change {
		f(&h)
	}
	if err := c.Hello(h); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// dbusMessage returns a D-Bus message with an argument.
func dbusMessage(t testing.TB, h wire.Header) []byte {
	t.Helper()
	h.Order = wire.LittleEndian
	m := wire.Message{Header: h}
	if err := m.SetBody("argument"); err != nil {
		t.Fatal(err)
	}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func callMessage(t testing.TB, serial uint32) []byte {
	return dbusMessage(t, wire.Header{Type: wire.TypeMethodCall, Serial: serial, Path: "/", Member: "Call"})
}

func replyMessage(t testing.TB, serial, to uint32) []byte {
	return dbusMessage(t, wire.Header{Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Serial: serial, ReplySerial: to})
}

func signalMessage(t testing.TB, serial uint32) []byte {
	return dbusMessage(t, wire.Header{Type: wire.TypeSignal, Flags: wire.NoReplyExpected, Serial: serial,
		Path: "/a", Interface: "com.example.Brief", Member: "Happened"})
}

// Whoever sends and receives in which way, it is the same message.
func TestBriefFramesAndOthersAreTheSameMessages(t *testing.T) {
	for _, briefSender := range []bool{true, false} {
		for _, briefReceiver := range []bool{true, false} {
			t.Run(fmt.Sprintf("brief sender %v, brief receiver %v", briefSender, briefReceiver), func(t *testing.T) {
				w := newWorld(t)
				join := func(brief bool) *nativetest.Client {
					if brief {
						return w.joinBriefly()
					}
					return w.join()
				}
				from, to := join(briefSender), join(briefReceiver)
				send := func(c *nativetest.Client, brief bool, h abi.Brief, message []byte, m abi.Message) {
					t.Helper()
					if brief {
						if err := c.SendBrief(h, message); err != nil {
							t.Fatal(err)
						}
						return
					}
					m.Flags, m.DstID, m.CookieReply = h.Flags, h.ID, uint64(h.CookieReply)
					serial, _ := abi.Serial(message)
					m.Cookie = uint64(serial)
					w.send(c, nativetest.Outgoing{Message: m, Body: message})
				}
				check := func(c *nativetest.Client, want abi.Message, content []byte, brief bool) {
					t.Helper()
					m, err := c.Recv()
					if err != nil {
						t.Fatal(err)
					}
					got, err := m.Content()
					if err != nil || string(got) != string(content) {
						t.Errorf("payload is %q, want %q, %v", got, content, err)
					}
					if m.SrcID != want.SrcID || m.Flags != want.Flags || m.Cookie != want.Cookie || m.CookieReply != want.CookieReply {
						t.Errorf("message is %+v, want %+v", m.Message, want)
					}
					if m.InBrief != brief {
						t.Errorf("it came in a brief frame: %v", m.InBrief)
					}
				}

				call := callMessage(t, 5)
				send(from, briefSender, abi.Brief{ID: to.ID, Flags: abi.MsgExpectReply}, call, abi.Message{TimeoutNS: never})
				check(to, abi.Message{SrcID: from.ID, Flags: abi.MsgExpectReply, Cookie: 5}, call, briefReceiver)

				reply := replyMessage(t, 6, 5)
				send(to, briefReceiver, abi.Brief{ID: from.ID, CookieReply: 5}, reply, abi.Message{})
				check(from, abi.Message{SrcID: to.ID, Cookie: 6, CookieReply: 5}, reply, briefSender)

				// The subscriber's filter has bits of the signal's interface only.
				bloom, err := abi.NewBloom(to.Bloom)
				if err != nil {
					t.Fatal(err)
				}
				bloom.Add("interface", "com.example.Brief")
				w.do(to, &abi.MatchAdd{Cookie: 1, Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: bloom.Data}}})
				signal := signalMessage(t, 7)
				send(from, briefSender, abi.Brief{ID: abi.DstIDBroadcast, Flags: abi.MsgSignal}, signal, abi.Message{Bloom: abi.BloomFilter{Data: bloom.Data}})
				check(to, abi.Message{SrcID: from.ID, Flags: abi.MsgSignal, Cookie: 7}, signal, briefReceiver)
			})
		}
	}
}

func TestBriefBroadcastBringsItsBloomFilter(t *testing.T) {
	w := newWorld(t)
	from, to := w.join(), w.joinBriefly()
	// Bits that the bus would not set for this signal: what counts is the filter that came with it.
	filter := bytes.Repeat([]byte{0xa5}, int(to.Bloom.Size))
	w.do(to, &abi.MatchAdd{Cookie: 1, Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: filter}}})
	for serial, filter := range [][]byte{nil, make([]byte, len(filter)), filter} {
		message := signalMessage(t, uint32(7+serial))
		h := abi.Brief{ID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Filter: uint32(len(filter))}
		if err := from.SendBrief(h, append(message, filter...)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := to.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Content(); err != nil || !bytes.Equal(got, signalMessage(t, 9)) || !m.InBrief {
		t.Errorf("%q came, %v; want the signal 9, without its filter", got, err)
	}
}

// What a brief frame cannot say is said with all there is.
func TestWhatIsNotSaidInBrief(t *testing.T) {
	w := newWorld(t)
	from := w.join()
	w.do(from, &abi.NameAcquire{Name: "com.example.From"})
	named := w.joinBriefly()
	w.do(named, &abi.NameAcquire{Name: "com.example.Named"})
	curious := w.joinBriefly(func(h *abi.Hello) { h.AttachFlagsRecv = abi.AttachNames })
	message := callMessage(t, 9)
	for _, test := range []struct {
		name string
		to   *nativetest.Client
		o    nativetest.Outgoing
	}{
		{"a priority", named, nativetest.Outgoing{Message: abi.Message{DstID: named.ID, Cookie: 9, Priority: 3}, Body: message}},
		{"a cookie that is not the serial", named, nativetest.Outgoing{Message: abi.Message{DstID: named.ID, Cookie: 10}, Body: message}},
		{"a payload of another type", named, nativetest.Outgoing{Message: abi.Message{DstID: named.ID, Cookie: 9, PayloadType: 77}, Body: message}},
		{"no D-Bus message", named, nativetest.Outgoing{Message: abi.Message{DstID: named.ID, Cookie: 9}, Body: []byte("just some bytes, and some more")}},
		{"a name", named, nativetest.Outgoing{Message: abi.Message{DstName: "com.example.Named", Cookie: 9}, Body: message}},
		{"metadata", curious, nativetest.Outgoing{Message: abi.Message{DstID: curious.ID, Cookie: 9}, Body: message}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.send(from, test.o)
			m, err := test.to.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.InBrief || m.Cookie != test.o.Cookie || m.Priority != test.o.Priority || m.DstName != test.o.DstName {
				t.Errorf("%+v came, in brief: %v", m.Message, m.InBrief)
			}
		})
	}
}

func TestBriefFramesAreJudged(t *testing.T) {
	w := newWorld(t)
	c, other := w.join(), w.join()
	call := callMessage(t, 5)
	for _, test := range []struct {
		name    string
		h       abi.Brief
		message []byte
		want    syscall.Errno
	}{
		{"unknown flags", abi.Brief{ID: other.ID, Flags: 1 << 20}, call, syscall.EINVAL},
		{"nobody", abi.Brief{ID: 4711}, call, syscall.ENXIO},
		{"a name", abi.Brief{}, call, syscall.EDESTADDRREQ},
		{"a broadcast that is no signal", abi.Brief{ID: abi.DstIDBroadcast}, call, syscall.EBADMSG},
		{"a signal that wants a reply", abi.Brief{ID: other.ID, Flags: abi.MsgSignal | abi.MsgExpectReply}, call, syscall.ENOTUNIQ},
		{"an answer that wants a reply", abi.Brief{ID: other.ID, Flags: abi.MsgExpectReply, CookieReply: 3}, call, syscall.EINVAL},
		{"a reply to nothing", abi.Brief{ID: other.ID, CookieReply: 3}, replyMessage(t, 5, 3), syscall.EBADSLT},
		{"no serial", abi.Brief{ID: other.ID}, append(slices.Clone(call[:8]), make([]byte, 8)...), syscall.EINVAL},
		{"no D-Bus message", abi.Brief{ID: other.ID}, []byte("????, but long enough"), syscall.EBADMSG},
		{"nothing", abi.Brief{ID: other.ID}, nil, syscall.EBADMSG},
		{"a bloom filter that is too short", abi.Brief{ID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Filter: 8}, append(signalMessage(t, 5), make([]byte, 8)...), syscall.EDOM},
		{"a bloom filter longer than all", abi.Brief{ID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Filter: math.MaxUint32}, signalMessage(t, 5), syscall.EINVAL},
		{"only a bloom filter", abi.Brief{ID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Filter: 64}, make([]byte, 64), syscall.EBADMSG},
		{"too much", abi.Brief{ID: other.ID}, append(callMessage(t, 5), make([]byte, abi.MsgMaxPayloadVecSize)...), syscall.EMSGSIZE},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := c.SendBrief(test.h, test.message); err != nil {
				t.Fatal(err)
			}
			serial, _ := abi.Serial(test.message)
			f, err := c.Answer(uint64(serial))
			if !errors.Is(err, test.want) || f.Cmd != abi.CmdSend {
				t.Errorf("answered by %v with %v, want %v", f.Cmd, err, test.want)
			}
		})
	}
}

func TestBriefFrameBeforeHello(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	if err := c.SendBrief(abi.Brief{ID: 1}, callMessage(t, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Answer(5); !errors.Is(err, syscall.EBADFD) {
		t.Errorf("answered with %v", err)
	}
	if err := c.Hello(abi.Hello{}); err != nil {
		t.Errorf("HELLO afterwards: %v", err)
	}
}

func TestBriefIsForHelloOnly(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	b, tag := c.Request(abi.CmdList, abi.FrameBrief, 0, (&abi.List{}).Append(nil)...)
	if err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Answer(tag); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("LIST with the flag BRIEF: %v", err)
	}
}

// A call in brief waits for ever; what ends it is told as ever.
func TestBriefCallWhoseCalleeLeaves(t *testing.T) {
	w := newWorld(t)
	caller, callee := w.joinBriefly(), w.joinBriefly()
	if err := caller.SendBrief(abi.Brief{ID: callee.ID, Flags: abi.MsgExpectReply}, callMessage(t, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := callee.Recv(); err != nil {
		t.Fatal(err)
	}
	callee.Close()
	m, err := caller.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if m.Notification.Type != abi.ItemReplyDead || m.CookieReply != 5 {
		t.Errorf("%+v came", m.Message)
	}
}

// FuzzBrief sends one brief frame, with anything in it, to a peer who takes such. It is delivered as it is
// or answered with one of the errnos that the document has, and everything goes on.
func FuzzBrief(f *testing.F) {
	f.Add(byte(0), uint32(abi.MsgExpectReply), uint32(0), callMessage(f, 5))
	f.Add(byte(1), uint32(abi.MsgSignal), uint32(0), signalMessage(f, 6))
	f.Add(byte(0), uint32(0), uint32(9), replyMessage(f, 7, 9))
	f.Add(byte(0), uint32(0), uint32(0), []byte("l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(byte(2), ^uint32(0), ^uint32(0), []byte("B"))
	w := newWorld(f)
	from, to := w.joinBriefly(), w.joinBriefly()
	w.do(to, &abi.MatchAdd{Cookie: 1})
	documented := []syscall.Errno{syscall.EINVAL, syscall.EBADMSG, syscall.EMSGSIZE, syscall.EDESTADDRREQ, syscall.ENOTUNIQ,
		syscall.ENXIO, syscall.EBADSLT, syscall.EEXIST, syscall.EMLINK}
	f.Fuzz(func(t *testing.T, where byte, flags, reply uint32, message []byte) {
		settle := func(clients ...*nativetest.Client) {
			for _, c := range clients {
				if _, err := c.Do(&abi.List{Flags: abi.ListUnique}); err != nil {
					t.Fatal(err)
				}
			}
		}
		id := [...]uint64{to.ID, abi.DstIDBroadcast, 0, 4711}[where%4]
		if err := from.SendBrief(abi.Brief{ID: id, Flags: abi.MsgFlags(flags), CookieReply: reply}, message); err != nil {
			t.Fatal(err)
		}
		// What the two get before the answers to these came of the frame.
		var refusal *nativetest.Frame
		settle(from, to)
		for _, frame := range from.Waiting() {
			if refusal != nil || frame.Cmd != abi.CmdSend || !slices.Contains(documented, syscall.Errno(frame.Code)) {
				t.Fatalf("the sender got %+v", frame)
			}
			if serial, _ := abi.Serial(message); frame.Tag != uint64(serial) {
				t.Fatalf("the refusal is of %d, not %d", frame.Tag, serial)
			}
			refusal = &frame
		}
		arrived := to.Waiting()
		switch {
		case refusal != nil && len(arrived) > 0, len(arrived) > 1:
			t.Fatalf("%d messages came, refused: %v", len(arrived), refusal != nil)
		case len(arrived) == 0:
			return // refused, or a signal that was not subscribed to
		}
		got := arrived[0]
		if want := [...]abi.Cmd{abi.CmdBrief, abi.CmdBroadcast}[where%4]; got.Cmd != want || got.Tag != from.ID || string(got.Body) != string(message) {
			t.Fatalf("%+v came", got)
		}
		if flags&uint32(abi.MsgExpectReply) != 0 { // or there would soon be too many
			serial, _ := abi.Serial(message)
			if err := to.SendBrief(abi.Brief{ID: from.ID, CookieReply: serial}, replyMessage(t, 1, serial)); err != nil {
				t.Fatal(err)
			}
			settle(to, from)
			if n := len(from.Waiting()); n != 1 {
				t.Fatalf("the reply came %d times", n)
			}
		}
	})
}
