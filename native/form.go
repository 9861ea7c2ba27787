package native

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// What native peers send is for native peers to understand. It is looked into only if a D-Bus 1 peer
// is to get it, or has a match rule that it might meet, or if it is for the driver: then it has to be
// a D-Bus message, and one that agrees with what the sender told the bus.

// form is a payload as a D-Bus message.
type form struct {
	err    error // why it is none; then there is nothing else
	header wire.Header
	body   []byte
	files  [][]byte // mapped files, and
	spaces [][]byte // memory, to be unmapped with the message
}

// makeParts makes what can be made of the missing parts that take looking into the payload.
func (m *message) makeParts(missing bus.Parts) {
	if missing&bus.PartHeader != 0 && m.View == nil {
		m.View = m.readHeader()
	}
	if missing&(bus.PartView|bus.PartDBus1) == 0 {
		return
	}
	f := m.read()
	if f.err != nil {
		return
	}
	f.header.Sender = m.conn.bus.UniqueName()
	f.header.Destination = m.destination()
	if rules := m.conn.server.config.Rules; rules != nil && missing&bus.PartView != 0 {
		m.View = rules.View(&f.header, f.body)
	}
	if missing&bus.PartDBus1 != 0 {
		m.Payload = f.payload()
	}
}

// destination is where m goes, as D-Bus says it.
func (m *message) destination() string {
	switch {
	case m.DstName != "":
		return m.DstName
	case m.Dst == bus.Broadcast:
		return ""
	}
	return m.Dst.String()
}

// payload returns the message as D-Bus 1 peers get it: a header that says what is true and nothing
// else, and the body where it is. It is nil if the sender's name makes the message too long.
func (f *form) payload() [][]byte {
	const fixed = wire.HeaderFixedSize + 9*16 // nine fields, each with code, signature, length, NUL and padding
	h := &f.header
	size := fixed + len(h.Path) + len(h.Interface) + len(h.Member) + len(h.ErrorName) + len(h.Destination) +
		len(h.Sender) + len(h.Signature)
	head := h.Append(make([]byte, 0, size))
	if _, err := wire.MessageSize(head); err != nil {
		return nil
	}
	if len(f.body) == 0 {
		return [][]byte{head}
	}
	return [][]byte{head, f.body}
}

// read returns the payload as a D-Bus message, which it looks for once.
func (m *message) read() *form {
	if m.form != nil {
		return m.form
	}
	f := new(form)
	m.form = f
	if len(m.extra.Memfds) == 0 {
		f.err = f.parse(m)
	} else {
		m.conn.peer.TakeLong() // there is no knowing where the pages are, and how many
		f.err = guard(func() error { return f.parse(m) })
		f.relieve()
	}
	f.handOver(&m.Message)
	return f
}

// parse reads header and body of m.
func (f *form) parse(m *message) error {
	segments := m.extra.Segments
	if m.extra.PayloadType != uint64(abi.PayloadDBus) {
		return errors.New("the payload is not of the type DBusDBus")
	}
	if len(segments) == 0 {
		return errors.New("there is no payload")
	}
	total := uint64(0)
	for _, s := range segments {
		if total += min(s.Size, wire.MaxMessageSize+1); total > wire.MaxMessageSize {
			return errors.New("the payload is longer than a D-Bus message can be")
		}
	}
	if err := f.find(m, segments); err != nil {
		return err
	}
	h := &f.header
	if len(f.body) != int(h.BodySize) {
		return fmt.Errorf("the header says that the body has %d bytes, and it has %d", h.BodySize, len(f.body))
	}
	if err := wire.ValidateBody(h.Order, h.Signature, f.body); err != nil {
		return err
	}
	return m.agrees(h)
}

// find finds header and body. They stay where they are if each is in one piece.
func (f *form) find(m *message, segments []bus.Segment) error {
	first, err := f.bytes(m, segments[:1])
	if err != nil {
		return err
	}
	at, err := f.header.Parse(first)
	if errors.Is(err, wire.ErrShort) && len(segments) > 1 {
		if first, err = f.bytes(m, segments); err != nil {
			return err
		}
		at, err = f.header.Parse(first)
		segments = segments[:1]
	}
	if err != nil {
		return err
	}
	f.body = first[at:]
	switch {
	case len(segments) == 1:
	case len(f.body) == 0:
		f.body, err = f.bytes(m, segments[1:])
	default:
		rest := append([]bus.Segment{{Bytes: f.body, Size: uint64(len(f.body))}}, segments[1:]...)
		f.body, err = f.bytes(m, rest)
	}
	return err
}

