// Package pcapng writes capture files of D-Bus messages in the format "PCAP Next Generation", which
// Wireshark and its relatives read: one section with one interface of link type 231, D-Bus, a packet
// for each message, with a comment if there is something to say, and at the end what was missed.
// Block numbers in the comments are those of draft-ietf-opsawg-pcapng.
package pcapng

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockPacket     = 6
	blockStatistics = 5

	byteOrderMagic = 0x1a2b3c4d
	linkTypeDBus   = 231

	optionEnd         = 0
	optionComment     = 1
	optionOS          = 3 // of a section
	optionApplication = 4
	optionName        = 2 // of an interface
	optionReceived    = 4 // of statistics
	optionDropped     = 5
)

// maxOption is the longest value of an option; comments are cut off there.
const maxOption = 1<<16 - 1

// Writer writes a capture file. It does not buffer, and is for one goroutine.
type Writer struct {
	w       io.Writer
	snaplen uint32
	block   []byte
	err     error
}

// NewWriter writes the beginning of a file. Of each message no more than snaplen bytes are kept. The
// bus is what the interface is called; application says what wrote the file.
func NewWriter(w io.Writer, snaplen uint32, bus, system, application string) (*Writer, error) {
	p := &Writer{w: w, snaplen: snaplen}
	p.begin(blockSection)
	p.u32(byteOrderMagic)
	p.u16(1) // version 1.0
	p.u16(0)
	p.u64(1<<64 - 1) // of unknown length
	p.option(optionOS, system)
	p.option(optionApplication, application)
	p.end()
	p.begin(blockInterface)
	p.u16(linkTypeDBus)
	p.u16(0)
	p.u32(snaplen)
	p.option(optionName, bus)
	p.end()
	return p, p.err
}

// Message writes a message: when it was sent, its bytes, and what else is known of it.
func (p *Writer) Message(at time.Time, message []byte, comment string) error {
	kept := message[:min(len(message), int(p.snaplen))]
	p.begin(blockPacket)
	p.u32(0) // the interface
	micro := uint64(at.UnixMicro())
	p.u32(uint32(micro >> 32))
	p.u32(uint32(micro))
	p.u32(uint32(len(kept)))
	p.u32(uint32(len(message)))
	p.bytes(kept)
	p.option(optionComment, comment)
	p.end()
	return p.err
}

// Close writes how many messages there were and how many were missed, as of a time. It does not
// close the file.
func (p *Writer) Close(at time.Time, received, missed uint64) error {
	p.begin(blockStatistics)
	p.u32(0)
	micro := uint64(at.UnixMicro())
	p.u32(uint32(micro >> 32))
	p.u32(uint32(micro))
	for _, count := range [...]struct {
		option uint16
		n      uint64
	}{{optionReceived, received}, {optionDropped, missed}} {
		p.u16(count.option)
		p.u16(8)
		p.u64(count.n)
	}
	p.end()
	return p.err
}

var order = binary.LittleEndian

func (p *Writer) u16(v uint16) { p.block = order.AppendUint16(p.block, v) }
func (p *Writer) u32(v uint32) { p.block = order.AppendUint32(p.block, v) }
func (p *Writer) u64(v uint64) { p.block = order.AppendUint64(p.block, v) }

// bytes writes bytes and their padding to a multiple of 4.
func (p *Writer) bytes(b []byte) {
	p.block = append(p.block, b...)
	for len(p.block)%4 != 0 {
		p.block = append(p.block, 0)
	}
}

// option writes an option, if it has a value.
func (p *Writer) option(number uint16, value string) {
	if value == "" {
		return
	}
	value = value[:min(len(value), maxOption)]
	p.u16(number)
	p.u16(uint16(len(value)))
	p.bytes([]byte(value))
}

// begin begins a block; its length is filled in at its end.
func (p *Writer) begin(kind uint32) {
	p.block = p.block[:0]
	p.u32(kind)
	p.u32(0)
}

// end ends the options and the block, and writes it.
func (p *Writer) end() {
	p.u16(optionEnd)
	p.u16(0)
	length := uint32(len(p.block) + 4)
	order.PutUint32(p.block[4:], length)
	p.u32(length)
	if p.err == nil {
		if _, err := p.w.Write(p.block); err != nil {
			p.err = fmt.Errorf("write the capture: %w", err)
		}
	}
}
