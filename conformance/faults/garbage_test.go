//go:build conformance

package faults

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestGarbage sends all kinds of nonsense, in front of and behind authentication and Hello. Each
// client that does so is disconnected, and nobody else.
func TestGarbage(t *testing.T) {
	bus := testbus.Start(t)
	others := standBy(t, bus)
	target := bus.Connect(t)
	for _, g := range garbage(target.Name) {
		t.Run(g.name, func(t *testing.T) {
			for i := range g.times {
				c := g.stage(t, bus)
				// The bus may end the connection while it is written to.
				_ = c.Write(g.make(rand.New(rand.NewPCG(1, uint64(i)))))
				if g.ends {
					_ = c.CloseWrite()
				}
				awaitEnd(t, c)
				c.Close()
			}
			others.awaitMore(t)
		})
	}
	if n := strings.Count(bus.Log(), "\n"); bus.Kind == testbus.KDBus && (n < 5 || n > 500) {
		t.Errorf("the bus logged %d lines; it should say why clients were disconnected, but not without end", n)
	}
}

// awaitEnd waits until the bus has ended the connection, whatever it sends before that.
func awaitEnd(t *testing.T, c *peer.Client) {
	t.Helper()
	for {
		if _, err := c.ReadBytes(limit); err != nil {
			if !peer.Disconnected(err) {
				t.Fatalf("the client was not disconnected: %v", err)
			}
			return
		}
	}
}

// nonsense is one kind of garbage: from which stage of a connection on it is sent, and how often.
type nonsense struct {
	name  string
	stage func(*testing.T, *testbus.Bus) *peer.Client
	times int
	make  func(*rand.Rand) []byte
	ends  bool // the client then closes its side: what it sent is not yet a reason to do that
}

// The stages of a connection.
var (
	connected = func(t *testing.T, bus *testbus.Bus) *peer.Client { return stage(t, bus, peer.DialRaw) }
	begun     = func(t *testing.T, bus *testbus.Bus) *peer.Client { return stage(t, bus, peer.Dial) }
	greeted   = func(t *testing.T, bus *testbus.Bus) *peer.Client { return stage(t, bus, peer.Connect) }
)

func stage(t *testing.T, bus *testbus.Bus, dial func(string) (*peer.Client, error)) *peer.Client {
	t.Helper()
	c, err := dial(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func garbage(target string) []nonsense {
	call := func(sig string, body ...any) *peer.Message {
		m := peer.Call(target, "/a", "com.example.I", "M", sig, body...)
		m.Serial = 99
		return m
	}
	auth := "\x00AUTH EXTERNAL " + hex.EncodeToString([]byte(strconv.Itoa(os.Getuid()))) + "\r\nBEGIN\r\n"
	list := []nonsense{
		{name: "random bytes", stage: connected, times: 50, make: random},
		{name: "random bytes after a zero byte", stage: connected, times: 50, ends: true, make: func(r *rand.Rand) []byte { return append([]byte{0}, random(r)...) }},
		{name: "a line without an end", stage: connected, times: 2, make: func(*rand.Rand) []byte { return append([]byte{0}, make([]byte, 1<<20)...) }},
		{name: "many wrong commands", stage: connected, times: 2, make: func(*rand.Rand) []byte { return []byte("\x00" + strings.Repeat("NONSENSE\r\n", 10000)) }},
		{name: "BEGIN before AUTH", stage: connected, times: 2, make: func(*rand.Rand) []byte { return []byte("\x00BEGIN\r\n") }},
		{name: "authentication and random bytes at once", stage: connected, times: 20, make: func(r *rand.Rand) []byte { return append([]byte(auth), bad(r)...) }},
		{name: "an HTTP request", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") }},
		{name: "an array that is too long", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return array(call("ay", []byte("12345678")), 1<<27) }},
		{name: "an array longer than its message", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return array(call("ay", []byte("12345678")), 9) }},
		{name: "an array that ends within an element", stage: greeted, times: 2, make: func(*rand.Rand) []byte {
			data := call("ai", []any{int32(1), int32(2)}).Encode()
			binary.LittleEndian.PutUint32(data[len(data)-12:], 6)
			return data
		}},
		{name: "a string without its zero", stage: greeted, times: 2, make: func(*rand.Rand) []byte {
			data := call("s", "text").Encode()
			data[len(data)-1] = 'x'
			return data
		}},
		{name: "a string that is not UTF-8", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return call("s", "\xc3\x28").Encode() }},
		{name: "a variant with two types", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return call("v", peer.Variant{Sig: "yy", Value: byte(1)}).Encode() }},
		{name: "a variant without a type", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return call("v", peer.Variant{}).Encode() }},
		{name: "70 nested variants", stage: greeted, times: 2, make: func(*rand.Rand) []byte {
			v := peer.Variant{Sig: "y", Value: byte(1)}
			for range 70 {
				v = peer.Variant{Sig: "v", Value: v}
			}
			return call("v", v).Encode()
		}},
		{name: "a signature of 255 brackets", stage: greeted, times: 2, make: func(*rand.Rand) []byte {
			m := call("")
			m.BodySig = "y"
			m.Body = []any{byte(0)}
			return m.With(peer.FieldSignature, "g", strings.Repeat("(", 255)).Encode()
		}},
		{name: "a signature of 255 arrays", stage: greeted, times: 2, make: func(*rand.Rand) []byte {
			m := call("")
			m.BodySig = "y"
			m.Body = []any{byte(0)}
			return m.With(peer.FieldSignature, "g", strings.Repeat("a", 254)+"y").Encode()
		}},
		{name: "a path that ends in a slash", stage: greeted, times: 2, make: func(*rand.Rand) []byte {
			return call("").Without(peer.FieldPath).With(peer.FieldPath, "o", "/a/").Encode()
		}},
		{name: "no member", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return call("").Without(peer.FieldMember).Encode() }},
		{name: "file descriptors that are not there", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return call("").With(peer.FieldUnixFDs, "u", uint32(253)).Encode() }},
		{name: "file descriptors without number", stage: greeted, times: 2, make: func(*rand.Rand) []byte { return call("").With(peer.FieldUnixFDs, "u", ^uint32(0)).Encode() }},
	}
	for name, stage := range map[string]func(*testing.T, *testbus.Bus) *peer.Client{"before Hello": begun, "after Hello": greeted} {
		list = append(list,
			nonsense{name: "random messages " + name, stage: stage, times: 50, make: bad},
			nonsense{name: "a body of 4 GiB " + name, stage: stage, times: 2, make: func(*rand.Rand) []byte { return lengths(call("").Encode(), ^uint32(0), 0) }},
			nonsense{name: "a body over 128 MiB " + name, stage: stage, times: 2, make: func(*rand.Rand) []byte { return lengths(call("").Encode(), 1<<27, 0) }},
			nonsense{name: "header fields of 4 GiB " + name, stage: stage, times: 2, make: func(*rand.Rand) []byte { return lengths(call("").Encode(), 0, ^uint32(0)) }},
			nonsense{name: "lengths that overflow together " + name, stage: stage, times: 2, make: func(*rand.Rand) []byte { return lengths(call("").Encode(), ^uint32(0)-7, 16) }},
			nonsense{name: "an unknown byte order " + name, stage: stage, times: 2, make: func(*rand.Rand) []byte { return patch(call("").Encode(), 0, 'L') }},
			nonsense{name: "an unknown protocol version " + name, stage: stage, times: 2, make: func(*rand.Rand) []byte { return patch(call("").Encode(), 3, 2) }},
			nonsense{name: "message type 0 " + name, stage: stage, times: 2, make: func(*rand.Rand) []byte { return patch(call("").Encode(), 1, 0) }},
			nonsense{name: "serial 0 " + name, stage: stage, times: 2, make: func(*rand.Rand) []byte { return patch(call("").Encode(), 8, 0) }},
		)
	}
	slices.SortStableFunc(list, func(a, b nonsense) int { return strings.Compare(a.name, b.name) })
	return list
}

