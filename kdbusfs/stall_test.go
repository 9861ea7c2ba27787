package kdbusfs_test

import (
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// userfaultfd(2), which x/sys does not have.
const (
	uffdAPI      = 0xaa
	uffdioAPI    = 0xc018aa3f
	uffdRegister = 0xc020aa00
	uffdZeroPage = 0xc020aa04
	uffdMissing  = 1
)

// stalling is a page of memory that is not there until it is given: whoever touches it waits.
type stalling struct {
	fd   int
	page []byte
}

func newStalling(t *testing.T) *stalling {
	t.Helper()
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		t.Fatalf("userfaultfd: %v; it takes root, as what it is to do to others is the point of this test", errno)
	}
	s := &stalling{fd: int(fd)}
	t.Cleanup(func() { unix.Close(s.fd) }) // which lets go of who waits
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	s.page = page
	s.ioctl(t, uffdioAPI, &[4]uint64{uffdAPI})
	s.ioctl(t, uffdRegister, &[4]uint64{s.at(), 4096, uffdMissing})
	return s
}

func (s *stalling) at() uint64 { return uint64(uintptr(unsafe.Pointer(&s.page[0]))) }

func (s *stalling) ioctl(t *testing.T, cmd uintptr, argument *[4]uint64) {
	t.Helper()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.fd), cmd, uintptr(unsafe.Pointer(argument))); errno != 0 {
		t.Fatalf("userfaultfd: %v", errno)
	}
}

// awaitFault waits until somebody waits.
func (s *stalling) awaitFault(t *testing.T) {
	t.Helper()
	if poll(t, s.fd, patience)&unix.POLLIN == 0 {
		t.Fatal("nobody has touched the memory")
	}
}

// give puts zeros there.
func (s *stalling) give(t *testing.T) {
	t.Helper()
	s.ioctl(t, uffdZeroPage, &[4]uint64{s.at(), 4096})
}

func TestWhoseMemoryStallsStallsOnlyItself(t *testing.T) {
	path := endpoint(t)
	a, b := hello(t, path), hello(t, path)
	const stalled = 3
	ended := make(chan error, stalled)
	var memories []*stalling
	for range stalled {
		s := newStalling(t)
		memories = append(memories, s)
		c := hello(t, path) // works although others stall
		go func() {
			m := abi.Message{DstID: b.id, Cookie: 1, PayloadType: 1, Payload: []abi.Payload{{Type: abi.ItemPayloadVec, Offset: s.at(), Size: 100}}}
			message := m.Append(nil)
			_, err := give(c.fd, &abi.Send{MsgAddress: uint64(uintptr(unsafe.Pointer(&message[0])))})
			keep(message)
			ended <- err
		}()
		s.awaitFault(t)
		if _, err := a.send(abi.Message{DstID: b.id, Cookie: 2}, "goes on", 0); err != nil {
			t.Fatal(err)
		}
		if _, payload := b.receive(); payload != "goes on" {
			t.Errorf("%q arrives", payload)
		}
		c.do(&abi.List{}) // of the same connection, by another thread
	}
	for i, s := range memories {
		s.give(t)
		if err := <-ended; err != nil {
			t.Errorf("SEND from memory that came late: %v", err)
		}
		if m, payload := b.receive(); m.Cookie != 1 || len(payload) != 100 {
			t.Errorf("message %d has the cookie %d and %d bytes, want 1 and 100", i, m.Cookie, len(payload))
		}
	}
	if _, err := give(a.fd, &abi.Recv{}); err != syscall.EAGAIN {
		t.Errorf("RECV at the end: %v, want EAGAIN", err)
	}
}
