package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// door is the socket that is put over others.
type door struct {
	fd   int // O_PATH: it leads there whatever is mounted above
	path string
}

// mountAll makes the mount namespace of this process, which is a copy of another, what c says.
func mountAll(c Config) error {
	// What is mounted outside from now on must not appear here, on top of what is covered.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	d, err := openDoor(c.Door)
	if err != nil {
		return err
	}
	defer unix.Close(d.fd)
	covers, err := plan(d.path, c)
	if err != nil {
		return err
	}
	for _, cover := range covers {
		if err := cover.mount(d); err != nil {
			return err
		}
	}
	return mountProc()
}

// openDoor opens the door itself.
func openDoor(name string) (*door, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, fmt.Errorf("find the endpoint: %w", err)
	}
	fd, err := unix.Open(real, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the endpoint %s: %w", real, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		unix.Close(fd)
		return nil, errors.Join(fmt.Errorf("the endpoint %s is no socket", real), err)
	}
	return &door{fd, real}, nil
}

// put mounts the door on a file.
func (d *door) put(on string) error {
	tree, err := unix.OpenTree(d.fd, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("take the endpoint %s to %s: %w", d.path, on, err)
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, on, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("put the endpoint %s on %s: %w", d.path, on, err)
	}
	return nil
}

// A cover is what is mounted on a file of the bus.
type cover struct {
	place string
	dir   bool
	doors []string // in a directory: where the door is to be, relative to it
}

// plan returns what to cover, without symbolic links, wherever it is mounted.
func plan(door string, c Config) ([]cover, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	sockets, err := resolve(append(c.Sockets, door))
	if err != nil {
		return nil, err
	}
	hidden, err := resolve(c.Hidden)
	if err != nil {
		return nil, err
	}
	// Outer ones first, which hide those within.
	slices.SortFunc(hidden, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	var covers []cover
	inHidden := func(name string) bool {
		return slices.ContainsFunc(covers, func(c cover) bool { _, ok := below(c.place, name); return ok })
	}
	add := func(name string, dir bool, doors []string) error {
		found, err := places(mounts, name)
		for _, place := range found {
			covers = append(covers, cover{place, dir, doors})
		}
		return err
	}
	for _, dir := range hidden {
		if inHidden(dir) {
			continue
		}
		var doors []string
		for _, s := range sockets {
			if rest, ok := below(dir, s); ok {
				doors = append(doors, rest[1:])
			}
		}
		if err := add(dir, true, doors); err != nil {
			return nil, err
		}
	}
	for _, s := range sockets {
		if s == door || inHidden(s) {
			continue
		}
		if err := add(s, false, nil); err != nil {
			return nil, err
		}
	}
	return covers, nil
}

// resolve returns the names without symbolic links, each once, of those files that exist and can be got at.
func resolve(names []string) ([]string, error) {
	var real []string
	for _, name := range names {
		r, err := filepath.EvalSymlinks(name)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, unix.ENOTDIR):
			continue // the program gets no further
		case err != nil:
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		if r, err = filepath.Abs(r); err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		if !slices.Contains(real, r) {
			real = append(real, r)
		}
	}
	return real, nil
}

// mount covers the file.
func (c cover) mount(d *door) error {
	if !c.dir {
		return d.put(c.place)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("tmpfs", c.place, "tmpfs", flags, "mode=0755,size=64k,nr_inodes=256"); err != nil {
		return fmt.Errorf("hide %s: %w", c.place, err)
	}
	for _, rest := range c.doors {
		at := path.Join(c.place, rest)
		if err := os.MkdirAll(path.Dir(at), 0o755); err != nil {
			return fmt.Errorf("hide %s: %w", c.place, err)
		}
		f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("hide %s: %w", c.place, err)
		}
		f.Close()
		if err := d.put(at); err != nil {
			return err
		}
	}
	if err := unix.Mount("", c.place, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("hide %s: %w", c.place, err)
	}
	return nil
}

// mountProc shows in /proc the processes of the namespace. Where the kernel does not permit that, as parts of
// /proc are covered, the old one stays: it lists processes outside, but as they are of another user
// namespace, nothing in there leads to them.
func mountProc() error {
	err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}
