package daemon_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/wire"
)

// Native and D-Bus 1 clients on one bus: every kind of message in each of the four directions.

const patience = 20 * time.Second

// startBus starts a bus in this process and returns its address and the path of its socket.
func startBus(t *testing.T, config daemon.Config) (addr, path string) {
	t.Helper()
	d, err := daemon.StartPrivate(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	path, _ = d.Addresses()[0].Get("path")
	return d.Address(), path
}

// world is one way to connect.
type world struct {
	name   string
	native bool
}

var worlds = []world{{"native", true}, {"D-Bus 1", false}}

// dial connects in the world's way.
func (w world) dial(t *testing.T, addr string) *kdbus.Conn {
	t.Helper()
	if !w.native {
		t.Setenv("KDBUS", "0")
		defer os.Unsetenv("KDBUS")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := kdbus.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if c.Native() != w.native {
		t.Fatalf("a client that should be %s is not", w.name)
	}
	return c
}

// pair is two connections on a bus.
type pair struct {
	t        *testing.T
	ctx      context.Context
	address  string
	from, to *kdbus.Conn
	service  *service
}

// eachDirection runs test for each combination of worlds, on a bus of its own.
func eachDirection(t *testing.T, test func(p *pair)) {
	for _, from := range worlds {
		for _, to := range worlds {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				addr, _ := startBus(t, daemon.Config{})
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				p := &pair{t: t, ctx: ctx, address: addr, from: from.dial(t, addr), to: to.dial(t, addr), service: &service{entered: make(chan string, 1)}}
				p.check(p.to.Export("/service", "com.example.Service", p.service))
				test(p)
			})
		}
	}
}

func (p *pair) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) object() kdbus.Object { return p.from.Object(p.to.Name(), "/service") }

// service is what the other side offers.
type service struct{ entered chan string }

func (s *service) Join(words []string, count map[string]uint32) (string, error) {
	keys := slices.Sorted(func(yield func(string) bool) {
		for k := range count {
			if !yield(k) {
				return
			}
		}
	})
	return strings.Join(words, " ") + ":" + strings.Join(keys, ","), nil
}

func (s *service) Fail() error { return kdbus.NewError("com.example.Broken", "as ordered") }

func (s *service) Note(text string) error {
	s.entered <- text
	return nil
}

func (s *service) Read(f *os.File) (string, error) {
	defer f.Close()
	b := make([]byte, 100)
	n, err := f.Read(b)
	return string(b[:n]), err
}

func (s *service) Open(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	_, err = w.WriteString(text)
	return r, err
}

func (s *service) Digest(b []byte) ([]byte, error) {
	sum := sha256.Sum256(b)
	return sum[:], nil
}

func (s *service) Repeat(b byte, n uint32) ([]byte, error) {
	return slices.Repeat([]byte{b}, int(n)), nil
}

func TestCallAndReply(t *testing.T) {
	eachDirection(t, func(p *pair) {
		got, err := kdbus.Call[string](p.ctx, p.object(), "com.example.Service.Join", []string{"a", "b"}, map[string]uint32{"x": 1, "y": 2})
		p.check(err)
		if got != "a b:x,y" {
			p.t.Errorf("the answer is %q", got)
		}
	})
}

func TestCallByName(t *testing.T) {
	eachDirection(t, func(p *pair) {
		_, err := p.to.RequestName(p.ctx, "com.example.Service", 0)
		p.check(err)
		owner, err := p.from.NameOwner(p.ctx, "com.example.Service")
		p.check(err)
		if owner != p.to.Name() {
			p.t.Errorf("the owner is %s, want %s", owner, p.to.Name())
		}
		_, err = p.from.Object("com.example.Service", "/service").Call(p.ctx, "com.example.Service.Join", []string{}, map[string]uint32{})
		p.check(err)
	})
}

func TestCallThatFails(t *testing.T) {
	eachDirection(t, func(p *pair) {
		_, err := p.object().Call(p.ctx, "com.example.Service.Fail")
		var e *kdbus.Error
		if !errors.As(err, &e) || e.Name != "com.example.Broken" || e.Message != "as ordered" {
			p.t.Errorf("the error is %v", err)
		}
		_, err = p.object().Call(p.ctx, "com.example.Service.NoSuchMethod")
		if !errors.Is(err, kdbus.ErrUnknownMethod) {
			p.t.Errorf("a call of what is not there: %v", err)
		}
	})
}

