package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What concerns a whole process is tried in processes of its own: this test program, with the name of a role in
// the environment. A role says on standard output what it finds.
const roleVariable = "KDBUS_PROCESS_TEST_ROLE"

var roles = map[string]func() error{
	"become": becomeRole,
	"fork":   forkRole,
	"limit":  limitRole,
	"exec":   execRole,
}

func TestMain(m *testing.M) {
	// Programs with the race detector in them would each wait a second at their end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	role, ok := roles[os.Getenv(roleVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inRole returns a command that runs the role, with arguments and what change makes of it.
func inRole(role string, args ...string) *exec.Cmd {
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// output runs cmd and returns the lines of standard output.
func output(t *testing.T, cmd *exec.Cmd) []string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// asRoot ends a test that only root can do, as who is not root cannot become another user. In CI it fails.
func asRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") != "":
		t.Fatal("only root can become another user")
	default:
		t.Skip("only root can become another user")
	}
}

// becomeRole becomes the user os.Args[1] and prints what every thread is then.
func becomeRole() error {
	account, err := LookupAccount(os.Args[1])
	if err != nil {
		return err
	}
	if err := account.Become(); err != nil {
		return err
	}
	fmt.Println("wanted", account.UID, account.GID, account.Groups)
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			switch name {
			case "Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh", "CapAmb":
				fmt.Println(name, strings.Join(strings.Fields(value), " "))
			}
		}
	}
	fmt.Println("root again:", syscall.Setuid(0))
	return nil
}

func TestBecomeLeavesNothingOfRoot(t *testing.T) {
	asRoot(t)
	for _, name := range []string{"nobody", "65534"} {
		lines := output(t, inRole("become", name))
		id := "65534 65534 65534 65534"
		want := map[string]string{"Uid": id, "CapEff": "0000000000000000", "CapPrm": "0000000000000000",
			"CapInh": "0000000000000000", "CapAmb": "0000000000000000"}
		var uid, gid, groups string
		for _, line := range lines {
			key, value, _ := strings.Cut(line, " ")
			switch key {
			case "wanted":
				f := strings.SplitN(value, " ", 3)
				uid, gid, groups = f[0], f[1], strings.Trim(f[2], "[]")
				want["Gid"] = strings.Join([]string{gid, gid, gid, gid}, " ")
				sorted := strings.Fields(groups)
				slices.SortFunc(sorted, func(a, b string) int { x, _ := strconv.Atoi(a); y, _ := strconv.Atoi(b); return x - y })
				want["Groups"] = strings.Join(sorted, " ")
			case "root":
				if value != "again: operation not permitted" {
					t.Errorf("%s: %s", name, line)
				}
			default:
				if value != want[key] {
					t.Errorf("%s: %s of a thread is %q, want %q", name, key, value, want[key])
				}
			}
		}
		if uid != "65534" {
			t.Errorf("%s has the number %s", name, uid)
		}
	}
}

func TestBecomeIsForRoot(t *testing.T) {
	asRoot(t)
	cmd := inRole("become", "root")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || strings.TrimSpace(string(out)) != ErrNotRoot.Error() {
		t.Errorf("nobody becomes root: %v, %s", err, out)
	}
	cmd = inRole("become", "nobody")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nobody becomes what it is: %v, %s", err, out)
	}
}

func TestLookupAccount(t *testing.T) {
	root, err := LookupAccount("root")
	if err != nil || root.UID != 0 || root.GID != 0 || !slices.Contains(root.Groups, 0) {
		t.Errorf("root is %+v, %v", root, err)
	}
	if byNumber, err := LookupAccount("0"); err != nil || byNumber.UID != 0 {
		t.Errorf("0 is %+v, %v", byNumber, err)
	}
	for _, name := range []string{"", "no-such-user", "-1", "4294967296", "3000000000"} {
		if a, err := LookupAccount(name); err == nil {
			t.Errorf("%q is %+v", name, a)
		}
	}
}

// forkRole goes to the background, if it is told to fail after it says so.
func forkRole() error {
	background := InBackground()
	if background == nil {
		return Fork()
	}
	KeepName()
	switch os.Args[1] {
	case "fail":
		fmt.Fprintln(os.Stderr, "it went wrong")
		os.Exit(3)
	case "die":
		unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return err
	}
	session, err := unix.Getsid(0)
	if err != nil {
		return err
	}
	umask := func() int { old := unix.Umask(0); unix.Umask(old); return old }
	before := umask()
	// Standard output will be the null device.
	out, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	if err := background.Detach(false, os.Args[1] == "umask"); err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	var null []string
	for fd := range 3 {
		target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return err
		}
		null = append(null, target)
	}
	fmt.Fprintf(os.NewFile(uintptr(out), "output"), "%s leader=%t %s %s umask=%t listen=%t env=%q\n",
		strings.TrimSpace(string(comm)), session == os.Getpid(), dir, strings.Join(null, " "),
		umask() == before, os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()), os.Getenv(readyVariable))
	return background.Ready()
}

