package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/transport"
)

// A domain in the file system: kdbus.fs(7). It is a directory with
//
//	control          the socket by which buses are made
//	0-system/        a bus
//	0-system/bus     its default endpoint
//	0-system/0-door  a custom one
//
// One daemon serves it, and makes one of the buses itself. What a daemon that was killed has left there is removed
// by the next; whether it lives, its control socket tells.

// DefaultDomain returns the directory where clients look for a domain that were not told where: /run/kdbus for root,
// $XDG_RUNTIME_DIR/kdbus for others, and "" if that is not set.
func DefaultDomain() string {
	if os.Getuid() == 0 {
		return "/run/kdbus"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "kdbus")
	}
	return ""
}

const controlName = "control"

// domain is a domain that a daemon serves. It is the native.Buses of its control socket.
type domain struct {
	daemon  *Daemon
	path    string
	made    bool  // the directory is our own
	taken   bool  // the directory is the Owner's, and root's until it is given
	control *door // of server
	bus     *node // the default endpoint of the daemon's own bus
	busDir  nodeDir
	server  *transport.Server // nil before serve

	mu     sync.Mutex
	closed bool
	buses  map[*hub]struct{} // that clients have made
}

// openDomain takes a directory over, or makes it, with the socket of the bus that is called name.
func (d *Daemon) openDomain(path, name string) (*domain, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	m := &domain{daemon: d, path: path, buses: make(map[*hub]struct{})}
	if err := m.open(name); err != nil {
		return nil, fmt.Errorf("serve the domain %s: %w", path, errors.Join(err, m.close()))
	}
	return m, nil
}

func (m *domain) open(name string) error {
	switch err := os.Mkdir(m.path, 0o700); {
	case err == nil:
		m.made = true
		if err := os.Chmod(m.path, 0o755); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	default:
		if err := m.takeDirectory(); err != nil {
			return err
		}
	}
	control, err := listenPath(filepath.Join(m.path, controlName))
	if err != nil {
		return err // another daemon that begins just now, if it is EADDRINUSE
	}
	m.control = newDoor(control)
	if err := m.removeStale(); err != nil {
		return err
	}
	own := nodeOwner{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), access: abi.MakeAccessWorld}
	if m.busDir, err = makeNodeDir(filepath.Join(m.path, name), own); err != nil {
		return err
	}
	// Who may connect is for the bus to say, as with its other sockets.
	m.bus, err = bindNode(filepath.Join(string(m.busDir), "bus"), own)
	return err
}

// takeDirectory judges a directory that was there before. If it belongs to the user that the bus is to become, since an
// earlier daemon has given it away, it is root's as long as root works in it: with files that somebody else
// can replace by links, root would change any others.
func (m *domain) takeDirectory() error {
	info, err := os.Lstat(m.path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("it is no directory")
	}
	// At first, since nothing may be taken from a daemon that lives.
	control := filepath.Join(m.path, controlName)
	if err := probe(control); err == nil || errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("%w: another daemon serves it, and listens on %s", syscall.EADDRINUSE, control)
	}
	uid, own, owner := info.Sys().(*syscall.Stat_t).Uid, uint32(os.Geteuid()), m.daemon.config.Owner
	owners := owner != nil && uid == owner.UID
	if uid != 0 && uid != own && !owners || info.Mode()&0o022 != 0 {
		return fmt.Errorf("others can change the directory: it is of user %d, with mode %04o", uid, info.Mode().Perm())
	}
	if own == 0 && uid != 0 {
		if err := os.Lchown(m.path, 0, 0); err != nil {
			return fmt.Errorf("take the directory from user %d as long as it is prepared: %w", uid, err)
		}
		m.taken = true
	}
	return nil
}

// removeStale removes the buses that a daemon has left which was killed. Their directories can be somebody else's, so
// nothing in them leads out of the domain.
func (m *domain) removeStale() error {
	root, err := os.OpenRoot(m.path)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() || !isBusName(entry.Name()) {
			continue // nothing of ours
		}
		err := m.takeStale(root, entry.Name())
		if err == nil {
			err = removeStaleBus(root, entry.Name())
		}
		if err != nil {
			return fmt.Errorf("remove what a daemon has left that was killed: %w", err)
		}
		m.daemon.log.Info("removed a bus that a daemon has left which was killed", "domain", m.path, "bus", entry.Name())
	}
	return nil
}

// takeStale makes the directory of a bus root's, which may not be allowed to change what is the user's (CAP_DAC_OVERRIDE).
func (m *domain) takeStale(root *os.Root, dir string) error {
	if !m.taken {
		return nil
	}
	return root.Lchown(dir, 0, 0)
}

// isBusName reports whether a bus can be called this.
func isBusName(name string) bool {
	uid, rest, found := strings.Cut(name, "-")
	_, err := strconv.ParseUint(uid, 10, 32)
	return found && err == nil && rest != ""
}

// removeStaleBus removes a directory with nothing but sockets.
func removeStaleBus(root *os.Root, dir string) error {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Type() != fs.ModeSocket {
			continue // which keeps the directory
		}
		if err := root.Remove(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return root.Remove(dir)
}

// give gives the domain to the user that the bus is to become. The directories come last: until then nobody but root
// can put something else in place of the files.
func (m *domain) give(to Owner) error {
	for _, path := range []string{
		filepath.Join(string(m.busDir), "bus"), string(m.busDir), filepath.Join(m.path, controlName), m.path,
	} {
		if err := os.Lchown(path, int(to.UID), int(to.GID)); err != nil {
			return fmt.Errorf("give the domain %s to user %d: %w", m.path, to.UID, err)
		}
	}
	m.taken = false
	return nil
}

// close removes what there is. Nobody may be served any more, and the socket of the daemon's bus is closed.
func (m *domain) close() error {
	failed := []error{m.busDir.remove()}
	if m.control != nil {
		failed = append(failed, m.control.close()) // last: until then no other daemon takes the directory over
	}
	if m.taken { // by a daemon that has not started
		owner := m.daemon.config.Owner
		failed = append(failed, os.Lchown(m.path, int(owner.UID), int(owner.GID)))
	}
	if m.made {
		// It stays if there is something of others in it, or if it is root's to remove, whom the daemon was when it made it.
		err := os.Remove(m.path)
		if err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
