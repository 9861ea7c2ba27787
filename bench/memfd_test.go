package bench

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// withMemfd returns a frame that arrives with a payload of this size in its first descriptor.
func withMemfd(fds uint32, index int32, size uint64) []byte {
	f := arriving(0, &abi.Message{
		PayloadType: abi.PayloadDBus,
		Payload:     []abi.Payload{{Type: abi.ItemPayloadMemfd, FD: index, Size: size}},
	})
	h := abi.FrameHeader{Size: uint32(len(f)), Cmd: abi.CmdRecv, FDs: fds}
	h.Put(f)
	return f
}

func TestSealedMemfdIsPassedOnAndRead(t *testing.T) {
	const size = 3 << 20
	memfd, err := newMemfd(make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memfd)
	if seals, err := unix.FcntlInt(uintptr(memfd), unix.F_GET_SEALS, 0); err != nil || seals&sealed != sealed {
		t.Errorf("seals are %#x, %v; want at least %#x", seals, err, sealed)
	}
	sides, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer sides[0].Close()
	defer sides[1].Close()
	from, to := newClient(int(sides[0].Fd()), 4096, newNative(true)), newClient(int(sides[1].Fd()), 4096, newNative(true))
	from.passing, to.passing = newPassing(), newPassing()
	from.passing.rights = unix.UnixRights(memfd)
	for range 2 {
		if err := from.send(withMemfd(1, 0, size)); err != nil {
			t.Fatal(err)
		}
		m, err := to.next()
		if err != nil {
			t.Fatal(err)
		}
		if len(to.passing.fds) != 1 {
			t.Fatalf("%d descriptors came, want 1", len(to.passing.fds))
		}
		fd := to.passing.fds[0]
		if err := to.passing.look(m); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF || len(to.passing.fds) != 0 {
			t.Errorf("descriptor was left open: %v, %v", err, to.passing.fds)
		}
	}
}

func TestFramesWithoutTheirMemfdsAreRefused(t *testing.T) {
	for _, test := range []struct {
		name  string
		frame []byte
		came  int
		want  string
	}{
		{"descriptor that did not come", withMemfd(1, 0, 8), 0, "0 descriptors instead of 1"},
		{"index beyond the frame's", withMemfd(1, 1, 8), 1, "descriptor 1 of 1"},
		{"no message", (&abi.FrameHeader{Size: 24}).Append(nil), 0, "size"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPassing()
			for range test.came {
				memfd, err := newMemfd([]byte("some text"))
				if err != nil {
					t.Fatal(err)
				}
				p.fds = append(p.fds, memfd)
			}
			if err := p.look(test.frame); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestEveryPartOfAMemfdCanBeTouched(t *testing.T) {
	content := make([]byte, 10000)
	content[5000], content[9999] = 3, 4
	memfd, err := newMemfd(content)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memfd)
	if err := touch(memfd, 5000, 5000); err != nil || touched != 3^4 {
		t.Errorf("read %d, %v; want %d", touched, err, 3^4)
	}
	if err := touch(memfd, 0, 1); err != nil || touched != 0 {
		t.Errorf("read %d, %v; want 0", touched, err)
	}
}