// random returns bytes that begin neither as authentication nor as a message does.
func random(r *rand.Rand) []byte {
	data := make([]byte, 64+r.IntN(4096))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	data[0] = byte(r.IntN(255)) | 0x80
	return data
}

// bad is random with the beginning of a message, so that the rest is looked at.
func bad(r *rand.Rand) []byte {
	data := random(r)
	data[0], data[3] = "lB"[r.IntN(2)], 1
	order := binary.AppendByteOrder(binary.LittleEndian)
	if data[0] == 'B' {
		order = binary.BigEndian
	}
	copy(data[4:], order.AppendUint32(nil, uint32(len(data)/2)))
	copy(data[12:], order.AppendUint32(nil, uint32(len(data)/2-32)))
	return append(data, make([]byte, 64)...)
}

func patch(data []byte, at int, b byte) []byte { data[at] = b; return data }

func lengths(data []byte, body, fields uint32) []byte {
	binary.LittleEndian.PutUint32(data[4:], body)
	if fields > 0 {
		binary.LittleEndian.PutUint32(data[12:], fields)
	}
	return data
}

// array sets the length of the array of bytes that is the body of m.
func array(m *peer.Message, n uint32) []byte {
	data := m.Encode()
	binary.LittleEndian.PutUint32(data[len(data)-12:], n)
	return data
}

// TestDamagedMessages changes every byte of a valid message in several ways. What comes out may
// still be valid; if it is not, only its sender is disconnected.
func TestDamagedMessages(t *testing.T) {
	bus := testbus.Start(t)
	others := standBy(t, bus)
	target := bus.Connect(t)
	for _, order := range []byte{'l', 'B'} {
		m := peer.Call(target.Name, "/a/b", "com.example.I", "Member", "sa{sv}(yx)av", "text",
			[]any{peer.Entry{Key: "k", Value: peer.Variant{Sig: "ai", Value: []any{int32(1)}}}}, []any{byte(1), int64(2)},
			[]any{peer.Variant{Sig: "o", Value: "/p"}}).InOrder(order).WithFlags(peer.NoReplyExpected)
		m.Serial = 7
		original := m.Encode()
		for at := range original {
			for _, b := range []byte{original[at] ^ 1, original[at] ^ 0x80, 0, 0xff} {
				c := greeted(t, bus)
				data := patch(slices.Clone(original), at, b)
				// Enough more for whatever length the changed one has become, and then the end.
				_ = c.Write(append(data, make([]byte, 512)...))
				_ = c.CloseWrite()
				awaitEnd(t, c)
				c.Close()
			}
		}
	}
	others.awaitMore(t)
}

// TestTruncatedMessages ends connections within messages, at every length.
func TestTruncatedMessages(t *testing.T) {
	bus := testbus.Start(t)
	others := standBy(t, bus)
	target := bus.Connect(t)
	before := bus.OpenFiles(t)
	m := peer.Call(target.Name, "/a/b", "com.example.I", "Member", "s", "text")
	m.Serial = 7
	data := m.Encode()
	for n := range data {
		c := greeted(t, bus)
		if err := c.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	others.awaitMore(t)
	testbus.Eventually(t, fmt.Sprintf("the bus has %d files open again", before), func() bool { return bus.OpenFiles(t) <= before })
}
