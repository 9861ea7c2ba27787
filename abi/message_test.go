package abi

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestAnySentMessageIsDecodedToWhatWasEncoded(t *testing.T) {
	var got Message // used again and again
	rapid.Check(t, func(t *rapid.T) {
		want := drawSentMessage(t)
		b := want.Append(nil)
		if len(b) != want.Size() {
			t.Fatalf("%d bytes, but Size is %d", len(b), want.Size())
		}
		if err := got.DecodeSent(b, 0); err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAnyReceivedMessageIsDecodedToWhatWasEncoded(t *testing.T) {
	var got Message // used again and again
	rapid.Check(t, func(t *rapid.T) {
		want, payload := drawReceivedMessage(t)
		b := want.Append(nil)
		if len(b) != want.Size() {
			t.Fatalf("%d bytes, but Size is %d", len(b), want.Size())
		}
		if err := got.DecodeReceived(append(b, make([]byte, payload)...)); err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAnyMetadataIsDecodedToWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawFullMetadata(t)
		var got Metadata
		if err := got.Decode(want.Append(nil, AttachAny)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		mask := attachFlags.Draw(t, "mask")
		if err := got.Decode(want.Append(nil, mask)); err != nil || got.Has != mask {
			t.Fatalf("asked for %v, got %v, %v", mask, got.Has, err)
		}
	})
}

func TestAnyInfoIsDecodedToWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Info{ID: u64s.Draw(t, "id"), Flags: u64s.Draw(t, "flags"), Metadata: drawMetadata(t)}
		if rapid.Bool().Draw(t, "bus") {
			want.BusName = sysnames.Draw(t, "name")
		}
		var got Info
		if err := got.Decode(want.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAnyListIsDecodedToWhatWasEncoded(t *testing.T) {
	entries := rapid.Custom(func(t *rapid.T) ListEntry {
		e := ListEntry{ID: u64s.Draw(t, "id"), Flags: HelloFlags(u64s.Draw(t, "flags"))}
		if rapid.Bool().Draw(t, "named") {
			e.Name = OwnedName{names.Draw(t, "name"), NameFlags(u64s.Draw(t, "flags"))}
		}
		return e
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(entries, 0, 4).Draw(t, "entries")
		var b []byte
		for _, e := range want {
			b = e.Append(b)
		}
		var got []ListEntry
		for e, err := range ListEntries(b) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// call returns a valid call.
func call() *Message {
	return &Message{
		Flags: MsgExpectReply, DstID: 5, PayloadType: PayloadDBus, Cookie: 1, TimeoutNS: 1,
		Payload: []Payload{{Type: ItemPayloadVec, Offset: 8, Size: 8}},
	}
}

// signal returns a valid broadcast.
func signal() *Message {
	return &Message{
		Flags: MsgSignal, DstID: DstIDBroadcast, PayloadType: PayloadDBus, Cookie: 1,
		Bloom: BloomFilter{Data: make([]byte, 64)},
	}
}

// changed returns a valid message encoded after a change.
func changed(m *Message, change func(*Message)) []byte {
	change(m)
	return m.Append(nil)
}

func TestSentMessageIsRefused(t *testing.T) {
	plain := call().Append(nil)
	vec := func(n uint64) Payload { return Payload{Type: ItemPayloadVec, Offset: 8, Size: n} }
	memfd := Payload{Type: ItemPayloadMemfd, Size: 1}
	for _, c := range []struct {
		name  string
		bytes []byte
		flags SendFlags
		errno string
	}{
		{"call", plain, 0, ""},
		{"synchronous call", plain, SendSyncReply, ""},
		{"broadcast", signal().Append(nil), 0, ""},
		{"signal to one", changed(signal(), func(m *Message) { m.DstID = 5 }), 0, ""},
		{"call to a name", changed(call(), func(m *Message) { m.DstID, m.DstName = 0, "a.b" }), 0, ""},
		{"call to a name and its owner", changed(call(), func(m *Message) { m.DstName = "a.b" }), 0, ""},
		{"memfd and descriptors", changed(call(), func(m *Message) {
			m.Payload, m.FDs = append(m.Payload, memfd), []int32{1, 2}
		}), 0, ""},

		{"size less than the struct's", nums(56), 0, "EINVAL"},
		{"size over the limit", putSize(append(bytes.Clone(plain), make([]byte, CmdMaxSize)...), 0), 0, "EMSGSIZE"},
		{"unknown flag", put(plain, 8, 8), 0, "EINVAL"},
		{"payload type of the bus", put(plain, 40, 0), 0, "EINVAL"},
		{"call without timeout", put(plain, 56, 0), 0, "EINVAL"},
		{"call without cookie", put(plain, 48, 0), 0, "EINVAL"},
		{"synchronous, but no call", changed(call(), func(m *Message) { m.Flags = 0 }), SendSyncReply, "EINVAL"},
		{"signal that is a call", changed(signal(), func(m *Message) {
			m.DstID, m.Flags, m.TimeoutNS = 5, MsgSignal|MsgExpectReply, 1
		}), 0, "ENOTUNIQ"},
		{"signal that is a reply", changed(signal(), func(m *Message) { m.DstID, m.CookieReply = 5, 1 }), 0, "EINVAL"},
		{"broadcast that is no signal", changed(call(), func(m *Message) {
			m.DstID, m.Flags = DstIDBroadcast, 0
		}), 0, "EBADMSG"},
		{"broadcast with a timeout", put(signal().Append(nil), 56, 1), 0, "ENOTUNIQ"},
		{"broadcast to a name", changed(signal(), func(m *Message) { m.DstName = "a.b" }), 0, "EBADMSG"},
		{"broadcast with descriptors", changed(signal(), func(m *Message) { m.FDs = []int32{1} }), 0, "ENOTUNIQ"},
		{"broadcast with no descriptors", with(signal().Append(nil), ItemFDs), 0, "ENOTUNIQ"},
		{"signal without filter", changed(signal(), func(m *Message) { m.Bloom.Data = nil }), 0, "EBADMSG"},
		{"call with filter", changed(call(), func(m *Message) { m.Bloom.Data = make([]byte, 8) }), 0, "EBADMSG"},
		{"nowhere to go", changed(call(), func(m *Message) { m.DstID = DstIDName }), 0, "EDESTADDRREQ"},
		{"to a unique name", changed(call(), func(m *Message) { m.DstName = ":1.5" }), 0, "EINVAL"},

		{"vector of size 0", changed(call(), func(m *Message) { m.Payload[0].Size = 0 }), 0, "EINVAL"},
		{"vectors of 2 MiB", changed(call(), func(m *Message) {
			m.Payload = []Payload{vec(1 << 20), vec(1 << 20)}
		}), 0, ""},
		{"vectors of more than 2 MiB", changed(call(), func(m *Message) {
			m.Payload = []Payload{vec(1 << 20), vec(1<<20 + 1)}
		}), 0, "EMSGSIZE"},
		{"vectors of 2^64", changed(call(), func(m *Message) {
			m.Payload = []Payload{vec(1 << 63), vec(1 << 63)}
		}), 0, "EMSGSIZE"},
		{"payload of a receiver", changed(call(), func(m *Message) { m.Payload[0].Type = ItemPayloadOff }), 0, "EINVAL"},
		{"16 memfds", changed(call(), func(m *Message) {
			m.Payload = slicesRepeat(memfd, 16)
		}), 0, ""},
		{"17 memfds", changed(call(), func(m *Message) { m.Payload = slicesRepeat(memfd, 17) }), 0, "E2BIG"},
		{"memfd of size 0", changed(call(), func(m *Message) {
			m.Payload[0] = Payload{Type: ItemPayloadMemfd}
		}), 0, "EINVAL"},
		{"memfd that is no descriptor", changed(call(), func(m *Message) {
			m.Payload[0] = Payload{Type: ItemPayloadMemfd, Size: 1, FD: -1}
		}), 0, "EBADF"},
		{"memfd that wraps around", changed(call(), func(m *Message) {
			m.Payload[0] = Payload{Type: ItemPayloadMemfd, Size: 2, Offset: 1<<64 - 1}
		}), 0, "EMSGSIZE"},
		{"memfd of 16 bytes", with(plain, ItemPayloadMemfd, nums(0, 1)...), 0, "EINVAL"},

		{"253 descriptors", changed(call(), func(m *Message) { m.FDs = make([]int32, 253) }), 0, ""},
		{"254 descriptors", changed(call(), func(m *Message) { m.FDs = make([]int32, 254) }), 0, "EMFILE"},
		{"descriptor that is none", changed(call(), func(m *Message) { m.FDs = []int32{1, -1} }), 0, "EBADF"},
		{"one and a half descriptors", with(plain, ItemFDs, 0, 0, 0, 0, 0, 0), 0, "EINVAL"},
		{"descriptors twice", with(with(plain, ItemFDs, 0, 0, 0, 0), ItemFDs, 0, 0, 0, 0), 0, "EEXIST"},
		{"name twice", with(with(plain, ItemDstName, str("a.b")...), ItemDstName, str("a.b")...), 0, "EEXIST"},

		{"filter of 4 bytes, no generation", with(plain, ItemBloomFilter, 0, 0, 0, 0), 0, "EINVAL"},
		{"filter of 9 bytes", changed(signal(), func(m *Message) { m.Bloom.Data = make([]byte, 9) }), 0, "EFAULT"},
		{"filter of 0 bytes", changed(signal(), func(m *Message) { m.Bloom.Data = []byte{} }), 0, "EDOM"},
		{"filter of 4104 bytes", changed(signal(), func(m *Message) { m.Bloom.Data = make([]byte, 4104) }), 0, "EDOM"},

		{"item that is not aligned", putSize(append(append(
			appendItemHeader(bytes.Clone(plain), ItemDstName, 4), "a.b\x00"...), AppendItem(nil, ItemFDs, nil)...), 0),
			0, "EINVAL"},
		{"metadata", with(plain, ItemCreds, make([]byte, 64)...), 0, "EINVAL"},
		{"notification", with(plain, ItemReplyDead), 0, "EINVAL"},
		{"negotiation", with(plain, ItemNegotiate, nums(1)...), 0, "EINVAL"},
	} {
		var m Message
		if err := m.DecodeSent(c.bytes, c.flags); errno(err) != c.errno {
			t.Errorf("%s: %v, want %q", c.name, err, c.errno)
		}
	}
}

func slicesRepeat(p Payload, n int) (s []Payload) {
	for range n {
		s = append(s, p)
	}
	return s
}

func TestReceivedMessageIsRefused(t *testing.T) {
	m := Message{SrcID: 1, DstID: 2, Payload: []Payload{{Type: ItemPayloadOff, Offset: 96, Size: 8}}}
	plain := m.Append(nil) // 96 bytes
	payload := func(b []byte, n int) []byte { return append(bytes.Clone(b), make([]byte, n)...) }
	off := func(pairs ...uint64) []byte {
		m := Message{SrcID: 1}
		for i := 0; i < len(pairs); i += 2 {
			m.Payload = append(m.Payload, Payload{Type: ItemPayloadOff, Offset: pairs[i], Size: pairs[i+1]})
		}
		return m.Append(nil)
	}
	empty := (&Message{SrcID: 1}).Append(nil)
	for _, c := range []struct {
		name  string
		bytes []byte
		errno string
	}{
		{"message", payload(plain, 8), ""},
		{"bytes behind the payload", payload(plain, 16), ""},
		{"zeros", off(ZerosOffset, 1<<40), ""},
		{"two pieces", payload(off(128, 4, 136, 8), 16), ""},
		{"unknown item", with(empty, 0x7777, 1, 2, 3), ""},
		{"unknown item among metadata", with(with(empty, ItemAudit, nums(1)...), 0x1fff, 1), ""},
		{"descriptor that could not be had", with(empty, ItemFDs, 255, 255, 255, 255), ""},

		{"nothing", nil, "EINVAL"},
		{"cut off", plain[:88], "EINVAL"},
		{"size of a smaller struct", put(plain, 0, 56), "EINVAL"},
		{"payload cut off", payload(plain, 7), "EFAULT"},
		{"payload in the header", payload(off(0, 8), 8), "EFAULT"},
		{"payload in the items", payload(off(88, 8), 8), "EFAULT"},
		{"payload beyond the end", payload(off(104, 8), 8), "EFAULT"},
		{"payload far beyond the end", payload(off(1<<63, 8), 8), "EFAULT"},
		{"payload that wraps around", payload(off(96, 1<<64-8), 8), "EFAULT"},
		{"pieces overlap", payload(off(128, 8, 132, 8), 16), "EFAULT"},
		{"pieces out of order", payload(off(136, 8, 128, 8), 16), "EFAULT"},
		{"payload of a sender", with(empty, ItemPayloadVec, nums(8, 8)...), "EINVAL"},
		{"descriptors twice", with(with(empty, ItemFDs, 0, 0, 0, 0), ItemFDs, 0, 0, 0, 0), "EINVAL"},
		{"two notifications", with(with(empty, ItemReplyDead), ItemReplyDead), "EINVAL"},
		{"creds twice", with(with(empty, ItemCreds, make([]byte, 64)...), ItemCreds, make([]byte, 64)...), "EINVAL"},
		{"names twice", with(with(empty, ItemOwnedName, append(nums(0), "a\x00"...)...),
			ItemOwnedName, append(nums(0), "b\x00"...)...), ""},
		{"descriptors after metadata", with(with(empty, ItemAudit, nums(1)...), ItemFDs, 0, 0, 0, 0), "EINVAL"},
		{"owned name without flags", with(empty, ItemOwnedName, 'a', 0), "EINVAL"},
		{"caps without sets", with(empty, ItemCaps, 40, 0, 0, 0), "EINVAL"},
		{"caps of one word, two needed", with(empty, ItemCaps, append([]byte{40, 0, 0, 0}, make([]byte, 16)...)...), "EINVAL"},
		{"caps enormous", with(empty, ItemCaps, 255, 255, 255, 255), "EINVAL"},
		{"cmdline without NUL", with(empty, ItemCmdline, 'a', 0, 'b'), "EINVAL"},
		{"groups of 4 bytes", with(empty, ItemAuxGroups, 1, 0, 0, 0), "EINVAL"},
	} {
		var m Message
		if err := m.DecodeReceived(c.bytes); errno(err) != c.errno {
			t.Errorf("%s: %v, want %q", c.name, err, c.errno)
		}
	}
}

func TestInfoAndListsAreRefused(t *testing.T) {
	info := (&Info{ID: 1}).Append(nil)
	for name, b := range map[string][]byte{
		"nothing":         {},
		"cut off":         info[:16],
		"bytes behind it": append(bytes.Clone(info), 0),
		"wrong size":      put(info, 0, 32),
		"broken item":     with(info, ItemPIDs, 1),
		"creds twice":     with(with(info, ItemCreds, make([]byte, 64)...), ItemCreds, make([]byte, 64)...),
	} {
		if err := new(Info).Decode(b); errno(err) != "EINVAL" {
			t.Errorf("info, %s: %v", name, err)
		}
	}
	entry := ListEntry{ID: 1}.Append(nil)
	for name, b := range map[string][]byte{
		"cut off":        append(bytes.Clone(entry), entry[:16]...),
		"size 0":         append(bytes.Clone(entry), put(entry, 0, 0)...),
		"size too large": append(bytes.Clone(entry), put(entry, 0, 25)...),
		"two names": append(bytes.Clone(entry), with(with(entry, ItemOwnedName, append(nums(0), "a\x00"...)...),
			ItemOwnedName, append(nums(0), "b\x00"...)...)...),
	} {
		var ids []uint64
		var last error
		for e, err := range ListEntries(b) {
			if last = err; err == nil {
				ids = append(ids, e.ID)
			}
		}
		if errno(last) != "EINVAL" || len(ids) != 1 {
			t.Errorf("list, %s: %v, %v", name, ids, last)
		}
	}
}

func TestPayloadLiesInAFrame(t *testing.T) {
	m := call()
	for _, c := range []struct {
		offset, size uint64
		ok           bool
	}{
		{96, 8, true}, {96, 16, true}, {0, 1 << 20, true}, {95, 8, false}, {96, 17, false}, {1 << 63, 1, false},
	} {
		m.Payload[0].Offset, m.Payload[0].Size = c.offset, c.size
		if err := m.PayloadWithin(96, 112); (err == nil) != c.ok || !c.ok && errno(err) != "EFAULT" {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestItemsAreGoneThrough(t *testing.T) {
	b := AppendItem(AppendItem(nil, ItemName, str("a.b")), 0x7777, []byte("12345678"))
	var types []ItemType
	for it := range Items(b).All() {
		types = append(types, it.Type)
	}
	if !cmp.Equal(types, []ItemType{ItemName, 0x7777}) {
		t.Error(types)
	}
	for it := range Items(b[:30]).All() {
		if it.Type != ItemName {
			t.Errorf("%v is not whole", it.Type)
		}
	}
}

// TestWhatIsDecodedIsNotMuchLargerThanItsBytes fills commands with the smallest
// items there are.
func TestWhatIsDecodedIsNotMuchLargerThanItsBytes(t *testing.T) {
	fill := func(b []byte, t ItemType, data ...byte) []byte {
		for item := AppendItem(nil, t, data); len(b)+len(item) <= CmdMaxSize; {
			b = append(b, item...)
		}
		return b
	}
	for _, c := range []struct {
		name   string
		bytes  []byte
		decode func([]byte) error
	}{
		{"MATCH_ADD", fill((&MatchAdd{}).Append(nil), ItemID, nums(1)...), new(MatchAdd).Decode},
		{"ENDPOINT_UPDATE", fill((&EndpointUpdate{}).Append(nil), ItemName, str("a.b")...), new(EndpointUpdate).Decode},
		{"BYEBYE", with((&ByeBye{}).Append(nil), ItemNegotiate, make([]byte, 30<<10)...), new(ByeBye).Decode},
		{"message", fill(call().Append(nil), ItemPayloadVec, nums(1, 8)...), func(b []byte) error {
			return new(Message).DecodeSent(b, 0)
		}},
		{"names", fill(nil, ItemOwnedName, append(nums(1), 0)...), func(b []byte) error {
			return new(Metadata).Decode(b)
		}},
		{"cmdline", AppendItem(nil, ItemCmdline, make([]byte, 30<<10)), func(b []byte) error {
			return new(Metadata).Decode(b)
		}},
	} {
		if c.name != "names" && c.name != "cmdline" {
			putSize(c.bytes, 0)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := c.decode(c.bytes)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 32*CmdMaxSize {
			t.Errorf("%s: %d bytes allocated", c.name, got)
		}
	}
}
