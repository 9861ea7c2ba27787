package daemon_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/native/nativetest"
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

// Sizes around those from which messages travel in other ways.
func TestPayloadOfEverySize(t *testing.T) {
	eachDirection(t, func(p *pair) {
		for _, size := range []int{0, 1, 4 << 10, 64 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 1 << 20, 5<<20 + 3} {
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(i * 7 >> 3)
			}
			want := sha256.Sum256(b)
			got, err := kdbus.Call[[]byte](p.ctx, p.object(), "com.example.Service.Digest", b)
			p.check(err)
			if !slices.Equal(got, want[:]) {
				p.t.Errorf("%d bytes did not arrive as they were sent", size)
			}
			back, err := kdbus.Call[[]byte](p.ctx, p.object(), "com.example.Service.Repeat", byte(7), uint32(size))
			p.check(err)
			if !slices.Equal(back, slices.Repeat([]byte{7}, size)) {
				p.t.Errorf("%d bytes were not answered", size)
			}
		}
	})
}

func TestMonitorSeesBothWorlds(t *testing.T) {
	eachDirection(t, func(p *pair) {
		for _, w := range worlds {
			monitor := w.dial(p.t, p.address)
			seen, err := monitor.Monitor(p.ctx, 0, kdbus.Match{Member: "Join"}, kdbus.Match{Type: kdbus.TypeMethodReturn, Sender: p.to.Name()})
			p.check(err)
			_, err = p.object().Call(p.ctx, "com.example.Service.Join", []string{"seen"}, map[string]uint32{})
			p.check(err)
			call, err := seen.Next(p.ctx)
			p.check(err)
			reply, err := seen.Next(p.ctx)
			p.check(err)
			var words []string
			var count map[string]uint32
			if p.check(call.Decode(&words, &count)); call.Sender() != p.from.Name() || words[0] != "seen" {
				p.t.Errorf("a %s monitor sees %v with %v", w.name, call, words)
			}
			if reply.Sender() != p.to.Name() || reply.ReplySerial() != call.Serial() {
				p.t.Errorf("a %s monitor sees %v as the answer", w.name, reply)
			}
		}
	})
}

// bloomClient is a native client that subscribes as sd-bus did.
func bloomClient(t *testing.T, path string, elements ...[2]string) *nativetest.Client {
	t.Helper()
	c := dialNative(t, path, abi.Hello{})
	bloom, err := abi.NewBloom(c.Bloom)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elements {
		bloom.Add(e[0], e[1])
	}
	match := abi.MatchAdd{Cookie: 1, Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: bloom.Data}}}
	if _, err := c.Do(&match); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBloomSubscriberGetsSignals(t *testing.T) {
	for _, w := range worlds {
		for name, elements := range map[string][][2]string{
			"interface":              {{"message-type", "signal"}, {"interface", "com.example.Service"}},
			"member":                 {{"member", "Wanted"}},
			"path":                   {{"path", "/a/b"}},
			"namespace":              {{"path-slash-prefix", "/a"}, {"member", "Wanted"}},
			"argument":               {{"arg0", "org.example.Thing"}, {"member", "Wanted"}},
			"arg0 is in a namespace": {{"arg0-dot-prefix", "org.example"}, {"member", "Wanted"}},
			"element of an array":    {{"arg1-has", "two"}, {"member", "Wanted"}},
		} {
			t.Run(w.name+" sender, "+name, func(t *testing.T) {
				addr, path := startBus(t, daemon.Config{})
				subscriber := bloomClient(t, path, elements...)
				sender := w.dial(t, addr)
				// What does not match can be delivered all the same, if the filters happen to have the
				// same bits; these have not.
				for _, signal := range []struct{ path, member, arg string }{{"/c", "com.other.Service.Unwanted", "x"}, {"/a/b", "com.example.Service.Wanted", "org.example.Thing"}} {
					if err := sender.Emit(t.Context(), kdbus.ObjectPath(signal.path), signal.member, signal.arg, []string{"one", "two"}); err != nil {
						t.Fatal(err)
					}
				}
				m, err := subscriber.Recv()
				if err != nil {
					t.Fatal(err)
				}
				body, err := m.Content()
				if err != nil {
					t.Fatal(err)
				}
				var h wire.Header
				if _, err := h.Parse(body); err != nil || h.Member != "Wanted" {
					t.Errorf("%v arrived, %v", h.Member, err)
				}
				if got := fmt.Sprintf(":1.%d", m.SrcID); got != sender.Name() || m.DstID != abi.DstIDBroadcast || m.Flags&abi.MsgSignal == 0 {
					t.Errorf("it comes from %s to %d with flags %v", got, m.DstID, m.Flags)
				}
			})
		}
	}
}

