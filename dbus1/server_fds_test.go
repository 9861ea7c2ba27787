package dbus1_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// pipe tells whether copies of a descriptor are open somewhere: as long as there are, its reading
// end waits.
type pipe struct {
	r *os.File
	w int
}

func newPipe(t testing.TB) *pipe {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := &pipe{r: r}
	if p.w, err = unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		unix.Close(p.w)
	})
	return p
}

// closed checks that all copies of the writing end get closed, after the test's own.
func (p *pipe) closed(t testing.TB) {
	t.Helper()
	unix.Close(p.w)
	p.w = -1
	p.r.SetReadDeadline(time.Now().Add(patience))
	if n, err := p.r.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		t.Errorf("a descriptor that could not be delivered is still open: %v", err)
	}
}

// numberedFile returns a descriptor of a new file with the number n in it.
func numberedFile(n uint64) (int, error) {
	fd, err := unix.MemfdCreate("numbered", unix.MFD_CLOEXEC)
	if err == nil {
		_, err = unix.Write(fd, fmt.Append(nil, n))
	}
	return fd, err
}

func mustNumberedFile(t testing.TB, n int) int {
	t.Helper()
	fd, err := numberedFile(uint64(n))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// numberIn closes a descriptor and returns what is in its file.
func numberIn(t testing.TB, fd int) string {
	t.Helper()
	defer unix.Close(fd)
	b := make([]byte, 20)
	n, err := unix.Pread(fd, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestDescriptorsArrive, also those that one message shares with many receivers.
func TestDescriptorsArrive(t *testing.T) {
	s := startServer(t)
	sender := s.connectAs(t, wire.BigEndian, true)
	var receivers []*client
	for range 3 {
		r := s.connectAs(t, wire.LittleEndian, true)
		r.must(t, "AddMatch", "type='signal',member='Files'")
		receivers = append(receivers, r)
	}
	pipe := newPipe(t)
	files := []int{mustNumberedFile(t, 1), mustNumberedFile(t, 2), pipe.w}
	m := sender.newMessage(wire.TypeSignal, "", "Files", wire.UnixFD(1), wire.UnixFD(0), wire.UnixFD(2))
	sender.mustSend(t, m, files...)
	closeFDs(files[:2])
	for _, r := range receivers {
		got := r.mustNext(t)
		if len(got.fds) != 3 || numberIn(t, got.fds[0]) != "1" || numberIn(t, got.fds[1]) != "2" {
			t.Errorf("got %s with descriptors %v", got, got.fds)
		}
		closeFDs(got.fds[2:])
	}
	pipe.closed(t)
}

// TestDescriptorsThatCannotBeDeliveredAreClosed, whatever the reason.
func TestDescriptorsThatCannotBeDeliveredAreClosed(t *testing.T) {
	tests := map[string]func(t *testing.T, s *testServer, sender *client, fd int){
		"receiver takes none": func(t *testing.T, s *testServer, sender *client, fd int) {
			receiver := s.connectAs(t, wire.LittleEndian, false)
			sender.mustFail(t, "NotSupported", sender.newMessage(wire.TypeMethodCall, receiver.name, "M"), fd)
		},
		"nobody there": func(t *testing.T, s *testServer, sender *client, fd int) {
			sender.mustFail(t, "ServiceUnknown", sender.newMessage(wire.TypeMethodCall, "org.example.Nobody", "M"), fd)
		},
		"nobody with this id": func(t *testing.T, s *testServer, sender *client, fd int) {
			sender.mustFail(t, "ServiceUnknown", sender.newMessage(wire.TypeMethodCall, ":1.99999", "M"), fd)
		},
		"unrequested answer": func(t *testing.T, s *testServer, sender *client, fd int) {
			receiver := s.connectAs(t, wire.LittleEndian, true)
			m := sender.newMessage(wire.TypeMethodReturn, receiver.name, "")
			m.ReplySerial = 77
			sender.mustFail(t, "AccessDenied", m, fd)
		},
		"message to the bus": func(t *testing.T, s *testServer, sender *client, fd int) {
			if _, err := sender.ask(sender.newMessage(wire.TypeMethodCall, driver, "GetId"), fd); err != nil {
				t.Fatal(err)
			}
		},
		"signal to the bus": func(t *testing.T, s *testServer, sender *client, fd int) {
			sender.mustSend(t, sender.newMessage(wire.TypeSignal, driver, "S"), fd)
		},
		"signal that nobody wants": func(t *testing.T, s *testServer, sender *client, fd int) {
			sender.mustSend(t, sender.newMessage(wire.TypeSignal, "", "S"), fd)
		},
		"signal to those who take none": func(t *testing.T, s *testServer, sender *client, fd int) {
			receiver := s.connectAs(t, wire.LittleEndian, false)
			receiver.must(t, "AddMatch", "type='signal'")
			sender.mustSend(t, sender.newMessage(wire.TypeSignal, "", "S"), fd)
			sender.mustSend(t, sender.newMessage(wire.TypeSignal, "", "Next"))
			if m := receiver.mustNext(t); m.Member != "Next" {
				t.Errorf("got %s, which comes with descriptors", m)
			}
		},
		"message of unknown type": func(t *testing.T, s *testServer, sender *client, fd int) {
			sender.mustSend(t, sender.newMessage(9, sender.name, ""), fd)
		},
		"call without destination": func(t *testing.T, s *testServer, sender *client, fd int) {
			sender.mustFail(t, "UnknownMethod", sender.newMessage(wire.TypeMethodCall, "", "M"), fd)
		},
		"queue is full": func(t *testing.T, s *testServer, sender *client, fd int) {
			sleeper := s.connectAs(t, wire.LittleEndian, true)
			fillSocket(t, sender, sleeper)
			for {
				other := newPipe(t)
				m := sender.newMessage(wire.TypeMethodCall, sleeper.name, "M")
				m.Flags = wire.NoReplyExpected
				sender.mustSend(t, m, other.w)
				sender.must(t, "GetId")
				if len(sender.backlog) > 0 { // the error
					other.closed(t)
					break
				}
			}
			sender.mustFail(t, "LimitsExceeded", sender.newMessage(wire.TypeMethodCall, sleeper.name, "M"), fd)
		},
		"receiver leaves": func(t *testing.T, s *testServer, sender *client, fd int) {
			sleeper := s.connectAs(t, wire.LittleEndian, true)
			fillSocket(t, sender, sleeper)
			sender.mustSend(t, sender.newMessage(wire.TypeSignal, sleeper.name, "S"), fd)
			sender.must(t, "GetId")
			sleeper.close()
		},
		"receiver leaves with them in its socket": func(t *testing.T, s *testServer, sender *client, fd int) {
			sleeper := s.connectAs(t, wire.LittleEndian, true)
			sender.mustSend(t, sender.newMessage(wire.TypeSignal, sleeper.name, "S"), fd)
			sender.must(t, "GetId")
			sleeper.close()
		},
		"sender of a bad message": func(t *testing.T, s *testServer, sender *client, fd int) {
			sender.write(faulty(func(h *wire.Header) { h.UnixFDs, h.Path = 1, "bad" }), fd)
			if err := sender.disconnected(); err != nil {
				t.Error(err)
			}
		},
		"descriptors without negotiation": func(t *testing.T, s *testServer, sender *client, fd int) {
			c := s.connectAs(t, wire.LittleEndian, false)
			if err := c.write(faulty(nil), fd); err != nil {
				t.Fatal(err)
			}
			c.must(t, "GetId") // they are no reason to hang up
		},
		"descriptors during authentication": func(t *testing.T, s *testServer, sender *client, fd int) {
			c, err := s.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			b := handshake(true)
			if err := c.write(b[:5], fd); err != nil {
				t.Fatal(err)
			}
			if err := c.write(b[5:]); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, func(c *dbus1.Config) { c.Limits.MaxQueueFDs = 20 })
			others := s.watch(t)
			pipe := newPipe(t)
			test(t, s, s.connectAs(t, wire.LittleEndian, true), pipe.w)
			pipe.closed(t)
			others.stop()
		})
	}
}

// TestDescriptorsOfAServerThatEnds are closed with what is queued.
func TestDescriptorsOfAServerThatEnds(t *testing.T) {
	s := startServer(t)
	sender, sleeper := s.connectAs(t, wire.LittleEndian, true), s.connectAs(t, wire.LittleEndian, true)
	fillSocket(t, sender, sleeper)
	pipe := newPipe(t)
	for range 10 {
		sender.mustSend(t, sender.newMessage(wire.TypeSignal, sleeper.name, "S"), pipe.w)
	}
	sender.must(t, "GetId")
	s.stop()
	sleeper.close()
	pipe.closed(t)
}

// TestMonitorWithoutDescriptors gets no message that claims some.
func TestMonitorWithoutDescriptors(t *testing.T) {
	s := startServer(t)
	monitor := s.connectAs(t, wire.LittleEndian, false)
	sender, receiver := s.connectAs(t, wire.LittleEndian, true), s.connectAs(t, wire.BigEndian, true)
	monitor.must(t, "Monitoring.BecomeMonitor", []string{"type='method_call'"}, uint32(0))
	pipe := newPipe(t)
	m := sender.newMessage(wire.TypeMethodCall, receiver.name, "M")
	m.Flags = wire.NoReplyExpected
	sender.mustSend(t, m, pipe.w)
	closeFDs(receiver.mustNext(t).fds)
	sender.must(t, "GetId")
	for { // what claims descriptors that do not come fails to be read
		if m := monitor.mustNext(t); m.Member == "GetId" {
			break
		}
	}
	pipe.closed(t)
}
