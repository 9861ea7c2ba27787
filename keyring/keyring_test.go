package keyring

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newRing(t *testing.T) *Ring { return At(filepath.Join(t.TempDir(), ".dbus-keyrings")) }

// write makes the cookie file of the general context.
func (r *Ring) write(t *testing.T, content string) {
	t.Helper()
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.file(GeneralContext), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCookieThatAServerMakesIsFoundByAClient(t *testing.T) {
	r := newRing(t)
	made, err := r.Recent(GeneralContext)
	if err != nil {
		t.Fatal(err)
	}
	again, err := At(r.dir).Recent(GeneralContext)
	if err != nil || again != made {
		t.Errorf("the next server has %v, %v, want %v", again, err, made)
	}
	found, err := At(r.dir).Find(GeneralContext, made.ID)
	if err != nil || found != made {
		t.Errorf("the client finds %v, %v, want %v", found, err, made)
	}
	for file, want := range map[string]os.FileMode{r.dir: 0o700, r.file(GeneralContext): 0o600} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", file, info.Mode(), err, want)
		}
	}
	if entries, _ := os.ReadDir(r.dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestHash(t *testing.T) {
	// The sum of "server:client:0a0b", as sha1sum has it.
	const want = "1678fb996d90bd4dcc65f69d698a1e5ff1f77030"
	if got := (Cookie{Secret: "0a0b"}).Hash("server", "client"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAgeOfCookies(t *testing.T) {
	tests := []struct {
		name                string
		age                 time.Duration
		known, offeredAgain bool
	}{
		{"new", 0, true, true},
		{"nearly as old as one may be offered", 4 * time.Minute, true, true},
		{"too old to be offered", 6 * time.Minute, true, false},
		{"expired", 8 * time.Minute, false, false},
		{"of a clock that is ahead", -4 * time.Minute, true, true},
		{"of another time", -6 * time.Minute, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRing(t)
			r.write(t, fmt.Sprintf("7 %d 00ff\n", time.Now().Add(-test.age).Unix()))
			if c, err := r.Find(GeneralContext, 7); (err == nil) != test.known || test.known && c.Secret != "00ff" {
				t.Errorf("the client finds %v, %v", c, err)
			}
			c, err := r.Recent(GeneralContext)
			if err != nil || (c.ID == 7) != test.offeredAgain {
				t.Errorf("the server offers %v, %v", c, err)
			}
			if _, err := r.Find(GeneralContext, 7); (err == nil) != test.known {
				t.Errorf("then the client finds %v", err)
			}
		})
	}
}

func TestLinesThatAreNoCookies(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	const good = "1 1000000 00ff"
	want := []Cookie{{ID: 1, Created: now, Secret: "00ff"}}
	for _, line := range []string{"", " ", "x", "1", "1 1000000", "-1 1000000 00", "2147483648 1000000 00", "1 x 00", "1 -1 00",
		"1 1000000 0", "1 1000000 0g", "1 1000000 00 00", "\x00\xff", "1 9999999999999999999 00"} {
		if diff := cmp.Diff(want, parse([]byte(line+"\n"+good), now)); diff != "" {
			t.Errorf("after the line %q, -want +got:\n%s", line, diff)
		}
	}
	if got := parse([]byte("  1\t1000000   00FF\r\n"), now); !cmp.Equal(got, want) {
		t.Errorf("blanks and upper case: %v", got)
	}
	if got := parse([]byte(strings.Repeat(good+"\n", 2*maxCookies)), now); len(got) != maxCookies {
		t.Errorf("%d cookies", len(got))
	}
}

func TestKeyringsThatAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, r *Ring)
		want   string
	}{
		{"others can read it", func(t *testing.T, r *Ring) { os.Chmod(r.dir, 0o750) }, "make that 0700"},
		{"others can write it", func(t *testing.T, r *Ring) { os.Chmod(r.dir, 0o702) }, "make that 0700"},
		{"no directory", func(t *testing.T, r *Ring) {
			os.RemoveAll(r.dir)
			os.WriteFile(r.dir, nil, 0o600)
		}, "not a directory"},
		{"very long file", func(t *testing.T, r *Ring) { r.write(t, strings.Repeat("\n", maxFile+1)) }, "remove it"},
		{"file that is a directory", func(t *testing.T, r *Ring) { os.Mkdir(r.file(GeneralContext), 0o700) }, "read cookies"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRing(t)
			os.Mkdir(r.dir, 0o700)
			test.change(t, r)
			_, err := r.Recent(GeneralContext)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the server: %v, want %q", err, test.want)
			}
			if _, err = r.Find(GeneralContext, 1); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the client: %v, want %q", err, test.want)
			}
		})
	}
	if _, err := newRing(t).Find(GeneralContext, 1); err == nil {
		t.Error("a client finds a cookie where there is no keyring")
	}
}

func TestContexts(t *testing.T) {
	for _, context := range []string{GeneralContext, "a", "~!"} {
		if err := CheckContext(context); err != nil {
			t.Error(err)
		}
	}
	for _, context := range []string{"", ".", "..", "a/b", `a\b`, "a.lock", "a b", "a\tb", "a\n", "\x7f", "ä", "\x00"} {
		r := newRing(t)
		if _, err := r.Recent(context); err == nil {
			t.Errorf("%q is a context", context)
		}
		if _, err := r.Find(context, 1); err == nil {
			t.Errorf("%q is a context", context)
		}
	}
}

// Whoever finds a lock waits for it, unless it has been there for too long.
func TestLockThatWasLeftBehind(t *testing.T) {
	for name, made := range map[string]time.Time{"old": time.Now().Add(-time.Minute), "of the future": time.Now().Add(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			r := newRing(t)
			r.write(t, "")
			lock := r.file(GeneralContext) + ".lock"
			if err := os.WriteFile(lock, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(lock, made, made); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Recent(GeneralContext); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(lock); err == nil {
				t.Error("the lock is still there")
			}
		})
	}
}

func TestServersThatStartTogetherShareACookie(t *testing.T) {
	r := newRing(t)
	var all sync.WaitGroup
	ids := make([]int32, 8)
	for i := range ids {
		all.Go(func() {
			c, err := At(r.dir).Recent(GeneralContext) // as another process
			if err != nil {
				t.Error(err)
			}
			ids[i] = c.ID
		})
	}
	all.Wait()
	if slices.Sort(ids); ids[0] != ids[len(ids)-1] {
		t.Errorf("they have the cookies %d", ids)
	}
}

func TestOwnKeyringIsInTheHomeOfTheUser(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	r, err := Own()
	if want := filepath.Join(home, ".dbus-keyrings"); err != nil || r.dir != want {
		t.Errorf("got %v, %v, want %s", r, err, want)
	}
	t.Setenv("HOME", filepath.Join(home, "nowhere"))
	if r, err := Own(); err == nil && strings.HasPrefix(r.dir, home) {
		t.Errorf("a HOME that is not the user's is taken: %s", r.dir)
	}
}

func FuzzParse(f *testing.F) {
	now := time.Unix(1_000_000, 0)
	f.Add([]byte("1 1000000 00ff\n2 1000001 0a\n"))
	f.Add([]byte("1 999580 00\r\n\n1 x 00\n-1 1000000 00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := parse(data, now)
		if len(got) > maxCookies {
			t.Fatalf("%d cookies", len(got))
		}
		if diff := cmp.Diff(got, parse(format(got), now)); diff != "" {
			t.Errorf("written and read again, -before +after:\n%s", diff)
		}
	})
}
