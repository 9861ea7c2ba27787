package native_test

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

func TestDescriptorsArePassedOn(t *testing.T) {
	w := newWorld(t)
	for name, recv := range map[string]abi.AttachFlags{"without metadata": 0, "with metadata": abi.AttachAny} {
		t.Run(name, func(t *testing.T) {
			a, b := w.join(), w.join(func(h *abi.Hello) { h.AttachFlagsRecv = recv })
			files := make([]int, 3)
			for i := range files {
				fd, err := nativetest.Memfd(fmt.Appendf(nil, "file %d", i))
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				files[i] = fd
			}
			// The sender numbers them as it likes.
			w.send(a, nativetest.Outgoing{
				Message: abi.Message{
					DstID: b.ID, Cookie: 1, FDs: []int32{2, 0},
					Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, FD: 1, Offset: 0, Size: 6}},
				},
				Body: []byte("inline,"), Passed: files,
			})
			m := w.recv(b)
			if len(m.Passed) != 3 || len(m.FDs) != 2 {
				t.Fatalf("%+v", m)
			}
			for i, want := range []string{"file 2", "file 0"} {
				got := make([]byte, 10)
				n, _ := unix.Pread(m.Passed[m.FDs[i]], got, 0)
				if string(got[:n]) != want {
					t.Errorf("descriptor %d is %q", i, got[:n])
				}
			}
			if got := w.content(m); got != "inline,file 1" {
				t.Error(got)
			}
		})
	}
}

func TestMemfdsGoToEverybody(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join(func(h *abi.Hello) { h.Flags = 0 })
	fd, err := nativetest.Memfd([]byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	w.send(a, nativetest.Outgoing{
		Message: abi.Message{DstID: b.ID, Cookie: 1, Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, Offset: 3, Size: 4}}},
		Passed:  []int{fd},
	})
	if got := w.content(w.recv(b)); got != "load" {
		t.Error(got)
	}
}

func TestMemfdsAreJudged(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	sealed, err := nativetest.Memfd(make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sealed)
	memfd := func(seals int) int {
		fd, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		unix.Ftruncate(fd, 100)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.Truncate(100)
	const shrink, grow, write, seal = unix.F_SEAL_SHRINK, unix.F_SEAL_GROW, unix.F_SEAL_WRITE, unix.F_SEAL_SEAL
	for _, tc := range []struct {
		name         string
		fd           int
		offset, size uint64
		want         syscall.Errno
	}{
		{"all of it", sealed, 0, 100, 0},
		{"its end", sealed, 99, 1, 0},
		{"one byte too many", sealed, 0, 101, syscall.EFAULT},
		{"behind its end", sealed, 100, 1, syscall.EFAULT},
		{"nothing", sealed, 0, 0, syscall.EINVAL},
		{"beyond all numbers", sealed, 1<<64 - 1, 2, syscall.EMSGSIZE},
		{"without seals", memfd(0), 0, 100, syscall.ETXTBSY},
		{"without SHRINK", memfd(grow | write | seal), 0, 100, syscall.ETXTBSY},
		{"without GROW", memfd(shrink | write | seal), 0, 100, syscall.ETXTBSY},
		{"without WRITE", memfd(shrink | grow | seal), 0, 100, syscall.ETXTBSY},
		{"without SEAL", memfd(shrink | grow | write), 0, 100, syscall.ETXTBSY},
		{"with all seals", memfd(shrink | grow | write | seal), 0, 100, 0},
		{"file", int(file.Fd()), 0, 100, syscall.EMEDIUMTYPE},
		{"pipe", pipeEnd(t), 0, 100, syscall.EMEDIUMTYPE},
	} {
		_, err := c.Send(nativetest.Outgoing{
			Message: abi.Message{DstID: c.ID, Cookie: 1, Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, Offset: tc.offset, Size: tc.size}}},
			Passed:  []int{tc.fd},
		})
		// Unlike others, a file on tmpfs knows of seals, and has not got them.
		if tc.name == "file" && err != nil && tc.want != 0 {
			refuses(t, tc.name, err, err.(*nativetest.Refused).Errno)
			continue
		}
		refuses(t, tc.name, err, tc.want)
	}
}

