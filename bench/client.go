package bench

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// client is one connection to a bus, as cheap as a client can be: a blocking socket,
// plain system calls, messages made in advance, and no look at a message that is not
// needed. It is for one goroutine.
type client struct {
	fd       int
	protocol protocol
	passing  *passing // nil unless descriptors come or go
	name     string   // the unique name
	serial   uint32   // of the last message sent

	buf        []byte // what was read; messages not yet taken are in buf[start:end]
	start, end int
}

// newClient returns a client on a connected socket, which it then owns. bufferSize is
// how much one read takes at most; a larger message makes the buffer grow.
func newClient(fd, bufferSize int, p protocol) *client {
	return &client{fd: fd, protocol: p, buf: make([]byte, bufferSize)}
}

// connect connects to the socket of a bus (named as in net.UnixAddr), authenticates and
// says Hello.
func connect(socket string, bufferSize int, p protocol) (*client, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	c := newClient(fd, bufferSize, p)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		c.close()
		return nil, fmt.Errorf("connect to %s: %w", socket, err)
	}
	if err := c.hello(); err != nil {
		c.close()
		return nil, fmt.Errorf("say hello to %s: %w", socket, err)
	}
	return c, nil
}

func (c *client) close() { unix.Close(c.fd) }

// hello authenticates with EXTERNAL and registers. Hello goes out together with BEGIN,
// as the client has nothing to wait for between them.
func (c *client) hello() error {
	if err := c.authenticate(); err != nil {
		return err
	}
	hello := c.protocol.hello()
	c.serial++
	c.protocol.number(hello, c.serial)
	if err := c.write(append([]byte("BEGIN\r\n"), hello...)); err != nil {
		return err
	}
	answer, err := c.reply()
	if err != nil {
		return err
	}
	c.name, err = c.protocol.welcome(answer)
	return err
}

// authenticate authenticates with EXTERNAL, and negotiates what the protocol needs.
func (c *client) authenticate() error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	questions := c.protocol.negotiation()
	lines := "\x00AUTH EXTERNAL " + uid + "\r\n"
	for _, q := range questions {
		lines += q.ask + "\r\n"
	}
	if err := c.write([]byte(lines)); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "OK ") {
		return fmt.Errorf("authentication EXTERNAL was answered with %q instead of OK", line)
	}
	for _, q := range questions {
		line, err := c.line()
		switch {
		case err != nil:
			return err
		case line == q.agreed:
		case q == askNative:
			return fmt.Errorf("%w: it answered %s with %q", errNotNative, q.ask, line)
		default:
			return fmt.Errorf("%s was answered with %q instead of %s", q.ask, line, q.agreed)
		}
	}
	return nil
}

// line reads one line of the authentication protocol.
func (c *client) line() (string, error) {
	for {
		if text, _, ok := bytes.Cut(c.buf[c.start:c.end], []byte("\r\n")); ok {
			c.start += len(text) + len("\r\n")
			return string(text), nil
		}
		n, err := read(c.fd, c.buf[c.end:])
		if err != nil {
			return "", fmt.Errorf("authenticate: %w", err)
		}
		c.end += n
	}
}

// call sends a prebuilt message that is answered, and waits for the reply.
func (c *client) call(m []byte) ([]byte, error) {
	c.serial++
	c.protocol.number(m, c.serial)
	if err := c.send(m); err != nil {
		return nil, err
	}
	return c.reply()
}

// reply returns the next reply and passes over everything else, such as NameAcquired.
// It is valid until the next read.
func (c *client) reply() ([]byte, error) {
	for {
		m, err := c.next()
		if err != nil {
			return nil, err
		}
		switch c.protocol.kind(m) {
		case kindFailure:
			return nil, c.protocol.failure(m)
		case kindReply:
			return m, nil
		}
	}
}

// next returns the next message, waiting for it if need be. It is valid until the next read.
func (c *client) next() ([]byte, error) {
	for {
		if m := c.take(); m != nil {
			return m, nil
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// take returns the next message if all of it was read already, else nil. It is valid
// until the next read.
func (c *client) take() []byte {
	size, err := c.protocol.size(c.buf[c.start:c.end])
	if err != nil || c.end-c.start < size {
		return nil
	}
	m := c.buf[c.start : c.start+size]
	c.start += size
	return m
}

// fill reads once, what there is.
func (c *client) fill() error {
	if c.start > 0 {
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
	if c.end >= c.protocol.headerSize() {
		size, err := c.protocol.size(c.buf[:c.end])
		if err != nil {
			return fmt.Errorf("read from the bus: %w", err)
		}
		if size > len(c.buf) {
			c.buf = append(c.buf[:c.end], make([]byte, size-c.end)...)
		}
	}
	var n int
	var err error
	if c.passing == nil {
		n, err = read(c.fd, c.buf[c.end:])
	} else {
		n, err = c.passing.read(c.fd, c.buf[c.end:])
	}
	if err != nil {
		return fmt.Errorf("read from the bus: %w", err)
	}
	c.end += n
	return nil
}

// send writes a message, with the descriptors that go with it.
func (c *client) send(m []byte) error {
	if c.passing == nil || c.passing.rights == nil {
		return c.write(m)
	}
	n, err := c.passing.send(c.fd, m)
	if err != nil {
		return fmt.Errorf("write to the bus: %w", err)
	}
	return c.write(m[n:])
}

// write sends all of b.
func (c *client) write(b []byte) error {
	for len(b) > 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch {
		case errno == 0:
			b = b[n:]
		case !errors.Is(errno, unix.EINTR):
			return fmt.Errorf("write to the bus: %w", errno)
		}
	}
	return nil
}

// read reads once into b, with io.EOF at the end of the stream. It goes past Go's
// scheduler: a worker has nothing else to run while it waits, and the hand-over would
// be measured too.
func read(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch {
		case errno == 0 && n == 0:
			return 0, io.EOF
		case errno == 0:
			return int(n), nil
		case !errors.Is(errno, unix.EINTR):
			return 0, errno
		}
	}
}
