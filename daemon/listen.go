package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/transport"
)

// listener is an address of the daemon with its open sockets.
type listener struct {
	// sockets are one, or several if the host of a TCP address has several numbers.
	sockets []net.Listener
	// address is where clients find them, without guid.
	address address.Address
	// file is the file behind the socket, nil when there is none (abstract, tcp:) or when
	// it is not ours to remove (systemd's).
	file interface{ remove() error }
	// nonce is what clients have to send first; nil if that is nothing.
	nonce *[transport.NonceSize]byte
}

// close removes the socket's file, when it is ours, and closes the sockets. The file
// goes first: whoever finds it can still connect, and whoever opens a new bus at
// its place does not meet a socket that refuses.
func (l *listener) close() error {
	var failed []error
	if l.file != nil {
		failed = append(failed, l.file.remove())
	}
	for _, socket := range l.sockets {
		failed = append(failed, socket.Close())
	}
	return errors.Join(failed...)
}

// serve has the server accept clients from all sockets, until the server is shut down or one of them
// cannot be accepted from any longer, and says why.
func (l *listener) serve(server *transport.Server, guid string) error {
	ended := make(chan error, len(l.sockets))
	for _, socket := range l.sockets {
		go func() {
			if l.nonce != nil {
				ended <- server.ServeNonce(socket, guid, *l.nonce)
			} else {
				ended <- server.Serve(socket, guid)
			}
		}()
	}
	return <-ended
}

// listen opens the first address of list that can be opened, so that
// "unix:runtime=yes;unix:tmpdir=/tmp" has a fallback. Only systemd: makes more than
// one listener. An address that is wrong in itself is an error at once: a typing
// error shall not look like a fallback.
func listen(list string, log *slog.Logger) ([]*listener, error) {
	alternatives, err := address.Parse(list)
	if err != nil {
		return nil, err
	}
	for _, a := range alternatives {
		if err := a.Listenable(); err != nil {
			return nil, err
		}
	}
	var failed []error
	for i, a := range alternatives {
		opened, err := listenOne(a)
		if err == nil {
			return opened, nil
		}
		err = fmt.Errorf("listen on %s: %w", a, err)
		if i < len(alternatives)-1 {
			log.Warn("address not usable, trying the next of its list", "error", err)
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// listenOne opens an address that is Listenable.
func listenOne(a address.Address) ([]*listener, error) {
	one := func(l *listener, err error) ([]*listener, error) {
		if err != nil {
			return nil, err
		}
		return []*listener{l}, nil
	}
	switch a.Transport {
	case "systemd":
		return listenSystemd()
	case "tcp", "nonce-tcp":
		return one(listenTCP(a))
	}
	if path, ok := a.Get("path"); ok {
		return one(listenPath(path))
	}
	if name, ok := a.Get("abstract"); ok {
		return one(listenAbstract(name))
	}
	if dir, ok := a.Get("dir"); ok {
		return one(listenDir(dir))
	}
	if dir, ok := a.Get("tmpdir"); ok {
		// The specification lets a server take an abstract socket here. A file is
		// better: directory permissions guard it, and it can be bind-mounted.
		return one(listenDir(dir))
	}
	return one(listenRuntime())
}

// listenRuntime opens the user's session bus address, $XDG_RUNTIME_DIR/bus.
func listenRuntime() (*listener, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return nil, errors.New("XDG_RUNTIME_DIR is not set in the environment")
	}
	return listenPath(filepath.Join(dir, "bus"))
}

// listenDir opens a socket file with a random name in dir.
func listenDir(dir string) (*listener, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// A name has 50 random bits; the tries are for whoever guesses.
	const tries = 10
	for range tries {
		l, err := bindFile(filepath.Join(dir, "dbus-"+rand.Text()[:10]))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
	}
	return nil, fmt.Errorf("%d random names in %s were all taken", tries, dir)
}

// listenAbstract opens the abstract socket name. The kernel keeps such a name only
// as long as somebody holds the socket, so there are no stale ones.
func listenAbstract(name string) (*listener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: "@" + name})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another process has that abstract name", syscall.EADDRINUSE)
	}
	if err != nil {
		return nil, plainError(err)
	}
	return &listener{sockets: []net.Listener{l}, address: address.UnixAbstract(name)}, nil
}

// plainError takes package net's repetition of the address off an error: the caller
// has named it already.
func plainError(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
