package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Go program cannot fork and go on: its threads would be missing. So it executes itself
// again, in a session of its own, and tells the copy in the environment the number of a
// descriptor by which to say that it is ready. Until then the copy has all that the
// original inherited, standard error too, and says itself what goes wrong.

const (
	readyVariable = "KDBUS_DAEMON_READY_FD"
	readyByte     = 'R'
)

// self is the program of this process, even if its file was replaced since.
const self = "/proc/self/exe"

// KeepName gives a process that was made by executing self the name that pgrep(1) and others know
// the program by, since the kernel calls it "exe".
func KeepName() error {
	const comm = "/proc/self/comm"
	name, err := os.ReadFile(comm)
	if err != nil || strings.TrimSpace(string(name)) != filepath.Base(self) {
		return err
	}
	return os.WriteFile(comm, []byte(filepath.Base(os.Args[0])), 0)
}

// Fork starts this program again with the same arguments and descriptors in a session of its
// own, and returns when that process says [Background.Ready], or with an error if it ends
// before: then it has said why.
func Fork() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	defer r.Close()
	defer w.Close()
	fd := int(w.Fd())
	// A number of its own: the places from 3 on may be taken by what we inherited.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	child, err := os.StartProcess(self, os.Args, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Env:   append(os.Environ(), readyVariable+"="+strconv.Itoa(fd)),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	w.Close()
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err == nil && b[0] == readyByte {
		return nil
	}
	state, err := child.Wait()
	switch {
	case err != nil:
		return fmt.Errorf("the process in the background ended before it was ready: %w", err)
	case state.Exited():
		return ErrNotReady
	}
	return fmt.Errorf("the process in the background ended before it was ready: %s", state)
}

// ErrNotReady is returned by Fork if the process in the background ended by itself before it was
// ready. It has said why.
var ErrNotReady = errors.New("the process in the background failed")

// Background is the side of [Fork] that stays.
type Background struct{ ready *os.File }

// InBackground returns nil unless this process was started by [Fork]. It has to be asked
// before this process starts any other. The sockets that systemd passed to the process that
// forked are this one's then.
func InBackground() *Background {
	value, ok := os.LookupEnv(readyVariable)
	if !ok {
		return nil
	}
	os.Unsetenv(readyVariable)
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil
	}
	unix.CloseOnExec(fd)
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getppid()) {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	return &Background{ready: os.NewFile(uintptr(fd), "descriptor to the process that forked")}
}

// Detach lets go of the working directory and of what standard input, output and error were.
// Standard error stays if keepError is set. The umask becomes 022, unless keepUmask is set.
func (b *Background) Detach(keepError, keepUmask bool) error {
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if !keepUmask {
		unix.Umask(0o022)
	}
	last := 2
	if keepError {
		last = 1
	}
	for fd := range last + 1 {
		if err := redirectToNull(fd); err != nil {
			return err
		}
	}
	return nil
}

// Ready lets [Fork] return. It fails if the process that forked is gone, which need not
// concern anybody.
func (b *Background) Ready() error {
	_, err := b.ready.Write([]byte{readyByte})
	return errors.Join(err, b.ready.Close())
}

// redirectToNull makes fd the null device.
func redirectToNull(fd int) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
		return fmt.Errorf("redirect descriptor %d to %s: %w", fd, os.DevNull, err)
	}
	return nil
}

// NoInput makes standard input the null device: a daemon reads nothing, and neither do the
// programs that it starts. Where there are no devices, as in a bare root directory, it is a pipe that
// nobody writes to.
func NoInput() error {
	err := redirectToNull(0)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	return unix.Dup3(int(r.Fd()), 0, 0)
}
