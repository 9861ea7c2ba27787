package dbus1_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

func limitQueue(bytes int) func(*dbus1.Config) {
	return func(c *dbus1.Config) { c.Limits.MaxQueueBytes = bytes }
}

// liveHeap returns how many bytes of Go values the process holds.
func liveHeap() int {
	runtime.GC()
	runtime.GC() // empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestPeerThatDoesNotRead costs its senders an error, and others nothing. When it reads again, it
// gets what was taken.
func TestPeerThatDoesNotRead(t *testing.T) {
	const limit, attempts, size = 1 << 20, 4000, 8 << 10
	s := startServer(t, limitQueue(limit))
	others := s.watch(t)
	sleeper, sender := s.connect(t), s.connect(t)
	before := liveHeap()
	content := make([]byte, size)
	taken := 0
	for n := range uint32(attempts) {
		call := sender.newMessage(wire.TypeMethodCall, sleeper.name, "Call", n, content)
		sender.mustSend(t, call)
		sender.must(t, "GetId")
		if len(sender.backlog) == 0 {
			if taken < int(n) {
				t.Fatalf("call %d was refused and the later call %d taken", taken, n)
			}
			taken++
			continue
		}
		refusal := sender.mustNext(t)
		if refusal.ReplySerial != call.Serial || refusal.ErrorName != driver+".Error.LimitsExceeded" {
			t.Fatalf("call %d is answered with %s, want LimitsExceeded", n, refusal)
		}
		if n%100 == 0 {
			others.progress()
		}
	}
	if least := limit / size; taken < least || taken > 2*least+100 {
		t.Errorf("%d calls of %d bytes were taken with a limit of %d bytes", taken, size, limit)
	}
	if grown := liveHeap() - before; grown > 8*limit {
		t.Errorf("a queue of %d bytes takes %d", limit, grown)
	}
	second := s.connect(t)
	second.mustFail(t, "LimitsExceeded", second.newMessage(wire.TypeMethodCall, sleeper.name, "Call")) // of the same user
	stats, err := second.stats(sender.name)
	if err != nil {
		t.Fatal(err)
	}
	if stats["PendingReplies"] != uint64(taken) {
		t.Errorf("%d calls wait for replies, want those that were taken, %d", stats["PendingReplies"], taken)
	}
	second.checkFull(t, sleeper.name, limit)
	for n := range uint32(taken) {
		var got uint32
		var body []byte
		if m := sleeper.mustNext(t); m.Decode(&got, &body) != nil || got != n {
			t.Fatalf("got %s, want call %d", m, n)
		}
	}
	sender.mustSend(t, sender.newMessage(wire.TypeMethodCall, sleeper.name, "Again"))
	if m := sleeper.mustNext(t); m.Member != "Again" {
		t.Errorf("got %s after all that had been taken", m)
	}
	others.stop()
	eventually(t, "the log says who filled it", func() bool {
		return s.log.has("a limit was reached", "max_outgoing_bytes", sleeper.name, "sent by "+sender.name)
	})
	if lines := s.log.lines(); slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(line, "a limit was reached") }) {
		t.Errorf("nobody else is to blame, but the log says:\n%s", strings.Join(lines, "\n"))
	}
}

// checkFull checks that the statistics say who has filled the queue of a connection, and what the limit is.
func (c *client) checkFull(t *testing.T, name string, limit uint64) {
	t.Helper()
	var ofConn, ofBus map[string]wire.Variant
	if err := c.must(t, "Debug.GetConnectionStats", name).Decode(&ofConn); err != nil {
		t.Fatal(err)
	}
	if err := c.must(t, "Debug.GetStats").Decode(&ofBus); err != nil {
		t.Fatal(err)
	}
	self := uint32(os.Getuid())
	share := ofConn["OutgoingPerUser"].Value.(map[uint32]map[string]uint64)[self]
	if ofConn["MaxOutgoingBytes"].Value != limit || share["MaxBytes"] != limit || share["Bytes"] < limit || share["Percent"] < 100 ||
		share["Messages"] < uint64(ofConn["OutgoingMessages"].Value.(uint32)) { // of which some may be on their way
		t.Errorf("of the connection: %v", ofConn)
	}
	user := ofBus["Users"].Value.(map[uint32]map[string]uint64)[self]
	if user["Connections"] < 3 || user["MaxConnections"] < user["Connections"] || user["QueuedBytes"] != share["Bytes"] ||
		user["QueuedMessages"] != share["Messages"] || user["FullestPercent"] != share["Percent"] {
		t.Errorf("of the bus: %v, of its fullest queue: %v", ofBus, share)
	}
}

