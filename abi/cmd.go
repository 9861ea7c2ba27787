package abi

import "fmt"

// Cmd is the number of a command: the ioctl number that kdbus.h gives it on
// this architecture.
type Cmd uint32

// The commands. Those to 0x0f are given to a domain's control file, those to
// 0x1f to an endpoint whose handle makes or owns a custom one, the others to an
// endpoint: HELLO first.
const (
	CmdBusMake        = Cmd(iocW | sizeCmd<<16 | (iocMagic + 0x00))
	CmdEndpointMake   = Cmd(iocW | sizeCmd<<16 | (iocMagic + 0x10))
	CmdEndpointUpdate = Cmd(iocW | sizeCmd<<16 | (iocMagic + 0x11))
	CmdHello          = Cmd(iocRW | sizeHello<<16 | (iocMagic + 0x80))
	CmdUpdate         = Cmd(iocW | sizeCmd<<16 | (iocMagic + 0x81))
	CmdByeBye         = Cmd(iocW | sizeCmd<<16 | (iocMagic + 0x82))
	CmdFree           = Cmd(iocW | sizeFree<<16 | (iocMagic + 0x83))
	CmdConnInfo       = Cmd(iocR | sizeCmdInfo<<16 | (iocMagic + 0x84))
	CmdBusCreatorInfo = Cmd(iocR | sizeCmdInfo<<16 | (iocMagic + 0x85))
	CmdList           = Cmd(iocR | sizeList<<16 | (iocMagic + 0x86))
	CmdSend           = Cmd(iocW | sizeSend<<16 | (iocMagic + 0x90))
	CmdRecv           = Cmd(iocR | sizeRecv<<16 | (iocMagic + 0x91))
	CmdNameAcquire    = Cmd(iocW | sizeCmd<<16 | (iocMagic + 0xa0))
	CmdNameRelease    = Cmd(iocW | sizeCmd<<16 | (iocMagic + 0xa1))
	CmdMatchAdd       = Cmd(iocW | sizeMatch<<16 | (iocMagic + 0xb0))
	CmdMatchRemove    = Cmd(iocW | sizeMatch<<16 | (iocMagic + 0xb1))
)

// iocMagic is the type of kdbus's ioctls, in its place in the number.
const iocMagic = 0x95 << 8

// Sizes of the structs without their items, in bytes.
const (
	sizeCmd     = 24 // struct kdbus_cmd
	sizeFree    = 32 // struct kdbus_cmd_free
	sizeMatch   = 32 // struct kdbus_cmd_match
	sizeList    = 40 // struct kdbus_cmd_list
	sizeCmdInfo = 56 // struct kdbus_cmd_info
	sizeSend    = 56 // struct kdbus_cmd_send
	sizeRecv    = 64 // struct kdbus_cmd_recv
	sizeHello   = 96 // struct kdbus_cmd_hello
	sizeMessage = 64 // struct kdbus_msg
	sizeInfo    = 24 // struct kdbus_info
	sizeItem    = 16 // struct kdbus_item without data
)

// Offsets of the fields that every command has.
const (
	offSize        = 0
	offFlags       = 8
	offReturnFlags = 16
)

func (c Cmd) String() string {
	if s := c.shape(); s != nil {
		return s.name
	}
	switch c {
	case CmdBrief:
		return "BRIEF"
	case CmdBroadcast:
		return "BROADCAST"
	case CmdRefused:
		return "REFUSED"
	}
	return fmt.Sprintf("command %#x", uint32(c))
}

// FixedSize returns the size of the command's struct without items, in bytes,
// or 0 if there is no such command. It is what a bus writes back.
func (c Cmd) FixedSize() int {
	if s := c.shape(); s != nil {
		return s.size
	}
	return 0
}

// Size returns the size of a command from its first 8 bytes, for whoever has to
// fetch the rest. It is between FixedSize and CmdMaxSize; the error is EINVAL or
// EMSGSIZE, or ENOTTY if there is no such command.
func (c Cmd) Size(head []byte) (int, error) {
	s := c.shape()
	if s == nil {
		return 0, noSuch(c)
	}
	n, f := s.commandSize(head)
	if f.errno != 0 {
		return 0, f.at(s.name, offSize, 0)
	}
	return n, nil
}

// MessageSize returns the size of a message being sent from its first 8 bytes,
// like [Cmd.Size].
func MessageSize(head []byte) (int, error) {
	n, f := sentMessageShape.commandSize(head)
	if f.errno != 0 {
		return 0, f.at(sentMessageShape.name, offSize, 0)
	}
	return n, nil
}

// Command is what the types of the commands have in common.
type Command interface {
	// Cmd returns the number of the command.
	Cmd() Cmd
	// Decode reads a request from the bytes of the struct, all of them and no
	// more. On an error the value is of no use.
	Decode(b []byte) error
	// Append appends the struct to dst and returns the result. A value that
	// breaks the rules is written as it is, for the other side to refuse.
	Append(dst []byte) []byte
}
