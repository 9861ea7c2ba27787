package native_test

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// FuzzConversation lets two clients say what comes to mind, each in turn: requests that were right
// before something in them was changed. Whatever that is,
//
//   - each request is answered exactly once, with its command and tag, and with an errno that the
//     command can have; not at all if it is QUIET and succeeds; synchronous calls when they are
//     cancelled at the latest;
//   - what ends the connection is what loses framing, and nothing else;
//   - messages can be decoded, and were sent by one of the two, or the bus;
//   - a third client notices nothing, and nothing of the two is left when they have gone.
func FuzzConversation(f *testing.F) {
	w := newWorld(f)
	witness := w.join()
	files := newFiles(f)
	for _, seed := range conversations() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &input{data: data}
		w := &world{t: t, bus: w.bus, path: w.path}
		start := in.next()
		talk := &conversation{t: t, files: files, sent: make(map[[2]uint64]bool)}
		for i := range talk.speakers {
			talk.speakers[i] = &speaker{Client: w.dial(), talk: talk, open: make(map[uint64]abi.Cmd)}
			if start>>i&1 == 0 {
				talk.speakers[i].join(start)
			}
		}
		for n := 0; len(in.data) > 0 && n < 60; n++ {
			talk.say(in)
		}
		for _, s := range talk.speakers {
			s.finish()
		}
		if _, err := witness.Do(&abi.List{Flags: abi.ListUnique}); err != nil {
			t.Fatalf("the witness: %v", err)
		}
		w.waitFor("the two to be gone", func() bool { return len(w.bus.Conns()) == 1 && w.bus.Stats().Monitors == 0 })
	})
}

// input is what the fuzzer comes up with.
type input struct{ data []byte }

func (in *input) next() (b byte) {
	if len(in.data) > 0 {
		b, in.data = in.data[0], in.data[1:]
	}
	return b
}

// files are descriptors to be sent: a sealed memfd, one that is not sealed, and a pipe.
type files [3]int

func newFiles(tb testing.TB) (f files) {
	sealed, err := nativetest.Memfd(dbusCall(5))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(sealed) })
	open, err := unix.MemfdCreate("open", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(open) })
	return files{sealed, open, pipeEnd(tb)}
}

func dbusCall(serial uint32) []byte {
	h := wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: serial, Path: "/org/freedesktop/DBus", Member: "M",
		Interface: "org.example.I",
	}
	return h.Append(nil)
}

// conversation is what two clients say, and what is known of it.
type conversation struct {
	t        *testing.T
	files    files
	speakers [2]*speaker
	sent     map[[2]uint64]bool // source and cookie of messages that may arrive
}

type speaker struct {
	*nativetest.Client
	talk *conversation
	open map[uint64]abi.Cmd // requests that are not answered, by tag
	gone bool               // nothing is said or heard any more
}

func (s *speaker) join(how byte) {
	h := abi.Hello{Flags: abi.HelloAcceptFD}
	if how&4 != 0 {
		h.AttachFlagsRecv = abi.AttachAny
	}
	if err := s.Hello(h); err != nil {
		s.talk.t.Fatal(err)
	}
}

