package daemon

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// passed makes a descriptor as systemd passes it.
func passed(t *testing.T, kind int, name string, listen bool) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	if name != "" {
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if listen {
		if err := unix.Listen(fd, 1); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestAdoptTakesTheAddressFromTheSocket(t *testing.T) {
	dir := shortDir(t)
	got, err := adopt([]*os.File{
		passed(t, unix.SOCK_STREAM, dir+"/bus", true),
		passed(t, unix.SOCK_STREAM, "@"+dir+"/abstract", true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d listeners", len(got))
	}
	for i, want := range []string{"unix:path=" + dir + "/bus", "unix:abstract=" + dir + "/abstract"} {
		if a := got[i].address.String(); a != want {
			t.Errorf("address %s, want %s", a, want)
		}
		canConnect(t, got[i])
		if err := got[i].close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(dir + "/bus"); err != nil {
		t.Errorf("systemd's file is gone: %v", err)
	}
}

func TestAdoptTakesTCPSockets(t *testing.T) {
	for bind, want := range map[string]string{"127.0.0.1": "tcp:host=127.0.0.1,port=%d,family=ipv4", "[::]": "tcp:host=%%3A%%3A1,port=%d,family=ipv6"} {
		tcp, err := net.Listen("tcp", bind+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		file, err := tcp.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		got, err := adopt([]*os.File{file})
		if err != nil {
			t.Fatal(err)
		}
		defer got[0].close()
		want := fmt.Sprintf(want, tcp.Addr().(*net.TCPAddr).Port)
		if a := got[0].address.String(); a != want {
			t.Errorf("address %s, want %s", a, want)
		}
		canConnect(t, got[0])
	}
}

func TestAdoptRefuses(t *testing.T) {
	dir := shortDir(t)
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tests := []struct {
		name string
		file *os.File
		says string
	}{
		{"a pipe", pipe, "no socket"},
		{"a socket that does not listen", passed(t, unix.SOCK_STREAM, dir+"/a", false), "not a listening stream socket"},
		{"datagrams", passed(t, unix.SOCK_DGRAM, dir+"/b", false), "not a listening stream socket"},
		{"sequenced packets", passed(t, unix.SOCK_SEQPACKET, dir+"/c", true), "not a listening stream socket"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := adopt([]*os.File{test.file})
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, %v; want an error with %q", got, err, test.says)
			}
		})
	}
}
