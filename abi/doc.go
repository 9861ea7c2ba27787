// Package abi is kdbus.h in Go: the commands of kdbus, their structs, items,
// flags and limits, as of its last version, and the codec between them and
// bytes. It is pure data: it does no I/O, keeps no state, and imports nothing
// of this module.
//
// # How the pieces fit
//
// A client asks for something with a command. Its number is a [Cmd], an ioctl
// number; its argument is one struct in memory:
//
//	size, flags, return_flags    8 bytes each, in every command
//	further fixed fields         of this command
//	items                        any number, each beginning at a multiple of 8:
//	                             size (8), type (8), data, padding
//
// Every command has a Go type of its own ([Hello], [NameAcquire], [MatchAdd],
// ...), whose fields are the struct's fields and what its items say. The type
// meets the interface [Command]: Append writes the struct, Decode reads and
// judges it. What the bus fills in is written over the client's own struct by
// PutReply (an ioctl does this), or sent as a struct by Append, and is read by
// DecodeReply.
//
// SEND comes in two structs: [Send] is the command, [Message] what it sends,
// which is also what arrives at the receiver, with the metadata asked for: see
// [Metadata]. What the bus tells about peers is an [Info], and what it lists are
// [ListEntry]s.
//
// Whoever needs less than this can walk over [Items].
//
// # Trust
//
// Decode takes a copy of the command that nobody else can write to, and
// believes no size and no offset in it. It judges everything that can be judged
// from the bytes alone, as the kernel did: sizes, alignment, unknown flags,
// items that this command does not know, items that may occur once and occur
// twice, strings without their end, flags that contradict each other. An error
// is an [*Error], with the errno kdbus gives. Left to the caller is what takes
// knowledge of the bus: privileges, quotas, whether a name or a connection
// exists, the bus's bloom size, what kind of connection is asking, and what a
// descriptor is.
//
// The kernel's last version is what is followed. Beyond it, BUS_MAKE and
// ENDPOINT_MAKE take items that the manual pages or earlier versions have (the
// comments there say which), and there are a few items of our own, beginning with
// [ItemMatchRule]. A few broken
// commands that the kernel did not notice are refused with EINVAL, most of them
// as the manual pages say: PIDS of a wrong size, policy items at a HELLO that has
// no name for them, a CONN_INFO for the empty name, and a call with cookie 0,
// which nobody can answer. Descriptors are limited to [MsgMaxFDs]; the quota of a
// user is the bus's.
//
// Decoding what the bus sends (DecodeReply, [Message.DecodeReceived],
// [Info.Decode], [ListEntries]) is as careful about sizes, but skips items it
// does not know, so that a newer bus can say more.
//
// # Byte order, ownership, concurrency
//
// Numbers are in the byte order of the machine: the ABI is for peers on one
// machine. Alignment is relative to the start of the struct; its own address
// does not matter.
//
// Append appends to the slice it is given and returns it, like the builtin.
// Decode and DecodeReply overwrite the value they are called on and copy what
// they keep. [Message] alone, being the hot path, keeps its slices for the next
// use and points into the bytes it was decoded from; it says so itself. Encoding
// and decoding a message do not allocate once its slices have grown.
//
// Nothing here is shared: a value may be read by several goroutines, and
// written by one.
//
// Names of manual pages in the comments are those of kdbus: kdbus.message(7).
package abi
