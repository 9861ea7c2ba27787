package native_test

import (
	"net"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

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
	for {
		if _, err := unix.Write(fd, make([]byte, 64<<10)); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	unix.SetNonblock(fd, false)
	return fd
}

// A descriptor whose closing takes for ever stalls nobody, however it comes to be closed.
func TestDescriptorsThatDoNotCloseStallNobody(t *testing.T) {
	toNobody := abi.Message{DstID: 1 << 40, Cookie: 1, FDs: []int32{0}}
	for _, test := range []struct {
		name string
		cmd  abi.Cmd
		body []byte
		rest bool // the frame arrives in full
	}{
		{"with a message that cannot be delivered", abi.CmdSend, toNobody.Append((&abi.Send{}).Append(nil)), true},
		{"with a command that takes none", abi.CmdList, (&abi.List{}).Append(nil), true},
		{"with a frame that does not arrive", abi.CmdList, (&abi.List{}).Append(nil), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			bystander := w.join()
			for range runtime.GOMAXPROCS(0) {
				fd, c := lingering(t), w.join()
				frame, tag := c.Request(test.cmd, 0, 1, test.body...)
				err := c.Write(frame[:10], fd)
				unix.Close(fd) // not the last one: that is the bus's
				if err != nil {
					t.Fatal(err)
				}
				if !test.rest {
					c.Close()
					continue
				}
				if err := c.Write(frame[10:]); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Answer(tag); err == nil {
					t.Fatal("no error")
				}
			}
			_, err := bystander.Send(nativetest.Outgoing{Message: abi.Message{DstID: 1 << 40, Cookie: 1}})
			refuses(t, "a bystander's message", err, syscall.ENXIO)
		})
	}
}
