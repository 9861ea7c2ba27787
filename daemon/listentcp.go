package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/transport"
)

// lookupTimeout is how long finding the addresses of a host to listen on may take.
const lookupTimeout = 10 * time.Second

// listenTCP opens a tcp: or nonce-tcp: address, which tells the port and the nonce file afterwards.
func listenTCP(a address.Address) (*listener, error) {
	t, err := a.TCP()
	if err != nil {
		return nil, err
	}
	hosts, err := bindings(t)
	if err != nil {
		return nil, err
	}
	sockets, port, err := listenPorts(t, hosts)
	if err != nil {
		return nil, err
	}
	l := &listener{sockets: sockets}
	l.address = address.Address{Transport: a.Transport}.With("host", t.Host).With("port", strconv.Itoa(port)).With("family", familyOf(t, hosts))
	if t.Nonce {
		file, err := newNonceFile()
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.file, l.nonce = file, &file.nonce
		l.address = l.address.With("noncefile", file.path)
	}
	return l, nil
}

// bindings returns the addresses to listen on, as package net takes them.
func bindings(t address.TCP) ([]string, error) {
	if t.Bind == "*" {
		return []string{""}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	network := map[string]string{"ipv4": "ip4", "ipv6": "ip6", "": "ip"}[t.Family]
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, t.Bind)
	if err != nil {
		return nil, fmt.Errorf("find the interface to listen on: %w", err)
	}
	var hosts []string
	for _, ip := range found {
		if host := netip.Addr.String(ip.Unmap()); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// familyOf returns the family that clients have to use, "" if that is any.
func familyOf(t address.TCP, hosts []string) string {
	if t.Family == "" && len(hosts) == 1 {
		if ip, err := netip.ParseAddr(hosts[0]); err == nil {
			return map[bool]string{true: "ipv4", false: "ipv6"}[ip.Is4()]
		}
	}
	return t.Family
}

// listenPorts listens on all hosts, and everywhere on the same port.
func listenPorts(t address.TCP, hosts []string) (sockets []net.Listener, port int, err error) {
	// A port that the kernel chose for one address can be in use at another.
	const tries = 10
	for range tries {
		sockets, port, err = tryPorts(t, hosts)
		if t.Port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return sockets, port, err
}

// tryPorts is listenPorts for one port. What the machine has no address for, such as IPv6 where that is off,
// is left out, unless that is everything.
func tryPorts(t address.TCP, hosts []string) (sockets []net.Listener, port int, err error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	port = int(t.Port)
	var absent error
	for _, host := range hosts {
		l, err := config.Listen(context.Background(), t.Network(), net.JoinHostPort(host, strconv.Itoa(port)))
		switch {
		case err == nil:
			sockets = append(sockets, l)
			port = l.Addr().(*net.TCPAddr).Port
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			absent = errors.Join(absent, err)
		default:
			for _, l := range sockets {
				l.Close()
			}
			return nil, 0, err
		}
	}
	if len(sockets) == 0 {
		return nil, 0, absent
	}
	return sockets, port, nil
}

// nonceFile is a file that only its owner can read, in a directory of its own. Who knows what is in it
// may try to authenticate.
type nonceFile struct {
	path  string
	nonce [transport.NonceSize]byte
}

func newNonceFile() (*nonceFile, error) {
	dir, err := os.MkdirTemp("", "dbus_nonce-") // of mode 0700
	if err != nil {
		return nil, fmt.Errorf("make a directory for the nonce: %w", err)
	}
	f := &nonceFile{path: filepath.Join(dir, "nonce")}
	rand.Read(f.nonce[:]) // never fails
	if err := os.WriteFile(f.path, f.nonce[:], 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write the nonce: %w", err), f.remove())
	}
	return f, nil
}

// Owner is a user, with the group, whom files are to belong to.
type Owner struct{ UID, GID uint32 }

// giveFiles gives what only the bus and its clients may read to the user that the bus is to become, who has to be
// able to remove it.
func (d *Daemon) giveFiles(to Owner) error {
	for _, o := range d.doors {
		if nonce, ok := o.file.(*nonceFile); ok {
			if err := nonce.give(to); err != nil {
				return fmt.Errorf("give the nonce of %s to user %d: %w", o.address, to.UID, err)
			}
		}
	}
	if d.domain != nil {
		return d.domain.give(to)
	}
	return nil
}

// give makes the file and its directory another user's. The directory comes last: until then nobody but root can
// put something else in place of the file.
func (f *nonceFile) give(to Owner) error {
	for _, path := range []string{f.path, filepath.Dir(f.path)} {
		if err := os.Lchown(path, int(to.UID), int(to.GID)); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the file and its directory.
func (f *nonceFile) remove() error { return os.RemoveAll(filepath.Dir(f.path)) }
