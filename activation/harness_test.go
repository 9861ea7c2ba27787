package activation_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/internal/testlog"
)

// TestMain makes of the test binary the services that the tests start, too: they are told by the
// command line what to do, see roles.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "service" {
		role, known := roles[os.Args[2]]
		if !known {
			fmt.Fprintln(os.Stderr, "no such role:", os.Args[2])
			os.Exit(99)
		}
		if err := role(os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[2:], err)
			os.Exit(98)
		}
		os.Exit(0)
	}
	// Services with the race detector in them would each wait a second at their end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// roles are what a service can do.
var roles = map[string]func(args []string) error{
	// owns a name, and answers calls
	"echo": func(args []string) error { return serve(args[0]) },
	"exit": func(args []string) error {
		code := 0
		fmt.Sscan(args[0], &code)
		os.Exit(code)
		return nil
	},
	"crash": func([]string) error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) },
	// connects and never takes its name
	"idle": func([]string) error {
		conn, err := connectStarter()
		if err == nil {
			<-conn.Context().Done()
		}
		return err
	},
	// starts another process that serves, and exits well: a daemon
	"fork": func(args []string) error {
		_, err := os.StartProcess("/proc/self/exe", []string{os.Args[0], "service", "echo", args[0]}, &os.ProcAttr{
			Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr},
		})
		return err
	},
}

func connectStarter() (*dbus.Conn, error) { return connectTo(os.Getenv("DBUS_STARTER_ADDRESS")) }

func connectTo(address string) (*dbus.Conn, error) {
	conn, err := dbus.Dial(address)
	if err != nil {
		return nil, err
	}
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

const iface = "com.example.Iface"

// object is what services export at /x.
type object struct{ conn *dbus.Conn }

func (object) Echo(s string) (string, *dbus.Error) { return s, nil }

func (object) PID() (int32, *dbus.Error) { return int32(os.Getpid()), nil }

// Process tells about the process: its environment, its limits, what it has open.
func (object) Process() (environment []string, facts map[string]string, _ *dbus.Error) {
	facts = map[string]string{"session": fmt.Sprint(syscall.Getppid())}
	for i := range 64 {
		if link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", i)); err == nil {
			facts[fmt.Sprintf("fd%d", i)] = link
		}
	}
	if b, err := os.ReadFile("/proc/self/limits"); err == nil {
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "Max open files") {
				facts["files"] = strings.Join(strings.Fields(line)[3:5], " ")
			}
		}
	}
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); name == "SigBlk" {
				facts["blocked"] = strings.TrimSpace(value)
			}
		}
	}
	return os.Environ(), facts, nil
}

// Quit ends the process without an answer.
func (object) Quit() *dbus.Error {
	os.Exit(0)
	return nil
}

func serve(name string) error {
	conn, err := connectStarter()
	if err != nil {
		return err
	}
	if err := conn.Export(object{conn}, "/x", iface); err != nil {
		return err
	}
	if _, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil {
		return err
	}
	<-conn.Context().Done()
	return nil
}

// testBus is a bus of its own, with a directory for services.
type testBus struct {
	*testing.T
	daemon *daemon.Daemon
	dir    string
	log    *testlog.Buffer
}

// options change the configuration of a testBus.
type options struct {
	elements string // of the configuration
	change   func(*daemon.Config)
	services map[string]string // Exec, and further lines, by name
}

const permissive = `<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>`

func newBus(t *testing.T, o options) *testBus {
	t.Helper()
	dir, err := os.MkdirTemp("", "activation-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &testBus{T: t, dir: dir, log: new(testlog.Buffer)}
	if err := os.Mkdir(filepath.Join(dir, "services"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, exec := range o.services {
		b.put(name, exec)
	}
	b.configure(o.elements)
	file, err := daemon.Load(filepath.Join(dir, "bus.conf"))
	if err != nil {
		t.Fatal(err)
	}
	config := daemon.Config{File: file, MachineID: strings.Repeat("0", 32), Log: slog.New(slog.NewTextHandler(b.log, nil))}
	if o.change != nil {
		o.change(&config)
	}
	b.daemon, err = daemon.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.daemon.Shutdown()
		if t.Failed() {
			t.Logf("the log of the bus:\n%s", b.log)
		}
	})
	return b
}

// configure writes the configuration.
func (b *testBus) configure(elements string) {
	b.Helper()
	text := fmt.Sprintf(`<busconfig><type>session</type><listen>unix:path=%s/bus</listen><servicedir>%[1]s/services</servicedir>%s%s</busconfig>`,
		b.dir, permissive, elements)
	if err := os.WriteFile(filepath.Join(b.dir, "bus.conf"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

// role returns a command line that makes the test binary a service.
func role(words ...string) string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exe + " service " + strings.Join(words, " ")
}

// put writes a .service file.
func (b *testBus) put(name, exec string) {
	b.Helper()
	text := "[D-BUS Service]\nName=" + name + "\nExec=" + exec + "\n"
	if err := os.WriteFile(b.file(name), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

func (b *testBus) file(name string) string { return filepath.Join(b.dir, "services", name+".service") }

// process asks a service of the role echo about its process.
func (b *testBus) process(c *client, name string) (environment []string, facts map[string]string) {
	b.Helper()
	answer := c.await(c.send(c.to(name, "Process")))
	if err := answer.Decode(&environment, &facts); err != nil {
		b.Fatal(describe(answer), err)
	}
	return environment, facts
}

// fifo makes a named pipe, and opens it for reading and writing.
func (b *testBus) fifo(name string) (path string, f *os.File) {
	b.Helper()
	path = filepath.Join(b.dir, name)
	err := syscall.Mkfifo(path, 0o600)
	if err == nil {
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return path, f
}
