package native_test

import (
	"io"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

func TestFramesAreJudged(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	list := (&abi.List{Flags: abi.ListUnique}).Append(nil)
	for _, tc := range []struct {
		name  string
		cmd   abi.Cmd
		flags abi.FrameFlags
		body  []byte
		want  syscall.Errno
	}{
		{"fine", abi.CmdList, 0, list, 0},
		{"no body", abi.CmdList, 0, nil, syscall.EINVAL},
		{"half a struct", abi.CmdList, 0, list[:20], syscall.EINVAL},
		{"bytes behind the struct", abi.CmdList, 0, append(list[:len(list):len(list)], 0), syscall.EINVAL},
		{"unknown flags", abi.CmdList, 2, list, syscall.EINVAL},
		{"unknown command", abi.CmdList + 1, 0, list, syscall.ENOTTY},
		{"command 0", 0, 0, list, syscall.ENOTTY},
		{"FREE", abi.CmdFree, 0, (&abi.Free{}).Append(nil), syscall.EOPNOTSUPP},
		{"BUS_MAKE", abi.CmdBusMake, 0, (&abi.BusMake{}).Append(nil), syscall.EBADFD},
		{"ENDPOINT_MAKE", abi.CmdEndpointMake, 0, (&abi.EndpointMake{}).Append(nil), syscall.EBADFD},
		{"ENDPOINT_UPDATE", abi.CmdEndpointUpdate, 0, (&abi.EndpointUpdate{}).Append(nil), syscall.EBADFD},
		{"large struct", abi.CmdList, 0, sized(abi.CmdMaxSize+8, 0), syscall.EMSGSIZE},
		{"struct that says it is larger", abi.CmdList, 0, sized(40, 48), syscall.EINVAL},
		{"struct that says it is huge", abi.CmdList, 0, sized(40, 1<<63), syscall.EMSGSIZE},
		{"item of size 0", abi.CmdNameAcquire, 0, item(0, abi.ItemName), syscall.EINVAL},
		{"item larger than the struct", abi.CmdNameAcquire, 0, item(1000, abi.ItemName), syscall.EINVAL},
		{"unknown item", abi.CmdNameAcquire, 0, item(20, 0x7777), syscall.EINVAL},
		{"string without end", abi.CmdNameAcquire, 0, item(17, abi.ItemName), syscall.EINVAL},
		{"missing item", abi.CmdNameAcquire, 0, sized(24, 0), syscall.EINVAL},
	} {
		b, tag := c.Request(tc.cmd, tc.flags, 0, tc.body...)
		if err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		f, err := c.Answer(tag)
		refuses(t, tc.name, err, tc.want)
		if f.Cmd != tc.cmd {
			t.Errorf("%s: the answer is to %v", tc.name, f.Cmd)
		}
	}
}

func TestMessagesCannotBeAskedFor(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	b, tag := c.Request(abi.CmdRecv, 0, 0, (&abi.Recv{}).Append(nil)...)
	if err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if f, err := c.ReadFrame(); err != nil || f.Tag != tag || f.Code != uint32(syscall.EOPNOTSUPP) {
		t.Errorf("%+v, %v", f, err)
	}
}

// sized returns a struct of n bytes, which says that it has size bytes, or n if that is 0.
func sized(n int, size uint64) []byte {
	b := make([]byte, n)
	if size == 0 {
		size = uint64(n)
	}
	putU64(b, size)
	return b
}

// item returns a struct kdbus_cmd with one item, whose data is not terminated.
func item(size uint64, t abi.ItemType) []byte {
	b := sized(24+24, 0)
	putU64(b[24:], size)
	putU64(b[32:], uint64(t))
	for i := range 8 {
		b[40+i] = 'x'
	}
	return b
}

func TestQuietCommandIsAnsweredOnlyIfItFails(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	acquire := func(name string) (tag uint64) {
		b, tag := c.Request(abi.CmdNameAcquire, abi.FrameQuiet, 0, (&abi.NameAcquire{Name: name}).Append(nil)...)
		if err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		return tag
	}
	acquire("org.example.A")
	bad := acquire("bad")
	acquire("org.example.B")
	f, err := c.ReadFrame()
	if err != nil || f.Tag != bad || f.Code != uint32(syscall.EINVAL) {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := c.Start(nativetest.Outgoing{Message: abi.Message{DstID: c.ID, Cookie: 1}}, abi.FrameQuiet); err != nil {
		t.Fatal(err)
	}
	if f, err = c.ReadFrame(); err != nil || f.Cmd != abi.CmdRecv {
		t.Errorf("%+v, %v", f, err)
	}
	if got := len(listed(t, c, abi.ListNames)); got != 2 {
		t.Errorf("%d names", got)
	}
}

func TestAnswersComeInOrder(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	var all []byte
	var tags []uint64
	for i := range 300 {
		cmd := abi.Command(&abi.List{})
		if i%3 == 0 {
			cmd = &abi.NameRelease{Name: "org.example.A"}
		}
		b, tag := c.Request(cmd.Cmd(), 0, 0, cmd.Append(nil)...)
		all, tags = append(all, b...), append(tags, tag)
	}
	// In pieces that have nothing to do with frames.
	for len(all) > 0 {
		n := min(len(all), 1001)
		if err := c.Write(all[:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
	for _, tag := range tags {
		if f, err := c.ReadFrame(); err != nil || f.Tag != tag {
			t.Fatalf("%+v, %v; want %d", f, err, tag)
		}
	}
}

func TestLostFramingEndsTheConnection(t *testing.T) {
	w := newWorld(t)
	witness := w.join()
	header := func(size, fds uint32) []byte {
		h := abi.FrameHeader{Size: size, Cmd: abi.CmdList, Tag: 99, FDs: fds}
		return h.Append(nil)
	}
	list := (&abi.List{}).Append(nil)
	fd := pipeEnd(t)
	for _, tc := range []struct {
		name   string
		hello  bool
		b      []byte
		fds    []int
		answer syscall.Errno
	}{
		{"frame of size 0", true, header(0, 0), nil, 0},
		{"frame smaller than its header", true, header(23, 0), nil, 0},
		{"frame that is too large", true, header(abi.FrameMaxSize+1, 0), nil, syscall.EMSGSIZE},
		{"frame that is too large before HELLO", false, header(1<<32-1, 0), nil, syscall.EMSGSIZE},
		{"frame smaller than its header before HELLO", false, header(1, 0), nil, 0},
		{"descriptors that did not come", true, append(header(64, 1), list...), nil, 0},
		{"more descriptors than can be", true, append(header(64, 1<<31), list...), nil, 0},
		{"descriptors that were not announced", true, append(header(64, 0), list...), []int{fd}, 0},
		{"more descriptors than announced", true, append(header(64, 1), list...), []int{fd, fd}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := w.dial()
			if tc.hello {
				if err := c.Hello(abi.Hello{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Write(tc.b, tc.fds...); err != nil {
				t.Fatal(err)
			}
			if tc.answer != 0 {
				f, err := c.Answer(99)
				refuses(t, tc.name, err, tc.answer)
				if f.Cmd != abi.CmdList {
					t.Errorf("the answer is to %v", f.Cmd)
				}
			}
			for {
				f, err := c.ReadFrame()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if f.Tag != 99 { // the command itself may have been run
					t.Errorf("%+v", f)
				}
			}
			w.do(witness, &abi.List{}) // notices nothing
		})
	}
}

func TestLargestFrameIsTaken(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	k := abi.Message{DstID: c.ID, Cookie: 1, PayloadType: 1, Payload: []abi.Payload{{Type: abi.ItemPayloadVec, Size: abi.MsgMaxPayloadVecSize}}}
	k.Payload[0].Offset = uint64(k.Size())
	body := append(k.Append((&abi.Send{}).Append(nil)), make([]byte, abi.MsgMaxPayloadVecSize)...)
	b, tag := c.Request(abi.CmdSend, 0, 0, body...)
	sent := make(chan error, 1)
	go func() { sent <- c.Write(b) }()
	m := w.recv(c)
	if got := len(w.content(m)); got != abi.MsgMaxPayloadVecSize {
		t.Errorf("%d bytes", got)
	}
	if _, err := c.Answer(tag); err != nil {
		t.Error(err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestCommandsNegotiate(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	probe := abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemName, abi.ItemFDs}}
	ask := abi.Negotiation{Items: []abi.ItemType{abi.ItemName, abi.ItemFDs}}
	want := []abi.ItemType{abi.ItemName, 0}
	check := func(what string, f nativetest.Frame, flags uint64, items []abi.ItemType) {
		t.Helper()
		b, _, err := abi.CutStruct(f.Body, what)
		if err != nil {
			t.Fatalf("%s: %v: %q", what, err, f.Body)
		}
		gotFlags, got, err := f.Cmd.Negotiated(b)
		if err != nil || gotFlags != flags || len(got) != len(items) {
			t.Fatalf("%s: %#x, %v, %v", what, gotFlags, got, err)
		}
		for i := range got {
			if got[i] != items[i] {
				t.Errorf("%s: %v", what, got)
			}
		}
	}
	f, err := c.Raw(abi.CmdNameAcquire, (&abi.NameAcquire{Negotiate: probe}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	check("NAME_ACQUIRE that only asks", f, 7, want)
	if got := listed(t, c, abi.ListNames); got != nil {
		t.Errorf("%v", got)
	}
	f, err = c.Raw(abi.CmdNameAcquire, (&abi.NameAcquire{Negotiate: ask, Name: "org.example.A"}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	check("NAME_ACQUIRE that asks, too", f, 0, want)
	f, err = c.Raw(abi.CmdNameRelease, (&abi.NameRelease{Negotiate: ask, Name: "org.example.B"}).Append(nil))
	if err == nil || f.Code != uint32(syscall.ESRCH) {
		t.Fatal(err)
	}
	check("NAME_RELEASE that fails", f, 0, want)
	f, err = c.Raw(abi.CmdList, (&abi.List{Negotiate: ask, Flags: abi.ListNames}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	check("LIST", f, uint64(abi.ListNames), []abi.ItemType{0, 0})
	var l abi.List
	head, _, _ := abi.CutStruct(f.Body, "LIST")
	if err := l.DecodeReply(head); err != nil || l.ListSize == 0 || int(l.Offset+l.ListSize) != len(f.Body) {
		t.Errorf("%+v, %v", l, err)
	}
	f, err = c.Raw(abi.CmdSend, (&abi.Send{Negotiate: probe}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	check("SEND that only asks", f, 1, []abi.ItemType{0, 0})
	f, err = c.Raw(abi.CmdSend, (&abi.Message{Negotiate: probe}).Append((&abi.Send{Negotiate: probe}).Append(nil)))
	if err != nil {
		t.Fatal(err)
	}
	check("SEND with a message that asks", f, 1, []abi.ItemType{0, 0})
	_, message, _ := abi.CutStruct(f.Body, "SEND")
	flags, items, err := abi.NegotiatedMessage(message)
	if err != nil || flags != 7 || len(items) != 2 || items[0] != 0 || items[1] != abi.ItemFDs {
		t.Errorf("message: %#x, %v, %v", flags, items, err)
	}
	send := abi.Send{Negotiate: abi.Negotiation{Items: []abi.ItemType{abi.ItemCancelFD}}}
	f, err = c.Raw(abi.CmdSend, (&abi.Message{DstID: c.ID, PayloadType: 1}).Append(send.Append(nil)))
	if err != nil {
		t.Fatal(err)
	}
	check("SEND that asks, too", f, 0, []abi.ItemType{abi.ItemCancelFD})
	if m := w.recv(c); m.PayloadType != 1 {
		t.Errorf("%+v", m)
	}
	_, err = c.Raw(abi.CmdSend, (&abi.Message{}).Append((&abi.Send{Negotiate: abi.Negotiation{Probe: true}}).Append(nil)))
	if err != nil {
		t.Errorf("SEND that asks, with a message that does not: %v", err)
	}
	_, err = c.Raw(abi.CmdHello, (&abi.Hello{Negotiate: probe}).Append(nil))
	refuses(t, "HELLO again", err, syscall.EBADFD)
	fresh := w.dial()
	f, err = fresh.Raw(abi.CmdHello, (&abi.Hello{Negotiate: probe}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	check("HELLO that only asks", f, 15, want)
	if err := fresh.Hello(abi.Hello{}); err != nil {
		t.Error(err)
	}
}
