package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// PIDFile is a file with the id of this process, for init scripts.
type PIDFile struct {
	path    string
	content string
}

// PIDFileError is the error about a file that is there already, worded as dbus-daemon words it.
type PIDFileError struct{ Path string }

func (e *PIDFileError) Error() string {
	return fmt.Sprintf("The pid file \"%s\" exists, if the message bus is not running, remove this file", e.Path)
}

// CheckPIDFile tells whether there may be a daemon of which path has the id, which is a [*PIDFileError].
// The file that one left behind which was killed is no hindrance: it names no process.
// Daemons check before they open sockets, since those of the other daemon would suffer.
func CheckPIDFile(path string) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case isStale(path):
		return nil
	}
	return &PIDFileError{path}
}

// isStale reports whether path is a regular file with the id of a process that does not exist.
func isStale(path string) bool {
	const longest = 32
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false
	}
	b, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return false
	}
	pid, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 32)
	return err == nil && pid > 0 && errors.Is(unix.Kill(int(pid), 0), unix.ESRCH)
}

// WritePIDFile makes the file path with the id of this process, in place of one that
// [CheckPIDFile] calls no hindrance.
func WritePIDFile(path string) (*PIDFile, error) {
	if err := CheckPIDFile(path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("failed to open %q: %w", path, errors.Unwrap(err))
	}
	content := fmt.Sprintf("%d\n", os.Getpid())
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &PIDFile{path: path, content: content}, nil
}

// Remove removes the file, unless it has gone or another took its place. A daemon that has become
// another user may not be able to; the file says then that its daemon is gone.
func (f *PIDFile) Remove() error {
	now, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(now) != f.content {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(f.path)
}
