package daemon

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// shortDir makes a directory whose path leaves room for a socket's, which
// t.TempDir's need not.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kdbus-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// leaveStale leaves a socket file behind that nobody listens on.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// names returns what is in dir.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func mustListen(t *testing.T, list string) []*listener {
	t.Helper()
	opened, err := listen(list, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, l := range opened {
			l.close()
		}
	})
	return opened
}

// canConnect checks that somebody listens at l's address.
func canConnect(t *testing.T, l *listener) {
	t.Helper()
	network, name := "unix", ""
	tcp, err := l.address.TCP()
	if err == nil {
		network, name = tcp.Network(), net.JoinHostPort(tcp.Host, strconv.Itoa(int(tcp.Port)))
	} else if name, err = l.address.UnixName(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial(network, name)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListenMakesAConnectableAddress(t *testing.T) {
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	tests := []struct{ listen, prefix string }{
		{"unix:path=" + dir + "/a", "unix:path=" + dir + "/a"},
		{"unix:path=" + dir + "/with%20blank", "unix:path=" + dir + "/with%20blank"},
		{"unix:abstract=" + dir + "/b", "unix:abstract=" + dir + "/b"},
		{"unix:dir=" + dir, "unix:path=" + dir + "/dbus-"},
		{"unix:tmpdir=" + dir, "unix:path=" + dir + "/dbus-"},
		{"unix:runtime=yes", "unix:path=" + dir + "/bus"},
		{"unix:path=" + dir + "/c,guid=0123456789abcdef0123456789abcdef", "unix:path=" + dir + "/c"},
		{"tcp:", "tcp:host=localhost,port="},
		{"tcp:port=0", "tcp:host=localhost,port="},
		{"tcp:host=127.0.0.1,port=0", "tcp:host=127.0.0.1,port="},
		{"tcp:host=localhost,bind=*", "tcp:host=localhost,port="},
		{"tcp:bind=127.0.0.1", "tcp:host=localhost,port="},
		{"tcp:host=localhost,family=ipv4", "tcp:host=localhost,port="},
		{"tcp:host=localhost,bind=*,family=ipv4", "tcp:host=localhost,port="},
		{"tcp:host=%3a%3a1,family=ipv6", "tcp:host=%3A%3A1,port="},
		{"nonce-tcp:host=127.0.0.1", "nonce-tcp:host=127.0.0.1,port="},
	}
	for _, test := range tests {
		t.Run(test.listen, func(t *testing.T) {
			opened := mustListen(t, test.listen)
			if len(opened) != 1 {
				t.Fatalf("%d listeners", len(opened))
			}
			if got := opened[0].address.String(); !strings.HasPrefix(got, test.prefix) {
				t.Errorf("address %s, want %s...", got, test.prefix)
			}
			canConnect(t, opened[0])
		})
	}
}

func TestSocketFileIsOpenToAllAndLeavesNothingElse(t *testing.T) {
	dir := shortDir(t)
	opened := mustListen(t, "unix:path="+dir+"/bus")
	info, err := os.Stat(dir + "/bus")
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != fs.ModeSocket|0o666 {
		t.Errorf("mode %v", got)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the directory has %v", got)
	}
	if err := opened[0].close(); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("after close the directory has %v", got)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := shortDir(t)
	leaveStale(t, dir+"/bus")
	canConnect(t, mustListen(t, "unix:path="+dir+"/bus")[0])
}

func TestLiveSocketStays(t *testing.T) {
	dir := shortDir(t)
	first := mustListen(t, "unix:path="+dir+"/bus")[0]
	_, err := listen("unix:path="+dir+"/bus", slog.New(slog.DiscardHandler))
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "a server is listening on "+dir+"/bus") {
		t.Errorf("got %v", err)
	}
	canConnect(t, first)
}

func TestLiveSocketWithFullBacklogStays(t *testing.T) {
	dir := shortDir(t)
	path := dir + "/bus"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	waiting, err := net.Dial("unix", path) // fills the backlog: nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if _, err := listenPath(path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
}

func TestLiveSocketOfAnotherTypeStays(t *testing.T) {
	dir := shortDir(t)
	path := dir + "/bus"
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := listenPath(path); err == nil || !strings.Contains(err.Error(), "cannot tell whether") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoSocketStays(t *testing.T) {
	tests := []struct {
		kind string
		make func(path string) error
	}{
		{"a regular file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"a symbolic link", func(path string) error { return os.Symlink("nowhere", path) }},
		{"a special file", func(path string) error { return unix.Mkfifo(path, 0o600) }},
	}
	for _, test := range tests {
		t.Run(test.kind, func(t *testing.T) {
			path := shortDir(t) + "/bus"
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := listenPath(path)
			if err == nil || !strings.Contains(err.Error(), path+" exists and is "+test.kind) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFileThatIsNotOursAnyMoreStays(t *testing.T) {
	dir := shortDir(t)
	path := dir + "/bus"
	l, err := listenPath(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	leaveStale(t, path) // somebody else's
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("another's file is gone: %v", err)
	}
}

func TestCloseIsContentWhenFileOrDirectoryIsGone(t *testing.T) {
	dir := shortDir(t)
	for _, gone := range []string{dir + "/sub/bus", dir + "/sub"} {
		if err := os.MkdirAll(dir+"/sub", 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := listenPath(dir + "/sub/bus")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
		if err := l.close(); err != nil {
			t.Errorf("with %s gone: %v", gone, err)
		}
	}
}

// Of many daemons that meet at one stale socket, one gets the place and keeps it.
func TestOneOfManyGetsThePlace(t *testing.T) {
	for range 20 {
		dir := shortDir(t)
		path := dir + "/bus"
		leaveStale(t, path)
		const many = 8
		got := make([]*listener, many)
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				l, err := listenPath(path)
				if err == nil {
					got[i] = l
				} else if !errors.Is(err, syscall.EADDRINUSE) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		winners := 0
		for _, l := range got {
			if l != nil {
				winners++
				canConnect(t, l)
				if err := l.close(); err != nil {
					t.Error(err)
				}
			}
		}
		if winners != 1 {
			t.Fatalf("%d daemons have the place", winners)
		}
		if left := names(t, dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestListenTriesItsListInOrder(t *testing.T) {
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", "")
	opened := mustListen(t, "unix:runtime=yes;unix:path="+dir+"/fallback;unix:path="+dir+"/unused")
	if got := opened[0].address.String(); got != "unix:path="+dir+"/fallback" {
		t.Error(got)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("opened %v", got)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("LISTEN_FDS", "")
	mustListen(t, "unix:abstract="+dir)
	tests := []struct{ name, list, says string }{
		{"what it cannot parse", "unix:path", "equals sign"},
		{"a wrong address although another would do", "unix:pth=/x;unix:dir=" + dir, "needs one of the keys"},
		{"transports it does not speak", "x:host=localhost", "not one to listen on"},
		{"runtime without the variable", "unix:runtime=yes", "XDG_RUNTIME_DIR is not set"},
		{"systemd without the variable", "systemd:", "LISTEN_FDS is not set"},
		{"a directory that is not there", "unix:path=" + dir + "/none/bus", "the directory " + dir + "/none"},
		{"a random name where it gets too long", "unix:dir=" + filepath.Join(dir, strings.Repeat("x", 100)), "at most"},
		{"an abstract name that is taken", "unix:abstract=" + dir, "another process has that abstract name"},
		{"nothing but failures, naming each", "unix:runtime=yes;unix:abstract=" + dir, "unix:abstract="},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opened, err := listen(test.list, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, %v; want an error with %q", opened, err, test.says)
			}
		})
	}
}

func TestListenAllIsAllOrNothing(t *testing.T) {
	dir := shortDir(t)
	_, err := listenAll([]string{"unix:path=" + dir + "/a", "unix:path=" + dir + "/none/b"}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("no error")
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// A socket that cannot be served any longer ends the daemon, and Wait says why.
func TestBrokenSocketEndsTheDaemon(t *testing.T) {
	dir := shortDir(t)
	d, err := Start(Config{Addresses: []string{"unix:path=" + dir + "/a"}})
	if err != nil {
		t.Fatal(err)
	}
	canConnect(t, d.doors[0].listener)
	broken, err := listenPath(dir + "/b")
	if err != nil {
		t.Fatal(err)
	}
	if err := broken.sockets[0].Close(); err != nil {
		t.Fatal(err)
	}
	o := newDoor(broken)
	d.doors = append(d.doors, o)
	d.serve(o, d.server.Server)
	if err := d.Wait(); err == nil || !strings.Contains(err.Error(), "serve unix:path="+dir+"/b: ") {
		t.Errorf("Wait: %v", err)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