func TestCallThatWantsNoAnswer(t *testing.T) {
	eachDirection(t, func(p *pair) {
		p.check(p.object().Send(p.ctx, "com.example.Service.Note", "quietly"))
		if got := <-p.service.entered; got != "quietly" {
			p.t.Errorf("%q arrived", got)
		}
	})
}

func TestCallOfNobody(t *testing.T) {
	eachDirection(t, func(p *pair) {
		for _, dest := range []string{"com.example.Nobody", ":1.4711"} {
			_, err := p.from.Object(dest, "/").Call(p.ctx, "com.example.Service.Note", "anybody?")
			if !errors.Is(err, kdbus.ErrServiceUnknown) {
				p.t.Errorf("a call of %s: %v", dest, err)
			}
		}
	})
}

// vanish are callees of each world that leave without a word.
var vanish = map[string]func(t *testing.T, path string) (name string, leave func()){
	"native": func(t *testing.T, path string) (string, func()) {
		c := dialNative(t, path, abi.Hello{})
		return fmt.Sprintf(":1.%d", c.ID), func() {
			if _, err := c.Recv(); err != nil {
				t.Error(err)
			}
			c.Close()
		}
	},
	"D-Bus 1": func(t *testing.T, path string) (string, func()) {
		c := newDBusSender(t, path)
		return ":1.1", func() {
			readFull(t, c, make([]byte, wire.HeaderFixedSize))
			c.conn.Close()
		}
	},
}

func TestCalleeThatVanishes(t *testing.T) {
	for _, w := range worlds {
		for name, connect := range vanish {
			t.Run(w.name+" to "+name, func(t *testing.T) {
				addr, path := startBus(t, daemon.Config{})
				callee, leave := connect(t, path)
				caller := w.dial(t, addr)
				failed := make(chan error, 1)
				go func() {
					_, err := caller.Object(callee, "/").Call(t.Context(), "com.example.Service.Hang")
					failed <- err
				}()
				leave()
				if err := <-failed; !errors.Is(err, kdbus.ErrNoReply) {
					t.Errorf("the call ended with %v", err)
				}
			})
		}
	}
}

func TestSignals(t *testing.T) {
	for _, match := range []kdbus.Match{
		{Interface: "com.example.Service", Member: "Happened"},
		{Path: "/service", Args: map[int]string{0: "first"}},
		{PathNamespace: "/", Arg0Namespace: "first"},
		{},
	} {
		t.Run(match.String(), func(t *testing.T) {
			eachDirection(t, func(p *pair) {
				match := match
				match.Sender = p.from.Name()
				s, err := p.to.Subscribe(p.ctx, match, 0)
				p.check(err)
				p.check(p.from.Emit(p.ctx, "/service", "com.example.Service.Happened", "first", uint32(2)))
				m, err := s.Next(p.ctx)
				p.check(err)
				var text string
				var number uint32
				p.check(m.Decode(&text, &number))
				if text != "first" || number != 2 || m.Sender() != p.from.Name() || m.Path() != "/service" || m.Destination() != "" {
					p.t.Errorf("%v arrived with %q, %d", m, text, number)
				}
			})
		})
	}
}

func TestSignalThatNobodySubscribedTo(t *testing.T) {
	eachDirection(t, func(p *pair) {
		s, err := p.to.Subscribe(p.ctx, kdbus.Match{Interface: "com.example.Service", Args: map[int]string{0: "wanted"}}, 0)
		p.check(err)
		for _, text := range []string{"unwanted", "wanted"} {
			p.check(p.from.Emit(p.ctx, "/service", "com.example.Service.Happened", text))
		}
		m, err := s.Next(p.ctx)
		p.check(err)
		var text string
		if p.check(m.Decode(&text)); text != "wanted" {
			p.t.Errorf("%q arrived", text)
		}
	})
}

