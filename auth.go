package kdbus

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
)

// connectSocket connects to one address. The error does not name it.
func connectSocket(ctx context.Context, a address.Address) (*socket, error) {
	if err := a.Connectable(); err != nil {
		return nil, err
	}
	if a.Transport != "unix" {
		return connectTCP(ctx, a)
	}
	name, err := a.UnixName()
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	// A socket connects at once or, when the listener's backlog is full, not at all.
	for delay := time.Millisecond; ; delay = min(2*delay, 100*time.Millisecond) {
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != unix.EAGAIN {
			break
		}
		if err = sleep(ctx, delay); err != nil {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, explainConnect(err)
	}
	return newSocket(fd, a.String())
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// explainConnect says what an error of connect means and what to do.
func explainConnect(err error) error {
	errno, ok := err.(syscall.Errno)
	if !ok {
		return err
	}
	why := map[syscall.Errno]string{
		unix.ENOENT:       "there is no such socket; start a bus there, or correct the address",
		unix.ECONNREFUSED: "nothing listens there; the bus that did has ended, start it again",
		unix.EACCES:       "this user may not connect; the permissions of the socket or of a directory above it are in the way",
		unix.ENOTSOCK:     "that is not a socket; correct the address",
		unix.EPROTOTYPE:   "that socket is of another kind than a bus has; correct the address",
	}[errno]
	if why == "" {
		return fmt.Errorf("connect: %w", err)
	}
	return fmt.Errorf("%s (%w)", why, err)
}

// maxAuthLine is the longest line a server may send while authenticating.
const maxAuthLine = 16 << 10

// authenticate goes through the authentication of D-Bus up to BEGIN (specification, "Authentication
// Protocol"). It asks for file descriptors, and for the native protocol if it shall: other buses answer
// with an error, and stay with D-Bus 1. The guid is that of the address, or empty; id is that of the
// server.
func authenticate(s *socket, guid string, askNative bool) (native bool, id string, err error) {
	a := &authConversation{socket: s}
	got, err := a.login()
	if err != nil {
		return false, "", err
	}
	if raw, err := hex.DecodeString(got); err != nil || len(raw) != 16 {
		return false, "", fmt.Errorf("what listens there is no D-Bus server: it calls itself %q", got)
	}
	if guid != "" && !strings.EqualFold(guid, got) {
		return false, "", fmt.Errorf("another bus listens there: it is %s; the address is out of date", got)
	}
	ask := "NEGOTIATE_UNIX_FD\r\n"
	if askNative {
		ask += "NEGOTIATE_KDBUS 1\r\n"
	}
	if err := a.write(ask); err != nil {
		return false, "", err
	}
	line, err := a.line()
	if err != nil {
		return false, "", err
	}
	s.noFDs = line != "AGREE_UNIX_FD"
	if s.noFDs && !strings.HasPrefix(line, "ERROR") {
		return false, "", fmt.Errorf("what listens there is no D-Bus server: it answered %q to NEGOTIATE_UNIX_FD", line)
	}
	if askNative {
		if line, err = a.line(); err != nil {
			return false, "", err
		}
		native = line == "AGREE_KDBUS 1"
	}
	if len(a.rest) > 0 {
		return false, "", errors.New("the bus sent more than it was asked for while authenticating")
	}
	return native, strings.ToLower(got), a.write("BEGIN\r\n")
}

// login has the server say OK, and returns which one it is. The first attempt is EXTERNAL, for which the
// identity is left to the server: it knows that from the socket, and a number could mean another user
// where it is in another user namespace. Not so over TCP, where dbus-daemon 1.14 would agree, and
// disconnect afterwards.
func (a *authConversation) login() (id string, err error) {
	if a.socket.remote {
		line, err := a.ask("\x00AUTH")
		if err != nil {
			return "", err
		}
		offered, rejected := strings.CutPrefix(line, "REJECTED")
		if !rejected {
			return "", fmt.Errorf("what listens there is no D-Bus server: it answered %q to AUTH", line)
		}
		return a.loginOtherwise(strings.Fields(offered))
	}
	if err := a.write("\x00AUTH EXTERNAL\r\nDATA\r\n"); err != nil {
		return "", err
	}
	line, err := a.line()
	if err == nil {
		var second string
		asked := line == "DATA"
		if asked || strings.HasPrefix(line, "REJECTED") {
			second, err = a.line()
		}
		if asked {
			line = second
		}
	}
	if err != nil {
		return "", err
	}
	if got, ok := strings.CutPrefix(line, "OK "); ok {
		return got, nil
	}
	offered, rejected := strings.CutPrefix(line, "REJECTED")
	if !rejected {
		return "", fmt.Errorf("the bus does not let user %d in: it answered %q to AUTH EXTERNAL", os.Geteuid(), line)
	}
	return a.loginOtherwise(strings.Fields(offered))
}

// authConversation exchanges lines with the server.
type authConversation struct {
	socket *socket
	rest   []byte // read and not yet taken
	buf    [512]byte
}

func (a *authConversation) write(text string) error {
	for b := []byte(text); len(b) > 0; {
		n, err := a.socket.send(b, nil, nil)
		if err == nil && n == 0 {
			err = a.socket.waitWritable()
		}
		if err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		b = b[n:]
	}
	return nil
}

// line returns the next line without its end.
func (a *authConversation) line() (string, error) {
	for {
		if line, rest, ok := bytes.Cut(a.rest, []byte("\r\n")); ok {
			a.rest = rest
			return string(line), nil
		}
		if len(a.rest) > maxAuthLine {
			return "", errors.New("what listens there is no D-Bus server: it sends lines without end")
		}
		var n int
		var fds []int
		var err error
		if e := a.socket.await(func() bool {
			n, fds, err = a.socket.receive(a.buf[:], nil, 0)
			return n > 0 || err != nil
		}); e != nil {
			err = e
		}
		closeFDs(fds)
		if err != nil {
			return "", fmt.Errorf("the bus hung up while authenticating user %d: %w", os.Geteuid(), err)
		}
		a.rest = append(a.rest, a.buf[:n]...)
	}
}
