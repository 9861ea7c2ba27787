package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// busPID returns the process that listens on a socket.
func busPID(socket string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return 0, fmt.Errorf("connect to %s: %w; is a bus running there?", socket, err)
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, fmt.Errorf("ask who listens on %s: %w", socket, err)
	}
	// Who called listen is not always who serves: systemd listens for others.
	if cred.Pid <= 1 {
		return 0, fmt.Errorf("%s was made by process %d and not by the bus; give the bus's process id with --pid", socket, cred.Pid)
	}
	return int(cred.Pid), nil
}

// resident returns the resident memory of a process in bytes, shared pages included.
func resident(pid int) (int, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read the memory of the bus: %w", err)
	}
	return parseResident(path, data)
}

// parseResident finds the line "Rss: N kB" in data, which was read from path.
func parseResident(path string, data []byte) (int, error) {
	for line := range bytes.Lines(data) {
		f := bytes.Fields(line)
		if len(f) != 3 || string(f[0]) != "Rss:" {
			continue
		}
		kb, err := strconv.Atoi(string(f[1]))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("%s has no line Rss", path)
}

// settledMemory waits until the resident memory of a process no longer changes, or for
// a few seconds, and returns it.
func settledMemory(ctx context.Context, pid int) (int, error) {
	const pause, still, most = 50 * time.Millisecond, 4, 60
	last, same := -1, 0
	for range most {
		now, err := resident(pid)
		if err != nil {
			return 0, err
		}
		if same++; now != last {
			last, same = now, 0
		}
		if same == still {
			break
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return last, nil
}

// pin gives all threads of a process an affinity, and returns what gives them back the
// one that its main thread had.
func pin(pid int, cpus *unix.CPUSet) (restore func() error, err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &before); err != nil {
		return nil, fmt.Errorf("read the CPU affinity of the bus, process %d: %w", pid, err)
	}
	if err := setThreads(pid, cpus); err != nil {
		return nil, errors.Join(err, setThreads(pid, &before))
	}
	return func() error { return setThreads(pid, &before) }, nil
}

// setThreads sets the affinity of all threads of a process. A thread that is made
// meanwhile inherits it from another or is found by the second look.
func setThreads(pid int, cpus *unix.CPUSet) error {
	for range 2 {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || len(tasks) == 0 {
			return fmt.Errorf("list the threads of the bus: %w", errors.Join(err, fs.ErrNotExist))
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				return fmt.Errorf("list the threads of the bus: %w", err)
			}
			if err := unix.SchedSetaffinity(tid, cpus); err != nil && err != unix.ESRCH {
				return fmt.Errorf("set the CPU affinity of the bus, process %d: %w; run as its user or as root, or leave the pinned rows out with --only", pid, err)
			}
		}
	}
	return nil
}
