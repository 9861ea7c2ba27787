package kdbus

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/kdbustest"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// testContext bounds what a test waits for.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// join connects to a bus until the test ends.
func join(t testing.TB, address string) *Conn {
	t.Helper()
	c, err := Dial(testContext(t), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// speaker joins a bus as a client that says whatever it is told to.
func speaker(t testing.TB, address string) *nativetest.Client {
	t.Helper()
	path, _, _ := strings.Cut(strings.TrimPrefix(address, "unix:path="), ",")
	c, err := nativetest.Dial(path)
	if err == nil {
		t.Cleanup(c.Close)
		err = c.Hello(abi.Hello{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// payloadOf returns a D-Bus message.
func payloadOf(t testing.TB, h wire.Header, args ...any) []byte {
	t.Helper()
	m := wire.Message{Header: h}
	if m.Serial == 0 {
		m.Serial = 1
	}
	err := m.SetBody(args...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signalTo is an envelope of a signal to one connection.
func signalTo(c *nativetest.Client, id, cookie uint64) abi.Message {
	return abi.Message{Flags: abi.MsgSignal, DstID: id, Cookie: cookie, Bloom: abi.BloomFilter{Data: make([]byte, c.Bloom.Size)}}
}

func (c *Conn) id() uint64 { return c.transport.(*frames).self.Load().id }

func TestWhatAPeerClaimsIsNotBelieved(t *testing.T) {
	address := kdbustest.Start(t).Address()
	victim, liar := join(t, address), speaker(t, address)
	ctx := testContext(t)
	s, err := victim.Subscribe(ctx, Match{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A call that waits: of the liar, who answers it in a way that the bus does not know of.
	failed := make(chan error, 1)
	go func() {
		_, err := victim.Object(uniqueName(liar.ID), "/").Call(ctx, "a.b.Wait")
		failed <- err
	}()
	call, err := liar.Recv()
	if err != nil {
		t.Fatal(err)
	}
	serial := uint32(call.Cookie)
	signal := wire.Header{Type: wire.TypeSignal, Path: "/", Interface: busName, Member: "NameOwnerChanged", Sender: busName}
	for i, test := range []struct {
		what    string
		message abi.Message
		payload []byte
	}{
		{"an answer that is none to the bus", abi.Message{DstID: victim.id(), Cookie: 2},
			payloadOf(t, wire.Header{Type: wire.TypeMethodReturn, ReplySerial: serial}, "forged")},
		{"an answer that is a signal to the bus", signalTo(liar, victim.id(), 3),
			payloadOf(t, wire.Header{Type: wire.TypeError, ReplySerial: serial, ErrorName: "a.b.C"}, "forged")},
		{"a call that does not tell the bus that it waits", abi.Message{DstID: victim.id(), Cookie: 4},
			payloadOf(t, wire.Header{Type: wire.TypeMethodCall, Path: "/", Member: "Forged"})},
		{"more descriptors than come", signalTo(liar, victim.id(), 5),
			payloadOf(t, wire.Header{Type: wire.TypeSignal, Path: "/", Interface: "a.b", Member: "C", UnixFDs: 1})},
		{"no message", signalTo(liar, victim.id(), 6), []byte("this is no D-Bus message")},
		{"half a message", signalTo(liar, victim.id(), 7), payloadOf(t, signal, "a.b", "", ":1.1")[:60]},
		{"two messages", signalTo(liar, victim.id(), 8), bytes.Repeat(payloadOf(t, signal, "a.b", "", ":1.1"), 2)},
		{"no payload", signalTo(liar, victim.id(), 9), nil},
	} {
		if _, err := liar.Send(nativetest.Outgoing{Message: test.message, Body: test.payload}); err != nil {
			t.Fatalf("%d, %s: %v", i, test.what, err)
		}
	}
	// A signal that claims to be of the bus, and to somebody else, is of who sent it to whom it came.
	signal.Destination = "com.example.Other"
	_, err = liar.Send(nativetest.Outgoing{Message: signalTo(liar, victim.id(), 10), Body: payloadOf(t, signal, "a.b", "", ":1.1")})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if m.Member() != "NameOwnerChanged" || m.Sender() != uniqueName(liar.ID) || m.Destination() != victim.Name() || m.Serial() != 10 {
		t.Errorf("received: %v with serial %d", m, m.Serial())
	}
	select {
	case err := <-failed:
		t.Errorf("the call has ended: %v", err)
	default:
	}
	liar.Close()
	if err := <-failed; !errors.Is(err, ErrNoReply) {
		t.Errorf("when its callee has left, the call ends with %v", err)
	}
}

func TestPayloadMayBeInAnyPieces(t *testing.T) {
	address := kdbustest.Start(t).Address()
	receiver, sender := join(t, address), speaker(t, address)
	s, err := receiver.Subscribe(testContext(t), Match{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("zeros follow", 1000)
	whole := payloadOf(t, wire.Header{Type: wire.TypeSignal, Path: "/", Interface: "a.b", Member: "C"}, text, make([]byte, 50_000))
	bodySize := len(whole) - bytes.Index(whole, []byte(text)) + 4
	head := len(whole) - bodySize
	memfd := func(b []byte) int {
		fd, err := nativetest.Memfd(append([]byte("before"), b...))
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	piece := func(number, size int) abi.Payload {
		return abi.Payload{Type: abi.ItemPayloadMemfd, FD: int32(number), Offset: 6, Size: uint64(size)}
	}
	zeros := abi.Payload{Type: abi.ItemPayloadVec, Size: 40_000}
	for i, test := range []struct {
		inline []byte
		pieces []abi.Payload
		files  [][]byte
	}{
		{whole, nil, nil},
		{whole[:head], []abi.Payload{piece(0, bodySize)}, [][]byte{whole[head:]}},
		{whole[:20], []abi.Payload{piece(0, len(whole)-20)}, [][]byte{whole[20:]}},
		{whole[:head+8], []abi.Payload{piece(0, bodySize-8)}, [][]byte{whole[head+8:]}},
		{nil, []abi.Payload{piece(0, len(whole))}, [][]byte{whole}},
		{nil, []abi.Payload{piece(1, 30), piece(0, len(whole)-30)}, [][]byte{whole[30:], whole[:30]}},
		{whole[:len(whole)-40_000], []abi.Payload{zeros}, nil},
	} {
		out := nativetest.Outgoing{Message: signalTo(sender, receiver.id(), 1), Body: test.inline}
		out.Payload = test.pieces
		for _, content := range test.files {
			out.Passed = append(out.Passed, memfd(content))
		}
		_, err := sender.Send(out)
		nativetest.CloseAll(out.Passed)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		m, err := s.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		var gotText string
		var gotZeros []byte
		if err := m.Decode(&gotText, &gotZeros); err != nil || gotText != text || !bytes.Equal(gotZeros, make([]byte, 50_000)) {
			t.Errorf("%d: %v, %d and %d bytes", i, err, len(gotText), len(gotZeros))
		}
	}
}

func TestWhatTheBusDropsIsCounted(t *testing.T) {
	address := kdbustest.Start(t).Address()
	receiver, sender := join(t, address), join(t, address)
	ctx := testContext(t)
	const n = 30_000
	s, err := receiver.Subscribe(ctx, Match{Interface: "a.b"}, n)
	if err != nil {
		t.Fatal(err)
	}
	for !receiver.turn.take() { // from now on it does not receive
	}
	for range n {
		if err := sender.Emit(ctx, "/", "a.b.C", "a signal"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sender.Object(busName, busPath).Call(ctx, busName+".GetId"); err != nil {
		t.Fatal(err) // when this is answered, all signals have been looked at
	}
	if err := receiver.receive(0); err != nil {
		t.Fatal(err)
	}
	got := uint64(0)
	for got+receiver.Dropped() < n {
		// What was sent before this is answered comes before the answer.
		if _, err := receiver.NameOwner(ctx, busName); err != nil {
			t.Fatalf("%d signals came, and %d were dropped: %v", got, receiver.Dropped(), err)
		}
		for len(s.Messages()) > 0 {
			<-s.Messages()
			got++
		}
	}
	dropped := receiver.Dropped()
	if dropped == 0 || got+dropped != n || s.Dropped() != dropped {
		t.Errorf("of %d signals %d came, and %d were dropped, says the subscription %d", n, got, dropped, s.Dropped())
	}
	if later, err := receiver.Subscribe(ctx, Match{Interface: "c.d"}, 0); err != nil || later.Dropped() != 0 {
		t.Errorf("a later subscription has lost some: %v", err)
	}
}

// A file that could be cut off must not be mapped, whatever the bus has let through.
func TestMemfdsAreCheckedOnceMore(t *testing.T) {
	whole := payloadOf(t, wire.Header{Type: wire.TypeSignal, Path: "/", Interface: "a.b", Member: "C"}, strings.Repeat("x", 1000))
	for _, test := range []struct {
		behaviour string
		seals     int
		offset    uint64
		number    int32
		want      bool
	}{
		{"sealed", memfdSeals, 0, 0, true},
		{"may shrink", memfdSeals &^ unix.F_SEAL_SHRINK, 0, 0, false},
		{"may be written", memfdSeals &^ unix.F_SEAL_WRITE, 0, 0, false},
		{"too short", memfdSeals, 1, 0, false},
		{"not there", memfdSeals, 0, 1, false},
		{"negative", memfdSeals, 0, -1, false},
	} {
		fd, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, whole); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, test.seals&^unix.F_SEAL_SEAL); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, test.seals&unix.F_SEAL_SEAL); err != nil {
			t.Fatal(err)
		}
		piece := abi.Payload{Type: abi.ItemPayloadMemfd, FD: test.number, Offset: test.offset, Size: uint64(len(whole))}
		raw, err := joinPieces([]abi.Payload{piece}, nil, []int{fd})
		if (err == nil) != test.want || test.want && !bytes.Equal(raw, whole) {
			t.Errorf("%s: %v", test.behaviour, err)
		}
		mapping, err := mapMemfd(piece, []int{fd})
		if (err == nil) != test.want || test.want && !bytes.Equal(mapping.data, whole) {
			t.Errorf("%s: %v", test.behaviour, err)
		}
		if mapping != nil {
			mapping.release()
		}
		unix.Close(fd)
	}
}

func TestErrnosAreTheErrorsOfDBus(t *testing.T) {
	for _, test := range []struct {
		errno syscall.Errno
		want  *Error
	}{
		{syscall.ESRCH, ErrServiceUnknown},
		{syscall.ENXIO, ErrServiceUnknown},
		{syscall.EADDRNOTAVAIL, ErrServiceUnknown},
		{syscall.EPERM, ErrAccessDenied},
		{syscall.ENOBUFS, ErrLimitsExceeded},
		{syscall.ECOMM, ErrNotSupported},
		{syscall.EPIPE, ErrNoReply},
		{syscall.ETIMEDOUT, ErrNoReply},
		{syscall.EBADMSG, ErrInvalidArgs},
		{syscall.EXDEV, ErrFailed},
	} {
		for _, text := range []string{"", "why", "not \xff text"} {
			err := errorOfErrno(test.errno, text)
			if !errors.Is(err, test.want) || !errors.Is(err, test.errno) || err.Message == "" {
				t.Errorf("%v is %v, want %v", test.errno, err, test.want)
			}
		}
	}
}

func TestWhoKnocksIsHeard(t *testing.T) {
	var turn turn
	if !turn.take() || turn.take() || turn.takeOrKnock() || turn.takeOrKnock() {
		t.Fatal("the turn is not one's")
	}
	if turn.end() {
		t.Error("the turn has ended, although somebody knocked")
	}
	if !turn.end() || !turn.takeOrKnock() || !turn.end() {
		t.Error("the turn does not end")
	}
	// However takers and knockers meet: after the last knock somebody has the turn and looks.
	var events, seen int
	var mu sync.Mutex
	look := func() {
		for {
			mu.Lock()
			seen = events
			mu.Unlock()
			if turn.end() {
				return
			}
		}
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10_000 {
				mu.Lock()
				events++
				mu.Unlock()
				if turn.takeOrKnock() {
					look()
				}
			}
		})
	}
	all.Wait()
	if seen != events {
		t.Errorf("%d of %d events were seen", seen, events)
	}
}