// templates are requests that are right, to a peer with this id.
func templates(self, peer uint64) []abi.Command {
	return []abi.Command{
		&abi.Hello{PoolSize: 1 << 20, Flags: abi.HelloAcceptFD, AttachFlagsSend: abi.AttachAll, AttachFlagsRecv: abi.AttachPIDs, Description: "x"},
		&abi.List{Flags: abi.ListUnique | abi.ListNames | abi.ListQueued},
		&abi.NameAcquire{Name: "org.example.A", Flags: abi.NameQueue},
		&abi.NameRelease{Name: "org.example.A"},
		&abi.ConnInfo{ID: peer, AttachFlags: abi.AttachAll},
		&abi.ConnInfo{Name: "org.example.A"},
		&abi.BusCreatorInfo{AttachFlags: abi.AttachAll},
		&abi.MatchAdd{Cookie: 1, Rules: []abi.MatchRule{
			{Type: abi.ItemBloomMask, Mask: mask(64, 1)}, {Type: abi.ItemID, ID: abi.MatchIDAny}, {Type: abi.ItemName, Name: "org.example.A"},
		}},
		&abi.MatchAdd{Cookie: 2, Flags: abi.MatchReplace},
		&abi.MatchAdd{Cookie: 2, Rules: []abi.MatchRule{{Type: abi.ItemNameAdd, OldID: abi.MatchIDAny, NewID: abi.MatchIDAny, AnyName: true}}},
		&abi.MatchAdd{Cookie: 2, Rules: []abi.MatchRule{{Type: abi.ItemMatchRule, Name: "M"}, {Type: abi.ItemDstID, ID: self}}},
		&abi.MatchRemove{Cookie: 2},
		&abi.Update{AttachFlagsRecv: new(abi.AttachFlags), AttachFlagsSend: new(abi.AttachFlags)},
		&abi.Cancel{Tag: 1},
		&abi.ByeBye{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{1, 2}}},
		&abi.Recv{},
		&abi.Free{},
		&abi.ByeBye{},
	}
}

// messages are what SEND sends.
func messages(self, peer uint64) []nativetest.Outgoing {
	call := abi.Message{DstID: peer, Cookie: 5, Flags: abi.MsgExpectReply, TimeoutNS: never}
	memfd := []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: 16}}
	with := func(k abi.Message, change func(*abi.Message)) abi.Message {
		change(&k)
		return k
	}
	return []nativetest.Outgoing{
		{Message: call, Body: dbusCall(5)},
		{Message: call, Body: dbusCall(5), Flags: abi.SendSyncReply},
		{Message: with(call, func(k *abi.Message) { k.DstID = self }), Flags: abi.SendSyncReply},
		{Message: abi.Message{DstID: peer, Cookie: 6, CookieReply: 5, Priority: -1}, Body: []byte("reply")},
		{Message: abi.Message{DstID: peer, Cookie: 7, FDs: []int32{0}, Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, FD: 1, Size: 16}}}, Body: []byte("x")},
		{Message: abi.Message{DstID: peer, Cookie: 8, Payload: memfd}},
		{Message: abi.Message{DstID: abi.DstIDBroadcast, Cookie: 9, Flags: abi.MsgSignal, Bloom: bloom(0, 1, 2)}, Body: []byte("signal")},
		{Message: abi.Message{DstID: peer, Cookie: 9, Flags: abi.MsgSignal, Bloom: bloom(1, 1)}, Body: []byte("signal")},
		{Message: with(call, func(k *abi.Message) { k.DstID, k.DstName = 0, native.DriverName }), Body: dbusCall(5), Flags: abi.SendSyncReply},
		{Message: with(call, func(k *abi.Message) { k.DstID, k.DstName = 0, "org.example.A" }), Body: dbusCall(5)},
		{Message: abi.Message{DstID: peer, Cookie: 10, Payload: []abi.Payload{{Type: abi.ItemPayloadVec, Size: 5000}}}, Body: []byte("and zeros")},
	}
}

// values are numbers that get far.
var values = [...]uint64{
	0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 23, 24, 25, 31, 32, 40, 48, 56, 64, 72, 96, 100, 4096, 1 << 15, 1<<15 + 1, 1 << 20, 1 << 31,
	1<<32 - 1, 1 << 32, 1<<32 | 1, 1 << 62, 1 << 63, 1<<63 - 1, 1<<63 | 1, 1<<64 - 1, 1<<64 - 8, 0x1000, 0x2000, 0x8000, 0x8006,
	uint64(abi.PayloadDBus), uint64(abi.CmdSend), uint64(abi.CmdHello) << 32, uint64(abi.CmdRecv) << 32, uint64(abi.CmdByeBye) << 32,
}

