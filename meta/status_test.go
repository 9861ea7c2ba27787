package meta

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const allStatus = statusComm | statusPPID | statusUIDs | statusGIDs | statusGroups | statusCaps

func TestStatusIsRead(t *testing.T) {
	text, err := os.ReadFile("testdata/status")
	if err != nil {
		t.Fatal(err)
	}
	got := parseStatus(text, allStatus)
	want := status{
		has:    allStatus,
		comm:   "a\\b\nUid: 0",
		ppid:   4711,
		uids:   [4]uint32{1000, 1001, 1002, 1003},
		gids:   [4]uint32{100, 101, 102, 4294967295},
		groups: []uint32{4, 24, 100000},
		caps:   Caps{Inheritable: 1, Permitted: 0x1fffeffffff, Effective: 0x400, Bounding: 0x1ffffffffff},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(status{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for field := statusFields(1); field <= allStatus; field <<= 1 {
		if got := parseStatus(text, field).has; got != field {
			t.Errorf("field %#x wanted, %#x found", field, got)
		}
	}
}

func TestStatusThatMakesNoSenseIsAbsent(t *testing.T) {
	for text, want := range map[string]statusFields{
		"":                                 0,
		"Uid":                              0,
		"Uid:":                             0,
		"Uid:\t1\t2\t3":                    0,
		"Uid:\t1\t2\t3\t4\t5":              0,
		"Uid:\t1\t2\t3\t-4":                0,
		"Uid:\t1\t2\t3\t4294967296":        0,
		"Uid:\t1\t2\t3\t4x":                0,
		"Uid:\t1\t2\t3\t99999999999999999": 0,
		"Uid:\t1\t2\t3\t4":                 statusUIDs,
		"uid:\t1\t2\t3\t4":                 0,
		"PPid:\t":                          0,
		"PPid:\t1 2":                       0,
		"PPid:\t0":                         statusPPID,
		"Groups:\t1 2 x":                   0,
		"Groups:\t ":                       statusGroups,
		"Groups:\t":                        statusGroups,
		"CapEff:\t":                        0,
		"CapEff:\t1ffffffffffffffff":       0,
		"CapEff:\tx":                       0,
		"CapEff:\t0000000000000400\nName:": statusEffective | statusComm,
	} {
		if got := parseStatus([]byte(text), allStatus).has; got != want {
			t.Errorf("%q: fields %#x, want %#x", text, got, want)
		}
	}
}

func TestControlGroupThatCounts(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unified", "0::/system.slice/x.service\n", "/system.slice/x.service"},
		{"unified root", "0::/\n", "/"},
		{"hybrid", "12:cpu,cpuacct:/c\n1:name=systemd:/s\n0::/u\n", "/u"},
		{"hybrid, where systemd does not use the unified one", "12:cpu,cpuacct:/c\n1:name=systemd:/s\n0::/\n", "/s"},
		{"legacy with systemd", "12:cpu,cpuacct:/c\n1:name=systemd:/s\n", "/s"},
		{"legacy without systemd", "12:cpu,cpuacct:/c\n3:memory:/m\n7:pids:/p\n", "/m"},
		{"colons in a path", "0::/a:b::c\n", "/a:b::c"},
		{"outside of our namespace", "0::/../../x\n", "/../../x"},
		{"none", "", ""},
		{"nonsense", "0:/\nx::/\n0::\n0::relative\n", ""},
	} {
		got, ok := parseCGroup([]byte(test.text))
		if got != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q, %t, want %q", test.name, got, ok, test.want)
		}
	}
}

func TestArgumentsAreSplit(t *testing.T) {
	for _, test := range []struct {
		text string
		more bool
		want []string
	}{
		{"", false, nil},
		{"", true, nil},
		{"a\x00", false, []string{"a"}},
		{"a\x00b c\x00", false, []string{"a", "b c"}},
		{"a\x00\x00", false, []string{"a", ""}},
		{"\x00", false, []string{""}},
		{"a title without an end", false, []string{"a title without an end"}},
		{"a\x00b\x00cut", true, []string{"a", "b"}},
		{"a\x00b\x00", true, []string{"a", "b"}},
		{"cut", true, nil},
	} {
		if got := parseCmdline([]byte(test.text), test.more); !slices.Equal(got, test.want) {
			t.Errorf("%q, more: %t: %q, want %q", test.text, test.more, got, test.want)
		}
	}
}

// What /proc says later than the kernel is believed only if no execve can have given it.
func TestCredentialsAreBelieved(t *testing.T) {
	const all = KindCreds | KindAuxGroups | KindCaps
	user := func(r, e, s, f uint32) [4]uint32 { return [4]uint32{r, e, s, f} }
	one, two := user(1, 1, 1, 1), user(2, 2, 2, 2)
	proved := func(uid, gid uint32) IDs {
		return IDs{uid, IDUnset, IDUnset, IDUnset, gid, IDUnset, IDUnset, IDUnset}
	}
	ids := func(u, g [4]uint32) IDs { return IDs{u[0], u[1], u[2], u[3], g[0], g[1], g[2], g[3]} }
	partly := func(i IDs, u, g *[4]uint32) IDs {
		if u != nil {
			i.UID, i.EUID, i.SUID, i.FSUID = u[0], u[1], u[2], u[3]
		}
		if g != nil {
			i.GID, i.EGID, i.SGID, i.FSGID = g[0], g[1], g[2], g[3]
		}
		return i
	}
	for _, test := range []struct {
		name       string
		uid, gid   uint32
		uids, gids [4]uint32
		permitted  uint64
		has        Kinds
		ids        IDs
	}{
		{"a user", 1, 2, one, two, 0, all, ids(one, two)},
		{"a user with capabilities", 1, 2, one, two, 1 << 21, all &^ KindCaps, ids(one, two)},
		{"another effective user", 1, 2, user(1, 0, 1, 1), two, 0, KindCreds, partly(proved(1, 2), nil, &two)},
		{"another saved user", 1, 2, user(1, 1, 0, 1), two, 0, KindCreds, partly(proved(1, 2), nil, &two)},
		{"another file system user", 1, 2, user(1, 1, 1, 0), two, 0, KindCreds, partly(proved(1, 2), nil, &two)},
		{"another effective group", 1, 2, one, user(2, 0, 2, 2), 0, KindCreds, partly(proved(1, 2), &one, nil)},
		{"another user by now", 1, 2, two, two, 0, KindCreds, partly(proved(1, 2), nil, &two)},
		{"root by now", 1, 2, user(0, 0, 0, 0), user(0, 0, 0, 0), 1, KindCreds, proved(1, 2)},
		{"root", 0, 2, user(0, 1, 0, 1), two, 1, all, ids(user(0, 1, 0, 1), two)},
		{"root no more", 0, 2, one, two, 0, KindCreds, partly(proved(0, 2), nil, &two)},
	} {
		d := Data{Has: KindCreds, Creds: proved(test.uid, test.gid)}
		s := status{has: allStatus, uids: test.uids, gids: test.gids, caps: Caps{Permitted: test.permitted}}
		if test.name == "root no more" {
			s.gids = two
		}
		d.believe(&s, all, proof{uid: test.uid, gid: test.gid, which: realID})
		if d.Has != test.has {
			t.Errorf("%s: %v, want %v", test.name, d.Has, test.has)
		}
		if diff := cmp.Diff(test.ids, d.Creds); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// What a pidfd tells and what /proc does is the same, so that it does not matter which kernel runs.
func TestPidfdAndProcAgree(t *testing.T) {
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	const kinds = KindCreds | KindPIDs
	p := proof{pid: uint32(os.Getpid()), uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), which: realID}
	var asked, read Data
	if left := asked.askKernel(pidfd, kinds|KindCaps, p); left == kinds|KindCaps {
		t.Log("this kernel has no PIDFD_GET_INFO")
		return
	} else if left != KindCaps {
		t.Errorf("left to read: %v, want %v", left, KindCaps)
	}
	r := procReaders.Get().(*procReader)
	defer r.release()
	read.readStatus(r, kinds, p)
	if d := cmp.Diff(read, asked); d != "" {
		t.Errorf("-/proc +pidfd:\n%s", d)
	}
	if read.PIDs.PPID != uint32(os.Getppid()) || read.Creds.EUID != uint32(os.Geteuid()) {
		t.Errorf("%+v %+v", read.Creds, read.PIDs)
	}
}

func FuzzProcFiles(f *testing.F) {
	text, err := os.ReadFile("testdata/status")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("1:name=systemd:/a\n0::/\n"))
	f.Add([]byte("/bin/sh\x00-c\x00true\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := parseStatus(text, allStatus)
		if s.has&statusGroups == 0 && s.groups != nil {
			t.Errorf("groups %v of no line", s.groups)
		}
		if path, ok := parseCGroup(text); ok && (!strings.HasPrefix(path, "/") || strings.Contains(path, "\n")) {
			t.Errorf("control group %q", path)
		}
		for _, more := range []bool{false, true} {
			args := parseCmdline(text, more)
			if n := len(strings.Join(args, "\x00")); n > len(text) {
				t.Errorf("%d bytes of arguments in %d", n, len(text))
			}
		}
	})
}
