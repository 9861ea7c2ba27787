//go:build conformance

// Package limits reaches every limit of dbus-daemon(1) that a bus has, as one user, through a socket. Each
// time the error, where there is one, the log and Debug.Stats have to say which limit it was, whose, how much
// there was and who filled it; the bus has to go on; and another user must notice nothing.
//
// The limits come from a configuration file. Everybody is made by a thread that is another user, so the
// tests need root.
package limits

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/account"
	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/internal/testlog"
)

// Users that need not exist.
const (
	mallory = 64001 // who reaches the limit
	alice   = 64002 // who must not notice
)

// world is a bus with limits.
type world struct {
	t      *testing.T
	daemon *daemon.Daemon
	file   string
	log    testlog.Buffer
	// bob is root, and reads nothing unless a test has him do so.
	bob *peer.Client
}

// configuration is a file with limits such as "max_outgoing_bytes=1000".
func configuration(limits ...string) string {
	text := `<busconfig><listen>unix:tmpdir=/tmp</listen><policy context="default"><allow user="*"/><allow own="*"/>` +
		`<allow send_destination="*"/><allow receive_sender="*"/></policy>`
	for _, limit := range limits {
		name, value, _ := strings.Cut(limit, "=")
		text += fmt.Sprintf(`<limit name="%s">%s</limit>`, name, value)
	}
	return text + "</busconfig>"
}

func newWorld(t *testing.T, limits ...string) *world {
	t.Helper()
	w := &world{t: t, file: filepath.Join(t.TempDir(), "bus.conf")}
	if err := os.WriteFile(w.file, []byte(configuration(limits...)), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := daemon.Load(w.file)
	if err != nil {
		t.Fatal(err)
	}
	if w.daemon, err = daemon.Start(daemon.Config{File: conf, Log: slog.New(slog.NewTextHandler(&w.log, nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.daemon.Shutdown()
		if t.Failed() {
			t.Logf("the log:\n%s", w.log.String())
		}
	})
	w.bob = w.as(0, peer.Connect)
	return w
}

// as makes a client in a thread that is another user, which ends with it.
func (w *world) as(uid uint32, dial func(address string) (*peer.Client, error)) *peer.Client {
	w.t.Helper()
	c, err := w.try(uid, dial)
	if err != nil {
		w.t.Fatalf("as user %d: %v", uid, err)
	}
	return c
}

func (w *world) try(uid uint32, dial func(address string) (*peer.Client, error)) (c *peer.Client, err error) {
	err = account.Account{UID: uid, GID: uid}.Do(func() (err error) {
		c, err = dial(w.daemon.Address())
		return err
	})
	if c != nil {
		w.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// works checks that a client can talk to the bus.
func (w *world) works(c *peer.Client) {
	w.t.Helper()
	answer, err := c.Call(peer.DriverCall("GetId", ""))
	if err != nil || answer.Type != peer.TypeReply {
		w.t.Errorf("%s cannot call the bus: %v, %v", c.Name, answer, err)
	}
}

// gone checks that a client is disconnected.
func (w *world) gone(c *peer.Client) {
	w.t.Helper()
	for {
		if _, err := c.ReadBytes(peer.Timeout); err != nil {
			if !peer.Disconnected(err) {
				w.t.Fatalf("it is not disconnected: %v", err)
			}
			return
		}
	}
}

// refused calls and returns the text of the error LimitsExceeded that has to come.
func (w *world) refused(c *peer.Client, m *peer.Message) string {
	w.t.Helper()
	answer, err := c.Call(m)
	if err != nil {
		w.t.Fatal(err)
	}
	if name := answer.Text(peer.FieldErrorName); name != "org.freedesktop.DBus.Error.LimitsExceeded" {
		w.t.Fatalf("the answer is %v, want LimitsExceeded", answer)
	}
	return answer.ErrorText()
}

// reached is what Debug.Stats says of a limit.
func (w *world) reached(limit string) string {
	w.t.Helper()
	monitor := w.as(0, peer.Connect)
	defer monitor.Close()
	call := peer.Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Debug.Stats", "GetStats", "")
	answer, err := monitor.Call(call)
	if err != nil || answer.Type != peer.TypeReply {
		w.t.Fatalf("GetStats: %v, %v", answer, err)
	}
	_, text, found := strings.Cut(peer.Format(answer.Body[0]), "LimitsReached")
	if !found {
		w.t.Fatal("GetStats has no LimitsReached")
	}
	_, text, found = strings.Cut(text, limit)
	if !found {
		return ""
	}
	return text
}
