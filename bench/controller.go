package bench

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/wire"
)

// dbus-broker reads no configuration and opens no socket: a controller, connected to it
// by a socket pair, gives it listening sockets and a policy by D-Bus calls. Usually
// that is dbus-broker-launch, which needs systemd. This one needs nothing and allows
// everything.

// brokerLimits are far away, as those of a session bus are. They are shared by all
// connections of a user, which here is everybody.
var brokerLimits = []string{
	"--max-bytes=1000000000000", "--max-fds=1000000", "--max-matches=1000000000", "--max-objects=1000000000",
}

// startBroker starts dbus-broker and its controller.
func (s *server) startBroker(ctx context.Context, cpus *unix.CPUSet) error {
	program, err := findServer(DBusBroker)
	if err != nil {
		return err
	}
	ends, err := socketPair()
	if err != nil {
		return err
	}
	ours, theirs := ends[0], ends[1]
	command := append([]string{program, "--controller=3", "--machine-id=" + machineID()}, brokerLimits...)
	err = s.run(cpus, command, theirs)
	theirs.Close()
	if err != nil {
		ours.Close()
		return err
	}
	connection, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return fmt.Errorf("connect to it as its controller: %w", err)
	}
	c := &controller{conn: connection.(*net.UnixConn), in: bufio.NewReader(connection)}
	served := make(chan struct{})
	s.release = func() {
		c.conn.Close()
		<-served
	}
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	if err := c.open(s.socket); err != nil {
		close(served)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	go func() {
		defer close(served)
		c.serve()
	}()
	return nil
}

// machineID returns the id of this machine, or one made up where it has none.
func machineID() string {
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(id))) == 32 {
		return strings.TrimSpace(string(id))
	}
	return "6b64627573206265" + "6e63686d61726b21"
}

// controller is the controlling side of dbus-broker's controller connection.
type controller struct {
	conn   *net.UnixConn
	in     *bufio.Reader
	serial uint32
}

// open authenticates and makes the broker listen on a new socket at path.
func (c *controller) open(path string) error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	if _, err := c.conn.Write([]byte("\x00AUTH EXTERNAL " + uid + "\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n")); err != nil {
		return fmt.Errorf("authenticate as its controller: %w", err)
	}
	for _, want := range []string{"OK ", "AGREE_UNIX_FD"} {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("authenticate as its controller: %w", err)
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("authenticate as its controller: it answered %q instead of %q", strings.TrimSpace(line), want)
		}
	}
	listener, err := listen(path)
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	m, err := addListener(allowAll())
	if err != nil {
		return err
	}
	if err := c.call(m, listener); err != nil {
		return fmt.Errorf("make it listen: %w", err)
	}
	return nil
}

// listen returns a listening, nonblocking socket: it is the broker that accepts.
func listen(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, unix.SOMAXCONN)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	return fd, nil
}

// call sends m with file descriptor fd and waits for the reply.
func (c *controller) call(m []byte, fd int) error {
	c.serial++
	setSerial(m, c.serial)
	if _, _, err := c.conn.WriteMsgUnix(m, unix.UnixRights(fd), nil); err != nil {
		return err
	}
	for {
		h, m, err := c.next()
		switch {
		case err != nil:
			return err
		case h.ReplySerial != c.serial:
			continue
		case h.Type == wire.TypeError:
			return errorOf(m)
		}
		return nil
	}
}

// serve answers the broker until the connection is closed. All that it may ask for is to
// read the configuration again, of which there is none.
func (c *controller) serve() {
	for {
		h, _, err := c.next()
		if err != nil {
			return
		}
		if h.Type != wire.TypeMethodCall || h.Flags&wire.NoReplyExpected != 0 {
			continue
		}
		c.serial++
		reply := newMessage(wire.Header{Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, ReplySerial: h.Serial}, nil)
		setSerial(reply, c.serial)
		if _, err := c.conn.Write(reply); err != nil {
			return
		}
	}
}

// next reads one message.
func (c *controller) next() (h wire.Header, m []byte, err error) {
	prefix, err := c.in.Peek(wire.HeaderFixedSize)
	if err != nil {
		return h, nil, err
	}
	size, err := wire.MessageSize(prefix)
	if err != nil {
		return h, nil, err
	}
	m = make([]byte, size)
	if _, err := io.ReadFull(c.in, m); err != nil {
		return h, nil, err
	}
	_, err = h.Parse(m)
	return h, m, err
}
