package daemon_test

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// The stage of the tests of metadata: processes of a bus and of senders, which are this test program in a role, and
// connections of both kinds for them to write to.

const roleVariable = "KDBUS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "bus":
		runBus()
	case "writer":
		runWriter()
	default:
		os.Exit(m.Run())
	}
}

// runBus serves at the socket named by the first argument until standard input ends.
func runBus() {
	d, err := daemon.Start(daemon.Config{Addresses: []string{"unix:path=" + os.Args[1]}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
	io.Copy(io.Discard, os.Stdin)
	d.Shutdown()
}

// runWriter does what the lines on standard input say, with the socket that is descriptor 3.
func runWriter() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if err := writerCommands[words[0]](words[1:]); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("ok")
	}
}

var writerCommands map[string]func(args []string) error

func init() {
	writerCommands = map[string]func([]string) error{
		"pid": func([]string) error { fmt.Println(os.Getpid()); return nil },
		"write": func(args []string) error {
			b, err := hex.DecodeString(args[0])
			if err == nil {
				_, err = unix.Write(3, b)
			}
			return err
		},
		"setgid": func(args []string) error { return syscall.Setgid(number(args[0])) },
		"setuid": func(args []string) error { return syscall.Setuid(number(args[0])) },
		"comm":   func(args []string) error { return os.WriteFile("/proc/self/comm", []byte(args[0]), 0) },
		"exec": func(args []string) error {
			fmt.Println("ok") // it is the new program that does what comes next
			return syscall.Exec("/proc/self/exe", args, os.Environ())
		},
		"child": func(args []string) error {
			child := exec.Command("/proc/self/exe", "child")
			child.ExtraFiles = []*os.File{os.NewFile(3, "socket")}
			child.Stdin = strings.NewReader("write " + args[0] + "\n")
			return child.Run()
		},
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// program is a process that this test binary runs as.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startProgram(t *testing.T, role string, attr *syscall.SysProcAttr, files []*os.File, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command("/proc/self/exe", args...)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0") // or each would take a second to end
	p.cmd.ExtraFiles = files
	p.cmd.SysProcAttr = attr
	p.cmd.Stderr = os.Stderr
	var err1, err2 error
	var out io.Reader
	p.in, err1 = p.cmd.StdinPipe()
	out, err2 = p.cmd.StdoutPipe()
	p.out = bufio.NewReader(out)
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	return p
}

// end ends the process, by closing its standard input, and reaps it.
func (p *program) end() {
	p.in.Close()
	p.cmd.Wait()
}

// line returns the next line that the process says.
func (p *program) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%v ended: %v", p.cmd.Args, err)
	}
	return strings.TrimSpace(line)
}

// do has a writer do something.
func (p *program) do(command string) {
	p.t.Helper()
	fmt.Fprintln(p.in, command)
	if got := p.line(); got != "ok" {
		p.t.Fatalf("%s: %s", command, got)
	}
}

// pid is the number of the process here.
func (p *program) pid() int { return p.cmd.Process.Pid }

// stage is a bus, a native receiver on it that wants to know everything, and a connection for a
// writer to write to.
type stage struct {
	t        *testing.T
	bus      *program
	receiver *nativetest.Client
	sender   conversation
}

// conversation is the sending side of a connection: it makes messages, which somebody else writes.
type conversation interface {
	// signal returns the bytes that send a signal to the connection with this id.
	signal(cookie uint64, to uint64) []byte
	// stream is where its bytes go.
	stream() io.Writer
	// socket is a new descriptor of that.
	socket() *os.File
}

// senders are the kinds of connection that messages can come from.
var senders = map[string]func(t testing.TB, path string) conversation{
	"native":  func(t testing.TB, path string) conversation { return newNativeSender(t, path) },
	"D-Bus 1": func(t testing.TB, path string) conversation { return newDBusSender(t, path) },
}

func onEachSender(t *testing.T, test func(t *testing.T, s *stage)) {
	for name, connect := range senders {
		t.Run(name, func(t *testing.T) { test(t, newStage(t, connect)) })
	}
}

func newStage(t *testing.T, connect func(testing.TB, string) conversation) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "kdbus-metadata-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "bus")
	s := &stage{t: t, bus: startProgram(t, "bus", nil, nil, path)}
	if got := s.bus.line(); got != "ok" {
		t.Fatal(got)
	}
	s.receiver = dialNative(t, path, abi.Hello{AttachFlagsRecv: abi.AttachAny})
	s.sender = connect(t, path)
	return s
}

