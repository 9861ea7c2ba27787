package kdbus_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// noWait is a context that lets nobody wait.
func noWait() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestMessagesAreReceivedAsRECVDoes(t *testing.T) {
	address := kdbustest.Start(t).Address()
	c, sender := dial(t, address), dial(t, address)
	s := subscribe(t, c, kdbus.Match{Interface: "a.b", Member: "C"}, 0)
	for _, m := range []struct {
		text     string
		priority int64
	}{{"1", 0}, {"2", 5}, {"3", -7}, {"4", 0}, {"5", -7}, {"6", 9}} {
		// One by one, so that the bus has no occasion to sort them.
		if err := sender.EmitPriority(testContext(t), c.Name(), "/", "a.b.C", m.priority, m.text); err != nil {
			t.Fatal(err)
		}
		settle(t, sender, c)
	}
	const none = "none"
	for i, step := range []struct {
		flags    abi.RecvFlags
		priority int64
		want     string
	}{
		{abi.RecvPeek, 0, "1"},
		{abi.RecvPeek, 0, "1"},
		{abi.RecvPeek | abi.RecvUsePriority, 0, "3"},
		{abi.RecvUsePriority, -8, none},
		{abi.RecvUsePriority, -7, "3"},
		{0, 0, "1"},
		{abi.RecvDrop, 0, ""}, // 2
		{abi.RecvUsePriority, 0, "5"},
		{abi.RecvUsePriority | abi.RecvDrop, 0, ""}, // 4
		{abi.RecvUsePriority, 8, none},
		{abi.RecvPeek | abi.RecvUsePriority, 9, "6"},
		{abi.RecvUsePriority, 100, "6"},
		{0, 0, none},
		{abi.RecvDrop, 0, none},
	} {
		m, err := s.Receive(noWait(), step.flags, step.priority)
		got := ""
		switch {
		case errors.Is(err, syscall.EAGAIN) && errors.Is(err, context.Canceled):
			got = none
		case err != nil:
			t.Fatal(err)
		case m != nil:
			if err := m.Decode(&got); err != nil {
				t.Fatal(err)
			}
		}
		if got != step.want {
			t.Errorf("step %d, %v of %d: %q, want %q", i, step.flags, step.priority, got, step.want)
		}
	}
	for _, flags := range []abi.RecvFlags{abi.RecvPeek | abi.RecvDrop, 1 << 5} {
		if _, err := s.Receive(noWait(), flags, 0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v: %v", flags, err)
		}
	}
}

func TestWhoReceivesByPriorityWaitsForIt(t *testing.T) {
	address := kdbustest.Start(t).Address()
	c, sender := dial(t, address), dial(t, address)
	s := subscribe(t, c, kdbus.Match{Interface: "a.b"}, 2)
	ctx := testContext(t)
	got := make(chan string)
	wait := func(flags abi.RecvFlags, priority int64) {
		m, err := s.Receive(ctx, flags, priority)
		if err != nil {
			t.Error(err)
			close(got)
			return
		}
		got <- m.Member()
	}
	go wait(abi.RecvUsePriority, -1)
	go wait(0, 0)
	for _, m := range []struct {
		name     string
		priority int64
	}{{"Low", 0}, {"Urgent", -1}} {
		if err := sender.EmitPriority(ctx, "", "/", "a.b."+m.name, m.priority); err != nil {
			t.Fatal(err)
		}
		if name := receive(t, got); name != m.name {
			t.Errorf("received %s, want %s", name, m.name)
		}
	}
	s.Close()
	if _, err := s.Receive(ctx, abi.RecvUsePriority, 0); !errors.Is(err, kdbus.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestWhatWasLookedAtCountsAsQueued(t *testing.T) {
	address := kdbustest.Start(t).Address()
	c, sender := dial(t, address), dial(t, address)
	s := subscribe(t, c, kdbus.Match{Interface: "a.b", Member: "C"}, 2)
	for range 2 {
		emit(t, sender, "/", "a.b.C")
		settle(t, sender, c)
		if _, err := s.Receive(noWait(), abi.RecvUsePriority, -1); !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
	}
	emit(t, sender, "/", "a.b.C")
	settle(t, sender, c)
	if got := s.Dropped(); got != 1 {
		t.Errorf("%d were dropped", got)
	}
}

func TestFilesOfWhatIsPeekedAtStay(t *testing.T) {
	address := kdbustest.Start(t).Address()
	c, sender := dial(t, address), dial(t, address)
	s := subscribe(t, c, kdbus.Match{Interface: "a.b"}, 0)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		if err := sender.EmitTo(testContext(t), c.Name(), "/", "a.b.C", w); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	peeked := must(s.Receive(testContext(t), abi.RecvPeek, 0))(t)
	if len(peeked.Files()) != 0 {
		t.Errorf("who peeks has %d files", len(peeked.Files()))
	}
	if m := must(s.Receive(testContext(t), 0, 0))(t); len(m.Files()) != 1 || m.Files()[0].Close() != nil {
		t.Errorf("the files are %v", m.Files())
	}
	must(s.Receive(testContext(t), abi.RecvDrop, 0))(t)
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a file of a message that was dropped is open: %v", err)
	}
}

// recorder notes the order in which it is called.
type recorder struct {
	begun, end chan struct{}
	order      chan string
}

func (r *recorder) Block() error {
	close(r.begun)
	<-r.end
	return nil
}

func (r *recorder) Note(text string) error {
	r.order <- text
	return nil
}

func TestCallsThatWaitAreHandledByPriority(t *testing.T) {
	address := kdbustest.Start(t).Address()
	service, caller := dialWith(t, &kdbus.Dialer{Handlers: 1, QueuedCalls: 64}, address), dial(t, address)
	r := &recorder{make(chan struct{}), make(chan struct{}), make(chan string, 64)}
	if err := service.Export(echoPath, echoIface, r); err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	object := caller.Object(service.Name(), echoPath)
	if err := object.Send(ctx, echoIface+".Block"); err != nil {
		t.Fatal(err)
	}
	receive(t, ended(r.begun))
	priorities := []int64{0, 0, 3, -2, 0, -2, 1, -9, 0}
	for i, p := range priorities {
		if err := object.WithPriority(p).Send(ctx, echoIface+".Note", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, caller, service)
	close(r.end)
	var got []string
	for range priorities {
		got = append(got, receive(t, r.order))
	}
	if want := []string{"7", "3", "5", "0", "1", "4", "8", "6", "2"}; !slices.Equal(got, want) {
		t.Errorf("handled in the order %q, want %q", got, want)
	}
	if err := object.Send(ctx, echoIface+".Note", "after"); err != nil || receive(t, r.order) != "after" {
		t.Error(err)
	}
}
