//go:build conformance

package driver

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// step is one thing a scenario did and what arrived because of it, per client in the order of
// arrival.
type step struct {
	label string
	lines []string
}

// session plays one scenario against one bus.
//
// After every step each client asks the bus for a sign of life. What arrives before the answer
// belongs to the step: the bus answers a client after everything it queued for it earlier, and the
// client that acted asks first, so that the bus is done with its action. These signs are calls
// with serials from barrierSerial up and are kept out of the transcript everywhere.
type session struct {
	tb      testing.TB
	bus     *testbus.Bus
	clients []*client
	steps   []step
	pending string       // label for the next step
	sorted  bool         // sort the arrays in what the next step brings
	shape   bool         // of the next step's values record only the types
	witness *peer.Client // never part of the transcript
	marks   uint32
	most    int // how many names, match rules and waiting calls a client may have
}

const barrierSerial = 0x40000000

// repeatSerial is where the serials of repeated messages begin, whose number may differ.
const repeatSerial = 0x20000000

// client is one participant of a scenario.
type client struct {
	*peer.Client
	label      string
	registered bool // Hello was answered
	monitor    bool
	gone       bool
	barriers   uint32
	received   []*peer.Message // all but the barriers'
}

func newSession(tb testing.TB, kind testbus.Kind, opts testbus.Options) *session {
	s := &session{tb: tb, bus: testbus.StartKind(tb, kind, opts)}
	var err error
	if s.witness, err = peer.Connect(s.bus.Address); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, c := range s.clients {
			c.Close()
		}
		s.witness.Close()
	})
	return s
}

// as names the next step, for when its message does not say what it is about.
func (s *session) as(format string, args ...any) *session {
	s.pending = s.normalise(fmt.Sprintf(format, args...))
	return s
}

// anyOrder makes the next step's arrays be compared without regard to their order.
func (s *session) anyOrder() *session { s.sorted = true; return s }

// onlyTypes makes the next step's values be compared by type only: dictionary keys stay.
func (s *session) onlyTypes() *session { s.shape = true; return s }

func (s *session) client(label string) *client {
	for _, c := range s.clients {
		if c.label == label {
			return c
		}
	}
	s.tb.Fatalf("the scenario has no client %q", label)
	return nil
}

// name returns the unique name of a client.
func (s *session) name(label string) string { return s.client(label).Name }

// lastCall returns the method call that a client received last.
func (s *session) lastCall(label string) *peer.Message {
	for _, m := range slices.Backward(s.client(label).received) {
		if m.Type == peer.TypeCall {
			return m
		}
	}
	s.tb.Fatalf("%s has received no call", label)
	return nil
}

// dial adds clients that have authenticated but not said Hello.
func (s *session) dial(labels ...string) {
	for _, l := range labels {
		c, err := peer.Dial(s.bus.Address)
		s.must(err)
		s.clients = append(s.clients, &client{Client: c, label: l})
	}
}

// connect adds clients that have said Hello.
func (s *session) connect(labels ...string) {
	for _, l := range labels {
		s.dial(l)
		s.hello(l)
	}
}

// connectWithoutFDs adds a client that has not agreed on passing file descriptors.
func (s *session) connectWithoutFDs(label string) {
	c, err := peer.DialWithoutFDs(s.bus.Address)
	s.must(err)
	s.clients = append(s.clients, &client{Client: c, label: label})
	s.hello(label)
}

// hello says Hello for a client that has not done so.
func (s *session) hello(label string) {
	c := s.client(label)
	s.as("%s says Hello", label)
	_, err := c.Send(peer.DriverCall("Hello", ""))
	s.must(err)
	reply, err := c.ReceiveMatching(func(m *peer.Message) bool { return m.ReplySerial() == 1 })
	s.must(err)
	if reply.Type != peer.TypeReply {
		s.tb.Fatalf("Hello of %s was answered with %s", label, s.format(reply))
	}
	c.Name, c.registered = reply.Body[0].(string), true
	s.finish(c, "Hello", label+" < "+s.format(reply))
}