// say has one of the two make a request.
func (talk *conversation) say(in *input) {
	op, how := in.next(), in.next()
	s, peer := talk.speakers[op&1], talk.speakers[op&1^1]
	commands, sends := templates(s.ID, peer.ID), messages(s.ID, peer.ID)
	which := int(op>>1) % (len(commands) + len(sends))
	var fds []int
	if which >= len(commands) {
		o := sends[which-len(commands)]
		need := len(o.FDs) + len(o.Payload)
		if n := len(o.Payload); n > 0 && o.Payload[0].Type != abi.ItemPayloadMemfd {
			need -= n
		}
		for range need {
			fds = append(fds, talk.files[0])
		}
		if kind := how >> 6; kind > 0 && kind < 3 { // the wrong kind of file, or one more
			fds = append([]int{talk.files[kind]}, fds...)[:max(1, need)]
		}
		s.request(abi.CmdSend, o.Encode(), fds, how, in)
		return
	}
	cmd := commands[which]
	s.request(cmd.Cmd(), cmd.Append(nil), fds, how, in)
}

// request changes a request, makes it, and sees what comes of it.
func (s *speaker) request(cmd abi.Cmd, body []byte, fds []int, how byte, in *input) {
	if s.gone {
		return
	}
	flags := abi.FrameFlags(0)
	if how&4 != 0 {
		flags = abi.FrameQuiet
	}
	b, tag := s.Request(cmd, flags, len(fds), body...)
	for range how & 3 {
		b = mutate(b, in)
	}
	var h abi.FrameHeader
	lethal := h.Decode(b) != nil
	if !lethal {
		h.Tag = tag
		if h.Cmd == abi.CmdHello {
			h.Code &^= uint32(abi.FrameQuiet) // the id has to be known
		}
		if h.Size > 1<<16 && h.Size <= abi.FrameMaxSize {
			h.Size = uint32(len(b))
		}
		lethal = h.Size > abi.FrameMaxSize || h.FDs != uint32(len(fds))
		h.Put(b)
		if h.Size <= abi.FrameMaxSize {
			b = append(b, make([]byte, max(0, int(h.Size)-len(b)))...)[:h.Size]
		}
	}
	s.talk.note(s, &h, b)
	if err := s.Write(b, fds...); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		s.talk.t.Fatal(err)
	}
	if lethal {
		s.end(tag, &h)
		return
	}
	s.open[tag] = h.Cmd
	s.barrier()
	if _, unanswered := s.open[tag]; !unanswered {
		return
	}
	switch {
	case s.gone:
		if h.Cmd != abi.CmdByeBye {
			s.talk.t.Fatalf("%+v ended the connection, % x", h, b)
		}
	case h.Code&uint32(abi.FrameQuiet) != 0:
		delete(s.open, tag) // it succeeded
	case h.Cmd == abi.CmdSend && len(b) >= 48 && b[32]&1 != 0:
		// It waits for its reply.
	default:
		s.talk.t.Fatalf("%+v is not answered, % x", h, b)
	}
}

// note notes a message that may arrive from now on.
func (talk *conversation) note(s *speaker, h *abi.FrameHeader, b []byte) {
	if h.Cmd != abi.CmdSend || len(b) < abi.FrameHeaderSize {
		return
	}
	_, rest, err := abi.CutStruct(b[abi.FrameHeaderSize:], "SEND")
	if err == nil && len(rest) >= 64 {
		talk.sent[[2]uint64{s.ID, binary.NativeEndian.Uint64(rest[48:])}] = true
	}
}

// mutate changes something in a frame.
func mutate(b []byte, in *input) []byte {
	where, kind, value := int(in.next()), in.next(), in.next()
	if kind%8 == 7 { // another length; the header says so
		n := abi.FrameHeaderSize + int(value)*4
		b = append(b, make([]byte, max(0, n-len(b)))...)[:n]
		binary.NativeEndian.PutUint32(b, uint32(n))
		return b
	}
	words := len(b) / 8
	word := b[where%words*8:]
	old := binary.NativeEndian.Uint64(word)
	switch kind % 4 {
	case 0:
		old = values[int(value)%len(values)]
	case 1:
		old ^= 1 << (value % 64)
	case 2:
		old += uint64(value) - 128
	case 3:
		old = old&^0xff | uint64(value)
	}
	binary.NativeEndian.PutUint64(word, old)
	return b
}

