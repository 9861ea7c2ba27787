package abi

import "testing"

// A call as most calls are: to a name, with one piece of payload.
func commonCall() *Message {
	m := call()
	m.DstID, m.DstName = DstIDName, "org.freedesktop.Example1"
	return m
}

// TestCommonMessagesAreCodedWithoutAllocating is what the buses' throughput
// rests on.
func TestCommonMessagesAreCodedWithoutAllocating(t *testing.T) {
	var s Send
	var m Message
	command, sent := (&Send{}).Append(nil), commonCall().Append(nil)
	meta := Metadata{Has: AttachTimestamp | AttachCreds | AttachPIDs | AttachAuxGroups, AuxGroups: []uint64{1, 2}}
	out := Message{SrcID: 1, Payload: []Payload{{Type: ItemPayloadMemfd, Size: 8}}, FDs: []int32{1}}
	out.Metadata = meta.Append(nil, AttachAll)
	received := out.Append(nil)
	buf := make([]byte, 0, 4096)
	bloom, _ := NewBloom(DefaultBloom)

	for name, f := range map[string]func(){
		"decode SEND":     func() { _ = s.Decode(command) },
		"decode sent":     func() { _ = m.DecodeSent(sent, 0) },
		"decode received": func() { _ = m.DecodeReceived(received) },
		"append":          func() { buf = out.Append(buf[:0]) },
		"append metadata": func() { buf = meta.Append(buf[:0], AttachAll) },
		"size":            func() { _ = out.Size() },
		"bloom":           func() { bloom.AddPrefixes("path", "/org/example", '/') },
		"go through items": func() {
			for it := range Items(received[sizeMessage:]).All() {
				_ = it.Type
			}
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkSendDecode(b *testing.B) {
	command, sent := (&Send{}).Append(nil), commonCall().Append(nil)
	var s Send
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if s.Decode(command) != nil || m.DecodeSent(sent, s.Flags) != nil {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkSendAppend(b *testing.B) {
	s, m := Send{}, commonCall()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(s.Append(buf[:0]))
	}
}

func BenchmarkReceivedDecode(b *testing.B) {
	meta := Metadata{Has: AttachTimestamp | AttachCreds | AttachPIDs}
	for name, items := range map[string]Items{"bare": nil, "metadata": meta.Append(nil, AttachAll)} {
		b.Run(name, func(b *testing.B) {
			received := (&Message{
				SrcID: 1, Payload: []Payload{{Type: ItemPayloadOff, Offset: ZerosOffset, Size: 8}}, Metadata: items,
			}).Append(nil)
			var m Message
			b.ReportAllocs()
			for b.Loop() {
				if err := m.DecodeReceived(received); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReceivedAppend(b *testing.B) {
	meta := Metadata{Has: AttachTimestamp | AttachCreds | AttachPIDs}
	m := Message{
		SrcID: 1, Payload: []Payload{{Type: ItemPayloadOff, Offset: ZerosOffset, Size: 8}},
		Metadata: meta.Append(nil, AttachAll),
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(buf[:0])
	}
}

func BenchmarkBloomAdd(b *testing.B) {
	bloom, _ := NewBloom(DefaultBloom)
	b.ReportAllocs()
	for b.Loop() {
		bloom.Add("interface", "org.freedesktop.DBus.Properties")
	}
}
