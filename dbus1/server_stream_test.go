package dbus1_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/wire"
)

// TestBytesOneAtATime: how a stream is cut into pieces makes no difference.
func TestBytesOneAtATime(t *testing.T) {
	for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
		t.Run(order.String(), func(t *testing.T) {
			s := startServer(t)
			receiver := s.connectAs(t, wire.LittleEndian, true)
			c, err := s.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			c.order = order
			trickle := func(b []byte) {
				for i := range b {
					if err := c.write(b[i : i+1]); err != nil {
						t.Fatal(err)
					}
				}
			}
			trickle(handshake(true))
			want := "OK " + testGUID + "\r\nAGREE_UNIX_FD\r\n"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c.conn, got); err != nil || string(got) != want {
				t.Fatalf("the server says %q, %v", got, err)
			}
			hello, _ := c.newMessage(wire.TypeMethodCall, driver, "Hello").Append(nil)
			trickle(hello)
			call := c.newMessage(wire.TypeMethodCall, receiver.name, "Method", "text", []uint32{1, 2, 3})
			call.UnixFDs = 1
			b, err := call.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			fd := mustNumberedFile(t, 7)
			defer unix.Close(fd)
			if err := c.write(b[:1], fd); err != nil {
				t.Fatal(err)
			}
			trickle(b[1:])
			m := receiver.mustNext(t)
			if !bytes.Equal(m.Body, call.Body) || m.Member != "Method" || numberIn(t, m.fds[0]) != "7" {
				t.Errorf("got %s, want %v", m, call)
			}
		})
	}
}

// TestConnectionsCutAnywhere leave nothing behind and disturb nobody.
func TestConnectionsCutAnywhere(t *testing.T) {
	s := startServer(t)
	others := s.watch(t)
	said := handshake(true)
	c := &client{order: wire.BigEndian}
	for _, m := range []*wire.Message{
		c.newMessage(wire.TypeMethodCall, driver, "Hello"),
		c.newMessage(wire.TypeMethodCall, driver, "RequestName", "org.example.Cut", uint32(4)),
		c.newMessage(wire.TypeSignal, "", "Signal", "argument"),
	} {
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, b...)
	}
	for end := range said {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.write(said[:end]); err != nil {
			t.Fatal(err)
		}
		if end%2 == 0 {
			c.conn.CloseWrite()
			if err := c.disconnected(); err != nil {
				t.Fatal(err)
			}
		}
		c.close()
	}
	asking := s.connect(t)
	eventually(t, "only the others are connected", func() bool { return asking.connections(t) == 3 })
	others.stop()
	if lines := s.log.lines(); len(lines) > 0 {
		t.Errorf("leaving is nothing to log, but there is:\n%s", strings.Join(lines, "\n"))
	}
}

// connections returns how many peers the server has, on the bus or not.
func (c *client) connections(t testing.TB) uint32 {
	t.Helper()
	var all map[string]wire.Variant
	if err := c.must(t, "Debug.GetStats").Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all["ActiveConnections"].Value.(uint32) + all["IncompleteConnections"].Value.(uint32)
}

// TestBurstBeforeTheEnd: whatever a peer sent before it left is delivered.
func TestBurstBeforeTheEnd(t *testing.T) {
	endings := map[string]func(c *client){
		"closes":        func(c *client) { c.conn.Close() },
		"half-closes":   func(c *client) { c.conn.CloseWrite() },
		"reads no more": func(c *client) { c.conn.CloseRead(); c.conn.CloseWrite() },
	}
	for name, end := range endings {
		for _, unread := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, unread=%v", name, unread), func(t *testing.T) {
				s := startServer(t)
				receiver, sender := s.connect(t), s.connect(t)
				if unread { // the kernel tells the server of a connection reset then
					receiver.mustSend(t, receiver.newMessage(wire.TypeSignal, sender.name, "Unread"))
					receiver.must(t, "GetId")
				}
				const burst = 3000
				var all []byte
				for n := range uint32(burst) {
					m := sender.newMessage(wire.TypeSignal, receiver.name, "Burst", n)
					b, err := m.Append(nil)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, b...)
				}
				if err := sender.write(all[:len(all)-1]); err != nil { // and hang up within the last one
					t.Fatal(err)
				}
				end(sender)
				for n := range uint32(burst - 1) {
					var got uint32
					if m := receiver.mustNext(t); m.Decode(&got) != nil || got != n {
						t.Fatalf("got %s, want the signal %d", m, n)
					}
				}
				eventually(t, "the sender is gone", func() bool { return receiver.connections(t) == 1 })
			})
		}
	}
}

