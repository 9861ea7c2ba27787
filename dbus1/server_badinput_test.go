package dbus1_test

import (
	"bytes"
	"cmp"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// stage is how far a client is when it begins to misbehave.
type stage int

const (
	onBus         stage = iota // has said Hello, with descriptors negotiated
	onBusNoFDs                 // has said Hello, without descriptors
	authenticated              // has not said Hello
	fresh                      // has just connected
)

// misbehaviour is something for which a client is disconnected.
type misbehaviour struct {
	name  string
	stage stage
	bytes []byte
	fds   int    // descriptors that come with the first byte
	why   string // part of what the log says about it
}

// faulty returns a signal with the header changed, in the bytes of which some are then replaced.
func faulty(change func(h *wire.Header), patches ...patch) []byte {
	h := wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeSignal, Serial: 7,
		Path: "/org/example", Interface: "org.example.Interface", Member: "Signal",
	}
	if change != nil {
		change(&h)
	}
	b := h.Append(nil)
	for _, p := range patches {
		copy(b[p.at:], p.bytes)
	}
	return b
}

// patch replaces bytes of a message.
type patch struct {
	at    int
	bytes string
}

// body returns a signal with a body that need not fit the signature.
func body(order wire.Order, signature string, content string) []byte {
	return append(faulty(func(h *wire.Header) {
		h.Order, h.Signature, h.BodySize = order, signature, uint32(len(content))
	}), content...)
}

// fields returns a message with an array of header fields as given.
func fields(array string) []byte {
	b := []byte("l\x04\x00\x01\x00\x00\x00\x00\x07\x00\x00\x00")
	b = wire.LittleEndian.AppendUint32(b, uint32(len(array)))
	b = append(b, array...)
	return append(b, make([]byte, -len(b)&7)...)
}

// deepVariants returns variants in each other, so many, around a byte.
func deepVariants(n int) string { return strings.Repeat("\x01v\x00", n-1) + "\x01y\x00\x05" }

// longMember is a signal with a member longer than may be.
var longMember = faulty(func(h *wire.Header) { h.Member = strings.Repeat("m", 256) })

// requiredFields are those that every signal has.
const requiredFields = "\x01\x01o\x00\x02\x00\x00\x00/a\x00\x00\x00\x00\x00\x00" +
	"\x02\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00" +
	"\x03\x01s\x00\x01\x00\x00\x00M\x00"

