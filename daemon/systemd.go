package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
)

// listenSystemd takes over the sockets that systemd passed to this process
// (sd_listen_fds(3)). It can succeed once in a process: the environment variables
// are removed so that no child takes the sockets for its own.
func listenSystemd() ([]*listener, error) {
	count, pid := os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID")
	files := activation.Files(true)
	if len(files) == 0 {
		switch {
		case count == "":
			return nil, errors.New("no sockets were passed: LISTEN_FDS is not set in the environment")
		case pid != strconv.Itoa(os.Getpid()):
			return nil, fmt.Errorf("no sockets were passed to this process: LISTEN_PID is %q, the process is %d", pid, os.Getpid())
		}
		return nil, fmt.Errorf("no sockets were passed: LISTEN_FDS is %q", count)
	}
	return adopt(files)
}

// adopt makes listeners of listening stream sockets. It closes the files.
func adopt(files []*os.File) ([]*listener, error) {
	var out []*listener
	var failed error
	for _, f := range files {
		fd := int(f.Fd())
		l, err := adoptOne(f)
		f.Close()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("descriptor %d: %w", fd, err))
			continue
		}
		out = append(out, l)
	}
	if failed != nil {
		for _, l := range out {
			l.close()
		}
		return nil, failed
	}
	return out, nil
}

func adoptOne(f *os.File) (*listener, error) {
	fd := int(f.Fd())
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, fmt.Errorf("it is no socket: %w", err)
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	if kind != unix.SOCK_STREAM || listening == 0 {
		return nil, errors.New("it is not a listening stream socket (ListenStream=)")
	}
	a, err := addressOfBound(name)
	if err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if u, isUnix := l.(*net.UnixListener); isUnix {
		u.SetUnlinkOnClose(false) // the file is systemd's, the next activation needs it
	}
	return &listener{sockets: []net.Listener{l}, address: a}, nil
}

// addressOfBound returns the address of a socket that is bound to name.
func addressOfBound(name unix.Sockaddr) (address.Address, error) {
	switch bound := name.(type) {
	case *unix.SockaddrUnix:
		return addressOf(bound.Name)
	case *unix.SockaddrInet4:
		return addressOfPort(netip.AddrFrom4(bound.Addr), bound.Port, "ipv4"), nil
	case *unix.SockaddrInet6:
		return addressOfPort(netip.AddrFrom16(bound.Addr), bound.Port, "ipv6"), nil
	}
	return address.Address{}, errors.New("it is neither a UNIX nor a TCP socket")
}

// addressOfPort returns the address of a TCP socket. One that is bound to no address in particular is
// reached at this machine's, too.
func addressOfPort(ip netip.Addr, port int, family string) address.Address {
	if ip.IsUnspecified() {
		if ip.Is4() {
			ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		} else {
			ip = netip.IPv6Loopback()
		}
	}
	return address.Address{Transport: "tcp"}.With("host", ip.String()).With("port", strconv.Itoa(port)).With("family", family)
}

// addressOf returns the address of a socket bound to name, in which package unix
// writes an abstract name's NUL as "@".
func addressOf(name string) (address.Address, error) {
	var a address.Address
	switch {
	case name == "":
		return a, errors.New("it has no name a client could connect to")
	case name[0] == '@':
		a = address.UnixAbstract(name[1:])
	default:
		a = address.UnixPath(name)
	}
	return a, a.Connectable()
}
