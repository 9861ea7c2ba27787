package meta_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

// The tests here are about processes that change their user, which is for root only.

func needRoot(t *testing.T) {
	t.Helper()
	if !isRoot {
		cannotTest(t, "only root can change its user")
	}
}

func TestSenderThatChangesItsUser(t *testing.T) {
	needRoot(t)
	p := start(t, nil)
	diff(t, "creds before", p.sends().Collect(meta.KindCreds).Creds, everyone(0, 0))
	p.do("setgroups", 5, 6)
	p.do("setresgid", 1001, 1001, 1001)
	p.do("setresuid", 1000, 1000, 1000)
	got := p.sends().Collect(meta.KindCreds | meta.KindAuxGroups | meta.KindCaps)
	diff(t, "kinds", got.Has, meta.KindCreds|meta.KindAuxGroups|meta.KindCaps)
	diff(t, "creds after", got.Creds, everyone(1000, 1001))
	diff(t, "groups", got.AuxGroups, []uint32{5, 6})
	diff(t, "permitted and effective capabilities", got.Caps.Permitted|got.Caps.Effective, uint64(0))
}

func TestSenderThatChangesItsUserAfterSending(t *testing.T) {
	needRoot(t)
	const kinds = meta.KindCreds | meta.KindAuxGroups | meta.KindCaps
	p := start(t, nil)
	sender := p.sends()
	p.do("setresgid", 1001, 1001, 1001)
	p.do("setresuid", 1000, 1000, 1000)
	diff(t, "data", sender.Collect(kinds), meta.Data{Has: meta.KindCreds, Creds: sent(0, 0)})
}

func TestRootWithAnotherEffectiveUser(t *testing.T) {
	needRoot(t)
	p := start(t, nil)
	p.do("setresuid", 0, 1000, 0)
	got := p.sends().Collect(meta.KindCreds)
	want := everyone(0, 0)
	want.EUID, want.FSUID = 1000, 1000
	diff(t, "creds", got.Creds, want)
}

// A process must not be able to send, and then execute a set-user-ID program so that its message
// seems to be from root.
func TestSenderThatExecutesASetUserIDProgramAfterSending(t *testing.T) {
	needRoot(t)
	const kinds = meta.KindCreds | meta.KindAuxGroups | meta.KindCaps
	for _, test := range []struct {
		name string
		mode uint32
		want meta.IDs
	}{
		{"set-user-ID", 0o4755, func() meta.IDs {
			ids := sent(1000, 1000)
			ids.EGID, ids.SGID, ids.FSGID = 1000, 1000, 1000
			return ids
		}()},
		{"set-group-ID", 0o2755, func() meta.IDs {
			ids := sent(1000, 1000)
			ids.EUID, ids.SUID, ids.FSUID = 1000, 1000, 1000
			return ids
		}()},
	} {
		t.Run(test.name, func(t *testing.T) {
			program := copyOfThisProgram(t, test.mode)
			p := start(t, nil)
			p.do("setgroups", 1000)
			p.do("setresgid", 1000, 1000, 1000)
			p.do("setresuid", 1000, 1000, 1000)
			sender := p.sends()
			before := sender.Collect(kinds)
			diff(t, "kinds before", before.Has, kinds)
			diff(t, "creds before", before.Creds, everyone(1000, 1000))
			p.do("execfile", program)
			after := sender.Collect(kinds | meta.KindExe)
			diff(t, "kinds after", after.Has, meta.KindCreds|meta.KindExe)
			diff(t, "executable", after.Exe, program)
			diff(t, "creds after", after.Creds, test.want)
		})
	}
}

// copyOfThisProgram returns where everybody can execute it.
func copyOfThisProgram(t *testing.T, mode uint32) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(dir, "program")
	to, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestManyGroups(t *testing.T) {
	needRoot(t)
	p := start(t, nil)
	want := make([]uint32, 5000)
	args := make([]any, len(want))
	for i := range want {
		want[i] = uint32(100000 + i)
		args[i] = want[i]
	}
	p.do("setgroups", args...)
	got := p.sends().Collect(meta.KindAuxGroups | meta.KindCaps)
	diff(t, "groups of the sender", got.AuxGroups, want)
	diff(t, "kinds after many groups", got.Has, meta.KindAuxGroups|meta.KindCaps)
	diff(t, "groups of the peer", collectAll(t, p.connects(), meta.KindAuxGroups).AuxGroups, want)
}

func TestWhatMayNotBeReadIsAbsent(t *testing.T) {
	needRoot(t)
	p := start(t, nil)
	p.do("pass")
	p.do("setresuid", 65534, 65534, 65534)
	if _, err := unix.Write(p.sock, []byte("x")); err != nil {
		t.Fatal(err)
	}
	got := p.collects("receive")
	diff(t, "kinds", got.Has, alwaysKnown&^meta.KindExe)
	diff(t, "creds", got.Creds, everyone(0, 0))
}
