// Package kdbusfs is the file system of kdbus, for programs that were built for the kernel's: they open a file, give it
// ioctls, map the pool and poll, and find themselves on the same buses as everybody else. It is mounted by way of FUSE:
// no kernel module is needed.
//
//	control          makes buses
//	0-system/        a bus
//	0-system/bus     its default endpoint
//	0-system/0-door  a custom one
//
// # How the pieces fit
//
// Package fuse below this one speaks with the kernel, and says why we do that ourselves. A [FS] is what is mounted: node.go has the
// files and directories, which are asked for in a [Directory] each time, so that buses and endpoints are there and
// gone at once; file.go the open files. A file that is open has a [native.Handle], which runs the
// commands: they are those of the native protocol, and so is what becomes of messages. What is here is how a command gets out of its
// caller's memory (command.go, memory.go), what is known of that caller (caller.go), and where its results go (pool.go).
//
// # Pools
//
// Each open file has a memory file of its own behind it, and what a client maps of the one is that of the other: results that are
// written there are in the client's memory, copied once. For that, an endpoint is another file, to the kernel, each time it is
// opened: every look-up gives it a new number, and one that is open already is not opened again (ESTALE has the
// kernel look it up anew). It takes CAP_SYS_ADMIN. Without, results go through the page cache, which is one copy more.
//
// Which parts of a pool are used is known in our memory only. The client could write to its pool; it is never read.
//
// # Memory of others
//
// While a thread waits in its ioctl, its memory is read by process_vm_readv(2), by the number that the kernel gives. That is
// done by the privilege of the daemon, so:
//
//   - A command's size is read once, judged, and what is read then is that long. Commands, messages and payload have limits: 32 KiB, 32 KiB
//     and 2 MiB. Whatever else is judged is judged in our copy, which is never read again.
//   - Nothing is written but the results of the command, into the struct that it came in.
//   - No lock is held while memory of a client is touched, neither of the bus nor of the file: it can be memory for which the client
//     itself has to provide (userfaultfd(2), files of FUSE). Package fuse sees to it that only that client waits.
//   - Descriptors are taken by pidfd_getfd(2) of the very thread, and what kdbus refuses to pass is refused.
//
// # What it leaves to others
//
// What commands do is package native's, and the core's below that; which buses there are is the daemon's to say.
package kdbusfs
