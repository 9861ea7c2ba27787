package kdbusfs

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/kdbusfs/fuse"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
)

// command is one ioctl.
type command struct {
	file    *file
	request *fuse.Request
	memory  memory
	cmd     abi.Cmd
	at      uint64 // where its struct is
	frame   []byte // see native.Exchange
	message uint64 // where the message of a SEND is
	fds     []int  // that come with it
	placed  []uint64
}

// Offsets in the structs.
const (
	offReturnFlags = 16
	offMessage     = 24 // in kdbus_cmd_send
	offPoolSize    = 56 // in kdbus_cmd_hello
	sizeMessage    = 64
	sizeItem       = 16
	offType        = 8
	offVecAddress  = sizeItem + 8
	offMemfd       = sizeItem + 16
)

func u64(b []byte) uint64       { return binary.NativeEndian.Uint64(b) }
func putU64(b []byte, v uint64) { binary.NativeEndian.PutUint64(b, v) }
func align8(n int) int          { return (n + 7) &^ 7 }

// read copies the command out of its caller's memory. head is its beginning as the kernel has read it, if it has.
func (c *command) read(head []byte) error {
	var err error
	c.frame, err = c.readStruct(make([]byte, abi.FrameHeaderSize, 512), c.at, head, c.cmd.FixedSize(), c.cmd.Size)
	if err != nil {
		return err
	}
	if c.cmd != abi.CmdSend {
		return nil
	}
	var send abi.Send
	if send.Decode(c.frame[abi.FrameHeaderSize:]) != nil {
		return nil // which is said when it is carried out, if it is
	}
	c.message = send.MsgAddress
	return c.readMessage(&send)
}

