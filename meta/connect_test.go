package meta_test

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

// connected is what is known of a process by its connection alone.
func connected(uid, gid int) meta.IDs {
	return meta.IDs{
		UID: unset, EUID: uint32(uid), SUID: unset, FSUID: unset,
		GID: unset, EGID: uint32(gid), SGID: unset, FSGID: unset,
	}
}

// connects lets a process connect, and returns our end.
func (p *process) connects() meta.Socket {
	p.t.Helper()
	// An abstract address: everybody may connect to it.
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@kdbus-meta-test" + p.t.TempDir()})
	if err != nil {
		p.t.Fatal(err)
	}
	defer listener.Close()
	p.do("connect", listener.Addr())
	conn, err := listener.AcceptUnix()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	file, err := conn.File()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { file.Close() })
	return meta.Socket(file.Fd())
}

func collectAll(t *testing.T, s meta.Socket, want meta.Kinds) meta.Data {
	t.Helper()
	d, err := s.Collect(want)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEverythingAboutAPeer(t *testing.T) {
	p := start(t, nil)
	s := p.connects()
	got := collectAll(t, s, meta.AllKinds)
	if missing := (alwaysKnown | meta.KindCaps) &^ got.Has; missing != 0 {
		t.Errorf("not known: %v", missing)
	}
	diff(t, "creds", got.Creds, everyone(os.Getuid(), os.Getgid()))
	diff(t, "pids", got.PIDs, meta.PIDs{PID: uint32(p.started), PPID: uint32(os.Getpid())})
	diff(t, "cmdline", got.Cmdline, []string{"/proc/self/exe", "the", "original"})
	diff(t, "none wanted", collectAll(t, s, 0), meta.Data{})
	for kind := meta.Kinds(1); kind <= meta.AllKinds; kind <<= 1 {
		diff(t, "kinds if one is wanted", collectAll(t, s, kind).Has, got.Has&kind)
	}
}

func TestPeerThatHasExited(t *testing.T) {
	p := start(t, nil)
	s := p.connects()
	groups := collectAll(t, s, meta.KindAuxGroups).AuxGroups
	p.exit()
	diff(t, "data", collectAll(t, s, meta.AllKinds), meta.Data{
		Has:       meta.KindCreds | meta.KindPIDs | meta.KindAuxGroups,
		Creds:     connected(os.Getuid(), os.Getgid()),
		PIDs:      meta.PIDs{PID: uint32(p.started)},
		AuxGroups: groups,
	})
}

func TestPeerThatChangesItsUserAfterConnecting(t *testing.T) {
	needRoot(t)
	p := start(t, nil)
	s := p.connects()
	groups := collectAll(t, s, meta.KindAuxGroups).AuxGroups
	p.do("setgroups", 5, 6)
	p.do("setresgid", 1001, 1001, 1001)
	p.do("setresuid", 1000, 1000, 1000)
	got := collectAll(t, s, meta.KindCreds|meta.KindAuxGroups|meta.KindCaps)
	diff(t, "data", got, meta.Data{
		Has:       meta.KindCreds | meta.KindAuxGroups,
		Creds:     connected(0, 0),
		AuxGroups: groups,
	})
}

// What a socket proves is the effective user; and whoever is root is believed what it has besides.
func TestPeerWithAnotherEffectiveUser(t *testing.T) {
	needRoot(t)
	p := start(t, nil)
	p.do("setresgid", 1001, 0, 1001)
	p.do("setresuid", 1000, 0, 1000)
	got := collectAll(t, p.connects(), meta.KindCreds)
	diff(t, "creds of root", got.Creds, meta.IDs{UID: 1000, SUID: 1000, GID: 1001, SGID: 1001})

	p = start(t, nil)
	p.do("setresgid", 0, 1001, 0)
	p.do("setresuid", 0, 1000, 0)
	got = collectAll(t, p.connects(), meta.KindCreds)
	diff(t, "creds of a user", got.Creds, connected(1000, 1001))
}

func TestPeerInOtherPidAndUserNamespaces(t *testing.T) {
	attr, uid, gid := namespaces(unix.CLONE_NEWUSER | unix.CLONE_NEWPID)
	p := start(t, attr)
	got := collectAll(t, p.connects(), meta.AllKinds)
	diff(t, "kinds", got.Has, alwaysKnown)
	diff(t, "creds", got.Creds, everyone(uid, gid))
	diff(t, "pids", got.PIDs, meta.PIDs{PID: uint32(p.started), PPID: uint32(os.Getpid())})
}

func TestSocketsThatHaveNoPeer(t *testing.T) {
	for name, domain := range map[string]int{"not connected": unix.AF_UNIX, "not a UNIX socket": unix.AF_INET} {
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := meta.Socket(fd).Collect(meta.AllKinds); err == nil {
			t.Errorf("%s: no error, and %+v", name, d)
		}
		unix.Close(fd)
	}
}

func TestWeKnowOurselves(t *testing.T) {
	got, err := meta.Self(meta.AllKinds)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "kinds", got.Has&^meta.KindSecLabel, alwaysKnown|meta.KindCaps)
	diff(t, "creds", got.Creds, everyone(os.Getuid(), os.Getgid()))
	diff(t, "pids", got.PIDs, meta.PIDs{PID: uint32(os.Getpid()), PPID: uint32(os.Getppid())})
	diff(t, "arguments", got.Cmdline, os.Args)
}

func TestCollectingLeavesNoFilesOpen(t *testing.T) {
	open := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	p := start(t, nil)
	s, sender := p.connects(), p.sends()
	before := open()
	for range 3 {
		collectAll(t, s, meta.AllKinds)
		sender.Collect(meta.AllKinds)
		if _, err := meta.Self(meta.AllKinds); err != nil {
			t.Fatal(err)
		}
	}
	if after := open(); after > before {
		t.Errorf("%d files are open, %d were before", after, before)
	}
}
