package kdbusfs_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
)

// mount starts a daemon with a domain and a file system, and returns where that is.
func mount(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "fs")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := daemon.Start(daemon.Config{Domain: filepath.Join(dir, "domain"), Mount: root})
	if err != nil {
		t.Fatalf("these tests take /dev/fuse, and root or fusermount3: %v", err)
	}
	t.Cleanup(d.Shutdown)
	return root
}

// The system calls of a client. None is one that the Go runtime takes for one that does not wait: the file system is
// this process's own, and has to go on meanwhile.

// open opens a file, until the end of the test.
func open(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// ioctl gives a command whose struct is b.
func ioctl(fd int, cmd abi.Cmd, b []byte) error {
	return ioctlAt(fd, cmd, uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

func ioctlAt(fd int, cmd abi.Cmd, at uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(cmd), at); errno != 0 {
		return errno
	}
	return nil
}

// give gives a command, and returns its struct as it comes back.
func give(fd int, c abi.Command) ([]byte, error) {
	b := c.Append(nil)
	return b, ioctl(fd, c.Cmd(), b)
}

// poll returns what poll(2) tells of fd within this time.
func poll(t *testing.T, fd int, patience time.Duration) int16 {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return fds[0].Revents
	}
}

// patience is how long a test waits before it has failed.
const patience = 10 * time.Second

const poolSize = 1 << 20

// client is a connection.
type client struct {
	t    *testing.T
	fd   int
	id   uint64
	pool []byte
}

// hello connects to an endpoint.
func hello(t *testing.T, path string) *client {
	t.Helper()
	c := &client{t: t, fd: open(t, path)}
	h := abi.Hello{Flags: abi.HelloAcceptFD, AttachFlagsSend: abi.AttachAll, PoolSize: poolSize}
	b, err := give(c.fd, &h)
	if err == nil {
		err = h.DecodeReply(b)
	}
	if err != nil {
		t.Fatalf("HELLO: %v", err)
	}
	c.id = h.Reply.ID
	if c.pool, err = unix.Mmap(c.fd, 0, poolSize, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		t.Fatalf("map the pool: %v", err)
	}
	t.Cleanup(func() { unix.Munmap(c.pool) })
	bloom := c.pool[h.Reply.Offset:][:h.Reply.ItemsSize]
	for item := range abi.Items(bloom).All() {
		if item.Type != abi.ItemBloomParameter {
			t.Errorf("HELLO is answered with an item %v", item.Type)
		}
	}
	c.free(h.Reply.Offset)
	return c
}

func (c *client) do(command abi.Command) []byte {
	c.t.Helper()
	b, err := give(c.fd, command)
	if err != nil {
		c.t.Fatalf("%v: %v", command.Cmd(), err)
	}
	return b
}

func (c *client) free(offset uint64) {
	c.t.Helper()
	c.do(&abi.Free{Offset: offset})
}

// send sends a message with a payload of one piece.
func (c *client) send(m abi.Message, payload string, flags abi.SendFlags) (abi.MsgInfo, error) {
	data := []byte(payload)
	if len(data) > 0 {
		m.Payload = []abi.Payload{{Type: abi.ItemPayloadVec, Offset: uint64(uintptr(unsafe.Pointer(&data[0]))), Size: uint64(len(data))}}
	}
	if m.PayloadType == 0 {
		m.PayloadType = 0x1234567890 // not D-Bus: nobody is to look into it
	}
	message := m.Append(nil)
	send := abi.Send{Flags: flags, MsgAddress: uint64(uintptr(unsafe.Pointer(&message[0])))}
	b, err := give(c.fd, &send)
	if err == nil {
		err = send.DecodeReply(b)
	}
	keep(data)
	keep(message)
	return send.Reply, err
}

// keep keeps memory where it is until now.
//
//go:noinline
func keep([]byte) {}

// receive takes a message, for which it waits.
func (c *client) receive() (abi.Message, string) {
	c.t.Helper()
	if events := poll(c.t, c.fd, patience); events&unix.POLLIN == 0 {
		c.t.Fatalf("no message comes: poll says %#x", events)
	}
	recv := abi.Recv{}
	if err := recv.DecodeReply(c.do(&recv)); err != nil {
		c.t.Fatal(err)
	}
	return c.decode(recv.Msg)
}

// decode reads a message in the pool, and its payload, and frees it.
func (c *client) decode(info abi.MsgInfo) (m abi.Message, payload string) {
	c.t.Helper()
	b := append([]byte(nil), c.pool[info.Offset:][:info.Size]...)
	if err := m.DecodeReceived(b); err != nil {
		c.t.Fatal(err)
	}
	for _, p := range m.Payload {
		if p.Type == abi.ItemPayloadOff && !p.Zeros() {
			payload += string(b[p.Offset:][:p.Size])
		}
	}
	c.free(info.Offset)
	return m, payload
}

// deadline is when a reply is too late.
func deadline(after time.Duration) uint64 {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return uint64(now.Nano() + after.Nanoseconds())
}
