package kdbus_test

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/kdbus-go/kdbus"
)

func emit(t testing.TB, c *kdbus.Conn, path kdbus.ObjectPath, signal string, args ...any) {
	t.Helper()
	if err := c.Emit(testContext(t), path, signal, args...); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t testing.TB, c *kdbus.Conn, m kdbus.Match, queue int) *kdbus.Subscription {
	t.Helper()
	return must(c.Subscribe(testContext(t), m, queue))(t)
}

// settle returns when c has received all that from has sent so far.
func settle(t testing.TB, from, c *kdbus.Conn) {
	t.Helper()
	s := subscribe(t, c, kdbus.Match{Sender: from.Name(), Interface: "a.b", Member: "Settle"}, 1)
	emit(t, from, "/", "a.b.Settle")
	next(t, s)
	s.Close()
}

func TestSubscribersGetWhatMatches(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		sender, c := dial(t, address), dial(t, address)
		other := dial(t, address)
		must(sender.RequestName(testContext(t), "com.example.Sender", kdbus.DoNotQueue))(t)
		rules := []string{
			"interface='a.b'",
			"member=Yes,sender=" + sender.Name(),
			"sender=com.example.Sender,interface=a.b",
			"path_namespace=/a,interface=a.b",
			"interface=a.b,arg0=yes",
			"interface=a.b,arg0namespace=com.example",
			"interface=a.b,arg1path=/x/",
		}
		var subs []*kdbus.Subscription
		for _, rule := range rules {
			subs = append(subs, subscribe(t, c, kdbus.MustParseMatch(rule), 0))
		}
		for i, test := range []struct {
			from *kdbus.Conn
			path kdbus.ObjectPath
			name string
			args []any
			want []bool
		}{
			{sender, "/", "a.b.Yes", nil, []bool{true, true, true, false, false, false, false}},
			{other, "/", "a.b.Yes", nil, []bool{true, false, false, false, false, false, false}},
			{other, "/a/b", "a.b.No", []any{"yes"}, []bool{true, false, false, true, true, false, false}},
			{other, "/ab", "a.b.No", []any{"com.example.A", "/x/y"}, []bool{true, false, false, false, false, true, true}},
			{other, "/", "c.d.Yes", nil, make([]bool, 7)},
			{sender, "/", "c.d.Yes", nil, []bool{false, true, false, false, false, false, false}},
		} {
			emit(t, test.from, test.path, test.name, test.args...)
			settle(t, test.from, c)
			for j, s := range subs {
				got := false
				for len(s.Messages()) > 0 {
					if m := <-s.Messages(); m.Member() != "Settle" {
						got = true
					}
				}
				if got != test.want[j] {
					t.Errorf("rule %q and signal %d: received is %v", rules[j], i, got)
				}
			}
		}
	})
}

func TestSignalsOfASenderComeInOrder(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		sender, c := dial(t, address), dial(t, address)
		const n = 2000
		s := subscribe(t, c, kdbus.Match{Interface: "a.b"}, n)
		for i := range n {
			emit(t, sender, "/", "a.b.C", uint32(i))
		}
		for i := range n {
			var got uint32
			if err := next(t, s).Decode(&got); err != nil || got != uint32(i) {
				t.Fatalf("signal %d has %d, %v", i, got, err)
			}
		}
	})
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		sender, c := dial(t, address), dial(t, address)
		s := subscribe(t, c, kdbus.Match{Interface: "a.b", Member: "C"}, 3)
		for i := range 10 {
			emit(t, sender, "/", "a.b.C", uint32(i))
		}
		settle(t, sender, c)
		if got := s.Dropped(); got != 7 {
			t.Errorf("%d were dropped, want 7", got)
		}
		for i := range 3 {
			var got uint32
			if err := next(t, s).Decode(&got); err != nil || got != uint32(i) {
				t.Errorf("signal %d has %d, %v", i, got, err)
			}
		}
	})
}

func TestAClosedSubscriptionEnds(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		c := dial(t, address)
		s := subscribe(t, c, kdbus.Match{Interface: "a.b"}, 0)
		emit(t, c, "/", "a.b.C")
		settle(t, c, c)
		s.Close()
		s.Close()
		emit(t, c, "/", "a.b.C")
		settle(t, c, c)
		n := 0
		for m := range s.Messages() {
			if m.Member() == "C" {
				n++
			}
		}
		if n != 1 || !errors.Is(s.Err(), kdbus.ErrClosed) {
			t.Errorf("%d signals and the error %v", n, s.Err())
		}
	})
}