// A message of 64 MiB waits for a D-Bus 1 receiver that does not read. It may be where the sender left
// it, in a memfd; not in our heap.
func TestMemfdIsStreamedToDBus1(t *testing.T) {
	const size = 64 << 20
	_, path := startBus(t, daemon.Config{})
	receiver := newDBusSender(t, path) // which never reads by itself
	sender := dialNative(t, path, abi.Hello{})

	body := make([]byte, 8+size)
	body[0], body[1], body[2], body[3] = 0, 0, 0, 4 // an array of 64 MiB
	for i := range size {
		body[4+i] = byte(i >> 12)
	}
	body = body[:4+size]
	header := wire.Header{Order: wire.LittleEndian, Type: wire.TypeMethodCall, Flags: wire.NoReplyExpected, Serial: 77, Path: "/", Member: "Take",
		Destination: ":1.1", Signature: "ay", BodySize: uint32(len(body))}
	memfd, err := nativetest.Memfd(body)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(body)
	body = nil
	before := heap()
	_, err = sender.Send(nativetest.Outgoing{
		Message: abi.Message{DstID: 1, Cookie: 77, Payload: []abi.Payload{{Type: abi.ItemPayloadMemfd, Size: 4 + size}}},
		Body:    header.Append(nil),
		Passed:  []int{memfd},
	})
	if err != nil {
		t.Fatal(err)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("a message of %d bytes in a memfd waits for its receiver, and the heap has grown by %d bytes", size, grown)
	}
	head := make([]byte, wire.HeaderFixedSize)
	readFull(t, receiver, head)
	total, err := wire.MessageSize(head)
	if err != nil {
		t.Fatal(err)
	}
	all := append(head, make([]byte, total-len(head))...)
	readFull(t, receiver, all[len(head):])
	var h wire.Header
	at, err := h.Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	if h.Sender != fmt.Sprintf(":1.%d", sender.ID) || h.Serial != 77 || sha256.Sum256(all[at:]) != want {
		t.Errorf("the message arrived from %s with serial %d, and not as it was sent", h.Sender, h.Serial)
	}
}

func readFull(t *testing.T, c *dbusSender, b []byte) {
	t.Helper()
	for len(b) > 0 {
		n, err := c.conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
}

// heap returns how many bytes of garbage-collected memory are in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// To D-Bus an activator is no owner: its name is one that a service can be started for.
func TestActivatorIsNoOwnerToDBus(t *testing.T) {
	addr, path := startBus(t, daemon.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := worlds[1].dial(t, addr)
	changes, err := client.Subscribe(ctx, kdbus.Match{Sender: "org.freedesktop.DBus", Member: "NameOwnerChanged", Args: map[int]string{0: "com.example.Service"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	dialNative(t, path, abi.Hello{Flags: abi.HelloActivator, Name: "com.example.Service"})
	if names, err := client.ListNames(ctx); err != nil || slices.Contains(names, "com.example.Service") {
		t.Errorf("the names are %v, %v", names, err)
	}
	if names, err := client.ListActivatableNames(ctx); err != nil || !slices.Contains(names, "com.example.Service") {
		t.Errorf("the activatable names are %v, %v", names, err)
	}
	object := client.Object("com.example.Service", "/service")
	if _, err := object.With(kdbus.NoAutoStart).Call(ctx, "com.example.Service.Note", "do not start"); !errors.Is(err, kdbus.ErrNameHasNoOwner) {
		t.Errorf("a call that starts nothing: %v", err)
	}
	s := &service{entered: make(chan string, 1)}
	answered := make(chan error, 1)
	go func() {
		_, err := object.Call(ctx, "com.example.Service.Note", "waits")
		answered <- err
	}()
	implementer := worlds[1].dial(t, addr)
	if err := implementer.Export("/service", "com.example.Service", s); err != nil {
		t.Fatal(err)
	}
	if _, err := implementer.RequestName(ctx, "com.example.Service", 0); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	m, err := changes.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var name, before, after string
	if err := m.Decode(&name, &before, &after); err != nil || before != "" || after != implementer.Name() {
		t.Errorf("NameOwnerChanged says that %s passed from %q to %q, %v", name, before, after, err)
	}
}
