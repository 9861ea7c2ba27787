package bench

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// welcomed returns the native protocol as it is after HELLO.
func welcomed(t *testing.T, memfd bool) *native {
	t.Helper()
	n := newNative(memfd)
	name, err := n.welcome(helloAnswer(77))
	if err != nil || name != ":1.77" {
		t.Fatalf("unique name is %q, %v; want :1.77", name, err)
	}
	return n
}

// helloAnswer is the answer of a bus to HELLO.
func helloAnswer(id uint64) []byte {
	items := abi.DefaultBloom.AppendItem(nil)
	reply := &abi.Hello{Reply: abi.HelloReply{ID: id, Offset: 96, ItemsSize: uint64(len(items))}}
	return frame(0, 0, reply, items)
}

// sent is a frame taken apart, as a bus does it.
type sent struct {
	Header  abi.FrameHeader
	Message abi.Message
	Inline  []byte
}

func takeApart(t *testing.T, f []byte) (s sent) {
	t.Helper()
	if err := s.Header.Decode(f); err != nil {
		t.Fatal(err)
	}
	if int(s.Header.Size) != len(f) || s.Header.Cmd != abi.CmdSend {
		t.Fatalf("header is %+v, of %d bytes", s.Header, len(f))
	}
	body := f[abi.FrameHeaderSize:]
	command, behind, err := abi.CutStruct(body, "SEND")
	if err != nil {
		t.Fatal(err)
	}
	var send abi.Send
	if err := send.Decode(command); err != nil {
		t.Fatal(err)
	}
	message, inline, err := abi.CutStruct(behind, "message")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Message.DecodeSent(message, send.Flags); err != nil {
		t.Fatal(err)
	}
	if err := s.Message.PayloadWithin(uint64(len(behind)-len(inline)), uint64(len(behind))); err != nil {
		t.Fatal(err)
	}
	s.Inline = inline
	return s
}

