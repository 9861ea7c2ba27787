package transport

import (
	"math/bits"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

// Buffers for what arrives. There are two kinds. A read buffer takes a batch of small messages, of
// which each is then copied to memory of its own size, so that one that waits in some queue does
// not keep the rest. A message that fills a good part of the read buffer takes the whole buffer
// along instead; and a long one that arrives in pieces is read into a mapping. Both kinds are used
// again when the message they hold is gone.

// readSize is how much one system call may read: about what a socket holds.
const readSize = 128 << 10

// takeAlong is the size from which a message keeps the read buffer that it arrived in, rather than
// being copied.
const takeAlong = readSize / 2

// readBuffer is what one recvmsg needs.
type readBuffer struct {
	data    [readSize]byte
	control []byte // of meta.MaxControl bytes
	header  unix.Msghdr
	vector  unix.Iovec
}

var readBuffers = sync.Pool{New: func() any { return &readBuffer{control: make([]byte, meta.MaxControl)} }}

// mapping is memory for one long message. It is mapped and not allocated, so that it costs nothing
// until bytes arrive: the length was merely claimed by the peer.
type mapping struct {
	data  []byte
	class int
}

// minMapping is the size of the smallest mapping, 1<<minMapping bytes.
const minMapping = 18

// mappings are those not in use, by size class. The pool drops them when they have not been used
// for a while, and the collector unmaps what nobody holds any more.
var mappings [32]sync.Pool

// takeMapping returns a mapping of at least size bytes, with arbitrary content.
func takeMapping(size int) (*mapping, error) {
	class := max(bits.Len(uint(size-1)), minMapping)
	if m, _ := mappings[class].Get().(*mapping); m != nil {
		return m, nil
	}
	data, err := syscall.Mmap(-1, 0, 1<<class, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	m := &mapping{data: data, class: class}
	runtime.AddCleanup(m, func(data []byte) { syscall.Munmap(data) }, data)
	return m, nil
}

func (m *mapping) put() { mappings[m.class].Put(m) }
