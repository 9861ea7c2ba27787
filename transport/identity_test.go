package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
)

// reporter is a protocol whose frames are a length, in four bytes, and text. It tells for each who
// sent it.
type reporter struct {
	peer   *transport.Peer
	frames chan<- report
}

type report struct {
	text string
	data meta.Data
}

func (r *reporter) HeaderSize() int                              { return 4 }
func (r *reporter) FrameSize(b []byte) (int, error)              { return 4 + int(binary.BigEndian.Uint32(b)), nil }
func (r *reporter) MaxFDs() int                                  { return 0 }
func (r *reporter) Encode(e *transport.Encoding, m *bus.Message) { e.Pieces(m.Payload) }
func (r *reporter) Frame(raw []byte, owned bool, free func()) error {
	text := string(raw[4:])
	if free != nil {
		free()
	}
	if text == "join" {
		conn, err := r.peer.Join(bus.ConnConfig{AttachSend: meta.AllKinds})
		if err != nil {
			return err
		}
		conn.Hello()
		answer := &bus.Message{Payload: [][]byte{[]byte("joined")}}
		defer answer.Release()
		return conn.Deliver(answer)
	}
	r.frames <- report{text, r.peer.Collect(meta.ProcessKinds)}
	return nil
}

func frame(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

// listener is a connection of the bus that wants to know everything of everybody.
type listener struct{}

func (listener) Wake()             {}
func (listener) Wanted(meta.Kinds) {}

// connectReporter connects to a server of reporters. With wanted, somebody on the bus wants all
// metadata.
func connectReporter(t *testing.T, wanted bool) (*net.UnixConn, <-chan report) {
	t.Helper()
	endpoint := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{}).Endpoint()
	if wanted {
		c, err := endpoint.Connect(bus.ConnConfig{Receiver: listener{}, Wants: bus.PartsMetadata})
		if err != nil {
			t.Fatal(err)
		}
		c.Hello()
	}
	frames := make(chan report, 16)
	return connectTo(t, endpoint, func(p *transport.Peer) transport.Protocol { return &reporter{p, frames} }), frames
}

// connectTo connects to a server of peers that speak this protocol, and joins the bus.
func connectTo(t *testing.T, endpoint *bus.Endpoint, protocol func(*transport.Peer) transport.Protocol) *net.UnixConn {
	t.Helper()
	server, err := transport.NewServer(transport.Config{Endpoint: endpoint, DBus1: protocol})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Shutdown(context.Background()) })
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(t.TempDir(), "socket")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go server.Serve(l, "0123456789abcdef0123456789abcdef")
	c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	write(t, c, []byte("\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"))
	write(t, c, frame("join"))
	const greeting = "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\njoined"
	if got := make([]byte, len(greeting)); true {
		if _, err := io.ReadFull(c, got); err != nil || string(got) != greeting {
			t.Fatalf("the server greeted with %q, %v", got, err)
		}
	}
	return c
}

func write(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

// child has another process write b to the socket, and returns its pid. The process lives until the
// test ends.
func child(t *testing.T, c *net.UnixConn, b []byte) int {
	t.Helper()
	socket, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd := exec.Command("sh", "-c", "cat >&3; echo done; read forever <&4")
	forever, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer forever.Close()
	cmd.ExtraFiles = []*os.File{socket, forever}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hold.Close()
		cmd.Wait()
	})
	write(t, in, b)
	in.Close()
	io.ReadFull(out, make([]byte, len("done\n")))
	return cmd.Process.Pid
}

func TestSenderOfAFrameIsWhoWroteIt(t *testing.T) {
	c, frames := connectReporter(t, true)
	write(t, c, frame("parent"))
	got := <-frames
	if got.data.PIDs.PID != uint32(os.Getpid()) || got.data.Has&meta.KindCmdline == 0 {
		t.Fatalf("of our own frame the server knows %v of pid %d, want all of %d", got.data.Has, got.data.PIDs.PID, os.Getpid())
	}
	// cat is a process of its own, with another pid than the shell.
	shell := child(t, c, frame("child"))
	got = <-frames
	if got.data.Has&meta.KindPIDs == 0 || got.data.PIDs.PID == uint32(os.Getpid()) || got.data.PIDs.PID < uint32(shell) {
		t.Fatalf("a frame that a child of the shell %d wrote is said to come from %d (%v)", shell, got.data.PIDs.PID, got.data.Has)
	}
}

func TestFrameOfTwoSendersHasNone(t *testing.T) {
	for _, size := range []int{100, 10_000} { // one is put together in the read buffer, one in memory of its own
		c, frames := connectReporter(t, true)
		whole := frame(string(make([]byte, size)))
		write(t, c, whole[:size/2])
		child(t, c, whole[size/2:])
		if got := <-frames; got.data.Has != 0 {
			t.Errorf("a frame of %d bytes that two processes wrote has a sender: %v of pid %d", size, got.data.Has, got.data.PIDs.PID)
		}
		write(t, c, frame("whole"))
		if got := <-frames; got.text != "whole" || got.data.PIDs.PID != uint32(os.Getpid()) {
			t.Errorf("the frame after it has %v of pid %d, want %d", got.data.Has, got.data.PIDs.PID, os.Getpid())
		}
	}
}

func TestFrameInPiecesHasItsSender(t *testing.T) {
	c, frames := connectReporter(t, true)
	for _, size := range []int{100, 10_000, 300_000} {
		whole := frame(string(make([]byte, size)))
		for len(whole) > 0 {
			n := min(len(whole), size/3+1)
			write(t, c, whole[:n])
			whole = whole[n:]
		}
		if got := <-frames; got.data.PIDs.PID != uint32(os.Getpid()) {
			t.Errorf("a frame of %d bytes in pieces has %v of pid %d, want %d", size, got.data.Has, got.data.PIDs.PID, os.Getpid())
		}
	}
}

func TestNobodyIsLookedAtUnlessSomebodyWants(t *testing.T) {
	c, frames := connectReporter(t, false)
	write(t, c, frame("private"))
	if got := <-frames; got.data.Has != 0 {
		t.Errorf("the server knows %v although nobody asked", got.data.Has)
	}
}
