//go:build conformance

package sandbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/program"
)

// A program that knows where the bus is tries all there is to try, as root and as somebody, and with the same rights outside,
// which shows that its attempts are worth something.
func TestNothingLeadsOutOfASandbox(t *testing.T) {
	for _, user := range []struct {
		name string
		uid  uint32
		// outside is what does not lead to the bus even there.
		outside []string
	}{
		{"root", 0, nil},
		{"nobody", 65534, []string{"being root", "the namespace of the bus, by its socket"}},
	} {
		t.Run(user.name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Fatal("this test has to be run by root, who can be others")
			}
			as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user.uid, Gid: user.uid}}
			b := startBus(t, as)
			argument := b.arguments(t, as)
			script, err := os.ReadFile("testdata/escape.py")
			if err != nil {
				t.Fatal(err)
			}
			run := func(argv ...string) string {
				t.Helper()
				cmd := exec.Command(argv[0], argv[1:]...)
				cmd.Args = append(cmd.Args, program.Python, "-c", string(script), argument)
				cmd.Dir, cmd.SysProcAttr = b.dir, as
				cmd.Env = []string{"PATH=/usr/bin:/bin"}
				leak, err := net.Dial("unix", b.path)
				if err != nil {
					t.Fatal(err)
				}
				defer leak.Close()
				file, err := leak.(*net.UnixConn).File()
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				cmd.ExtraFiles = []*os.File{file} // for it to inherit
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s%s", err, out, &stderr)
				}
				return string(out)
			}
			outside := run("env")
			for line := range strings.Lines(outside) {
				if way, ok := strings.CutPrefix(strings.TrimSpace(line), "in: "); ok && !slices.Contains(user.outside, way) {
					t.Errorf("it does not get at the bus by %s even outside: the attempt is worth nothing", way)
				}
			}
			inside := run(kdbus(t), "sandbox", "--address", b.address, "--own=com.example.Own.*", "--")
			if n := strings.Count(inside, "in: "); n != strings.Count(outside, "\n") || n < 20 {
				t.Errorf("inside it tried, or failed in, %d ways:\n%s", n, inside)
			}
			for line := range strings.Lines(inside) {
				if way, ok := strings.CutPrefix(strings.TrimSpace(line), "out: "); ok {
					t.Errorf("it gets at the bus by %s", way)
				}
			}
		})
	}
}

// ownBus is a bus of a certain user, with several sockets.
type ownBus struct {
	dir, path, second, abstract, address string
	pid                                  int
}

func startBus(t *testing.T, as *syscall.SysProcAttr) *ownBus {
	t.Helper()
	dir := shortTemp(t)
	if err := os.Chown(dir, int(as.Credential.Uid), int(as.Credential.Gid)); err != nil {
		t.Fatal(err)
	}
	b := &ownBus{dir: dir, path: filepath.Join(dir, "bus"), second: filepath.Join(dir, "second"), abstract: filepath.Join(dir, "abstract")}
	b.address = "unix:path=" + b.path
	cmd := exec.Command(kdbus(t), "daemon", "--address", b.address, "--address", "unix:path="+b.second,
		"--address", "unix:abstract="+b.abstract, "--print-address")
	cmd.Dir, cmd.SysProcAttr, cmd.Stderr = dir, as, os.Stderr
	cmd.Env = []string{"TMPDIR=/tmp"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	b.pid = cmd.Process.Pid
	secret, err := peer.Connect(b.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { secret.Close() })
	if reply, err := secret.Call(peer.DriverCall("RequestName", "su", "com.example.Secret", uint32(0))); err != nil || reply.Type != peer.TypeReply {
		t.Fatal(err)
	}
	return b
}

// arguments returns what the program is told. There is an endpoint besides, through which the secret is seen, and a process
// of the same user.
func (b *ownBus) arguments(t *testing.T, as *syscall.SysProcAttr) string {
	t.Helper()
	endpoint := exec.Command(kdbus(t), "endpoint", "make", "--address", b.address, "--see=com.example.Secret", "other")
	endpoint.SysProcAttr, endpoint.Stderr = as, os.Stderr
	out, err := endpoint.StdoutPipe()
	if err == nil {
		err = endpoint.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		endpoint.Process.Signal(syscall.SIGTERM)
		endpoint.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	path, ok := strings.CutPrefix(strings.TrimSpace(line), "unix:path=")
	if !ok {
		t.Fatalf("kdbus endpoint make prints %q", line)
	}
	argument, err := json.Marshal(map[string]any{
		"bus": b.path, "second": b.second, "abstract": b.abstract, "domain": filepath.Dir(filepath.Dir(path)),
		"outside": []int{endpoint.Process.Pid, b.pid},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(argument)
}
