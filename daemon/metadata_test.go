package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// What receivers are told about senders, from one end of a bus to the other. The bus is a process of
// its own, so that it can be stopped while a sender goes on; and so are senders, which write what the
// test has made to the socket that the test has opened, and change meanwhile.

func TestReceiverIsToldWhoSent(t *testing.T) {
	onEachSender(t, func(t *testing.T, s *stage) {
		p := s.writer(nil)
		got := s.by(p)
		const always = abi.AttachTimestamp | abi.AttachCreds | abi.AttachPIDs | abi.AttachAuxGroups | abi.AttachPIDComm | abi.AttachExe |
			abi.AttachCmdline | abi.AttachCGroup | abi.AttachCaps | abi.AttachAudit
		if missing := always &^ got.Has; missing != 0 {
			t.Errorf("not told: %v", missing)
		}
		s.expect("pid", got.PIDs.PID, p.pid())
		s.expect("ppid", got.PIDs.PPID, os.Getpid())
		s.expect("uid", got.Creds.UID, os.Getuid())
		s.expect("command line", got.Cmdline, []string{"/proc/self/exe", "writer", "one"})
		if again := s.by(p); again.Timestamp.Seqnum <= got.Timestamp.Seqnum || again.Timestamp.MonotonicNS < got.Timestamp.MonotonicNS {
			t.Errorf("the timestamp %v is followed by %v", got.Timestamp, again.Timestamp)
		}
	})
}

func TestSenderThatChanges(t *testing.T) {
	onEachSender(t, func(t *testing.T, s *stage) {
		group := makeCGroup(t) // before the process that is to be in it, which so ends first
		p := s.writer(nil)
		s.by(p)
		p.do("comm renamed")
		s.expect("comm after renaming", s.by(p).PIDComm, "renamed")

		p.do("exec writer two")
		got := s.by(p)
		s.expect("command line after exec", got.Cmdline, []string{"writer", "two"})
		s.expect("pid after exec", got.PIDs.PID, p.pid())

		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(p.pid())), 0); err != nil {
			t.Fatal(err)
		}
		if got := s.by(p).CGroup; !strings.HasSuffix(got, "/"+filepath.Base(group)) {
			t.Errorf("the cgroup is %s after moving to %s", got, group)
		}

		p.do("setgid 54321")
		p.do("setuid 12345")
		got = s.by(p)
		s.expect("uid after setuid", got.Creds.UID, 12345)
		s.expect("euid after setuid", got.Creds.EUID, 12345)
		s.expect("gid after setgid", got.Creds.GID, 54321)
		s.expect("effective capabilities after setuid", got.Caps.Effective, 0)
	})
}

// makeCGroup makes a control group and returns its directory.
func makeCGroup(t *testing.T) string {
	t.Helper()
	const root = "/sys/fs/cgroup"
	for _, dir := range []string{root, root + "/unified", root + "/pids", root + "/systemd"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			continue
		}
		group := filepath.Join(dir, fmt.Sprintf("kdbus-test-%d", os.Getpid()))
		if err := os.Mkdir(group, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(group) })
		return group
	}
	t.Fatalf("there is no control group file system at %s that processes can be moved in", root)
	return ""
}

func TestChildThatUsesAnInheritedSocket(t *testing.T) {
	onEachSender(t, func(t *testing.T, s *stage) {
		p := s.writer(nil)
		parent := s.by(p)
		p.do("child " + s.message())
		child := s.received()
		if child.PIDs.PID == 0 || child.PIDs.PID == parent.PIDs.PID {
			t.Errorf("a message that a child of %d sent is said to come from %d", parent.PIDs.PID, child.PIDs.PID)
		}
		s.expect("pid of the parent afterwards", s.by(p).PIDs.PID, p.pid())
	})
}

// What is gone when the bus reads the message cannot be looked at. What the kernel said with the
// message remains.
func checkGone(t *testing.T, s *stage, got abi.Metadata, pid int) {
	t.Helper()
	s.expect("pid", got.PIDs, abi.PIDs{PID: uint64(pid)})
	s.expect("uid", got.Creds.UID, os.Getuid())
	s.expect("euid", got.Creds.EUID, uint64(abi.IDUnset))
	const unknown = abi.AttachPIDComm | abi.AttachExe | abi.AttachCmdline | abi.AttachCGroup | abi.AttachCaps | abi.AttachAudit | abi.AttachAuxGroups
	if told := got.Has & unknown; told != 0 {
		t.Errorf("of a process that is gone the receiver is told %v", told)
	}
}

func TestSenderThatHasExited(t *testing.T) {
	onEachSender(t, func(t *testing.T, s *stage) {
		p := s.writer(nil)
		resume := s.pause()
		p.do("write " + s.message())
		p.end()
		resume()
		checkGone(t, s, s.received(), p.pid())
	})
}

func TestPIDThatIsUsedAgain(t *testing.T) {
	onEachSender(t, func(t *testing.T, s *stage) {
		p := s.writer(nil)
		resume := s.pause()
		p.do("write " + s.message())
		p.end()
		successor := startWithPID(t, p.pid())
		resume()
		checkGone(t, s, s.received(), successor)
	})
}

// startWithPID sees to it that there is a process with this number, which was free, and returns it.
func startWithPID(t *testing.T, pid int) int {
	t.Helper()
	for range 100 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Fatal(err)
		}
		startProgram(t, "writer", nil, nil)
		if syscall.Kill(pid, 0) == nil { // this one, or somebody else was faster
			return pid
		}
	}
	t.Fatalf("no process gets the number %d", pid)
	return 0
}

func TestSenderInOtherNamespaces(t *testing.T) {
	onEachSender(t, func(t *testing.T, s *stage) {
		p := s.writer(&syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 4321, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 4321, Size: 1}},
			Credential:  &syscall.Credential{Uid: 0, Gid: 0}, // in there
		})
		fmt.Fprintln(p.in, "pid")
		s.expect("pid in there", p.line(), 1)
		s.expect("answer", p.line(), "ok")
		got := s.by(p)
		s.expect("pid", got.PIDs.PID, p.pid())
		s.expect("uid", got.Creds.UID, 4321)
		s.expect("effective uid", got.Creds.EUID, 4321)
		if got.Has&abi.AttachCaps != 0 {
			t.Errorf("capabilities of another user namespace are told as if they were of ours: %v", got.Caps)
		}
	})
}

func TestWhatTheReceiverDidNotAskForIsNotTold(t *testing.T) {
	onEachSender(t, func(t *testing.T, s *stage) {
		want := abi.AttachCreds | abi.AttachPIDComm
		if _, err := s.receiver.Do(&abi.Update{AttachFlagsRecv: &want}); err != nil {
			t.Fatal(err)
		}
		s.expect("kinds", s.by(s.writer(nil)).Has, want)
	})
}

func TestWhatTheSenderKeepsToItself(t *testing.T) {
	s := newStage(t, senders["native"])
	allowed := abi.AttachPIDs | abi.AttachTimestamp
	if _, err := s.sender.(*nativeSender).Do(&abi.Update{AttachFlagsSend: &allowed}); err != nil {
		t.Fatal(err)
	}
	s.expect("kinds", s.by(s.writer(nil)).Has, allowed)
}
