package peer

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Timeout bounds every wait of a Client for which the caller gives no time.
const Timeout = 20 * time.Second

// Client is a connection to a bus.
type Client struct {
	// Name is the unique name, once Hello has been answered.
	Name string
	// Order is the byte order in which messages without one are sent: 'l' or 'B'.
	Order byte
	// GUID is what the server sent with OK.
	GUID string

	sock   *net.UnixConn
	serial uint32
	in     []byte // bytes not yet consumed
	fds    []int  // file descriptors not yet claimed by a message
	queued []*Message
}

// Dial connects to a bus address and authenticates with EXTERNAL, with file descriptor passing
// agreed. It does not say Hello.
func Dial(address string) (*Client, error) {
	c, err := dialSocket(address)
	if err != nil {
		return nil, err
	}
	return c, c.authenticate(true)
}

// DialWithoutFDs is Dial without agreeing on file descriptor passing.
func DialWithoutFDs(address string) (*Client, error) {
	c, err := dialSocket(address)
	if err != nil {
		return nil, err
	}
	return c, c.authenticate(false)
}

// DialRaw connects and sends nothing, not even the first zero byte.
func DialRaw(address string) (*Client, error) { return dialSocket(address) }

// Connect is Dial followed by Hello.
func Connect(address string) (*Client, error) {
	c, err := Dial(address)
	if err != nil {
		return nil, err
	}
	return c, c.Hello()
}

func dialSocket(address string) (*Client, error) {
	path, err := socketPath(address)
	if err != nil {
		return nil, err
	}
	sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, err
	}
	return &Client{sock: sock, Order: 'l'}, nil
}

// socketPath reads the first unix:path= or unix:abstract= address of a list; an abstract one
// begins with "@", as package net wants it.
func socketPath(address string) (string, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(address), ";")
	kind, params, _ := strings.Cut(first, ":")
	for _, p := range strings.Split(params, ",") {
		key, value, _ := strings.Cut(p, "=")
		value, err := url.PathUnescape(value)
		switch {
		case err != nil:
			return "", fmt.Errorf("bus address %q: %w", address, err)
		case kind == "unix" && key == "path":
			return value, nil
		case kind == "unix" && key == "abstract":
			return "@" + value, nil
		}
	}
	return "", fmt.Errorf("bus address %q has no unix:path or unix:abstract", address)
}

func (c *Client) authenticate(fds bool) error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	line, err := c.Command("\x00AUTH EXTERNAL " + uid)
	if err != nil {
		return err
	}
	var ok bool
	if c.GUID, ok = strings.CutPrefix(line, "OK "); !ok {
		return fmt.Errorf("AUTH EXTERNAL was answered with %q", line)
	}
	if fds {
		if line, err = c.Command("NEGOTIATE_UNIX_FD"); err != nil {
			return err
		}
		if line != "AGREE_UNIX_FD" {
			return fmt.Errorf("NEGOTIATE_UNIX_FD was answered with %q", line)
		}
	}
	return c.Write([]byte("BEGIN\r\n"))
}

