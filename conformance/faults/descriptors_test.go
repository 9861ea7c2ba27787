//go:build conformance

package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestOutOfFileDescriptors connects more clients than the bus has descriptors for. It goes on serving
// those it has, waits without spinning, says so, and accepts others when some leave.
func TestOutOfFileDescriptors(t *testing.T) {
	const files = 64
	bus := testbus.StartKind(t, testbus.UnderTest(), testbus.Options{Files: files})
	others := standBy(t, bus)
	logged := strings.Count(bus.Log(), "\n")
	var clients []*peer.Client
	for range files {
		c, err := peer.DialRaw(bus.Address) // succeeds as long as there is room in the socket's backlog
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	testbus.Eventually(t, "the bus says that it is out of descriptors", func() bool {
		return strings.Contains(strings.ToLower(bus.Log()), "too many open files")
	})
	others.awaitMore(t)

	begin := bus.CPUTime(t)
	time.Sleep(time.Second) // the time in which it might spin
	if used := bus.CPUTime(t) - begin; used > 500*time.Millisecond {
		t.Errorf("without descriptors the bus needed %v of processor time in a second", used)
	}
	if n := strings.Count(bus.Log(), "\n") - logged; n > 50 {
		t.Errorf("the bus logged %d lines about it", n)
	}

	last := clients[files-1]
	for _, c := range clients[:files-1] {
		c.Close()
	}
	uid := fmt.Sprintf("%x", strconv.Itoa(os.Getuid()))
	if line, err := last.Command("\x00AUTH EXTERNAL " + uid); err != nil || !strings.HasPrefix(line, "OK ") {
		t.Errorf("when others have left, the last client's authentication is answered with %q, %v", line, err)
	}
	for range files / 4 {
		bus.Connect(t)
	}
}

// TestConnectionsComeAndGo connects and disconnects 100,000 times, at all stages of a connection, and
// compares what the bus needs after a tenth of them and after all.
func TestConnectionsComeAndGo(t *testing.T) {
	const connections = 100_000
	bus := testbus.Start(t)
	others := standBy(t, bus)
	files := bus.OpenFiles(t)
	settled := func() bool { return bus.OpenFiles(t) <= files }

	comeAndGo(t, bus, connections/10)
	testbus.Eventually(t, "the bus has closed the first connections", settled)
	memory := bus.Stat(t, "VmRSS")
	comeAndGo(t, bus, connections-connections/10)
	testbus.Eventually(t, fmt.Sprintf("the bus has %d files open again", files), settled)
	t.Logf("%d kB after a tenth, %d kB after all, %d threads", memory, bus.Stat(t, "VmRSS"), bus.Stat(t, "Threads"))
	if grown := bus.Stat(t, "VmRSS") - memory; grown > 8<<10 {
		t.Errorf("the bus needs %d kB more than after the first connections", grown)
	}
	if n := bus.Stat(t, "Threads"); n > 40 {
		t.Errorf("the bus has %d threads", n)
	}
	others.awaitMore(t)
}

// comeAndGo makes n connections from a few goroutines, most of which say Hello and wait for its
// answer.
func comeAndGo(t *testing.T, bus *testbus.Bus, n int) {
	hello := peer.DriverCall("Hello", "")
	hello.Serial = 1
	auth := fmt.Sprintf("\x00AUTH EXTERNAL %x\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n", strconv.Itoa(os.Getuid()))
	match := peer.DriverCall("AddMatch", "s", "member='M'")
	match.Serial = 2
	name := peer.DriverCall("RequestName", "su", "com.example.Contended", uint32(0))
	name.Serial = 3
	all := auth + string(hello.Encode())
	stages := []string{all, all + string(match.Encode()), all + string(name.Encode()), all, all, all, all, auth, auth[:10], ""}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				if err := comeOnce(bus.Address, stages[i%int64(len(stages))], all); err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// comeOnce connects, sends, waits for the answer to Hello if it is in what is sent, and leaves.
func comeOnce(address, send, hello string) error {
	c, err := peer.DialRaw(address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Write([]byte(send)); err != nil {
		return err
	}
	for answers := ""; strings.HasPrefix(send, hello) && !strings.Contains(answers, "NameAcquired"); {
		data, err := c.ReadBytes(limit)
		if err != nil {
			return fmt.Errorf("waiting for the answer to Hello: %w", err)
		}
		answers += string(data)
	}
	return nil
}

// TestDescriptorsThatCannotBeDelivered passes the writing end of a pipe to the bus in every way in
// which it does not reach anybody. That the reading end reports the end of the file shows that
// nobody has it open any more.
func TestDescriptorsThatCannotBeDelivered(t *testing.T) {
	bus := testbus.Start(t)
	others := standBy(t, bus)
	const sig = "h"
	index := uint32(0)
	call := func(dest string) *peer.Message { return peer.Call(dest, "/", "com.example.I", "M", sig, index) }
	for _, c := range []struct {
		name string
		pass func(t *testing.T, sender *peer.Client, fd int)
	}{
		{"to nobody", func(t *testing.T, sender *peer.Client, fd int) {
			send(t, sender, call("com.example.Missing").WithFDs(fd))
		}},
		{"to the bus", func(t *testing.T, sender *peer.Client, fd int) {
			send(t, sender, peer.DriverCall("GetId", "").WithFDs(fd))
		}},
		{"in a signal that nobody subscribed to", func(t *testing.T, sender *peer.Client, fd int) {
			send(t, sender, peer.Signal("", "/", "com.example.I", "S", sig, index).WithFDs(fd))
		}},
		{"in an answer that nobody waits for", func(t *testing.T, sender *peer.Client, fd int) {
			receiver := bus.Connect(t)
			send(t, sender, peer.Reply(receiver.Name, 999, sig, index).WithFDs(fd))
		}},
		{"to a client that cannot take them", func(t *testing.T, sender *peer.Client, fd int) {
			receiver := stage(t, bus, peer.DialWithoutFDs)
			if err := receiver.Hello(); err != nil {
				t.Fatal(err)
			}
			send(t, sender, call(receiver.Name).WithFDs(fd))
		}},
		{"in a signal to a subscriber that cannot take them", func(t *testing.T, sender *peer.Client, fd int) {
			receiver := stage(t, bus, peer.DialWithoutFDs)
			if err := receiver.Hello(); err != nil {
				t.Fatal(err)
			}
			if _, err := receiver.Call(peer.DriverCall("AddMatch", "s", "")); err != nil {
				t.Fatal(err)
			}
			send(t, sender, peer.Signal("", "/", "com.example.I", "S", sig, index).WithFDs(fd))
		}},
		{"to a client that leaves before it reads", func(t *testing.T, sender *peer.Client, fd int) {
			receiver := bus.Connect(t)
			fill(t, sender, receiver)
			send(t, sender, call(receiver.Name).WithFDs(fd))
			ping(t, sender)
			receiver.Close()
		}},
		{"in a message that is not one", func(t *testing.T, sender *peer.Client, fd int) {
			if err := sender.WriteFDs([]byte("nonsense nonsense nonsense"), fd); err != nil {
				t.Fatal(err)
			}
		}},
		{"more than announced, by a client that leaves", func(t *testing.T, sender *peer.Client, fd int) {
			m := peer.DriverCall("GetId", "")
			m.FDs = []int{fd, fd, fd}
			send(t, sender, m)
			sender.Close()
		}},
		{"with half a message, by a client that leaves", func(t *testing.T, sender *peer.Client, fd int) {
			m := call(sender.Name).With(peer.FieldUnixFDs, "u", uint32(1))
			m.Serial = 5
			data := m.Encode()
			if err := sender.WriteFDs(data[:len(data)/2], fd); err != nil {
				t.Fatal(err)
			}
			sender.Close()
		}},
		{"before authentication", func(t *testing.T, _ *peer.Client, fd int) {
			stranger := connected(t, bus)
			if err := stranger.WriteFDs([]byte("\x00AUTH"), fd); err != nil {
				t.Fatal(err)
			}
			stranger.Close()
		}},
		{"before Hello", func(t *testing.T, _ *peer.Client, fd int) {
			stranger := begun(t, bus)
			send(t, stranger, peer.DriverCall("GetId", "").WithFDs(fd))
			stranger.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := bus.OpenFiles(t)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			sender := stage(t, bus, peer.Connect)
			c.pass(t, sender, int(w.Fd()))
			w.Close()
			if err := r.SetReadDeadline(time.Now().Add(limit)); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the descriptor is still open somewhere: %v", err)
			}
			sender.Close()
			testbus.Eventually(t, "the bus has no more files open than before", func() bool { return bus.OpenFiles(t) <= files+2 })
		})
	}
	others.awaitMore(t)
}

func send(t *testing.T, c *peer.Client, m *peer.Message) {
	t.Helper()
	if _, err := c.Send(m); err != nil {
		t.Fatal(err)
	}
}

// fill sends so much to a client that does not read that what comes next waits within the bus.
func fill(t *testing.T, sender, receiver *peer.Client) {
	t.Helper()
	for range 16 {
		send(t, sender, peer.Signal(receiver.Name, "/", "com.example.I", "S", "s", strings.Repeat("x", 1<<20)))
	}
	ping(t, sender)
}

// TestReceiverThatKeepsNoDescriptors passes descriptors to a client that does not read until the bus
// refuses to keep more of them.
func TestReceiverThatKeepsNoDescriptors(t *testing.T) {
	bus := testbus.Start(t)
	others := standBy(t, bus)
	deaf, sender := bus.Connect(t), bus.Connect(t)
	fill(t, sender, deaf)
	files := bus.OpenFiles(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 500 {
		send(t, sender, peer.Call(deaf.Name, "/", "com.example.I", "M", "h", uint32(0)).WithFDs(int(w.Fd())))
	}
	refused := ping(t, sender)
	if len(refused) == 0 || refused[0].Text(peer.FieldErrorName) != "org.freedesktop.DBus.Error.LimitsExceeded" {
		t.Fatalf("500 descriptors wait for a client that does not read, and the sender was told %v", refused)
	}
	if n := bus.OpenFiles(t) - files; n > 64 {
		t.Errorf("the bus keeps %d descriptors", n)
	}
	w.Close()
	deaf.Close()
	if err := r.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a descriptor is still open somewhere: %v", err)
	}
	others.awaitMore(t)
}
