package native_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/transport"
	"github.com/kdbus-go/kdbus/wire"
)

// world is a bus with a server at a socket, through which the tests go.
type world struct {
	t      testing.TB
	bus    *bus.Bus
	driver *fakeDriver
	rules  *fakeRules
	path   string
}

const guid = "0123456789abcdef0123456789abcdef"

func newWorld(t testing.TB, change ...func(*bus.Config, *native.Config)) *world {
	t.Helper()
	return newWorldOf(t, bus.DomainConfig{}, change...)
}

func newWorldOf(t testing.TB, domain bus.DomainConfig, change ...func(*bus.Config, *native.Config)) *world {
	t.Helper()
	w := &world{t: t, driver: new(fakeDriver), rules: &fakeRules{added: make(map[uint64]string)}}
	busConfig := bus.Config{Name: "0-test", Creator: &meta.Data{Has: meta.KindPIDs, PIDs: meta.PIDs{PID: 42}}, CreatorFlags: 2}
	config := native.Config{Driver: w.driver, Rules: w.rules}
	for _, f := range change {
		f(&busConfig, &config)
	}
	w.bus = bus.NewDomain(domain).NewBus(busConfig)
	server, err := transport.NewServer(transport.Config{
		Endpoint: w.bus.Endpoint(),
		DBus1:    func(*transport.Peer) transport.Protocol { panic("the tests ask for kdbus") },
		Native:   native.New(config).Protocol,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.path = filepath.Join(t.TempDir(), "bus")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: w.path})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l, guid) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), nativetest.Patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, transport.ErrServerClosed) {
			t.Error(err)
		}
		l.Close()
	})
	return w
}

// dial connects, without HELLO.
func (w *world) dial() *nativetest.Client {
	w.t.Helper()
	c, err := nativetest.Dial(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// join connects and says HELLO.
func (w *world) join(change ...func(*abi.Hello)) *nativetest.Client {
	w.t.Helper()
	c := w.dial()
	h := abi.Hello{Flags: abi.HelloAcceptFD}
	for _, f := range change {
		f(&h)
	}
	if err := c.Hello(h); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// do runs a command that has to succeed.
func (w *world) do(c *nativetest.Client, cmd abi.Command) nativetest.Frame {
	w.t.Helper()
	f, err := c.Do(cmd)
	if err != nil {
		w.t.Fatalf("%v: %v", cmd.Cmd(), err)
	}
	return f
}

// send sends a message that has to get through.
func (w *world) send(c *nativetest.Client, o nativetest.Outgoing) *nativetest.Message {
	w.t.Helper()
	m, err := c.Send(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// recv returns the next message.
func (w *world) recv(c *nativetest.Client) *nativetest.Message {
	w.t.Helper()
	m, err := c.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { nativetest.CloseAll(m.Passed) })
	return m
}

// content returns the payload of a message.
func (w *world) content(m *nativetest.Message) string {
	w.t.Helper()
	b, err := m.Content()
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// refuses checks which errno an error is.
func refuses(t testing.TB, what string, err error, want syscall.Errno) {
	t.Helper()
	if want == 0 && err == nil {
		return
	}
	if want == 0 || !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %s", what, err, errnoName(want))
		return
	}
	var r *nativetest.Refused
	if errors.As(err, &r) && (r.Text == "" || strings.ContainsRune(r.Text, 0)) {
		t.Errorf("%s: the text is %q", what, r.Text)
	}
}

func errnoName(e syscall.Errno) string {
	if e == 0 {
		return "success"
	}
	return unix.ErrnoName(e)
}

// soon is a deadline for a call, in nanoseconds of CLOCK_MONOTONIC.
func deadline(after time.Duration) uint64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano() + int64(after))
}

// dbus returns a D-Bus message.
func dbus(t testing.TB, h wire.Header, body ...any) []byte {
	t.Helper()
	m := wire.Message{Header: h}
	m.Order = wire.LittleEndian
	if len(body) > 0 {
		if err := m.SetBody(body...); err != nil {
			t.Fatal(err)
		}
	}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fakeDriver is the bus as a peer: it answers every call with the name of the method.
type fakeDriver struct {
	mu    sync.Mutex
	calls []string
}

func (d *fakeDriver) Call(c *bus.Conn, m *bus.Message, h *wire.Header, body []byte) error {
	if err := c.SendToBus(m); err != nil {
		return err
	}
	d.mu.Lock()
	d.calls = append(d.calls, h.Sender+" "+h.Member)
	d.mu.Unlock()
	if h.Type != wire.TypeMethodCall || h.Flags&wire.NoReplyExpected != 0 {
		return nil
	}
	answer := wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected, Serial: 1<<32 - 1,
		ReplySerial: h.Serial, Sender: native.DriverName, Destination: c.UniqueName(),
	}}
	if err := answer.SetBody(h.Member); err != nil {
		return err
	}
	b, err := answer.Append(nil)
	if err != nil {
		return err
	}
	reply := &bus.Message{Cookie: 1<<32 - 1, ReplyCookie: m.Cookie, Payload: [][]byte{b}}
	defer reply.Release()
	return c.Deliver(reply)
}

// fakeRules keeps rules, each of which is the name of a member.
type fakeRules struct {
	mu    sync.Mutex
	added map[uint64]string // by cookie
}

func (r *fakeRules) Add(c *bus.Conn, cookie uint64, rule string, replace bool) error {
	if _, err := r.Compile(rule); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.added[cookie] = rule
	return nil
}

func (r *fakeRules) Remove(c *bus.Conn, cookie uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.added[cookie]; !ok {
		return &bus.Error{Errno: bus.ErrNoSuchMatch, Detail: "no rule with this cookie"}
	}
	delete(r.added, cookie)
	return nil
}

func (r *fakeRules) View(h *wire.Header, body []byte) any { return h.Member }

func (*fakeRules) Describe(*bus.Message) (path, iface, member string) { return "/described", "", "" }

func (r *fakeRules) Compile(rule string) (bus.Rule, error) {
	if rule == "bad" {
		return nil, &bus.Error{Errno: syscall.EINVAL, Detail: "bad rule"}
	}
	return memberRule(rule), nil
}

// memberRule is met by messages with this member.
type memberRule string

func (r memberRule) Match(_, _ *bus.Conn, m *bus.Message) bool { return m.View == any(string(r)) }
func (r memberRule) Needs() bus.Parts                          { return bus.PartView }

// pipeEnd returns a descriptor of a pipe.
func pipeEnd(t testing.TB) int {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nativetest.CloseAll(fds[:]) })
	return fds[0]
}

func putU64(b []byte, v uint64) { binary.NativeEndian.PutUint64(b, v) }

// stuff fills the queue, and the socket, of a client that does not read.
func (w *world) stuff(slow, sender *nativetest.Client) {
	w.t.Helper()
	body := make([]byte, 50_000)
	full := 0 // times that it was full, one after the other: the socket may have taken more meanwhile
	for i := uint64(1); full < 100; i++ {
		_, err := sender.Send(nativetest.Outgoing{Message: abi.Message{DstID: slow.ID, Cookie: i}, Body: body})
		switch {
		case errors.Is(err, syscall.ENOBUFS):
			full++
		case err != nil:
			w.t.Fatal(err)
		default:
			full = 0
		}
	}
}
