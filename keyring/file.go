package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// A cookie file has a line for each cookie: its id, when it was made in seconds since 1970, and the secret
// in hexadecimal digits, with blanks between.

const (
	// maxCookies is how many cookies of a file are looked at.
	maxCookies = 256
	// maxFile is how long a file may be, in bytes.
	maxFile = 256 << 10
	// secretBytes is how long a secret is that is made here. Others have other lengths.
	secretBytes = 24
)

// load reads the cookies of a context that have not expired. There may be none.
func (r *Ring) load(context string) ([]Cookie, error) {
	if err := r.checkPrivate(); err != nil {
		return nil, err
	}
	f, err := os.Open(r.file(context))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read cookies: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read cookies: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("the cookie file %s has more than %d bytes; remove it", f.Name(), maxFile)
	}
	return parse(data, time.Now()), nil
}

// checkPrivate refuses a directory that others can look into.
func (r *Ring) checkPrivate() error {
	info, err := os.Stat(r.dir)
	switch {
	case err != nil:
		return fmt.Errorf("look at the keyring: %w", err)
	case !info.IsDir():
		return fmt.Errorf("the keyring %s is not a directory", r.dir)
	case owner(r.dir) != os.Geteuid():
		return fmt.Errorf("the keyring %s belongs to user %d, not to user %d", r.dir, owner(r.dir), os.Geteuid())
	case info.Mode().Perm()&0o066 != 0:
		return fmt.Errorf("the keyring %s can be read or written by others (its mode is %#o); make that 0700", r.dir, info.Mode().Perm())
	}
	return nil
}

// parse reads a cookie file. Lines that are no cookies, and cookies that are not of our time, are left out.
func parse(data []byte, now time.Time) []Cookie {
	var cookies []Cookie
	for line := range bytes.Lines(data) {
		if len(cookies) == maxCookies {
			break
		}
		if c, ok := parseLine(string(line)); ok && c.Created.Before(now.Add(maxFuture)) && c.Created.After(now.Add(-expireAfter)) {
			cookies = append(cookies, c)
		}
	}
	return cookies
}

func parseLine(line string) (c Cookie, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return c, false
	}
	id, err := strconv.ParseInt(fields[0], 10, 32)
	if err != nil || id < 0 {
		return c, false
	}
	created, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || created < 0 {
		return c, false
	}
	secret, err := hex.DecodeString(fields[2])
	if err != nil || len(secret) == 0 {
		return c, false
	}
	return Cookie{ID: int32(id), Created: time.Unix(created, 0), Secret: hex.EncodeToString(secret)}, true
}

func format(cookies []Cookie) []byte {
	var b []byte
	for _, c := range cookies {
		b = fmt.Appendf(b, "%d %d %s\n", c.ID, c.Created.Unix(), c.Secret)
	}
	return b
}

// add puts a new cookie into the file, unless another process has just done so.
func (r *Ring) add(context string) (Cookie, error) {
	lock, err := lockFile(r.file(context) + ".lock")
	if err != nil {
		return Cookie{}, err
	}
	defer lock.release()
	cookies, err := r.load(context)
	if err != nil {
		return Cookie{}, err
	}
	if c, ok := recent(cookies); ok {
		return c, nil
	}
	c := newCookie(cookies)
	cookies = append(cookies[max(len(cookies)-maxCookies+1, 0):], c)
	if err := replace(r.file(context), format(cookies)); err != nil {
		return Cookie{}, fmt.Errorf("write cookies: %w", err)
	}
	return c, nil
}

// newCookie makes a cookie with an id that none of others has.
func newCookie(others []Cookie) Cookie {
	var random [4 + secretBytes]byte
	for {
		rand.Read(random[:]) // never fails
		id := int32(binary.LittleEndian.Uint32(random[:4]) & (1<<31 - 1))
		taken := false
		for _, c := range others {
			taken = taken || c.ID == id
		}
		if !taken {
			return Cookie{ID: id, Created: time.Unix(time.Now().Unix(), 0), Secret: hex.EncodeToString(random[4:])}
		}
	}
}

// replace writes a file that only its owner can read, all of it or nothing.
func replace(file string, data []byte) error {
	temporary := file + ".tmp-" + rand.Text()[:10]
	err := os.WriteFile(temporary, data, 0o600)
	if err == nil {
		err = os.Rename(temporary, file)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
}
