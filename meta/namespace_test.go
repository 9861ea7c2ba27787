package meta_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

// namespaces returns how to start a process in new namespaces. Only root needs no user namespace
// for it. In a user namespace the process is root; the user that this is outside is returned.
func namespaces(flags uintptr) (attr *syscall.SysProcAttr, uid, gid int) {
	uid, gid = os.Getuid(), os.Getgid()
	if !isRoot {
		flags |= unix.CLONE_NEWUSER
	}
	attr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags&unix.CLONE_NEWUSER == 0 {
		return attr, uid, gid
	}
	if isRoot {
		uid, gid = 100000, 200000
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{}
	}
	attr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	return attr, uid, gid
}

func TestSenderInOtherPidAndUserNamespaces(t *testing.T) {
	attr, uid, gid := namespaces(unix.CLONE_NEWUSER | unix.CLONE_NEWPID)
	p := start(t, attr)
	diff(t, "pid there", p.do("pid"), "1")
	got := p.sends().Collect(meta.AllKinds)
	diff(t, "kinds", got.Has, alwaysKnown) // no capabilities: here it has none
	diff(t, "creds", got.Creds, everyone(uid, gid))
	diff(t, "pids", got.PIDs, meta.PIDs{PID: uint32(p.started), PPID: uint32(os.Getpid())})
}

// Even our own root has no capabilities here if it is in a user namespace that it made.
func TestCapabilitiesInAnotherUserNamespaceAreAbsent(t *testing.T) {
	for _, flags := range []uintptr{0, unix.CLONE_NEWUSER} {
		attr := &syscall.SysProcAttr{Cloneflags: flags}
		if flags != 0 {
			attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		got := start(t, attr).sends().Collect(meta.KindCreds | meta.KindCaps)
		want := meta.KindCreds
		if flags == 0 {
			want |= meta.KindCaps
		}
		diff(t, "kinds", got.Has, want)
		diff(t, "creds", got.Creds, everyone(os.Getuid(), os.Getgid()))
	}
}

func TestSenderOutsideOfOurPidNamespace(t *testing.T) {
	attr, _, _ := namespaces(unix.CLONE_NEWPID)
	p := start(t, attr)
	p.do("pass")
	if _, err := unix.Write(p.sock, []byte("x")); err != nil {
		t.Fatal(err)
	}
	// Root in a user namespace is who we are outside.
	diff(t, "data", p.collects("receive"), meta.Data{Has: meta.KindCreds, Creds: sent(0, 0)})
}

// withoutProc is what is known of a process of which /proc tells nothing. Since Linux 6.13 a pidfd
// tells something itself.
func withoutProc(t *testing.T, uid, gid, pid, ppid int) meta.Data {
	t.Helper()
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(self)
	d := meta.Data{
		Has:   meta.KindCreds | meta.KindPIDs,
		Creds: sent(uid, gid),
		PIDs:  meta.PIDs{PID: uint32(pid)},
	}
	if unix.IoctlPidfdInfo(self, &unix.PidfdInfo{Mask: unix.PIDFD_INFO_CREDS}) == nil {
		d.Creds = everyone(uid, gid)
		d.PIDs.PPID = uint32(ppid)
	}
	return d
}

// With /proc of another pid namespace, a pid there is somebody else.
func TestProcOfAnotherPidNamespaceIsNotRead(t *testing.T) {
	attr, _, _ := namespaces(unix.CLONE_NEWPID | unix.CLONE_NEWNS)
	p := start(t, attr)
	diff(t, "with the outer /proc", p.collects("send-to-self"), withoutProc(t, 0, 0, 1, 0))
	p = start(t, attr)
	p.do("own-proc")
	got := p.collects("send-to-self")
	diff(t, "kinds with its own /proc", got.Has, alwaysKnown|meta.KindCaps)
	diff(t, "creds with its own /proc", got.Creds, everyone(0, 0))
}

func TestHiddenProcessesAreNotRead(t *testing.T) {
	needRoot(t)
	p := start(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS})
	p.do("hide-procs")
	p.do("setgroups") // group 0 sees them all
	p.do("setresgid", 65534, 65534, 65534)
	p.do("setresuid", 65534, 65534, 65534)
	p.do("pass")
	if _, err := unix.Write(p.sock, []byte("x")); err != nil {
		t.Fatal(err)
	}
	diff(t, "data", p.collects("receive"), withoutProc(t, 0, 0, os.Getpid(), os.Getppid()))
}

