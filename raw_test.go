package kdbus_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/wire"
)

// rawClient is what the library is compared with: a blocking socket, messages made in advance,
// and no look at a message that is not needed. It is for one goroutine, and blocks its processor.
type rawClient struct {
	fd         int
	name       string
	serial     uint32
	buf        []byte
	start, end int
}

// dialRaw connects to a bus and says Hello.
func dialRaw(addr string) (*rawClient, error) {
	a, err := address.ParseOne(addr)
	if err != nil {
		return nil, err
	}
	name, err := a.UnixName()
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	c := &rawClient{fd: fd, buf: make([]byte, 64<<10)}
	if err := c.hello(name); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return c, nil
}

func (c *rawClient) hello(name string) error {
	if err := unix.Connect(c.fd, &unix.SockaddrUnix{Name: name}); err != nil {
		return err
	}
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	if err := c.write([]byte("\x00AUTH EXTERNAL " + uid + "\r\n")); err != nil {
		return err
	}
	for !bytes.HasSuffix(c.buf[:c.end], []byte("\r\n")) {
		if err := c.fill(); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(c.buf[:c.end], []byte("OK ")) {
		return fmt.Errorf("the bus answered %q to AUTH", c.buf[:c.end])
	}
	c.end = 0
	if err := c.write([]byte("BEGIN\r\n")); err != nil {
		return err
	}
	reply, err := c.call(rawMessage(wire.Header{Type: wire.TypeMethodCall, Destination: "org.freedesktop.DBus",
		Path: "/org/freedesktop/DBus", Interface: "org.freedesktop.DBus", Member: "Hello"}))
	if err != nil {
		return err
	}
	m, err := wire.ParseMessage(reply)
	if err != nil {
		return err
	}
	return wire.Decode(m.Header.Order, m.Header.Signature, m.Body, &c.name)
}

// rawMessage returns a message, of which the serial is filled in later.
func rawMessage(h wire.Header, args ...any) []byte {
	m := wire.Message{Header: h}
	m.Header.Serial = 1
	if err := m.SetBody(args...); err != nil {
		panic(err)
	}
	out, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return out
}

// call sends a call and returns the answer, which is valid until the next one.
func (c *rawClient) call(m []byte) ([]byte, error) {
	c.serial++
	binary.LittleEndian.PutUint32(m[8:], c.serial)
	if err := c.write(m); err != nil {
		return nil, err
	}
	for {
		m, err := c.next()
		if err != nil || m[1] == byte(wire.TypeMethodReturn) {
			return m, err
		}
		if m[1] == byte(wire.TypeError) {
			return nil, errors.New("an error was answered")
		}
	}
}

// answer answers all calls with the same, as long as there is a bus.
func (c *rawClient) answer(peer string, args ...any) error {
	reply := rawMessage(wire.Header{Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Destination: peer, ReplySerial: 0xabcdef01}, args...)
	at := bytes.Index(reply, binary.LittleEndian.AppendUint32(nil, 0xabcdef01))
	for {
		m, err := c.next()
		if err != nil {
			return err
		}
		if m[1] != byte(wire.TypeMethodCall) {
			continue
		}
		c.serial++
		binary.LittleEndian.PutUint32(reply[8:], c.serial)
		copy(reply[at:at+4], m[8:12])
		if err := c.write(reply); err != nil {
			return err
		}
	}
}

func (c *rawClient) next() ([]byte, error) {
	for {
		size, err := wire.MessageSize(c.buf[c.start:c.end])
		if err == nil && size <= c.end-c.start {
			m := c.buf[c.start : c.start+size]
			c.start += size
			return m, nil
		}
		if c.start > 0 {
			c.end = copy(c.buf, c.buf[c.start:c.end])
			c.start = 0
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

func (c *rawClient) fill() error {
	n, err := rawCall(unix.SYS_READ, c.fd, c.buf[c.end:])
	c.end += n
	return err
}

func (c *rawClient) write(b []byte) error {
	for len(b) > 0 {
		n, err := rawCall(unix.SYS_WRITE, c.fd, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// rawCall goes past Go's scheduler: the hand-over would be measured too.
func rawCall(call uintptr, fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	switch {
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return int(n), nil
}
