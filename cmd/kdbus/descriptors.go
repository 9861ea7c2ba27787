package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// descriptor is a file descriptor as a flag's value.
type descriptor int

// noDescriptor is the value of a descriptor flag that was not given.
const noDescriptor descriptor = -1

// Set is pflag.Value's.
func (d *descriptor) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return errors.New("a file descriptor is a number, 0 or more")
	}
	*d = descriptor(n)
	return nil
}

// String is pflag.Value's.
func (d *descriptor) String() string {
	if *d == noDescriptor {
		return ""
	}
	return strconv.Itoa(int(*d))
}

// Type is pflag.Value's.
func (*descriptor) Type() string { return "FD" }

// descriptors are files that whoever started the process opened for it to write to,
// by their numbers.
type descriptors map[descriptor]*os.File

// take checks and takes over the descriptor fd that flag names.
func (d descriptors) take(flag string, fd descriptor) error {
	switch {
	case fd == noDescriptor || d[fd] != nil:
		return nil
	case fd == 1:
		d[fd] = os.Stdout
		return nil
	case fd == 2:
		d[fd] = os.Stderr
		return nil
	}
	// A descriptor that is closed on exec was not there at exec: the Go runtime or a
	// library opened it since.
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return fmt.Errorf("%s=%d: the file descriptor is not open", flag, fd)
	}
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("%s=%d: %w", flag, fd, err)
	}
	if mode&unix.O_ACCMODE == unix.O_RDONLY {
		return fmt.Errorf("%s=%d: the file descriptor is open for reading only", flag, fd)
	}
	d[fd] = os.NewFile(uintptr(fd), fmt.Sprintf("file descriptor %d", fd))
	return nil
}

// print writes line to the descriptor fd, if that is one.
func (d descriptors) print(fd descriptor, line string) error {
	if fd == noDescriptor {
		return nil
	}
	_, err := d[fd].WriteString(line + "\n")
	return err
}

// close closes all descriptors but standard output and error, so that a reader sees
// the end.
func (d descriptors) close() error {
	var failed error
	for fd, file := range d {
		if fd > 2 {
			failed = errors.Join(failed, file.Close())
		}
	}
	return failed
}