func TestTheOwnerOfAWellKnownSenderIsFollowed(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		a, b, c := dial(t, address), dial(t, address), dial(t, address)
		ctx := testContext(t)
		byName := subscribe(t, c, kdbus.Match{Sender: "com.example.Moving", Interface: "a.b", Member: "C"}, 0)
		subscribe(t, c, kdbus.Match{Interface: "a.b"}, 0) // so that everything comes
		emit(t, a, "/", "a.b.C", "nobody's")
		n := must(a.RequestName(ctx, "com.example.Moving", 0))(t)
		emit(t, a, "/", "a.b.C", "from a")
		emit(t, b, "/", "a.b.C", "not the owner")
		if err := n.Release(ctx); err != nil {
			t.Fatal(err)
		}
		emit(t, a, "/", "a.b.C", "no more")
		must(b.RequestName(ctx, "com.example.Moving", 0))(t)
		emit(t, b, "/", "a.b.C", "from b")
		for _, want := range []string{"from a", "from b"} {
			var got string
			if err := next(t, byName).Decode(&got); err != nil || got != want {
				t.Errorf("a signal %q, %v, want %q", got, err, want)
			}
		}
	})
}

func TestFilesTravelAndBelongToTheReceiver(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		sender, c := dial(t, address), dial(t, address)
		subs := []*kdbus.Subscription{
			subscribe(t, c, kdbus.Match{Interface: "a.b"}, 0), subscribe(t, c, kdbus.Match{Member: "Take"}, 0),
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := sender.EmitTo(testContext(t), c.Name(), "/", "a.b.Take", "the file", w); err != nil {
			t.Fatal(err)
		}
		w.Close()
		for _, s := range subs {
			var name string
			var f *os.File
			m := next(t, s)
			if err := m.Decode(&name, &f); err != nil {
				t.Fatal(err)
			}
			if len(m.Files()) != 1 || m.Files()[0] != f {
				t.Errorf("the files are %v", m.Files())
			}
			if _, err := f.WriteString("x"); err != nil {
				t.Error(err)
			}
			f.Close()
		}
		if got, err := io.ReadAll(r); string(got) != "xx" || err != nil {
			t.Errorf("the pipe holds %q, %v; another end is open, or one was closed", got, err)
		}
	})
}

func TestFilesOfCallsAreClosed(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		service, c := dial(t, address), dial(t, address)
		if err := service.Export("/", "a.b", filer{}); err != nil {
			t.Fatal(err)
		}
		obj := c.Object(service.Name(), "/")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		back := must(kdbus.Call[*os.File](testContext(t), obj, "a.b.Return", w))(t)
		if err := obj.Send(testContext(t), "a.b.NoSuchMethod", w); err != nil {
			t.Fatal(err)
		}
		if _, err := obj.Call(testContext(t), "a.b.Return", w, w); !errors.Is(err, kdbus.ErrInvalidArgs) {
			t.Error(err)
		}
		if _, err := obj.Call(testContext(t), "a.b.NoSuchMethod", w, w); !errors.Is(err, kdbus.ErrUnknownMethod) {
			t.Error(err)
		}
		w.Close()
		back.WriteString("x")
		back.Close()
		if got, err := io.ReadAll(r); string(got) != "x" || err != nil {
			t.Errorf("the pipe holds %q, %v", got, err)
		}
	})
}

type filer struct{}

func (filer) Return(f *os.File) (*os.File, error) { return f, nil }

func TestAMonitorSeesWhatIsForOthers(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		client, service, obj := serveEcho(t, address)
		c := dial(t, address)
		old := subscribe(t, c, kdbus.Match{Interface: "a.b"}, 0)
		s := must(c.Monitor(testContext(t), 0, kdbus.Match{Sender: client.Name()}, kdbus.Match{Sender: service.Name()}))(t)
		must(kdbus.Call[string](testContext(t), obj, echoIface+".Say", "psst"))(t)
		for _, want := range []kdbus.Type{kdbus.TypeMethodCall, kdbus.TypeMethodReturn} {
			m := next(t, s)
			var text string
			if err := m.Decode(&text); err != nil || m.Type() != want || text != "psst" {
				t.Errorf("seen: %v with %q, %v", m, text, err)
			}
		}
		if _, err := c.NameOwner(testContext(t), echoName); !errors.Is(err, kdbus.ErrMonitor) {
			t.Errorf("a call of a monitor: %v", err)
		}
		if err := c.Emit(testContext(t), "/", "a.b.C"); !errors.Is(err, kdbus.ErrMonitor) {
			t.Errorf("a signal of a monitor: %v", err)
		}
		c.Close()
		for range old.Messages() {
			t.Error("an old subscription got something")
		}
		for range s.Messages() {
		}
		if !errors.Is(s.Err(), kdbus.ErrClosed) || !errors.Is(c.Err(), kdbus.ErrClosed) {
			t.Errorf("the errors are %v and %v", s.Err(), c.Err())
		}
	})
}