// TestCallerThatReadsNoAnswersOfTheBus is disconnected: there is nobody else to blame.
func TestCallerThatReadsNoAnswersOfTheBus(t *testing.T) {
	s := startServer(t, limitQueue(256<<10))
	others := s.watch(t)
	c := s.connect(t)
	call, err := c.newMessage(wire.TypeMethodCall, driver, "ListNames").Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for calls := 0; c.write(call) == nil; calls++ {
		if calls > 1_000_000 {
			t.Fatalf("%d calls were answered to somebody who does not read", calls)
		}
	}
	eventually(t, "the log says why", func() bool { return s.log.has("disconnecting", "does not read", c.name) })
	others.stop()
}

// TestBroadcastsToAPeerThatDoesNotRead are dropped and counted; the sender and other subscribers do
// not notice.
func TestBroadcastsToAPeerThatDoesNotRead(t *testing.T) {
	const signals = 4000
	s := startServer(t, limitQueue(1<<20))
	sleeper, reader, sender := s.connect(t), s.connect(t), s.connect(t)
	sleeper.must(t, "AddMatch", "type='signal',member='News'")
	reader.must(t, "AddMatch", "type='signal',member='News'")
	read := make(chan error, 1)
	go func() {
		for n := range uint32(signals) {
			var got uint32
			var body []byte
			m, err := reader.next()
			if err == nil {
				err = m.Decode(&got, &body)
			}
			if err != nil || got != n {
				t.Errorf("got %v, %v, want signal %d", m, err, n)
				break
			}
		}
		read <- nil
	}()
	content := make([]byte, 2<<10)
	for n := range uint32(signals) {
		sender.mustSend(t, sender.newMessage(wire.TypeSignal, "", "News", n, content))
		if n%100 == 99 { // the reader may take its time, and should not be one of those who lose
			sender.must(t, "GetId")
			eventually(t, "the reader reads", func() bool {
				stats, err := sender.stats(reader.name)
				return err != nil || stats["OutgoingBytes"] < 1<<19
			})
		}
	}
	<-read
	stats, err := sender.stats(sleeper.name)
	if err != nil {
		t.Fatal(err)
	}
	if len(sender.backlog) > 0 {
		t.Errorf("the sender got %s", sender.backlog[0])
	}
	dropped := stats["DroppedBroadcasts"]
	if dropped == 0 || dropped >= signals {
		t.Errorf("%d of %d signals were dropped", dropped, signals)
	}
	var last uint32
	for n := range signals - uint32(dropped) {
		var body []byte
		m := sleeper.mustNext(t)
		if err := m.Decode(&last, &body); err != nil || last < n {
			t.Fatalf("got %s as signal number %d", m, n)
		}
	}
}

// TestManyCallsForASleeper: whatever dbus-daemon takes is taken, such as calls without answer for a
// service that is busy.
func TestManyCallsForASleeper(t *testing.T) {
	const calls = 20_000
	s := startServer(t)
	sleeper, sender := s.connect(t), s.connect(t)
	for n := range uint32(calls) {
		call := sender.newMessage(wire.TypeMethodCall, sleeper.name, "Call", n, strings.Repeat("x", 100))
		call.Flags = wire.NoReplyExpected
		sender.mustSend(t, call)
	}
	sender.must(t, "GetId")
	if len(sender.backlog) > 0 {
		t.Fatalf("a call is answered with %s", sender.backlog[0])
	}
	for n := range uint32(calls) {
		var got uint32
		var text string
		if m := sleeper.mustNext(t); m.Decode(&got, &text) != nil || got != n {
			t.Fatalf("got %s, want call %d", m, n)
		}
	}
}

