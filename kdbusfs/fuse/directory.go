package fuse

import "syscall"

// Directories are listed when they are opened, and anew when they are read from the beginning.

func (c *Conn) openDirectory(out []byte, node uint64) ([]byte, error) {
	list, err := c.list(node)
	if err != nil {
		return out, err
	}
	c.lists.Lock()
	c.lastDir++
	handle := c.lastDir
	c.opened[handle] = list
	c.lists.Unlock()
	return appendU32(appendU64(out, handle), 0, 0), nil
}

// list lists a directory with the two entries that all have.
func (c *Conn) list(node uint64) ([]Dirent, error) {
	list, err := c.fs.List(node)
	if err != nil {
		return nil, err
	}
	self, err := c.fs.Getattr(node)
	if err != nil {
		return nil, err
	}
	dots := []Dirent{{self.Ino, ".", syscall.S_IFDIR}, {self.Ino, "..", syscall.S_IFDIR}}
	return append(dots, list...), nil
}

func (c *Conn) readDirectory(out []byte, node uint64, in []byte) ([]byte, error) {
	handle, from, size := u64(in, 0), u64(in, 8), int(min(u32(in, 16), directoryReadBuffer))
	c.lists.Lock()
	list, ok := c.opened[handle]
	c.lists.Unlock()
	if !ok {
		return out, syscall.EBADF
	}
	if from == 0 {
		var err error
		if list, err = c.list(node); err != nil {
			return out, err
		}
		c.lists.Lock()
		c.opened[handle] = list
		c.lists.Unlock()
	}
	start := len(out)
	for i := from; i < uint64(len(list)); i++ {
		before := len(out)
		if out = appendDirent(out, &list[i], i+1); len(out)-start > size {
			return out[:before], nil
		}
	}
	return out, nil
}

// appendDirent appends a struct fuse_dirent, padded to 8 bytes. next is where to go on.
func appendDirent(out []byte, d *Dirent, next uint64) []byte {
	start := len(out)
	out = appendU64(out, d.Ino, next)
	out = appendU32(out, uint32(len(d.Name)), d.Mode&syscall.S_IFMT>>12)
	out = append(out, d.Name...)
	var zeros [8]byte
	return append(out, zeros[:-(len(out)-start)&7]...)
}
