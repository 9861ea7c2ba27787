package kdbus

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// errNotAMessage says that a peer sent what cannot be handed to the program: no D-Bus message, or
// one that contradicts what the bus says of it.
var errNotAMessage = errors.New("not a message")

// message makes a D-Bus message of one that arrived, of which the frame holds k and, behind it,
// the payload. It takes over fds in any case.
func (t *frames) message(k *abi.Message, frame []byte, owned bool, fds []int) (m *Message, err error) {
	defer func() {
		closeFDs(fds)
		if err != nil && m != nil {
			m.discard()
			m = nil
		}
	}()
	if k.PayloadType != abi.PayloadDBus || len(k.Payload) == 0 {
		return nil, errNotAMessage
	}
	if m, err = cut(k.Payload, frame, owned, fds); err != nil {
		return m, err
	}
	if err := t.address(m, k); err != nil {
		return m, err
	}
	if len(k.FDs) > 0 {
		files, ok := pick(fds, k.FDs)
		if !ok {
			closeFDs(files)
			return m, errNotAMessage
		}
		m.takeFiles(files)
	}
	m.priority = k.Priority
	return m, m.takeMetadata(k.Metadata)
}

// takeMetadata decodes what the bus says of the sender, if it says something.
func (m *Message) takeMetadata(items abi.Items) error {
	if len(items) == 0 {
		return nil
	}
	m.metadata = new(abi.Metadata)
	return m.metadata.Decode(items)
}

// address puts into the header what the bus says of the message, and sees to it that the rest of
// the header agrees.
func (t *frames) address(m *Message, k *abi.Message) error {
	h := &m.header
	h.Sender = busName
	if k.SrcID != abi.SrcIDKernel {
		h.Sender = t.uniqueName(k.SrcID)
	}
	switch {
	case k.DstID == abi.DstIDBroadcast:
		h.Destination = ""
	case k.DstName != "":
		h.Destination = string([]byte(k.DstName)) // which is part of a buffer
	case k.DstID == abi.DstIDName:
		// Only a monitor gets that: a message of a D-Bus 1 peer, the header of which is the bus's.
		if h.Destination == "" {
			h.Destination = busName
		}
	default:
		h.Destination = t.uniqueName(k.DstID)
	}
	expects := k.Flags&abi.MsgExpectReply != 0
	agrees := false
	switch h.Type {
	case wire.TypeMethodCall:
		agrees = k.CookieReply == 0 && expects == (h.Flags&NoReplyExpected == 0)
	case wire.TypeMethodReturn, wire.TypeError:
		agrees = k.CookieReply != 0 && !expects
	case wire.TypeSignal:
		agrees = k.CookieReply == 0 && !expects
	}
	if !agrees || uint32(k.CookieReply) != h.ReplySerial || int64(h.UnixFDs) != int64(len(k.FDs)) {
		return errNotAMessage
	}
	h.Serial = uint32(k.Cookie)
	if len(m.body) != int(h.BodySize) {
		return errNotAMessage
	}
	return nil
}

// pick returns the descriptors with these numbers, and takes them out of fds. All must be there.
func pick(fds []int, numbers []int32) (picked []int, ok bool) {
	for _, n := range numbers {
		if n < 0 || int(n) >= len(fds) || fds[n] < 0 {
			return picked, false
		}
		picked = append(picked, fds[n])
		fds[n] = -1 // closing that does nothing
	}
	return picked, true
}

