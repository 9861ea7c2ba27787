package kdbus

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// answering returns a socket at the other end of which lines are answered as told, until BEGIN. What
// was said there is in said, when that is closed.
func answering(t *testing.T, answers map[string]string) (s *socket, said chan string) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = newSocket(fds[0], "pair"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	file := os.NewFile(uintptr(fds[1]), "pair")
	server, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	said = make(chan string, 100)
	go func() {
		defer close(said)
		defer server.Close()
		in := bufio.NewScanner(server)
		for in.Scan() {
			line := strings.TrimPrefix(in.Text(), "\x00")
			said <- line
			if line == "BEGIN" {
				return
			}
			fmt.Fprintf(server, "%s\r\n", answers[line])
		}
	}()
	return s, said
}

func TestTheNativeProtocolIsAskedFor(t *testing.T) {
	const guid = "0123456789abcdef0123456789abcdef"
	for _, test := range []struct {
		behaviour string
		ask       bool
		answer    string
		want      bool
	}{
		{"a bus that speaks it", true, "AGREE_KDBUS 1", true},
		{"one that speaks another version", true, "AGREE_KDBUS 2", false},
		{"one that does not know it", true, "ERROR", false},
		{"one that says why", true, "ERROR \"unknown command\"", false},
		{"one that says something else", true, "AGREE_UNIX_FD", false},
		{"one that is not asked", false, "AGREE_KDBUS 1", false},
	} {
		s, said := answering(t, map[string]string{
			"AUTH EXTERNAL": "DATA", "DATA": "OK " + guid, "NEGOTIATE_UNIX_FD": "AGREE_UNIX_FD", "NEGOTIATE_KDBUS 1": test.answer,
		})
		native, id, err := authenticate(s, guid, test.ask)
		if err != nil || native != test.want || id != guid {
			t.Errorf("%s: native is %v, the server %s, %v", test.behaviour, native, id, err)
		}
		asked, last := false, ""
		for line := range said {
			asked = asked || strings.HasPrefix(line, "NEGOTIATE_KDBUS")
			last = line
		}
		if asked != test.ask || last != "BEGIN" {
			t.Errorf("%s: asked is %v, and the last line %q", test.behaviour, asked, last)
		}
	}
}

func TestWhatIsNoBusIsRefused(t *testing.T) {
	const guid = "0123456789abcdef0123456789abcdef"
	for _, test := range []struct{ auth, data, fds, want string }{
		{"REJECTED EXTERNAL", "", "", "does not let user"},
		{"DATA", "REJECTED", "", "does not let user"},
		{"OK 1234", "ERROR", "", "no D-Bus server"},
		{"DATA", "OK " + strings.Repeat("f", 32), "", "another bus"},
		{"DATA", "OK " + guid, "HELO", "no D-Bus server"},
		{strings.Repeat("x", 2*maxAuthLine), "", "", "lines without end"},
	} {
		s, _ := answering(t, map[string]string{"AUTH EXTERNAL": test.auth, "DATA": test.data, "NEGOTIATE_UNIX_FD": test.fds})
		if _, _, err := authenticate(s, guid, false); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: the error is %v", test, err)
		}
		s.close()
	}
}
