package daemon

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAddressesToListenOnThatAreRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for list, says := range map[string]string{
		"tcp:host=127.0.0.1,port=" + port:        "address already in use",
		"tcp:host=192.0.2.1":                     "cannot assign requested address",
		"tcp:host=does-not-exist.invalid":        "find the interface to listen on",
		"tcp:host=127.0.0.1,family=ipv6":         "find the interface to listen on",
		"tcp:family=ipx":                         `must be "ipv4" or "ipv6"`,
		"nonce-tcp:noncefile=/tmp/nonce":         "is for clients",
		"launchd:env=DBUS":                       "launchd of macOS",
		"autolaunch:":                            "start a bus of their own",
		"unixexec:path=/bin/true":                "is for clients",
		"unix:path=/tmp/a,abstract=b":            "exclude each other",
		"unix:tmpdir=/tmp;launchd:env=DBUS":      "launchd of macOS",
		"unix:path=/tmp/a,guid=0123456789abcdef": "32 hexadecimal digits",
		"carrier-pigeon:coop=1":                  "is not one to listen on",
	} {
		opened, err := listen(list, slog.New(slog.DiscardHandler))
		for _, l := range opened {
			l.close()
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error with %q", list, err, says)
		}
	}
}

func TestAllSocketsOfAnAddressHaveOnePort(t *testing.T) {
	l := mustListen(t, "tcp:host=localhost")[0]
	_, want, _ := net.SplitHostPort(l.sockets[0].Addr().String())
	for _, socket := range l.sockets {
		if _, port, _ := net.SplitHostPort(socket.Addr().String()); port != want {
			t.Errorf("%s, want the port %s", socket.Addr(), want)
		}
	}
	if port, _ := l.address.Get("port"); port != want {
		t.Errorf("the address is %s, want the port %s", l.address, want)
	}
}

func TestNonceFileIsPrivateAndRemoved(t *testing.T) {
	t.Setenv("TMPDIR", shortDir(t))
	l := mustListen(t, "nonce-tcp:host=127.0.0.1")[0]
	file, _ := l.address.Get("noncefile")
	content, err := os.ReadFile(file)
	if err != nil || string(content) != string(l.nonce[:]) {
		t.Errorf("the nonce file has %x, %v, want %x", content, err, *l.nonce)
	}
	for name, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if left := names(t, os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// The bus becomes another user after it has listened, and has to be able to remove the file then.
func TestNonceFileIsOfTheUserWhomTheBusBecomes(t *testing.T) {
	t.Setenv("TMPDIR", shortDir(t))
	owner := Owner{UID: 65534, GID: 65533}
	if os.Geteuid() != 0 {
		owner = Owner{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	}
	var file string
	listening := func(string) error {
		dir := filepath.Join(os.Getenv("TMPDIR"), names(t, os.Getenv("TMPDIR"))[0])
		file = filepath.Join(dir, "nonce")
		for _, path := range []string{file, dir} {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			stat := info.Sys().(*syscall.Stat_t)
			if got := (Owner{stat.Uid, stat.Gid}); got != owner {
				t.Errorf("%s belongs to %+v, want %+v", path, got, owner)
			}
		}
		return nil
	}
	d, err := Start(Config{Addresses: []string{"nonce-tcp:host=127.0.0.1"}, Owner: &owner, Listening: listening})
	if err != nil {
		t.Fatal(err)
	}
	d.Shutdown()
	if file == "" {
		t.Error("nobody was told that the bus listens")
	}
}
