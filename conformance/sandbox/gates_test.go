//go:build conformance

package sandbox

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// A gate is a way to a bus that lets through what flags permit.
type gate struct {
	address string
	close   func()
}

// openProxy starts xdg-dbus-proxy.
func openProxy(t testing.TB, bus *testbus.Bus, flags []string) gate {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(shortTemp(t), "proxy")
	cmd := exec.Command(proxy(t), append([]string{"--fd=3", bus.Address, socket, "--filter"}, flags...)...)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	end := func() {
		r.Close() // which ends it
		cmd.Process.Kill()
		cmd.Wait()
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		end()
		t.Fatalf("xdg-dbus-proxy %q: %v", flags, err)
	}
	return gate{"unix:path=" + socket, end}
}

// openSandbox starts kdbus sandbox. Its bus is where it is for the command inside.
func openSandbox(t testing.TB, bus *testbus.Bus, flags []string) gate {
	t.Helper()
	argv := append([]string{"sandbox", "--address", bus.Address}, flags...)
	cmd := exec.Command(kdbus(t), append(argv, "--", "sh", "-c", "echo; cat")...)
	cmd.Env = bus.Environ()
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		in.Close() // which ends it
		cmd.Wait()
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		end()
		t.Fatalf("kdbus sandbox %q: %v", flags, err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	if err != nil || len(children) == 0 {
		// It was started by another thread.
		matches, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
		for _, m := range matches {
			if children, _ = os.ReadFile(m); len(children) > 0 {
				break
			}
		}
	}
	first := strings.Fields(string(children))
	if len(first) == 0 {
		end()
		t.Fatal("the sandbox has no process")
	}
	return gate{"unix:path=/proc/" + first[0] + "/root" + bus.SocketPath(), end}
}
