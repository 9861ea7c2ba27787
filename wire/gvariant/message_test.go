package gvariant_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// Parts of little-endian messages, written by hand as sd-bus lays them out.
const (
	callHead   = "'l' 01 00 02 00000000 0700000000000000 "
	returnHead = "'l' 02 01 02 00000000 0800000001000000 "
	pathField  = "0100000000000000 '/a' 00 00 'o' "
	ping       = "0300000000000000 'Ping' 00 00 's' "
	reply      = "0500000000000000 0900000002000000 00 't' "
	fds        = "0900000000000000 02000000 00 'u' "
	unknown    = "2a00000000000000 01 00 'y' "
)

// messages of version 2, their headers, and bodies.
var messages = []struct {
	name, data string
	header     gvariant.Header
	body       string
}{
	{"call without arguments", callHead + pathField + "000000" + ping + "0d 1f 00000000000000 " +
		"00 00 '()' 31",
		gvariant.Header{Type: wire.TypeMethodCall, Cookie: 7, Path: "/a", Member: "Ping"}, "00"},
	{"reply to a cookie of 64 bits", returnHead + reply + "12 0000000000 " + "'hi' 00 00 '(s)' 23",
		gvariant.Header{Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Cookie: 1<<32 + 8, ReplyCookie: 2<<32 + 9, Signature: "s"}, "'hi' 00"},
	{"reply with descriptors", returnHead + reply + "000000000000 " + fds + "12 26 " + "00000000 01000000 00 '(hh)' 38",
		gvariant.Header{Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Cookie: 1<<32 + 8, ReplyCookie: 2<<32 + 9, UnixFDs: 2, Signature: "hh"},
		"00000000 01000000"},
	{"message as large as two bytes of offset need", returnHead + reply + "12 0000000000 " + repeat("'x'", 210) + "00 00 '(s)' 2300",
		gvariant.Header{Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Cookie: 1<<32 + 8, ReplyCookie: 2<<32 + 9, Signature: "s"}, repeat("'x'", 210) + "00"},
	{"message as large as one byte of offset allows", returnHead + reply + "12 0000000000 " + repeat("'x'", 209) + "00 00 '(s)' 23",
		gvariant.Header{Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Cookie: 1<<32 + 8, ReplyCookie: 2<<32 + 9, Signature: "s"}, repeat("'x'", 209) + "00"},
}

func TestMessages(t *testing.T) {
	for _, c := range messages {
		t.Run(c.name, func(t *testing.T) {
			data := unhex(c.data)
			c.header.Order = wire.LittleEndian
			if err := gvariant.Check("(yyyyuta{tv}v)", data); err != nil {
				t.Error(err)
			}
			m, err := gvariant.ParseMessage(data)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(gvariant.Message{Header: c.header, Body: unhex(c.body)}, m); d != "" {
				t.Error(d)
			}
			got, err := m.Append([]byte("odd"))
			if err != nil || !bytes.Equal(got, append([]byte("odd"), data...)) {
				t.Errorf("written: % x, %v", got, err)
			}
		})
	}
}

func TestFieldsThatAreNotKnownAreLeftOut(t *testing.T) {
	data := unhex(returnHead + reply + "000000000000 " + unknown + "12 23 000000 " + "'hi' 00 00 '(s)' 35")
	m, err := gvariant.ParseMessage(data)
	if err != nil || m.ReplyCookie != 2<<32+9 || string(m.Body) != "hi\x00" {
		t.Errorf("%+v, %v", m, err)
	}
	got, err := m.Append(nil)
	if want := unhex(messages[1].data); err != nil || !bytes.Equal(got, want) {
		t.Errorf("written: % x, %v", got, err)
	}
}

// The body may be in pieces, or elsewhere: the first and the last piece are enough.
func TestHeaderIsReadFromFirstAndLastPiece(t *testing.T) {
	for _, c := range messages {
		data := unhex(c.data)
		m, err := gvariant.ParseMessage(data)
		if err != nil {
			t.Fatal(err)
		}
		footer := len(m.Signature) + 4
		if len(data) > 255 {
			footer++
		}
		begin := bytes.Index(data, m.Body)
		if c.header.Signature == "" {
			begin = len(data) - footer - 1
		}
		for first := 0; first <= len(data); first++ {
			for last := range min(len(data), 24) {
				var h gvariant.Header
				from, to, err := h.Parse(data[:first], data[len(data)-last:], len(data))
				// Padding after the fields need not be there.
				if enough := first >= begin-5 && last >= footer; err != nil {
					if enough && first >= begin {
						t.Fatalf("%s: %d and %d bytes: %v", c.name, first, last, err)
					}
					continue
				}
				if from != begin || to != begin+len(m.Body) || last < footer {
					t.Fatalf("%s: %d and %d bytes: body from %d to %d", c.name, first, last, from, to)
				}
				if d := cmp.Diff(m.Header, h); d != "" {
					t.Fatal(d)
				}
			}
		}
		var h gvariant.Header
		if _, _, err := h.Parse(data, data, len(data)-1); err == nil {
			t.Error("pieces larger than the message are taken")
		}
	}
}