// Command sends a line of the authentication protocol and returns the answer, both without CR LF.
func (c *Client) Command(line string) (string, error) {
	if err := c.Write([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	return c.Line(Timeout)
}

// Line returns the next line of the authentication protocol, without CR LF.
func (c *Client) Line(limit time.Duration) (string, error) {
	deadline := time.Now().Add(limit)
	for {
		if line, rest, ok := strings.Cut(string(c.in), "\r\n"); ok {
			c.in = []byte(rest)
			return line, nil
		}
		if err := c.fill(deadline); err != nil {
			return "", err
		}
	}
}

// Hello says Hello and waits for the unique name. The NameAcquired signal that follows is taken
// off the connection too.
func (c *Client) Hello() error {
	reply, err := c.Call(DriverCall("Hello", ""))
	if err != nil {
		return err
	}
	if reply.Type != TypeReply {
		return fmt.Errorf("the answer to Hello was %s", reply.ErrorText())
	}
	c.Name = reply.Body[0].(string)
	_, err = c.ReceiveMatching(func(m *Message) bool { return m.Text(FieldMember) == "NameAcquired" })
	return err
}

// Close closes the connection and whatever file descriptors nobody took.
func (c *Client) Close() error {
	for _, m := range c.queued {
		CloseFDs(m)
	}
	for _, fd := range c.fds {
		unix.Close(fd)
	}
	c.queued, c.fds = nil, nil
	return c.sock.Close()
}

// CloseFDs closes the file descriptors of a received message.
func CloseFDs(m *Message) {
	for _, fd := range m.FDs {
		unix.Close(fd)
	}
	m.FDs = nil
}

// NextSerial returns the serial that Send would give next, and uses it up.
func (c *Client) NextSerial() uint32 { c.serial++; return c.serial }

// Send writes m, with the client's byte order and next serial where m has none, and returns the
// serial.
func (c *Client) Send(m *Message) (uint32, error) {
	if m.Order == 0 {
		m.Order = c.Order
	}
	if m.Serial == 0 && !m.KeepSerial {
		m.Serial = c.NextSerial()
	}
	if len(m.FDs) == 0 {
		return m.Serial, c.Write(m.Encode())
	}
	if err := c.sock.SetWriteDeadline(time.Now().Add(Timeout)); err != nil {
		return 0, err
	}
	data := m.Encode()
	n, _, err := c.sock.WriteMsgUnix(data, unix.UnixRights(m.FDs...), nil)
	if err == nil && n < len(data) {
		err = c.Write(data[n:])
	}
	return m.Serial, err
}

// Write writes bytes as they are.
func (c *Client) Write(data []byte) error {
	if err := c.sock.SetWriteDeadline(time.Now().Add(Timeout)); err != nil {
		return err
	}
	_, err := c.sock.Write(data)
	return err
}

// WriteWithin is Write with a time limit of the caller's, for receivers that do not read. It
// returns how many bytes were written; an error that is os.ErrDeadlineExceeded means the socket
// was full.
func (c *Client) WriteWithin(data []byte, limit time.Duration) (int, error) {
	if err := c.sock.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	return c.sock.Write(data)
}

// WriteFDs writes bytes with file descriptors attached to them, whatever the bytes say.
func (c *Client) WriteFDs(data []byte, fds ...int) error {
	if err := c.sock.SetWriteDeadline(time.Now().Add(Timeout)); err != nil {
		return err
	}
	_, _, err := c.sock.WriteMsgUnix(data, unix.UnixRights(fds...), nil)
	return err
}

// CloseWrite closes the sending half of the socket.
func (c *Client) CloseWrite() error { return c.sock.CloseWrite() }

// Call sends m and returns the answer to it. Other messages that arrive meanwhile are kept for
// Receive, in their order.
func (c *Client) Call(m *Message) (*Message, error) {
	serial, err := c.Send(m)
	if err != nil {
		return nil, err
	}
	return c.ReceiveMatching(func(r *Message) bool { return r.ReplySerial() == serial })
}

// ReceiveMatching waits for the first message that match accepts and keeps all others for
// Receive, in their order.
func (c *Client) ReceiveMatching(match func(*Message) bool) (*Message, error) {
	deadline := time.Now().Add(Timeout)
	for i := 0; ; i++ {
		if i == len(c.queued) {
			m, err := c.read(deadline)
			if err != nil {
				return nil, err
			}
			c.queued = append(c.queued, m)
		}
		if m := c.queued[i]; match(m) {
			c.queued = append(c.queued[:i], c.queued[i+1:]...)
			return m, nil
		}
	}
}

// Receive returns the next message. An error that is io.EOF or unix.ECONNRESET means that the
// bus closed the connection.
func (c *Client) Receive() (*Message, error) { return c.ReceiveWithin(Timeout) }

// ReceiveWithin is Receive with a time limit of the caller's; passing it gives an error that is
// os.ErrDeadlineExceeded.
func (c *Client) ReceiveWithin(limit time.Duration) (*Message, error) {
	if len(c.queued) > 0 {
		m := c.queued[0]
		c.queued = c.queued[1:]
		return m, nil
	}
	return c.read(time.Now().Add(limit))
}

// ReadBytes returns whatever bytes come next, for protocols below messages.
func (c *Client) ReadBytes(limit time.Duration) ([]byte, error) {
	if len(c.in) == 0 {
		if err := c.fill(time.Now().Add(limit)); err != nil {
			return nil, err
		}
	}
	data := c.in
	c.in = nil
	return data, nil
}

// Disconnected reports whether err says that the other side ended the connection.
func Disconnected(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

func (c *Client) read(deadline time.Time) (*Message, error) {
	for {
		if len(c.in) >= 16 {
			n, err := messageLength(c.in)
			if err != nil {
				return nil, err
			}
			if len(c.in) >= n {
				m, err := Decode(c.in[:n:n])
				if err != nil {
					return nil, err
				}
				c.in = c.in[n:]
				return m, c.claimFDs(m)
			}
		}
		if err := c.fill(deadline); err != nil {
			return nil, err
		}
	}
}

func (c *Client) claimFDs(m *Message) error {
	n, _ := m.Field(FieldUnixFDs).(uint32)
	if int(n) > len(c.fds) {
		return fmt.Errorf("message announces %d file descriptors, %d came with it", n, len(c.fds))
	}
	m.FDs, c.fds = c.fds[:n:n], c.fds[n:]
	return nil
}

func (c *Client) fill(deadline time.Time) error {
	if err := c.sock.SetReadDeadline(deadline); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	oob := make([]byte, unix.CmsgSpace(253*4))
	n, oobn, _, _, err := c.sock.ReadMsgUnix(buf, oob)
	if err != nil {
		return err
	}
	controls, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return err
	}
	for _, ctl := range controls {
		if fds, err := unix.ParseUnixRights(&ctl); err == nil {
			c.fds = append(c.fds, fds...)
		}
	}
	if n == 0 {
		return io.EOF
	}
	c.in = append(c.in, buf[:n]...)
	return nil
}
