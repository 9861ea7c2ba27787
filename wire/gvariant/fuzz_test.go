package gvariant_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// FuzzValue: whatever the bytes and the type, they have a normal form, which is
// themselves if and only if Check says so; and what is converted to version 1 is
// valid there, and comes back.
func FuzzValue(f *testing.F) {
	for _, c := range normalForms {
		if data := unhex(c.data); len(data) < 1000 {
			f.Add(c.typ, data)
		}
	}
	for _, c := range abnormal {
		f.Add(c.typ, unhex(c.data))
	}
	f.Fuzz(func(t *testing.T, typ string, data []byte) { checkNormal(t, typ, data) })
}

// FuzzFromDBus1: every valid body of version 1 can be converted, and comes back;
// what is not valid does no harm.
func FuzzFromDBus1(f *testing.F) {
	for _, c := range bodies {
		f.Add(c.signature, unhex(c.v1), false)
	}
	f.Add("a{sv}", unhex("00000010 00000000 00000001 'a' 00 01 'u' 00 000000 00000005"), true)
	f.Fuzz(func(t *testing.T, sig string, body []byte, big bool) {
		order := wire.LittleEndian
		if big {
			order = wire.BigEndian
		}
		v2, err := gvariant.AppendFromDBus1(nil, wire.LittleEndian, order, sig, body)
		if wire.ValidateBody(order, sig, body) != nil {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := gvariant.Check("("+sig+")", v2); err != nil {
			t.Fatal(err)
		}
		back, err := gvariant.AppendToDBus1(nil, order, wire.LittleEndian, sig, v2)
		if err != nil || !bytes.Equal(back, body) {
			t.Fatalf("%x came back as %x, %v", body, back, err)
		}
	})
}

// FuzzMessage: a message that parses is written so that it parses to the same, and is
// a GVariant in normal form if its body is; what is converted to version 1 is a
// message there, and comes back.
func FuzzMessage(f *testing.F) {
	for _, c := range messages {
		f.Add(unhex(c.data))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := gvariant.ParseMessage(b)
		if err != nil {
			return
		}
		again, err := m.Append(nil)
		if err != nil || len(again) > len(b) {
			t.Fatalf("%d bytes, %v", len(again), err)
		}
		parsed, err := gvariant.ParseMessage(again)
		if d := cmp.Diff(m, parsed); err != nil || d != "" {
			t.Fatal(err, d)
		}
		if gvariant.Check("("+m.Signature+")", m.Body) == nil {
			if err := gvariant.Check("(yyyyuta{tv}v)", again); err != nil {
				t.Fatal(err)
			}
		}
		v1, err := gvariant.AppendMessageToDBus1(nil, wire.BigEndian, &m.Header, m.Body)
		if err != nil {
			return
		}
		parsed1, err := wire.ParseMessage(v1)
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == wire.TypeMethodCall || m.Type == wire.TypeSignal {
			m.ReplyCookie = 0
		}
		want, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := gvariant.AppendMessageFromDBus1(nil, m.Order, &parsed1.Header, parsed1.Body)
		if err != nil || !bytes.Equal(back, want) {
			t.Fatalf("%x came back as %x, %v", want, back, err)
		}
	})
}
