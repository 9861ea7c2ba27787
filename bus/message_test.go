package bus_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

// pipe makes a pipe whose writing end goes into a message. closed tells whether that end was closed.
func pipe(t *testing.T) (write int, closed func() bool) {
	t.Helper()
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatalf("pipe: %v", err)
	}
	t.Cleanup(func() { syscall.Close(ends[0]) })
	return ends[1], func() bool {
		n, err := syscall.Read(ends[0], make([]byte, 1))
		if n != 0 && !errors.Is(err, syscall.EAGAIN) {
			t.Fatalf("read from the pipe: %d, %v", n, err)
		}
		return n == 0
	}
}

// expectClosedOnce checks that the descriptor fd was closed, and that rest, which uses up what is left of its message, does not close
// what has the number now.
func expectClosedOnce(t *testing.T, fd int, closed func() bool, rest func()) {
	t.Helper()
	if !closed() {
		t.Error("the descriptor is still open")
		syscall.Close(fd)
		return
	}
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		t.Fatalf("pipe: %v", err)
	}
	defer syscall.Close(ends[0])
	defer syscall.Close(ends[1])
	if ends[0] != fd && ends[1] != fd {
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(ends[0]), syscall.F_DUPFD_CLOEXEC, uintptr(fd)); errno != 0 {
			t.Fatalf("dup: %v", errno)
		}
		defer syscall.Close(fd)
	}
	rest()
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0); errno != 0 {
		t.Error("the descriptor was closed once more")
	}
}

func TestDescriptorsAreClosedWithTheLastReference(t *testing.T) {
	type scene struct {
		b                *testBus
		sender, one, two *peer // one and two subscribed to broadcasts and do not read
		m                *bus.Message
		closed           func() bool
	}
	send := func(want syscall.Errno) func(*testing.T, *scene) {
		return func(t *testing.T, s *scene) {
			expectError(t, s.sender.Send(s.m), want)
			s.sender.Flush()
		}
	}
	open := func(t *testing.T, s *scene) {
		t.Helper()
		if s.closed() {
			t.Error("closed too early")
		}
	}
	release := func(t *testing.T, s *scene) { open(t, s); s.m.Release() }
	oneReads := func(t *testing.T, s *scene) { open(t, s); s.one.wakeUp() }
	twoReads := func(t *testing.T, s *scene) { open(t, s); s.two.wakeUp() }
	oneLeaves := func(t *testing.T, s *scene) { open(t, s); s.one.leave() }
	twoLeaves := func(t *testing.T, s *scene) { open(t, s); s.two.leave() }
	steps := func(do ...func(*testing.T, *scene)) []func(*testing.T, *scene) { return do }

	tests := []struct {
		name  string
		dst   bus.ID
		steps []func(*testing.T, *scene)
	}{
		{"never sent", 2, steps(release)},
		{"read before the sender is done", 2, steps(send(0), oneReads, release)},
		{"read after the sender is done", 2, steps(send(0), release, oneReads)},
		{"the receiver leaves and has not read", 2, steps(send(0), release, oneLeaves)},
		{"the receiver leaves with some taken", 2, steps(send(0), release, func(t *testing.T, s *scene) {
			batch := s.one.Dequeue(make([]*bus.Message, 0, 1))
			s.one.leave()
			open(t, s)
			s.one.Delivered(batch)
		})},
		{"nobody has the id", 99, steps(send(bus.ErrNoSuchConn), release)},
		{"the receiver takes none", 4, steps(send(bus.ErrNoFDs), release)},
		{"the receiver has no space", 5, steps(send(bus.ErrQueueFull), release)},
		{"broadcast to nobody", bus.Broadcast, steps(oneLeaves, twoLeaves, send(0), release)},
		{"broadcast", bus.Broadcast, steps(send(0), release, oneReads, twoReads)},
		{"broadcast and one leaves", bus.Broadcast, steps(send(0), release, twoLeaves, oneReads)},
		{"broadcast and all leave", bus.Broadcast, steps(send(0), twoLeaves, oneLeaves, release)},
		{"the sender leaves first", 2, steps(send(0), release, func(t *testing.T, s *scene) { s.sender.leave() }, oneReads)},
		{"a monitor reads last", 2, steps(func(t *testing.T, s *scene) { s.two.monitor(all) }, send(0), release, oneReads, twoReads)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			s := &scene{b: b, sender: b.connect(), one: b.connect(), two: b.connect()}
			b.connect(refuseFDs).subscribe(everything)
			b.connect(limited(bus.Limits{})).subscribe(everything)
			for _, p := range []*peer{s.one, s.two} {
				p.subscribe(ordinary)
				p.sleep()
			}
			fd, closed := pipe(t)
			s.closed = closed
			s.m = to(test.dst, "x")
			s.m.FDs = []int{fd}
			frees := 0
			s.m.Free = func() { frees++ }

			for _, step := range test.steps {
				step(t, s)
			}
			expectClosedOnce(t, fd, closed, func() {
				for _, p := range []*peer{s.sender, s.one, s.two} {
					p.wakeUp()
					p.leave()
				}
			})
			if frees != 1 {
				t.Errorf("the payload was freed %d times", frees)
			}
		})
	}
}

func TestBroadcastWithDescriptorsPassesByThoseThatTakeNone(t *testing.T) {
	b := newBus(t)
	sender, takes, takesNone := b.connect(), b.connect(), b.connect(refuseFDs)
	takes.subscribe(everything)
	takesNone.eavesdrop(everything)
	sender.mustPost(withFDs(to(bus.Broadcast, "x"), 1))
	takes.expect("1: x")
	takesNone.expect()
	sender.mustPost(withFDs(to(takes.ID(), "x"), 1))
	takes.expect("1: x")
	takesNone.expect()
	if s := takesNone.QueueStats(); s.Dropped != 0 {
		t.Errorf("counted as lost for lack of space: %+v", s)
	}
}
