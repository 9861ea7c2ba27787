package kdbus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/keyring"
)

// Buses on TCP, and how to get in where the kernel cannot say who one is.

// nonceSize is how long the nonce of a nonce-tcp: address is (specification, "Nonce-authenticated TCP
// Sockets").
const nonceSize = 16

// connectTCP connects to a tcp: or nonce-tcp: address that is connectable.
func connectTCP(ctx context.Context, a address.Address) (*socket, error) {
	t, err := a.TCP()
	if err != nil {
		return nil, err
	}
	var nonce []byte
	if t.Nonce {
		if nonce, err = readNonce(t.NonceFile); err != nil {
			return nil, err
		}
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, t.Network(), net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(nonce); err != nil {
		return nil, fmt.Errorf("send the nonce: %w", err)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	if err := raw.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	s, err := newSocket(fd, a.String())
	if err != nil {
		return nil, err
	}
	s.remote = true
	return s, nil
}

// readNonce reads what the server has to be told first.
func readNonce(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("the nonce, without which the bus does not listen: %w", err)
	}
	defer f.Close()
	var nonce [nonceSize + 1]byte
	n, err := f.Read(nonce[:])
	if err != nil || n != nonceSize {
		return nil, fmt.Errorf("%s has no nonce of %d bytes", file, nonceSize)
	}
	return nonce[:n], nil
}

// loginOtherwise tries what the server offers instead of EXTERNAL, the most telling first.
func (a *authConversation) loginOtherwise(offered []string) (id string, err error) {
	var failed error
	for _, mechanism := range []struct {
		name string
		try  func() (line string, err error)
	}{
		{"DBUS_COOKIE_SHA1", a.byCookie},
		{"ANONYMOUS", func() (string, error) { return a.ask("AUTH ANONYMOUS " + hex.EncodeToString([]byte("kdbus"))) }},
	} {
		if !slices.Contains(offered, mechanism.name) {
			continue
		}
		line, err := mechanism.try()
		var hopeless *cookieError
		if err != nil && !errors.As(err, &hopeless) {
			return "", err
		}
		if got, ok := strings.CutPrefix(line, "OK "); ok {
			return got, nil
		}
		if err == nil {
			err = fmt.Errorf("%s: the answer was %q", mechanism.name, line)
		}
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return "", fmt.Errorf("the bus does not let user %d in: %w", os.Geteuid(), failed)
	}
	return "", fmt.Errorf("the bus does not let user %d in: it offers %q", os.Geteuid(), offered)
}

// ask says a line and returns the answer.
func (a *authConversation) ask(line string) (string, error) {
	if err := a.write(line + "\r\n"); err != nil {
		return "", err
	}
	return a.line()
}

// cookieError is why there is nothing to prove by a cookie. The conversation can go on.
type cookieError struct{ err error }

func (e *cookieError) Error() string { return "DBUS_COOKIE_SHA1: " + e.err.Error() }
func (e *cookieError) Unwrap() error { return e.err }

// byCookie proves to be the user of this process, who can read its keyring (specification,
// "DBUS_COOKIE_SHA1"), and returns the last answer.
func (a *authConversation) byCookie() (line string, err error) {
	line, err = a.ask("AUTH DBUS_COOKIE_SHA1 " + hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid()))))
	if err != nil {
		return "", err
	}
	data, asked := strings.CutPrefix(line, "DATA ")
	if !asked {
		return line, nil
	}
	proof, err := proveCookie(data)
	if err != nil {
		if line, cancelErr := a.ask("CANCEL"); cancelErr != nil {
			return line, cancelErr
		}
		return "", &cookieError{err}
	}
	return a.ask("DATA " + hex.EncodeToString([]byte(proof)))
}

// proveCookie answers the challenge of a server, in hexadecimal digits.
func proveCookie(data string) (proof string, err error) {
	context, id, challenge, err := parseChallenge(data)
	if err != nil {
		return "", err
	}
	ring, err := keyring.Own()
	if err != nil {
		return "", err
	}
	cookie, err := ring.Find(context, id)
	if err != nil {
		return "", err
	}
	own := rand.Text()
	return own + " " + cookie.Hash(challenge, own), nil
}

// parseChallenge reads the context and the number of a cookie, and the challenge to answer with it.
func parseChallenge(data string) (context string, id int32, challenge string, err error) {
	text, err := hex.DecodeString(data)
	fields := strings.Fields(string(text))
	if err != nil || len(fields) != 3 {
		return "", 0, "", fmt.Errorf("the challenge %q is not a context, a number and a text", data)
	}
	n, err := strconv.ParseInt(fields[1], 10, 32)
	if err != nil || n < 0 {
		return "", 0, "", fmt.Errorf("the number %q of a cookie is none", fields[1])
	}
	return fields[0], int32(n), fields[2], nil
}