func TestForkReturnsWhenReady(t *testing.T) {
	const want = `a-daemon leader=true / /dev/null /dev/null /dev/null umask=%t listen=%t env=""`
	for _, c := range []struct {
		arg         string
		environment string
		want        string
	}{
		{"plain", "", fmt.Sprintf(want, false, false)},
		{"umask", "", fmt.Sprintf(want, true, false)},
	} {
		cmd := inRole("fork", c.arg)
		cmd.Args[0] = "/some/where/a-daemon"
		old := unix.Umask(0o027)
		got := output(t, cmd)
		unix.Umask(old)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q, want %q", c.arg, got, c.want)
		}
	}
}

// The sockets that systemd passed are those of the process that stays.
func TestForkPassesOnSocketsOfSystemd(t *testing.T) {
	// The shell's process id is the one that the program executed by it has.
	cmd := exec.Command("sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec `+self+` plain`)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args[2] = strings.Replace(cmd.Args[2], self, exe, 1)
	cmd.Env = append(os.Environ(), roleVariable+"=fork")
	if got := output(t, cmd); len(got) != 1 || !strings.Contains(got[0], "listen=true") {
		t.Errorf("%q", got)
	}
}

func TestForkTellsFailure(t *testing.T) {
	for arg, want := range map[string]string{
		"fail": "it went wrong\n" + ErrNotReady.Error(),
		"die":  "the process in the background ended before it was ready: signal: killed",
	} {
		cmd := inRole("fork", arg)
		out, err := cmd.CombinedOutput()
		if err == nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v, %s", arg, err, out)
		}
	}
}

// limitRole raises the limit and prints it, and that of a child.
func limitRole() error {
	fmt.Println("error:", RaiseFileLimit())
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	fmt.Println("own:", limit.Cur)
	out, err := exec.Command("sh", "-c", "ulimit -Sn").Output()
	fmt.Print("child: ", string(out))
	return err
}

func TestChildrenHaveTheFileLimitOfTheBeginning(t *testing.T) {
	for _, c := range []struct{ soft, hard string }{{"500", "2000"}, {"1000", "1000"}} {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", "ulimit -Sn "+c.soft+" && ulimit -Hn "+c.hard+" && exec "+exe)
		cmd.Env = append(os.Environ(), roleVariable+"=limit")
		got := output(t, cmd)
		raised := []string{"error: <nil>", "own: " + strconv.Itoa(enoughFiles), "child: "}
		if os.Geteuid() != 0 || strings.HasSuffix(got[0], "operation not permitted") { // CAP_SYS_RESOURCE is not there
			raised = []string{got[0], got[1], "child: " + c.soft}
		}
		if len(got) != 3 || got[0] != raised[0] || got[1] != raised[1] || !strings.HasPrefix(got[2], raised[2]) {
			t.Errorf("from %s of %s: %q, want %q", c.soft, c.hard, got, raised)
		}
		if child, _ := strconv.Atoi(strings.TrimPrefix(got[2], "child: ")); child > 2000 {
			t.Errorf("from %s of %s: a child may open %d files", c.soft, c.hard, child)
		}
	}
}

// execRole reports what a child inherits.
func execRole() error {
	if err := errors.Join(CloseOnExec(), NoInput()); err != nil {
		return err
	}
	if _, err := io.ReadAll(os.Stdin); err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", "ls /proc/$$/fd")
	out, err := cmd.Output()
	fmt.Print(string(out))
	return err
}

func TestChildrenInheritNoDescriptors(t *testing.T) {
	cmd := inRole("exec")
	r, w, err := os.Pipe() // which nobody writes to, so that reading it would not end
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd.Stdin = r
	cmd.ExtraFiles = []*os.File{os.Stderr, w, os.Stderr}
	for _, fd := range output(t, cmd) {
		if n, err := strconv.Atoi(fd); err != nil || n > 2 {
			t.Errorf("a child has descriptor %q", fd)
		}
	}
}
