package bus_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

func TestMonitorsSeeEverything(t *testing.T) {
	policy := &rules{deny: map[string]bool{"send 2 forbidden": true, "send 2>3 unwanted": true}}
	b := newBusWithPolicy(t, policy)
	monitor := b.monitor()
	p, q := b.connect(tellOwn), b.connect(refuseFDs)
	monitor.expect("IDAdded 2", "NameAcquired :1.2", "IDAdded 3")

	tests := []struct {
		name string
		do   func() error
		err  error
		want []string
	}{
		{"unicast", func() error { return p.post(to(q.ID(), "x")) }, nil, []string{"2: x"}},
		{"unicast to a name", func() error { return p.post(toName(example, "x")) }, bus.ErrNoSuchName, []string{"2: x"}},
		{"unicast to nobody", func() error { return p.post(to(99, "x")) }, bus.ErrNoSuchConn, []string{"2: x"}},
		{"unicast signal", func() error { return p.post(signal(q.ID(), "x")) }, nil, []string{"2: x"}},
		{"broadcast", func() error { return p.post(to(bus.Broadcast, "x")) }, nil, []string{"2: x"}},
		{"call", func() error { return p.post(call(q.ID(), 1)) }, nil, []string{"2: call 1"}},
		{"reply", func() error { return q.post(reply(p.ID(), 1)) }, nil, []string{"3: reply 1"}},
		{"unrequested reply", func() error { return q.post(reply(p.ID(), 1)) }, bus.ErrUnrequested, []string{"3: reply 1"}},
		{"unicast that may not be sent", func() error { return p.post(to(q.ID(), "forbidden")) }, bus.ErrDenied, []string{"2: forbidden"}},
		{"unicast that may not be received", func() error { return p.post(to(q.ID(), "unwanted")) }, bus.ErrDenied, []string{"2: unwanted"}},
		{"unicast with descriptors that are not taken", func() error { return p.post(withFDs(to(q.ID(), "x"), 1)) }, bus.ErrNoFDs, []string{"2: x"}},
		{"broadcast that nobody may have", func() error { return p.post(to(bus.Broadcast, "forbidden")) }, nil, []string{"2: forbidden"}},
		{"message to the bus", func() error { return p.SendToBus(to(0, "x")) }, nil, []string{"2: x"}},
		{"message to the bus that may not be sent", func() error { return p.SendToBus(to(0, "forbidden")) }, bus.ErrDenied, []string{"2: forbidden"}},
		{"answer of the bus", func() error { return p.Deliver(to(0, "x")) }, nil, []string{"0: x"}},
		{"name acquired", func() error { _, err := p.AcquireName(example, 0); return err }, nil,
			[]string{"NameChanged com.example.Name 0>2", "NameAcquired com.example.Name"}},
		{"name lost", func() error { return p.ReleaseName(example) }, nil,
			[]string{"NameLost com.example.Name", "NameChanged com.example.Name 2>0"}},
		{"call that will not be answered", func() error { return q.post(call(p.ID(), 9)) }, nil, []string{"3: call 9"}},
		{"callee that leaves", func() error { p.Close(); return nil }, nil, []string{"NameLost :1.2", "IDRemoved 2", "ReplyDead 9 of 2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b.tb = t
			err := test.do()
			p.Flush()
			if (err == nil) != (test.err == nil) || err != nil && !err.(*bus.Error).Is(test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			monitor.expect(test.want...)
		})
	}
}

func TestMonitorsSeeEverythingFirst(t *testing.T) {
	b := newBus(t)
	var order []string
	note := func(who string) func(*bus.ConnConfig) {
		return func(c *bus.ConnConfig) { c.Receiver = wakeFunc(func() { order = append(order, who) }) }
	}
	sender := b.connect(tellOwn)
	receiver := b.connect(note("receiver"))
	receiver.subscribe(everything)
	monitor := b.connect(note("monitor"))
	monitor.monitor(all)

	tests := map[string]func(){
		"unicast":      func() { sender.mustPost(to(receiver.ID(), "x")) },
		"broadcast":    func() { sender.mustPost(to(bus.Broadcast, "x")) },
		"notification": func() { sender.mustAcquire(example, 0) },
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			monitor.read()
			receiver.read()
			order = nil
			do()
			if !slices.Equal(order, []string{"monitor", "receiver"}) {
				t.Errorf("woken: %q", order)
			}
		})
	}
}

type wakeFunc func()

func (f wakeFunc) Wake()             { f() }
func (f wakeFunc) Wanted(meta.Kinds) {}

