package dbus1_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/wire"
)

// TestManyPeersDoEverythingAtOnce: peers with random plans call each other by id and by name, send
// signals and descriptors, acquire and release names, subscribe, become monitors, leave in the
// middle and come back. Whatever happens:
//
//   - every call gets exactly one answer, be it an error, unless the caller leaves before;
//   - what a peer gets from another it gets in the order in which it was sent, and so does a monitor;
//   - descriptors come with the message they were sent with.
func TestManyPeersDoEverythingAtOnce(t *testing.T) {
	// A small machine would have one worker only wait for sockets, and no two of them would ever
	// meet.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	const peers, steps = 50, 250
	s := startServer(t)
	scene := &scene{server: s}
	devNull()
	resident := s.connect(t)
	watcher := scene.newActor(s.connectAs(t, wire.LittleEndian, true), nil)
	watcher.must(t, "Monitoring.BecomeMonitor", []string{}, uint32(0))
	watcher.monitor = true
	go watcher.listen()
	before := openFiles(t)
	var busy sync.WaitGroup
	for n := range uint64(peers) {
		busy.Go(func() {
			random := rand.New(rand.NewPCG(n, 7))
			for left := steps; left > 0; {
				var err error
				if left, err = scene.live(random, left); err != nil {
					t.Errorf("peer %d: %v", n, err)
					return
				}
			}
		})
	}
	busy.Wait()
	eventually(t, "they are all gone", func() bool { return resident.connections(t) == 2 })
	eventually(t, "their descriptors are closed", func() bool { return openFiles(t) <= before })
	watcher.leave()
	if watcher.end != nil {
		t.Errorf("the monitor: %v", watcher.end)
	}
	if len(watcher.latest) < peers {
		t.Errorf("the monitor saw messages of %d peers", len(watcher.latest))
	}
	for what, n := range map[string]int64{
		"answers":     scene.answers.Load(),
		"refusals":    scene.refusals.Load(),
		"signals":     scene.signals.Load(),
		"descriptors": scene.descriptors.Load(),
	} {
		t.Logf("%d %s", n, what)
		if n == 0 {
			t.Errorf("there were no %s: this tests nothing", what)
		}
	}
	lines := slices.DeleteFunc(s.log.lines(), func(line string) bool {
		return strings.Contains(line, " limit=max_outgoing_unix_fds ") // of a queue, say the monitor's, who reads slowly
	})
	if len(lines) > 0 {
		t.Errorf("nobody did anything wrong, but the log says:\n%s", strings.Join(lines, "\n"))
	}
}

// scene is what the peers share.
type scene struct {
	server *testServer
	names  [64]atomic.Value // of peers that are or were there, to send to

	answers, refusals, signals, descriptors atomic.Int64
}

// actor is one connection of a peer. Its own goroutine acts, another one reads and answers calls.
type actor struct {
	*client
	withFDs bool
	scene   *scene
	random  *rand.Rand

	mu      sync.Mutex // guards what follows, and is held while something is sent
	idle    *sync.Cond // pending has become empty, or reading has ended
	number  uint64     // of the last message sent
	pending map[uint32]bool
	leaving bool
	monitor bool
	end     error         // why reading ended, if not because of leaving
	ended   chan struct{} // closed then

	latest map[string]uint64 // the reader's: number of the last message of each sender
}

// live connects, takes up to so many steps, leaves, and returns how many steps are left.
func (g *scene) live(random *rand.Rand, steps int) (int, error) {
	order := []wire.Order{wire.LittleEndian, wire.BigEndian}[random.IntN(2)]
	withFDs := random.IntN(3) > 0
	c, err := g.server.join(order, withFDs)
	if err != nil {
		return 0, err
	}
	a := g.newActor(c, random)
	a.withFDs = withFDs
	g.names[random.IntN(len(g.names))].Store(a.name)
	go a.listen()
	leave := false
	for ; steps > 0 && err == nil && !leave; steps-- {
		leave, err = a.step()
	}
	if err == nil && !leave {
		err = a.settle()
	}
	a.leave()
	return steps, errors.Join(err, a.end)
}

func (g *scene) newActor(c *client, random *rand.Rand) *actor {
	a := &actor{
		client: c, scene: g, random: random,
		pending: make(map[uint32]bool), ended: make(chan struct{}), latest: make(map[string]uint64),
	}
	a.idle = sync.NewCond(&a.mu)
	return a
}

// leave ends the connection. What was sent still arrives.
func (a *actor) leave() {
	a.mu.Lock()
	a.leaving = true
	a.conn.CloseWrite()
	a.mu.Unlock()
	<-a.ended // the server has hung up
	a.close()
}

