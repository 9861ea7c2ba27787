package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Self is the program that runs, as the first word of a command, whatever its file is called by
// now. What is started by it shows up under the name that we were started by.
const Self = "/proc/self/exe"

// newCommand prepares a command, which is killed when ctx is done.
func newCommand(ctx context.Context, command []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	if command[0] == Self {
		cmd.Args[0] = os.Args[0]
	}
	return cmd
}

// startOn starts cmd with an affinity: the processes it makes, and a Go program's idea
// of how many CPUs there are, follow from it. A nil cpus means all that we may use.
//
// The child has a process group of its own, so that Ctrl-C reaches only us and we end
// our children in order, and it dies with us if we are killed.
func startOn(cpus *unix.CPUSet, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if cpus == nil {
		return cmd.Start()
	}
	// A child inherits the affinity of the thread that forks it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read our CPU affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, cpus); err != nil {
		return fmt.Errorf("set our CPU affinity for a child: %w", err)
	}
	err := cmd.Start()
	if restore := unix.SchedSetaffinity(0, &before); restore != nil {
		err = errors.Join(err, fmt.Errorf("restore our CPU affinity: %w", restore))
	}
	return err
}

// worker is a worker process as its parent sees it.
type worker struct {
	role   string
	cmd    *exec.Cmd
	in     *json.Encoder
	out    *json.Decoder
	stderr bytes.Buffer
	cancel context.CancelFunc
	ended  sync.Once
	name   string // unique name, of a worker that is set up
}

// startWorker starts a worker and waits until it is set up. It is killed when ctx is
// done. side becomes its side descriptor; it may be nil.
func startWorker(ctx context.Context, command []string, cpus *unix.CPUSet, j job, side *os.File) (*worker, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &worker{role: j.Role, cancel: cancel}
	w.cmd = newCommand(ctx, command)
	// Go would interrupt the one goroutine by a signal every 10 ms.
	w.cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	w.cmd.Stderr = &w.stderr
	w.cmd.WaitDelay = time.Second
	if side != nil {
		w.cmd.ExtraFiles = []*os.File{side}
	}
	in, err := w.cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	w.in, w.out = json.NewEncoder(in), json.NewDecoder(out)
	if err := startOn(cpus, w.cmd); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", strings.Join(command, " "), err)
	}
	if err := w.in.Encode(j); err != nil {
		return nil, w.failed(ctx, err)
	}
	r, err := w.report(ctx)
	if err != nil {
		return nil, err
	}
	w.name = r.Name
	return w, nil
}

// begin lets a worker begin. peer may be nil.
func (w *worker) begin(ctx context.Context, peer *worker) error {
	var b begin
	if peer != nil {
		b.Peer = peer.name
	}
	if err := w.in.Encode(b); err != nil {
		return w.failed(ctx, err)
	}
	return nil
}

// report waits for the next report of a worker. After an error the worker is gone.
func (w *worker) report(ctx context.Context) (report, error) {
	var r report
	if err := w.out.Decode(&r); err != nil {
		return r, w.failed(ctx, err)
	}
	if r.Error != "" {
		w.stop()
		return r, fmt.Errorf("%s: %s", w.role, r.Error)
	}
	return r, nil
}

// failed ends a worker that can no longer be talked to, and returns why.
func (w *worker) failed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	w.stop()
	return fmt.Errorf("%s: %w%s", w.role, err, quote(w.stderr.Bytes()))
}

// stop kills a worker and waits for its end. It may be called again, and by several
// goroutines.
func (w *worker) stop() {
	w.cancel()
	w.ended.Do(func() {
		// That it was killed is no news.
		_ = w.cmd.Wait()
	})
}
