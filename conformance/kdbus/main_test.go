//go:build conformance

package kdbus

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/meta"
)

// Users that need not exist. Each has a group of its own number; all are of the group friends.
const (
	root    = 0
	alice   = 64001
	bob     = 64002
	mallory = 64003
	friends = 64100
)

// The main thread stays what it is, and shows it in /proc, whatever users others become.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) { os.Exit(m.Run()) }

// world is a bus, and who is on it. Its methods are for the goroutine of the test.
type world struct {
	t      *testing.T
	domain string  // its directory
	path   string  // of the bus's default endpoint
	maker  *client // that keeps the bus
	daemon *daemon.Daemon
	mu     sync.Mutex
	log    []byte
}

// Write collects what the daemon logs, to be shown if the test fails.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, b...)
	return len(b), nil
}

// prove runs a test that has the name of what it proves, on a bus of its own, which root has made.
func prove(t *testing.T, sentence string, test func(t *testing.T, w *world)) {
	t.Run(sentence, func(t *testing.T) { test(t, newWorld(t)) })
}

// busName is the name of the bus of a test.
const busName = "0-conformance"

// newWorld starts a daemon with a domain, and makes a bus there, as root, that everybody may connect to.
func newWorld(t *testing.T, change ...func(*abi.BusMake)) *world {
	t.Helper()
	w := newDomain(t, nil)
	cmd := abi.BusMake{Name: busName, Flags: abi.MakeAccessWorld, Bloom: abi.DefaultBloom, AttachFlagsSend: abi.AttachAll}
	for _, f := range change {
		f(&cmd)
	}
	w.maker = w.control(root)
	w.path = filepath.Join(w.maker.makes(&cmd), "bus")
	return w
}

// newDomain starts a daemon with a domain, and makes nothing there.
func newDomain(t *testing.T, metadata *meta.Kinds) *world {
	t.Helper()
	w := &world{t: t, domain: filepath.Join(openDir(t), "domain")}
	w.start(daemon.Config{Domain: w.domain, Metadata: metadata})
	return w
}

// start starts the daemon, which ends with the test.
func (w *world) start(config daemon.Config) {
	w.t.Helper()
	config.Log = slog.New(slog.NewTextHandler(w, nil))
	d, err := daemon.Start(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.daemon = d
	w.t.Cleanup(func() {
		d.Shutdown()
		if w.t.Failed() {
			w.t.Logf("the log:\n%s", w.log)
		}
	})
}

// openDir makes a directory that everybody can look into, which that of t.TempDir is not.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "kdbus-conformance-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// control connects to the socket by which buses are made.
func (w *world) control(uid int) *client {
	w.t.Helper()
	return w.dialTo(filepath.Join(w.domain, "control"), uid)
}

// makes makes a bus or an endpoint, and returns where it is.
func (c *client) makes(cmd abi.Command) string {
	c.t.Helper()
	f := c.does(cmd)
	_, items, err := abi.CutStruct(f.Body, cmd.Cmd().String())
	if err != nil {
		c.t.Fatal(err)
	}
	path, err := abi.DecodePath(items)
	if err != nil {
		c.t.Fatal(err)
	}
	return path
}
