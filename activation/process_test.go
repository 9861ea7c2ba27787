package activation

import (
	"bufio"
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

func TestJournalStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stream, err := journalStream(path, "com.example.A", journalWarning)
	if err != nil {
		t.Fatal(err)
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, stream.Fd(), syscall.F_GETFL, 0)
	if errno != 0 || flags&syscall.O_NONBLOCK != 0 {
		t.Errorf("flags %#x, %v", flags, errno)
	}
	if _, err := stream.WriteString("a line\n"); err != nil {
		t.Error(err)
	}
	stream.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var got []string
	for s := bufio.NewScanner(conn); s.Scan(); {
		got = append(got, s.Text())
	}
	want := []string{"com.example.A", "", "4", "0", "0", "0", "0", "a line"}
	if len(got) != len(want) {
		t.Fatalf("%q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i, got[i], want[i])
		}
	}
	if _, err := journalStream(path+"none", "x", journalInfo); err == nil {
		t.Error("there is a journal where there is none")
	}
}