// readStruct appends a struct in memory to b: fixed bytes of it at once, and then as much as it says itself.
func (c *command) readStruct(b []byte, at uint64, head []byte, fixed int, sizeOf func([]byte) (int, error)) ([]byte, error) {
	if at%8 != 0 {
		return nil, syscall.EFAULT // as the kernel had it
	}
	start := len(b)
	b = append(b, make([]byte, fixed)...)
	if len(head) == fixed {
		copy(b[start:], head)
	} else if n, err := c.memory.read(b[start:], at); n < 8 {
		return nil, err
	} else if err != nil {
		if _, wrong := sizeOf(b[start : start+n]); wrong != nil {
			return nil, native.Errno(wrong)
		}
		return nil, err
	}
	size, err := sizeOf(b[start:])
	if err != nil {
		return nil, native.Errno(err)
	}
	if rest := size - fixed; rest > 0 {
		b = append(b, make([]byte, rest)...)
		if _, err := c.memory.read(b[start+fixed:], at+uint64(fixed)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// pad8 adds zeros until b, behind the header, is a multiple of 8 long.
func pad8(b []byte) []byte {
	var zeros [8]byte
	return append(b, zeros[:-len(b)&7]...)
}

// readMessage copies a message, and its payload behind it, and makes of it what SEND has in a frame.
func (c *command) readMessage(send *abi.Send) error {
	start := align8(len(c.frame))
	frame, err := c.readStruct(pad8(c.frame), c.message, nil, sizeMessage, abi.MessageSize)
	if err != nil {
		return err
	}
	size := len(frame) - start
	var m abi.Message
	if err := m.DecodeSent(frame[start:], send.Flags); err != nil || m.Negotiate.Probe || send.Negotiate.Asked() {
		c.frame = frame // whatever is wrong, or asked, is for native to say
		return nil
	}
	frame = pad8(frame)
	total := 0
	var pieces []unix.RemoteIovec
	for i := range m.Payload {
		p := &m.Payload[i]
		if p.Type != abi.ItemPayloadVec || p.Zeros() {
			continue
		}
		if p.Offset+p.Size < p.Offset {
			return syscall.EFAULT
		}
		pieces = append(pieces, unix.RemoteIovec{Base: uintptr(p.Offset), Len: int(p.Size)})
		total += int(p.Size)
	}
	payload := len(frame)
	if total > 0 {
		frame = append(frame, make([]byte, total)...)
		if _, err := c.memory.readPieces(frame[payload:], pieces); err != nil {
			return err
		}
	}
	c.frame = frame
	numbers := relocate(frame[start:start+size], uint64(payload-start))
	return c.takeDescriptors(numbers)
}

// relocate puts offsets into a message in place of addresses, and numbers in place of descriptors, which it returns.
func relocate(message []byte, payload uint64) (fds []int32) {
	number := func(b []byte) {
		fds = append(fds, int32(binary.NativeEndian.Uint32(b)))
		binary.NativeEndian.PutUint32(b, uint32(len(fds)-1))
	}
	for at := sizeMessage; at+sizeItem <= len(message); {
		item := message[at:]
		size := int(u64(item))
		at += align8(size)
		switch abi.ItemType(u64(item[offType:])) {
		case abi.ItemPayloadVec:
			if u64(item[offVecAddress:]) != 0 {
				putU64(item[offVecAddress:], payload)
				payload += u64(item[sizeItem:])
			}
		case abi.ItemPayloadMemfd:
			number(item[offMemfd:])
		case abi.ItemFDs:
			for i := sizeItem; i+4 <= size; i += 4 {
				number(item[i:])
			}
		}
	}
	return fds
}

// takeDescriptors gets descriptors of the caller.
func (c *command) takeDescriptors(numbers []int32) error {
	if len(numbers) == 0 {
		return nil
	}
	if len(numbers) > abi.FrameMaxFDs {
		return syscall.EMFILE
	}
	thread, err := unix.PidfdOpen(int(c.memory), unix.PIDFD_THREAD)
	if err != nil {
		return syscall.EBADF
	}
	defer unix.Close(thread)
	for _, number := range numbers {
		fd, err := unix.PidfdGetfd(thread, int(number), 0)
		if err == nil {
			c.fds = append(c.fds, fd)
			err = c.file.fs.mayPass(fd)
		} else if err != syscall.EBADF && err != syscall.EMFILE {
			err = syscall.EBADF
		}
		if err != nil {
			c.discard()
			return err
		}
	}
	return nil
}

// discard gives up what was taken of the caller for a command that is not run.
func (c *command) discard() {
	if len(c.fds) > 0 {
		bus.CloseDescriptors(bus.PayerOf(c.request.UID), c.fds)
		c.fds = nil
	}
}

// Place implements native.Pool. What is placed is given back if the client is not told of it.
func (c *command) Place(pieces [][]byte, skip int) (uint64, error) {
	p := c.file.pool
	if c.cmd == abi.CmdHello {
		if err := p.resize(u64(c.frame[abi.FrameHeaderSize+offPoolSize:])); err != nil {
			return 0, err
		}
	}
	offset, err := p.Place(pieces, skip)
	if err == nil {
		c.placed = append(c.placed, offset)
	}
	return offset, err
}

// Size implements native.Pool.
func (c *command) Size() uint64 { return c.file.pool.Size() }

// run has the command carried out, and answers it.
func (c *command) run() error {
	caller := c.request.Caller
	x := &native.Exchange{
		Cmd: c.cmd, Frame: c.frame, FDs: c.fds, Pool: c,
		Collect: func(want meta.Kinds) meta.Data { return collect(caller, want) },
	}
	if c.waits() {
		return c.runWaiting(x)
	}
	err := c.file.handle.Exec(x)
	if err == nil && c.cmd == abi.CmdFree {
		err = c.free(x)
	}
	c.request.Results()
	return c.finish(x, err)
}

// waits reports whether the command is answered by the reply to a message.
func (c *command) waits() bool {
	const offFlags = abi.FrameHeaderSize + 8
	return c.cmd == abi.CmdSend && u64(c.frame[offFlags:])&uint64(abi.SendSyncReply) != 0
}

// runWaiting has a call made by a goroutine of its own, which waits for the reply.
func (c *command) runWaiting(x *native.Exchange) error {
	var interrupt interruption
	later := c.request.Later(interrupt.raise)
	x.Interrupt = interrupt.set
	go func() { later.Result(c.finish(x, c.file.handle.Exec(x))) }()
	return fuse.ErrLater
}

// finish puts the results where the caller finds them.
func (c *command) finish(x *native.Exchange, failed error) error {
	err := c.writeBack(x, failed)
	if err != nil && c.file.pool != nil {
		for _, offset := range c.placed {
			c.file.pool.free(offset)
		}
	}
	c.file.handle.Settle(x, err == nil)
	if err == nil && failed != nil {
		return native.Errno(failed)
	}
	return err
}

// writeBack writes to the caller's memory what was filled in of its struct, and nothing else.
func (c *command) writeBack(x *native.Exchange, failed error) error {
	end := c.cmd.FixedSize()
	from := offReturnFlags
	switch {
	case x.All && failed == nil:
		from, end = 0, len(x.Struct)
	case failed != nil && c.cmd != abi.CmdRecv || len(x.Struct) < end:
		return c.memory.write(make([]byte, 8), c.at+offReturnFlags)
	}
	return c.memory.write(x.Struct[from:end], c.at+uint64(from))
}

// free gives a slice of the pool back: kdbus.pool(7).
func (c *command) free(x *native.Exchange) error {
	var free abi.Free
	if err := free.Decode(x.Struct); err != nil {
		return err
	}
	if free.Negotiate.Asked() {
		probe, err := c.cmd.Negotiate(x.Struct)
		if x.All = err == nil; probe || err != nil {
			return err
		}
	}
	if p := c.file.pool; free.Offset != p.Size() && !p.free(free.Offset) { // the end is where nothing is
		return syscall.ENXIO
	}
	return nil
}
