package bus_test

import (
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
)

// Whatever takes its time is closed, and each user's by itself.
func TestDescriptorsAreClosed(t *testing.T) {
	var watched, closing []int
	for uid := range uint32(3) {
		for range 10 {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Dup(int(file.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			file.Close()
			watched, closing = append(watched, pair[0]), []int{fd, pair[1]}
			bus.CloseDescriptors(bus.PayerOf(uid), closing)
		}
	}
	for _, fd := range watched { // the other end has been closed when there is an end to read
		if n, err := syscall.Read(fd, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		syscall.Close(fd)
	}
}

// lingering returns a socket that whoever closes it last has to wait for, until the test ends.
func lingering(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() }) // with data unread, which resets the connection
	file, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3600}); err != nil {
		t.Fatal(err)
	}
	unix.SetNonblock(fd, true)
	for err == nil {
		_, err = unix.Write(fd, make([]byte, 64<<10))
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	unix.SetNonblock(fd, false)
	return fd
}

// Who came by a custom endpoint and sends descriptors that do not close keeps out those who come by it, and neither its user
// nor who comes by another endpoint, of whatever bus.
func TestDescriptorsThatDoNotCloseAreOnTheAccountOfTheEndpoint(t *testing.T) {
	b := newBus(t)
	e := b.through()
	inside, outside := b.connectBy(e, ofUser(1)), b.connect(ofUser(1))
	m := bus.Message{FDs: []int{lingering(t)}}
	m.From(inside.Payer())
	m.Release()
	many := make([]int, bus.MaxClosing)
	for i := range many {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		many[i] = fd
	}
	bus.CloseDescriptors(e.Payer(2), many)
	bus.AgeClosing(e.Payer(2))
	for who, payer := range map[string]bus.Payer{
		"its user":                     bus.PayerOf(1),
		"its user, on the bus":         outside.Payer(),
		"its user, at the bus":         b.Endpoint().Payer(1),
		"an endpoint of another bus":   newBus(t).through().Payer(1),
		"another endpoint of this bus": another(t, b).Payer(1),
	} {
		if bus.Stuck(payer) {
			t.Errorf("%s is kept out", who)
		}
	}
	if !bus.Stuck(inside.Payer()) || !bus.Stuck(e.Payer(1)) {
		t.Error("the endpoint is not")
	}
}

// another makes another endpoint.
func another(t *testing.T, b *testBus) *bus.Endpoint {
	e, err := b.NewEndpoint(bus.EndpointConfig{Name: "1-other", UID: 1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}
