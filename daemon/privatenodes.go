package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/busconfig"
)

// A bus that is in no domain has a place for the endpoints that clients make nevertheless: a directory that
// is made when there is the first of them.

// privateNodes is that place.
type privateNodes struct {
	mu  sync.Mutex
	dir string // "" as long as there is none
}

// privateNodes makes the directory of a bus.
func (d *Daemon) privateNodes(bus string) (nodeDir, error) {
	d.nodes.mu.Lock()
	defer d.nodes.mu.Unlock()
	if d.nodes.dir == "" {
		var err error
		if d.nodes.dir, err = makePrivateNodes(); err != nil {
			return "", fmt.Errorf("make a directory for the sockets of endpoints: %w", err)
		}
	}
	return makeNodeDir(filepath.Join(d.nodes.dir, bus), nodeOwner{})
}

// makePrivateNodes makes a directory whose name nobody knows beforehand, and that everybody can pass.
func makePrivateNodes() (string, error) {
	parents := []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"}
	if os.Getuid() == 0 {
		parents = []string{"/run", os.TempDir(), "/tmp"}
	}
	// Of the service manager, which may name several.
	first, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	dir, err := makePrivateDir(append([]string{first}, parents...)...)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// remove removes it, when there is nothing in it any more.
func (p *privateNodes) remove() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir == "" {
		return nil
	}
	return os.Remove(p.dir)
}

// closeNodes ends the nodes that clients have made. They themselves are disconnected when the servers are shut down.
func (d *Daemon) closeNodes() {
	err := d.hub.close()
	if d.domain != nil {
		err = errors.Join(err, d.domain.shut())
	}
	if err = errors.Join(err, d.nodes.remove()); err != nil {
		d.log.Warn("cannot remove the sockets of endpoints", "error", err)
	}
}

// busName returns the name of the bus in its domain: what kdbus's standard buses are called.
func busName(file *busconfig.Config) string {
	uid, kind := os.Getuid(), "user"
	if file != nil && file.Type == "system" || uid == 0 && (file == nil || file.Type != "session") {
		kind = "system"
	}
	return fmt.Sprintf("%d-%s", uid, kind)
}

// closeDomain ends the domain, if there is one, and with it the buses that clients have made.
func (d *Daemon) closeDomain() {
	if d.domain == nil {
		return
	}
	d.domain.server.Shutdown(context.Background())
	<-d.domain.control.served
	if err := d.domain.close(); err != nil {
		d.log.Warn("cannot remove the files of the domain", "domain", d.domain.path, "error", err)
	}
}