func TestSignalToOne(t *testing.T) {
	eachDirection(t, func(p *pair) {
		s, err := p.to.Subscribe(p.ctx, kdbus.Match{Interface: "com.example.Service"}, 0)
		p.check(err)
		p.check(p.from.EmitTo(p.ctx, p.to.Name(), "/service", "com.example.Service.Happened", "to you"))
		m, err := s.Next(p.ctx)
		p.check(err)
		if m.Destination() != p.to.Name() || m.Sender() != p.from.Name() {
			p.t.Errorf("%v arrived", m)
		}
	})
}

func TestDescriptors(t *testing.T) {
	eachDirection(t, func(p *pair) {
		r, w, err := os.Pipe()
		p.check(err)
		defer r.Close()
		fmt.Fprint(w, "through a pipe")
		w.Close()
		got, err := kdbus.Call[string](p.ctx, p.object(), "com.example.Service.Read", r)
		p.check(err)
		if got != "through a pipe" {
			p.t.Errorf("%q was read from a descriptor that was sent", got)
		}
		reply, err := p.object().Call(p.ctx, "com.example.Service.Open", "and back")
		p.check(err)
		var f *os.File
		p.check(reply.Decode(&f))
		defer f.Close()
		b := make([]byte, 100)
		n, err := f.Read(b)
		p.check(err)
		if string(b[:n]) != "and back" {
			p.t.Errorf("%q was read from a descriptor that was received", b[:n])
		}
	})
}

func TestNamesAreSeen(t *testing.T) {
	eachDirection(t, func(p *pair) {
		s, err := p.to.Subscribe(p.ctx, kdbus.Match{Sender: "org.freedesktop.DBus", Interface: "org.freedesktop.DBus", Member: "NameOwnerChanged",
			Args: map[int]string{0: "com.example.Seen"}}, 0)
		p.check(err)
		name, err := p.from.RequestName(p.ctx, "com.example.Seen", 0)
		p.check(err)
		names, err := p.to.ListNames(p.ctx)
		p.check(err)
		for _, want := range []string{"com.example.Seen", p.from.Name(), p.to.Name(), "org.freedesktop.DBus"} {
			if !slices.Contains(names, want) {
				p.t.Errorf("%s is not among %v", want, names)
			}
		}
		p.check(name.Release(p.ctx))
		for _, want := range [][3]string{{"com.example.Seen", "", p.from.Name()}, {"com.example.Seen", p.from.Name(), ""}} {
			m, err := s.Next(p.ctx)
			p.check(err)
			var got [3]string
			p.check(m.Decode(&got[0], &got[1], &got[2]))
			if got != want {
				p.t.Errorf("NameOwnerChanged says %q, want %q", got, want)
			}
		}
	})
}

func TestPeerThatLeavesIsNoticed(t *testing.T) {
	eachDirection(t, func(p *pair) {
		s, err := p.to.Subscribe(p.ctx, kdbus.Match{Sender: "org.freedesktop.DBus", Member: "NameOwnerChanged", Args: map[int]string{0: p.from.Name()}}, 0)
		p.check(err)
		gone := p.from.Name()
		p.from.Close()
		m, err := s.Next(p.ctx)
		p.check(err)
		var got [3]string
		p.check(m.Decode(&got[0], &got[1], &got[2]))
		if want := [3]string{gone, gone, ""}; got != want {
			p.t.Errorf("NameOwnerChanged says %q, want %q", got, want)
		}
	})
}

func TestNameIsTakenOver(t *testing.T) {
	eachDirection(t, func(p *pair) {
		first, err := p.to.RequestName(p.ctx, "com.example.Moving", kdbus.AllowReplacement)
		p.check(err)
		second, err := p.from.RequestName(p.ctx, "com.example.Moving", kdbus.ReplaceExisting)
		p.check(err)
		for _, want := range []kdbus.NameEvent{kdbus.NameAcquired, kdbus.NameLost} {
			if got := <-first.Events(); got != want {
				p.t.Errorf("the first owner learns %v, want %v", got, want)
			}
		}
		p.check(second.Release(p.ctx))
		if got := <-first.Events(); got != kdbus.NameAcquired {
			p.t.Errorf("the first owner learns %v when the second gives up", got)
		}
	})
}