// TestPeerThatClosesItsReadingSide cannot get anything any more, so it is not on the bus any more.
func TestPeerThatClosesItsReadingSide(t *testing.T) {
	s := startServer(t)
	deaf, caller := s.connect(t), s.connect(t)
	deaf.conn.CloseRead()
	answer, err := caller.ask(caller.newMessage(wire.TypeMethodCall, deaf.name, "Call"))
	if err != nil {
		t.Fatal(err)
	}
	if answer.ErrorName != driver+".Error.NoReply" {
		t.Errorf("the call is answered with %s, want NoReply", answer)
	}
	eventually(t, "it is gone", func() bool { return caller.connections(t) == 1 })
}

// TestSlowReaderGetsEverythingInOrder: many MiB that a socket does not hold, in messages of all
// sizes, with descriptors.
func TestSlowReaderGetsEverythingInOrder(t *testing.T) {
	s := startServer(t)
	random := rand.New(rand.NewPCG(1, 2))
	sender, reader := s.connectAs(t, wire.BigEndian, true), s.connectAs(t, wire.LittleEndian, true)
	var bodies [][]byte
	for total := 0; total < 24<<20; {
		content := make([]byte, 1<<random.IntN(19)+random.IntN(10))
		for i := range content {
			content[i] = byte(i * len(bodies))
		}
		m := sender.newMessage(wire.TypeSignal, reader.name, "Content", content)
		var fds []int
		if n := len(bodies); n%8 == 3 && n < 8*30 {
			fds = []int{mustNumberedFile(t, n), mustNumberedFile(t, n+1)}
		}
		sender.mustSend(t, m, fds...)
		closeFDs(fds)
		bodies = append(bodies, m.Body)
		total += len(content)
	}
	sender.must(t, "GetId") // everything has been queued
	for n, body := range bodies {
		reader.chunk = 1 + random.IntN(8<<10)<<(n%5)
		m := reader.mustNext(t)
		if !bytes.Equal(m.Body, body) {
			t.Fatalf("message %d of %d arrived as %.100s", n, len(bodies), m)
		}
		if n%8 == 3 && n < 8*30 {
			if got := []string{numberIn(t, m.fds[0]), numberIn(t, m.fds[1])}; !slices.Equal(got, []string{fmt.Sprint(n), fmt.Sprint(n + 1)}) {
				t.Fatalf("message %d came with the descriptors %v", n, got)
			}
		}
	}
	stats, err := sender.stats(reader.name)
	if err != nil {
		t.Fatal(err)
	}
	if stats["OutgoingMessages"] != 0 || stats["OutgoingBytes"] != 0 {
		t.Errorf("all is read, but GetConnectionStats says %v", stats)
	}
}

// TestLongMessages pass unchanged, however they arrive.
func TestLongMessages(t *testing.T) {
	s := startServer(t)
	for _, test := range []struct {
		name         string
		size, pieces int
		order        wire.Order
	}{
		{"as long as a read buffer", 128 << 10, 1 << 20, wire.LittleEndian},
		{"a bit shorter than a read buffer", 127 << 10, 1 << 20, wire.BigEndian},
		{"8 MiB", 8 << 20, 8 << 20, wire.LittleEndian},
		{"8 MiB in pieces", 8 << 20, 4093, wire.BigEndian},
		{"120 MiB", 120 << 20, 120 << 20, wire.LittleEndian},
	} {
		t.Run(test.name, func(t *testing.T) {
			sender, receiver := s.connectAs(t, test.order, false), s.connect(t)
			half := make([]byte, test.size/2)
			for i := range half {
				half[i] = byte(i ^ i>>8 ^ i>>16)
			}
			m := sender.newMessage(wire.TypeSignal, receiver.name, "Long", half, half)
			sent, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			for piece := range slices.Chunk(sent, test.pieces) {
				if err := sender.write(piece); err != nil {
					t.Fatal(err)
				}
			}
			if got := receiver.mustNext(t); !bytes.Equal(got.Body, m.Body) || got.Order != test.order {
				t.Errorf("arrived as %.100s", got)
			}
		})
	}
}

// TestMessageThatGetsTooLong: the bus enters the sender, and must not send what no peer would take.
func TestMessageThatGetsTooLong(t *testing.T) {
	s := startServer(t)
	c := s.connect(t)
	m := c.newMessage(wire.TypeSignal, c.name, "Long", make([]byte, 60<<20), make([]byte, 60<<20), []byte{})
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	room := wire.MaxMessageSize - len(b)
	if err := m.SetBody(make([]byte, 60<<20), make([]byte, 60<<20), make([]byte, room)); err != nil {
		t.Fatal(err)
	}
	c.mustFail(t, "LimitsExceeded", m)
}

