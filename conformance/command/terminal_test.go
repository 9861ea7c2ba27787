//go:build conformance

package command

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/internal/pty"
)

// session is a program on a terminal of its own.
type session struct {
	master  *os.File
	printed bytes.Buffer
}

// onTerminal starts a program on a terminal of so many columns, with an environment.
func onTerminal(t *testing.T, columns uint16, env []string, argv ...string) *session {
	t.Helper()
	master, tty := pty.Open(t, columns)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, tty, tty
	pty.Start(t, tty, cmd)
	tty.Close()
	timer := time.AfterFunc(limit, func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	t.Cleanup(func() { timer.Stop() })
	return &session{master: master}
}

// write types text.
func (p *session) write(t *testing.T, text string) {
	t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// until reads until text was printed, and returns what was until then, since the last call. Without a
// text it reads until the program ends.
func (p *session) until(t *testing.T, text string) string {
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
