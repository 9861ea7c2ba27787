package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// The stages of the first process in the namespaces, as arguments of Main.
const (
	stageEnter = "enter" // set up and give up privileges
	stageInit  = "init"  // run the program, whose name and arguments follow
)

// controlFD is the descriptor of the connection with who has called Start.
const controlFD = 3

// maxTold is the longest setUp that is read: more than the arguments and environment of a program can be.
const maxTold = 16 << 20

// failure is what is reported of a start.
type failure struct {
	Text string
	// Start: it was the program that could not be started.
	Start, NotFound bool
}

// Main is what the process in a sandbox does: func main has to call it when the arguments are those of
// Config.Self and more, which args are. It returns the exit code.
func Main(args []string) int {
	control := os.NewFile(controlFD, "control")
	var err error
	switch {
	case len(args) == 1 && args[0] == stageEnter:
		err = enter(control, os.Args[:len(os.Args)-1])
	case len(args) > 1 && args[0] == stageInit:
		var code int
		if code, err = runInit(control, args[1:]); err == nil {
			return code
		}
	default:
		fmt.Fprintln(os.Stderr, "this is run by the sandbox and not for itself")
		return 1
	}
	f := failure{Text: err.Error()}
	if start, ok := errors.AsType[*StartError](err); ok {
		f.Start, f.NotFound = true, start.NotFound
	}
	report, _ := json.Marshal(f) // of texts
	control.Write(report)        // if nobody listens any more there is nobody to tell
	return 1
}

// enter makes the namespaces what they are to be, and executes the init there. self is the command line
// without the stage. It returns only if something went wrong.
func enter(control *os.File, self []string) error {
	// Privileges are a thread's, and exec keeps those of the thread that calls it.
	runtime.LockOSThread()
	if err := dieWithParent(); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(control, size[:]); err != nil {
		return fmt.Errorf("learn what to run: %w", err)
	}
	n := binary.NativeEndian.Uint32(size[:])
	if n > maxTold {
		return fmt.Errorf("learn what to run: %d bytes are too many", n)
	}
	told := make([]byte, n)
	if _, err := io.ReadFull(control, told); err != nil {
		return fmt.Errorf("learn what to run: %w", err)
	}
	var s setUp
	if err := json.Unmarshal(told, &s); err != nil {
		return fmt.Errorf("learn what to run: %w", err)
	}
	if err := mountAll(s.Config); err != nil {
		return err
	}
	// Anew: what the working directory was reached by may lead past a mount.
	if err := unix.Chdir(s.Dir); err != nil {
		return fmt.Errorf("the working directory %s cannot be used inside: %w", s.Dir, err)
	}
	if err := confine(s.NoNetwork); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(controlFD, unix.F_SETFD, 0); err != nil {
		return fmt.Errorf("keep the connection on exec: %w", err)
	}
	argv := slices.Concat(self, []string{stageInit}, s.Argv)
	return fmt.Errorf("execute %s: %w", self[0], syscall.Exec("/proc/self/exe", argv, s.Env))
}

// dieWithParent has this process killed when the one that has started it ends.
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the parent: %w", err)
	}
	return nil // if it was too late, nobody is at the other end of the control socket
}
