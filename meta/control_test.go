package meta_test

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

// controlMessage returns one, with the padding after it.
func controlMessage(level, kind int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	n := 8
	if unix.SizeofCmsghdr == 16 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(len(data))))
		n = 4
	}
	binary.NativeEndian.PutUint32(b[n:], uint32(level))
	binary.NativeEndian.PutUint32(b[n+4:], uint32(kind))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func numbers(n ...int32) (b []byte) {
	for _, i := range n {
		b = binary.NativeEndian.AppendUint32(b, uint32(i))
	}
	return b
}

// These numbers are no open files here: tests that parse must not close what they find.

func TestControlMessagesAreRead(t *testing.T) {
	const sock = unix.SOL_SOCKET
	known := meta.Sender{Creds: meta.Creds{PID: 7, UID: 8, GID: 9}, Known: true}
	withPidfd := known
	withPidfd.PIDFD = 11
	creds := controlMessage(sock, unix.SCM_CREDENTIALS, numbers(7, 8, 9))
	for _, test := range []struct {
		name    string
		control []byte
		want    meta.Control
	}{
		{"nothing", nil, meta.Control{}},
		{"credentials", creds, meta.Control{Sender: known}},
		{"credentials that end without padding", creds[:unix.CmsgLen(12)], meta.Control{Sender: known}},
		{"short credentials", controlMessage(sock, unix.SCM_CREDENTIALS, numbers(7, 8)), meta.Control{}},
		{"pidfd", slices.Concat(creds, controlMessage(sock, unix.SCM_PIDFD, numbers(11))), meta.Control{Sender: withPidfd}},
		{"pidfd first", slices.Concat(controlMessage(sock, unix.SCM_PIDFD, numbers(11)), creds), meta.Control{Sender: withPidfd}},
		{"pidfd that could not be made", slices.Concat(creds, controlMessage(sock, unix.SCM_PIDFD, numbers(-3))), meta.Control{Sender: known}},
		{
			"descriptors", slices.Concat(controlMessage(sock, unix.SCM_RIGHTS, numbers(20, 21, 22)), controlMessage(sock, unix.SCM_RIGHTS, numbers(23))),
			meta.Control{FDs: []int{20, 21, 22, 23}},
		},
		{
			"label", controlMessage(sock, unix.SCM_SECURITY, []byte("a_u:b_r:c_t:s0\x00")),
			meta.Control{Sender: meta.Sender{SecLabel: "a_u:b_r:c_t:s0"}},
		},
		{"another kind", slices.Concat(controlMessage(sock, 99, numbers(1)), creds), meta.Control{Sender: known}},
		{"another level", controlMessage(unix.SOL_IP, unix.SCM_CREDENTIALS, numbers(7, 8, 9)), meta.Control{}},
		{"process that is not visible", controlMessage(sock, unix.SCM_CREDENTIALS, numbers(0, 8, 9)), meta.Control{Sender: meta.Sender{
			Creds: meta.Creds{UID: 8, GID: 9}, Known: true,
		}}},
		{"nobody", controlMessage(sock, unix.SCM_CREDENTIALS, numbers(0, 65534, 65534)), meta.Control{}},
		{"garbage shorter than a header", make([]byte, unix.SizeofCmsghdr-1), meta.Control{}},
	} {
		got, err := meta.ParseControl(test.control)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		diff(t, test.name, got, test.want)
	}
}

func TestMalformedControlMessagesAreRefused(t *testing.T) {
	good := controlMessage(unix.SOL_SOCKET, unix.SCM_RIGHTS, numbers(20, 21))
	for name, size := range map[string]uint64{"none": 0, "small": 1, "large": 1 << 20, "huge": 1<<64 - 1} {
		bad := slices.Clone(good)
		if unix.SizeofCmsghdr == 16 {
			binary.NativeEndian.PutUint64(bad, size)
		} else {
			binary.NativeEndian.PutUint32(bad, uint32(size))
		}
		got, err := meta.ParseControl(slices.Concat(good, bad))
		if err == nil {
			t.Errorf("size %s: no error", name)
		}
		diff(t, "descriptors before that, for the caller to close", got.FDs, []int{20, 21})
	}
}

func TestControlIsClosed(t *testing.T) {
	ours, theirs := socketPair(t)
	defer theirs.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := unix.Sendmsg(int(theirs.Fd()), []byte("x"), unix.UnixRights(int(null.Fd()), int(null.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, meta.MaxControl)
	_, n, flags, _, err := unix.Recvmsg(ours, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil || flags&unix.MSG_CTRUNC != 0 {
		t.Fatal(flags, err)
	}
	c, err := meta.ParseControl(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "number of descriptors", len(c.FDs), 2)
	diff(t, "who sent", c.Sender.Creds, meta.Creds{PID: uint32(os.Getpid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	fds := append(slices.Clone(c.FDs), c.Sender.PIDFD)
	for _, fd := range fds {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %#x, %v; want close-on-exec", fd, flags, err)
		}
	}
	c.Close()
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
			t.Errorf("descriptor %d is still open", fd)
		}
	}
	c.Close() // nothing more
}

// Credentials that a sender names itself are its own.
func TestSenderCannotNameOthers(t *testing.T) {
	p := start(t, nil)
	if err := unix.Sendmsg(p.sock, []byte("x"), unix.UnixCredentials(&unix.Ucred{
		Pid: int32(p.started), Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid()),
	}), nil, 0); isRoot != (err == nil) {
		t.Errorf("sending in the name of another process: %v; root: %t", err, isRoot)
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add(controlMessage(unix.SOL_SOCKET, unix.SCM_CREDENTIALS, numbers(7, 8, 9)))
	f.Add(slices.Concat(controlMessage(unix.SOL_SOCKET, unix.SCM_RIGHTS, numbers(1, 2, 3)),
		controlMessage(unix.SOL_SOCKET, unix.SCM_PIDFD, numbers(4)),
		controlMessage(unix.SOL_SOCKET, unix.SCM_SECURITY, []byte("label\x00"))))
	f.Fuzz(func(t *testing.T, control []byte) {
		c, _ := meta.ParseControl(control)
		if 4*len(c.FDs) > len(control) {
			t.Errorf("%d descriptors in %d bytes", len(c.FDs), len(control))
		}
		if c.Sender.PIDFD < 0 {
			t.Errorf("pidfd %d", c.Sender.PIDFD)
		}
	})
}
