package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

// typicalCall is what most messages on a bus look like.
var typicalCall = wire.Header{
	Order: wire.LittleEndian, Type: wire.TypeMethodCall, BodySize: 8, Serial: 7,
	Path: "/org/freedesktop/DBus", Interface: "org.freedesktop.DBus", Member: "GetNameOwner",
	Destination: "org.freedesktop.DBus", Signature: "su",
}

func TestHeaderRoundTrip(t *testing.T) {
	for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
		for _, want := range []wire.Header{
			typicalCall,
			{Type: wire.TypeMethodReturn, Serial: 1, ReplySerial: 1<<32 - 1, Sender: ":1.2", Destination: ":1.3", UnixFDs: 2},
			{Type: wire.TypeError, Serial: 1, ReplySerial: 3, ErrorName: "a.b", Flags: 0xff, BodySize: 1, Signature: "s"},
			{Type: wire.TypeSignal, Serial: 1, Path: "/", Interface: "a.b", Member: "c"},
			{Type: 200, Serial: 1},
		} {
			want.Order = order
			b := want.Append([]byte("xyz"))[3:]
			var got wire.Header
			offset, err := got.Parse(b)
			if err != nil {
				t.Errorf("%+v: %v", want, err)
			}
			if offset != len(b) {
				t.Errorf("body offset %d, want %d", offset, len(b))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
	}
}

// A method call written by hand from section "Message Format".
const handmade = "'l' 01 00 01 08000000 05000000 48000000" +
	"01 01 'o' 00 04000000 '/a/b' 00 000000" +
	"02 01 's' 00 03000000 'a.b' 00 00000000" +
	"03 01 's' 00 04000000 'Ping' 00 000000" +
	"06 01 's' 00 04000000 ':1.9' 00 000000" +
	"08 01 'g' 00 02 'su' 00" // and no padding

func TestHeaderOfKnownBytes(t *testing.T) {
	b := unhex(handmade)
	want := wire.Header{Order: wire.LittleEndian, Type: wire.TypeMethodCall, BodySize: 8, Serial: 5,
		Path: "/a/b", Interface: "a.b", Member: "Ping", Destination: ":1.9", Signature: "su"}
	var got wire.Header
	offset, err := got.Parse(append(b, "body"...))
	if err != nil || offset != len(b) {
		t.Fatalf("offset %d of %d, %v", offset, len(b), err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(b, got.Append(nil)); d != "" {
		t.Error(d)
	}
	size, err := wire.MessageSize(b[:wire.HeaderFixedSize])
	if err != nil || size != len(b)+8 {
		t.Errorf("size %d, %v", size, err)
	}
}

// header makes a message header of the given type and body size with the given
// header fields, each written for unhex, and alignment padding.
func header(typ byte, bodySize uint32, fields ...string) []byte {
	b := append([]byte{'l', typ, 0, 1}, wire.LittleEndian.AppendUint32(nil, bodySize)...)
	b = append(b, 1, 0, 0, 0, 0, 0, 0, 0)
	pad := func() {
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
	}
	for _, f := range fields {
		pad()
		b = append(b, unhex(f)...)
	}
	wire.LittleEndian.PutUint32(b[12:], uint32(len(b)-wire.HeaderFixedSize))
	pad()
	return b
}

const (
	path        = "01 01 'o' 00 01000000 '/' 00"
	iface       = "02 01 's' 00 03000000 'a.b' 00"
	member      = "03 01 's' 00 01000000 'A' 00"
	replySerial = "05 01 'u' 00 01000000"
	dictField   = "0b 05 'a{sv}' 00 00000000 00000000"
)

func TestHeadersTheProtocolAllows(t *testing.T) {
	for name, b := range map[string][]byte{
		"method call without interface":           header(1, 0, path, member),
		"fields in another order":                 header(1, 0, member, path),
		"unknown type without fields":             header(99, 0),
		"unknown flags":                           append([]byte{'l', 1, 0xf8}, header(1, 0, path, member)[3:]...),
		"empty signature":                         header(2, 0, replySerial, "08 01 'g' 00 00 00"),
		"no descriptors":                          header(2, 0, replySerial, "09 01 'u' 00 00000000"),
		"unknown fields":                          header(2, 0, replySerial, "0a 01 'o' 00 01000000 '/' 00", "ff 01 'y' 00 01"),
		"unknown field twice":                     header(2, 0, "0b 01 'y' 00 01", replySerial, "0b 01 'y' 00 01"),
		"unknown field that is a container":       header(2, 0, dictField, replySerial),
		"unknown field with 64 containers in all": header(2, 0, replySerial, "0b"+variants(62)),
		"signal with a reply serial":              header(4, 0, path, member, replySerial, iface),
		"path and interface that begin like the local ones": header(1, 0, member,
			"01 01 'o' 00 1c000000 '/org/freedesktop/DBus/Local1' 00",
			"02 01 's' 00 1b000000 'org.freedesktop.DBus.Local1' 00"),
	} {
		var h wire.Header
		if offset, err := h.Parse(b); err != nil || offset != len(b) {
			t.Errorf("%s: offset %d of %d, %v", name, offset, len(b), err)
		}
	}
}

func TestHeadersTheProtocolForbids(t *testing.T) {
	good := header(1, 0, path, member)
	with := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		reason string
		header []byte
	}{
		{"byte order", with(0, 'L')},
		{"the message type is 0", with(1, 0)},
		{"version of the protocol is 2", with(3, 2)},
		{"the serial is 0", with(8, 0)},
		{"a body but no signature", with(4, 1)},
		{"a signature but no body", header(2, 0, replySerial, "08 01 'g' 00 01 'y' 00")},
		{"longer than 128 MiB", with(7, 8)},
		{"fields is longer than 64 MiB", with(15, 5)},
		{"fields is longer than 64 MiB", append(append(bytes.Clone(good[:12]), 255, 255, 255, 255), good[16:]...)},
		{"padding is not zero", with(31, 1)},
		{"padding is not zero", with(47, 1)},
		{"code of a field is 0", with(16, 0)},
		{"fields ends within a field", header(2, 0, replySerial, "07")},
		{"fields ends within a field", header(1, 0, path, member, "")},
		{"fields ends within a field", header(2, 0, replySerial, "07 01 's' 00 00")},
		{"fields ends within a string", header(2, 0, replySerial, "07 01 's' 00 04000000 'a.b' 00")},
		{"fields ends within a string", header(2, 0, replySerial, "07 01 's' 00 ffffffff 'a.b' 00")},
		{"does not end with NUL", header(2, 0, replySerial, "07 01 's' 00 03000000 'a.bc'")},
		{"field SENDER has the wrong type", header(2, 0, replySerial, "07 01 'o' 00 01000000 '/' 00")},
		{"field SIGNATURE has the wrong type", header(2, 0, replySerial, "08 02 'gg' 00 00 00 00 00")},
		{"field REPLY_SERIAL occurs twice", header(2, 0, replySerial, replySerial)},
		{"field REPLY_SERIAL is 0", header(2, 0, "05 01 'u' 00 00000000")},
		{"field PATH", header(1, 0, member, "01 01 'o' 00 01000000 'a' 00")},
		{"field PATH", header(1, 0, member, "01 01 'o' 00 00000000 00")},
		{"field INTERFACE", header(1, 0, path, member, "02 01 's' 00 01000000 'a' 00")},
		{"field MEMBER", header(1, 0, path, "03 01 's' 00 03000000 'a.b' 00")},
		{"field ERROR_NAME", header(3, 0, replySerial, "04 01 's' 00 01000000 'a' 00")},
		{"field DESTINATION", header(1, 0, path, member, "06 01 's' 00 01000000 'a' 00")},
		{"field SENDER", header(1, 0, path, member, "07 01 's' 00 03000000 ':1.' 00")},
		{"field SIGNATURE", header(2, 4, replySerial, "08 01 'g' 00 01 'a' 00")},
		{"/Local is reserved", header(1, 0, member, "01 01 'o' 00 1b000000 '/org/freedesktop/DBus/Local' 00")},
		{".Local is reserved", header(1, 0, path, member, "02 01 's' 00 1a000000 'org.freedesktop.DBus.Local' 00")},
		{"method_call has no field PATH", header(1, 0, member)},
		{"method_call has no field MEMBER", header(1, 0, path)},
		{"signal has no field INTERFACE", header(4, 0, path, member)},
		{"signal has no field PATH", header(4, 0, iface, member)},
		{"method_return has no field REPLY_SERIAL", header(2, 0)},
		{"error has no field ERROR_NAME", header(3, 0, replySerial)},
		{"error has no field REPLY_SERIAL", header(3, 0, "04 01 's' 00 03000000 'a.b' 00")},
		{"not one complete type", header(2, 0, replySerial, "0b 02 'yy' 00 01 01")},
		{"neither 0 nor 1", header(2, 0, replySerial, "0b 01 'b' 00 02000000")},
		{"ends within a string", header(2, 0, replySerial, "0b 01 's' 00 05000000 'a' 00")},
		{"more than 64 containers", header(2, 0, replySerial, "0b"+variants(63))},
	} {
		var h wire.Header
		_, err := h.Parse(c.header)
		var e *wire.Error
		if !errors.As(err, &e) || !strings.Contains(e.Reason, c.reason) {
			t.Errorf("error is %v, want one that says %q", err, c.reason)
		}
		if e != nil && (e.Offset < 0 || e.Offset > len(c.header)) {
			t.Errorf("%v is outside of the header", err)
		}
	}
}

func TestShortHeaders(t *testing.T) {
	b := unhex(handmade)
	for n := range b {
		var h wire.Header
		if _, err := h.Parse(b[:n]); err != wire.ErrShort {
			t.Errorf("%d bytes: %v", n, err)
		}
		if _, err := wire.MessageSize(b[:n]); (err == wire.ErrShort) != (n < wire.HeaderFixedSize) {
			t.Errorf("size of %d bytes: %v", n, err)
		}
	}
}

func TestMessageSizeIsBounded(t *testing.T) {
	for _, c := range []struct {
		fields, body uint32
		want         int
	}{
		{0, 0, 16}, {1, 0, 24}, {8, 5, 29}, {64 << 20, 64<<20 - 16, 128 << 20}, {64 << 20, 64<<20 - 15, 0},
		{64<<20 + 1, 0, 0}, {0, 128<<20 - 16, 128 << 20}, {0, 1<<32 - 1, 0}, {1<<32 - 1, 1<<32 - 1, 0}, {1<<32 - 16, 16, 0},
	} {
		for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
			b := []byte{byte(order), 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}
			order.PutUint32(b[4:], c.body)
			order.PutUint32(b[12:], c.fields)
			size, err := wire.MessageSize(b)
			if (err == nil) != (c.want != 0) || err == nil && size != c.want {
				t.Errorf("fields %d, body %d: %d, %v", c.fields, c.body, size, err)
			}
		}
	}
}

func TestCheckJudgesAsParseDoes(t *testing.T) {
	for name, spoil := range map[string]func(h *wire.Header){
		"order":     func(h *wire.Header) { h.Order = 0 },
		"type":      func(h *wire.Header) { h.Type = 0 },
		"serial":    func(h *wire.Header) { h.Serial = 0 },
		"path":      func(h *wire.Header) { h.Path = "/a/" },
		"no path":   func(h *wire.Header) { h.Path = "" },
		"interface": func(h *wire.Header) { h.Interface = "a" },
		"local":     func(h *wire.Header) { h.Interface = "org.freedesktop.DBus.Local" },
		"member":    func(h *wire.Header) { h.Member = "a.b" },
		"error":     func(h *wire.Header) { h.ErrorName = "a" },
		"dest":      func(h *wire.Header) { h.Destination = "a" },
		"sender":    func(h *wire.Header) { h.Sender = ":1." },
		"signature": func(h *wire.Header) { h.Signature = "a" },
		"no body":   func(h *wire.Header) { h.BodySize = 0 },
		"reply":     func(h *wire.Header) { h.Type = wire.TypeMethodReturn },
	} {
		h := typicalCall
		if err := h.Check(); err != nil {
			t.Fatal(err)
		}
		if spoil(&h); h.Check() == nil {
			t.Errorf("bad %s is valid", name)
		}
		var parsed wire.Header
		if _, err := parsed.Parse(h.Append(nil)); err == nil {
			t.Errorf("bad %s is parsed", name)
		}
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	b := header(1, 0, path, member, dictField)
	buf := make([]byte, 0, 256)
	var h wire.Header
	if n := testing.AllocsPerRun(10, func() {
		if _, err := h.Parse(b); err != nil {
			t.Fatal(err)
		}
		buf = h.Append(buf[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNamesOfTypesAndFlags(t *testing.T) {
	for got, want := range map[string]string{
		wire.TypeSignal.String(): "signal", wire.Type(9).String(): "type 9",
		wire.Flags(0).String(): "", (wire.NoAutoStart | wire.NoReplyExpected | 0x80).String(): "no-reply-expected,no-auto-start,flag 128",
		wire.BigEndian.String(): "big-endian", wire.Order(0).String(): "invalid byte order",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func BenchmarkHeaderParse(b *testing.B) {
	msg := typicalCall.Append(nil)
	var h wire.Header
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Parse(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeaderAppend(b *testing.B) {
	h := typicalCall
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = h.Append(buf[:0])
	}
}