// TestHeaderIsWrittenByTheBus: the sender is the true one, unknown fields are dropped, and all else
// stays as it was, in the byte order of the sender.
func TestHeaderIsWrittenByTheBus(t *testing.T) {
	s := startServer(t)
	receiver := s.connect(t)
	for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
		for _, typ := range []wire.Type{wire.TypeMethodCall, wire.TypeSignal} {
			t.Run(fmt.Sprint(order, typ), func(t *testing.T) {
				sender := s.connectAs(t, order, false)
				m := sender.newMessage(typ, receiver.name, "Member", "text", uint64(1))
				m.Flags = wire.NoReplyExpected | wire.AllowInteractiveAuthorization
				m.Sender = receiver.name
				b := withUnknownFields(&m.Header)
				if err := sender.write(append(b, m.Body...)); err != nil {
					t.Fatal(err)
				}
				got := receiver.mustNext(t)
				want := *m
				want.Sender = sender.name
				if diff := cmp.Diff(&want, got.Message); diff != "" {
					t.Errorf("the message arrived changed (-want +got):\n%s", diff)
				}
				if raw, err := want.Append(nil); err != nil || !bytes.Equal(raw, got.raw) {
					t.Errorf("the bytes are\n%q, want\n%q", got.raw, raw)
				}
			})
		}
	}
}

// withUnknownFields returns h with fields behind the known ones that the specification does not
// have.
func withUnknownFields(h *wire.Header) []byte {
	b := h.Append(nil)
	b = append(b, 10, 1, 's', 0)
	b = append(h.Order.AppendUint32(b, 3), "abc\x00\x00\x00\x00\x00"...)
	b = append(b, 255, 1, 'u', 0)
	b = h.Order.AppendUint32(b, 99)
	// The array ends with its last field, without the padding.
	h.Order.PutUint32(b[12:], uint32(len(b)-wire.HeaderFixedSize))
	return append(b, make([]byte, -len(b)&7)...)
}

// TestBatchesWithLongMessages: a message that fills most of a batch and is gone at once takes
// nothing away from those behind it.
func TestBatchesWithLongMessages(t *testing.T) {
	s := startServer(t)
	const clients, rounds = 4, 60
	failed := make(chan error, clients)
	for range clients {
		go func() {
			c, err := s.join(wire.LittleEndian, false)
			if err == nil {
				defer c.close()
				err = c.askInBatches(rounds)
			}
			failed <- err
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// askInBatches sends batches of which the first message is long and cannot be delivered, and checks
// the answers.
func (c *client) askInBatches(rounds int) error {
	for range rounds {
		long := c.newMessage(wire.TypeMethodCall, "org.example.Nobody", "Long", make([]byte, 70<<10))
		batch := []*wire.Message{long}
		for n := range 20 {
			batch = append(batch, c.newMessage(wire.TypeMethodCall, driver, "NameHasOwner", fmt.Sprintf("%s%d.n%d", "org.example.x", c.serial, n)))
		}
		var all []byte
		for _, m := range batch {
			b, err := m.Append(nil)
			if err != nil {
				return err
			}
			all = append(all, b...)
		}
		if err := c.write(all); err != nil {
			return err
		}
		for i, m := range batch {
			answer, err := c.next()
			if err != nil {
				return err
			}
			if wantError := i == 0; answer.ReplySerial != m.Serial || wantError != (answer.Type == wire.TypeError) {
				return fmt.Errorf("call %d is answered with %s", m.Serial, answer)
			}
		}
	}
	return nil
}

// TestQueuedMessagesHoldNoReadBuffers: what waits costs about its own size.
func TestQueuedMessagesHoldNoReadBuffers(t *testing.T) {
	s := startServer(t)
	sleeper, sender := s.connect(t), s.connect(t)
	const messages = 100
	fillSocket(t, sender, sleeper)
	before := liveHeap()
	for range messages {
		sender.mustSend(t, sender.newMessage(wire.TypeSignal, sleeper.name, "Waiting"))
		sender.must(t, "GetId")
		runtime.GC()
		runtime.GC()
	}
	if grown := liveHeap() - before; grown > messages*4<<10 {
		t.Errorf("%d small messages wait, which takes %d KiB", messages, grown>>10)
	}
}

// fillSocket sends until messages for the sleeper wait in the bus.
func fillSocket(t testing.TB, sender, sleeper *client) {
	t.Helper()
	content := make([]byte, 8<<10)
	for {
		sender.mustSend(t, sender.newMessage(wire.TypeSignal, sleeper.name, "Filling", content))
		sender.must(t, "GetId") // what came in one batch with the next call would still be in the queue
		stats, err := sender.stats(sleeper.name)
		if err != nil {
			t.Fatal(err)
		}
		if stats["OutgoingMessages"] > 0 {
			return
		}
	}
}

// TestHangingUpWithinAMessage with descriptors closes those.
func TestHangingUpWithinAMessage(t *testing.T) {
	s := startServer(t)
	c := s.connectAs(t, wire.LittleEndian, true)
	pipe := newPipe(t)
	m := c.newMessage(wire.TypeSignal, c.name, "Cut")
	m.UnixFDs = 1
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.write(b[:len(b)-1], pipe.w); err != nil {
		t.Fatal(err)
	}
	c.conn.CloseWrite()
	if err := c.disconnected(); err != nil {
		t.Fatal(err)
	}
	pipe.closed(t)
}