// do makes a client send messages, in one write if they carry no file descriptors, and records what
// comes of them.
func (s *session) do(label string, messages ...*peer.Message) {
	c := s.client(label)
	var described []string
	var data []byte
	for _, m := range messages {
		if m.Serial == 0 && !m.KeepSerial {
			m.Serial = c.NextSerial()
		}
		described = append(described, s.format(m))
		if len(m.FDs) == 0 {
			data = append(data, m.Encode()...)
		} else if _, err := c.Send(m); err != nil {
			s.tb.Fatalf("%s sends %s: %v", label, s.format(m), err)
		}
	}
	if len(data) > 0 {
		s.must(c.Write(data))
	}
	s.finish(c, label+" > "+strings.Join(described, " ; "))
}

// repeat makes a client send n messages whose answers, if there are any, are not recorded but have to
// be successes.
func (s *session) repeat(label string, n int, message func(i int) *peer.Message) {
	c := s.client(label)
	for sent := 0; sent < n; {
		var data []byte
		for range min(500, n-sent) {
			m := message(sent)
			m.Serial = repeatSerial + uint32(sent)
			data = append(data, m.Encode()...)
			sent++
		}
		s.must(c.Write(data))
		for _, other := range s.clients {
			for _, line := range s.settle(other) {
				if strings.Contains(line, " < error ") {
					s.tb.Fatalf("among the first %d of %d messages: %s", sent, n, line)
				}
			}
		}
	}
}

// raw makes a client send bytes.
func (s *session) raw(label string, data []byte) {
	c := s.client(label)
	s.must(c.Write(data))
	s.finish(c, fmt.Sprintf("%s > %d bytes", label, len(data)))
}

// call makes a client call a method of org.freedesktop.DBus.
func (s *session) call(label, member, sig string, body ...any) {
	s.do(label, peer.DriverCall(member, sig, body...))
}

// leave closes a client's connection and waits until the bus has seen that.
func (s *session) leave(label string) {
	c := s.client(label)
	c.Close()
	c.gone = true
	s.awaitGone(c)
	s.finish(c, label+" leaves")
}

// becomeMonitor makes a client a monitor with these match rules. A rule is added for the signals by
// which the session knows that a monitor is up to date.
func (s *session) becomeMonitor(label string, rules ...string) {
	c := s.client(label)
	list := append([]string{"interface='kdbus.Barrier'"}, rules...)
	if len(rules) == 0 {
		list = nil
	}
	serial, err := c.Send(peer.Call(peer.DriverName, peer.DriverPath, peer.MonitorIface, "BecomeMonitor", "asu", list, uint32(0)))
	s.must(err)
	reply, err := c.ReceiveMatching(func(m *peer.Message) bool { return m.ReplySerial() == serial })
	s.must(err)
	c.monitor = reply.Type == peer.TypeReply
	s.as("%s becomes a monitor of %q", label, rules).finish(c, "", label+" < "+s.format(reply))
}

// finish ends a step: actor is asked for a sign of life first, then all others.
func (s *session) finish(actor *client, label string, lines ...string) {
	if s.pending != "" {
		label = s.pending
	}
	order := append([]*client{actor}, slices.DeleteFunc(slices.Clone(s.clients), func(c *client) bool { return c == actor })...)
	var arrived [][]string
	for _, c := range order {
		arrived = append(arrived, s.settle(c))
	}
	if slices.ContainsFunc(s.clients, func(c *client) bool { return c.gone }) {
		// Whoever was cut off may have been noticed by others only after they were asked.
		for i, c := range order {
			arrived[i] = append(arrived[i], s.settle(c)...)
		}
	}
	for i := range order {
		lines = append(lines, arrived[i]...)
	}
	s.steps = append(s.steps, step{label, lines})
	s.pending, s.sorted, s.shape = "", false, false
}

