package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Options say how to mount.
type Options struct {
	// Source is what df(1) shows in its first column, Type what follows "fuse." in /proc/mounts.
	Source, Type string
	// Own admits nobody but the user who mounts it.
	Own bool
}

// Mount mounts a file system on a directory: by mount(2), or where that is not permitted by fusermount3(1). A dead one
// that is mounted there is unmounted first. The modes and owners of files decide who may open them.
func Mount(dir string, o Options) (*Conn, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := clearDead(dir); err != nil {
		return nil, err
	}
	c := &Conn{dir: dir}
	c.fd, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w; is the module fuse loaded, and may user %d open it?", err, os.Geteuid())
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,default_permissions", c.fd, os.Geteuid(), os.Getegid())
	if !o.Own {
		options += ",allow_other"
	}
	err = unix.Mount(o.Source, dir, "fuse."+o.Type, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options)
	if err == nil {
		c.others = !o.Own
		return c, nil
	}
	unix.Close(c.fd)
	if !errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("mount on %s: %w", dir, err)
	}
	c.helped = true
	return c, c.mountHelped(o)
}

// clearDead unmounts a file system whose server is gone.
func clearDead(dir string) error {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); !errors.Is(err, unix.ENOTCONN) {
		return nil // what is wrong with it, mount says
	}
	if unix.Unmount(dir, unix.MNT_DETACH) == nil {
		return nil
	}
	if err := runHelper("-u", "-z", dir); err != nil {
		return fmt.Errorf("unmount what a server that is gone has left on %s: %w", dir, err)
	}
	return nil
}

// helper is the program that may mount for others, which is set-user-ID root.
const helper = "fusermount3"

// mountHelped has the helper mount the file system. Whether others may use it is for /etc/fuse.conf to say.
func (c *Conn) mountHelped(o Options) error {
	common := "default_permissions,nosuid,nodev,noexec,fsname=" + o.Source + ",subtype=" + o.Type
	var err error
	if !o.Own {
		if c.fd, err = askHelper(c.dir, common+",allow_other"); err == nil {
			c.others = true
			return nil
		}
	}
	if c.fd, err = askHelper(c.dir, common); err != nil {
		return fmt.Errorf("mount on %s: mount(2) is for those with CAP_SYS_ADMIN, and %s: %w", c.dir, helper, err)
	}
	return nil
}

// askHelper returns /dev/fuse as the helper has opened and mounted it.
func askHelper(dir, options string) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	ours := pair[0]
	defer unix.Close(ours)
	theirs := os.NewFile(uintptr(pair[1]), "fuse helper")
	cmd := exec.Command(helper, "-o", options, "--", dir)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	err = runCommand(cmd)
	theirs.Close()
	if err != nil {
		return -1, err
	}
	return receiveDescriptor(ours)
}

// receiveDescriptor reads a byte with a descriptor from a socket.
func receiveDescriptor(socket int) (int, error) {
	control := make([]byte, unix.CmsgSpace(4))
	var b [1]byte
	_, n, _, _, err := unix.Recvmsg(socket, b[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return -1, errors.New("it has not passed /dev/fuse on")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("it has not passed /dev/fuse on")
	}
	return fds[0], nil
}

func runHelper(args ...string) error { return runCommand(exec.Command(helper, args...)) }

// runCommand runs a command; what it says on standard error is in the error.
func runCommand(cmd *exec.Cmd) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		if text := bytes.TrimSpace(said.Bytes()); len(text) > 0 {
			return fmt.Errorf("%w: %s", err, text)
		}
		return err
	}
	return nil
}

// ForOthers reports whether users other than the one who has mounted it can use the file system.
func (c *Conn) ForOthers() bool { return c.others }

// Unmount ends the file system: it disappears from its directory, who waits for an answer gets ECONNABORTED, whoever
// still has files open gets ENOTCONN, and Serve returns. It may be called again.
func (c *Conn) Unmount() error {
	var err error
	c.unmount.Do(func() { err = c.unmountNow() })
	return err
}

func (c *Conn) unmountNow() error {
	c.closing.Store(true)
	if c.helped {
		c.wakeReader()
		return runHelper("-u", "-z", "--", c.dir)
	}
	err := unix.Unmount(c.dir, unix.MNT_FORCE|unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) && c.ended.Load() {
		return nil // somebody else has unmounted it
	}
	if err != nil {
		c.wakeReader()
		return fmt.Errorf("unmount %s: %w", c.dir, err)
	}
	return nil
}

// wakeReader has a request arrive, so that who waits for one sees that there are to be no more.
func (c *Conn) wakeReader() {
	var fs unix.Statfs_t
	go unix.Statfs(c.dir, &fs)
}

// String names the connection in errors.
func (c *Conn) String() string { return "fuse connection " + strconv.Itoa(c.fd) + " on " + c.dir }
