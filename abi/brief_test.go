package abi_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
)

func TestBriefHeaderIsAFramesHeader(t *testing.T) {
	h := abi.Brief{Size: 100, ID: 1 << 40, Flags: abi.MsgSignal | abi.MsgNoAutoStart, CookieReply: 7}
	b := h.Append(nil)
	if len(b) != abi.FrameHeaderSize {
		t.Fatalf("the header has %d bytes", len(b))
	}
	var f abi.FrameHeader
	if err := f.Decode(b); err != nil {
		t.Fatal(err)
	}
	if want := (abi.FrameHeader{Size: 100, Cmd: 0x9593, Tag: 1 << 40, Code: 4 | 2, FDs: 7}); f != want {
		t.Errorf("as a frame's header it is %+v, want %+v", f, want)
	}
	var got abi.Brief
	got.Decode(&f)
	if diff := cmp.Diff(h, got); diff != "" {
		t.Error(diff)
	}
	over := make([]byte, abi.FrameHeaderSize+1)
	h.Put(over)
	if diff := cmp.Diff(append(b, 0), over); diff != "" {
		t.Error(diff)
	}
	if got := abi.CmdBrief.String(); got != "BRIEF" {
		t.Errorf("the command is called %s", got)
	}
}

func TestBriefHeaderOfABroadcastSaysHowLongItsFilterIs(t *testing.T) {
	h := abi.Brief{Size: 24 + 5, ID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Filter: 2}
	var f abi.FrameHeader
	if err := f.Decode(h.Append(nil)); err != nil {
		t.Fatal(err)
	}
	var got abi.Brief
	got.Decode(&f)
	if diff := cmp.Diff(h, got); diff != "" {
		t.Error(diff)
	}
	message, filter, err := got.CutFilter([]byte("abcde"))
	if err != nil || string(message) != "abc" || string(filter) != "de" {
		t.Errorf("cut into %q and %q, %v", message, filter, err)
	}
	if message, filter, err := new(abi.Brief).CutFilter([]byte("abc")); err != nil || string(message) != "abc" || filter != nil {
		t.Errorf("without a filter cut into %q and %q, %v", message, filter, err)
	}
	if _, _, err := got.CutFilter([]byte("a")); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("cut more than there is, %v", err)
	}
}

func TestHeaderOfABroadcast(t *testing.T) {
	b := make([]byte, abi.FrameHeaderSize)
	b[abi.BroadcastHeaderSize] = 'l'
	abi.PutBroadcast(b, 77, 1<<40)
	var f abi.FrameHeader
	if err := f.Decode(b); err != nil || f.Size != 77 || f.Cmd != 0x9594 || f.Tag != 1<<40 || b[abi.BroadcastHeaderSize] != 'l' {
		t.Errorf("the header is %x: %+v, %v", b, f, err)
	}
	if got := abi.CmdBroadcast.String(); got != "BROADCAST" {
		t.Errorf("the command is called %s", got)
	}
}

func TestSerialOfADBusMessage(t *testing.T) {
	const header = "\x01\x00\x01\x00\x00\x00\x00\x04\x03\x02\x01\x00\x00\x00\x00"
	for _, test := range []struct {
		name, message string
		serial        uint32
		ok            bool
	}{
		{"little-endian", "l" + header, 0x01020304, true},
		{"big-endian", "B" + header, 0x04030201, true},
		{"neither", "x" + header, 0, false},
		{"too short", ("l" + header)[:15], 0, false},
		{"nothing", "", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if serial, ok := abi.Serial([]byte(test.message)); serial != test.serial || ok != test.ok {
				t.Errorf("serial is %#x, %v", serial, ok)
			}
		})
	}
}

func TestBriefMessageIsJudgedLikeOneOfSend(t *testing.T) {
	message := []byte("l\x01\x00\x01\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00")
	for _, test := range []struct {
		name    string
		h       abi.Brief
		message []byte
		want    syscall.Errno
	}{
		{"a call", abi.Brief{ID: 1, Flags: abi.MsgExpectReply | abi.MsgNoAutoStart}, message, 0},
		{"a reply", abi.Brief{ID: 1, CookieReply: 1<<32 - 1}, message, 0},
		{"a broadcast", abi.Brief{ID: abi.DstIDBroadcast, Flags: abi.MsgSignal}, message, 0},
		{"unknown flags", abi.Brief{ID: 1, Flags: 8}, message, syscall.EINVAL},
		{"no message", abi.Brief{ID: 1}, message[:15], syscall.EBADMSG},
		{"a serial of 0", abi.Brief{ID: 1}, append(message[:8:8], make([]byte, 8)...), syscall.EINVAL},
		{"too long", abi.Brief{ID: 1}, append(message[:16:16], make([]byte, abi.MsgMaxPayloadVecSize)...), syscall.EMSGSIZE},
		{"no destination", abi.Brief{}, message, syscall.EDESTADDRREQ},
		{"a broadcast that is no signal", abi.Brief{ID: abi.DstIDBroadcast}, message, syscall.EBADMSG},
		{"a signal that expects a reply", abi.Brief{ID: 1, Flags: abi.MsgSignal | abi.MsgExpectReply}, message, syscall.ENOTUNIQ},
		{"an answer that is a call", abi.Brief{ID: 1, Flags: abi.MsgExpectReply, CookieReply: 1}, message, syscall.EINVAL},
		{"an answer that is a signal", abi.Brief{ID: 1, Flags: abi.MsgSignal, CookieReply: 1}, message, syscall.EINVAL},
	} {
		t.Run(test.name, func(t *testing.T) {
			cookie, err := test.h.CheckSent(test.message)
			switch {
			case test.want == 0 && (err != nil || cookie != 5):
				t.Errorf("cookie is %d, %v", cookie, err)
			case test.want != 0 && !errors.Is(err, test.want):
				t.Errorf("error is %v, want %v", err, test.want)
			}
		})
	}
}
