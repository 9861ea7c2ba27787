// Package keyring keeps the cookies of DBUS_COOKIE_SHA1 (D-Bus specification, "DBUS_COOKIE_SHA1"), by which
// a client proves to a server that it can read files of a user, where no kernel can vouch for it.
//
//   - A [Ring] is a directory of cookie files, ~/.dbus-keyrings of a user. There is one file for each
//     context, which is where it is used; everybody uses [GeneralContext].
//   - A server takes a [Cookie] by [Ring.Recent], which makes a new one if the last has become too old,
//     tells its client the context, the id and a challenge, and compares what comes back with
//     [Cookie.Hash].
//   - A client looks the cookie up by [Ring.Find] and answers with the hash.
//
// The files are shared with other implementations (libdbus, GDBus), so their form, their locks and their
// expiry are what those agree on. What goes over the wire is for the callers: transport, and the client
// library. The package is a leaf.
package keyring

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// GeneralContext is the context of every server that has no reason for one of its own.
const GeneralContext = "org_freedesktop_general"

// How long cookies are used, as other implementations have it.
const (
	newAfter    = 5 * time.Minute // a server uses a cookie for so long
	expireAfter = 7 * time.Minute // a client knows it for so long
	maxFuture   = 5 * time.Minute // by so much a cookie may be younger than now, for clocks that differ
)

// A Cookie is a secret that whoever can read the keyring knows.
type Cookie struct {
	ID      int32     // not negative
	Created time.Time // in whole seconds
	Secret  string    // lower-case hexadecimal digits, as in the file
}

// Hash returns the proof of knowing the cookie, for two challenges: 40 hexadecimal digits.
func (c Cookie) Hash(serverChallenge, clientChallenge string) string {
	sum := sha1.Sum([]byte(serverChallenge + ":" + clientChallenge + ":" + c.Secret))
	return hex.EncodeToString(sum[:])
}

// Ring is a directory of cookie files. Safe for concurrent use, also by several processes.
type Ring struct {
	dir string
	mu  sync.Mutex // held while a file is changed, so that this process waits for itself no longer than needed
}

// At returns the keyring in the directory dir, which need not exist yet.
func At(dir string) *Ring { return &Ring{dir: dir} }

// Own returns the keyring of the user of this process, in the directory HOME of the environment if that
// is the user's, else in the one of the user database.
func Own() (*Ring, error) {
	home := os.Getenv("HOME")
	if home == "" || owner(home) != os.Geteuid() {
		me, err := user.LookupId(strconv.Itoa(os.Geteuid()))
		if err != nil {
			return nil, fmt.Errorf("find the keyring: %w", err)
		}
		home = me.HomeDir
	}
	return At(filepath.Join(home, ".dbus-keyrings")), nil
}

// owner returns whose a directory is, -1 if there is none.
func owner(dir string) int {
	info, err := os.Stat(dir)
	if err != nil {
		return -1
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

// CheckContext returns nil if context can be one: it names a file and stands between blanks.
func CheckContext(context string) error {
	if context == "" {
		return errors.New("the context of a cookie is empty")
	}
	for _, c := range []byte(context) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`/\.`, c) >= 0 {
			return fmt.Errorf("the context %q of a cookie has the byte %q", context, c)
		}
	}
	return nil
}

// Recent returns a cookie that is young enough to be offered to a client; if there is none, it makes
// one, and the directory. It can wait some seconds for other processes.
func (r *Ring) Recent(context string) (Cookie, error) {
	if err := CheckContext(context); err != nil {
		return Cookie{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.Mkdir(r.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return Cookie{}, fmt.Errorf("make the keyring: %w", err)
	}
	cookies, err := r.load(context)
	if err != nil {
		return Cookie{}, err
	}
	if c, ok := recent(cookies); ok {
		return c, nil
	}
	return r.add(context)
}

// recent returns the youngest cookie, if it is young enough.
func recent(cookies []Cookie) (youngest Cookie, ok bool) {
	limit := time.Now().Add(-newAfter)
	for _, c := range cookies {
		if c.Created.After(limit) && (!ok || c.Created.After(youngest.Created)) {
			youngest, ok = c, true
		}
	}
	return youngest, ok
}

// Find returns the cookie that a server has chosen.
func (r *Ring) Find(context string, id int32) (Cookie, error) {
	if err := CheckContext(context); err != nil {
		return Cookie{}, err
	}
	cookies, err := r.load(context)
	if err != nil {
		return Cookie{}, err
	}
	for _, c := range cookies {
		if c.ID == id {
			return c, nil
		}
	}
	return Cookie{}, fmt.Errorf("there is no cookie %d in %s: the server uses another keyring", id, r.file(context))
}

func (r *Ring) file(context string) string { return filepath.Join(r.dir, context) }
