package meta_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

// The tests of collecting are about other processes, so there have to be some. A process here is the
// test's own binary again, which reads commands from its standard input and answers each with a line:
// see serveProcess.

const processEnv = "KDBUS_META_TEST_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(processEnv) != "" {
		serveProcess()
		return
	}
	os.Exit(m.Run())
}

// isRoot tells whether everything can be tested.
var isRoot = os.Geteuid() == 0

// process is another process, connected to us by a socket that it inherited: its descriptor 3.
type process struct {
	t       testing.TB
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	sock    int // our end, on which the kernel tells who sends
	waited  bool
	started int // pid
}

// start starts a process, which ends with the test at the latest.
func start(t testing.TB, attr *syscall.SysProcAttr) *process {
	t.Helper()
	p := &process{t: t}
	ours, theirs := socketPair(t)
	p.sock = ours
	p.cmd = exec.Command("/proc/self/exe", "the", "original")
	p.cmd.Env = append(os.Environ(), processEnv+"=1", "GORACE=atexit_sleep_ms=0")
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = attr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start a process: %v", err)
	}
	theirs.Close()
	p.started = p.cmd.Process.Pid
	t.Cleanup(p.exit)
	p.answer("start")
	return p
}

func socketPair(t testing.TB) (ours int, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]) })
	if err := meta.Socket(fds[0]).SetPassing(true); err != nil {
		t.Fatal(err)
	}
	return fds[0], os.NewFile(uintptr(fds[1]), "socket")
}

// do lets the process do something and returns its answer.
func (p *process) do(command string, args ...any) string {
	p.t.Helper()
	line := strings.TrimSpace(command + " " + fmt.Sprintln(args...))
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	return p.answer(line)
}

func (p *process) answer(command string) string {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%s: the process has ended: %v", command, err)
	}
	answer, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "ok")
	if !ok {
		p.t.Fatalf("%s: %s", command, line)
	}
	return strings.TrimPrefix(answer, " ")
}

// exit ends the process, and returns when its pid is free.
func (p *process) exit() {
	if p.waited {
		return
	}
	p.waited = true
	p.stdin.Close()
	_ = p.cmd.Wait()
}

// sends lets the process send a message, and returns whom the kernel says it is from.
func (p *process) sends() meta.Sender {
	p.t.Helper()
	p.do("send")
	sender := receive(p.t, p.sock)
	if !sender.Known || sender.PIDFD <= 0 {
		p.t.Fatalf("the kernel does not say who sent: %+v; Linux 6.5 does", sender)
	}
	return sender
}

// receive takes a message, and returns whom it is from.
func receive(t testing.TB, sock int) meta.Sender {
	t.Helper()
	sender, err := receiveFrom(sock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	return sender
}

func receiveFrom(sock int) (meta.Sender, error) {
	oob := make([]byte, meta.MaxControl)
	_, n, _, _, err := unix.Recvmsg(sock, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return meta.Sender{}, fmt.Errorf("receive: %w", err)
	}
	control, err := meta.ParseControl(oob[:n])
	return control.Sender, err
}

// collects lets the process say what it collected.
func (p *process) collects(command string, args ...any) (d meta.Data) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.do(command, args...)), &d); err != nil {
		p.t.Fatal(err)
	}
	return d
}

// serveProcess is what a process does.
func serveProcess() {
	fmt.Println("ok")
	for {
		line, ok := readLine()
		if !ok {
			return
		}
		args := strings.Split(line, " ")
		if line == "exit" {
			return
		}
		command, known := commands[args[0]]
		if !known {
			fmt.Printf("no such command: %q\n", line)
			continue
		}
		answer, err := command(args[1:])
		if err != nil {
			fmt.Printf("%v\n", err)
			continue
		}
		fmt.Printf("ok %s\n", answer)
	}
}

// readLine reads no more than a line, so that a child or another program can read on.
func readLine() (string, bool) {
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		n, err := unix.Read(0, b)
		if err == unix.EINTR {
			n, b[0] = 0, 0
			continue
		}
		if n != 1 || err != nil {
			return "", false
		}
		if b[0] == '\n' {
			return string(line), true
		}
	}
}

func ints(args []string) []int {
	numbers := make([]int, len(args))
	for i, arg := range args {
		numbers[i], _ = strconv.Atoi(arg)
	}
	return numbers
}

func answerData(d meta.Data) (string, error) {
	text, err := json.Marshal(d)
	return string(text), err
}

var commands map[string]func(args []string) (string, error)

func init() {
	commands = map[string]func(args []string) (string, error){
		"pid": func([]string) (string, error) { return strconv.Itoa(os.Getpid()), nil },
		"send": func([]string) (string, error) {
			_, err := unix.Write(3, []byte("x"))
			return "", err
		},
		"connect": func(args []string) (string, error) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return "", err
			}
			return "", unix.Connect(fd, &unix.SockaddrUnix{Name: args[0]})
		},
		"comm": func(args []string) (string, error) {
			return "", os.WriteFile("/proc/self/comm", []byte(strings.Join(args, " ")), 0)
		},
		"setgroups":  func(args []string) (string, error) { return "", syscall.Setgroups(ints(args)) },
		"setresuid":  func(args []string) (string, error) { n := ints(args); return "", syscall.Setresuid(n[0], n[1], n[2]) },
		"setresgid":  func(args []string) (string, error) { n := ints(args); return "", syscall.Setresgid(n[0], n[1], n[2]) },
		"exec":       func(args []string) (string, error) { return "", syscall.Exec("/proc/self/exe", args, os.Environ()) },
		"execfile":   func(args []string) (string, error) { return "", syscall.Exec(args[0], args, os.Environ()) },
		"child":      runChild,
		"chroot":     func(args []string) (string, error) { return "", syscall.Chroot(args[0]) },
		"own-proc":   func([]string) (string, error) { return "", mountProc("") },
		"hide-procs": func([]string) (string, error) { return "", mountProc("hidepid=2") },
		"receive": func([]string) (string, error) {
			sender, err := receiveFrom(3)
			if err != nil {
				return "", err
			}
			defer sender.Close()
			return answerData(sender.Collect(meta.AllKinds))
		},
		"pass": func([]string) (string, error) { return "", meta.Socket(3).SetPassing(true) },
		"send-to-self": func([]string) (string, error) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return "", err
			}
			if err := meta.Socket(fds[0]).SetPassing(true); err != nil {
				return "", err
			}
			if _, err := unix.Write(fds[1], []byte("x")); err != nil {
				return "", err
			}
			sender, err := receiveFrom(fds[0])
			if err != nil {
				return "", err
			}
			defer sender.Close()
			return answerData(sender.Collect(meta.AllKinds))
		},
		"reuse-pid": reusePID,
	}
}

// runChild lets a child take over, which inherits the socket, until it is told to "exit": then this
// process goes on.
func runChild([]string) (string, error) {
	child := exec.Command("/proc/self/exe", "a", "child")
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.ExtraFiles = []*os.File{os.NewFile(3, "socket")}
	return "", child.Run()
}

func mountProc(options string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, options); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}
