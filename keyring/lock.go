package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// The lock of a cookie file is another file, which exists as long as somebody changes the first. Who
// dies meanwhile leaves it behind, so after some time it is removed: that is the custom, and two processes
// that do so at once can both believe that they have the lock. What is lost then is a cookie, and a client
// that was offered it has to try again.

const (
	lockStale = 8 * time.Second // the age of a lock whose holder must have died
	lockRetry = 20 * time.Millisecond
)

type lock string

// lockFile makes the lock file name, waiting for whoever has made it before.
func lockFile(name string) (lock, error) {
	for {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return lock(name), f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("lock the cookies: %w", err)
		}
		info, err := os.Lstat(name)
		if err != nil {
			continue // it has gone
		}
		if age := time.Since(info.ModTime()); age < lockStale && age > -lockStale {
			time.Sleep(lockRetry)
			continue
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("remove a lock that was left behind: %w", err)
		}
	}
}

func (l lock) release() { os.Remove(string(l)) }
