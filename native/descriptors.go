package native

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// Descriptors come beside a frame, and the items of a message say by number what each is: FDS or a
// PAYLOAD_MEMFD. All are used, each once.

// takeDescriptors moves the request's descriptors to the message.
func (m *message) takeDescriptors(r *request, k *abi.Message) error {
	memfds := 0
	for i := range k.Payload {
		if k.Payload[i].Type == abi.ItemPayloadMemfd {
			memfds++
		}
	}
	if len(r.fds)+len(k.FDs)+memfds == 0 {
		return nil
	}
	m.From(m.conn.payer())
	taken := descriptors{fds: r.fds}
	// Whatever goes wrong: those that were taken are the message's, the others the request's.
	defer func() { r.fds = taken.rest() }()
	for _, i := range k.FDs {
		fd, err := taken.take(i)
		if err != nil {
			return err
		}
		m.FDs = append(m.FDs, fd)
	}
	m.Extra = &m.extra
	for i := range k.Payload {
		p := &k.Payload[i]
		if p.Type != abi.ItemPayloadMemfd {
			continue
		}
		fd, err := taken.take(p.FD)
		if err != nil {
			return err
		}
		m.extra.Memfds = append(m.extra.Memfds, fd)
		if err := checkMemfd(fd, p.Offset, p.Size); err != nil {
			return err
		}
	}
	if taken.n < len(r.fds) {
		return refusef(syscall.EINVAL, "message: %d file descriptors came with it, and it says what %d of them are", len(r.fds), taken.n)
	}
	return nil
}

// descriptors are those of a frame, by number.
type descriptors struct {
	fds  []int
	used [abi.FrameMaxFDs]bool
	n    int // of used
}

func (d *descriptors) take(i int32) (int, error) {
	switch {
	case i < 0 || int(i) >= len(d.fds):
		return -1, refusef(syscall.EBADF, "message: it has a file descriptor number %d, but %d came with it", i, len(d.fds))
	case d.used[i]:
		return -1, refusef(syscall.EBADF, "message: it has file descriptor number %d twice", i)
	}
	d.used[i] = true
	d.n++
	return d.fds[i], nil
}

// rest returns those not taken.
func (d *descriptors) rest() (fds []int) {
	for i, fd := range d.fds {
		if !d.used[i] {
			fds = append(fds, fd)
		}
	}
	return fds
}

// allSeals make a file one that nobody can change any more, see memfd_create(2) and fcntl(2).
const allSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL

// checkMemfd sees to it that a range of a file is there, and stays as it is.
func checkMemfd(fd int, offset, size uint64) error {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return refusef(syscall.EMEDIUMTYPE, "message: payload in a file that is no memfd")
	}
	if seals&allSeals != allSeals {
		return refusef(syscall.ETXTBSY, "message: payload in a memfd that is not sealed (F_SEAL_SHRINK, GROW, WRITE and SEAL)")
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return refusef(syscall.EBADF, "message: payload in a memfd: %v", err)
	}
	if uint64(stat.Blksize) > pageSize && inHugePages(fd) {
		return refusef(syscall.EMEDIUMTYPE, "message: payload in a memfd of huge pages (MFD_HUGETLB)")
	}
	if offset+size > uint64(stat.Size) { // it was judged that the sum is right
		return refusef(syscall.EFAULT, "message: payload up to byte %d of a memfd that has %d", offset+size, stat.Size)
	}
	return nil
}

// inHugePages reports whether a memfd is one of huge pages. The kernel maps and unmaps those in whole
// huge pages only, so that what anybody else maps of a memfd would stay there.
func inHugePages(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) != nil || fs.Type == unix.HUGETLBFS_MAGIC
}
