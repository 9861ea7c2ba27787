//go:build conformance

package driver

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestSameAuthenticationAsDBusDaemon sends both buses the same lines, one at a time, and compares
// the answers. The first line of each conversation carries the zero byte that opens it.
func TestSameAuthenticationAsDBusDaemon(t *testing.T) {
	reference := testbus.StartKind(t, testbus.DBusDaemon, testbus.Options{})
	tested := testbus.Start(t)
	me := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	other := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid() + 1)))
	for _, lines := range [][]string{
		{"AUTH EXTERNAL " + me, "NEGOTIATE_UNIX_FD", "BEGIN"},
		{"AUTH EXTERNAL " + me, "BEGIN"},
		{"AUTH EXTERNAL", "DATA", "BEGIN"},
		{"AUTH EXTERNAL", "DATA " + me, "BEGIN"},
		{"AUTH EXTERNAL", "DATA " + other},
		{"AUTH EXTERNAL ", "DATA"},
		{"AUTH EXTERNAL " + other, "AUTH EXTERNAL " + me},
		{"AUTH EXTERNAL " + hex.EncodeToString([]byte("root"))},
		{"AUTH EXTERNAL " + hex.EncodeToString([]byte("no such user"))},
		// Not "AUTH EXTERNAL 3", which dbus-daemon takes for an empty identity and accepts.
		{"AUTH EXTERNAL zz", "AUTH EXTERNAL " + strings.ToUpper(me)},
		{"AUTH EXTERNAL " + me + " ", "CANCEL"},
		{"AUTH EXTERNAL  " + me},
		{"AUTH EXTERNAL " + me + " x"},
		{"AUTH", "AUTH EXTERNAL " + me},
		{"AUTH "},
		{"AUTH ANONYMOUS", "AUTH ANONYMOUS 6869"},
		{"AUTH DBUS_COOKIE_SHA1 " + me},
		{"AUTH NOSUCH", "AUTH external " + me, "auth EXTERNAL " + me},
		{"AUTH EXTERNAL", "CANCEL", "AUTH EXTERNAL " + me},
		{"AUTH EXTERNAL", "ERROR", "AUTH EXTERNAL " + me},
		{"AUTH EXTERNAL", "ERROR some text", "BEGIN"},
		{"AUTH EXTERNAL", "AUTH EXTERNAL " + me},
		{"AUTH EXTERNAL", "NEGOTIATE_UNIX_FD"},
		{"AUTH EXTERNAL", "BEGIN"},
		{"AUTH EXTERNAL", "nonsense", "DATA zz", "DATA"},
		{"AUTH EXTERNAL " + me, "AUTH EXTERNAL " + me, "BEGIN"},
		{"AUTH EXTERNAL " + me, "CANCEL", "AUTH EXTERNAL " + me},
		{"AUTH EXTERNAL " + me, "ERROR", "AUTH EXTERNAL " + me},
		{"AUTH EXTERNAL " + me, "DATA", "DATA 00"},
		{"AUTH EXTERNAL " + me, "NEGOTIATE_UNIX_FD", "NEGOTIATE_UNIX_FD", "CANCEL"},
		{"AUTH EXTERNAL " + me, "NEGOTIATE_UNIX_FD x", "nonsense", "BEGIN x"},
		{"CANCEL"}, {"ERROR"}, {"DATA"}, {"DATA " + me}, {"BEGIN"}, {"NEGOTIATE_UNIX_FD"}, {"nonsense"}, {""}, {"", "AUTH EXTERNAL " + me},
		{" AUTH EXTERNAL " + me}, {"\x01AUTH"}, {"AUTH EXTERNAL \xff"}, {"OK"}, {"REJECTED"}, {"AGREE_UNIX_FD"},
		{"nonsense", "nonsense", "nonsense", "nonsense", "nonsense", "nonsense", "nonsense"},
		slices.Repeat([]string{"AUTH NOSUCH"}, 10),
		slices.Repeat([]string{"AUTH EXTERNAL " + other}, 10),
		{strings.Repeat("x", 8000)},
		{strings.Repeat("x", 20000)},
		{"AUTH EXTERNAL " + me, strings.Repeat("x", 20000)},
		{"AUTH\tEXTERNAL " + me}, {"AUTH EXTERNAL\t" + me},
		{"AUTH EXTERNAL " + me + "\nBEGIN"}, {"AUTH EXTERNAL " + me + "\rBEGIN"},
		{"BEGIN", "AUTH EXTERNAL " + me},
	} {
		name := fmt.Sprintf("%.80q", lines)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, got := authenticate(t, reference.Address, lines), authenticate(t, tested.Address, lines)
			if !slices.Equal(want, got) {
				t.Errorf("expected %q\n     got %q", want, got)
			}
		})
	}
	t.Run("without the zero byte", func(t *testing.T) {
		for _, first := range []string{"AUTH EXTERNAL " + me + "\r\n", "\x01AUTH EXTERNAL " + me + "\r\n"} {
			want, got := answer(t, open(t, reference.Address), first), answer(t, open(t, tested.Address), first)
			if want != got {
				t.Errorf("%q: expected %q, got %q", first, want, got)
			}
		}
	})
}

