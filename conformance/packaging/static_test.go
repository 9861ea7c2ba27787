//go:build conformance

package packaging

import (
	"bufio"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
)

// loaded tells whether a program needs others to be loaded.
func loaded(t *testing.T, program string) bool {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return true
		}
	}
	return false
}

func TestInstalledProgramsAreStatic(t *testing.T) {
	for _, name := range []string{"bin/kdbus", "libexec/kdbus-launch-helper"} {
		if loaded(t, filepath.Join(installed(t), name)) {
			t.Errorf("%s has an interpreter or a dynamic section", name)
		}
	}
}

// emptySystem is a system with nothing in it but a bus, a configuration, and users that no other system has.
var emptySystem = map[string]string{
	"etc/passwd": "root:x:0:0::/:\nthe-bus:x:61234:61234::/:\nann:x:61235:61235::/:\nbob:x:61236:61236::/:\n",
	"etc/group":  "root:x:0:\nthe-bus:x:61234:\nplayers:x:61240:bob\n",
	"bus.conf": `<busconfig><type>system</type><user>the-bus</user><listen>unix:path=/socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow send_destination="*"/><allow receive_sender="*"/><deny own="*"/></policy>
<policy user="ann"><allow own="org.example.Ann"/></policy>
<policy group="players"><allow own="org.example.Players"/></policy></busconfig>`,
}

// makeEmptySystem returns a root directory with the bus in it, which may be written to by all.
func makeEmptySystem(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "empty-") // t.TempDir would be too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, text := range emptySystem {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(filepath.Join(installed(t), "bin/kdbus"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kdbus"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The program runs where there is no C library, no shell, no NSS and no /proc, and finds users and groups in files: as
// on Alpine, and as in a container from scratch.
func TestBusRunsWhereThereIsNothingElse(t *testing.T) {
	if os.Getuid() != 0 {
		program.CannotTest(t, "only root can change the root directory")
	}
	dir := makeEmptySystem(t)
	bus := exec.Command("/kdbus", "daemon", "--config-file=/bus.conf", "--print-address")
	bus.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
	bus.Dir, bus.Env = "/", []string{}
	var log strings.Builder
	bus.Stderr = &log
	address, err := bus.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, address)
		if err := bus.Wait(); err != nil || t.Failed() {
			t.Errorf("the bus ends with %v and has logged\n%s", err, &log)
		}
	})
	line, err := bufio.NewReader(address).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "unix:path=/socket,guid=") {
		t.Fatalf("the address is %q, %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// What others may, is asked with the same program in the same place, as those users.
	for _, test := range []struct {
		uid, group uint32
		name       string
		may        bool
	}{
		{61235, 61235, "org.example.Ann", true},
		{61235, 61235, "org.example.Players", false},
		{61236, 61240, "org.example.Players", true},
		{61236, 61236, "org.example.Ann", false},
	} {
		call := exec.CommandContext(ctx, "/kdbus", "call", "--address=unix:path=/socket", "org.freedesktop.DBus", "/org/freedesktop/DBus",
			"org.freedesktop.DBus", "RequestName", "su", test.name, "0")
		call.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: test.uid, Gid: test.uid, Groups: []uint32{test.group}}}
		call.Dir, call.Env = "/", []string{}
		out, err := call.CombinedOutput()
		if (err == nil) != test.may || !test.may && !strings.Contains(string(out), "is not allowed to own the service") {
			t.Errorf("uid %d asks for %s: %v\n%s", test.uid, test.name, err, out)
		}
	}
	// Who it is by now, the file of the configuration's user says.
	if info, err := os.Stat(fmt.Sprintf("/proc/%d", bus.Process.Pid)); err != nil || info.Sys().(*syscall.Stat_t).Uid != 61234 {
		t.Errorf("the bus runs as %+v, %v", info, err)
	}
}

// questions are about users of [emptySystem], whom the policy knows by name.
var questions = []struct {
	user, name string
	may        bool
}{
	{"ann", "org.example.Ann", true},
	{"bob", "org.example.Ann", false},
	{"bob", "org.example.Players", true}, // by a group
	{"ann", "org.example.Players", false},
}

func ask(t *testing.T, user, name string, may bool, cmd *exec.Cmd) {
	t.Helper()
	cmd.Args = append(cmd.Args, "policy", "check", "--config-file=bus.conf", "--user="+user, "own", name)
	out, err := cmd.CombinedOutput()
	want := "denied"
	if may {
		want = "allowed"
	}
	if cmd.ProcessState.ExitCode() > 1 || !strings.HasPrefix(string(out), want+": ") {
		t.Errorf("%s, %s: %v\n%s", user, name, err, out)
	}
}

func TestUsersAreInFilesWithoutNSS(t *testing.T) {
	if os.Getuid() != 0 {
		program.CannotTest(t, "only root can change the root directory")
	}
	dir := makeEmptySystem(t)
	for _, q := range questions {
		cmd := exec.CommandContext(t.Context(), "/kdbus")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
		cmd.Dir, cmd.Env = "/", []string{}
		ask(t, q.user, q.name, q.may, cmd)
	}
}

// With cgo users are whoever the system says they are. Here that is a library in place of NSS.
func TestUsersAreThoseOfTheSystemWithCgo(t *testing.T) {
	dir := makeEmptySystem(t)
	program := filepath.Join(dir, "with-cgo")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/kdbus")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building with cgo: %v\n%s", err, out)
	}
	if !loaded(t, program) {
		t.Fatal("with cgo the program is static, so it cannot ask NSS")
	}
	for _, q := range questions {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Dir = dir
		cmd.Env = []string{"LD_PRELOAD=libnss_wrapper.so", "NSS_WRAPPER_PASSWD=" + dir + "/etc/passwd", "NSS_WRAPPER_GROUP=" + dir + "/etc/group"}
		ask(t, q.user, q.name, q.may, cmd)
	}
}