func TestExecutableBelowAnotherRootIsAbsent(t *testing.T) {
	attr, _, _ := namespaces(unix.CLONE_NEWNS)
	p := start(t, attr)
	const kinds = meta.KindExe | meta.KindPIDComm
	diff(t, "kinds before", p.sends().Collect(kinds).Has, kinds)
	p.do("chroot", t.TempDir())
	diff(t, "kinds after", p.sends().Collect(kinds).Has, meta.KindPIDComm)
}

// reuse is what reusePID found.
type reuse struct {
	PID                       uint32
	SenderBefore, SenderAfter meta.Data
	PeerBefore, PeerAfter     meta.Data
}

func TestPidThatIsUsedAgain(t *testing.T) {
	attr, _, _ := namespaces(unix.CLONE_NEWPID | unix.CLONE_NEWNS)
	p := start(t, attr)
	p.do("own-proc")
	var got reuse
	if err := json.Unmarshal([]byte(p.do("reuse-pid", filepath.Join(t.TempDir(), "socket"))), &got); err != nil {
		t.Fatal(err)
	}
	all := alwaysKnown | meta.KindCaps
	diff(t, "kinds of the sender", got.SenderBefore.Has, all)
	diff(t, "kinds of the peer", got.PeerBefore.Has, all)
	diff(t, "sender whose pid is another's now", got.SenderAfter, meta.Data{
		Has:   meta.KindCreds | meta.KindPIDs,
		Creds: sent(0, 0),
		PIDs:  meta.PIDs{PID: got.PID},
	})
	diff(t, "peer whose pid is another's now", got.PeerAfter, meta.Data{
		Has:       meta.KindCreds | meta.KindPIDs | meta.KindAuxGroups,
		Creds:     connected(0, 0),
		PIDs:      meta.PIDs{PID: got.PID},
		AuxGroups: got.PeerBefore.AuxGroups,
	})
}

// reusePID is run in a pid namespace of its own, where nobody else takes pids: one child connects,
// sends and exits, then its pid is given to another.
func reusePID(args []string) (answer string, err error) {
	var r reuse
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: args[0]})
	if err != nil {
		return "", err
	}
	defer listener.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if err := meta.Socket(fds[0]).SetPassing(true); err != nil {
		return "", err
	}
	child, err := startChild(fds[1], "send\nconnect "+args[0]+"\n", 3)
	if err != nil {
		return "", err
	}
	r.PID = uint32(child.Process.Pid)
	sender, err := receiveFrom(fds[0])
	if err != nil {
		return "", err
	}
	defer sender.Close()
	peer, err := listener.AcceptUnix()
	if err != nil {
		return "", err
	}
	defer peer.Close()
	file, err := peer.File()
	if err != nil {
		return "", err
	}
	defer file.Close()
	sock := meta.Socket(file.Fd())
	r.SenderBefore = sender.Collect(meta.AllKinds)
	if r.PeerBefore, err = sock.Collect(meta.AllKinds); err != nil {
		return "", err
	}
	endChild(child)
	if child, err = startAs(int(r.PID), fds[1]); err != nil {
		return "", err
	}
	r.SenderAfter = sender.Collect(meta.AllKinds)
	if r.PeerAfter, err = sock.Collect(meta.AllKinds); err != nil {
		return "", err
	}
	endChild(child)
	text, err := json.Marshal(r)
	return string(text), err
}

// startAs starts a child with a certain pid. Our own threads take pids too, so it may need more than
// one attempt.
func startAs(pid, sock int) (*exec.Cmd, error) {
	for range 100 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return nil, err
		}
		child, err := startChild(sock, "", 1)
		if err != nil || child.Process.Pid == pid {
			return child, err
		}
		endChild(child)
	}
	return nil, fmt.Errorf("pid %d is not given to anybody again", pid)
}

// startChild starts a child, lets it do something, and waits for that many answers.
func startChild(sock int, commands string, answers int) (*exec.Cmd, error) {
	child := exec.Command("/proc/self/exe", "child")
	dup, err := unix.FcntlInt(uintptr(sock), unix.F_DUPFD_CLOEXEC, 4)
	if err != nil {
		return nil, err
	}
	socket := os.NewFile(uintptr(dup), "socket")
	defer socket.Close()
	child.ExtraFiles = []*os.File{socket}
	stdin, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	if _, err := stdin.Write([]byte(commands)); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stdout)
	for range answers {
		if !lines.Scan() || lines.Text()[:2] != "ok" {
			return nil, errors.New("child: " + lines.Text())
		}
	}
	return child, nil
}

// endChild returns when the pid of a child is free.
func endChild(child *exec.Cmd) {
	_ = child.Process.Kill()
	_ = child.Wait()
}
