package activation_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/wire"
)

// client is a D-Bus program that sees every message in its order.
type client struct {
	*testing.T
	conn    *net.UnixConn
	in      *bufio.Reader
	name    string
	serial  uint32
	backlog []*wire.Message
}

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

func (b *testBus) connect() *client {
	b.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: b.dir + "/bus"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	c := &client{T: b.T, conn: conn, in: bufio.NewReader(conn)}
	conn.SetDeadline(time.Now().Add(5 * patience))
	fmt.Fprintf(conn, "\x00AUTH EXTERNAL %x\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n", fmt.Sprint(os.Getuid()))
	for range 2 {
		if _, err := c.in.ReadString('\n'); err != nil {
			b.Fatal(err)
		}
	}
	var hello string
	if err := c.await(c.send(c.toDriver("Hello"))).Decode(&hello); err != nil {
		b.Fatal(err)
	}
	c.name = hello
	c.expect("signal NameAcquired " + hello)
	return c
}

// toDriver makes a call of the bus.
func (c *client) toDriver(member string, args ...any) *wire.Message {
	m := c.to("org.freedesktop.DBus", member, args...)
	m.Path, m.Interface = "/org/freedesktop/DBus", "org.freedesktop.DBus"
	return m
}

// to makes a call of a service.
func (c *client) to(destination, member string, args ...any) *wire.Message {
	c.serial++
	m := &wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: c.serial,
		Path: "/x", Interface: iface, Member: member, Destination: destination,
	}}
	if err := m.SetBody(args...); err != nil {
		panic(err)
	}
	return m
}

// oneWay makes a call that wants no answer of m.
func oneWay(m *wire.Message) *wire.Message {
	m.Flags |= wire.NoReplyExpected
	return m
}

// signal makes a signal of a call.
func signal(m *wire.Message) *wire.Message {
	m.Type = wire.TypeSignal
	return m
}

// replyTo makes the answer to a call.
func (c *client) replyTo(call *wire.Message, args ...any) *wire.Message {
	c.serial++
	m := &wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodReturn, Serial: c.serial, ReplySerial: call.Serial, Destination: call.Sender,
	}}
	if err := m.SetBody(args...); err != nil {
		panic(err)
	}
	return m
}

// send sends m, and returns its serial.
func (c *client) send(m *wire.Message, fds ...int) uint32 {
	c.Helper()
	m.UnixFDs = uint32(len(fds))
	b, err := m.Append(nil)
	if err != nil {
		c.Fatal(err)
	}
	if len(fds) > 0 {
		_, _, err = c.conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
	} else {
		_, err = c.conn.Write(b)
	}
	if err != nil {
		c.Fatal(err)
	}
	return m.Serial
}

// read returns the next message from the socket, nil at the end. Descriptors are lost.
func (c *client) read() *wire.Message {
	c.Helper()
	head, err := c.in.Peek(wire.HeaderFixedSize)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		c.Fatal(err)
	}
	size, err := wire.MessageSize(head)
	if err != nil {
		c.Fatal(err)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(c.in, raw); err != nil {
		c.Fatal(err)
	}
	m, err := wire.ParseMessage(raw)
	if err != nil {
		c.Fatal(err)
	}
	return m
}

// next returns the next message.
func (c *client) next() *wire.Message {
	c.Helper()
	if len(c.backlog) > 0 {
		m := c.backlog[0]
		c.backlog = c.backlog[1:]
		return m
	}
	return c.read()
}

// await returns the answer to a message. What comes before is left for next.
func (c *client) await(serial uint32) *wire.Message {
	c.Helper()
	for i, m := range c.backlog {
		if m.ReplySerial == serial {
			c.backlog = slices.Delete(c.backlog, i, i+1)
			return m
		}
	}
	for {
		m := c.read()
		if m == nil {
			c.Fatal("disconnected")
		}
		if m.ReplySerial == serial {
			return m
		}
		c.backlog = append(c.backlog, m)
	}
}

// expect reads the next messages and compares what describe says.
func (c *client) expect(want ...string) {
	c.Helper()
	for _, w := range want {
		if got := describe(c.next()); got != w {
			c.Fatalf("got %q, want %q", got, w)
		}
	}
}

// describe says what a message is.
func describe(m *wire.Message) string {
	if m == nil {
		return "nothing"
	}
	words := []string{m.Type.String()}
	if name := strings.TrimPrefix(m.Member+m.ErrorName, "org.freedesktop.DBus.Error."); name != "" {
		words = append(words, name)
	}
	values, err := m.Values()
	if err != nil {
		return err.Error()
	}
	for _, v := range values {
		words = append(words, fmt.Sprint(v))
	}
	return strings.Join(words, " ")
}

// ask sends a message and returns the answer, as describe has it.
func (c *client) ask(m *wire.Message) string {
	c.Helper()
	return describe(c.await(c.send(m)))
}

func (c *client) start(name string) *wire.Message {
	return c.toDriver("StartServiceByName", name, uint32(0))
}

// own takes a name.
func (c *client) own(name string) {
	c.Helper()
	if got := c.ask(c.toDriver("RequestName", name, uint32(4))); got != "method_return 1" {
		c.Fatalf("RequestName %s: %s", name, got)
	}
}

// release gives a name back.
func (c *client) release(name string) {
	c.Helper()
	if got := c.ask(c.toDriver("ReleaseName", name)); got != "method_return 1" {
		c.Fatalf("ReleaseName %s: %s", name, got)
	}
}

// sync returns when the bus has read what was sent before.
func (c *client) sync() {
	c.Helper()
	c.ask(c.toDriver("GetId"))
}