func TestBadMessagesAreFound(t *testing.T) {
	good := returnHead + reply + "12 0000000000 " + "'hi' 00 00 '(s)' 23"
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("there is no %q to replace", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct{ name, data, reason string }{
		{"nothing", "", "ends within the header"},
		{"only the fixed part", returnHead, "framing offset"},
		{"byte order", replace("'l'", "'x'"), "byte order"},
		{"version 1", replace("02 01 02", "02 01 01"), "version of the protocol is 1 and not 2"},
		{"no type", replace("02 01 02", "00 01 02"), "type is 0"},
		{"no cookie", replace("0800000001000000", "0000000000000000"), "serial is 0"},
		{"offset before the fields", replace("'(s)' 23", "'(s)' 0f"), "framing offset"},
		{"offset behind the message", replace("'(s)' 23", "'(s)' f0"), "framing offset"},
		{"offset too wide", returnHead + reply + "12 0000000000 " + repeat("'x'", 209) + "00 00 '(s)' 2300", "wider"},
		{"fields that end in the signature", replace("'(s)' 23", "'(s)' 2f"), "ends within the fields"},
		{"padding after the fields", replace("12 0000000000", "12 0000000001"), "padding"},
		{"signature without brackets", replace("'(s)'", "00 's' 00"), "no signature in brackets"},
		{"signature of one bracket", replace("'(s)'", "'('"), "no signature in brackets"},
		{"signature that is none", replace("'(s)'", "'(e)'"), "no such type"},
		{"signature of a maybe", replace("'(s)'", "'(ms)'"), "no such type"},
		{"signature too long", strings.Replace(replace("'(s)' 23", "'("+strings.Repeat("y", 256)+")' 2300"), "'hi' 00", repeat("00", 256), 1), "no signature"},
		{"fields without offsets", replace("12 0000000000", "ff 0000000000"), "framing offsets they need"},
		{"field without value", returnHead + "0500000000000000 08 " + repeat("00", 7) + "'hi' 00 00 '(s)' 19", "too short"},
		{"field 0", replace("0500000000000000", "0000000000000000"), "code of a field is 0"},
		{"field SIGNATURE", replace(reply, "0800000000000000 's' 00 000000000000 00 'g' "), "SIGNATURE"},
		{"field of the wrong type", replace("00 't'", "00 'x'"), "REPLY_COOKIE has the wrong type"},
		{"field of two types", replace("00 't'", "'t' 't'"), "REPLY_COOKIE has the wrong type"},
		{"reply cookie of 0", replace("0900000002000000", "0000000000000000"), "REPLY_COOKIE has no valid value"},
		{"reply cookie too short", returnHead + "0500000000000000 00000001 00 't' 0e 00 " + "'hi' 00 00 '(s)' 1f", "REPLY_COOKIE has no valid value"},
		{"field twice", returnHead + reply + "000000000000 " + reply + "12 2a 00000000 " + "'hi' 00 00 '(s)' 3c", "REPLY_COOKIE occurs twice"},
		{"padding between fields", returnHead + reply + "000000000001" + fds + "12 26 " + "00000000 01000000 00 '(hh)' 38", "padding"},
		{"descriptors of a byte", returnHead + "0900000000000000 02 00 'u' 0b 00000000 " + "'hi' 00 00 '(s)' 1c", "UNIX_FDS has no valid value"},
		{"unknown field that is not normal", returnHead + reply + "000000000000 " + "2a00000000000000 02 00 'b' 12 23 000000 " + "'hi' 00 00 '(s)' 35",
			"not known: a boolean"},
		{"reply without cookie", returnHead + "'hi' 00 00 '(s)' 10", "no field REPLY_SERIAL"},
		{"empty path", callHead + "0100000000000000 00 00 'o' 0b 00000000 " + "00 00 '()' 1c", "PATH has no valid value"},
		{"bad path", callHead + "0100000000000000 'a' 00 00 'o' 0c 000000 " + "00 00 '()' 1d", "PATH"},
		{"path without NUL", callHead + "0100000000000000 '/' 00 'o' 0b 00000000 " + "00 00 '()' 1c", "PATH has no valid value"},
		{"call without member", callHead + "0100000000000000 '/' 00 00 'o' 0c 000000 " + "00 00 '()' 1d", "no field MEMBER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := gvariant.ParseMessage(unhex(c.data))
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("got %v, want %q", err, c.reason)
			}
		})
	}
}

