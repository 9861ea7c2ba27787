package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests run programs in sandboxes, as root and as nobody in particular. Some of the programs are
// this one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch command, args := os.Args[1], os.Args[2:]; command {
		case "sandbox-child":
			os.Exit(Main(args))
		case "sandbox":
			os.Exit(runSandbox(args[0]))
		case "connect":
			os.Exit(connect(args[0]))
		case "type":
			os.Exit(typeOn(os.Stdin))
		}
	}
	// With the race detector in it, each of them would wait a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// runSandbox runs what c says in JSON, as kdbus sandbox does.
func runSandbox(config string) int {
	var c Config
	err := json.Unmarshal([]byte(config), &c)
	if err == nil {
		var s *Sandbox
		if s, err = Start(c); err == nil {
			var code int
			if code, err = s.Wait(); err == nil {
				return code
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	if start, ok := errors.AsType[*StartError](err); ok && start.NotFound {
		return 127
	}
	return 99
}

// connect prints what a socket's server says.
func connect(name string) int {
	c, err := net.Dial("unix", name)
	if err == nil {
		var line string
		if line, err = bufio.NewReader(c).ReadString('\n'); err == nil {
			fmt.Print(line)
			return 0
		}
	}
	fmt.Println(err)
	return 1
}

// typeOn types on a terminal.
func typeOn(f *os.File) int {
	b := byte('x')
	err := unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCSTI, int(b))
	fmt.Println(err)
	return 0
}

// person is who runs a sandbox in a test.
type person struct {
	name string
	uid  uint32
}

// eachPerson runs a test as everybody that this process can be.
func eachPerson(t *testing.T, test func(t *testing.T, w *world)) {
	persons := []person{{"root", 0}, {"nobody", 65534}}
	if os.Geteuid() != 0 {
		persons = []person{{"user", uint32(os.Geteuid())}}
	}
	for _, p := range persons {
		t.Run(p.name, func(t *testing.T) { test(t, newWorld(t, p)) })
	}
}

// world is a bus, which is a socket that says "bus", a door that says "door", and who is to use it.
type world struct {
	t      *testing.T
	person person
	dir    string // which is theirs
	bus    string
	door   string // in a directory of doors, with another
}

func newWorld(t *testing.T, p person) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{t, p, dir, filepath.Join(dir, "bus"), filepath.Join(dir, "doors", "bus", "door")}
	if err := os.MkdirAll(filepath.Dir(w.door), 0o755); err != nil {
		t.Fatal(err)
	}
	listen(t, w.bus, "bus")
	listen(t, w.door, "door")
	listen(t, filepath.Join(dir, "doors", "bus", "other"), "other")
	listen(t, filepath.Join(dir, "doors", "control"), "control")
	if err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, int(p.uid), -1))
	}); err != nil && os.Geteuid() == 0 {
		t.Fatal(err)
	}
	return w
}

// listen makes a server that says a word to whoever connects.
func listen(t *testing.T, name, word string) {
	t.Helper()
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, word)
			c.Close()
		}
	}()
}

// config is that of a sandbox as usual.
func (w *world) config(argv ...string) Config {
	return Config{
		Argv: argv, Env: os.Environ(), Self: []string{"sandbox-child"},
		Door: w.door, Sockets: []string{w.bus}, Hidden: []string{filepath.Join(w.dir, "doors")},
	}
}

// command returns what runs a sandbox.
func (w *world) command(c Config) *exec.Cmd {
	w.t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	// Whose directories it is in may keep others out.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { self.Close() })
	cmd := exec.Command("/proc/self/fd/3", "sandbox", string(config))
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = w.dir
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: w.person.uid, Gid: w.person.uid}}
	}
	return cmd
}

// run runs argv in a sandbox, and returns what it printed and its exit code.
func (w *world) run(argv ...string) (out string, code int) {
	w.t.Helper()
	return w.runConfig(w.config(argv...))
}