// bytes returns segments in one piece: where they are, if it is one.
func (f *form) bytes(m *message, segments []bus.Segment) ([]byte, error) {
	if s := &segments[0]; len(segments) == 1 && s.Bytes != nil {
		return s.Bytes, nil
	} else if len(segments) == 1 && s.Memfd != 0 {
		return f.mapFile(m.extra.Memfds[s.Memfd-1], s.Offset, s.Size)
	}
	size := uint64(0)
	for _, s := range segments {
		size += s.Size
	}
	b, err := f.space(int(size))
	if err != nil {
		return nil, err
	}
	to := b
	for _, s := range segments {
		if s.Memfd != 0 {
			err = readFile(m.extra.Memfds[s.Memfd-1], to[:s.Size], s.Offset)
		} else {
			copy(to, s.Bytes) // zeros are there already
		}
		if err != nil {
			return nil, err
		}
		to = to[s.Size:]
	}
	return b, nil
}

// inHeap is the size up to which pieces are put together in memory of the heap, in bytes.
const inHeap = 64 << 10

// space returns zeros that can be written to.
func (f *form) space(size int) ([]byte, error) {
	if size <= inHeap {
		return make([]byte, size), nil
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("get memory for a message: %w", err)
	}
	f.spaces = append(f.spaces, b)
	return b, nil
}

// mapFile returns a range of a sealed memfd without reading it.
func (f *form) mapFile(fd int, offset, size uint64) ([]byte, error) {
	before := offset % pageSize
	b, err := unix.Mmap(fd, int64(offset-before), int(before+size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("look into a memfd: %w", err)
	}
	f.files = append(f.files, b)
	return b[before:], nil
}

// readFile reads all of b from a file.
func readFile(fd int, b []byte, offset uint64) error {
	for len(b) > 0 {
		n, err := unix.Pread(fd, b, int64(offset))
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("read a memfd: %w", err)
		case n == 0:
			return errors.New("read a memfd: it is shorter than it was")
		}
		b, offset = b[n:], offset+uint64(n)
	}
	return nil
}

// guard runs what reads mapped files. Pages of them can be missing for lack of memory, which must
// not be the end of the bus.
func guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = fmt.Errorf("read a memfd: there is no memory at %#x", fault.Addr())
		default:
			panic(fault)
		}
	}()
	return read()
}

// relieve lets go of the pages of mapped files: they stay where they are, without counting as ours,
// and are found again when they are needed.
func (f *form) relieve() {
	for _, b := range f.files {
		unix.Madvise(b, unix.MADV_DONTNEED)
	}
}

// handOver gives what is mapped to a message, to be unmapped with its last reference.
func (f *form) handOver(m *bus.Message) {
	maps, free := append(f.files, f.spaces...), m.Free
	if len(maps) == 0 {
		return
	}
	m.Free = func() {
		for _, b := range maps {
			unix.Munmap(b)
		}
		if free != nil {
			free()
		}
	}
}

// agrees tells whether a header says the same as the sender told the bus: D-Bus 1 peers, and match
// rules, go by the header.
func (m *message) agrees(h *wire.Header) error {
	expect, signal := m.Flags&bus.ExpectReply != 0, m.Flags&bus.Signal != 0
	quiet := h.Flags&wire.NoReplyExpected != 0
	answer := false
	switch h.Type {
	case wire.TypeSignal:
		if !signal {
			return errors.New("a signal, but not sent as one (KDBUS_MSG_SIGNAL)")
		}
	case wire.TypeMethodCall:
		if expect == quiet {
			return errors.New("the header and KDBUS_MSG_EXPECT_REPLY disagree on whether a reply is expected")
		}
	case wire.TypeMethodReturn, wire.TypeError:
		answer = true
		if m.ReplyCookie == 0 || uint32(m.ReplyCookie) != h.ReplySerial {
			return fmt.Errorf("the reply serial is %d, and cookie_reply is %d", h.ReplySerial, m.ReplyCookie)
		}
	default:
		return fmt.Errorf("messages of %v are unknown", h.Type)
	}
	switch {
	case signal != (h.Type == wire.TypeSignal):
		return fmt.Errorf("a %v that is sent as a signal", h.Type)
	case answer && expect:
		return errors.New("an answer to which a reply is expected")
	case !answer && m.ReplyCookie != 0:
		return fmt.Errorf("a %v with a cookie_reply", h.Type)
	case h.Serial != uint32(m.Cookie):
		return fmt.Errorf("the serial is %d, and the cookie is %d", h.Serial, m.Cookie)
	case h.UnixFDs != uint32(len(m.FDs)):
		return fmt.Errorf("the header has %d file descriptors, and the message %d", h.UnixFDs, len(m.FDs))
	case h.Destination != "" && h.Destination != m.DstName && !isUniqueName(h.Destination, m.Dst):
		return fmt.Errorf("the header goes to %s, and the message to %s", h.Destination, m.destination())
	}
	return nil
}

// isUniqueName reports whether s is the unique name of the connection with this id.
func isUniqueName(s string, id bus.ID) bool {
	digits, ok := strings.CutPrefix(s, ":1.")
	if !ok || id == bus.ToName || id == bus.Broadcast || digits == "" || digits[0] == '0' {
		return false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return err == nil && bus.ID(n) == id
}
