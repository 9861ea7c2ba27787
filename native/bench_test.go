package native_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// BenchmarkInFlight has 64 calls under way, as bytes that are patched and nothing more, so that most of
// the time is the server's.
func BenchmarkInFlight(b *testing.B) {
	const inFlight = 64
	for name, timeout := range map[string]uint64{"never": never, "deadline": 1 << 62} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			caller, callee := w.join(), w.join()
			call := nativetest.Outgoing{
				Message: abi.Message{DstID: callee.ID, Cookie: 1, Flags: abi.MsgExpectReply, TimeoutNS: timeout},
				Body:    dbus(b, wire.Header{Type: wire.TypeMethodCall, Serial: 1, Path: "/", Member: "M"}),
			}
			reply := nativetest.Outgoing{
				Message: abi.Message{DstID: caller.ID, Cookie: 1, CookieReply: 1},
				Body:    dbus(b, wire.Header{Type: wire.TypeMethodReturn, Serial: 1, ReplySerial: 1}),
			}
			go answerAll(callee, reply)
			frame, _ := caller.Request(abi.CmdSend, abi.FrameQuiet, 0, call.Encode()...)
			const cookieAt = 24 + 56 + 48
			cookie := uint64(1)
			next := func(dst []byte, n int) []byte {
				for range n {
					cookie++
					binary.NativeEndian.PutUint64(frame[cookieAt:], cookie)
					dst = append(dst, frame...)
				}
				return dst
			}
			socket := caller.Socket()
			b.ReportAllocs()
			b.ResetTimer()
			out := next(nil, inFlight)
			if _, err := socket.Write(out); err != nil {
				b.Fatal(err)
			}
			frames(b, socket, func(n int) bool {
				for range n {
					if !b.Loop() {
						return false
					}
				}
				out = next(out[:0], n)
				_, err := socket.Write(out)
				return err == nil
			})
		})
	}
}

// frames reads, and says each time how many frames are there.
func frames(b *testing.B, socket *net.UnixConn, got func(n int) bool) {
	buf, have := make([]byte, 256<<10), 0
	for {
		n, err := socket.Read(buf[have:])
		if err != nil {
			if err != io.EOF && !errors.Is(err, net.ErrClosed) {
				b.Error(err)
			}
			return
		}
		have += n
		count, at := 0, 0
		for have-at >= abi.FrameHeaderSize {
			size := int(binary.NativeEndian.Uint32(buf[at:]))
			if have-at < size {
				break
			}
			at += size
			count++
		}
		have = copy(buf, buf[at:have])
		if count > 0 && !got(count) {
			return
		}
	}
}

// answerAll replies to calls until the bus hangs up.
func answerAll(c *nativetest.Client, reply nativetest.Outgoing) {
	frame, _ := c.Request(abi.CmdSend, abi.FrameQuiet, 0, reply.Encode()...)
	socket := c.Socket()
	buf, have := make([]byte, 256<<10), 0
	var out []byte
	for {
		n, err := socket.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		at := 0
		out = out[:0]
		for have-at >= abi.FrameHeaderSize {
			size := int(binary.NativeEndian.Uint32(buf[at:]))
			if have-at < size {
				break
			}
			const received, sent, cookie = 24, 24 + 56, 48
			copy(frame[sent+cookie+8:][:8], buf[at+received+cookie:])
			out = append(out, frame...)
			at += size
		}
		have = copy(buf, buf[at:have])
		if _, err := socket.Write(out); err != nil {
			return
		}
	}
}

// BenchmarkBroadcast has one client send signals to 20.
func BenchmarkBroadcast(b *testing.B) {
	w := newWorld(b)
	sender := w.join()
	const receivers, batch = 20, 50
	done := make(chan bool)
	for range receivers {
		c := w.join()
		w.do(c, &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: mask(64, 3, 9)[:64]}}})
		go func() {
			count := 0
			frames(b, c.Socket(), func(n int) bool {
				for count += n; count >= batch; count -= batch {
					done <- true
				}
				return true
			})
		}()
	}
	signal := nativetest.Outgoing{
		Message: abi.Message{DstID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Cookie: 1, Bloom: bloom(0, 3, 7, 100)},
		Body:    dbus(b, wire.Header{Type: wire.TypeSignal, Serial: 1, Path: "/", Interface: "org.example.I", Member: "M"}),
	}
	frame, _ := sender.Request(abi.CmdSend, abi.FrameQuiet, 0, signal.Encode()...)
	out := bytes.Repeat(frame, batch)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sender.Socket().Write(out); err != nil {
			b.Fatal(err)
		}
		for range receivers {
			<-done
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*receivers*batch), "ns/delivery")
}
