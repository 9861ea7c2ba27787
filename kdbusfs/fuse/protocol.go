package fuse

import (
	"encoding/binary"
	"syscall"
)

// The version that is spoken: linux/fuse.h 7.40 has passthrough.
const (
	version      = 7
	minorVersion = 40
	oldestMinor  = 31 // of Linux 5.4; older ones have shorter structs
)

// opcode says what a request is.
type opcode uint32

const (
	opLookup      opcode = 1
	opForget      opcode = 2
	opGetattr     opcode = 3
	opSetattr     opcode = 4
	opOpen        opcode = 14
	opRead        opcode = 15
	opStatfs      opcode = 17
	opRelease     opcode = 18
	opFlush       opcode = 25
	opInit        opcode = 26
	opOpendir     opcode = 27
	opReaddir     opcode = 28
	opReleasedir  opcode = 29
	opInterrupt   opcode = 36
	opDestroy     opcode = 38
	opIoctl       opcode = 39
	opPoll        opcode = 40
	opBatchForget opcode = 42
)

// Sizes of structs, in bytes.
const (
	sizeIn       = 40 // fuse_in_header
	sizeOut      = 16 // fuse_out_header
	sizeAttr     = 88
	sizeEntry    = 40 + sizeAttr
	sizeAttrOut  = 16 + sizeAttr
	sizeStatfs   = 80
	sizeInitOut  = 64
	sizeOpenOut  = 16
	sizeIoctlIn  = 32
	sizeIoctlOut = 16
	sizePollIn   = 24
	sizePollOut  = 8
	sizeDirent   = 24 // without the name
)

// Flags of INIT. Those from bit 32 on are in a word of their own.
const (
	initAsyncRead    = 1 << 0
	initParallelDirs = 1 << 18
	initAbortError   = 1 << 21
	initMaxPages     = 1 << 22
	initExt          = 1 << 30
	initPassthrough  = 1 << 37
)

// Flags of OPEN.
const (
	openDirectIO    = 1 << 0
	openKeepCache   = 1 << 1
	openNoFlush     = 1 << 5
	openPassthrough = 1 << 7
)

const (
	ioctlDir            = 1 << 4 // of a directory
	pollScheduleNotify  = 1 << 0
	notifyPoll          = 1
	notifyStore         = 4
	restartSys          = 512 // ERESTARTSYS of the kernel: a signal has come, and the call may be made again
	maxErrno            = 511 // the kernel refuses larger ones, and who waits would wait for ever
	maxDescribedResult  = 4095
	compatIoctl         = 1<<0 | 1<<3 | 1<<5
	setattrSize         = 1 << 3
	setattrHarmless     = setattrSize | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<9 | 1<<10 // and times
	directoryReadBuffer = 1 << 20
)

// RootID is the node id of the root directory.
const RootID = 1

// Attr is what stat(2) tells.
type Attr struct {
	Ino      uint64
	Size     uint64
	Mode     uint32 // with the type of file
	Nlink    uint32
	UID, GID uint32
	Time     int64 // of all times that a file has: nanoseconds since 1970
}

func (a *Attr) append(b []byte) []byte {
	const blockSize = 4096
	b = appendU64(b, a.Ino, a.Size, (a.Size+511)/512)
	seconds, nanoseconds := uint64(a.Time/1e9), uint32(a.Time%1e9)
	b = appendU64(b, seconds, seconds, seconds)
	b = appendU32(b, nanoseconds, nanoseconds, nanoseconds)
	return appendU32(b, a.Mode, a.Nlink, a.UID, a.GID, 0, blockSize, 0)
}

// Caller is who has made a system call, as numbered where the file system was mounted.
type Caller struct {
	UID, GID uint32 // of the file system, which are nearly always the effective ones
	TID      uint32 // of the calling thread; 0 if it cannot be seen from here
}

// Entry is what is found under a name.
type Entry struct {
	Node uint64 // id: the kernel forgets it as often as it was told it
	Attr Attr
}

// Dirent is a line of a directory.
type Dirent struct {
	Ino  uint64
	Name string
	Mode uint32 // the type is looked at
}

// Opened is an open file.
type Opened struct {
	Handle uint64 // chosen by the file system
	// Backing is the file behind the file, from [Conn.OpenBacking]: what is mapped is that. 0 for none.
	Backing int32
	// Cached has the kernel keep what it has read and was told by [Conn.Store], which is what is mapped.
	Cached bool
}

// Ioctl is one call of ioctl(2).
type Ioctl struct {
	Node, Handle uint64
	Cmd          uint32
	Arg          uint64 // the caller's pointer, unchanged
	Compat       bool   // the caller is a 32-bit program
	Input        []byte // what the kernel has read at Arg, as long as Cmd says; valid during the request
}

func u32(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
func u64(b []byte, at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }

func appendU32(b []byte, list ...uint32) []byte {
	for _, v := range list {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

func appendU64(b []byte, list ...uint64) []byte {
	for _, v := range list {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

// errnoOf returns an error as a number that the kernel takes.
func errnoOf(err error) syscall.Errno {
	errno, ok := err.(syscall.Errno)
	if !ok || errno == 0 || errno > maxErrno {
		return syscall.EIO
	}
	return errno
}
