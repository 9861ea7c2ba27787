package bus_test

import (
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
			bus.CloseDescriptors(uid, closing)
		}
	}
	for _, fd := range watched { // the other end has been closed when there is an end to read
		if n, err := syscall.Read(fd, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		syscall.Close(fd)
	}
}
