// Package container runs the tests of a package on a machine of their own, in namespaces: they may
// install the bus under test where dbus-daemon is, have it serve the address of the system bus,
// start services that configure the machine, and leave all of them running. Nothing of that is
// seen outside, and everything ends with the tests.
//
// It needs root, and may not be where making namespaces is forbidden.
package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// Where Debian has what the bus under test takes the place of.
const (
	dbusDaemon   = "/usr/bin/dbus-daemon"
	launchHelper = "/usr/lib/dbus-1.0/dbus-daemon-launch-helper"
)

// The environment variables that tell this program what it is to do.
const (
	programs = "KDBUS_CONFORMANCE_PROGRAMS"  // be the first process of a container; where programs for it are
	inside   = "KDBUS_CONFORMANCE_CONTAINER" // run the tests
)

// Main is for the TestMain of a package: it runs the tests in a container in which dbus-daemon is
// the bus under test.
func Main(m *testing.M) {
	if os.Getenv(inside) != "" {
		testbus.Main(m)
	}
	work, what := enter, "making a container for the tests (which only root can, where namespaces may be made)"
	if _, is := os.LookupEnv(programs); is {
		work, what = first, "being the first process of a container"
	}
	code, err := work()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		code = 1
	}
	os.Exit(code)
}

// first furnishes the container, runs the tests and returns their exit code. Until then it buries
// processes that have lost their parents: some programs wait for those to be gone.
func first() (code int, err error) {
	if err := furnish(os.Getenv(programs)); err != nil {
		return 1, err
	}
	cmd, err := self(inside + "=yes")
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1, err
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus(), nil
		case pid == cmd.Process.Pid && status.Signaled():
			return 1, fmt.Errorf("the tests were ended by a signal: %v", status.Signal())
		}
	}
}

// self returns the command that runs this program again.
func self(env ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, os.Args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return cmd, nil
}

// enter runs this program as the first process of namespaces of its own and returns its exit code.
// Programs are built before, as there is no network inside.
func enter() (code int, err error) {
	dir, remove, err := testbus.Build()
	if err != nil {
		return 1, err
	}
	defer remove()
	env := []string{programs + "=" + dir}
	if dir != "" {
		env = append(env, "KDBUS_CONFORMANCE_BUS="+filepath.Join(dir, "kdbus"))
	}
	cmd, err := self(env...)
	if err != nil {
		return 1, err
	}
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// furnish makes the container what a machine looks like that has been booted, with systemd, in the
// eyes of programs that ask for that. Programs in dir take the place of Debian's.
func furnish(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mounting /run: %w", err)
	}
	for _, d := range []string{"dbus", "lock", "systemd/system"} {
		if err := os.MkdirAll(filepath.Join("/run", d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"/etc", "/var", "/tmp"} {
		if err := overlay(d, "/run/overlay"); err != nil {
			return err
		}
	}
	if err := loopback(); err != nil {
		return fmt.Errorf("bringing the network up: %w", err)
	}
	if dir == "" {
		return nil
	}
	if err := unix.Mount(filepath.Join(dir, "dbus-daemon"), dbusDaemon, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("replacing %s: %w", dbusDaemon, err)
	}
	return replaceHelper(filepath.Join(dir, "kdbus-launch-helper"))
}

// overlay lets a directory be changed without being changed. The changes are kept below another one.
func overlay(dir, changes string) error {
	upper, work := filepath.Join(changes, dir, "upper"), filepath.Join(changes, dir, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := os.Chmod(upper, info.Mode()); err != nil { // which the directory will have
		return err
	}
	if err := unix.Mount("overlay", dir, "overlay", 0, "lowerdir="+dir+",upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("mounting over %s: %w", dir, err)
	}
	return nil
}

// replaceHelper puts our program that starts services in the place of Debian's, with its owner and
// mode, as installing would.
func replaceHelper(program string) error {
	old, err := os.Stat(launchHelper)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(launchHelper, &st); err != nil {
		return err
	}
	if err := errors.Join(os.Chown(program, int(st.Uid), int(st.Gid)), os.Chmod(program, old.Mode())); err != nil {
		return err
	}
	if err := unix.Mount(program, launchHelper, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("replacing %s: %w", launchHelper, err)
	}
	return nil
}

// loopback brings the network up as far as there is one.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
