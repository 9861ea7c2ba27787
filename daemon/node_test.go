package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

func TestASocketIsPrivateBeforeItIsGiven(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "socket")
	l, err := listenPrivately(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
}

func TestANodeBelongsToItsMaker(t *testing.T) {
	const uid, gid = 12345, 54321
	for _, c := range []struct {
		access abi.MakeFlags
		mode   fs.FileMode
	}{
		{0, 0o600},
		{abi.MakeAccessGroup, 0o660},
		{abi.MakeAccessWorld, 0o666},
		{abi.MakeAccessGroup | abi.MakeAccessWorld, 0o666},
	} {
		path := filepath.Join(t.TempDir(), "node")
		n, err := bindNode(path, nodeOwner{uid: uid, gid: gid, access: c.access})
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		// Who may not give files away lets everybody connect, and judges then.
		mode, owner, stranger := fs.FileMode(socketMode), uint32(os.Geteuid()), c.access&abi.MakeAccessWorld != 0
		if owner == 0 {
			mode, owner, stranger = c.mode, uid, true
		}
		if info.Mode() != fs.ModeSocket|mode || stat.Uid != owner {
			t.Errorf("%v: mode %v, user %d", c.access, info.Mode(), stat.Uid)
		}
		if err := n.admit(7, []uint32{7}); (err == nil) != stranger {
			t.Errorf("%v: a stranger: %v", c.access, err)
		}
		if err := errors.Join(n.unlink(), n.unlink()); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: afterwards: %v", c.access, err)
		}
	}
}

func TestWhoMayConnectIsJudgedWhereTheModeCannot(t *testing.T) {
	const maker, group = 1000, 100
	for _, c := range []struct {
		name    string
		access  abi.MakeFlags
		uid     uint32
		groups  []uint32
		allowed bool
	}{
		{"the maker", 0, maker, nil, true},
		{"root", 0, 0, nil, true},
		{"of the maker's group", 0, 1, []uint32{group}, false},
		{"of the maker's group, for the group", abi.MakeAccessGroup, 1, []uint32{5, group}, true},
		{"of another group, for the group", abi.MakeAccessGroup, 1, []uint32{5}, false},
		{"a stranger", 0, 1, nil, false},
		{"a stranger, for everybody", abi.MakeAccessWorld, 1, nil, true},
	} {
		err := nodeOwner{uid: maker, gid: group, access: c.access}.judge(c.uid, c.groups)
		if (err == nil) != c.allowed {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestANodeCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]syscall.Errno{
		taken: syscall.EEXIST,
		filepath.Join(dir, strings.Repeat("n", 108)): syscall.ENAMETOOLONG,
		filepath.Join(dir, "no", "directory"):        syscall.ENOENT,
	} {
		if _, err := bindNode(path, nodeOwner{uid: uint32(os.Geteuid())}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if b, err := os.ReadFile(taken); err != nil || string(b) != "precious" {
		t.Errorf("the file has %q, %v", b, err)
	}
	if _, err := makeNodeDir(dir, nodeOwner{}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("a directory that is there: %v", err)
	}
}
