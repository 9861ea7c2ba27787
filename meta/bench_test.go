package meta_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

var benchKinds = []struct {
	name string
	want meta.Kinds
}{
	{"nothing", 0},
	{"timestamp+names+description", meta.ConnectionKinds},
	{"creds", meta.KindCreds},
	{"pids", meta.KindPIDs},
	{"auxgroups", meta.KindAuxGroups},
	{"tid-comm", meta.KindTIDComm},
	{"pid-comm", meta.KindPIDComm},
	{"exe", meta.KindExe},
	{"cmdline", meta.KindCmdline},
	{"cgroup", meta.KindCGroup},
	{"caps", meta.KindCaps},
	{"seclabel", meta.KindSecLabel},
	{"audit", meta.KindAudit},
	{"creds+pids+auxgroups+pid-comm+caps", meta.KindCreds | meta.KindPIDs | meta.KindAuxGroups | meta.KindPIDComm | meta.KindCaps},
	{"all", meta.AllKinds},
}

var sink meta.Data

// What a message costs, by what its receivers want.
func BenchmarkSender(b *testing.B) {
	sender := start(b, nil).sends()
	for _, bench := range benchKinds {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = sender.Collect(bench.want)
			}
		})
	}
}

// What a connection costs.
func BenchmarkSocket(b *testing.B) {
	s := start(b, nil).connects()
	for _, bench := range benchKinds {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d, err := s.Collect(bench.want)
				if err != nil {
					b.Fatal(err)
				}
				sink = d
			}
		})
	}
}

// What it costs to be told at all: a message of one byte, with what the kernel adds to it.
func BenchmarkReceive(b *testing.B) {
	for _, bench := range []struct {
		name    string
		options []int
	}{
		{"plain", nil},
		{"credentials", []int{unix.SO_PASSCRED}},
		{"credentials+pidfd", []int{unix.SO_PASSCRED, unix.SO_PASSPIDFD}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(fds[0])
			defer unix.Close(fds[1])
			for _, option := range bench.options {
				if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, option, 1); err != nil {
					b.Fatal(err)
				}
			}
			message, oob := make([]byte, 1), make([]byte, meta.MaxControl)
			for b.Loop() {
				if _, err := unix.Write(fds[1], message); err != nil {
					b.Fatal(err)
				}
				_, n, _, _, err := unix.Recvmsg(fds[0], message, oob, unix.MSG_CMSG_CLOEXEC)
				if err != nil {
					b.Fatal(err)
				}
				control, err := meta.ParseControl(oob[:n])
				if err != nil {
					b.Fatal(err)
				}
				control.Close()
			}
		})
	}
}