func TestMessagesAreConverted(t *testing.T) {
	for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
		for _, h := range []wire.Header{
			{Type: wire.TypeMethodCall, Flags: wire.NoAutoStart, Serial: 7, Path: "/a/b", Interface: "a.b", Member: "Set", Destination: "x.y"},
			{Type: wire.TypeMethodReturn, Serial: 1, ReplySerial: 1<<32 - 1, Sender: ":1.2", Destination: ":1.3", UnixFDs: 2},
			{Type: wire.TypeError, Serial: 1, ReplySerial: 3, ErrorName: "a.b", Flags: 0xff},
			{Type: wire.TypeSignal, Serial: 1, Path: "/", Interface: "a.b", Member: "c"},
			{Type: 200, Serial: 1},
		} {
			for _, values := range [][]any{{}, {"x", uint64(5)}, {map[string]any{"k": "v"}}} {
				m := wire.Message{Header: h}
				m.Order = order
				if err := m.SetBody(values...); err != nil {
					t.Fatal(err)
				}
				v2, err := gvariant.AppendMessageFromDBus1([]byte("odd"), wire.LittleEndian, &m.Header, m.Body)
				if err != nil {
					t.Fatal(err)
				}
				if err := gvariant.Check("(yyyyuta{tv}v)", v2[3:]); err != nil {
					t.Error(err)
				}
				parsed, err := gvariant.ParseMessage(v2[3:])
				if err != nil {
					t.Fatal(err)
				}
				back, err := gvariant.AppendMessageToDBus1([]byte("odd"), order, &parsed.Header, parsed.Body)
				if err != nil {
					t.Fatal(err)
				}
				if want, err := m.Append([]byte("odd")); err != nil || !bytes.Equal(back, want) {
					t.Errorf("%v\n came back as %q\nwas sent as  %q, %v", h, back, want, err)
				}
			}
		}
	}
}

// sd-bus refuses a call or signal with a reply cookie, D-Bus ignores it.
func TestReplySerialOfNoReplyIsLeftOut(t *testing.T) {
	h := gvariant.HeaderFromDBus1(&wire.Header{Type: wire.TypeSignal, ReplySerial: 5})
	if h.ReplyCookie != 0 {
		t.Error(h)
	}
}

func TestCookiesOf64BitsDoNotFitVersion1(t *testing.T) {
	for _, h := range []gvariant.Header{
		{Order: 'l', Type: wire.TypeMethodReturn, Cookie: 1 << 32, ReplyCookie: 1},
		{Order: 'l', Type: wire.TypeMethodReturn, Cookie: 1, ReplyCookie: 1 << 63},
	} {
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		got, err := gvariant.AppendMessageToDBus1([]byte("kept"), wire.LittleEndian, &h, []byte{0})
		if err == nil || !strings.Contains(err.Error(), "32 bits") || string(got) != "kept" {
			t.Error(got, err)
		}
	}
}

func TestMessageIsRefused(t *testing.T) {
	for _, m := range []gvariant.Message{
		{},
		{Header: gvariant.Header{Order: 'l', Type: wire.TypeSignal, Cookie: 1, Path: "/", Interface: "a", Member: "b"}},
	} {
		if got, err := m.Append([]byte("kept")); err == nil || string(got) != "kept" {
			t.Errorf("%q, %v", got, err)
		}
	}
	h := wire.Header{Order: 'l', Type: wire.TypeSignal, Serial: 1, Path: "/", Interface: "a.b", Member: "c", Signature: "s"}
	if got, err := gvariant.AppendMessageFromDBus1([]byte("kept"), 'l', &h, []byte{1}); err == nil || string(got) != "kept" {
		t.Errorf("%q, %v", got, err)
	}
	v2 := gvariant.HeaderFromDBus1(&h)
	if got, err := gvariant.AppendMessageToDBus1([]byte("kept"), 'l', &v2, []byte("x")); err == nil || string(got) != "kept" {
		t.Errorf("%q, %v", got, err)
	}
	m := gvariant.Message{Header: v2}
	if err := m.SetBody(nil); err == nil {
		t.Error("nil is taken")
	}
	if err := m.SetBody("x"); err != nil {
		t.Error(err)
	}
	var s string
	if err := m.Decode(&s); err != nil || s != "x" {
		t.Error(s, err)
	}
	if values, err := m.Values(); err != nil || len(values) != 1 {
		t.Error(values, err)
	}
}