func (w *world) runConfig(c Config) (out string, code int) {
	w.t.Helper()
	cmd := w.command(c)
	b, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		w.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// expect runs argv and compares.
func (w *world) expect(want string, argv ...string) {
	w.t.Helper()
	if out, _ := w.run(argv...); strings.TrimSpace(out) != want {
		w.t.Errorf("%q prints %q, want %q", argv, out, want)
	}
}

// connectTo connects to a socket inside, by a copy of this program, as /proc/1/exe is closed to programs and
// where this one is may be, too.
func (w *world) connectTo(name string) string {
	w.t.Helper()
	exe := filepath.Join(w.dir, "program")
	if _, err := os.Stat(exe); err != nil {
		data, err := os.ReadFile("/proc/self/exe")
		if err == nil {
			err = os.WriteFile(exe, data, 0o755)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	out, _ := w.run(exe, "connect", name)
	return strings.TrimSpace(out)
}

func TestTheDoorIsWhereTheBusWas(t *testing.T) {
	eachPerson(t, func(t *testing.T, w *world) {
		if got := w.connectTo(w.bus); got != "door" {
			t.Errorf("at the bus's address there is %q", got)
		}
		if got := w.connectTo(w.door); got != "door" {
			t.Errorf("at the door's own address there is %q", got)
		}
		w.expect("doors\ndoors/bus\ndoors/bus/door", "find", "doors")
	})
}

func TestTheBusIsCoveredWhereverItIsMounted(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root mounts
	}
	eachPerson(t, func(t *testing.T, w *world) {
		other := filepath.Join(w.dir, "other mount")
		if err := os.Mkdir(other, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(w.dir, other, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(other, unix.MNT_DETACH)
		if got := w.connectTo(filepath.Join(other, "bus")); got != "door" {
			t.Errorf("at the other address there is %q", got)
		}
		w.expect("door", "ls", filepath.Join(other, "doors", "bus"))
	})
}

func TestAbstractSocketsAreOutOfReach(t *testing.T) {
	eachPerson(t, func(t *testing.T, w *world) {
		name := "@" + w.bus
		listen(t, name, "bus")
		if got := w.connectTo(name); !strings.Contains(got, "operation not permitted") {
			t.Errorf("connecting to an abstract socket: %s", got)
		}
		c := w.config(filepath.Join(w.dir, "program"), "connect", name)
		c.NoNetwork = true
		if got, _ := w.runConfig(c); !strings.Contains(got, "operation not permitted") && !strings.Contains(got, "refused") {
			t.Errorf("connecting to an abstract socket without a network: %s", got)
		}
	})
}

func TestWhatIsOutsideIsOutOfReach(t *testing.T) {
	eachPerson(t, func(t *testing.T, w *world) {
		for _, test := range []struct{ name, script, want string }{
			{"processes", "set -- /proc/[0-9]*; echo $#", "2"},              // the init and the shell
			{"descriptors", "ls /proc/self/fd | tr -d '[:space:]'", "0123"}, // and the one that ls has
			{"the init", "readlink /proc/1/root /proc/1/fd/0 || echo none", "none"},
			{"capabilities", "grep -c '^Cap.*:.0*$' /proc/self/status", "5"},
			{"new privileges", "grep NoNewPrivs /proc/self/status | tr -d '[:blank:]'", "NoNewPrivs:1"},
			{"the cover", "umount bus 2>/dev/null || echo stays", "stays"},
			{"the cover of a directory", "umount doors 2>/dev/null || echo stays", "stays"},
			{"the cover, in a user namespace", "unshare -Urm umount $PWD/bus 2>/dev/null || echo stays", "stays"},
			{"what is below, in a user namespace", "unshare -Urm mount --bind $PWD /mnt 2>/dev/null || echo stays", "stays"},
			{"a removed cover", "rm -f bus 2>/dev/null || echo stays", "stays"},
			{"a renamed cover", "mv bus x 2>/dev/null || echo stays", "stays"},
			{"a link", "ln bus x 2>/dev/null || echo stays", "stays"},
		} {
			t.Run(test.name, func(t *testing.T) {
				out, _ := w.run("sh", "-c", test.script)
				if got := strings.TrimSpace(out); got != test.want {
					t.Errorf("%s: %q, want %q", test.script, got, test.want)
				}
			})
		}
	})
}

func TestExitCodesAreTheProgram(t *testing.T) {
	eachPerson(t, func(t *testing.T, w *world) {
		for _, test := range []struct {
			script string
			want   int
		}{{"exit 0", 0}, {"exit 7", 7}, {"kill -TERM $$", 128 + 15}, {"kill -KILL $$", 128 + 9}, {"sleep 1000 & exit 3", 3}} {
			if out, code := w.run("sh", "-c", test.script); code != test.want || out != "" {
				t.Errorf("%s: %d, want %d; %s", test.script, code, test.want, out)
			}
		}
		if out, code := w.run("/no/such/program"); code != 127 || out != "cannot run /no/such/program: no such file or directory\n" {
			t.Errorf("without a program: %d, %s", code, out)
		}
	})
}

func TestADirectoryAsStandardInputIsRefused(t *testing.T) {
	eachPerson(t, func(t *testing.T, w *world) {
		cmd := w.command(w.config("true"))
		dir, err := os.Open(w.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		cmd.Stdin = dir
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "standard input is a directory") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// Whoever runs a sandbox may be killed: nothing of it is left.
func TestNothingOutlivesTheParent(t *testing.T) {
	eachPerson(t, func(t *testing.T, w *world) {
		c := w.config("sh", "-c", "echo ready; exec sleep 1000")
		cmd := w.command(c)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(out)
		if line, err := r.ReadString('\n'); line != "ready\n" {
			t.Fatal(line, err)
		}
		cmd.Process.Kill()
		// The program has the other end of the pipe.
		done := make(chan error, 1)
		go func() { _, err := r.ReadByte(); done <- err }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Error("the program goes on")
		}
		cmd.Wait()
	})
}

func TestTypingOnTheTerminalIsRefused(t *testing.T) {
	filter, err := typingFilter("amd64")
	if err != nil || len(filter) != 4*9+1 {
		t.Fatalf("%d instructions, %v", len(filter), err)
	}
	if _, err := typingFilter("none"); err == nil {
		t.Error("a filter for no machine")
	}
	eachPerson(t, func(t *testing.T, w *world) {
		w.connectTo(w.bus) // so that the program is there
		// It is no terminal, but that is found out later.
		w.expect("operation not permitted", filepath.Join(w.dir, "program"), "type")
	})
}
