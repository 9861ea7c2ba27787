package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
)

// startedIn starts a daemon with a domain in a directory.
func startedIn(t *testing.T, dir string) *Daemon {
	t.Helper()
	d, err := Start(Config{Domain: filepath.Join(dir, "domain")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	return d
}

func TestNothingIsMadeWhenTheBusEnds(t *testing.T) {
	d := startedIn(t, t.TempDir())
	d.closeNodes()
	e, err := d.bus.NewEndpoint(bus.EndpointConfig{Name: "0-door"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.hub.open(&customEndpoint{hub: d.hub, endpoint: e}, nodeOwner{}); !errors.Is(err, syscall.ESHUTDOWN) {
		t.Errorf("an endpoint: %v", err)
	}
	b := d.bus.Domain().NewBus(bus.Config{Name: "0-bus"})
	if err := d.domain.openBus(d.newHub(b, dbus1.NewSubscriptions()), nodeOwner{}); !errors.Is(err, syscall.ESHUTDOWN) {
		t.Errorf("a bus: %v", err)
	}
}

// What cannot be made leaves nothing, and has an errno that means nothing else.
func TestWhatTheFileSystemRefusesLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	d := startedIn(t, dir)
	own := nodeOwner{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	open := func(name string) error {
		b := d.bus.Domain().NewBus(bus.Config{Name: name})
		return d.domain.openBus(d.newHub(b, dbus1.NewSubscriptions()), own)
	}
	if err := os.Mkdir(filepath.Join(d.domain.path, "0-taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := open("0-taken"); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("where somebody has a directory: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(d.domain.path, "0-taken")); err != nil {
		t.Errorf("that directory: %v", err)
	}
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(d.domain.path, moved); err != nil {
		t.Fatal(err)
	}
	if err := open("0-nowhere"); !errors.Is(err, syscall.EIO) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the directory: %v", err)
	}
	if err := os.Rename(moved, d.domain.path); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(d.domain.path, "0-taken")); err != nil {
		t.Fatal(err)
	}
	d.Shutdown()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("at the end: %v, %v", left, err)
	}
}