func dialNative(t *testing.T, path string, hello abi.Hello) *nativetest.Client {
	t.Helper()
	c, err := nativetest.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Hello(hello); err != nil {
		t.Fatal(err)
	}
	return c
}

// writer starts a process that has the sender's socket.
func (s *stage) writer(attr *syscall.SysProcAttr) *program {
	s.t.Helper()
	socket := s.sender.socket()
	defer socket.Close()
	return startProgram(s.t, "writer", attr, []*os.File{socket}, "writer", "one")
}

var cookies uint64

// message returns a message to the receiver, in hexadecimal.
func (s *stage) message() string {
	cookies++
	return hex.EncodeToString(s.sender.signal(cookies, s.receiver.ID))
}

// received returns what is said of the sender of the next message.
func (s *stage) received() abi.Metadata {
	s.t.Helper()
	m, err := s.receiver.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	if m.Cookie != cookies {
		s.t.Fatalf("message %d arrived, want %d", m.Cookie, cookies)
	}
	return m.Meta
}

// by has p write a message, and returns what the receiver is told of its sender.
func (s *stage) by(p *program) abi.Metadata {
	s.t.Helper()
	p.do("write " + s.message())
	return s.received()
}

// nativeSender is a native connection.
type nativeSender struct {
	t    testing.TB
	conn *net.UnixConn
	*nativetest.Client
}

func newNativeSender(t testing.TB, path string) *nativeSender {
	t.Helper()
	conn := dialUnix(t, path)
	c, err := nativetest.New(conn)
	if err == nil {
		err = c.Hello(abi.Hello{Description: "sender"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &nativeSender{t, conn, c}
}

func (s *nativeSender) signal(cookie, to uint64) []byte {
	o := nativetest.Outgoing{Message: abi.Message{DstID: to, Cookie: cookie}, Body: dbusSignal(s.t, uint32(cookie), to)}
	b, _ := s.Request(abi.CmdSend, abi.FrameQuiet, 0, o.Encode()...)
	return b
}

func (s *nativeSender) stream() io.Writer { return s.conn }

func (s *nativeSender) socket() *os.File { return fileOf(s.t, s.conn) }

// dbusSender is a D-Bus 1 connection.
type dbusSender struct {
	t    testing.TB
	conn *net.UnixConn
}

func newDBusSender(t testing.TB, path string) *dbusSender {
	t.Helper()
	c := dialUnix(t, path)
	hello := wire.Message{Header: wire.Header{Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: 1 << 30,
		Path: "/org/freedesktop/DBus", Interface: "org.freedesktop.DBus", Member: "Hello", Destination: "org.freedesktop.DBus"}}
	b, err := hello.Append([]byte("\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	// NameAcquired is the last thing that the bus says by itself.
	said := ""
	for buf := make([]byte, 4096); !strings.Contains(said, "NameAcquired"); {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", said, err)
		}
		said += string(buf[:n])
	}
	return &dbusSender{t, c}
}

func (s *dbusSender) signal(cookie, to uint64) []byte { return dbusSignal(s.t, uint32(cookie), to) }

func (s *dbusSender) stream() io.Writer { return s.conn }

func (s *dbusSender) socket() *os.File { return fileOf(s.t, s.conn) }

func dbusSignal(t testing.TB, serial uint32, to uint64) []byte {
	t.Helper()
	m := wire.Message{Header: wire.Header{Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: serial, Flags: wire.NoReplyExpected,
		Path: "/here", Interface: "com.example.Metadata", Member: "Look", Destination: fmt.Sprintf(":1.%d", to)}}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func dialUnix(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func fileOf(t testing.TB, c *net.UnixConn) *os.File {
	t.Helper()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (s *stage) expect(what string, got, want any) {
	s.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// pause stops the bus and returns what lets it go on.
func (s *stage) pause() (resume func()) {
	s.t.Helper()
	if err := syscall.Kill(s.bus.pid(), syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(s.bus.pid(), &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		s.t.Fatalf("the bus does not stop: %v, %v", status, err)
	}
	return func() {
		if err := syscall.Kill(s.bus.pid(), syscall.SIGCONT); err != nil {
			s.t.Fatal(err)
		}
	}
}
