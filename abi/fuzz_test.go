package abi

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// What holds for any bytes: nothing panics; what is decoded is encoded to
// something that decodes to the same, and is not larger than what it came from;
// an error is an *Error with an errno.

// judge is a *testing.T or a *rapid.T.
type judge interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func checkError(t judge, err error) {
	t.Helper()
	if name := errno(err); name == "" || name == "no *Error" {
		t.Fatalf("error without errno: %v", err)
	}
	_ = err.Error()
}

func same(t judge, a, b any) {
	t.Helper()
	if diff := cmp.Diff(a, b, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
}

// FuzzCommand decodes all commands: as requests, as negotiations and as replies.
func FuzzCommand(f *testing.F) {
	for i, cmd := range commands {
		f.Add(byte(i), example(cmd).Append(nil))
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) { checkCommand(t, commands[int(which)%len(commands)], b) })
}

func checkCommand(t judge, cmd Cmd, b []byte) {
	got, again := newCommand(cmd), newCommand(cmd)
	original := bytes.Clone(b)
	if err := got.Decode(b); err == nil {
		encoded := got.Append(nil)
		if len(encoded) > align8(len(b)) {
			t.Fatalf("%d bytes became %d", len(b), len(encoded))
		}
		if err := again.Decode(encoded); err != nil {
			t.Fatalf("%+v: %v", got, err)
		}
		same(t, got, again)
	} else {
		checkError(t, err)
	}
	if !bytes.Equal(b, original) {
		t.Fatal("Decode wrote")
	}
	if r, ok := newCommand(cmd).(replied); ok {
		if err := r.DecodeReply(b); err == nil {
			r.PutReply(b)
			r2 := newCommand(cmd).(replied)
			if err := r2.DecodeReply(r.Append(nil)); err != nil {
				t.Fatalf("%+v: %v", r, err)
			}
			same(t, r, r2)
		} else {
			checkError(t, err)
		}
		copy(b, original)
	}
	if _, err := cmd.Negotiate(b); err != nil {
		checkError(t, err)
		if !bytes.Equal(b, original) {
			t.Fatal("Negotiate wrote in spite of an error")
		}
	} else if _, _, err := cmd.Negotiated(b); err != nil {
		t.Fatalf("the answer cannot be read: %v", err)
	}
}

// FuzzSentMessage decodes what clients send.
func FuzzSentMessage(f *testing.F) {
	f.Add(true, call().Append(nil))
	f.Add(false, signal().Append(nil))
	f.Fuzz(func(t *testing.T, sync bool, b []byte) {
		flags := SendFlags(0)
		if sync {
			flags = SendSyncReply
		}
		checkSentMessage(t, flags, b)
	})
}

func checkSentMessage(t judge, flags SendFlags, b []byte) {
	var got, again Message
	if err := got.DecodeSent(b, flags); err != nil {
		checkError(t, err)
		return
	}
	encoded := got.Append(nil)
	if len(encoded) > align8(len(b)) || len(encoded) != got.Size() {
		t.Fatalf("%d bytes became %d; Size is %d", len(b), len(encoded), got.Size())
	}
	if err := again.DecodeSent(encoded, flags); err != nil && !got.Negotiate.Probe {
		t.Fatalf("%+v: %v", got, err)
	}
	same(t, got, again)
	_ = got.PayloadWithin(uint64(len(b)), CmdMaxSize)
	_, _ = NegotiateMessage(b)
}

// FuzzReceivedMessage decodes what a bus sends, with its metadata.
func FuzzReceivedMessage(f *testing.F) {
	m := Message{SrcID: 1, Payload: []Payload{{Type: ItemPayloadOff, Offset: 96, Size: 8}}}
	f.Add(append(m.Append(nil), make([]byte, 8)...))
	f.Fuzz(func(t *testing.T, b []byte) { checkReceivedMessage(t, b) })
}

