package abi

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestFrameHeaderIsLaidOutAsDocumented(t *testing.T) {
	h := FrameHeader{Size: 0x01020304, Cmd: CmdSend, Tag: 0x1112131415161718, Code: 0x21222324, FDs: 0x31323334}
	b := h.Append([]byte("x"))[1:]
	if len(b) != FrameHeaderSize {
		t.Fatalf("%d bytes", len(b))
	}
	o := binary.NativeEndian
	for _, f := range []struct {
		name      string
		got, want uint64
	}{
		{"size", uint64(o.Uint32(b)), 0x01020304},
		{"cmd", uint64(o.Uint32(b[4:])), uint64(CmdSend)},
		{"tag", o.Uint64(b[8:]), 0x1112131415161718},
		{"code", uint64(o.Uint32(b[16:])), 0x21222324},
		{"fds", uint64(o.Uint32(b[20:])), 0x31323334},
	} {
		if f.got != f.want {
			t.Errorf("%s is %#x, not %#x", f.name, f.got, f.want)
		}
	}
	put := make([]byte, 30)
	h.Put(put)
	if !bytes.Equal(put[:24], b) || !bytes.Equal(put[24:], make([]byte, 6)) {
		t.Errorf("Put wrote % x", put)
	}
}

func TestFrameLimitsAreThoseOfTheDocument(t *testing.T) {
	if FrameMaxSize != 24+32768+32768+2097152 || FrameMaxFDs != 253 {
		t.Fatal(FrameMaxSize, FrameMaxFDs)
	}
}

func TestFrameHeaderIsRefused(t *testing.T) {
	short := FrameHeader{Size: 23}
	for name, b := range map[string][]byte{
		"shorter than a header":        make([]byte, 23),
		"says it is less than header":  short.Append(nil),
		"empty":                        nil,
		"zeros, which is of size zero": make([]byte, 100),
	} {
		var h FrameHeader
		if got := errno(h.Decode(b)); got != "EINVAL" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestCancelIsACommand(t *testing.T) {
	want := &Cancel{Tag: 0x1122334455667788}
	b := want.Append(nil)
	if len(b) != 32 || u64(b, 0) != 32 || u64(b, 24) != want.Tag {
		t.Fatalf("% x", b)
	}
	var got Cancel
	if err := got.Decode(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Fatal(diff)
	}
	if CmdCancel.String() != "CANCEL" || CmdCancel.FixedSize() != 32 || CmdCancel&0xffff != 0x9592 {
		t.Fatalf("%s %d %#x", CmdCancel, CmdCancel.FixedSize(), uint32(CmdCancel))
	}
	probe := (&Cancel{Negotiate: Negotiation{Probe: true}}).Append(nil)
	if done, err := CmdCancel.Negotiate(probe); !done || err != nil {
		t.Fatal(done, err)
	}
}

func TestStructsAreCut(t *testing.T) {
	sized := func(size uint64, n int) []byte {
		b := make([]byte, n)
		putU64(b, 0, size)
		return b
	}
	for _, c := range []struct {
		name        string
		b           []byte
		first, rest int
		errno       string
	}{
		{"with something behind it", sized(24, 40), 24, 16, ""},
		{"with padding", sized(25, 40), 25, 8, ""},
		{"alone", sized(24, 24), 24, 0, ""},
		{"without its padding", sized(25, 25), 25, 0, ""},
		{"too short", make([]byte, 7), 0, 0, "EINVAL"},
		{"of no size", sized(0, 24), 0, 0, "EINVAL"},
		{"beyond the end", sized(25, 24), 0, 0, "EINVAL"},
		{"too large", sized(CmdMaxSize+1, CmdMaxSize+8), 0, 0, "EMSGSIZE"},
		{"huge", sized(1<<64-1, 24), 0, 0, "EMSGSIZE"},
	} {
		first, rest, err := CutStruct(c.b, "struct")
		if c.errno != "" {
			if errno(err) != c.errno {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil || len(first) != c.first || len(rest) != c.rest {
			t.Errorf("%s: %d, %d, %v", c.name, len(first), len(rest), err)
		}
	}
}

func TestFrameHeadersSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := FrameHeader{
			Size: rapid.Uint32Min(FrameHeaderSize).Draw(t, "size"),
			Cmd:  Cmd(rapid.Uint32().Draw(t, "cmd")),
			Tag:  rapid.Uint64().Draw(t, "tag"),
			Code: rapid.Uint32().Draw(t, "code"),
			FDs:  rapid.Uint32().Draw(t, "fds"),
		}
		var got FrameHeader
		if err := got.Decode(want.Append(nil)); err != nil {
			t.Fatal(err)
		}
		same(t, want, got)
	})
}

// FuzzFrame decodes what a frame begins with, and what its body is cut into.
func FuzzFrame(f *testing.F) {
	send := (&Send{}).Append(nil)
	body := append(call().Append(send), "payload"...)
	h := FrameHeader{Size: uint32(FrameHeaderSize + len(body)), Cmd: CmdSend, Tag: 1}
	f.Add(append(h.Append(nil), body...))
	cancel := (&Cancel{Tag: 1}).Append(nil)
	h = FrameHeader{Size: uint32(FrameHeaderSize + len(cancel)), Cmd: CmdCancel, Tag: 2, Code: uint32(FrameQuiet)}
	f.Add(append(h.Append(nil), cancel...))
	f.Add(make([]byte, 24))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h FrameHeader
		if err := h.Decode(b); err != nil {
			checkError(t, err)
			return
		}
		if !bytes.Equal(h.Append(nil), b[:FrameHeaderSize]) {
			t.Fatalf("%+v is not % x", h, b[:FrameHeaderSize])
		}
		for body := b[FrameHeaderSize:]; len(body) > 0; {
			first, rest, err := CutStruct(body, "struct")
			if err != nil {
				checkError(t, err)
				return
			}
			if len(first)+len(rest) > len(body) || len(body)-len(first)-len(rest) > 7 {
				t.Fatalf("%d bytes were cut into %d and %d", len(body), len(first), len(rest))
			}
			body = rest
		}
		var c Cancel
		body := b[FrameHeaderSize:]
		if err := c.Decode(body); err != nil {
			checkError(t, err)
		} else if err := new(Cancel).Decode(c.Append(nil)); err != nil {
			t.Fatal(err)
		}
	})
}
