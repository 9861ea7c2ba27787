package daemon_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/daemon"
)

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kdbus-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, config daemon.Config) *daemon.Daemon {
	t.Helper()
	d, err := daemon.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	return d
}

// authenticate connects to a, and returns the connection and the GUID that the server
// says it has.
func authenticate(t *testing.T, a address.Address) (net.Conn, string) {
	t.Helper()
	name, err := a.UnixName()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "\x00AUTH EXTERNAL\r\nDATA\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if guid, ok := strings.CutPrefix(line, "OK "); ok {
			return conn, strings.TrimSpace(guid)
		}
	}
}

func TestEveryAddressHasItsOwnGUID(t *testing.T) {
	dir := shortDir(t)
	d := start(t, daemon.Config{Addresses: []string{"unix:path=" + dir + "/a", "unix:abstract=" + dir + "/b"}})
	list := d.Addresses()
	if len(list) != 2 || list[0].GUID() == list[1].GUID() {
		t.Fatalf("addresses %v", list)
	}
	for _, a := range list {
		if _, guid := authenticate(t, a); guid != a.GUID() {
			t.Errorf("%s: the server says %s", a, guid)
		}
	}
	parsed, err := address.Parse(d.Address())
	if err != nil || len(parsed) != 2 {
		t.Errorf("Address() is %q: %v", d.Address(), err)
	}
}

func TestShutdownDisconnectsAndTakesTheSocketsAway(t *testing.T) {
	dir := shortDir(t)
	d := start(t, daemon.Config{Addresses: []string{"unix:path=" + dir + "/a", "unix:dir=" + dir}})
	var conns []net.Conn
	for _, a := range d.Addresses() {
		conn, _ := authenticate(t, a)
		conns = append(conns, conn)
	}
	var wg sync.WaitGroup
	for range 3 { // any number of times, at once
		wg.Go(d.Shutdown)
	}
	wg.Go(func() {
		if err := d.Wait(); err != nil {
			t.Errorf("Wait: %v", err)
		}
	})
	wg.Wait()
	for _, conn := range conns {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes", n)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := d.Wait(); err != nil {
		t.Errorf("Wait afterwards: %v", err)
	}
	// Its place is free.
	start(t, daemon.Config{Addresses: []string{"unix:path=" + dir + "/a"}})
}

func TestDefaultAddress(t *testing.T) {
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	d := start(t, daemon.Config{})
	if got := d.Addresses()[0].With("guid", "").String(); got != "unix:path="+dir+"/bus" {
		t.Errorf("with XDG_RUNTIME_DIR: %s", got)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if got := daemon.DefaultAddress(); got != "unix:tmpdir=/tmp" {
		t.Errorf("without: %s", got)
	}
}

func TestStartPrivate(t *testing.T) {
	runtime, temporary := shortDir(t), shortDir(t)
	long := filepath.Join(shortDir(t), strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, runtime, temporary, want string
	}{
		{"in the runtime directory", runtime, temporary, runtime},
		{"in the temporary one without it", "", temporary, temporary},
		{"in the temporary one when the path gets too long", long, temporary, temporary},
		{"in the temporary one when the other is missing", runtime + "/none", temporary, temporary},
		{"in /tmp at last", long, long, "/tmp"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", test.runtime)
			t.Setenv("TMPDIR", test.temporary)
			d, err := daemon.StartPrivate(daemon.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(d.Shutdown)
			socket, _ := d.Addresses()[0].Get("path")
			dir := filepath.Dir(socket)
			if filepath.Dir(dir) != test.want {
				t.Errorf("the socket is %s, want it in a directory in %s", socket, test.want)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", dir, info.Mode(), err)
			}
			authenticate(t, d.Addresses()[0])
			d.Shutdown()
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", dir, err)
			}
		})
	}
	if left, err := os.ReadDir(long); err != nil || len(left) != 0 {
		t.Errorf("left where the path got too long: %v, %v", left, err)
	}
}

func TestStartPrivateChoosesItsAddress(t *testing.T) {
	if _, err := daemon.StartPrivate(daemon.Config{Addresses: []string{"unix:path=/x"}}); err == nil {
		t.Error("no error")
	}
}
