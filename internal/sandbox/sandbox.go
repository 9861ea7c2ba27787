package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/internal/process"
)

// Config says what to run, and what of the file system is the bus's.
type Config struct {
	// Argv is the program, looked up in the PATH of Env, and its arguments; Env is its environment.
	Argv []string
	Env  []string
	// Self are the arguments with which this program calls Main.
	Self []string
	// Door is the path of the socket that the program may use. It may lie in a directory that Hidden
	// names, and is there all the same.
	Door string
	// Sockets are the paths of sockets that are to lead to Door. Those that do not exist are
	// left out.
	Sockets []string
	// Hidden are directories that are to be empty, but for Door and Sockets. Those that do not exist are
	// left out.
	Hidden []string
	// NoNetwork gives the program a network of its own, without anything in it.
	NoNetwork bool
}

// setUp is what the process in the namespaces is told.
type setUp struct {
	Config
	Dir string // its working directory
}

// A Sandbox is a program that has been started. Its methods may be called from several goroutines.
type Sandbox struct {
	process *exec.Cmd
	control *os.File // to and from its init
	ended   chan struct{}
	status  unix.WaitStatus
	failure error
}

// A StartError tells why a program was not started though its namespaces were made: it was not found, or
// cannot be executed.
type StartError struct {
	// NotFound is true if there is no such program.
	NotFound bool
	// Text says what was wrong.
	Text string
}

func (e *StartError) Error() string { return e.Text }

// Start starts a program with the standard streams of this process. What has been inherited besides
// is no more on exec when it returns, for this process as well. The program is killed when this
// process ends. An error says what could not be done and why: of namespaces that the kernel does not grant, a
// socket that could not be covered, a *StartError.
func Start(c Config) (*Sandbox, error) {
	if err := checkStreams(); err != nil {
		return nil, err
	}
	if err := checkKernel(c.NoNetwork); err != nil {
		return nil, err
	}
	if err := process.CloseOnExec(); err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find out the working directory: %w", err)
	}
	told, err := json.Marshal(setUp{c, dir})
	if err != nil {
		return nil, fmt.Errorf("encode what to run: %w", err)
	}
	ours, theirs, err := controlSockets()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	s := &Sandbox{control: ours, ended: make(chan struct{})}
	s.process = exec.Command("/proc/self/exe", append(c.Self, stageEnter)...)
	s.process.Args[0] = os.Args[0] // programs that have several names
	s.process.Stdin, s.process.Stdout, s.process.Stderr = os.Stdin, os.Stdout, os.Stderr
	s.process.ExtraFiles = []*os.File{theirs}
	if s.process.SysProcAttr, err = namespaces(c.NoNetwork); err != nil {
		return nil, err
	}
	started := make(chan error)
	go s.run(started)
	if err := <-started; err != nil {
		ours.Close()
		return nil, err
	}
	theirs.Close()
	if err := s.tell(told); err != nil {
		s.Kill()
		s.Wait()
		return nil, err
	}
	return s, nil
}

// controlSockets returns the two ends of the connection with the init.
func controlSockets() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control of the sandbox"), nil
}

// run starts the process and waits for its end. The process dies with the thread that has started it, so that
// is this one's, which stays.
func (s *Sandbox) run(started chan<- error) {
	runtime.LockOSThread()
	defer close(s.ended)
	if err := s.process.Start(); err != nil {
		started <- explainStart(err)
		return
	}
	started <- nil
	err := s.process.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		s.failure = fmt.Errorf("wait for the sandbox: %w", err)
		return
	}
	s.status = unix.WaitStatus(s.process.ProcessState.Sys().(syscall.WaitStatus))
}

// tell tells the process what to do, and returns when the program runs, or why it does not.
func (s *Sandbox) tell(told []byte) error {
	frame := binary.NativeEndian.AppendUint32(nil, uint32(len(told)))
	if _, err := s.control.Write(append(frame, told...)); err != nil {
		err = fmt.Errorf("tell the sandbox what to run: %w", err)
		return errors.Join(err, s.report())
	}
	return s.report()
}

// maxReport is the longest report that is read.
const maxReport = 64 << 10

// report reads what the process says of its start: nothing if all is well.
func (s *Sandbox) report() error {
	text, err := io.ReadAll(io.LimitReader(s.control, maxReport))
	if err != nil {
		return fmt.Errorf("learn whether the sandbox has started: %w", err)
	}
	if len(text) == 0 {
		return nil
	}
	var f failure
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("learn why the sandbox has not started: %w", err)
	}
	if f.Start {
		return &StartError{NotFound: f.NotFound, Text: f.Text}
	}
	return errors.New(f.Text)
}

// Signal passes a signal on to the program.
func (s *Sandbox) Signal(sig unix.Signal) {
	s.control.Write([]byte{byte(sig)}) // fails only when the sandbox has ended
}

// Kill ends everything in the sandbox at once.
func (s *Sandbox) Kill() {
	s.process.Process.Kill() // fails only when it has ended
}

// Wait waits until the program has ended, and returns its exit code: 128 and the number of the signal if
// one has ended it.
func (s *Sandbox) Wait() (code int, err error) {
	<-s.ended
	if s.failure != nil {
		return 0, s.failure
	}
	if s.status.Signaled() {
		return signalBase + int(s.status.Signal()), nil
	}
	return s.status.ExitStatus(), nil
}

// Ended returns a channel that is closed when the program has ended.
func (s *Sandbox) Ended() <-chan struct{} { return s.ended }

// checkStreams refuses standard streams through which the bus could be reached: a directory leads to
// all that is below it, as it is outside.
func checkStreams() error {
	for fd, name := range []string{"standard input", "standard output", "standard error"} {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			continue // it is closed
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return fmt.Errorf("%s is a directory, through which the program could get at what is hidden from it; use a file or /dev/null", name)
		}
	}
	return nil
}
