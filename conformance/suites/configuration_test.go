//go:build conformance

package suites

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestConfigurationFiles starts a bus with each configuration file that comes with libdbus's tests
// and with dbus-daemon. With a valid one it takes connections; with an invalid one it ends with an
// error, and without having printed an address that others would rely on.
func TestConfigurationFiles(t *testing.T) {
	tested := 0
	for _, c := range []struct {
		pattern string
		valid   bool
	}{
		{libdbusTests + "/data/valid-config-files/*.conf", true},
		{libdbusTests + "/data/valid-config-files-system/*.conf", true},
		{libdbusTests + "/data/equiv-config-files/*/*.conf", true},
		{"/usr/share/dbus-1/*.conf", true},
		{libdbusTests + "/data/invalid-config-files/*.conf", false},
		{libdbusTests + "/data/invalid-config-files-system/*.conf", false},
	} {
		files, err := filepath.Glob(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		tested += len(files)
		for _, file := range files {
			t.Run(strings.TrimPrefix(file, libdbusTests+"/data/"), func(t *testing.T) {
				t.Parallel()
				if c.valid {
					takes(t, file)
				} else {
					refuses(t, file)
				}
			})
		}
	}
	if tested < 64 {
		t.Errorf("there are only %d files to test with, there should be at least 64", tested)
	}
}

// start starts a bus that prints its address on standard output and writes its log to log.
func start(t *testing.T, file string, log *bytes.Buffer) (cmd *exec.Cmd, stdout io.Reader) {
	t.Helper()
	cmd = exec.Command(testbus.Program(t, testbus.UnderTest()), "--config-file="+file, "--address=unix:tmpdir=/tmp", "--nofork", "--nopidfile", "--print-address=1")
	home := t.TempDir()
	cmd.Env = append(testbus.Environ(), "XDG_RUNTIME_DIR="+home, "DBUS_TEST_HOMEDIR="+home)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return cmd, stdout
}

// takes checks that a bus starts with a configuration file and answers who connects, if only with
// the list of mechanisms, as some of the files let nobody in. Others are to be run as a user that
// no machine has, which ends a bus after it has listened: of those there is just the address.
func takes(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	userless := bytes.Contains(text, []byte("<user>mybususer</user>")) || strings.Contains(file, "/equiv-config-files/")
	var log bytes.Buffer
	cmd, stdout := start(t, file, &log)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	path, _, _ := strings.Cut(strings.TrimPrefix(line, "unix:path="), ",")
	if err != nil || path == line {
		t.Errorf("it printed %q (%v)", line, err)
	}
	if !userless {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("\x00AUTH\r\n"))
		if answer, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(answer, "REJECTED") {
			t.Errorf("to AUTH it answered %q (%v)", answer, err)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if t.Failed() {
		t.Logf("it ended with %v and the log\n%s", cmd.ProcessState, &log)
	}
}

// refuses checks that a bus does not start with a configuration file and says why.
func refuses(t *testing.T, file string) {
	var log bytes.Buffer
	cmd, stdout := start(t, file, &log)
	if printed, err := io.ReadAll(stdout); err != nil || len(printed) > 0 {
		t.Errorf("it printed %q (%v)", printed, err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() < 1 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
	if log.Len() == 0 {
		t.Error("it did not say why")
	}
}