var misbehaviours = []misbehaviour{
	{"no NUL at the beginning", fresh, []byte("AUTH EXTERNAL\r\n"), 0, "did not begin with a NUL"},
	{"HTTP", fresh, []byte("GET / HTTP/1.1\r\n\r\n"), 0, "did not begin with a NUL"},
	{"BEGIN before AUTH", fresh, []byte("\x00BEGIN\r\n"), 0, "before it was authenticated"},
	{"a line without end", fresh, []byte("\x00" + strings.Repeat("A", 20<<10)), 0, "line is longer"},
	{"rejected again and again", fresh, []byte("\x00" + strings.Repeat("AUTH NONSENSE\r\n", 20)), 0, "rejected"},
	{"many commands at once", fresh, []byte("\x00" + strings.Repeat("\r\n", 20<<10)), 0, "pipelined"},
	{"another user's id", fresh, []byte("\x00" + strings.Repeat("AUTH EXTERNAL 31\r\n", 20)), 0, "rejected"},

	{"a signal before Hello", authenticated, faulty(nil), 0, "not a call of org.freedesktop.DBus.Hello"},
	{"a call to a peer before Hello", authenticated, faulty(func(h *wire.Header) { h.Type, h.Destination = wire.TypeMethodCall, ":1.1" }), 0, "not a call of org.freedesktop.DBus.Hello"},
	{"garbage instead of Hello", authenticated, bytes.Repeat([]byte("garbage!"), 100), 0, "byte order"},
	{"no bytes of a header", authenticated, make([]byte, 16), 0, "byte order"},

	{"garbage", onBus, bytes.Repeat([]byte{0xfe}, 16), 0, "byte order"},
	{"much garbage", onBus, bytes.Repeat([]byte{0xfe, 0x01}, 1<<20), 0, "byte order"},
	{"byte order in the wrong case", onBus, faulty(nil, patch{0, "L"}), 0, "byte order"},
	{"type 0", onBus, faulty(func(h *wire.Header) { h.Type = 0 }), 0, "type is 0"},
	{"version 0", onBus, faulty(nil, patch{3, "\x00"}), 0, "version of the protocol is 0"},
	{"version 2", onBus, faulty(nil, patch{3, "\x02"}), 0, "version of the protocol is 2"},
	{"serial 0", onBus, faulty(func(h *wire.Header) { h.Serial = 0 }), 0, "serial is 0"},
	{"body longer than a message may be", onBus, faulty(nil, patch{4, "\x00\x00\x00\x08"}), 0, "longer than 128 MiB"},
	{"body as long as can be written", onBus, faulty(nil, patch{4, "\xff\xff\xff\xff"}), 0, "longer than 128 MiB"},
	{"fields longer than an array may be", onBus, faulty(nil, patch{12, "\x01\x00\x00\x04"}), 0, "64 MiB"},
	{"fields as long as can be written", onBus, faulty(nil, patch{12, "\xff\xff\xff\xff"}), 0, "64 MiB"},
	{"little-endian length in a big-endian message", onBus, faulty(nil, patch{0, "B"}), 0, "64 MiB"},
	{"no fields", onBus, fields(""), 0, "no field PATH"},
	{"fields cut short", onBus, fields(requiredFields[:12]), 0, "ends within"},
	{"a field of a few bytes", onBus, fields("\x01\x01o"), 0, "ends within a field"},
	{"field code 0", onBus, fields("\x00\x01s\x00\x00\x00\x00\x00\x00"), 0, "code of a field is 0"},
	{"a field twice", onBus, fields(requiredFields[:32] + requiredFields), 0, "occurs twice"},
	{"padding before a field", onBus, fields(requiredFields[:12] + "\x01" + requiredFields[13:]), 0, "padding is not zero"},
	{"padding after the fields", onBus, faulty(func(h *wire.Header) { h.Member = "Mm" }, patch{16 + 16 + 8 + 24 + 8 + 8 + 4, "\x01"}), 0, "padding is not zero"},
	{"path of another type", onBus, fields("\x01\x01s\x00\x02\x00\x00\x00/a\x00"), 0, "PATH has the wrong type"},
	{"string without NUL", onBus, fields("\x01\x01o\x00\x02\x00\x00\x00/ab"), 0, "does not end with NUL"},
	{"string longer than the fields", onBus, fields("\x01\x01o\x00\xff\xff\x00\x00/a\x00"), 0, "ends within a string"},
	{"unknown field of a bad type", onBus, fields("\xc8\x01!\x00\x00\x00\x00\x00"), 0, "no such type"},
	{"unknown field too long", onBus, fields("\xc8\x01s\x00\xff\x00\x00\x00"), 0, "ends within"},
	{"unknown field nested too deeply", onBus, fields("\xc8\x01v\x00" + deepVariants(70)), 0, "more than 64"},
	{"no member", onBus, faulty(func(h *wire.Header) { h.Member = "" }), 0, "no field MEMBER"},
	{"no interface in a signal", onBus, faulty(func(h *wire.Header) { h.Interface = "" }), 0, "no field INTERFACE"},
	{"no reply serial in an answer", onBus, faulty(func(h *wire.Header) { h.Type = wire.TypeMethodReturn }), 0, "no field REPLY_SERIAL"},
	{"no name in an error", onBus, faulty(func(h *wire.Header) { h.Type, h.ReplySerial = wire.TypeError, 1 }), 0, "no field ERROR_NAME"},
	{"bad path", onBus, faulty(func(h *wire.Header) { h.Path = "/a//b" }), 0, "PATH"},
	{"bad interface", onBus, faulty(func(h *wire.Header) { h.Interface = "nodot" }), 0, "no dot"},
	{"bad member", onBus, faulty(func(h *wire.Header) { h.Member = "a.b" }), 0, "MEMBER"},
	{"long member", onBus, longMember, 0, "longer than 255"},
	{"bad destination", onBus, faulty(func(h *wire.Header) { h.Destination = "..." }), 0, "DESTINATION"},
	{"bad sender", onBus, faulty(func(h *wire.Header) { h.Sender = "\xff" }), 0, "SENDER"},
	{"bad error name", onBus, faulty(func(h *wire.Header) { h.ErrorName = "1.2" }), 0, "ERROR_NAME"},
	{"reserved path", onBus, faulty(func(h *wire.Header) { h.Path = "/org/freedesktop/DBus/Local" }), 0, "reserved"},
	{"reserved interface", onBus, faulty(func(h *wire.Header) { h.Interface = "org.freedesktop.DBus.Local" }), 0, "reserved"},

	{"signature without body", onBus, faulty(func(h *wire.Header) { h.Signature = "s" }), 0, "no body"},
	{"body without signature", onBus, append(faulty(func(h *wire.Header) { h.BodySize = 4 }), 1, 2, 3, 4), 0, "no signature"},
	{"unknown type", onBus, body(wire.LittleEndian, "!", "x"), 0, "no such type"},
	{"array of nothing", onBus, body(wire.LittleEndian, "a", "\x00\x00\x00\x00"), 0, "type is missing"},
	{"empty struct", onBus, body(wire.LittleEndian, "()", "x"), 0, "type is missing"},
	{"struct without end", onBus, body(wire.LittleEndian, "(s", "x"), 0, "SIGNATURE"},
	{"dict entry without array", onBus, body(wire.LittleEndian, "{sv}", "x"), 0, "not the element of an array"},
	{"33 arrays", onBus, body(wire.LittleEndian, strings.Repeat("a", 33)+"y", "\x00\x00\x00\x00"), 0, "more than 32 arrays"},
	{"33 structs", onBus, body(wire.LittleEndian, strings.Repeat("(", 33)+"y"+strings.Repeat(")", 33), "x"), 0, "more than 32 structs"},
	{"65 variants", onBus, body(wire.LittleEndian, "v", deepVariants(65)), 0, "more than 64"},
	{"variant of two types", onBus, body(wire.LittleEndian, "v", "\x02yy\x0012"), 0, "one complete type"},
	{"boolean 2", onBus, body(wire.LittleEndian, "b", "\x02\x00\x00\x00"), 0, "boolean"},
	{"boolean in the other byte order", onBus, body(wire.BigEndian, "b", "\x01\x00\x00\x00"), 0, "boolean"},
	{"not UTF-8", onBus, body(wire.LittleEndian, "s", "\x02\x00\x00\x00\xc3\x28\x00"), 0, "UTF-8"},
	{"surrogate", onBus, body(wire.LittleEndian, "s", "\x03\x00\x00\x00\xed\xa0\x80\x00"), 0, "UTF-8"},
	{"NUL in a string", onBus, body(wire.LittleEndian, "s", "\x03\x00\x00\x00a\x00b\x00"), 0, "NUL"},
	{"string without end", onBus, body(wire.LittleEndian, "s", "\x03\x00\x00\x00abcd"), 0, "does not end with NUL"},
	{"string longer than the body", onBus, body(wire.LittleEndian, "s", "\xff\xff\xff\x7fa\x00"), 0, "ends within a string"},
	{"relative path", onBus, body(wire.LittleEndian, "o", "\x01\x00\x00\x00a\x00"), 0, "object path"},
	{"bad signature", onBus, body(wire.LittleEndian, "g", "\x01!\x00"), 0, "signature"},
	{"padding before a number", onBus, body(wire.LittleEndian, "yu", "\x01\x00\xff\x00\x01\x00\x00\x00"), 0, "padding is not zero"},
	{"padding before a struct", onBus, body(wire.LittleEndian, "y(y)", "\x01\x00\x00\x00\x00\x00\x01\x00\x01"), 0, "padding is not zero"},
	{"array longer than 64 MiB", onBus, body(wire.LittleEndian, "ay", "\x01\x00\x00\x04"), 0, "64 MiB"},
	{"array longer than the body", onBus, body(wire.LittleEndian, "ay", "\x05\x00\x00\x00abc"), 0, "ends within an array"},
	{"array that ends within an element", onBus, body(wire.LittleEndian, "aq", "\x03\x00\x00\x00abcd"), 0, "array"},
	{"bytes behind the last value", onBus, body(wire.LittleEndian, "y", "12"), 0, "left over"},
	{"body too short", onBus, body(wire.LittleEndian, "uu", "\x01\x00\x00\x00"), 0, "ends within"},

	{"descriptors that did not come", onBus, faulty(func(h *wire.Header) { h.UnixFDs = 2 }), 1, "should come with 2"},
	{"as many descriptors as can be written", onBus, faulty(func(h *wire.Header) { h.UnixFDs = 1<<32 - 1 }), 0, "4294967295 file descriptors"},
	{"descriptors of no message", onBus, faulty(nil), 1, "belong to no message"},
	{"more descriptors than claimed", onBus, faulty(func(h *wire.Header) { h.UnixFDs = 1 }), 2, "belong to no message"},
	{"more descriptors than a message may have", onBus, faulty(func(h *wire.Header) { h.UnixFDs = 17 })[:20], 17, "max_message_unix_fds"},
	{"descriptors without negotiation", onBusNoFDs, faulty(func(h *wire.Header) { h.UnixFDs = 1 }), 1, "not negotiated"},
	{"message longer than max_message_size", onBus, faulty(nil, patch{4, "\x00\x00\x00\x01"}), 0, "max_message_size"},
}

