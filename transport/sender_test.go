package transport_test

import (
	"net"
	"os"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
)

// asker is a reporter for which a frame "ask" has somebody on the bus begin to want metadata, while
// frames that were read before wait to be handled.
type asker struct {
	reporter
	ask func()
}

func (a *asker) Frame(raw []byte, owned bool, free func()) error {
	if string(raw[4:]) == "ask" {
		a.ask()
		return nil
	}
	return a.reporter.Frame(raw, owned, free)
}

// connectAsker connects to a server of askers. want sets what somebody on the bus wants: all, at first.
func connectAsker(t *testing.T) (c *net.UnixConn, frames <-chan report, want func(meta.Kinds)) {
	t.Helper()
	endpoint := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{}).Endpoint()
	curious, err := endpoint.Connect(bus.ConnConfig{Receiver: listener{}, Wants: bus.PartsMetadata})
	if err != nil {
		t.Fatal(err)
	}
	curious.Hello()
	want = func(kinds meta.Kinds) {
		if err := curious.Update(nil, &kinds); err != nil {
			t.Error(err)
		}
	}
	reports := make(chan report, 16)
	c = connectTo(t, endpoint, func(p *transport.Peer) transport.Protocol {
		return &asker{reporter{p, reports}, func() { want(meta.AllKinds) }}
	})
	return c, reports, want
}

// Who wants something and then not, again and again, does not have every socket set each time.
func TestKernelIsAskedUntilThePeerSends(t *testing.T) {
	c, frames, want := connectAsker(t)
	want(0)
	write(t, c, append(frame("ask"), frame("parent")...))
	if got := <-frames; got.data.PIDs.PID != uint32(os.Getpid()) {
		t.Errorf("our frame has %v of pid %d, want %d", got.data.Has, got.data.PIDs.PID, os.Getpid())
	}
}

// What was sent while the kernel was not asked has no sender, not the one that it was told of before.
func TestSenderIsNotWhoSentSomethingEarlier(t *testing.T) {
	c, frames, want := connectAsker(t)
	write(t, c, frame("parent"))
	if got := <-frames; got.data.PIDs.PID != uint32(os.Getpid()) {
		t.Fatalf("our own frame has %v of pid %d, want %d", got.data.Has, got.data.PIDs.PID, os.Getpid())
	}
	want(0)
	for range 2 { // with the first the server ceases to ask, and has done so when it reads the second
		write(t, c, frame("parent, of no interest"))
		<-frames
	}
	child(t, c, append(frame("ask"), frame("child")...))
	if got := <-frames; got.data.Has != 0 {
		t.Errorf("a frame that a child wrote unasked has %v of pid %d; we are %d", got.data.Has, got.data.PIDs.PID, os.Getpid())
	}
	write(t, c, frame("parent again"))
	if got := <-frames; got.data.PIDs.PID != uint32(os.Getpid()) {
		t.Errorf("our next frame has %v of pid %d, want %d", got.data.Has, got.data.PIDs.PID, os.Getpid())
	}
}
