package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of /proc/PID/mountinfo: proc_pid_mountinfo(5).
type mount struct {
	id     uint64
	device string // "major:minor"
	root   string // the directory of the file system that is mounted
	point  string // where
}

// parseMounts reads a table of mounts.
func parseMounts(r io.Reader) ([]mount, error) {
	var mounts []mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // options of overlays can be long
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 6 {
			return nil, fmt.Errorf("a mount in %d fields: %q", len(f), lines.Text())
		}
		id, err := strconv.ParseUint(f[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the id of a mount: %w", err)
		}
		mounts = append(mounts, mount{id, f[2], unescape(f[3]), unescape(f[4])})
	}
	return mounts, lines.Err()
}

// unescape undoes how blanks and the like are written there: a backslash and three octal digits.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// readMounts returns the mounts of this process.
func readMounts() ([]mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find out what is mounted: %w", err)
	}
	defer f.Close()
	mounts, err := parseMounts(f)
	if err != nil {
		return nil, fmt.Errorf("find out what is mounted: %w", err)
	}
	return mounts, nil
}

// below returns what is left of file without dir, with "/" before it, or "" for dir itself.
func below(dir, file string) (rest string, ok bool) {
	dir = strings.TrimSuffix(dir, "/")
	rest, ok = strings.CutPrefix(file, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// places returns all paths of a file: one for each mount of its file system that has it and that nothing
// covers. name has no symbolic links; it is one of them.
func places(mounts []mount, name string) ([]string, error) {
	var file unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_MNT_ID, &file); err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	found := []string{name}
	for _, home := range mounts {
		if home.id != file.Mnt_id {
			continue
		}
		rest, ok := below(home.point, name)
		if !ok {
			return nil, fmt.Errorf("%s is of the mount at %s, where it cannot be", name, home.point)
		}
		inner := path.Join(home.root, rest)
		for _, m := range mounts {
			rest, ok := below(m.root, inner)
			other := path.Join(m.point, rest)
			if !ok || m.device != home.device || other == name {
				continue
			}
			switch same, err := isFile(other, &file); {
			case err != nil:
				return nil, err
			case same:
				found = append(found, other)
			}
		}
		return found, nil
	}
	return nil, fmt.Errorf("the mount of %s is not in the table of mounts", name)
}

// isFile reports whether name is a file.
func isFile(name string, file *unix.Statx_t) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO, &st)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return false, nil // something else is mounted above
	case errors.Is(err, unix.EACCES):
		return false, nil // nor can the program get there
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", name, err)
	}
	return st.Ino == file.Ino && st.Dev_major == file.Dev_major && st.Dev_minor == file.Dev_minor, nil
}