// barrier waits until the bus has looked at everything that was said.
func (s *speaker) barrier() {
	b, tag := s.Request(abi.CmdNameRelease, 0, 0, (&abi.NameRelease{Name: "org.example.Barrier"}).Append(nil)...)
	if err := s.Write(b); err != nil {
		s.listen(0) // until the end
		return
	}
	s.open[tag] = abi.CmdNameRelease
	s.listen(tag)
	if s.gone {
		delete(s.open, tag)
	}
}

// listen reads until the request with this tag is answered, or to the end.
func (s *speaker) listen(until uint64) {
	for {
		f, err := s.ReadFrame()
		if err == io.EOF {
			s.gone = true
			return
		}
		if err != nil {
			s.talk.t.Fatal(err)
		}
		if f.Cmd == abi.CmdRecv && f.Code&^uint32(abi.RecvReturnDroppedMsgs) == 0 {
			s.received(f)
			continue
		}
		s.answered(f)
		if until != 0 && f.Tag == until {
			return
		}
	}
}

// answered judges an answer.
func (s *speaker) answered(f nativetest.Frame) {
	t := s.talk.t
	cmd, asked := s.open[f.Tag]
	if !asked || cmd != f.Cmd {
		t.Fatalf("%+v answers nothing", f)
	}
	delete(s.open, f.Tag)
	if errno := syscall.Errno(f.Code); errno != 0 && !slices.Contains(errnosOf(cmd), errno) {
		t.Fatalf("%v is answered %v (%s): %q", cmd, unix.ErrnoName(errno), errno, f.Body)
	}
	if cmd == abi.CmdHello && f.Code == 0 {
		if id := binary.NativeEndian.Uint64(f.Body[48:]); id != 0 { // it did more than ask
			s.ID = id
		}
	}
	if cmd == abi.CmdSend && f.Code == 0 && len(f.Body) > 0 {
		if _, _, err := abi.CutStruct(f.Body, ""); err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		if binary.NativeEndian.Uint64(f.Body) != 56 && len(f.Body) >= 64 && f.Body[0] != 56 {
			s.received(f)
			return
		}
	}
	nativetest.CloseAll(f.FDs)
}

// received judges a message.
func (s *speaker) received(f nativetest.Frame) {
	t := s.talk.t
	defer nativetest.CloseAll(f.FDs)
	if len(f.Body) == 0 {
		return // some were dropped, or wait at an activator
	}
	var k abi.Message
	if err := k.DecodeReceived(f.Body); err != nil {
		if negotiated := f.Cmd == abi.CmdSend; negotiated {
			return
		}
		t.Fatalf("%v: % x", err, f.Body)
	}
	var m abi.Metadata
	if err := m.Decode(k.Metadata); err != nil {
		t.Fatal(err)
	}
	used := len(k.FDs)
	for _, p := range k.Payload {
		if p.Type == abi.ItemPayloadMemfd {
			used++
		}
	}
	if used != len(f.FDs) {
		t.Fatalf("%d descriptors came, and %d are named", len(f.FDs), used)
	}
	if k.SrcID != abi.SrcIDKernel && !s.talk.sent[[2]uint64{k.SrcID, k.Cookie}] {
		t.Fatalf("nobody has sent %+v", k)
	}
}

// end expects the connection to end after a request that loses framing. It may be answered.
func (s *speaker) end(tag uint64, h *abi.FrameHeader) {
	s.open[tag] = h.Cmd
	s.listen(0)
	delete(s.open, tag)
}