// cut makes a message of the pieces of a payload. A body that is in a memfd, behind a piece that is
// the header and no more, stays where it is.
func cut(pieces []abi.Payload, frame []byte, owned bool, fds []int) (*Message, error) {
	first := pieces[0]
	if first.Type == abi.ItemPayloadOff && !first.Zeros() && len(pieces) <= 2 {
		m := newMessage(frame[first.Offset:][:first.Size:first.Size], owned)
		failed := m.parse() != nil
		switch {
		case len(pieces) == 1 && failed:
			return m, errNotAMessage
		case len(pieces) == 1:
			return m, nil
		case !failed && len(m.body) == 0 && pieces[1].Type == abi.ItemPayloadMemfd && pieces[1].Size == uint64(m.header.BodySize):
			mapping, err := mapMemfd(pieces[1], fds)
			if err != nil {
				return m, err
			}
			if mapping != nil {
				m.mapping, m.body = mapping, mapping.data
				return m, nil
			}
		}
		m.recycle()
	}
	raw, err := joinPieces(pieces, frame, fds)
	if err != nil {
		return nil, err
	}
	m := &Message{raw: raw}
	if m.parse() != nil {
		return m, errNotAMessage
	}
	return m, nil
}

// joinPieces puts the pieces of a payload together.
func joinPieces(pieces []abi.Payload, frame []byte, fds []int) ([]byte, error) {
	total := uint64(0)
	for _, p := range pieces {
		if total += min(p.Size, wire.MaxMessageSize+1); total > wire.MaxMessageSize {
			return nil, errNotAMessage
		}
	}
	raw := make([]byte, 0, total)
	for _, p := range pieces {
		end := len(raw) + int(p.Size)
		switch {
		case p.Zeros():
		case p.Type == abi.ItemPayloadMemfd:
			fd, err := checkMemfd(p, fds)
			if err != nil {
				return nil, err
			}
			if err := readMemfd(fd, raw[len(raw):end], int64(p.Offset)); err != nil {
				return nil, err
			}
		default:
			copy(raw[len(raw):end], frame[p.Offset:])
		}
		raw = raw[:end]
	}
	return raw, nil
}

// checkMemfd returns the descriptor of a piece of payload that is what it says, and stays so. The
// bus has seen to that, but what is mapped and then cut off would end the program.
func checkMemfd(p abi.Payload, fds []int) (int, error) {
	if p.FD < 0 || int(p.FD) >= len(fds) || fds[p.FD] < 0 {
		return -1, errors.New("a memfd that did not come")
	}
	fd := fds[p.FD]
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&memfdSeals != memfdSeals {
		return -1, fmt.Errorf("a memfd that is not sealed (%v)", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return -1, fmt.Errorf("look at a memfd: %w", err)
	}
	if size := uint64(stat.Size); p.Offset > size || p.Size > size-p.Offset {
		return -1, fmt.Errorf("%d bytes at %d of a memfd of %d", p.Size, p.Offset, size)
	}
	return fd, nil
}

func readMemfd(fd int, b []byte, offset int64) error {
	for len(b) > 0 {
		n, err := unix.Pread(fd, b, offset)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("read a memfd: %w", err)
		case n == 0:
			return errors.New("a memfd ended early")
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

// mapping is a part of a memfd in memory, read-only. It lives as long as something refers to it,
// and not only to its data.
type mapping struct {
	data    []byte
	whole   []byte
	cleanup runtime.Cleanup
}

// mapMemfd maps a piece of payload. There is neither a mapping nor an error if it is better read:
// a file of huge pages can turn out to have none.
func mapMemfd(p abi.Payload, fds []int) (*mapping, error) {
	fd, err := checkMemfd(p, fds)
	if err != nil {
		return nil, err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || p.Size > wire.MaxMessageSize {
		return nil, nil
	}
	before := p.Offset % uint64(unix.Getpagesize())
	whole, err := unix.Mmap(fd, int64(p.Offset-before), int(before+p.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map a memfd: %w", err)
	}
	m := &mapping{data: slices.Clip(whole[before:]), whole: whole}
	m.cleanup = runtime.AddCleanup(m, func(b []byte) { unix.Munmap(b) }, whole)
	return m, nil
}

// release unmaps, when nobody refers to the data any more.
func (m *mapping) release() {
	m.cleanup.Stop()
	unix.Munmap(m.whole)
	m.data, m.whole = nil, nil
}