func checkReceivedMessage(t judge, b []byte) {
	var got, again Message
	if err := got.DecodeReceived(b); err != nil {
		checkError(t, err)
		return
	}
	for _, p := range got.Payload {
		if p.Type == ItemPayloadOff && !p.Zeros() {
			_ = b[p.Offset:][:p.Size]
		}
	}
	var meta Metadata
	if err := meta.Decode(got.Metadata); err != nil {
		t.Fatalf("metadata that was judged: %v", err)
	}
	// The items may be in another order then, and unknown ones are gone, so
	// that the payload has to be moved.
	size := int(u64(b, 0))
	moved := got.Size() - align8(size)
	for i := range got.Payload {
		if p := &got.Payload[i]; p.Type == ItemPayloadOff && !p.Zeros() {
			p.Offset += uint64(moved)
		}
	}
	encoded := got.Append(nil)
	if len(encoded) != got.Size() || len(encoded) > align8(size)+8 {
		t.Fatalf("%d bytes became %d; Size is %d", size, len(encoded), got.Size())
	}
	if len(got.Metadata)%8 == 0 {
		if err := again.DecodeReceived(append(encoded, b[min(align8(size), len(b)):]...)); err != nil {
			t.Fatalf("%+v: %v", got, err)
		}
		same(t, got, again)
	}
}

// FuzzInfo decodes what a bus tells about connections.
func FuzzInfo(f *testing.F) {
	f.Add((&Info{ID: 1, BusName: "0-bus", Metadata: Metadata{Has: AttachPIDs}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, again Info
		if err := got.Decode(b); err != nil {
			checkError(t, err)
			return
		}
		encoded := got.Append(nil)
		if len(encoded) > align8(len(b)) {
			t.Fatalf("%d bytes became %d", len(b), len(encoded))
		}
		if err := again.Decode(encoded); err != nil {
			t.Fatalf("%+v: %v", got, err)
		}
		same(t, got, again)
	})
}

// FuzzList decodes lists.
func FuzzList(f *testing.F) {
	f.Add(ListEntry{ID: 1, Name: OwnedName{"org.example.A", NamePrimary}}.Append(ListEntry{ID: 2}.Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var encoded []byte
		var got, again []ListEntry
		for e, err := range ListEntries(b) {
			if err != nil {
				checkError(t, err)
				return
			}
			got = append(got, e)
			encoded = e.Append(encoded)
		}
		if len(encoded) > align8(len(b)) {
			t.Fatalf("%d bytes became %d", len(b), len(encoded))
		}
		for e, err := range ListEntries(encoded) {
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, e)
		}
		same(t, got, again)
	})
}

// TestDamagedBytesAreRefusedOrDecoded damages valid bytes, which gets further than
// fuzzing does.
func TestDamagedBytesAreRefusedOrDecoded(t *testing.T) {
	damage := func(t *rapid.T, b []byte) []byte {
		for range rapid.IntRange(1, 3).Draw(t, "faults") {
			offset := rapid.IntRange(0, len(b)/8-1).Draw(t, "word") * 8
			switch old := u64(b, offset); rapid.IntRange(0, 3).Draw(t, "fault") {
			case 0:
				putU64(b, offset, u64s.Draw(t, "value"))
			case 1:
				putU64(b, offset, old+rapid.Uint64Range(0, 16).Draw(t, "more")-8)
			case 2:
				putU64(b, offset, old^1<<rapid.IntRange(0, 63).Draw(t, "bit"))
			case 3:
				b = b[:max(8, len(b)-8*rapid.IntRange(0, 4).Draw(t, "cut"))]
				putU64(b, 0, uint64(len(b)))
			}
		}
		return b
	}
	rapid.Check(t, func(t *rapid.T) {
		switch rapid.IntRange(0, 2).Draw(t, "decoder") {
		case 0:
			c := drawCommand(t)
			checkCommand(t, c.Cmd(), damage(t, c.Append(nil)))
		case 1:
			m := drawSentMessage(t)
			checkSentMessage(t, 0, damage(t, m.Append(nil)))
		case 2:
			m, payload := drawReceivedMessage(t)
			checkReceivedMessage(t, damage(t, append(m.Append(nil), make([]byte, payload)...)))
		}
	})
}

// FuzzPath decodes what follows the struct in the answer to making something.
func FuzzPath(f *testing.F) {
	f.Add(AppendPath(nil, "/run/kdbus/0-system/0-door"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path, err := DecodePath(b)
		if err != nil {
			checkError(t, err)
			return
		}
		if again, err := DecodePath(AppendPath(nil, path)); err != nil || again != path {
			t.Fatalf("%q became %q: %v", path, again, err)
		}
	})
}
