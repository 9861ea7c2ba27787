package dbus1_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/wire"
)

const driver = "org.freedesktop.DBus"

// client is the other end of a connection: it can do what a D-Bus program does, and anything else.
// It is for one goroutine at a time, except that one may read while another writes.
type client struct {
	conn   stream
	order  wire.Order
	name   string // the unique name, after hello
	serial uint32

	chunk   int         // the most that is read at once, if not 0
	in      []byte      // read and not yet returned
	fds     []int       // received and not yet claimed
	backlog []*received // read by await and not yet returned by next
}

// stream is the socket of a client.
type stream interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// received is a message that arrived, checked in full, with the descriptors that it claims.
type received struct {
	*wire.Message
	fds []int
	raw []byte // of short messages only
}

// dial connects without saying anything.
func (s *testServer) dial() (*client, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: s.path})
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, order: wire.LittleEndian}, nil
}

// handshake is what a client says to authenticate, up to and including BEGIN.
func handshake(withFDs bool) []byte {
	s := "\x00AUTH EXTERNAL " + fmt.Sprintf("%x", fmt.Sprint(os.Getuid())) + "\r\n"
	if withFDs {
		s += "NEGOTIATE_UNIX_FD\r\n"
	}
	return []byte(s + "BEGIN\r\n")
}

// authenticate is handshake, with the answers of the server.
func (c *client) authenticate(withFDs bool) error {
	want := "OK " + testGUID + "\r\n"
	if withFDs {
		want += "AGREE_UNIX_FD\r\n"
	}
	if err := c.write(handshake(withFDs)); err != nil {
		return err
	}
	got := make([]byte, len(want))
	c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.conn, got); err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}
	if string(got) != want {
		return fmt.Errorf("authenticate: the server says %q, want %q", got, want)
	}
	return nil
}

