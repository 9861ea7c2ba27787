//go:build conformance

package command

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a program on a terminal of its own.
type terminal struct {
	master  *os.File
	printed bytes.Buffer
}

// onTerminal starts a program on a terminal of so many columns, with an environment.
func onTerminal(t *testing.T, columns uint16, env []string, argv ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(limit, func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	t.Cleanup(func() {
		timer.Stop()
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // its session's process group
		cmd.Wait()
	})
	return &terminal{master: master}
}

// write types text.
func (p *terminal) write(t *testing.T, text string) {
	t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// until reads until text was printed, and returns what was until then, since the last call. Without a
// text it reads until the program ends.
func (p *terminal) until(t *testing.T, text string) string {
	t.Helper()
	b := make([]byte, 4096)
	for {
		if at := strings.Index(p.printed.String(), text); text != "" && at >= 0 {
			return string(p.printed.Next(at + len(text)))
		}
		n, err := p.master.Read(b)
		p.printed.Write(b[:n])
		if err != nil {
			if text != "" {
				t.Fatalf("ended before it printed %q; printed was\n%s", text, p.printed.String())
			}
			return p.printed.String()
		}
	}
}
