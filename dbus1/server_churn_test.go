package dbus1_test

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/wire"
)

// footprint is what a process holds.
type footprint struct{ goroutines, files, heap int }

func measureFootprint(t testing.TB) footprint {
	return footprint{runtime.NumGoroutine(), openFiles(t), liveHeap()}
}

// returnsTo waits until the process holds no more than before, give or take a bit of memory.
func (before footprint) returnsTo(t testing.TB) {
	t.Helper()
	const slack = 4 << 20
	var now footprint
	if !within(patience, func() bool {
		now = measureFootprint(t)
		return now.goroutines <= before.goroutines && now.files <= before.files && now.heap <= before.heap+slack
	}) {
		stacks := make([]byte, 1<<20)
		t.Errorf("something leaks: %+v before, %+v after\n%s", before, now, stacks[:runtime.Stack(stacks, true)])
	}
}

// visit connects, gets as far as kind says, and leaves. resident is the name of a peer that does
// not read.
func (s *testServer) visit(kind int, resident string) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.close()
	switch kind % 8 {
	case 0: // gone at once
		return nil
	case 1: // gone within the authentication
		return c.write(handshake(true)[:20])
	case 2: // gone before the answer
		return c.write(handshake(true))
	}
	withFDs := kind%8 >= 6
	if err := c.authenticate(withFDs); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	switch kind % 8 {
	case 4: // with everything that a peer can have
		for range 2 {
			if _, err := c.driver("AddMatch", fmt.Sprintf("type='signal',member='M%d'", kind)); err != nil {
				return err
			}
		}
		_, err = c.driver("RequestName", fmt.Sprintf("org.example.N%d", kind%50), uint32(0))
	case 5: // with a call to itself that nobody answers, and a message that is cut
		call := c.newMessage(wire.TypeMethodCall, c.name, "Call")
		if err = c.send(call); err == nil {
			err = c.write(faulty(nil)[:30])
		}
	case 6: // with descriptors that nobody reads
		err = c.send(c.newMessage(wire.TypeSignal, c.name, "S"), int(devNull()))
	case 7: // with a call that waits in the queue of somebody else
		_, err = c.ask(c.newMessage(wire.TypeMethodCall, resident, "Refused"), int(devNull()))
	}
	return err
}

// devNull returns a descriptor that is open as long as the process.
var devNull = sync.OnceValue(func() uintptr {
	f, err := os.Open(os.DevNull)
	if err != nil {
		panic(err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	f.Close()
	return uintptr(fd)
})

// TestConnectsAndDisconnects leave nothing behind, in whatever state they end. With the race detector
// there are fewer of them; `make conformance` has them all.
func TestConnectsAndDisconnects(t *testing.T) {
	s := startServer(t)
	resident := s.connect(t) // takes no descriptors
	devNull()
	total := 100_000
	if underRace || testing.Short() {
		total = 10_000
	}
	visitMany(t, s, resident.name, 800)
	eventually(t, "visitors are gone", func() bool { return resident.connections(t) == 1 })
	before := measureFootprint(t)
	visitMany(t, s, resident.name, total)
	eventually(t, "visitors are gone", func() bool { return resident.connections(t) == 1 })
	before.returnsTo(t)
	if names := resident.must(t, "ListNames"); len(names.Body) > 100 {
		t.Errorf("only %s should have names, but there are %s", resident.name, names)
	}
}

func visitMany(t *testing.T, s *testServer, resident string, total int) {
	t.Helper()
	var next atomic.Int64
	var visitors sync.WaitGroup
	for range 4 {
		visitors.Go(func() {
			for n := int(next.Add(1)); n <= total && !t.Failed(); n = int(next.Add(1)) {
				if err := s.visit(n, resident); err != nil {
					t.Errorf("visitor %d: %v", n, err)
				}
			}
		})
	}
	visitors.Wait()
}

// TestShutdownWithinTraffic returns, ends everybody's connection, and leaves nothing behind.
func TestShutdownWithinTraffic(t *testing.T) {
	devNull()
	startServer(t).stop() // what the runtime makes once
	before := measureFootprint(t)
	for range 3 {
		s := startServer(t, limitQueue(64<<10))
		var busy sync.WaitGroup
		var traffic atomic.Int64
		var all []*client
		for n := range 300 {
			c, err := s.join(wire.LittleEndian, n%3 == 0)
			if err != nil {
				t.Fatal(err)
			}
			if n%4 == 0 {
				c.must(t, "AddMatch", "type='signal'")
			}
			all = append(all, c)
		}
		for n, c := range all {
			if to := all[n/2].name; n%4 != 3 {
				busy.Go(func() { drain(c) })
				busy.Go(func() { c.chatter(to, n%3 == 0, &traffic) })
			} // the others do not read, but are sent to
		}
		for range 20 { // who do not say anything
			c, err := s.dial()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		eventually(t, "there is traffic", func() bool { return traffic.Load() > 10_000 })
		s.stop()
		busy.Wait() // they have noticed
		for _, c := range all {
			if err := c.disconnected(); err != nil {
				t.Error(err)
			}
			c.close()
		}
	}
	before.returnsTo(t)
}

// drain reads until the connection ends.
func drain(c *client) {
	for {
		m, err := c.next()
		if err != nil {
			return
		}
		closeFDs(m.fds)
	}
}

// chatter sends until the connection ends: signals to everybody, and calls, some with descriptors,
// to one.
func (c *client) chatter(to string, withFDs bool, count *atomic.Int64) {
	payload := make([]byte, 700)
	for n := 0; ; n++ {
		m := c.newMessage(wire.TypeSignal, "", "News", uint32(n))
		var fds []int
		switch n % 4 {
		case 1:
			m = c.newMessage(wire.TypeMethodCall, to, "Call", payload)
		case 2:
			m = c.newMessage(wire.TypeMethodCall, to, "Call")
			if withFDs {
				fds = []int{int(devNull())}
			}
		case 3:
			m = c.newMessage(wire.TypeMethodCall, driver, "NameHasOwner", to)
		}
		if err := c.send(m, fds...); err != nil {
			return
		}
		count.Add(1)
	}
}

// TestServeConn serves a socket that was connected elsewhere.
func TestServeConn(t *testing.T) {
	s := startServer(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "socket pair")
		conn, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		ends[i] = conn.(*net.UnixConn)
	}
	if err := s.ServeConn(ends[0], testGUID); err != nil {
		t.Fatal(err)
	}
	c := &client{conn: ends[1], order: wire.BigEndian}
	defer c.close()
	if err := c.authenticate(true); err != nil {
		t.Fatal(err)
	}
	if err := c.hello(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := c.disconnected(); err != nil {
		t.Error(err)
	}
	if err := s.ServeConn(ends[1], testGUID); err == nil {
		if _, err := ends[1].Write([]byte{0}); err == nil {
			t.Error("a server that was shut down serves")
		}
	}
}
