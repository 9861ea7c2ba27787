package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespaces says how the process is to be started: in namespaces of its own, with the same users and groups
// as far as this process can have them, and the capabilities that setting up takes.
func namespaces(noNetwork bool) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP},
		Pdeathsig:   syscall.SIGKILL,
	}
	if noNetwork {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	uid, gid := os.Geteuid(), os.Getegid()
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	if may, err := mayMapAll(); err != nil || !may {
		return attr, err
	}
	// All that there are, each to itself: files keep their owners.
	var err error
	if attr.UidMappings, err = identity("/proc/self/uid_map"); err != nil {
		return nil, err
	}
	if attr.GidMappings, err = identity("/proc/self/gid_map"); err != nil {
		return nil, err
	}
	attr.GidMappingsEnableSetgroups = true
	return attr, nil
}

// mayMapAll reports whether this process can give a user namespace users other than its own.
func mayMapAll() (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false, fmt.Errorf("find out the capabilities of this process: %w", err)
	}
	const needed = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETFCAP
	return os.Geteuid() == 0 && data[0].Effective|needed == data[0].Effective, nil
}

// identity reads a map of users or groups: user_namespaces(7).
func identity(path string) ([]syscall.SysProcIDMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("find out which users there are: %w", err)
	}
	defer f.Close()
	var maps []syscall.SysProcIDMap
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, size int
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		maps = append(maps, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	return maps, nil
}

// explainStart says what to do if the kernel does not let us make namespaces.
func explainStart(err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("start the sandbox: %w", err)
	}
	return fmt.Errorf("the kernel does not let user %d make a user namespace (%w): see the sysctls user.max_user_namespaces, "+
		"kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, and seccomp filters of containers", os.Geteuid(), err)
}