func TestNativeFramesAreWhatTheBusReads(t *testing.T) {
	memfd := welcomed(t, true)
	build := func(f []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, test := range []struct {
		name     string
		n        *native
		frame    []byte
		flags    abi.MsgFlags
		memfd    int // bytes in it
		dbus     wire.Type
		argument int
	}{
		{"call with a memfd", memfd, build(memfd.call(":1.5", 1000)), abi.MsgExpectReply, 1004, wire.TypeMethodCall, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.n.number(test.frame, 88)
			s := takeApart(t, test.frame)
			m := &s.Message
			if abi.FrameFlags(s.Header.Code) != abi.FrameQuiet || s.Header.Tag != 88 || m.Cookie != 88 {
				t.Errorf("header is %+v, cookie %d; want a quiet one with tag and cookie 88", s.Header, m.Cookie)
			}
			if m.Flags != test.flags || m.PayloadType != abi.PayloadDBus {
				t.Errorf("message has flags %v and payload type %#x", m.Flags, m.PayloadType)
			}
			if want := uint64(5); test.flags != abi.MsgSignal && m.DstID != want {
				t.Errorf("message goes to %d, want %d", m.DstID, want)
			}
			if test.flags == abi.MsgExpectReply && m.TimeoutNS <= test.n.deadline {
				t.Errorf("deadline is %d, want one after %d", m.TimeoutNS, test.n.deadline)
			}
			payload := s.Inline
			if test.memfd > 0 {
				rest := abi.Payload{Type: abi.ItemPayloadMemfd, Size: uint64(test.memfd)}
				if diff := cmp.Diff(rest, m.Payload[len(m.Payload)-1]); diff != "" || s.Header.FDs != 1 {
					t.Errorf("%d descriptors; %s", s.Header.FDs, diff)
				}
				payload = append(payload, benchBody(test.argument)...)
			} else if s.Header.FDs != 0 {
				t.Errorf("%d descriptors", s.Header.FDs)
			}
			var h wire.Header
			body, err := h.Parse(payload)
			if err != nil {
				t.Fatal(err)
			}
			if h.Serial != 88 || h.Type != test.dbus {
				t.Errorf("D-Bus message is %+v", h)
			}
			if err := wire.ValidateBody(h.Order, h.Signature, payload[body:]); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNativeBriefFramesAreWhatTheBusReads(t *testing.T) {
	n := welcomed(t, false)
	for _, test := range []struct {
		name     string
		make     func() ([]byte, error)
		flags    abi.MsgFlags
		dbus     wire.Type
		argument int
	}{
		{"call", func() ([]byte, error) { return n.call(":1.5", 0) }, abi.MsgExpectReply, wire.TypeMethodCall, 0},
		{"call with payload", func() ([]byte, error) { return n.call(":1.5", 1000) }, abi.MsgExpectReply, wire.TypeMethodCall, 1000},
		{"reply", func() ([]byte, error) { return n.reply(":1.5") }, 0, wire.TypeMethodReturn, 0},
		{"signal", func() ([]byte, error) { return n.signal(), nil }, abi.MsgSignal, wire.TypeSignal, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			frame, err := test.make()
			if err != nil {
				t.Fatal(err)
			}
			n.number(frame, 88)
			var f abi.FrameHeader
			var brief abi.Brief
			if err := f.Decode(frame); err != nil || f.Cmd != abi.CmdBrief || int(f.Size) != len(frame) {
				t.Fatalf("header is %+v, of %d bytes, %v", f, len(frame), err)
			}
			brief.Decode(&f)
			to := uint64(5)
			if test.dbus == wire.TypeSignal {
				to = abi.DstIDBroadcast
			}
			message, filter, err := brief.CutFilter(frame[abi.FrameHeaderSize:])
			if err != nil || test.dbus == wire.TypeSignal && len(filter) != int(n.bloom.Size) {
				t.Fatalf("the filter has %d bytes, %v", len(filter), err)
			}
			if cookie, err := brief.CheckSent(message); err != nil || cookie != 88 || brief.ID != to || brief.Flags != test.flags {
				t.Errorf("%+v has the cookie %d, %v", brief, cookie, err)
			}
			var h wire.Header
			body, err := h.Parse(message)
			if err != nil {
				t.Fatal(err)
			}
			if h.Type != test.dbus || int(h.BodySize) != len(benchBody(test.argument)) && test.argument > 0 {
				t.Errorf("D-Bus message is %+v", h)
			}
			if err := wire.ValidateBody(h.Order, h.Signature, message[body:]); err != nil {
				t.Error(err)
			}
		})
	}
}

// arriving returns a frame as the bus delivers it.
func arriving(dropped uint64, m *abi.Message) []byte {
	body := m.Append(nil)
	h := abi.FrameHeader{Size: uint32(abi.FrameHeaderSize + len(body)), Cmd: abi.CmdRecv, Tag: dropped}
	return append(h.Append(nil), body...)
}

func TestNativeReplyAnswersTheCall(t *testing.T) {
	n := welcomed(t, false)
	message := benchCall(":1.5", 0)
	setSerial(message, 0x34567890)
	for _, test := range []struct {
		name string
		call []byte
	}{
		{"of a brief frame", brief(abi.Brief{ID: 5, Flags: abi.MsgExpectReply}, message)},
		{"of a RECV", arriving(0, &abi.Message{Flags: abi.MsgExpectReply, PayloadType: abi.PayloadDBus, Cookie: 0x34567890, TimeoutNS: 9})},
	} {
		t.Run(test.name, func(t *testing.T) {
			reply, err := n.reply(":1.5")
			if err != nil {
				t.Fatal(err)
			}
			n.number(reply, 3)
			n.answer(reply, test.call)
			var f abi.FrameHeader
			var brief abi.Brief
			if err := f.Decode(reply); err != nil {
				t.Fatal(err)
			}
			brief.Decode(&f)
			var h wire.Header
			if _, err := h.Parse(reply[abi.FrameHeaderSize:]); err != nil || h.ReplySerial != 0x34567890 || brief.CookieReply != h.ReplySerial || h.Serial != 3 {
				t.Errorf("the reply is number %d, to %#x and %#x, %v", h.Serial, brief.CookieReply, h.ReplySerial, err)
			}
		})
	}
}

func TestNativeFramesAreToldApart(t *testing.T) {
	n := welcomed(t, false)
	refusal := abi.FrameHeader{Size: abi.FrameHeaderSize + 4, Cmd: abi.CmdSend, Tag: 7, Code: uint32(syscall.ENOBUFS)}
	dropped := abi.FrameHeader{Size: abi.FrameHeaderSize, Cmd: abi.CmdRecv, Tag: 3}
	for _, test := range []struct {
		name    string
		frame   []byte
		want    kind
		failure string
	}{
		{"call", arriving(0, &abi.Message{Flags: abi.MsgExpectReply, PayloadType: abi.PayloadDBus, TimeoutNS: 1}), kindCall, ""},
		{"reply", arriving(0, &abi.Message{PayloadType: abi.PayloadDBus, CookieReply: 1}), kindReply, ""},
		{"signal", arriving(0, &abi.Message{Flags: abi.MsgSignal, PayloadType: abi.PayloadDBus}), kindSignal, ""},
		{"message of no kind", arriving(0, &abi.Message{PayloadType: abi.PayloadDBus}), kindOther, ""},
		{"answer to HELLO", helloAnswer(1), kindReply, ""},
		{"refusal", append(refusal.Append(nil), "full"...), kindFailure, "SEND: the bus answered ENOBUFS: full"},
		{"report of dropped messages", dropped.Append(nil), kindFailure, "dropped 3 messages"},
		{"message after dropped ones", arriving(2, &abi.Message{PayloadType: abi.PayloadDBus}), kindFailure, "dropped 2 messages"},
		{"notification", arriving(0, &abi.Message{Notification: abi.Notification{Type: abi.ItemReplyDead}}), kindFailure, "REPLY_DEAD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := n.kind(test.frame); got != test.want {
				t.Fatalf("kind is %d, want %d", got, test.want)
			}
			if test.failure == "" {
				return
			}
			if got := n.failure(test.frame).Error(); !strings.Contains(got, test.failure) {
				t.Errorf("failure is %q, want one with %q", got, test.failure)
			}
		})
	}
}

func TestNativeSubscriptionMatchesTheSignal(t *testing.T) {
	n := welcomed(t, false)
	f := n.subscription()
	n.number(f, 4)
	var h abi.FrameHeader
	var add abi.MatchAdd
	if err := errors.Join(h.Decode(f), add.Decode(f[abi.FrameHeaderSize:])); err != nil {
		t.Fatal(err)
	}
	if h.Tag != 4 || h.Code != 0 {
		t.Errorf("header is %+v, want one that is answered", h)
	}
	signal := n.signal()
	mask, filter := add.Rules[0].Mask, signal[len(signal)-int(n.bloom.Size):]
	if len(mask) != 64 || len(filter) != 64 {
		t.Fatalf("mask of %d bytes and filter of %d, want 64", len(mask), len(filter))
	}
	for i := range mask {
		if mask[i]&^filter[i] != 0 {
			t.Fatalf("byte %d of the mask is %#x, of the filter %#x", i, mask[i], filter[i])
		}
	}
}

func TestNativeConnectionIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(net.Conn, *bufio.Reader)
		want  bool
		err   string
	}{
		{"native bus", func(c net.Conn, r *bufio.Reader) {
			_, _ = r.ReadString('\n')
			_, _ = r.ReadString('\n')
			// In pieces, as a socket may.
			_, _ = c.Write([]byte("OK 0123456789abcdef0123456789abcdef\r"))
			_, _ = c.Write([]byte("\nAGREE_KDBUS 1\r\n"))
			_, _ = r.ReadString('\n')
			_, _ = c.Write(helloAnswer(7))
		}, true, ""},
		{"bus of D-Bus 1", func(c net.Conn, r *bufio.Reader) {
			_, _ = r.ReadString('\n')
			_, _ = r.ReadString('\n')
			_, _ = c.Write([]byte("OK 0123456789abcdef0123456789abcdef\r\nERROR \"Unknown command\"\r\n"))
		}, false, ""},
		{"bus that hangs up", func(net.Conn, *bufio.Reader) {}, false, "hello"},
		{"HELLO refused", func(c net.Conn, r *bufio.Reader) {
			_, _ = r.ReadString('\n')
			_, _ = r.ReadString('\n')
			_, _ = c.Write([]byte("OK 0123456789abcdef0123456789abcdef\r\nAGREE_KDBUS 1\r\n"))
			_, _ = r.ReadString('\n')
			h := abi.FrameHeader{Size: abi.FrameHeaderSize + 4, Cmd: abi.CmdHello, Tag: 1, Code: uint32(syscall.EMFILE)}
			_, _ = c.Write(append(h.Append(nil), "many"...))
		}, false, "EMFILE: many"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := (site{worker: workerCommand, socket: fakeBus(t, test.serve)}).speaksNative(t.Context())
			if got != test.want || (err != nil) != (test.err != "") {
				t.Fatalf("speaks native: %v, %v; want %v", got, err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error is %q, want one with %q", err, test.err)
			}
		})
	}
}

func TestNativePeerHasToBeOne(t *testing.T) {
	for _, name := range []string{"", ":1.", "org.example.Name", ":1.x", ":2.5"} {
		if _, err := newNative(false).call(name, 0); err == nil {
			t.Errorf("%q is taken for the name of a native peer", name)
		}
	}
}
