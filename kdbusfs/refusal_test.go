package kdbusfs_test

import (
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

func TestCommandsAreRefused(t *testing.T) {
	root := mount(t)
	fresh := func(t *testing.T) int { return open(t, root+"/0-system/bus") }
	joined := func(t *testing.T) int { return hello(t, root+"/0-system/bus").fd }
	control := func(t *testing.T) int { return open(t, root+"/control") }
	const magic = 0x9500
	for name, test := range map[string]struct {
		fd      func(*testing.T) int
		command abi.Command
		want    syscall.Errno
	}{
		"BUS_MAKE at an endpoint":        {fresh, &abi.BusMake{Name: "0-x", Bloom: abi.BloomParameter{Size: 64, NHash: 1}}, syscall.EBADFD},
		"HELLO at control":               {control, &abi.Hello{PoolSize: poolSize}, syscall.EBADFD},
		"HELLO twice":                    {joined, &abi.Hello{PoolSize: poolSize}, syscall.EBADFD},
		"LIST before HELLO":              {fresh, &abi.List{}, syscall.EBADFD},
		"RECV before HELLO":              {fresh, &abi.Recv{}, syscall.EBADFD},
		"FREE before HELLO":              {fresh, &abi.Free{}, syscall.EBADFD},
		"HELLO without a pool":           {fresh, &abi.Hello{}, syscall.EINVAL},
		"HELLO with half a page of pool": {fresh, &abi.Hello{PoolSize: 2048}, syscall.EINVAL},
		"RECV of nothing":                {joined, &abi.Recv{}, syscall.EAGAIN},
		"FREE of nothing":                {joined, &abi.Free{Offset: 64}, syscall.ENXIO},
		"the info of nobody":             {joined, &abi.ConnInfo{ID: 1 << 40}, syscall.ENXIO},
		"a name that is none":            {joined, &abi.NameAcquire{Name: "x"}, syscall.EINVAL},
		"a command of sockets":           {joined, &abi.Cancel{}, syscall.ENOTTY},
		"a bus of somebody else":         {control, &abi.BusMake{Name: "4711-x", Bloom: abi.BloomParameter{Size: 64, NHash: 1}}, syscall.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := give(test.fd(t), test.command); err != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	t.Run("what is no command", func(t *testing.T) {
		for _, cmd := range []abi.Cmd{0, magic | 0x7f, 0x40189542} {
			if err := ioctl(fresh(t), cmd, make([]byte, 64)); err != syscall.ENOTTY {
				t.Errorf("ioctl %#x: %v, want ENOTTY", uint32(cmd), err)
			}
		}
	})
}

func TestMemoryThatIsNotThereIsRefused(t *testing.T) {
	c := hello(t, endpoint(t))
	page, err := unix.Mmap(-1, 0, 2*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(page) })
	if err := unix.Mprotect(page[4096:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	base := uintptr(unsafe.Pointer(&page[0]))
	for _, at := range []uintptr{0, 8, base + 4, base + 4096, ^uintptr(0) - 7, 1 << 63} {
		if err := ioctlAt(c.fd, abi.CmdList, at); err != syscall.EFAULT {
			t.Errorf("LIST at %#x: %v, want EFAULT", at, err)
		}
	}
	t.Run("a command that goes on where nothing is", func(t *testing.T) {
		acquire := abi.NameAcquire{Name: "com.example.Name"}
		b := acquire.Append(nil)
		at := 4096 - 24 // the struct is there, and its item not
		copy(page[at:4096], b)
		if err := ioctlAt(c.fd, abi.CmdNameAcquire, base+uintptr(at)); err != syscall.EFAULT {
			t.Errorf("%v, want EFAULT", err)
		}
	})
	t.Run("payload that is not there", func(t *testing.T) {
		m := abi.Message{DstID: c.id, Cookie: 1, PayloadType: 1,
			Payload: []abi.Payload{{Type: abi.ItemPayloadVec, Offset: uint64(base) + 4000, Size: 200}}}
		message := m.Append(nil)
		if _, err := give(c.fd, &abi.Send{MsgAddress: uint64(uintptr(unsafe.Pointer(&message[0])))}); err != syscall.EFAULT {
			t.Errorf("%v, want EFAULT", err)
		}
		keep(message)
	})
	t.Run("results that cannot be written", func(t *testing.T) {
		if _, err := c.send(abi.Message{DstID: c.id, Cookie: 5}, "stays", 0); err != nil {
			t.Fatal(err)
		}
		recv := abi.Recv{}
		copy(page, recv.Append(nil))
		if err := unix.Mprotect(page[:4096], unix.PROT_READ); err != nil {
			t.Fatal(err)
		}
		if err := ioctlAt(c.fd, abi.CmdRecv, base); err != syscall.EFAULT {
			t.Errorf("RECV: %v, want EFAULT", err)
		}
		if m, payload := c.receive(); m.Cookie != 5 || payload != "stays" {
			t.Errorf("then %q arrives; want the message that was not received", payload)
		}
	})
}