// finish ends what waits, and leaves.
func (s *speaker) finish() {
	t := s.talk.t
	for tag, cmd := range s.open {
		if s.gone {
			break
		}
		if cmd != abi.CmdSend {
			t.Fatalf("%v with tag %d waits", cmd, tag)
		}
		b, cancel := s.Request(abi.CmdCancel, 0, 0, (&abi.Cancel{Tag: tag}).Append(nil)...)
		s.open[cancel] = abi.CmdCancel
		if err := s.Write(b); err != nil {
			t.Fatal(err)
		}
		s.listen(cancel)
		if _, waits := s.open[tag]; waits && !s.gone {
			t.Fatalf("SEND with tag %d neither is answered nor can be cancelled", tag)
		}
	}
	s.Close()
}

// errnosOf returns what a command can be answered, as docs/native-protocol.md has it.
func errnosOf(cmd abi.Cmd) []syscall.Errno {
	any := []syscall.Errno{
		syscall.ENOBUFS, syscall.EINVAL, syscall.EMSGSIZE, syscall.ENOTTY, syscall.EOPNOTSUPP, syscall.EBADFD, syscall.ENOTCONN, syscall.ENAMETOOLONG,
	}
	switch cmd {
	case abi.CmdHello:
		return append(any, syscall.EPERM, syscall.ECONNREFUSED, syscall.EMFILE, syscall.EEXIST, syscall.E2BIG)
	case abi.CmdByeBye:
		return append(any, syscall.EBUSY)
	case abi.CmdUpdate:
		return append(any, syscall.E2BIG)
	case abi.CmdConnInfo:
		return append(any, syscall.ENXIO, syscall.ESRCH)
	case abi.CmdNameAcquire:
		return append(any, syscall.EPERM, syscall.EEXIST, syscall.E2BIG)
	case abi.CmdNameRelease:
		return append(any, syscall.ESRCH, syscall.EADDRINUSE)
	case abi.CmdMatchAdd:
		return append(any, syscall.EDOM, syscall.EMFILE)
	case abi.CmdMatchRemove:
		return append(any, syscall.EBADSLT)
	case abi.CmdCancel:
		return append(any, syscall.ENOENT)
	case abi.CmdSend:
		return append(any, syscall.ENOTUNIQ, syscall.E2BIG, syscall.EEXIST, syscall.EBADF, syscall.EMEDIUMTYPE, syscall.EMFILE,
			syscall.EBADMSG, syscall.ETXTBSY, syscall.ECOMM, syscall.EFAULT, syscall.EDOM, syscall.EDESTADDRREQ, syscall.ESRCH,
			syscall.EADDRNOTAVAIL, syscall.ENXIO, syscall.ETIMEDOUT, syscall.EPIPE, syscall.ENOBUFS, syscall.EREMCHG, syscall.EPERM,
			syscall.EBADSLT, syscall.EMLINK, syscall.ECANCELED)
	}
	return any
}

// conversations are some to begin with: each template once, as it is, and the usual ones.
func conversations() (all [][]byte) {
	n := len(templates(0, 0)) + len(messages(0, 0))
	for i := range n {
		all = append(all, []byte{0, byte(i << 1), 0, byte(i<<1 | 1), 4})
		all = append(all, []byte{7, 0, 0, 1, 0, byte(i << 1), 1, byte(i), 0, byte(i * 3), 3, 1})
	}
	first := byte(len(templates(0, 0)))
	all = append(all,
		[]byte{4, first << 1, 0, (first+3)<<1 | 1, 0},               // a call and its reply
		[]byte{4, (first + 1) << 1, 0, (first+3)<<1 | 1, 0},         // a synchronous one
		[]byte{0, 8<<1 | 1, 0, (first + 6) << 1, 0, 17<<1 | 1, 0},   // a signal to who has a match, who leaves
		[]byte{0, (first + 4) << 1, 0x40, (first + 4) << 1, 0x80},   // descriptors of the wrong kind
		[]byte{0, (first + 5) << 1, 1, 0, 7, 200, first << 1, 0, 0}, // a frame cut short
	)
	return all
}
