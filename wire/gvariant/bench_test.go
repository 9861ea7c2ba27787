package gvariant_test

import (
	"fmt"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// getAll is the reply to Properties.GetAll of a service of systemd, more or less.
func getAll(b *testing.B) (wire.Header, []byte) {
	properties := map[string]any{
		"Id": "example.service", "Names": []string{"example.service", "alias.service"}, "Description": "An example of a service",
		"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "FragmentPath": "/lib/systemd/system/example.service",
		"StateChangeTimestamp": uint64(1447000000000000), "ActiveEnterTimestamp": uint64(1447000000000001), "MainPID": uint32(4711),
		"CanStart": true, "CanStop": true, "CanReload": false, "RefuseManualStart": false, "Conflicts": []string{"shutdown.target"},
		"After": []string{"basic.target", "system.slice", "systemd-journald.socket"}, "Documentation": []string{"man:example(8)"},
		"Job": wire.Variant{Signature: "(uo)", Value: []any{uint32(0), wire.ObjectPath("/")}}, "CPUShares": uint64(1<<64 - 1),
		"InvocationID": []byte("0123456789abcdef"),
	}
	for i := range 30 {
		properties[fmt.Sprintf("LimitNumber%d", i)] = uint64(i)
	}
	m := wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Serial: 9, ReplySerial: 7,
		Destination: ":1.42", Sender: ":1.7",
	}}
	if err := m.SetBody(properties); err != nil {
		b.Fatal(err)
	}
	return m.Header, m.Body
}

func BenchmarkMessageFromDBus1(b *testing.B) {
	h, body := getAll(b)
	buf := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := gvariant.AppendMessageFromDBus1(buf, wire.LittleEndian, &h, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessageToDBus1(b *testing.B) {
	h, body := getAll(b)
	v2, err := gvariant.AppendMessageFromDBus1(nil, wire.LittleEndian, &h, body)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(v2)))
	for b.Loop() {
		m, err := gvariant.ParseMessage(v2)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := gvariant.AppendMessageToDBus1(buf, wire.LittleEndian, &m.Header, m.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// What the same bytes cost a bus that converts nothing.
func BenchmarkValidateBody(b *testing.B) {
	h, body := getAll(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := wire.ValidateBody(h.Order, h.Signature, body); err != nil {
			b.Fatal(err)
		}
	}
}

// The messages that are most frequent: a few strings and numbers.
func BenchmarkSmallMessageBothWays(b *testing.B) {
	m := wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: 9, Path: "/org/freedesktop/DBus",
		Interface: "org.freedesktop.DBus", Member: "RequestName", Destination: "org.freedesktop.DBus",
	}}
	if err := m.SetBody("com.example.Name", uint32(4)); err != nil {
		b.Fatal(err)
	}
	v2, v1 := make([]byte, 0, 1024), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		v2, err := gvariant.AppendMessageFromDBus1(v2, wire.LittleEndian, &m.Header, m.Body)
		if err != nil {
			b.Fatal(err)
		}
		m, err := gvariant.ParseMessage(v2)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := gvariant.AppendMessageToDBus1(v1, wire.LittleEndian, &m.Header, m.Body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBytes(b *testing.B) {
	body, sig, err := wire.AppendBody(nil, wire.LittleEndian, make([]byte, 1<<20))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 2<<20)
	b.ReportAllocs()
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := gvariant.AppendFromDBus1(buf, wire.LittleEndian, wire.LittleEndian, string(sig), body); err != nil {
			b.Fatal(err)
		}
	}
}
