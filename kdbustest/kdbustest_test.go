package kdbustest_test

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// endingT is a test that ends when we say so. What it does not define itself would
// panic: it embeds a nil interface, which testing.TB wants of implementations.
type endingT struct {
	testing.TB
	cleanups []func()
	failed   bool
	log      strings.Builder
}

func (t *endingT) Helper()          {}
func (t *endingT) Failed() bool     { return t.failed }
func (t *endingT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }
func (t *endingT) Fatal(args ...any) {
	panic(args)
}
func (t *endingT) Logf(format string, args ...any) {
	for _, arg := range args {
		t.log.WriteString(arg.(string))
	}
}

func (t *endingT) end() {
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		t.cleanups[last]()
		t.cleanups = t.cleanups[:last]
	}
}

func connect(t *testing.T, b *kdbustest.Bus) *dbus.Conn {
	t.Helper()
	conn, err := dbus.Connect(b.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestClientsMeetOnTheBus(t *testing.T) {
	b := kdbustest.Start(t)
	owner, watcher := connect(t, b), connect(t, b)
	if reply, err := owner.RequestName("com.example.Name", 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	var got string
	if err := watcher.BusObject().Call("org.freedesktop.DBus.GetNameOwner", 0, "com.example.Name").Store(&got); err != nil {
		t.Fatal(err)
	}
	if want := owner.Names()[0]; got != want {
		t.Errorf("the owner is %s, want %s", got, want)
	}
}

func TestBusesAreStrangersToEachOther(t *testing.T) {
	a, b := kdbustest.Start(t), kdbustest.Start(t)
	if _, err := connect(t, a).RequestName("com.example.Name", 0); err != nil {
		t.Fatal(err)
	}
	var has bool
	if err := connect(t, b).BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "com.example.Name").Store(&has); err != nil {
		t.Fatal(err)
	}
	if has {
		t.Error("a name of one bus is on the other")
	}
}

// The kernel takes 107 bytes for a socket's path; a test's name may be longer.
func TestALongNameOfATestDoesNotMatter(t *testing.T) {
	t.Run(strings.Repeat("long", 50), func(t *testing.T) {
		connect(t, kdbustest.Start(t))
	})
}

func TestALongTemporaryDirectoryDoesNotMatter(t *testing.T) {
	long := t.TempDir() + "/" + strings.Repeat("x", 100)
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", long)
	t.Setenv("TMPDIR", long)
	connect(t, kdbustest.Start(t))
}

func TestAFailedTestShowsTheLog(t *testing.T) {
	ending := &endingT{failed: true}
	b := kdbustest.Start(ending)
	socket := dialRaw(t, b)
	if _, err := socket.Write([]byte("no nul byte\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := socket.Read(make([]byte, 1)); err == nil {
		t.Fatalf("read %d bytes", n)
	}
	ending.end()
	if !strings.Contains(ending.log.String(), "disconnecting a peer") {
		t.Errorf("the log is %q", ending.log.String())
	}
}

// After the test nothing of the bus is left, also when clients are still connected.
func TestNothingIsLeft(t *testing.T) {
	once := func() (socket string) {
		ending := &endingT{}
		b := kdbustest.Start(ending)
		conn := dialRaw(t, b) // never reads, never hangs up
		socket = conn.RemoteAddr().String()
		if _, err := conn.Write([]byte("\x00AUTH EXTERNAL\r\n")); err != nil {
			t.Fatal(err)
		}
		ending.end()
		conn.Close()
		return socket
	}
	once() // what the runtime opens once and keeps
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 10 {
		socket := once()
		if _, err := os.Lstat(socket); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", socket, err)
		}
		if dir := strings.TrimSuffix(socket, "/bus"); dir != socket {
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", dir, err)
			}
		} else {
			t.Errorf("unexpected socket %s", socket)
		}
	}
	// Goroutines that have done their work may take a moment to be gone.
	for n := 0; runtime.NumGoroutine() > goroutines && n < 100_000; n++ {
		runtime.Gosched()
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines, %d before", got, goroutines)
	}
	if got := openFiles(t); got > files {
		t.Errorf("%d open files, %d before", got, files)
	}
}

// dialRaw connects a socket to the bus and leaves the protocol to the caller.
func dialRaw(t *testing.T, b *kdbustest.Bus) net.Conn {
	t.Helper()
	a, err := address.ParseOne(b.Address())
	if err != nil {
		t.Fatal(err)
	}
	name, err := a.UnixName()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
