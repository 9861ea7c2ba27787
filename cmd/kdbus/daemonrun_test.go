package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/busconfig"
)

// A bus whose configuration cannot be read for now, as the file system does not answer, ends when it is told to.
func TestBusEndsWhileItReloads(t *testing.T) {
	p := &busProcess{file: new(busconfig.Config), log: slog.New(slog.DiscardHandler)}
	signals, begun, end := make(chan os.Signal), make(chan struct{}, 1), make(chan struct{})
	defer close(end)
	until := func() error { <-end; return nil }
	go func() {
		signals <- unix.SIGHUP
		<-begun
		for range 3 {
			signals <- unix.SIGHUP
		}
		signals <- unix.SIGTERM
	}()
	reload := func() error {
		begun <- struct{}{}
		return until()
	}
	if err := p.untilEnd(until, reload, signals); err != nil {
		t.Error(err)
	}
}

// fullPipe returns the end of a pipe that takes no more and that nobody reads.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]) })
	for _, size := range []int{4096, 1} {
		for err := error(nil); err == nil; _, err = unix.Write(fds[1], make([]byte, size)) {
		}
	}
	if err := unix.SetNonblock(fds[1], false); err != nil {
		t.Fatal(err)
	}
	w := os.NewFile(uintptr(fds[1]), "full pipe")
	t.Cleanup(func() { w.Close() })
	return w
}

// Whoever started the bus may not read what it says. Its clients are served all the same.
func TestBusDoesNotWaitForWhoReadsItsLog(t *testing.T) {
	const nobody = "org.example.Nobody"
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(nobody+".service", "[D-BUS Service]\nName="+nobody+"\nExec=/nonexistent/program\n")
	put("bus.conf", fmt.Sprintf(`<busconfig><type>session</type><listen>unix:dir=%s</listen><servicedir>%s</servicedir>
		<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>`, dir, dir))
	for program, args := range map[string][]string{"kdbus": {"daemon"}, "dbus-daemon": nil} {
		t.Run(program, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, append(args, "--config-file="+dir+"/bus.conf", "--print-address=1")...)
			cmd.Stderr = fullPipe(t)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			address, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			conn, err := kdbus.Dial(t.Context(), strings.TrimSpace(address))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// Each of them is a line.
			for range lineQueueLength + 100 {
				_, err := conn.Object("org.freedesktop.DBus", "/org/freedesktop/DBus").
					Call(t.Context(), "org.freedesktop.DBus.StartServiceByName", nobody, uint32(0))
				if e, ok := errors.AsType[*kdbus.Error](err); !ok || !strings.Contains(e.Name, "Spawn") {
					t.Fatalf("the answer is %v", err)
				}
			}
			if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
