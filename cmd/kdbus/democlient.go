package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/wire"
)

// demoClient is as much of a D-Bus client as kdbus demo needs: one connection, used by
// one goroutine at a time.
type demoClient struct {
	conn   net.Conn
	in     *bufio.Reader
	serial uint32
	name   string // the unique name the bus gave us
}

// dialDemo connects to the bus at a, authenticates and says Hello.
func dialDemo(a address.Address) (*demoClient, error) {
	socket, err := a.UnixName()
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	c := &demoClient{conn: conn, in: bufio.NewReader(conn)}
	if err := c.enter(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *demoClient) enter() error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	if _, err := fmt.Fprintf(c.conn, "\x00AUTH EXTERNAL %s\r\n", uid); err != nil {
		return err
	}
	answer, err := c.in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}
	if !strings.HasPrefix(answer, "OK ") {
		return fmt.Errorf("authenticate: the bus answered %q", answer)
	}
	if _, err := io.WriteString(c.conn, "BEGIN\r\n"); err != nil {
		return err
	}
	reply, err := c.callBus("org.freedesktop.DBus", "Hello")
	if err != nil {
		return err
	}
	return reply.Decode(&c.name)
}

func (c *demoClient) close() { c.conn.Close() }

// send sends m with the next serial and values as its body.
func (c *demoClient) send(m *wire.Message, values ...any) error {
	c.serial++
	m.Order, m.Serial = wire.LittleEndian, c.serial
	if err := m.SetBody(values...); err != nil {
		return err
	}
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	_, err = c.conn.Write(b)
	return err
}

// receive waits for the next message. The error is io.EOF when the bus hung up.
func (c *demoClient) receive() (*wire.Message, error) {
	head, err := c.in.Peek(wire.HeaderFixedSize)
	if err != nil {
		return nil, err
	}
	size, err := wire.MessageSize(head)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, err
	}
	return wire.ParseMessage(b)
}

// call sends a method call and waits for its reply; what else arrives is dropped.
func (c *demoClient) call(m *wire.Message, values ...any) (*wire.Message, error) {
	m.Type = wire.TypeMethodCall
	if err := c.send(m, values...); err != nil {
		return nil, fmt.Errorf("call %s: %w", m.Member, err)
	}
	for {
		reply, err := c.receive()
		if err != nil {
			return nil, fmt.Errorf("wait for the reply of %s: %w", m.Member, err)
		}
		if reply.ReplySerial != m.Serial {
			continue
		}
		if reply.Type == wire.TypeError {
			values, err := reply.Values()
			if err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("call %s: %s %v", m.Member, reply.ErrorName, values)
		}
		return reply, nil
	}
}

// callBus calls a method of the bus itself.
func (c *demoClient) callBus(iface, member string, values ...any) (*wire.Message, error) {
	return c.call(&wire.Message{Header: wire.Header{
		Destination: "org.freedesktop.DBus", Path: "/org/freedesktop/DBus", Interface: iface, Member: member,
	}}, values...)
}
