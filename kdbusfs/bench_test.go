package kdbusfs_test

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
)

// BenchmarkIoctl is a command that does nothing: FREE of what is empty.
func BenchmarkIoctl(b *testing.B) {
	dir := b.TempDir()
	root := filepath.Join(dir, "fs")
	if err := os.Mkdir(root, 0o755); err != nil {
		b.Fatal(err)
	}
	d, err := daemon.Start(daemon.Config{Domain: filepath.Join(dir, "domain"), Mount: root})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Shutdown()
	fd, err := unix.Open(root+"/0-system/bus", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := give(fd, &abi.Hello{PoolSize: poolSize}); err != nil {
		b.Fatal(err)
	}
	free := abi.Free{Offset: poolSize}
	command := free.Append(nil)
	for b.Loop() {
		if err := ioctlAt(fd, abi.CmdFree, uintptr(unsafe.Pointer(&command[0]))); err != nil {
			b.Fatal(err)
		}
	}
}
