//go:build conformance

package gvariant

import (
	"bytes"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// Any body comes back from version 1 as it was, and GLib agrees on what it is in the
// other byte order, and that it is normal.
func TestBodies(t *testing.T) {
	each(t, func(t *testing.T, r source) {
		r.dbus = true
		var questions []question
		var swapped [][]byte
		for len(questions) < perSeed {
			sig := ""
			for range r.IntN(4) {
				sig += r.typ(3)
			}
			if len(sig) > wire.MaxSignatureLength {
				continue
			}
			typ := "(" + sig + ")"
			value := r.value(typ, 3)
			v1, err := gvariant.AppendToDBus1(nil, wire.LittleEndian, wire.LittleEndian, sig, value)
			if err != nil {
				t.Fatalf("%s %x: %v", typ, value, err)
			}
			if err := wire.ValidateBody(wire.LittleEndian, sig, v1); err != nil {
				t.Fatalf("%s %x: %v", typ, value, err)
			}
			again, err := gvariant.AppendFromDBus1(nil, wire.LittleEndian, wire.LittleEndian, sig, v1)
			if err != nil || !bytes.Equal(again, value) {
				t.Fatalf("%s %x: came back as %x, %v", typ, value, again, err)
			}
			big, err := gvariant.AppendFromDBus1(nil, wire.BigEndian, wire.LittleEndian, sig, v1)
			if err != nil {
				t.Fatalf("%s %x: %v", typ, value, err)
			}
			questions = append(questions, question{"swap", typ, value})
			swapped = append(swapped, big)
		}
		for i, answer := range ask(t, questions) {
			if q := questions[i]; digits(swapped[i]) != answer[0] {
				t.Fatalf("%s %x:\nbig-endian %x\n    GLib's %s", q.typ, q.data, swapped[i], answer[0])
			}
		}
	})
}

// The same values, written as Go values and as GVariant's text, give the same bytes.
func TestValuesAndMessages(t *testing.T) {
	type entry struct {
		Name  string
		Count uint16
	}
	bodies := []struct {
		typ, text string
		values    []any
	}{
		{"()", "()", nil},
		{"(s)", "('x',)", []any{"x"}},
		{"(ybnqiuxtd)", "(1,true,-2,3,-4,5,-6,7,1.5)", []any{byte(1), true, int16(-2), uint16(3), int32(-4), uint32(5), int64(-6), uint64(7), 1.5}},
		{"(h)", "(3,)", []any{wire.UnixFD(3)}},
		{"(sogv)", "('s','/o','g',<'v'>)", []any{"s", wire.ObjectPath("/o"), wire.Signature("g"), wire.Variant{Value: "v"}}},
		{"(asay)", "(['a','','ccc'],[0x01,0x02])", []any{[]string{"a", "", "ccc"}, []byte{1, 2}}},
		{"(a{sv})", "({'A':<uint32 1>,'B':<['x']>,'C':<(<true>,int16 5)>},)", []any{map[string]any{
			"A": uint32(1), "B": []string{"x"}, "C": wire.Variant{Signature: "(vn)", Value: []any{true, int16(5)}}}}},
		{"(a(sq)ab)", "([('a',1),('bc',2)],[true,false])", []any{[]entry{{"a", 1}, {"bc", 2}}, []bool{true, false}}},
	}
	var questions []question
	var got [][]byte
	for _, c := range bodies {
		typed := "@" + c.typ + " " + c.text
		if c.typ == "()" {
			typed = c.text // its type cannot be declared
		}
		b, _, err := gvariant.AppendBody(nil, wire.LittleEndian, c.values...)
		if err != nil {
			t.Fatal(err)
		}
		questions = append(questions, question{"parse", c.typ, []byte(c.text)})
		got = append(got, b)
		m := gvariant.Message{Header: gvariant.Header{
			Order: wire.LittleEndian, Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Cookie: 1 << 40, ReplyCookie: 1<<32 + 7,
			Destination: ":1.5", Sender: "com.example.S", UnixFDs: 4}}
		if err := m.SetBody(c.values...); err != nil {
			t.Fatal(err)
		}
		if b, err = m.Append(nil); err != nil {
			t.Fatal(err)
		}
		questions = append(questions, question{"parse", "(yyyyuta{tv}v)", []byte("(0x6c,0x02,0x01,0x02,0,0x10000000000," +
			"{5:<uint64 0x100000007>,6:<':1.5'>,7:<'com.example.S'>,9:<uint32 4>},<" + typed + ">)")})
		got = append(got, b)
	}
	for i, answer := range ask(t, questions) {
		if digits(got[i]) != answer[0] {
			t.Errorf("%s:\nwritten %x\n GLib's %s", questions[i].data, got[i], answer[0])
		}
	}
}
