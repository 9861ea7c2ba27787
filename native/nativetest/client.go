// Package nativetest is a client of the native protocol for tests: it says what it is told to, right
// or wrong, and shows what comes back. It knows frames, and leaves what is in them to package abi. For
// anything but tests there is the client library, package kdbus.
package nativetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// Patience is how long a client waits for anything, before the test has failed.
const Patience = 10 * time.Second

// Client is one connection. It is for one goroutine at a time.
type Client struct {
	// ID of the connection, after Hello.
	ID uint64
	// Brief has Hello say that brief frames are welcome.
	Brief bool
	// Bloom is what HELLO says of bloom filters.
	Bloom abi.BloomParameter

	socket  *net.UnixConn
	read    []byte  // what arrived and was not looked at
	fds     []int   // descriptors that came with it
	waiting []Frame // messages that came while an answer was expected
	tag     uint64
}

// Frame is one that arrived.
type Frame struct {
	abi.FrameHeader
	Body []byte
	FDs  []int // whose owner is who receives the frame
}

// Refused is an answer that says that a command failed.
type Refused struct {
	Errno syscall.Errno
	Text  string // for people; or the struct, if the command negotiates
}

func (e *Refused) Error() string { return fmt.Sprintf("%s (%v)", e.Text, e.Errno) }
func (e *Refused) Unwrap() error { return e.Errno }

// Dial connects to the socket at path, and authenticates. HELLO is the caller's to say.
func Dial(path string) (*Client, error) {
	socket, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, err
	}
	return New(socket)
}

// New authenticates on a connected socket, which is the client's from now on.
func New(socket *net.UnixConn) (*Client, error) {
	c := &Client{socket: socket}
	if err := c.authenticate(); err != nil {
		socket.Close()
		return nil, err
	}
	return c, nil
}

// authenticate asks for the native protocol.
func (c *Client) authenticate() error {
	c.socket.SetDeadline(time.Now().Add(Patience))
	uid := fmt.Sprintf("%x", strconv.Itoa(os.Getuid()))
	if _, err := c.socket.Write([]byte("\x00AUTH EXTERNAL " + uid + "\r\nNEGOTIATE_UNIX_FD\r\nNEGOTIATE_KDBUS 1\r\n")); err != nil {
		return err
	}
	in := bufio.NewReader(c.socket)
	for _, want := range []string{"OK ", "AGREE_UNIX_FD", "AGREE_KDBUS 1"} {
		line, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("waiting for %q: %w", want, err)
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("%q is not %q", line, want)
		}
	}
	_, err := c.socket.Write([]byte("BEGIN\r\n"))
	return err
}

// Close ends the connection, without saying so.
func (c *Client) Close() {
	c.socket.Close()
	CloseAll(c.fds)
	for _, f := range c.waiting {
		CloseAll(f.FDs)
	}
	c.fds, c.waiting = nil, nil
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// Write writes bytes, and descriptors with the first of them.
func (c *Client) Write(b []byte, fds ...int) error {
	c.socket.SetWriteDeadline(time.Now().Add(Patience))
	if len(fds) > 0 {
		n, _, err := c.socket.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		if err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
	_, err := c.socket.Write(b)
	return err
}

// Request returns a frame, and its tag, which no other of this client has.
func (c *Client) Request(cmd abi.Cmd, flags abi.FrameFlags, fds int, body ...byte) ([]byte, uint64) {
	c.tag++
	h := abi.FrameHeader{
		Size: uint32(abi.FrameHeaderSize + len(body)), Cmd: cmd, Tag: c.tag, Code: uint32(flags), FDs: uint32(fds),
	}
	return append(h.Append(nil), body...), c.tag
}

// ReadFrame returns the next frame, whatever it is; io.EOF if the bus has hung up.
func (c *Client) ReadFrame() (Frame, error) {
	if len(c.waiting) > 0 {
		f := c.waiting[0]
		c.waiting = c.waiting[1:]
		return f, nil
	}
	return c.readFrame()
}

func (c *Client) readFrame() (Frame, error) {
	var f Frame
	if err := c.fill(abi.FrameHeaderSize); err != nil {
		return f, err
	}
	if err := f.Decode(c.read); err != nil {
		return f, err
	}
	if err := c.fill(int(f.Size)); err != nil {
		return f, fmt.Errorf("within a frame of %d bytes: %w", f.Size, err)
	}
	if int(f.FDs32()) > len(c.fds) {
		return f, fmt.Errorf("a frame with %d descriptors, but %d came", f.FDs32(), len(c.fds))
	}
	header := abi.FrameHeaderSize
	if f.Cmd == abi.CmdBroadcast {
		header = abi.BroadcastHeaderSize
	}
	f.Body = c.read[header:f.Size:f.Size]
	c.read = c.read[f.Size:]
	f.FDs, c.fds = c.fds[:f.FDs32():f.FDs32()], c.fds[f.FDs32():]
	return f, nil
}

// FDs32 returns how many descriptors the header announces.
func (f *Frame) FDs32() uint32 {
	if f.Cmd == abi.CmdBrief || f.Cmd == abi.CmdBroadcast {
		return 0
	}
	return f.FrameHeader.FDs
}

// arrived reports whether the frame holds a message.
func (f *Frame) arrived() bool {
	return f.Cmd == abi.CmdRecv || f.Cmd == abi.CmdBrief || f.Cmd == abi.CmdBroadcast
}

// fill reads until there are n bytes.
func (c *Client) fill(n int) error {
	for len(c.read) < n {
		buf := make([]byte, max(n-len(c.read), 64<<10))
		control := make([]byte, unix.CmsgSpace(4*abi.FrameMaxFDs))
		c.socket.SetReadDeadline(time.Now().Add(Patience))
		got, controlSize, _, _, err := c.socket.ReadMsgUnix(buf, control)
		if err != nil {
			if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) {
				return io.EOF
			}
			return err
		}
		if err := c.takeFDs(control[:controlSize]); err != nil {
			return err
		}
		if got == 0 {
			return io.EOF
		}
		c.read = append(c.read[:len(c.read):len(c.read)], buf[:got]...)
	}
	return nil
}

func (c *Client) takeFDs(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials
		}
		c.fds = append(c.fds, fds...)
	}
	return nil
}

// Waiting returns the frames that came while an answer was expected, and forgets them.
func (c *Client) Waiting() []Frame {
	waiting := c.waiting
	c.waiting = nil
	return waiting
}

// Pending reports whether a message came while an answer was expected: Recv will not wait.
func (c *Client) Pending() bool {
	for i := range c.waiting {
		if c.waiting[i].arrived() {
			return true
		}
	}
	return false
}

// Answer returns the answer to the request with this tag. Messages that come before wait for Recv.
func (c *Client) Answer(tag uint64) (Frame, error) {
	for i, f := range c.waiting {
		if !f.arrived() && f.Tag == tag {
			c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
			return f, f.err()
		}
	}
	for {
		f, err := c.readFrame()
		if err != nil {
			return f, err
		}
		if !f.arrived() && f.Tag == tag {
			return f, f.err()
		}
		c.waiting = append(c.waiting, f)
	}
}

// err returns the error that an answer is.
func (f *Frame) err() error {
	if f.Code == 0 {
		return nil
	}
	return &Refused{syscall.Errno(f.Code), string(f.Body)}
}

// Socket returns the client's socket, for who wants to do without the client. Nothing must have
// arrived that was not read.
func (c *Client) Socket() *net.UnixConn {
	c.socket.SetDeadline(time.Time{})
	return c.socket
}
