package native_test

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// Memfds of huge pages are no payload: nobody would expect that ranges of them cannot be mapped, and
// unmapped, by ordinary pages.
func TestMemfdsOfHugePagesAreRefused(t *testing.T) {
	const size = 1 << 30 // a multiple of the usual sizes of huge pages; there need not be any
	fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_HUGETLB)
	if err != nil {
		t.Log("there are none here: ", err)
		return
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	c := w.join()
	_, err = c.Send(nativetest.Outgoing{
		Message: abi.Message{DstID: c.ID, Cookie: 1, Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: 100}}},
		Passed:  []int{fd},
	})
	refuses(t, "a memfd of huge pages", err, syscall.EMEDIUMTYPE)
}
