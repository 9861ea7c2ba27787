package native_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

const document = "../docs/native-protocol.md"

var update = flag.Bool("update", false, "write the dumps in "+document+" anew")

// TestDocumentShowsWhatIsOnTheWire compares the dumps at the end of the document with what client and
// server say to each other.
func TestDocumentShowsWhatIsOnTheWire(t *testing.T) {
	if !isLittleEndian {
		return // it says what machine it is about
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	const heading = "## 15. On the wire\n"
	at := bytes.Index(text, []byte(heading))
	if at < 0 {
		t.Fatalf("no %q", heading)
	}
	intro := bytes.Index(text[at+len(heading):], []byte("\n### "))
	if intro < 0 {
		intro = len(text) - at - len(heading)
	}
	at += len(heading) + intro
	want := "\n" + dumps(t)
	if got := string(text[at:]); got == want {
		return
	}
	if !*update {
		t.Fatalf("%s shows something else; go test ./native -run %s -update writes:\n%s", document, t.Name(), want)
	}
	if err := os.WriteFile(document, append(text[:at:at], want...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// dumps is the end of the document.
func dumps(t *testing.T) string {
	w := newWorld(t)
	service := w.dial()

	hello := abi.Hello{
		Flags: abi.HelloAcceptFD, AttachFlagsSend: abi.AttachAny, AttachFlagsRecv: abi.AttachConnDescription, PoolSize: 16 << 20,
		Description: "echo",
	}
	request, _ := service.Request(abi.CmdHello, 0, 0, hello.Append(nil)...)
	answer := exchange(t, service, request)
	copy(answer[24+80:], "\x3f\x6f\x3b\x1c\x0e\x1d\x4f\x7c\x9a\x2b\x8c\x5d\x6e\x7f\x80\x91") // it is a random number

	caller := w.join(func(h *abi.Hello) { h.Description = "caller" })
	w.do(service, &abi.NameAcquire{Name: "org.example.Echo"})
	payload := dbus(t, wire.Header{
		Type: wire.TypeMethodCall, Serial: 1, Path: "/", Interface: "org.example.Echo", Member: "Say", Destination: "org.example.Echo",
	}, "hi")
	call := nativetest.Outgoing{
		Message: abi.Message{
			DstName: "org.example.Echo", Cookie: 1, Flags: abi.MsgExpectReply, TimeoutNS: 1 << 62, PayloadType: abi.PayloadDBus,
		},
		Body: payload, Flags: abi.SendSyncReply,
	}
	sent, sentTag := caller.Request(abi.CmdSend, 0, 0, call.Encode()...)
	if err := caller.Write(sent); err != nil {
		t.Fatal(err)
	}
	arrived := rawFrame(t, service)
	reply := nativetest.Outgoing{
		Message: abi.Message{DstID: caller.ID, Cookie: 9, CookieReply: 1, PayloadType: abi.PayloadDBus},
		Body:    dbus(t, wire.Header{Type: wire.TypeMethodReturn, Serial: 9, ReplySerial: 1, Flags: wire.NoReplyExpected}),
	}
	w.send(service, reply)
	f, err := caller.Answer(sentTag)
	if err != nil {
		t.Fatal(err)
	}
	answered := append(f.Append(nil), f.Body...)
	release, _ := caller.Request(abi.CmdNameRelease, 0, 0, (&abi.NameRelease{Name: "org.example.Echo"}).Append(nil)...)
	refused := exchange(t, caller, release)

	d := &dump{}
	d.section("HELLO, from the client", request)
	d.header("HELLO", 0)
	d.fixed("HELLO", "flags: ACCEPT_FD", "return_flags", "attach_flags_send: all", "attach_flags_recv: CONN_DESCRIPTION", "bus_flags",
		"id", "pool_size: 16 MiB", "offset", "items_size")
	d.bytes(16, "id128")
	d.text("CONN_DESCRIPTION", 21, "\"echo\", NUL, padding")
	d.section("Its answer", answer)
	d.header("HELLO", 0)
	d.fixed("HELLO, without its items", "flags", "return_flags", "attach_flags_send", "attach_flags_recv", "bus_flags: ACCESS_WORLD",
		"id: the client is :1.1", "pool_size", "offset: the item below", "items_size")
	d.bytes(16, "id128")
	d.item("BLOOM_PARAMETER", "size: 64 bytes", "number of hash functions")
	d.section("A call, from another client", sent)
	d.header("SEND", 0)
	d.fixed("SEND", "flags: SYNC_REPLY", "return_flags", "msg_address", "reply.offset", "reply.msg_size", "reply.return_flags")
	d.message(true)
	d.text("DST_NAME", 33, "\"org.example.Echo\", NUL, padding")
	d.item("PAYLOAD_VEC", "size", "offset from the beginning of kdbus_msg")
	d.payload("payload: a D-Bus message")
	d.section("The call as it arrives", arrived)
	d.header("RECV", 0)
	d.message(true)
	d.text("DST_NAME", 33, "\"org.example.Echo\", NUL, padding")
	d.item("PAYLOAD_OFF", "size", "offset from the beginning of kdbus_msg")
	d.text("CONN_DESCRIPTION", 23, "\"caller\", NUL, padding: metadata")
	d.payload("payload")
	d.section("The answer to the call: its reply", answered)
	d.header("SEND", 0)
	d.message(false)
	d.item("PAYLOAD_OFF", "size", "offset from the beginning of kdbus_msg")
	d.payload("payload")
	d.section("A command that fails", refused)
	d.header("NAME_RELEASE", 98)
	d.payload("text")
	d.out.WriteString("```\n")
	return d.out.String()
}

// exchange makes a request and returns the answer with its header.
func exchange(t *testing.T, c *nativetest.Client, request []byte) []byte {
	t.Helper()
	if err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	return rawFrame(t, c)
}

func rawFrame(t *testing.T, c *nativetest.Client) []byte {
	t.Helper()
	f, err := c.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	return append(f.Append(nil), f.Body...)
}

// dump shows bytes, a field a line.
type dump struct {
	out strings.Builder
	b   []byte
	at  int // counted from the beginning of the body
}

func (d *dump) section(title string, b []byte) {
	if d.out.Len() > 0 {
		d.out.WriteString("```\n\n")
	}
	fmt.Fprintf(&d.out, "### %s\n\n```\n", title)
	d.b, d.at = b, -abi.FrameHeaderSize
}

// bytes shows n bytes, 16 a line.
func (d *dump) bytes(n int, what string) {
	n = min(n, len(d.b))
	for i := 0; i < n; i += 16 {
		line := d.b[i:min(i+16, n)]
		at := "header"
		if d.at >= 0 {
			at = fmt.Sprintf("%6d", d.at)
		}
		fmt.Fprintf(&d.out, "%s  %-48s %s\n", at, fmt.Sprintf("% x", line), what)
		if what != "" {
			what = "|"
		}
		d.at += len(line)
	}
	d.b = d.b[n:]
}

func (d *dump) header(cmd string, code int) {
	d.bytes(4, fmt.Sprintf("size: %d", binary.NativeEndian.Uint32(d.b)))
	d.bytes(4, "cmd: "+cmd)
	d.bytes(8, "tag")
	if code != 0 {
		d.bytes(4, fmt.Sprintf("code: errno %d", code))
	} else {
		d.bytes(4, "code")
	}
	d.bytes(4, "fds")
}

func (d *dump) fields(names ...string) {
	for _, name := range names {
		d.bytes(8, name)
	}
}

func (d *dump) fixed(what string, names ...string) {
	d.bytes(8, fmt.Sprintf("size of the struct: %d (%s)", binary.NativeEndian.Uint64(d.b), what))
	d.fields(names...)
}

func (d *dump) item(what string, names ...string) {
	d.bytes(8, fmt.Sprintf("size of the item: %d", binary.NativeEndian.Uint64(d.b)))
	d.bytes(8, "type: "+what)
	d.fields(names...)
}

// text shows an item of this size with its padding.
func (d *dump) text(what string, size int, content string) {
	d.item(what)
	d.bytes((size+7)&^7-16, content)
}

func (d *dump) message(call bool) {
	last, flags := "cookie_reply", "flags"
	if call {
		last, flags = "timeout_ns", "flags: EXPECT_REPLY"
	}
	d.fixed("kdbus_msg with its items", flags, "priority", "dst_id", "src_id", "payload_type: DBusDBus", "cookie", last)
}

// payload shows what is left.
func (d *dump) payload(what string) { d.bytes(len(d.b), what) }