// step does something. leave is true when that was the last thing.
func (a *actor) step() (leave bool, err error) {
	name := fmt.Sprintf("org.example.N%d", a.random.IntN(6))
	rule := fmt.Sprintf("type='signal',member='News%d'", a.random.IntN(4))
	switch n := a.random.IntN(100); {
	case n < 10:
		return false, a.call(driver, "RequestName", name, uint32(a.random.IntN(8)))
	case n < 17:
		return false, a.call(driver, "ReleaseName", name)
	case n < 24:
		return false, a.call(driver, "AddMatch", rule)
	case n < 28:
		return false, a.call(driver, "RemoveMatch", rule)
	case n < 50:
		return false, a.call(name, "Call")
	case n < 70:
		return false, a.call(a.somebody(), "Call")
	case n < 90:
		return false, a.signal("")
	case n < 94:
		return false, a.signal(a.somebody())
	case n < 96:
		return false, a.settle()
	case n < 97: // a monitor can do nothing else, so this is the end, after a while
		if err := a.settle(); err != nil {
			return true, err
		}
		if err := a.call(driver, "BecomeMonitor", []string{}, uint32(0)); err != nil {
			return true, err
		}
		return true, a.settle() // and see what others do, until the server has hung up
	case n < 99:
		return false, a.call(driver, "ListNames")
	default: // leave with calls open
		return true, nil
	}
}

func (a *actor) somebody() string {
	if name, _ := a.scene.names[a.random.IntN(len(a.scene.names))].Load().(string); name != "" {
		return name
	}
	return a.name
}

// call calls somebody. Calls of peers carry their number and, some of them, a descriptor of a file
// in which it is, too.
func (a *actor) call(destination, member string, values ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.number++
	var fds []int
	if destination != driver {
		values = []any{a.number}
		if a.withFDs && a.random.IntN(5) == 0 {
			fd, err := numberedFile(a.number)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			fds = []int{fd}
		}
	}
	a.serial += a.serial & 1 // so that calls have odd serials
	m := a.newMessage(wire.TypeMethodCall, destination, member, values...)
	if member == "BecomeMonitor" {
		m.Interface += ".Monitoring"
		a.monitor = true
	}
	a.pending[m.Serial] = true
	return a.send(m, fds...)
}

func (a *actor) signal(destination string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.number++
	a.serial += 1 - a.serial&1 // even
	return a.send(a.newMessage(wire.TypeSignal, destination, fmt.Sprintf("News%d", a.random.IntN(4)), a.number))
}

// settle waits until all calls are answered.
func (a *actor) settle() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.pending) > 0 && a.end == nil {
		a.idle.Wait()
	}
	return a.end
}

// listen reads until the connection ends.
func (a *actor) listen() {
	var err error
	for err == nil {
		var m *received
		if m, err = a.read(); err == nil {
			err = a.handle(m)
			closeFDs(m.fds)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if gone := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET); !gone || !a.leaving {
		a.end = err
	}
	a.idle.Broadcast()
	close(a.ended)
}

// handle checks a message that arrived, and answers it if it is a call.
func (a *actor) handle(m *received) error {
	if m.Sender != driver && m.Sender != "" && (m.Type == wire.TypeMethodCall && m.Destination != driver || m.Type == wire.TypeSignal) {
		if err := a.inOrder(m); err != nil {
			return err
		}
	}
	switch m.Type {
	case wire.TypeMethodCall:
		return a.answer(m)
	case wire.TypeMethodReturn, wire.TypeError:
		return a.answered(m)
	}
	a.scene.signals.Add(1)
	return nil
}

// inOrder checks the number in a message against that of its sender's last one.
func (a *actor) inOrder(m *received) error {
	var number uint64
	if err := m.Decode(&number); err != nil {
		return fmt.Errorf("%s: %w", m, err)
	}
	if last := a.latest[m.Sender]; number <= last {
		return fmt.Errorf("%s arrived after number %d", m, last)
	}
	a.latest[m.Sender] = number
	for _, fd := range m.fds {
		b := make([]byte, 20)
		n, err := unix.Pread(fd, b, 0)
		if err != nil || string(b[:n]) != fmt.Sprint(number) {
			return fmt.Errorf("%s came with the file %q, %v", m, b[:max(n, 0)], err)
		}
		a.scene.descriptors.Add(1)
	}
	return nil
}

// answer answers a call: mostly by a return, sometimes by an error.
func (a *actor) answer(m *received) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.monitor || a.leaving {
		return nil
	}
	a.serial += 1 - a.serial&1 // even
	reply, err := answerTo(a.client, m)
	if err != nil {
		return err
	}
	if m.Serial%7 == 0 {
		reply.Type, reply.ErrorName = wire.TypeError, "org.example.Error"
	}
	return a.send(reply)
}

// answered takes an answer off the list of those that are waited for.
func (a *actor) answered(m *received) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.monitor && m.Destination != a.name {
		return nil // the answer to somebody else
	}
	if m.ReplySerial%2 == 0 {
		if m.Type != wire.TypeError || m.Sender != driver { // the one who called left, or the one signalled to is not there
			return fmt.Errorf("nobody asked for %s", m)
		}
		return nil
	}
	if !a.pending[m.ReplySerial] {
		return fmt.Errorf("a call was answered twice, at last by %s", m)
	}
	delete(a.pending, m.ReplySerial)
	a.scene.answers.Add(1)
	if m.Type == wire.TypeError {
		a.scene.refusals.Add(1)
	}
	if len(a.pending) == 0 {
		a.idle.Broadcast()
	}
	return nil
}
