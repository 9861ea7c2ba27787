package meta

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxCmdline is how many bytes of a process's arguments are read. Those that do not fit are absent.
const MaxCmdline = 64 << 10

const (
	// maxStatus bounds /proc/PID/status: as many groups as Linux lets a process have (65536), and
	// the rest.
	maxStatus = 1 << 20
	// maxProc bounds everything else: paths (4096), labels and numbers, control groups in some
	// tens of hierarchies.
	maxProc = 64 << 10
)

// procReader reads files of /proc without allocating. It remembers what it has read last.
type procReader struct {
	path [48]byte
	data []byte
}

var procReaders = sync.Pool{New: func() any { return &procReader{data: make([]byte, 4096)} }}

// release gives the reader back, unless an unusual process has made it large.
func (r *procReader) release() {
	if len(r.data) <= maxProc {
		procReaders.Put(r)
	}
}

// name makes the path of a file of a process, and returns it as system calls take it. There are no
// longer names in this package than what fits.
func (r *procReader) name(pid uint32, file string) *byte {
	p := append(r.path[:0], "/proc/"...)
	p = strconv.AppendUint(p, uint64(pid), 10)
	p = append(append(append(p, '/'), file...), 0)
	return unsafe.SliceData(p)
}

// read returns what is in a file of a process, up to limit bytes, and whether there is more. The
// text is valid until the reader is used again. It is not ok if the file cannot be read: there is
// no such process, or we may not see it.
func (r *procReader) read(pid uint32, file string, limit int) (text []byte, more, ok bool) {
	cwd := unix.AT_FDCWD
	fd, errno := retry(func() (uintptr, syscall.Errno) {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(r.name(pid, file))),
			unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		return fd, errno
	})
	if errno != 0 {
		return nil, false, false
	}
	defer unix.Close(int(fd))
	have := 0
	for have < limit {
		if have == len(r.data) {
			r.data = append(r.data, make([]byte, len(r.data))...)
		}
		n, errno := retry(func() (uintptr, syscall.Errno) {
			free := r.data[have:min(len(r.data), limit)]
			n, _, errno := unix.Syscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&free[0])), uintptr(len(free)))
			return n, errno
		})
		if errno != 0 {
			return nil, false, false
		}
		if n == 0 {
			return r.data[:have], false, true
		}
		have += int(n)
	}
	return r.data[:have], true, true
}

// link returns where a symbolic link of a process leads.
func (r *procReader) link(pid uint32, file string) (target []byte, ok bool) {
	cwd := unix.AT_FDCWD
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(cwd), uintptr(unsafe.Pointer(r.name(pid, file))),
		uintptr(unsafe.Pointer(&r.data[0])), uintptr(len(r.data)), 0, 0)
	if errno != 0 || int(n) >= len(r.data) { // a longer one would have been cut
		return nil, false
	}
	return r.data[:n], true
}

// number returns the decimal number in a file of a process.
func (r *procReader) number(pid uint32, file string) (uint32, bool) {
	text, _, ok := r.read(pid, file, maxProc)
	if !ok {
		return 0, false
	}
	n, rest, ok := cutNumber(bytes.TrimSuffix(text, []byte("\n")))
	return n, ok && len(rest) == 0
}

// inOurRoot reports whether a process has the root directory that we have. If not, its paths are not
// ours. It does not ask a file system that could make us wait.
func (r *procReader) inOurRoot(pid uint32) bool {
	ours := ourRoot()
	var root unix.Statx_t
	cwd := unix.AT_FDCWD
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(cwd), uintptr(unsafe.Pointer(r.name(pid, "root"))), statxFlags,
		unix.STATX_INO, uintptr(unsafe.Pointer(&root)), 0)
	return errno == 0 && root.Mask&unix.STATX_INO != 0 && root.Ino == ours.ino &&
		root.Dev_major == ours.major && root.Dev_minor == ours.minor
}

const statxFlags = unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT

type rootDirectory struct {
	ino          uint64
	major, minor uint32
}

// ourRoot is read once: a bus does not change its root directory.
var ourRoot = sync.OnceValue(func() rootDirectory {
	var root unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, "/", statxFlags, unix.STATX_INO, &root); err != nil {
		return rootDirectory{}
	}
	return rootDirectory{root.Ino, root.Dev_major, root.Dev_minor}
})

// inOurUserNamespace reports whether a process is in the user namespace that we are in. If not, its
// capabilities mean nothing here.
func (r *procReader) inOurUserNamespace(pid uint32) bool {
	ns, ok := r.link(pid, "ns/user")
	return ok && string(ns) == ourUserNamespace()
}

var ourUserNamespace = sync.OnceValue(func() string {
	ns, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return "unknown"
	}
	return ns
})

// procIsOurs reports whether /proc counts processes as we do. It does not if it was mounted for
// another pid namespace: then number 7 there is another process than our number 7.
var procIsOurs = sync.OnceValue(func() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == strconv.Itoa(os.Getpid())
})

// lastCap is the last capability that the running kernel has: capabilities(7).
var lastCap = sync.OnceValue(func() uint32 {
	last := uint32(0)
	for last < 63 {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(last+1), 0, 0, 0); err != nil {
			break
		}
		last++
	}
	return last
})

// overflowIDs are what user and group read as when they have no number in our user namespace.
var overflowIDs = sync.OnceValue(func() [2]uint32 {
	ids := [2]uint32{65534, 65534}
	for i, file := range [...]string{"overflowuid", "overflowgid"} {
		text, err := os.ReadFile("/proc/sys/kernel/" + file)
		if err != nil {
			continue
		}
		if n, _, ok := cutNumber(bytes.TrimSuffix(text, []byte("\n"))); ok {
			ids[i] = n
		}
	}
	return ids
})

// alive reports whether the process of a pidfd still runs. While it does, nobody else has its pid.
func alive(pidfd int) bool {
	for {
		fds := [1]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil)
		if err != unix.EINTR {
			return err == nil && n == 0
		}
	}
}

// retry repeats a system call that a signal has interrupted.
func retry(call func() (uintptr, syscall.Errno)) (uintptr, syscall.Errno) {
	for {
		r, errno := call()
		if errno != unix.EINTR {
			return r, errno
		}
	}
}
