package meta_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

const unset = meta.IDUnset

// everyone returns the ids of a process that is one user only.
func everyone(uid, gid int) meta.IDs {
	u, g := uint32(uid), uint32(gid)
	return meta.IDs{UID: u, EUID: u, SUID: u, FSUID: u, GID: g, EGID: g, SGID: g, FSGID: g}
}

// sent is what is known of a process by its message alone.
func sent(uid, gid int) meta.IDs {
	return meta.IDs{
		UID: uint32(uid), EUID: unset, SUID: unset, FSUID: unset,
		GID: uint32(gid), EGID: unset, SGID: unset, FSGID: unset,
	}
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// alwaysKnown are the kinds that every process has, and that we may see of our own processes.
const alwaysKnown = meta.KindCreds | meta.KindPIDs | meta.KindAuxGroups | meta.KindPIDComm |
	meta.KindExe | meta.KindCmdline | meta.KindCGroup | meta.KindAudit

func TestEverythingAboutASender(t *testing.T) {
	p := start(t, nil)
	got := p.sends().Collect(meta.AllKinds)
	if missing := (alwaysKnown | meta.KindCaps) &^ got.Has; missing != 0 {
		t.Errorf("not known: %v", missing)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "creds", got.Creds, everyone(os.Getuid(), os.Getgid()))
	diff(t, "pids", got.PIDs, meta.PIDs{PID: uint32(p.started), PPID: uint32(os.Getpid())})
	diff(t, "exe", got.Exe, exe)
	diff(t, "cmdline", got.Cmdline, []string{"/proc/self/exe", "the", "original"})
	diff(t, "number of groups", len(got.AuxGroups), len(groups))
	if got.Caps.LastCap < 37 || got.Caps.LastCap > 63 {
		t.Errorf("last capability %d; Linux 3.16 has 37", got.Caps.LastCap)
	}
	if isRoot != (got.Caps.Effective&1 != 0) {
		t.Errorf("effective capabilities %#x, root: %t", got.Caps.Effective, isRoot)
	}
	if !strings.HasPrefix(got.CGroup, "/") {
		t.Errorf("cgroup %q", got.CGroup)
	}
}

func TestOnlyWantedKindsAreCollected(t *testing.T) {
	p := start(t, nil)
	sender := p.sends()
	all := sender.Collect(meta.AllKinds)
	for kind := meta.Kinds(1); kind <= meta.AllKinds; kind <<= 1 {
		got := sender.Collect(kind)
		if want := all.Has & kind; got.Has != want {
			t.Errorf("wanted %v, got %v; of all there were %v", kind, got.Has, all.Has)
		}
	}
	diff(t, "none wanted", sender.Collect(0), meta.Data{})
	diff(t, "what only the bus knows", sender.Collect(meta.ConnectionKinds), meta.Data{})
}

func TestNothingIsKnownOfNoSender(t *testing.T) {
	diff(t, "zero sender", meta.Sender{}.Collect(meta.AllKinds), meta.Data{})
}

func TestWithoutAPidfdOnlyTheMessageIsBelieved(t *testing.T) {
	p := start(t, nil)
	sender := p.sends()
	sender.PIDFD = 0
	diff(t, "data", sender.Collect(meta.AllKinds), meta.Data{
		Has:   meta.KindCreds | meta.KindPIDs,
		Creds: sent(os.Getuid(), os.Getgid()),
		PIDs:  meta.PIDs{PID: uint32(p.started)},
	})
}

func TestSenderThatRenamesItself(t *testing.T) {
	p := start(t, nil)
	for _, name := range []string{"first", "with blank", `back\slash`, "Uid:\t0", "fifteen-letters"} {
		p.do("comm", name)
		sender := p.sends()
		diff(t, "comm alone", sender.Collect(meta.KindPIDComm).PIDComm, name)
		diff(t, "comm with other kinds", sender.Collect(meta.AllKinds).PIDComm, name)
	}
}

func TestSenderThatExecutesAnotherProgram(t *testing.T) {
	p := start(t, nil)
	before := p.sends().Collect(meta.KindCmdline | meta.KindPIDs)
	p.do("exec", "another", "program")
	after := p.sends().Collect(meta.KindCmdline | meta.KindPIDs)
	diff(t, "arguments before", before.Cmdline, []string{"/proc/self/exe", "the", "original"})
	diff(t, "arguments after", after.Cmdline, []string{"another", "program"})
	diff(t, "pids", after.PIDs, before.PIDs)
}

func TestLongArgumentsAreLeftOut(t *testing.T) {
	p := start(t, nil)
	long := strings.Repeat("x", meta.MaxCmdline/2)
	p.do("exec", "one", long, long, "two")
	diff(t, "arguments", p.sends().Collect(meta.KindCmdline).Cmdline, []string{"one", long})
}

func TestChildOnAnInheritedSocket(t *testing.T) {
	p := start(t, nil)
	p.do("child")
	p.do("comm", "child")
	got := p.sends().Collect(meta.AllKinds)
	diff(t, "pid", strconv.Itoa(int(got.PIDs.PID)), p.do("pid"))
	diff(t, "parent of the child", got.PIDs.PPID, uint32(p.started))
	diff(t, "comm", got.PIDComm, "child")
	diff(t, "arguments", got.Cmdline, []string{"/proc/self/exe", "a", "child"})
	p.do("exit")
	diff(t, "pid when the parent sends again", p.sends().Collect(meta.KindPIDs).PIDs.PID, uint32(p.started))
}

func TestSenderThatHasExited(t *testing.T) {
	only := meta.Data{
		Has:   meta.KindCreds | meta.KindPIDs,
		Creds: sent(os.Getuid(), os.Getgid()),
	}
	t.Run("and is gone", func(t *testing.T) {
		p := start(t, nil)
		sender := p.sends()
		p.exit()
		only.PIDs.PID = uint32(p.started)
		diff(t, "data", sender.Collect(meta.AllKinds), only)
	})
	t.Run("and nobody waited for it", func(t *testing.T) {
		p := start(t, nil)
		sender := p.sends()
		p.stdin.Close()
		if err := unix.Waitid(unix.P_PID, p.started, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		only.PIDs.PID = uint32(p.started)
		diff(t, "data", sender.Collect(meta.AllKinds), only)
	})
	t.Run("before its message was received", func(t *testing.T) {
		p := start(t, nil)
		p.do("send")
		p.exit()
		only.PIDs.PID = uint32(p.started)
		diff(t, "data", receive(t, p.sock).Collect(meta.AllKinds), only)
	})
}

func TestMessageFromBeforeCredentialsWereAskedFor(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if _, err := unix.Write(fds[1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := meta.Socket(fds[0]).SetPassing(true); err != nil {
		t.Fatal(err)
	}
	sender := receive(t, fds[0])
	if sender.Known {
		t.Errorf("known sender: %+v", sender)
	}
	diff(t, "data", sender.Collect(meta.AllKinds), meta.Data{})
}

func TestSenderThatMovesToAnotherControlGroup(t *testing.T) {
	group := makeControlGroup(t)
	p := start(t, nil)
	before := p.sends().Collect(meta.KindCGroup)
	procs := filepath.Join(group, "cgroup.procs")
	if err := os.WriteFile(procs, []byte(p.do("pid")), 0); err != nil {
		t.Fatal(err)
	}
	after := p.sends().Collect(meta.KindCGroup)
	name := filepath.Base(group)
	if strings.HasSuffix(before.CGroup, name) || !strings.HasSuffix(after.CGroup, "/"+name) {
		t.Errorf("control group %q, then %q; want .../%s then", before.CGroup, after.CGroup, name)
	}
}

// makeControlGroup makes a control group in the first hierarchy that we read and may write to. It
// is not an error that we may not, but in CI.
func makeControlGroup(t *testing.T) (dir string) {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		if err := unix.Access(root, unix.W_OK); err != nil {
			cannotTest(t, fmt.Sprintf("control groups cannot be made: %s: %v", root, err))
		}
		dir, err := os.MkdirTemp(root, "kdbus-meta-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	cannotTest(t, "control groups are not mounted")
	return ""
}

// cannotTest skips a test for which something is missing, and fails it in CI, where nothing may be.
func cannotTest(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