// join connects, authenticates and says Hello.
func (s *testServer) join(order wire.Order, withFDs bool) (*client, error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	c.order = order
	if err = c.authenticate(withFDs); err == nil {
		err = c.hello()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// connect is join for tests that take no descriptors; the client is closed with the test.
func (s *testServer) connect(t testing.TB) *client {
	t.Helper()
	return s.connectAs(t, wire.LittleEndian, false)
}

func (s *testServer) connectAs(t testing.TB, order wire.Order, withFDs bool) *client {
	t.Helper()
	c, err := s.join(order, withFDs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// hello joins the bus, and reads NameAcquired too.
func (c *client) hello() error {
	answer, err := c.driver("Hello")
	if err != nil {
		return err
	}
	if err := answer.Decode(&c.name); err != nil {
		return fmt.Errorf("Hello: %w", err)
	}
	m, err := c.next()
	if err == nil && m.Member != "NameAcquired" {
		err = fmt.Errorf("got %s after the answer to Hello, want NameAcquired", m)
	}
	return err
}

func (c *client) close() {
	c.conn.Close()
	closeFDs(c.fds)
	for _, m := range c.backlog {
		closeFDs(m.fds)
	}
	c.fds, c.backlog = nil, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// write sends bytes, with descriptors beside the first of them.
func (c *client) write(b []byte, fds ...int) error {
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	if len(fds) > 0 {
		n, _, err := c.conn.(*net.UnixConn).WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		if err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
	_, err := c.conn.Write(b)
	return err
}

// newMessage makes a message from the client, of the given type and with the values as body.
func (c *client) newMessage(typ wire.Type, destination, member string, values ...any) *wire.Message {
	c.serial++
	m := &wire.Message{Header: wire.Header{Order: c.order, Type: typ, Serial: c.serial, Destination: destination}}
	switch typ {
	case wire.TypeMethodCall, wire.TypeSignal:
		m.Path, m.Interface, m.Member = "/org/example/Object", "org.example.Interface", member
	}
	if destination == driver {
		m.Path, m.Interface = "/org/freedesktop/DBus", driver
	}
	if err := m.SetBody(values...); err != nil {
		panic(err)
	}
	return m
}

// send sends m with descriptors.
func (c *client) send(m *wire.Message, fds ...int) error {
	m.UnixFDs = uint32(len(fds))
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	return c.write(b, fds...)
}

// next returns the next message.
func (c *client) next() (*received, error) {
	if len(c.backlog) > 0 {
		m := c.backlog[0]
		c.backlog = c.backlog[1:]
		return m, nil
	}
	return c.read()
}

// read returns the next message from the socket.
func (c *client) read() (*received, error) {
	for {
		size, err := wire.MessageSize(c.in)
		if err != nil && !errors.Is(err, wire.ErrShort) {
			return nil, fmt.Errorf("the server sent garbage: %w", err)
		}
		if err == nil && len(c.in) >= size {
			return c.take(size)
		}
		if err := c.fill(size - len(c.in)); err != nil {
			return nil, err
		}
	}
}

// fill reads once; about as much as is wanted.
func (c *client) fill(wanted int) error {
	c.in = slices.Grow(c.in, max(wanted, 64<<10))
	var control [1 << 11]byte
	c.conn.SetReadDeadline(time.Now().Add(patience))
	target := c.in[len(c.in):cap(c.in)]
	if c.chunk > 0 {
		target = target[:min(c.chunk, len(target))]
	}
	local, isLocal := c.conn.(*net.UnixConn)
	if !isLocal {
		n, err := c.conn.Read(target)
		c.in = c.in[:len(c.in)+n]
		return err
	}
	n, controlSize, flags, _, err := local.ReadMsgUnix(target, control[:])
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return errors.New("descriptors were lost")
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlSize])
	if err != nil {
		return err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return err
		}
		c.fds = append(c.fds, fds...)
	}
	c.in = c.in[:len(c.in)+n]
	return nil
}

// take takes the message that c.in begins with.
func (c *client) take(size int) (*received, error) {
	m, err := wire.ParseMessage(c.in[:size])
	if err != nil {
		return nil, fmt.Errorf("the server sent a bad message: %w", err)
	}
	n := int(m.UnixFDs)
	if n > len(c.fds) {
		return nil, fmt.Errorf("%d descriptors came with a message of %d", len(c.fds), n)
	}
	r := &received{Message: m, fds: slices.Clone(c.fds[:n])}
	if size < 1<<20 {
		r.raw = bytes.Clone(c.in[:size])
	}
	c.fds = c.fds[n:]
	c.in = c.in[size:]
	return r, nil
}

func (r *received) String() string {
	values, _ := r.Values()
	return fmt.Sprintf("%s from %s: %s%s serial=%d reply_serial=%d %.200q",
		r.Type, r.Sender, r.Member, r.ErrorName, r.Serial, r.ReplySerial, fmt.Sprint(values))
}

// await returns the answer to the call serial, be it an error or not. What else arrives is left for
// next.
func (c *client) await(serial uint32) (*received, error) {
	for i, m := range c.backlog {
		if m.ReplySerial == serial {
			c.backlog = slices.Delete(c.backlog, i, i+1)
			return m, nil
		}
	}
	for {
		m, err := c.read()
		if err != nil {
			return nil, fmt.Errorf("wait for the answer to call %d: %w", serial, err)
		}
		if m.ReplySerial == serial {
			return m, nil
		}
		c.backlog = append(c.backlog, m)
	}
}

// ask sends a message and returns the answer, be it an error or not.
func (c *client) ask(m *wire.Message, fds ...int) (*received, error) {
	if err := c.send(m, fds...); err != nil {
		return nil, fmt.Errorf("send %s: %w", m.Member, err)
	}
	return c.await(m.Serial)
}

// driver calls a method of the bus, which must succeed.
func (c *client) driver(member string, values ...any) (*received, error) {
	m := c.newMessage(wire.TypeMethodCall, driver, member, values...)
	if strings.HasPrefix(member, "Debug.") || strings.HasPrefix(member, "Monitoring.") || strings.HasPrefix(member, "Peer.") {
		sub, method, _ := strings.Cut(member, ".")
		if m.Member = method; sub == "Debug" {
			sub = "Debug.Stats"
		}
		m.Interface += "." + sub
	}
	answer, err := c.ask(m)
	if err == nil && answer.Type != wire.TypeMethodReturn {
		err = fmt.Errorf("%s: %s", member, answer)
	}
	return answer, err
}

// must calls a method of the bus.
func (c *client) must(t testing.TB, member string, values ...any) *received {
	t.Helper()
	answer, err := c.driver(member, values...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// mustSend is send.
func (c *client) mustSend(t testing.TB, m *wire.Message, fds ...int) {
	t.Helper()
	if err := c.send(m, fds...); err != nil {
		t.Fatalf("send: %v", err)
	}
}

// mustNext is next.
func (c *client) mustNext(t testing.TB) *received {
	t.Helper()
	m, err := c.next()
	if err != nil {
		t.Fatalf("wait for a message: %v", err)
	}
	return m
}

// mustFail sends m and checks that the answer is the error of this name, without
// "org.freedesktop.DBus.Error.".
func (c *client) mustFail(t testing.TB, name string, m *wire.Message, fds ...int) {
	t.Helper()
	answer, err := c.ask(m, fds...)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimPrefix(answer.ErrorName, "org.freedesktop.DBus.Error."); got != name {
		t.Fatalf("the answer is %s, want the error %s", answer, name)
	}
}

// disconnected checks that the server has closed the connection, whatever it said before.
func (c *client) disconnected() error {
	for {
		if err := c.fill(0); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
				return nil
			}
			return fmt.Errorf("not disconnected: %w", err)
		}
		c.in = c.in[:0]
	}
}

// stats returns numbers about a connection, from org.freedesktop.DBus.Debug.Stats.
func (c *client) stats(name string) (map[string]uint64, error) {
	answer, err := c.driver("Debug.GetConnectionStats", name)
	if err != nil {
		return nil, err
	}
	var raw map[string]wire.Variant
	if err := answer.Decode(&raw); err != nil {
		return nil, err
	}
	numbers := make(map[string]uint64)
	for key, v := range raw {
		switch n := v.Value.(type) {
		case uint32:
			numbers[key] = uint64(n)
		case uint64:
			numbers[key] = n
		}
	}
	return numbers, nil
}