// limitMessageSize makes messages of 16 MiB too long.
func limitMessageSize(c *dbus1.Config) { c.Limits.MaxMessageSize = 16<<20 - 1 }

// TestWhoeverMisbehavesIsDisconnected and the log says why, while others go on.
func TestWhoeverMisbehavesIsDisconnected(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	const perServer = 15 // what the log takes at once
	for group := range slices.Chunk(misbehaviours, perServer) {
		s := startServer(t, limitMessageSize)
		others := s.watch(t)
		for _, bad := range group {
			t.Run(bad.name, func(t *testing.T) {
				c, err := s.dial()
				if err != nil {
					t.Fatal(err)
				}
				defer c.close()
				if bad.stage != fresh {
					err = c.authenticate(bad.stage == onBus)
				}
				if err == nil && bad.stage <= onBusNoFDs {
					err = c.hello()
				}
				if err != nil {
					t.Fatal(err)
				}
				// What cannot be written any more is what the server did not wait for.
				c.write(bad.bytes, slices.Repeat([]int{int(null.Fd())}, bad.fds)...)
				if err := c.disconnected(); err != nil {
					t.Fatal(err)
				}
				known := cmp.Or(c.name, "name=") + " "
				eventually(t, "the log says why", func() bool { return s.log.has("disconnecting", bad.why, known) })
				others.progress()
			})
		}
		others.stop()
		s.stop()
		if lines := s.log.lines(); len(lines) != len(group) {
			t.Errorf("%d clients misbehaved, and the log has %d lines:\n%s", len(group), len(lines), strings.Join(lines, "\n"))
		}
	}
}

