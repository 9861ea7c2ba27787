// Package fuse is the kernel's protocol of file systems in user space, as far as a file system needs it whose files
// are there to be given ioctls, to be polled and to be mapped: fuse(4), linux/fuse.h.
//
// # Why a loop of its own
//
// No Go library has ioctl and poll together. hanwen/go-fuse has ioctl with the caller's pointer, and passthrough, but
// refuses POLL; bazil.org/fuse has poll and no ioctl; jacobsa/fuse has neither. And none lets the file system say which
// thread handles a request, which decides what an ioctl costs: handled by the thread that has read it, it is a few
// microseconds; handed to another goroutine, ten times that.
//
// # How the pieces fit
//
// [Mount] mounts a file system (mount.go) and returns a [Conn]. [Conn.Serve] reads requests and has a [FileSystem]
// handle them, each by the goroutine that has read it, in the order in which they arrive: RELEASE comes after the close(2)
// that caused it has returned, so what is read after it has to find the file closed (serve.go). A
// request that cannot be answered at once is answered later ([Request.Later]); a signal to who waits for it calls what
// was given to Later.
//
// What a request asks for may make its handler wait: an ioctl has it read the caller's memory, which can be on a file
// system that does not answer. So somebody watches: when a request takes longer than a moment, another goroutine
// goes on reading, and later requests of that user are each handled by a goroutine of their own for a while, so that whoever stalls
// stalls only himself (watch.go).
//
// notify.go is what the file system tells the kernel unasked, passthrough.go the files behind files. protocol.go has the numbers.
//
// # Trust
//
// The kernel writes requests, and is believed about who calls. Names in them are data of users. What is read is never longer
// than the buffer, and each part is judged against what has been read.
package fuse
