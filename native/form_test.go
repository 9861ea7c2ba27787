package native_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// dbusPeer is a connection that gets messages as D-Bus 1 has them.
type dbusPeer struct {
	*bus.Conn
	woken chan struct{}
}

func (p *dbusPeer) Wake()             { p.woken <- struct{}{} }
func (p *dbusPeer) Wanted(meta.Kinds) {}

func (w *world) dbusPeer(flags bus.ConnFlags) *dbusPeer {
	w.t.Helper()
	p := &dbusPeer{woken: make(chan struct{}, 10)}
	var err error
	p.Conn, err = w.bus.Endpoint().Connect(bus.ConnConfig{
		Flags: flags, Wants: bus.PartDBus1, AttachSend: meta.AllKinds, Receiver: p,
		Limits: &bus.Limits{Quota: bus.Quota{Bytes: 127 << 20, FDs: 64}, MaxNames: 10, MaxCalls: 10},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.Hello(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	return p
}

// take returns the next message and what it is as D-Bus has it, and frees it afterwards.
func (w *world) take(p *dbusPeer, look func(m *bus.Message, d *wire.Message)) {
	w.t.Helper()
	select {
	case <-p.woken:
	case <-time.After(nativetest.Patience):
		w.t.Fatal("no message came")
	}
	messages := p.Dequeue(make([]*bus.Message, 0, 1))
	if len(messages) != 1 {
		w.t.Fatalf("%d messages", len(messages))
	}
	m := messages[0]
	raw := bytes.Join(m.Payload, nil)
	d, err := wire.ParseMessage(raw)
	if err != nil {
		w.t.Fatalf("% x: %v", raw, err)
	}
	look(m, d)
	p.Delivered(messages)
	p.Dequeue(messages[:0]) // there is nothing: wake us again
}

func TestDBusPeerGetsTheTruth(t *testing.T) {
	w := newWorld(t)
	a, p := w.join(), w.dbusPeer(bus.FlagAcceptFDs)
	self := fmt.Sprintf(":1.%d", a.ID)
	w.send(a, nativetest.Outgoing{
		Message: abi.Message{DstID: uint64(p.ID()), Cookie: 7<<32 | 5, Flags: abi.MsgExpectReply, TimeoutNS: never, FDs: []int32{0}},
		Body: dbus(t, wire.Header{
			Type: wire.TypeMethodCall, Serial: 5, Path: "/o", Interface: "org.example.I", Member: "M", Sender: ":1.666",
			UnixFDs: 1, Flags: wire.AllowInteractiveAuthorization,
		}, "x", uint32(7)),
		Passed: []int{pipeEnd(t)},
	})
	var reply *bus.Message
	w.take(p, func(m *bus.Message, d *wire.Message) {
		want := wire.Header{
			Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: 5, Path: "/o", Interface: "org.example.I", Member: "M",
			Sender: self, Destination: p.UniqueName(), UnixFDs: 1, Signature: "su", BodySize: d.BodySize,
			Flags: wire.AllowInteractiveAuthorization,
		}
		if diff := cmp.Diff(want, d.Header); diff != "" {
			t.Error(diff)
		}
		if values, err := d.Values(); err != nil || values[0] != "x" || values[1] != uint32(7) {
			t.Errorf("%v, %v", values, err)
		}
		if len(m.FDs) != 1 || m.Cookie != 7<<32|5 {
			t.Errorf("%+v", m)
		}
		reply = &bus.Message{Dst: m.Src, Cookie: 9, ReplyCookie: m.Cookie, Payload: [][]byte{dbus(t, wire.Header{
			Type: wire.TypeMethodReturn, Serial: 9, ReplySerial: 5, Sender: p.UniqueName(), Destination: self,
		}, "answer")}}
	})
	if err := p.Send(reply); err != nil {
		t.Fatal(err)
	}
	p.Flush()
	reply.Release()
	m := w.recv(a)
	if m.SrcID != uint64(p.ID()) || m.CookieReply != 7<<32|5 || m.PayloadType != abi.PayloadDBus || m.Cookie != 9 {
		t.Errorf("%+v", m.Message)
	}
	if d, err := wire.ParseMessage([]byte(w.content(m))); err != nil || d.ReplySerial != 5 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestMessagesOfDBusPeersArrive(t *testing.T) {
	w := newWorld(t)
	a := w.join(func(h *abi.Hello) { h.AttachFlagsRecv = abi.AttachTimestamp })
	p := w.dbusPeer(0)
	w.do(a, &abi.MatchAdd{Cookie: 1})
	pieces := [][]byte{[]byte("in two "), []byte("pieces")}
	for _, m := range []*bus.Message{
		{Dst: bus.ID(a.ID), Cookie: 1, Flags: bus.ExpectReply, Payload: pieces, FDs: []int{dup(t, pipeEnd(t))}},
		{Dst: bus.Broadcast, Cookie: 2, Payload: pieces},
	} {
		if err := p.Send(m); err != nil {
			t.Fatal(err)
		}
		p.Flush()
		m.Release()
	}
	call := w.recv(a)
	if call.Flags != abi.MsgExpectReply || call.TimeoutNS != never || call.DstID != a.ID || len(call.FDs) != 1 || len(call.Passed) != 1 ||
		w.content(call) != "in two pieces" || call.Meta.Has != abi.AttachTimestamp {
		t.Errorf("%+v", call)
	}
	signal := w.recv(a)
	if signal.Flags != abi.MsgSignal || signal.DstID != abi.DstIDBroadcast || w.content(signal) != "in two pieces" {
		t.Errorf("%+v", signal)
	}
}

// A D-Bus 1 peer says in the header which name it addresses. Monitors are told as of a native peer.
func TestMonitorsAreToldWhichNameADBusPeerAddressed(t *testing.T) {
	w := newWorld(t)
	a := w.join()
	monitor := w.join(func(h *abi.Hello) { h.Flags |= abi.HelloMonitor })
	p := w.dbusPeer(0)
	w.do(a, &abi.NameAcquire{Name: "org.example.A"})
	m := &bus.Message{Dst: bus.ToName, DstName: "org.example.A", Cookie: 3, Payload: [][]byte{
		dbus(t, wire.Header{Type: wire.TypeMethodCall, Serial: 3, Path: "/", Member: "M", Destination: "org.example.A"}),
	}}
	if err := p.Send(m); err != nil {
		t.Fatal(err)
	}
	p.Flush()
	m.Release()
	if got := w.recv(a); got.DstName != "" || got.Cookie != 3 {
		t.Errorf("the receiver got %+v", got.Message)
	}
	for {
		if got := w.recv(monitor); got.Notification.Type == 0 {
			if got.DstName != "org.example.A" || got.DstID != abi.DstIDName {
				t.Errorf("the monitor got %+v", got.Message)
			}
			return
		}
	}
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestPayloadForDBusPeersHasToAgree(t *testing.T) {
	w := newWorld(t)
	a, p := w.join(), w.dbusPeer(bus.FlagAcceptFDs)
	id := uint64(p.ID())
	if _, err := p.AcquireName("org.example.P", 0); err != nil {
		t.Fatal(err)
	}
	call := func(change ...func(*wire.Header)) []byte {
		h := wire.Header{Type: wire.TypeMethodCall, Serial: 5, Path: "/o", Member: "M", Flags: wire.NoReplyExpected}
		for _, f := range change {
			f(&h)
		}
		return dbus(t, h)
	}
	to := func(name string) func(*wire.Header) { return func(h *wire.Header) { h.Destination = name } }
	plain := abi.Message{DstID: id, Cookie: 5}
	named := abi.Message{DstName: "org.example.P", Cookie: 5}
	expects := abi.Message{DstID: id, Cookie: 5, Flags: abi.MsgExpectReply, TimeoutNS: never}
	signal := abi.Message{DstID: id, Cookie: 5, Flags: abi.MsgSignal, Bloom: filter(64)}
	otherType := plain
	otherType.PayloadType = 99
	invalid := call()
	invalid[len(invalid)-1] = 'x'
	short := call(func(h *wire.Header) {})
	putU32(short[4:], 8)
	for _, c := range []struct {
		name    string
		message abi.Message
		body    []byte
		want    syscall.Errno
	}{
		{"call", plain, call(), 0},
		{"call that expects a reply", expects, call(func(h *wire.Header) { h.Flags = 0 }), 0},
		{"to the id", plain, call(to(p.UniqueName())), 0},
		{"to the name", named, call(to("org.example.P")), 0},
		{"to the name, by id", plain, call(to("org.example.P")), syscall.EBADMSG},
		{"to another", plain, call(to(":1.77")), syscall.EBADMSG},
		{"no payload", plain, nil, syscall.EBADMSG},
		{"no D-Bus", plain, []byte("0123456789abcdef"), syscall.EBADMSG},
		{"of another type", otherType, call(), syscall.EBADMSG},
		{"body shorter than said", plain, short, syscall.EBADMSG},
		{"another serial", plain, call(func(h *wire.Header) { h.Serial = 6 }), syscall.EBADMSG},
		{"says that it expects a reply", plain, call(func(h *wire.Header) { h.Flags = 0 }), syscall.EBADMSG},
		{"says that it expects none", expects, call(), syscall.EBADMSG},
		{"signal that is none", plain, dbus(t, wire.Header{Type: wire.TypeSignal, Serial: 5, Path: "/o", Interface: "a.b", Member: "M"}), syscall.EBADMSG},
		{"call as a signal", signal, call(), syscall.EBADMSG},
		{"reply that is none", plain, dbus(t, wire.Header{Type: wire.TypeMethodReturn, Serial: 5, ReplySerial: 9}), syscall.EBADMSG},
		{"message of an unknown type", plain, call(func(h *wire.Header) { h.Type = 9 }), syscall.EBADMSG},
		{"descriptors that it has not", plain, call(func(h *wire.Header) { h.UnixFDs = 1 }), syscall.EBADMSG},
	} {
		_, err := a.Send(nativetest.Outgoing{Message: c.message, Body: c.body})
		refuses(t, c.name, err, c.want)
		if c.want == 0 {
			w.take(p, func(*bus.Message, *wire.Message) {})
		}
	}
	if n := p.QueueStats().Messages; n != 0 {
		t.Errorf("%d messages arrived that cannot be read", n)
	}
}

func putU32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

// TestPayloadInPiecesIsPutTogether sends the same message cut in all kinds of pieces.
func TestPayloadInPiecesIsPutTogether(t *testing.T) {
	w := newWorld(t)
	a, p := w.join(), w.dbusPeer(0)
	text := strings.Repeat("0123456789abcdef", 20_000)
	whole := dbus(t, wire.Header{
		Type: wire.TypeMethodCall, Serial: 5, Path: "/o", Interface: "org.example.I", Member: "M", Flags: wire.NoReplyExpected,
	}, text)
	header := len(whole) - len(text) - 5 // where the body begins
	for _, cuts := range [][]int{
		nil,                          // in one memfd
		{header},                     // header in one, body in the other
		{8},                          // within the header
		{header + 1000},              // within the body
		{header, header + 100_000},   // body in two
		{10, 20, 30, header, 50_000}, // in many
	} {
		for _, firstInline := range []bool{true, false} {
			t.Run(fmt.Sprint(cuts, firstInline), func(t *testing.T) {
				o := nativetest.Outgoing{Message: abi.Message{DstID: uint64(p.ID()), Cookie: 5}}
				begin := 0
				for i, end := range append(slices.Clone(cuts), len(whole)) {
					if i == 0 && firstInline {
						o.Body = whole[:end]
					} else {
						// At an odd place in its file.
						fd, err := nativetest.Memfd(append(make([]byte, 5000), whole[begin:end]...))
						if err != nil {
							t.Fatal(err)
						}
						defer unix.Close(fd)
						o.Payload = append(o.Payload, abi.Payload{
							Type: abi.ItemPayloadMemfd, FD: int32(len(o.Passed)), Offset: 5000, Size: uint64(end - begin),
						})
						o.Passed = append(o.Passed, fd)
					}
					begin = end
				}
				w.send(a, o)
				w.take(p, func(_ *bus.Message, d *wire.Message) {
					if values, err := d.Values(); err != nil || values[0] != text {
						t.Errorf("%v", err)
					}
				})
			})
		}
	}
}

func TestLargeBodyIsNotInTheHeap(t *testing.T) {
	w := newWorld(t)
	a, p := w.join(), w.dbusPeer(0)
	const size = 64 << 20
	body := make([]byte, size)
	copy(body, []byte{0, 0, 0, 4}) // an array of 64 MiB, big-endian
	header := (&wire.Header{
		Order: wire.BigEndian, Type: wire.TypeMethodCall, Flags: wire.NoReplyExpected, Serial: 5, Path: "/o", Member: "M",
		Signature: "ay", BodySize: size,
	}).Append(nil)
	bodySize := uint32(size - 4)
	copy(body, []byte{byte(bodySize >> 24), byte(bodySize >> 16), byte(bodySize >> 8), byte(bodySize)})
	fd, err := nativetest.Memfd(body)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w.send(a, nativetest.Outgoing{
		Message: abi.Message{DstID: uint64(p.ID()), Cookie: 5, Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: size}}},
		Body:    header, Passed: []int{fd},
	})
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
	<-p.woken
	messages := p.Dequeue(make([]*bus.Message, 0, 1))
	pieces := messages[0].Payload
	if len(pieces) != 2 || len(pieces[1]) != size || !bytes.Equal(pieces[1][:8], body[:8]) {
		t.Errorf("%d pieces", len(pieces))
	}
	p.Delivered(messages)
}

// TestSparseMemfdIsRead gives the bus a file of which nothing is in memory yet.
func TestSparseMemfdIsRead(t *testing.T) {
	w := newWorld(t)
	a, p := w.join(), w.dbusPeer(0)
	fd, err := unix.MemfdCreate("sparse", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Ftruncate(fd, 1<<20)
	unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	_, err = a.Send(nativetest.Outgoing{
		Message: abi.Message{DstID: uint64(p.ID()), Cookie: 5, Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: 1 << 20}}},
		Passed:  []int{fd},
	})
	refuses(t, "zeros", err, syscall.EBADMSG)
	_, err = a.Send(nativetest.Outgoing{
		Message: abi.Message{DstID: uint64(p.ID()), Cookie: 5, Payload: []abi.Payload{{Type: abi.ItemPayloadVec, Size: 2 << 20}}},
	})
	refuses(t, "zeros that are nowhere", err, syscall.EBADMSG)
}

func TestDriverIsCalled(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	call := func(serial uint32, flags wire.Flags) []byte {
		return dbus(t, wire.Header{
			Type: wire.TypeMethodCall, Serial: serial, Path: "/org/freedesktop/DBus", Member: "GetId", Flags: flags,
			Destination: native.DriverName, Sender: ":1.666",
		})
	}
	check := func(m *nativetest.Message) {
		t.Helper()
		d, err := wire.ParseMessage([]byte(w.content(m)))
		if err != nil {
			t.Fatal(err)
		}
		values, err := d.Values()
		if m.SrcID != abi.SrcIDKernel || m.PayloadType != abi.PayloadDBus || m.Notification.Type != 0 || err != nil || values[0] != "GetId" {
			t.Errorf("%+v, %v", m.Message, values)
		}
	}
	base := abi.Message{DstName: native.DriverName, Flags: abi.MsgExpectReply, TimeoutNS: never}
	base.Cookie = 5
	w.send(c, nativetest.Outgoing{Message: base, Body: call(5, 0)})
	m := w.recv(c)
	check(m)
	if m.CookieReply != 5 {
		t.Errorf("%+v", m.Message)
	}
	base.Cookie = 1<<40 | 6
	m = w.send(c, nativetest.Outgoing{Message: base, Body: call(6, 0), Flags: abi.SendSyncReply})
	check(m)
	if m.CookieReply != 1<<40|6 {
		t.Errorf("%+v", m.Message)
	}
	base.Cookie, base.Flags, base.TimeoutNS = 7, 0, 0
	w.send(c, nativetest.Outgoing{Message: base, Body: call(7, wire.NoReplyExpected)})
	_, err := c.Send(nativetest.Outgoing{Message: base, Body: []byte("no D-Bus")})
	refuses(t, "no D-Bus", err, syscall.EBADMSG)
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	if got, want := strings.Join(w.driver.calls, ","), strings.Repeat(fmt.Sprintf(",:1.%d GetId", c.ID), 3)[1:]; got != want {
		t.Errorf("calls %s, want %s", got, want)
	}
	without := newWorld(t, func(_ *bus.Config, c *native.Config) { c.Driver = nil })
	_, err = without.join().Send(nativetest.Outgoing{Message: base, Body: call(7, wire.NoReplyExpected)})
	refuses(t, "no driver", err, syscall.ESRCH)
}
