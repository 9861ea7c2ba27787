package kdbus

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// inbox is the way in: it cuts what a socket brings into units, which are messages or frames. It
// is for whose turn it is to receive.
type inbox struct {
	socket *socket
	// headerSize is how many bytes sizeOf needs to tell the size of a unit.
	headerSize int
	sizeOf     func([]byte) (int, error)

	buf        []byte // what was read; not yet taken is buf[start:end]
	start, end int
	fds        []int // descriptors that came with what was read
	drained    bool  // by the last read: await will tell when there is more

	large []byte // what was read of a unit that does not fit in buf; nil if there is none
	size  int    // of that unit
}

// readSize is how much is read at once.
const readSize = 32 << 10

func newInbox(s *socket, headerSize int, sizeOf func([]byte) (int, error)) inbox {
	return inbox{socket: s, headerSize: headerSize, sizeOf: sizeOf, buf: make([]byte, readSize)}
}

// next returns the next unit, or nil if there is none. It reads if need be, and waits for the
// first byte as long as patience lets it. A unit that is owned is the caller's, others are valid
// until the next call.
func (in *inbox) next(patience time.Duration) (unit []byte, owned bool, err error) {
	for {
		if in.large != nil {
			unit, err = in.receiveLarge(patience)
			return unit, true, err
		}
		have := in.buf[in.start:in.end]
		if len(have) >= in.headerSize {
			size, err := in.sizeOf(have)
			if err != nil {
				return nil, false, err
			}
			if size <= len(have) {
				in.start += size
				return have[:size:size], false, nil
			}
			if size > len(in.buf) {
				in.large, in.size = append(make([]byte, 0, min(size, 1<<20)), have...), size
				in.start, in.end = 0, 0
				continue
			}
		}
		if in.start > 0 {
			in.end = copy(in.buf, have)
			in.start = 0
		}
		n, err := in.fill(in.buf[in.end:], patience)
		if n == 0 {
			return nil, false, err
		}
		in.end += n
	}
}

// fill reads once into b, if there is something.
func (in *inbox) fill(b []byte, patience time.Duration) (n int, err error) {
	if in.drained {
		in.drained = false
		return 0, nil
	}
	before := len(in.fds)
	n, in.fds, err = in.socket.receive(b, in.fds, patience)
	// Descriptors end a read early.
	in.drained = n > 0 && n < len(b) && len(in.fds) == before
	return n, err
}

// receiveLarge receives a unit larger than the buffer into memory of its own. That grows as bytes
// arrive: memory is not spent on what was announced only.
func (in *inbox) receiveLarge(patience time.Duration) ([]byte, error) {
	for len(in.large) < in.size {
		if len(in.large) == cap(in.large) {
			in.large = slices.Grow(in.large, min(len(in.large), in.size-len(in.large)))
		}
		n, err := in.fill(in.large[len(in.large):min(cap(in.large), in.size)], patience)
		if n == 0 {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		in.large = in.large[:len(in.large)+n]
	}
	unit := in.large
	in.large = nil
	return unit, nil
}

// takeFDs returns the oldest n descriptors, which are the caller's then.
func (in *inbox) takeFDs(n uint32) ([]int, error) {
	if uint64(n) > uint64(len(in.fds)) {
		return nil, fmt.Errorf("a message announces %d file descriptors, and %d came", n, len(in.fds))
	}
	fds := slices.Clone(in.fds[:n])
	in.fds = slices.Delete(in.fds, 0, int(n))
	return fds, nil
}

// expect has await not be told of what comes before the next read.
func (in *inbox) expect() {
	in.drained = false
	in.socket.listen(false)
}

// drop closes the descriptors that belong to nothing.
func (in *inbox) drop() {
	closeFDs(in.fds)
	in.fds = nil
}
