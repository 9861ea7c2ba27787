package transport

import (
	"github.com/kdbus-go/kdbus/bus"
)

// Protocol is what one peer speaks, from the first byte after its authentication. Its methods are
// called by one goroutine at a time, that which has the peer's turn; but Encode is called by whoever
// delivers to the peer, also one at a time.
type Protocol interface {
	// HeaderSize is how many bytes FrameSize looks at.
	HeaderSize() int
	// FrameSize returns the size of the frame that b begins with, header included, in bytes. An
	// error ends the connection.
	FrameSize(b []byte) (int, error)
	// MaxFDs is how many file descriptors may come with one frame; more end the connection.
	MaxFDs() int
	// Frame handles a complete frame. raw is valid during the call only, unless it is owned: then it
	// is the protocol's to keep, and to give back by calling free, if that is not nil, in any
	// case. An error ends the connection.
	Frame(raw []byte, owned bool, free func()) error
	// Encode makes what goes over the wire for a message from the peer's queue. It is called once
	// for each.
	Encode(e *Encoding, m *bus.Message)
}

// Encoding takes what goes over the wire for one message. Messages follow one another without
// anything between them.
type Encoding struct {
	head   []byte
	pieces [][]byte
	fds    []int
}

// Head appends bytes that make appends to the slice it is given.
func (e *Encoding) Head(make func(dst []byte) []byte) {
	from := len(e.head)
	e.head = make(e.head)
	e.Piece(e.head[from:len(e.head):len(e.head)])
}

// Piece appends bytes that stay as they are for as long as the message is there.
func (e *Encoding) Piece(b []byte) {
	if len(b) > 0 {
		e.pieces = append(e.pieces, b)
	}
}

// Pieces appends several.
func (e *Encoding) Pieces(list [][]byte) {
	for _, b := range list {
		e.Piece(b)
	}
}

// FDs appends descriptors that the message owns, to be passed on with its first byte; not more than
// 253 in all.
func (e *Encoding) FDs(fds ...int) { e.fds = append(e.fds, fds...) }

// reset empties e. Its memory is used again, unless that has become much.
func (e *Encoding) reset() {
	const kept = 64 << 10
	if cap(e.head) > kept {
		e.head = nil
	}
	clear(e.pieces)
	e.head, e.pieces, e.fds = e.head[:0], e.pieces[:0], e.fds[:0]
}

// Contents returns what goes over the wire: pieces of it, one behind the other, and descriptors that stay the
// message's. It is for who delivers by other means than a socket of this package.
func (e *Encoding) Contents() (pieces [][]byte, fds []int) { return e.pieces, e.fds }
