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

	"github.com/kdbus-go/kdbus/wire"
)

// client is one connection to a bus, as cheap as a client can be: a blocking socket,
// plain system calls, messages made in advance, and no look at a message that is not
// needed. It is for one goroutine.
type client struct {
	fd     int
	name   string // the unique name
	serial uint32 // of the last message sent

	buf        []byte // what was read; messages not yet taken are in buf[start:end]
	start, end int
}

// newClient returns a client on a connected socket, which it then owns. bufferSize is
// how much one read takes at most; a larger message makes the buffer grow.
func newClient(fd, bufferSize int) *client {
	return &client{fd: fd, buf: make([]byte, bufferSize)}
}

// connect connects to the socket of a bus (named as in net.UnixAddr), authenticates and
// says Hello.
func connect(socket string, bufferSize int) (*client, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	c := newClient(fd, bufferSize)
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
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	if err := c.write([]byte("\x00AUTH EXTERNAL " + uid + "\r\n")); err != nil {
		return err
	}
	if err := c.authenticated(); err != nil {
		return err
	}
	call := busCall("Hello", "")
	c.serial++
	setSerial(call, c.serial)
	if err := c.write(append([]byte("BEGIN\r\n"), call...)); err != nil {
		return err
	}
	reply, err := c.reply()
	if err != nil {
		return err
	}
	if _, c.name, err = firstString(reply); err != nil {
		return fmt.Errorf("read the reply to Hello: %w", err)
	}
	if err := wire.CheckBusName(c.name); err != nil {
		return fmt.Errorf("read the reply to Hello: %w", err)
	}
	return nil
}

// authenticated waits for the server's OK.
func (c *client) authenticated() error {
	for !bytes.HasSuffix(c.buf[:c.end], []byte("\r\n")) {
		n, err := read(c.fd, c.buf[c.end:])
		if err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		c.end += n
	}
	line := string(c.buf[:c.end])
	c.start, c.end = 0, 0
	if !strings.HasPrefix(line, "OK ") {
		return fmt.Errorf("authentication EXTERNAL was answered with %q instead of OK", strings.TrimSpace(line))
	}
	return nil
}

// call sends a prebuilt method call and waits for its reply.
func (c *client) call(m []byte) ([]byte, error) {
	c.serial++
	setSerial(m, c.serial)
	if err := c.write(m); err != nil {
		return nil, err
	}
	return c.reply()
}

// reply returns the next reply and passes over everything else, such as NameAcquired.
// It is valid until the next read.
func (c *client) reply() ([]byte, error) {
	for {
		m, err := c.next()
		switch {
		case err != nil:
			return nil, err
		case typeOf(m) == wire.TypeError:
			return nil, errorOf(m)
		case typeOf(m) == wire.TypeMethodReturn:
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
	size, err := wire.MessageSize(c.buf[c.start:c.end])
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
	if c.end >= wire.HeaderFixedSize {
		size, err := wire.MessageSize(c.buf)
		if err != nil {
			return fmt.Errorf("read from the bus: %w", err)
		}
		if size > len(c.buf) {
			c.buf = append(c.buf[:c.end], make([]byte, size-c.end)...)
		}
	}
	n, err := read(c.fd, c.buf[c.end:])
	if err != nil {
		return fmt.Errorf("read from the bus: %w", err)
	}
	c.end += n
	return nil
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