// settle collects what has arrived at a client.
func (s *session) settle(c *client) (lines []string) {
	if c.gone {
		return nil
	}
	record := func(m *peer.Message) {
		peer.CloseFDs(m)
		if name, ok := helloAnswered(m); ok && !c.registered {
			c.Name, c.registered = name, true
		}
		if !isBarrier(m) {
			c.received = append(c.received, m)
			lines = append(lines, c.label+" < "+s.format(m))
		}
	}
	done, limit := s.barrier(c)
	for {
		m, err := c.ReceiveWithin(limit)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !c.registered:
			return lines
		case peer.Disconnected(err):
			c.gone = true
			c.Close()
			s.awaitGone(c)
			return append(lines, c.label+" is disconnected")
		case err != nil:
			s.tb.Fatalf("%s, after %d steps: %v\nso far %q", c.label, len(s.steps), err, lines)
		}
		if done(m) {
			return lines
		}
		record(m)
	}
}

// helloAnswered returns the name that the answer to a first message brings, if it was Hello.
func helloAnswered(m *peer.Message) (name string, ok bool) {
	if m.Type == peer.TypeReply && m.ReplySerial() == 1 && m.Sig() == "s" {
		name = m.Body[0].(string)
	}
	return name, strings.HasPrefix(name, ":")
}

// isBarrier tells signs of life, and what was asked to get them, from what belongs to a scenario. The
// bus's own serials may be anything.
func isBarrier(m *peer.Message) bool {
	asked := m.Serial >= barrierSerial && m.Text(peer.FieldSender) != peer.DriverName
	return asked || m.ReplySerial() >= barrierSerial
}

// barrier asks for the sign of life that ends a step for c, and returns how to know it and how long
// to wait for it. A client without a name has no way to ask; silence must do.
func (s *session) barrier(c *client) (done func(*peer.Message) bool, limit time.Duration) {
	switch {
	case c.monitor:
		s.marks++
		mark := peer.Signal("", "/", "kdbus.Barrier", "Mark", "")
		mark.Serial = barrierSerial + s.marks
		_, err := s.witness.Send(mark)
		s.must(err)
		return func(m *peer.Message) bool {
			return m.Serial == mark.Serial && m.Text(peer.FieldInterface) == "kdbus.Barrier"
		}, peer.Timeout
	}
	c.barriers++
	ping := peer.Call(peer.DriverName, peer.DriverPath, peer.PeerIface, "Ping", "")
	ping.Serial = barrierSerial + c.barriers
	// If the bus has ended the connection this fails, and reading says so in its turn.
	_, _ = c.Send(ping)
	limit = peer.Timeout
	if !c.registered {
		limit = 1500 * time.Millisecond
	}
	return func(m *peer.Message) bool { return m.ReplySerial() == ping.Serial && addressedTo(m, c) }, limit
}

// addressedTo tells an answer to c from one that c overheard. Before Hello is answered a client
// has no name, and hears nothing.
func addressedTo(m *peer.Message, c *client) bool {
	return !c.registered || m.Text(peer.FieldDestination) == c.Name
}

// awaitGone waits until the bus no longer knows a client.
func (s *session) awaitGone(c *client) {
	if !c.registered || c.monitor {
		return
	}
	for deadline := time.Now().Add(peer.Timeout); ; {
		s.marks++
		ask := peer.DriverCall("NameHasOwner", "s", c.Name)
		ask.Serial = barrierSerial + s.marks
		r, err := s.witness.Call(ask)
		s.must(err)
		if r.Body[0] == false {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("%s still has an owner although %s has left", c.Name, c.label)
		}
	}
}

func (s *session) must(err error) {
	s.tb.Helper()
	if err != nil {
		s.tb.Fatalf("after %d steps: %v", len(s.steps), err)
	}
}