// TestAuthenticationInOneWrite pushes everything up to Hello into the socket at once, as clients
// that save round trips do, and in single bytes, as nobody does.
func TestAuthenticationInOneWrite(t *testing.T) {
	bus := testbus.Start(t)
	hello := peer.DriverCall("Hello", "")
	hello.Serial = 1
	all := fmt.Appendf(nil, "\x00AUTH EXTERNAL %x\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n%s", strconv.Itoa(os.Getuid()), hello.Encode())
	for _, size := range []int{len(all), 1, 7} {
		c := open(t, bus.Address)
		for chunk := range slices.Chunk(all, size) {
			if err := c.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{"OK ", "AGREE_UNIX_FD"} {
			line, err := c.Line(peer.Timeout)
			if err != nil || !strings.HasPrefix(line, want) {
				t.Fatalf("in writes of %d bytes: expected %q, got %q, %v", size, want, line, err)
			}
		}
		m, err := c.Receive()
		if err != nil || m.ReplySerial() != 1 || m.Type != peer.TypeReply {
			t.Errorf("in writes of %d bytes Hello was not answered: %v, %v", size, m, err)
		}
	}
}

func open(t *testing.T, address string) *peer.Client {
	c, err := peer.DialRaw(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// authenticate sends lines and returns the answers to them. After BEGIN the answer is that to
// Hello.
func authenticate(t *testing.T, address string, lines []string) (answers []string) {
	c := open(t, address)
	for i, line := range lines {
		if i == 0 {
			line = "\x00" + line
		}
		got := answer(t, c, line+"\r\n")
		answers = append(answers, got)
		if got == "disconnected" {
			break
		}
		if got == "silence" && strings.Contains(line, "BEGIN") {
			answers = append(answers, helloAnswer(c))
			break
		}
	}
	return answers
}

// answer sends data and returns the line that comes back.
func answer(t *testing.T, c *peer.Client, data string) string {
	if err := c.Write([]byte(data)); err != nil {
		return "disconnected"
	}
	limit := 2 * time.Second
	if strings.HasPrefix(data, "BEGIN") {
		limit = 200 * time.Millisecond // silence is the usual answer
	}
	line, err := c.Line(limit)
	switch {
	case peer.Disconnected(err):
		return "disconnected"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	case err != nil:
		t.Fatal(err)
	}
	if strings.HasPrefix(line, "ERROR ") {
		line = "ERROR" // what follows is for humans
	}
	return idPattern.ReplaceAllString(line, "<id>")
}

func helloAnswer(c *peer.Client) string {
	if err := c.Hello(); err != nil {
		if peer.Disconnected(err) {
			return "disconnected"
		}
		return err.Error()
	}
	return "Hello answered"
}
