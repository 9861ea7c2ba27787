package kdbusfs_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// makeBus makes a bus, and returns what keeps it.
func makeBus(t *testing.T, root, name string, flags abi.MakeFlags) int {
	t.Helper()
	fd := open(t, root+"/control")
	if _, err := give(fd, &abi.BusMake{Flags: flags, Name: name, Bloom: abi.BloomParameter{Size: 64, NHash: 1}}); err != nil {
		t.Fatalf("BUS_MAKE: %v", err)
	}
	return fd
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return s
}

func TestNodesHaveTheModesOfKdbus(t *testing.T) {
	root := mount(t)
	own := fmt.Sprintf("%s/%d-", root, os.Getuid())
	name := func(s string) string { return fmt.Sprintf("%d-%s", os.Getuid(), s) }
	makeBus(t, root, name("own"), 0)
	makeBus(t, root, name("group"), abi.MakeAccessGroup)
	makeBus(t, root, name("world"), abi.MakeAccessWorld)
	for path, want := range map[string]uint32{
		root:              unix.S_IFDIR | 0o555,
		root + "/control": unix.S_IFREG | 0o666,
		own + "own":       unix.S_IFDIR | 0o500,
		own + "own/bus":   unix.S_IFREG | 0o600,
		own + "group":     unix.S_IFDIR | 0o550,
		own + "group/bus": unix.S_IFREG | 0o660,
		own + "world":     unix.S_IFDIR | 0o555,
		own + "world/bus": unix.S_IFREG | 0o666,
	} {
		s := stat(t, path)
		if s.Mode != want || s.Uid != uint32(os.Getuid()) {
			t.Errorf("%s has the mode %o and is of user %d, want %o and %d", path, s.Mode, s.Uid, want, os.Getuid())
		}
	}
}

func TestBusesAppearAndVanishAtOnce(t *testing.T) {
	root := mount(t)
	name := fmt.Sprintf("%d-test", os.Getuid())
	var s unix.Stat_t
	for range 3 {
		if err := unix.Stat(root+"/"+name, &s); err != syscall.ENOENT {
			t.Fatalf("stat before there is a bus: %v, want ENOENT", err)
		}
		keeper, err := unix.Open(root+"/control", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := give(keeper, &abi.BusMake{Name: name, Bloom: abi.BloomParameter{Size: 64, NHash: 1}}); err != nil {
			t.Fatal(err)
		}
		c := hello(t, root+"/"+name+"/bus")
		if poll(t, c.fd, 0)&unix.POLLHUP != 0 {
			t.Error("poll says that a connection has ended that has just begun")
		}
		unix.Close(keeper)
		if events := waitFor(t, c.fd, unix.POLLHUP); events&unix.POLLHUP == 0 {
			t.Errorf("poll says %#x when the bus is gone", events)
		}
		if _, err := give(c.fd, &abi.List{}); err != syscall.ECONNRESET {
			t.Errorf("LIST when the bus is gone: %v, want ECONNRESET", err)
		}
	}
}

// waitFor polls until one of these events is there.
func waitFor(t *testing.T, fd int, events int16) int16 {
	t.Helper()
	for {
		got := poll(t, fd, patience)
		if got == 0 || got&events != 0 {
			return got
		}
	}
}

func TestEveryOpenFileHasAPoolOfItsOwn(t *testing.T) {
	path := endpoint(t)
	first := stat(t, path)
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = hello(t, path)
	}
	for i, c := range clients {
		if _, err := clients[0].send(abi.Message{DstID: c.id, Cookie: 1}, fmt.Sprint("for ", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range clients {
		if _, got := c.receive(); got != fmt.Sprint("for ", i) {
			t.Errorf("connection %d has %q in its pool", i, got)
		}
	}
	if again := stat(t, path); again.Ino != first.Ino {
		t.Errorf("the inode number was %d and is %d", first.Ino, again.Ino)
	}
}