// TestMonitorThatDoesNotRead loses messages, and nobody whom it watches notices.
func TestMonitorThatDoesNotRead(t *testing.T) {
	s := startServer(t, limitQueue(64<<10))
	monitor := s.connect(t)
	monitor.must(t, "Monitoring.BecomeMonitor", []string{}, uint32(0))
	others := s.watch(t)
	before := liveHeap()
	eventually(t, "more is exchanged than a queue and a socket hold", func() bool { return others.done.Load() > 10_000 })
	others.stop()
	if grown := liveHeap() - before; grown > 4<<20 {
		t.Errorf("a monitor that does not read takes %d bytes", grown)
	}
}

// TestUnfinishedMessagesAreLimited for all connections of a user together, and what has arrived in
// full or was given up does not count.
func TestUnfinishedMessagesAreLimited(t *testing.T) {
	const size = 600 << 10
	s := startServer(t, func(c *dbus1.Config) { c.Limits.MaxIncomingBytes = 1 << 20 })
	others := s.watch(t)
	receiver := s.connect(t)
	begin := func(c *client) (rest []byte) {
		m := c.newMessage(wire.TypeMethodCall, receiver.name, "Call", make([]byte, size))
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.write(b[:len(b)-1]); err != nil {
			t.Fatal(err)
		}
		return b[len(b)-1:]
	}
	for range 3 {
		first, second := s.connect(t), s.connect(t)
		rest := begin(first)
		others.progress()
		m := second.newMessage(wire.TypeMethodCall, receiver.name, "Call", make([]byte, size))
		if b, err := m.Append(nil); err != nil {
			t.Fatal(err)
		} else {
			second.write(b) // fails, perhaps, as the connection ends meanwhile
		}
		if err := first.write(rest); err != nil {
			t.Fatal(err)
		}
		if got := receiver.mustNext(t); got.Sender != first.name || len(got.Body) != size+4 {
			// Which of the two was first at the bus is open; exactly one gets through.
			if got.Sender != second.name {
				t.Fatalf("got %d bytes of %s", len(got.Body), got.Sender)
			}
			first, second = second, first
		}
		if err := second.disconnected(); err != nil {
			t.Error(err)
		}
		begin(first) // and leaves
		first.close()
	}
	others.stop()
}

// TestLimitsThatAreChanged hold for the peers that are there.
func TestLimitsThatAreChanged(t *testing.T) {
	s := startServer(t)
	asleep, c := s.connect(t), s.connect(t)
	names := 0
	tests := []struct {
		name   string
		narrow dbus1.Limits
		try    func() *wire.Message
	}{
		{"names", dbus1.Limits{MaxNames: 1}, func() *wire.Message {
			names++
			return c.newMessage(wire.TypeMethodCall, driver, "RequestName", fmt.Sprintf("org.example.N%d", names), uint32(0))
		}},
		{"match rules", dbus1.Limits{MaxMatchRules: -1}, func() *wire.Message {
			return c.newMessage(wire.TypeMethodCall, driver, "AddMatch", "type='signal'")
		}},
		{"calls that wait", dbus1.Limits{MaxPendingReplies: -1}, func() *wire.Message {
			return c.newMessage(wire.TypeMethodCall, asleep.name, "Call")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, step := range []struct {
				limits  dbus1.Limits
				refused bool
			}{{dbus1.Limits{}, false}, {test.narrow, true}, {dbus1.Limits{}, false}} {
				s.SetLimits(step.limits)
				m := test.try()
				if step.refused {
					c.mustFail(t, "LimitsExceeded", m)
					continue
				}
				c.mustSend(t, m)
				c.must(t, "GetId")
				for _, answer := range c.backlog {
					if answer.Type == wire.TypeError {
						t.Fatalf("refused with %+v: %s", step.limits, answer)
					}
				}
			}
		})
	}
	t.Run("connections of a user", func(t *testing.T) {
		s.SetLimits(dbus1.Limits{MaxConnectionsPerUser: 2})
		third, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer third.close()
		if err := third.authenticate(false); err != nil {
			t.Fatal(err)
		}
		third.mustFail(t, "LimitsExceeded", third.newMessage(wire.TypeMethodCall, driver, "Hello"))
		s.SetLimits(dbus1.Limits{MaxConnectionsPerUser: 3})
		if err := third.hello(); err != nil {
			t.Error(err)
		}
	})
}
