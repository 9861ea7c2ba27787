package native_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/wire"
)

func bodyOf(t testing.TB, values ...any) (string, []byte) {
	t.Helper()
	body, signature, err := wire.AppendBody(nil, wire.LittleEndian, values...)
	if err != nil {
		t.Fatal(err)
	}
	return string(signature), body
}

func TestBloomFilterHasWhatSubscribersAskFor(t *testing.T) {
	parameter := bus.BloomParameter{Size: 4096, Hashes: 8} // few bits are set by chance
	h := wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeSignal, Interface: "org.example.I", Member: "M", Path: "/a/b",
	}
	var body []byte
	h.Signature, body = bodyOf(t, "x.y", wire.ObjectPath("/p/q"), []string{"one", "two"}, "", uint32(7), "late")
	got := native.BloomOf(parameter)(&h, body)
	has := func(key, value string) bool {
		b, err := abi.NewBloom(abi.BloomParameter{Size: parameter.Size, NHash: parameter.Hashes})
		if err != nil {
			t.Fatal(err)
		}
		b.Add(key, value)
		for i := range b.Data {
			if got[i]&b.Data[i] != b.Data[i] {
				return false
			}
		}
		return true
	}
	for _, c := range []struct {
		key, value string
		want       bool
	}{
		{"message-type", "signal", true},
		{"interface", "org.example.I", true},
		{"member", "M", true},
		{"path", "/a/b", true},
		{"path", "/a", false},
		{"path-slash-prefix", "/a/b", true},
		{"path-slash-prefix", "/a", true},
		{"path-slash-prefix", "/a/", true},
		{"path-slash-prefix", "/", true},
		{"arg0", "x.y", true},
		{"arg0-dot-prefix", "x", true},
		{"arg0-slash-prefix", "x.y", true},
		{"arg1", "/p/q", true},
		{"arg1-slash-prefix", "/p/", true},
		{"arg2", "one", false},
		{"arg2-has", "one", true},
		{"arg2-has", "two", true},
		{"arg3", "", true},
		{"arg5", "late", false},
		{"member", "N", false},
	} {
		if has(c.key, c.value) != c.want {
			t.Errorf("%s:%s is in the filter: %v", c.key, c.value, !c.want)
		}
	}
}

func TestBloomFilterOfDefaultSizeMatchesKnownVector(t *testing.T) {
	h := wire.Header{Order: wire.LittleEndian, Type: wire.TypeSignal, Interface: "waldo.com"}
	got := native.BloomOf(bus.DefaultBloom)(&h, nil)
	for _, bit := range []int{62, 66, 311, 322, 365, 419, 464} {
		if got[bit/8]>>(bit%8)&1 == 0 && isLittleEndian {
			t.Errorf("bit %d is not set", bit)
		}
	}
}

var isLittleEndian = (&abi.FrameHeader{Size: 1}).Append(nil)[0] == 1

func TestBloomFilterOfHostileSignalMatchesEverybodyAndIsQuick(t *testing.T) {
	full := bytes.Repeat([]byte{0xff}, 64)
	many := make([]string, 100_000)
	for name, values := range map[string][]any{
		"a million separators": {strings.Repeat(".", 1<<20)},
		"long path":            {strings.Repeat("/x", 1<<19)},
		"long array":           {many},
	} {
		h := wire.Header{Order: wire.LittleEndian, Type: wire.TypeSignal, Interface: "org.example.I", Member: "M", Path: "/"}
		var body []byte
		h.Signature, body = bodyOf(t, values...)
		if got := native.BloomOf(bus.DefaultBloom)(&h, body); !bytes.Equal(got, full) {
			t.Errorf("%s: % x", name, got)
		}
	}
}

func TestBloomFilterThatCannotBeIsNone(t *testing.T) {
	h := wire.Header{Order: wire.LittleEndian, Type: wire.TypeSignal}
	if got := native.BloomOf(bus.BloomParameter{Size: 64, Hashes: 1000})(&h, nil); got != nil {
		t.Errorf("% x", got)
	}
}