func TestMonitorsChooseByFilter(t *testing.T) {
	b := newBus(t)
	sender, receiver := b.connect(), b.connect()
	var asked []string
	monitor := b.connect()
	monitor.monitor(filter(func(src, dst *bus.Conn, m *bus.Message) bool {
		asked = append(asked, name(src)+">"+name(dst)+" "+describe(m))
		return strings.HasSuffix(describe(m), "yes")
	}))
	asked = nil

	sender.mustPost(to(receiver.ID(), "yes"))
	sender.mustPost(to(receiver.ID(), "no"))
	sender.mustPost(to(bus.Broadcast, "yes"))
	expectError(t, sender.post(to(99, "yes")), bus.ErrNoSuchConn)
	sender.mustAcquire(example, 0)
	sender.mustPost(toName(example, "yes"))
	expectError(t, sender.SendToBus(to(0, "yes")), 0)
	expectError(t, sender.Deliver(to(0, "yes")), 0)
	sender.Flush()

	monitor.expect("1: yes", "1: yes", "1: yes", "1: yes", "1: yes", "0: yes")
	want := []string{
		"1>2 1: yes", "1>2 1: no", "1>- 1: yes", "1>- 1: yes", "->- NameChanged com.example.Name 0>1", "1>1 1: yes",
		"1>- 1: yes", "->1 0: yes",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked about\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}

// name writes a connection as a number, or "-" for none.
func name(c *bus.Conn) string {
	if c == nil {
		return "-"
	}
	return strings.TrimPrefix(c.UniqueName(), ":1.")
}

func TestMonitorHasNothingAndMayDoNothing(t *testing.T) {
	b := newBus(t)
	other, monitor := b.connect(), b.connect()
	monitor.mustAcquire(example, 0)
	monitor.subscribe(everything)
	monitor.monitor(all)
	monitor.forget()

	if !monitor.IsMonitor() || other.IsMonitor() {
		t.Error("IsMonitor is wrong")
	}
	if b.Conn(monitor.ID()) != nil || len(b.Conns()) != 1 || other.Lookup(example) != nil || len(monitor.Names()) != 0 {
		t.Error("the monitor is still on the bus")
	}
	expectError(t, other.post(to(monitor.ID(), "x")), bus.ErrNoSuchConn)
	monitor.expect("1: x")

	expectError(t, monitor.post(to(other.ID(), "x")), bus.ErrMonitor)
	expectError(t, monitor.post(to(bus.Broadcast, "x")), bus.ErrMonitor)
	expectError(t, monitor.SendToBus(to(0, "x")), bus.ErrMonitor)
	_, err := monitor.AcquireName(example, 0)
	expectError(t, err, bus.ErrMonitor)
	expectError(t, monitor.ReleaseName(example), bus.ErrNoSuchName)
	monitor.Hello()
	monitor.Flush()
	if b.Conn(monitor.ID()) != nil {
		t.Error("back on the bus by Hello")
	}
	monitor.expect()

	other.mustPost(to(bus.Broadcast, "once"))
	monitor.expect("1: once")
}

func TestMonitorThatIsOneAlreadyOnlyChangesItsFilter(t *testing.T) {
	b := newBus(t)
	p, monitor := b.connect(), b.monitor()
	monitor.monitor(all)
	p.mustPost(to(bus.Broadcast, "once"))
	monitor.expect("1: once")
	if got := b.Stats().Monitors; got != 1 {
		t.Errorf("%d monitors", got)
	}
}

func TestMonitorThatLeavesSeesNoMore(t *testing.T) {
	b := newBus(t)
	p, monitor, other := b.connect(), b.monitor(), b.monitor()
	monitor.forget()
	other.forget()
	monitor.leave()
	p.mustPost(to(bus.Broadcast, "x"))
	monitor.expect()
	other.expect("1: x") // nobody notices that a monitor leaves
	if got := b.Stats().Monitors; got != 1 {
		t.Errorf("%d monitors", got)
	}
}

func TestMonitorThatDoesNotReadLosesMessages(t *testing.T) {
	b := newBus(t)
	p, q := b.connect(), b.connect()
	monitor := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 1 << 20, Messages: 2}}))
	monitor.monitor(all)
	monitor.forget()
	monitor.sleep()
	for range 3 {
		p.mustPost(to(q.ID(), "unicast"))
		p.mustPost(to(bus.Broadcast, "broadcast"))
	}
	if s := monitor.QueueStats(); s.Messages != 2 || s.Dropped != 4 {
		t.Errorf("%+v", s)
	}
	q.expect("1: unicast", "1: unicast", "1: unicast")
	monitor.wakeUp()
	monitor.expect("1: unicast", "1: broadcast")
}

func TestMonitorsThatTakeNoDescriptorsSeeNone(t *testing.T) {
	b := newBus(t)
	p, q := b.connect(), b.connect()
	takes, takesNone := b.monitor(), b.monitor(refuseFDs)
	takes.forget()
	p.mustPost(withFDs(to(q.ID(), "with"), 1))
	p.mustPost(withFDs(to(bus.Broadcast, "with"), 1))
	p.mustPost(to(q.ID(), "without"))
	takes.expect("1: with", "1: with", "1: without")
	takesNone.expect("1: without")
	if s := takesNone.QueueStats(); s.Dropped != 0 {
		t.Errorf("counted as lost for lack of space: %+v", s)
	}
}