// TestLogIsNotFlooded by clients that misbehave: some lines are left out, and counted.
func TestLogIsNotFlooded(t *testing.T) {
	s := startServer(t)
	others := s.watch(t)
	misbehave := func() {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		c.write([]byte("garbage"))
		if err := c.disconnected(); err != nil {
			t.Fatal(err)
		}
	}
	const clients = 200
	for range clients {
		misbehave()
	}
	if n := len(s.log.lines()); n < 1 || n > clients/2 {
		t.Errorf("%d clients misbehaved, and the log has %d lines", clients, n)
	}
	eventually(t, "the log says how many lines it left out", func() bool {
		misbehave()
		return s.log.has("suppressed=")
	})
	others.stop()
}

// TestDisconnectingOneLeavesItsNamesToOthers: the end of a bad peer is an orderly one for everybody
// else.
func TestDisconnectingOneLeavesItsNamesToOthers(t *testing.T) {
	s := startServer(t)
	bad, heir := s.connect(t), s.connect(t)
	bad.must(t, "RequestName", "org.example.Name", uint32(0))
	heir.must(t, "RequestName", "org.example.Name", uint32(0))
	call := heir.newMessage(wire.TypeMethodCall, "org.example.Name", "Method")
	heir.mustSend(t, call)
	if m := bad.mustNext(t); m.Member == "NameAcquired" {
		bad.mustNext(t) // the call
	}
	bad.write(faulty(nil, patch{3, "\x09"}))
	answer, err := heir.await(call.Serial)
	if err != nil {
		t.Fatal(err)
	}
	if answer.ErrorName != driver+".Error.NoReply" {
		t.Errorf("the call is answered with %s, want NoReply", answer)
	}
	if m := heir.mustNext(t); m.Member != "NameAcquired" {
		t.Errorf("got %s, want NameAcquired", m)
	}
}
