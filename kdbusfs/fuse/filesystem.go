package fuse

// FileSystem is what a [Conn] asks. Its methods are called by the goroutine that reads requests, one at a time, except those
// of requests that were found to take long: so they have to be safe for concurrent use, and none but Ioctl may
// wait for anything. Errors that are no [syscall.Errno] are EIO to the caller.
type FileSystem interface {
	// Lookup finds what is called name in a directory. It counts as one time that the kernel was told the node.
	Lookup(directory uint64, name string) (Entry, error)
	// Forget takes back that the kernel was told of a node so many times.
	Forget(node, times uint64)
	// Getattr tells about a node.
	Getattr(node uint64) (Attr, error)
	// List lists a directory, without . and .. in it.
	List(directory uint64) ([]Dirent, error)
	// Open opens a file. ESTALE has the kernel look the name up again, and try with what it finds then.
	Open(node uint64, caller Caller) (Opened, error)
	// Release ends an open file, once.
	Release(node, handle uint64)
	// Read reads from a file that was opened with Cached: len(b) bytes, or fewer at its end.
	Read(handle uint64, b []byte, offset uint64) (int, error)
	// Poll returns what of poll(2) holds for an open file. If wakeup is not 0, the caller waits, and [Conn.WakePoll]
	// is to be called with it when that may have changed.
	Poll(handle uint64, wakeup uint64) (events uint32)
	// Ioctl answers an ioctl by its result, unless it has called r.Later and returns ErrLater.
	Ioctl(r *Request, i *Ioctl) error
}
