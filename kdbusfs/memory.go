package kdbusfs

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// memory is that of the process of a thread which waits in a system call.
type memory uint32

// maxVectors is how many pieces one system call reads: IOV_MAX.
const maxVectors = 1024

// read reads len(b) bytes. It returns how many there were, which may be some before the first that is not there (EFAULT).
func (m memory) read(b []byte, at uint64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if at+uint64(len(b)) < at || uint64(uintptr(at)) != at {
		return 0, syscall.EFAULT
	}
	n, err := m.readPieces(b, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}})
	if err == nil && n < len(b) {
		err = syscall.EFAULT
	}
	return n, err
}

// readPieces reads pieces of memory, one behind the other, to the beginning of b.
func (m memory) readPieces(b []byte, pieces []unix.RemoteIovec) (total int, err error) {
	for len(pieces) > 0 {
		now := pieces[:min(len(pieces), maxVectors)]
		want := 0
		for _, p := range now {
			want += p.Len
		}
		local := []unix.Iovec{{Base: &b[0]}}
		local[0].SetLen(want)
		n, err := unix.ProcessVMReadv(int(m), local, now, 0)
		total += max(n, 0)
		if err != nil {
			return total, memoryError(err)
		}
		if n < want {
			return total, syscall.EFAULT
		}
		b, pieces = b[n:], pieces[len(now):]
	}
	return total, nil
}

// write writes b, by one system call: the thread waits for as long as that takes, and no longer.
func (m memory) write(b []byte, at uint64) error {
	if at+uint64(len(b)) < at || uint64(uintptr(at)) != at {
		return syscall.EFAULT
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMWritev(int(m), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = syscall.EFAULT
	}
	return memoryError(err)
}

// memoryError keeps errors that say something of the caller's pointer. EPERM is that it is not for us to read.
func memoryError(err error) error {
	switch err {
	case nil, syscall.EFAULT, syscall.EPERM:
		return err
	case syscall.ESRCH:
		return syscall.EINTR // it is gone
	}
	return syscall.EFAULT
}

// mayReadOthers says why memory of other processes could not be read.
func mayReadOthers() error {
	if os.Geteuid() == 0 {
		return nil
	}
	return unix.EPERM
}
