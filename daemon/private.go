package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kdbus-go/kdbus/address"
)

// StartPrivate is [Start] for a bus of one's own, as tests and sessions want it: it
// listens on a socket in a new directory that only this user can enter, and
// [Daemon.Shutdown] removes both. The directory is made in $XDG_RUNTIME_DIR, else
// where os.TempDir says. Config.Addresses must be empty.
func StartPrivate(config Config) (*Daemon, error) {
	if len(config.Addresses) > 0 {
		return nil, fmt.Errorf("a private bus chooses its own address, not %s", strings.Join(config.Addresses, ", "))
	}
	dir, err := makePrivateDir(os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the socket: %w", err)
	}
	config.Addresses = []string{address.UnixPath(filepath.Join(dir, privateSocket)).String()}
	d, err := start(config, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return d, nil
}

const privateSocket = "bus"

// makePrivateDir makes a directory in the first of parents where that is possible
// and where the path of the socket does not get too long.
func makePrivateDir(parents ...string) (string, error) {
	var failed []error
	for _, parent := range parents {
		if parent == "" {
			continue
		}
		parent, err := filepath.Abs(parent)
		if err == nil {
			var dir string
			dir, err = os.MkdirTemp(parent, "kdbus-")
			if err == nil && len(dir)+len("/"+privateSocket) <= address.MaxUnixPath {
				return dir, nil
			}
			if err == nil {
				err = errors.Join(fmt.Errorf("%s is too long for the path of a socket", dir), os.Remove(dir))
			}
		}
		failed = append(failed, err)
	}
	return "", errors.Join(failed...)
}
