package activation

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// Processes of services. They are children of the bus as with dbus-daemon: in its session and process
// group, with its working directory, standard output and error, the limits that the bus was started
// with, no other open files, and nothing to read.

// process is a service that was executed.
type process struct{ *os.Process }

// execute starts a program, the first of the words, which is not looked for in $PATH.
func (a *Activation) execute(name string, words, environment []string) (*process, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, failure(spawnFailed, "Spawn.FailedToSetup", "Cannot open what the process is to read: %s", strerror(err))
	}
	defer null.Close()
	files := []*os.File{null, os.Stdout, os.Stderr}
	if a.config.Journal {
		for i, priority := range []int{journalInfo, journalWarning} {
			if stream, err := journalStream(journalSocket, name, priority); err == nil {
				defer stream.Close()
				files[i+1] = stream
			}
		}
	}
	p, err := os.StartProcess(words[0], words, &os.ProcAttr{Env: environment, Files: files})
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return nil, failure(spawnFailed, "Spawn.ForkFailed", "Failed to fork (%s)", strerror(err))
	case err != nil:
		return nil, failure(spawnFailed, "Spawn.ExecFailed", "Failed to execute program %s: %s", name, strerror(err))
	}
	if a.protected {
		// Services are not what the administrator keeps from being killed when memory is short.
		os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.Pid), []byte("0"), 0)
	}
	return &process{p}, nil
}

// wait returns when the process has ended, with an [*Error] unless it ended well. helper says that it was the
// setuid helper, for the service of that name.
func (p *process) wait(name string, helper bool) error {
	state, err := p.Wait()
	if err != nil {
		return failure(spawnFailed, "Failed", "Process %s exited, reason unknown", name)
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		return failure(spawnFailed, "Spawn.ChildSignaled", "Process %s received signal %d", name, int(status.Signal()))
	case status.ExitStatus() == 0:
		return nil
	case helper:
		return helperFailure(status.ExitStatus())
	}
	return failure(spawnFailed, "Spawn.ChildExited", "Process %s exited with status %d", name, status.ExitStatus())
}

func asErrno(err error, errno *syscall.Errno) bool { return errors.As(err, errno) && *errno != 0 }

// oomProtected reports whether this process is less likely to be killed than others when memory is short.
func oomProtected() bool {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	return err == nil && strings.HasPrefix(string(b), "-")
}

// Priorities of syslog(3).
const (
	journalWarning = 4
	journalInfo    = 6
)

const journalSocket = "/run/systemd/journal/stdout"

// journalStream opens a stream to the journal, which listens on socket, as sd_journal_stream_fd(3) does: what is written there is
// logged line by line, as of identifier.
func journalStream(socket, identifier string, priority int) (*os.File, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.CloseRead()
	// Identifier, unit, priority; then whether lines begin with a priority, and where else they go.
	if _, err := fmt.Fprintf(conn, "%s\n\n%d\n0\n0\n0\n0\n", identifier, priority); err != nil {
		return nil, err
	}
	// File makes the socket blocking, as programs expect it.
	f, err := conn.File()
	if err == nil {
		err = syscall.SetNonblock(int(f.Fd()), false)
	}
	return f, err
}
