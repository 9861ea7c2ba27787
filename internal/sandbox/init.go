package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalBase is added to the number of a signal that ended a program, as shells do.
const signalBase = 128

// runInit starts the program argv and returns its exit code. It is the first process of its namespace: when it
// returns, and the process ends, so does whatever else is there.
func runInit(control *os.File, argv []string) (code int, err error) {
	if err := dieWithParent(); err != nil {
		return 0, err
	}
	// Nothing of this process concerns the program, which has the same privileges: none.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("keep others from this process: %w", err)
	}
	unix.CloseOnExec(controlFD)
	// Those of a terminal's keys reach the program by themselves; the others come by the control socket.
	// Caught and not ignored, since the program would inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)

	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, startError(argv[0], err)
	}
	program, err := os.StartProcess(path, argv, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 0, startError(argv[0], err)
	}
	if err := unix.Shutdown(controlFD, unix.SHUT_WR); err != nil { // all is well
		return 0, fmt.Errorf("report the start: %w", err)
	}
	go passOn(control, program.Pid)
	return reap(program.Pid)
}

// startError says why name was not started.
func startError(name string, err error) error {
	e := &StartError{NotFound: errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist)}
	if wrapped, ok := errors.AsType[*exec.Error](err); ok {
		err = wrapped.Err
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	e.Text = fmt.Sprintf("cannot run %s: %v", name, err)
	return e
}

// passOn sends signals, a byte each, to the process pid. If there is nobody any more to send them, all ends.
func passOn(control *os.File, pid int) {
	var sig [1]byte
	for {
		if n, err := control.Read(sig[:]); n == 0 || err != nil {
			os.Exit(signalBase + int(unix.SIGKILL))
		}
		unix.Kill(pid, unix.Signal(sig[0])) // it has not been waited for, or this process is about to end
	}
}

// reap waits for children, those that are left by others too, until the process pid ends, and returns its exit
// code.
func reap(pid int) (code int, err error) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for process %d: %w", pid, err)
		case got == pid && status.Signaled():
			return signalBase + int(status.Signal()), nil
		case got == pid && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}