func TestDescriptorsAreUsedOnceEach(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	sealed, err := nativetest.Memfd(make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sealed)
	memfd := func(number int32) abi.Payload {
		return abi.Payload{Type: abi.ItemPayloadMemfd, FD: number, Size: 100}
	}
	many := func(n int) (numbers []int32, fds []int, memfds []abi.Payload) {
		for i := range n {
			numbers, fds, memfds = append(numbers, int32(i)), append(fds, sealed), append(memfds, memfd(int32(i)))
		}
		return
	}
	numbers16, fds16, memfds16 := many(16)
	numbers17, fds17, memfds17 := many(17)
	numbers254, _, _ := many(254)
	for _, tc := range []struct {
		name    string
		numbers []int32
		payload []abi.Payload
		fds     []int
		want    syscall.Errno
	}{
		{"one", []int32{0}, nil, []int{sealed}, 0},
		{"too large", []int32{1}, nil, []int{sealed}, syscall.EBADF},
		{"negative", []int32{-1}, nil, []int{sealed}, syscall.EBADF},
		{"twice", []int32{0, 0}, nil, []int{sealed}, syscall.EBADF},
		{"as descriptor and as memfd", []int32{0}, []abi.Payload{memfd(0)}, []int{sealed}, syscall.EBADF},
		{"one too many", []int32{0}, nil, []int{sealed, sealed}, syscall.EINVAL},
		{"none is used", nil, nil, []int{sealed}, syscall.EINVAL},
		{"16", numbers16, nil, fds16, 0},
		{"17", numbers17, nil, fds17, syscall.EMFILE},
		{"254", numbers254, nil, nil, syscall.EMFILE},
		{"16 memfds", nil, memfds16, fds16, 0},
		{"17 memfds", nil, memfds17, fds17, syscall.E2BIG},
	} {
		t.Run(tc.name, func(t *testing.T) {
			peer := w.join()
			_, err := c.Send(nativetest.Outgoing{
				Message: abi.Message{DstID: peer.ID, Cookie: 1, FDs: tc.numbers, Payload: tc.payload}, Passed: tc.fds,
			})
			refuses(t, tc.name, err, tc.want)
			if tc.want == 0 {
				if m := w.recv(peer); len(m.Passed) != len(tc.fds) {
					t.Errorf("%d descriptors came", len(m.Passed))
				}
			}
		})
	}
	_, err = c.Raw(abi.CmdList, (&abi.List{}).Append(nil), sealed)
	refuses(t, "LIST with a descriptor", err, syscall.EINVAL)
}

// TestNothingLeaks counts what is open while clients come, misbehave and go.
func TestNothingLeaks(t *testing.T) {
	w := newWorld(t)
	witness := w.join()
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	round := func() {
		a, b := w.dial(), w.dial()
		for _, c := range []*nativetest.Client{a, b} {
			if err := c.Hello(abi.Hello{Flags: abi.HelloAcceptFD, AttachFlagsRecv: abi.AttachAny}); err != nil {
				t.Fatal(err)
			}
		}
		fd, err := nativetest.Memfd(make([]byte, 1000))
		if err != nil {
			t.Fatal(err)
		}
		memfd := []abi.Payload{{Type: abi.ItemPayloadMemfd, FD: 1, Size: 1000}}
		for _, k := range []abi.Message{
			{DstID: b.ID, Cookie: 1, FDs: []int32{0}, Payload: memfd},
			{DstID: b.ID, Cookie: 2, FDs: []int32{0}, Payload: memfd, Flags: abi.MsgExpectReply, TimeoutNS: never},
			{DstID: 1000, Cookie: 1, FDs: []int32{0}, Payload: memfd},
			{DstID: b.ID, Cookie: 1, FDs: []int32{0}},
			{DstID: b.ID, Cookie: 1, FDs: []int32{5}, Payload: memfd},
			{DstID: b.ID, SrcID: b.ID, Cookie: 1, FDs: []int32{0}, Payload: memfd},
		} {
			a.Send(nativetest.Outgoing{Message: k, Passed: []int{fd, fd}})
		}
		a.Raw(abi.CmdList, (&abi.List{}).Append(nil), fd, fd)
		// The end is within a frame, with descriptors that came already.
		frame, _ := a.Request(abi.CmdSend, 0, 2, make([]byte, 5000)...)
		a.Write(frame[:100], fd, fd)
		unix.Close(fd)
		a.Close()
		b.Close()
	}
	round()
	w.waitFor("the first clients to be gone", func() bool { return len(w.bus.Conns()) == 1 })
	before, goroutines := open(), runtime.NumGoroutine()
	for range 20 {
		round()
	}
	w.waitFor("all clients to be gone", func() bool { return len(w.bus.Conns()) == 1 })
	w.waitFor("their descriptors to be closed", func() bool { return open() <= before })
	w.waitFor("their goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
	w.do(witness, &abi.List{})
}

// waitFor waits for something that other goroutines do.
func (w *world) waitFor(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(nativetest.Patience); !done(); {
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain for %s", what)
		}
		syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 1000})
	}
}
