// Package pty gives tests terminals, and programs that run on them: what a program does there, and how it
// looks, is another thing than what it does in a pipe.
package pty

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// rows is how high terminals are whose width is given.
const rows = 24

// Open returns both ends of a new terminal, which are closed when the test ends: what is printed on the terminal
// is read from its master, what is written there has been typed. It has so many columns; 0 leaves it without
// a size.
func Open(tb testing.TB, columns uint16) (master, terminal *os.File) {
	tb.Helper()
	open := func(path string) *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { f.Close() })
		return f
	}
	master = open("/dev/ptmx")
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		tb.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		tb.Fatal(err)
	}
	if columns > 0 {
		if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
			tb.Fatal(err)
		}
	}
	return master, open(fmt.Sprintf("/dev/pts/%d", n))
}

// Start starts a command as the foreground job of the terminal, where it reads. It is killed, with what it has
// started there, when the test ends.
func Start(tb testing.TB, terminal *os.File, cmd *exec.Cmd) {
	tb.Helper()
	cmd.Stdin = terminal
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // its session's process group
		cmd.Wait()
	})
}
