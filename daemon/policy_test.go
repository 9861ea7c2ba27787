package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// world is a bus with a policy, and what its log says.
type world struct {
	*bus.Bus
	t      *testing.T
	policy *xmlPolicy
	index  *everybody
	logger *slog.Logger
	log    *bytes.Buffer // what it writes, to be read when nothing more can come
}

func newWorld(t *testing.T, rules string) *world {
	w := &world{t: t, index: &everybody{}, log: &bytes.Buffer{}}
	w.logger = slog.New(slog.NewTextHandler(w.log, nil))
	w.Bus = bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{Indexes: []bus.Index{w.index}})
	w.rule(rules)
	return w
}

// rule puts rules in force.
func (w *world) rule(rules string) {
	w.policy = newPolicy(configuration(w.t, rules), newDenials(w.logger))
	w.policy.install(w.Bus)
}

// call is a message from one to another.
func call(from *bus.Conn, to, iface, member string) *bus.Message {
	return message(&wire.Header{
		Type: wire.TypeMethodCall, Flags: wire.NoReplyExpected, Path: "/p", Interface: iface, Member: member,
		Destination: to, Sender: from.UniqueName(),
	})
}

func message(h *wire.Header) *bus.Message {
	h.Order, h.Serial = wire.LittleEndian, 1
	m := &bus.Message{
		DstName: h.Destination, Has: bus.PartView | bus.PartHeader | bus.PartDBus1, View: h,
		ReplyCookie: uint64(h.ReplySerial), Payload: [][]byte{h.Append(nil)},
	}
	var id bus.ID
	switch n, _ := fmt.Sscanf(h.Destination, ":1.%d", &id); {
	case n == 1:
		m.Dst, m.DstName = id, ""
	case h.Destination == "":
		m.Dst = bus.Broadcast
	}
	return m
}

// post sends m, and returns what dst got of it.
func post(from *bus.Conn, m *bus.Message, dst *bus.Conn) (got int, err error) {
	err = from.Send(m)
	m.Release()
	from.Flush()
	for {
		taken := dst.Dequeue(make([]*bus.Message, 0, 16))
		if len(taken) == 0 {
			return got, err
		}
		got += len(taken)
		dst.Delivered(taken)
	}
}

const service = "org.example.Service"

func TestPolicyJudgesUnicasts(t *testing.T) {
	const open = `<policy context="default"><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>`
	for _, test := range []struct {
		name, rules string
		want        string // beginning of the error and its end, around what is of processes
	}{
		{"allowed", open, ""},
		{"nothing is allowed", `<policy context="default"><allow own="*"/></policy>`,
			`Rejected send message, 0 matched rules; type="method_call", sender=":1.2" (uid=1000 pid=1)` +
				` interface="org.example.I" member="M" error name="(unset)" requested_reply="0" destination="org.example.Service" (uid=0 pid=1); no rule allows it`},
		{"not to be sent", open + `<policy user="1000"><deny send_destination="org.example.Service" send_member="M" send_interface="org.example.I"/></policy>`,
			`Rejected send message, 2 matched rules; type="method_call", sender=":1.2" (uid=1000 pid=1)` +
				` interface="org.example.I" member="M" error name="(unset)" requested_reply="0" destination="org.example.Service" (uid=0 pid=1)` +
				`; rule: FILE:1 <deny send_destination="org.example.Service" send_member="M" send_interface="org.example.I"/> of <policy user="1000">`},
		{"not to be received", open + `<policy user="0"><deny receive_interface="org.example.I"/></policy>`,
			`Rejected receive message, 2 matched rules; type="method_call", sender=":1.2" (uid=1000 pid=1)` +
				` interface="org.example.I" member="M" error name="(unset)" requested_reply="0" destination="org.example.Service" (uid=0 pid=1)` +
				`; rule: FILE:1 <deny receive_interface="org.example.I"/> of <policy user="0">`},
		{"for a group", open + `<policy group="1000"><deny send_interface="org.example.I"/></policy>`, "Rejected send message, 2 matched rules"},
		{"for another group", open + `<policy group="1001"><deny send_interface="org.example.I"/></policy>`, ""},
		{"a name that the receiver waits for", open + `<policy context="mandatory"><deny send_destination="org.example.Waiting"/></policy>`, "Rejected send message, 2"},
		{"a name that the sender has", open + `<policy context="mandatory"><deny receive_sender="org.example.Sender"/></policy>`, "Rejected receive message, 2"},
		{"a namespace that the receiver has names in", open + `<policy context="mandatory"><deny send_destination_prefix="org.example.Deep"/></policy>`, "Rejected send message, 2"},
		{"the name of nobody", open + `<policy context="mandatory"><deny send_destination="org.example.Nobody"/></policy>`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, `<policy context="default"><allow own="*"/></policy>`)
			owner, sender := connectAs(t, w.Bus, 0), connectAs(t, w.Bus, 1000)
			for name, c := range map[string]*bus.Conn{service: owner, "org.example.Waiting": sender, "org.example.Sender": sender, "org.example.Deep.Name": owner} {
				if _, err := c.AcquireName(name, 0); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := owner.AcquireName("org.example.Waiting", 0); err != nil {
				t.Fatal(err)
			}
			w.rule(test.rules)
			got, err := post(sender, call(sender, service, "org.example.I", "M"), owner)
			if (test.want == "") != (err == nil) || (err == nil) != (got == 1) {
				t.Fatalf("%v, received %d", err, got)
			}
			if err != nil && (!errors.Is(err, bus.ErrDenied) || !strings.HasPrefix(withoutDirectory(err), test.want)) {
				t.Errorf("%s, want %s", withoutDirectory(err), test.want)
			}
		})
	}
}

// withoutDirectory returns the text of an error, in which the file of a rule is called FILE.
func withoutDirectory(err error) string {
	text := err.Error()
	if from, to := strings.Index(text, "/tmp"), strings.Index(text, "bus.conf"); from >= 0 && to > from {
		text = text[:from] + "FILE" + text[to+len("bus.conf"):]
	}
	return text
}

func TestPolicyJudgesNames(t *testing.T) {
	w := newWorld(t, `<policy context="default"><deny own="*"/><allow own_prefix="org.example.Free"/></policy>
		<policy user="0"><allow own="org.example.Service"/></policy>`)
	for _, test := range []struct {
		uid  uint32
		name string
		want string
	}{
		{0, service, ""},
		{1000, service, `Connection ":1.2" is not allowed to own the service "org.example.Service" due to security policies in the configuration file` +
			`; rule: FILE:1 <deny own="*"/> of <policy context="default">`},
		{1000, "org.example.Free.One", ""},
	} {
		_, err := connectAs(t, w.Bus, test.uid).AcquireName(test.name, 0)
		if (err == nil) != (test.want == "") || err != nil && withoutDirectory(err) != test.want {
			t.Errorf("%d, %s: %v", test.uid, test.name, err)
		}
	}
}

// A name counts from when somebody has it until it is gone.
func TestRulesFollowNames(t *testing.T) {
	w := newWorld(t, `<policy context="default"><allow own="*"/><allow send_type="*"/><allow receive_type="*"/><deny send_destination="org.example.Service"/></policy>`)
	owner, sender := connectAs(t, w.Bus, 0), connectAs(t, w.Bus, 0)
	try := func(want bool) {
		t.Helper()
		if _, err := post(sender, call(sender, owner.UniqueName(), "a.b", "M"), owner); (err == nil) != want {
			t.Errorf("%v, allowed should be %t", err, want)
		}
	}
	try(true)
	if _, err := owner.AcquireName(service, 0); err != nil {
		t.Fatal(err)
	}
	try(false)
	if err := owner.ReleaseName(service); err != nil {
		t.Fatal(err)
	}
	try(true)
}

func TestPolicyJudgesCopies(t *testing.T) {
	w := newWorld(t, `<policy context="default"><allow own="*"/><allow send_type="signal"/><allow receive_type="signal"/></policy>
		<policy user="1"><deny receive_member="Secret" receive_interface="a.b"/></policy>
		<policy context="mandatory"><deny send_destination="org.example.Deaf" send_type="signal"/></policy>`)
	sender, one, other, deaf := connectAs(t, w.Bus, 0), connectAs(t, w.Bus, 1), connectAs(t, w.Bus, 2), connectAs(t, w.Bus, 2)
	if _, err := deaf.AcquireName("org.example.Deaf", 0); err != nil {
		t.Fatal(err)
	}
	w.index.conns = []*bus.Conn{one, other, deaf, other, one}
	for member, want := range map[string][3]int{"Public": {1, 1, 0}, "Secret": {0, 1, 0}} {
		m := message(&wire.Header{Type: wire.TypeSignal, Path: "/", Interface: "a.b", Member: member})
		if err := sender.Send(m); err != nil {
			t.Fatal(err)
		}
		m.Release()
		for i, c := range []*bus.Conn{one, other, deaf} {
			got := c.Dequeue(make([]*bus.Message, 0, 4))
			if len(got) != want[i] {
				t.Errorf("%s: receiver %d got %d", member, i, len(got))
			}
			c.Delivered(got)
		}
	}
}

func TestPolicyJudgesWhatIsNoMessageOfDBus(t *testing.T) {
	w := newWorld(t, `<policy context="default"><allow own="*"/><allow receive_type="*"/><allow send_destination="org.example.Service" send_interface="a.b"/></policy>
		<policy user="1"><allow send_destination="org.example.Service"/></policy>`)
	owner, limited, free := connectAs(t, w.Bus, 0), connectAs(t, w.Bus, 2), connectAs(t, w.Bus, 1)
	if _, err := owner.AcquireName(service, 0); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		from *bus.Conn
		view any
		want error
	}{
		{"with what is allowed", limited, &wire.Header{Type: wire.TypeMethodCall, Interface: "a.b", Member: "M", Path: "/"}, nil},
		{"with nothing of a header", limited, nil, bus.ErrDenied},
		{"with nothing of a header, where nothing is asked of it", free, nil, nil},
		{"with a header that is not true", free, errors.New("lies"), bus.ErrDenied},
	} {
		m := &bus.Message{DstName: service, Has: bus.PartHeader | bus.PartDBus1, View: test.view, Payload: [][]byte{[]byte("data")}}
		if _, err := post(test.from, m, owner); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestPolicyJudgesTheBusItself(t *testing.T) {
	w := newWorld(t, `<policy context="default"><allow own="*"/><allow send_destination="org.freedesktop.DBus"/>
		<allow receive_sender="org.freedesktop.DBus"/><deny receive_member="NameAcquired" receive_interface="org.freedesktop.DBus"/>
		<deny receive_error="org.example.Error" receive_requested_reply="true"/><deny send_interface="org.example.Forbidden"/></policy>`)
	c, err := w.Endpoint().Connect(bus.ConnConfig{UID: 1, Receiver: mailbox{}, Peer: somebody{1}, Wants: bus.PartDBus1, TellOwn: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SendToBus(call(c, driverName, "org.example.Forbidden", "Hello")); err != nil {
		t.Errorf("nobody may say Hello: %v", err)
	}
	c.Hello() // it would be told by NameAcquired
	answer := func(h wire.Header) {
		h.ReplySerial, h.Sender, h.Destination = 5, driverName, c.UniqueName()
		m := message(&h)
		m.View = nil
		if err := c.Deliver(m); err != nil {
			t.Error(err)
		}
		m.Release()
	}
	answer(wire.Header{Type: wire.TypeMethodReturn}) // without an error name, it is denied like the next
	answer(wire.Header{Type: wire.TypeError, ErrorName: "org.example.Error"})
	answer(wire.Header{Type: wire.TypeError, ErrorName: "org.example.Other"})
	if got := c.Dequeue(make([]*bus.Message, 0, 8)); len(got) != 1 {
		t.Errorf("received %d", len(got))
	}
	if err := c.SendToBus(call(c, driverName, "org.example.Forbidden", "M")); !errors.Is(err, bus.ErrDenied) || !strings.Contains(err.Error(), `destination="org.freedesktop.DBus" (bus)`) {
		t.Error(err)
	}
	if err := c.SendToBus(call(c, driverName, "org.example.I", "M")); err != nil {
		t.Error(err)
	}
	unaddressed := call(c, "", "org.example.Forbidden", "M")
	unaddressed.Dst, unaddressed.DstName = 0, driverName
	if err := c.SendToBus(unaddressed); err != nil {
		t.Errorf("what is for the library: %v", err)
	}
}

func TestRepliesThatNobodyWaitsFor(t *testing.T) {
	for rules, want := range map[string]error{
		`<allow send_type="*" send_requested_reply="false"/>`:                                                                     nil,
		`<allow send_type="method_return" send_requested_reply="true"/>`:                                                          bus.ErrDenied,
		`<allow send_type="*" send_requested_reply="false"/><deny send_requested_reply="false" send_type="method_return"/>`:       bus.ErrDenied,
		`<allow send_type="*" send_requested_reply="false"/><deny receive_requested_reply="false" receive_type="method_return"/>`: bus.ErrDenied,
	} {
		w := newWorld(t, `<policy context="default"><allow receive_type="*" receive_requested_reply="false"/>`+rules+`</policy>`)
		a, b := connectAs(t, w.Bus, 0), connectAs(t, w.Bus, 0)
		reply := message(&wire.Header{Type: wire.TypeMethodReturn, ReplySerial: 7, Destination: b.UniqueName()})
		if got, err := post(a, reply, b); !errors.Is(err, want) || (got == 1) != (want == nil) {
			t.Errorf("%s: %v, received %d", rules, err, got)
		}
	}
}

// Whoever has no process of its own, as what the bus itself connects, is not limited.
func TestPolicyLeavesTheBussOwnAlone(t *testing.T) {
	w := newWorld(t, `<policy context="default"><deny own="*"/></policy>`)
	own, err := w.Endpoint().Connect(bus.ConnConfig{Receiver: mailbox{}})
	if err != nil {
		t.Fatal(err)
	}
	own.Hello()
	if _, err := own.AcquireName(service, 0); err != nil {
		t.Error(err)
	}
}

// While the policy is exchanged again and again, all messages that both allow arrive, and those that
// both deny do not.
func TestExchangingThePolicyLosesNothing(t *testing.T) {
	const both = `<policy context="default"><allow own="*"/><allow send_type="*"/><allow receive_type="*"/>
		<deny send_destination="org.example.Service" send_interface="org.example.I" send_member="Never"/></policy>`
	w := newWorld(t, both)
	owner := connectAs(t, w.Bus, 0)
	if _, err := owner.AcquireName(service, 0); err != nil {
		t.Fatal(err)
	}
	var senders, others sync.WaitGroup
	var done atomic.Bool
	others.Go(func() {
		for i := 0; !done.Load(); i++ {
			rules := both
			if i%2 == 0 {
				rules += serviceRules(i) + `<policy group="1000"><deny send_member="Sometimes" send_interface="org.example.I"/></policy>`
			}
			w.rule(rules)
		}
	})
	const each = 2000
	received := 0
	others.Go(func() {
		for !done.Load() || owner.QueueStats().Messages > 0 {
			taken := owner.Dequeue(make([]*bus.Message, 0, 64))
			received += len(taken)
			owner.Delivered(taken)
		}
	})
	sent := [4]int{}
	for i := range sent {
		sender := connectAs(t, w.Bus, 1000)
		senders.Go(func() {
			for n := range each {
				member := [...]string{"Always", "Sometimes", "Never"}[n%3]
				for {
					m := call(sender, service, "org.example.I", member)
					err := sender.Send(m)
					m.Release()
					sender.Flush()
					if errors.Is(err, bus.ErrQueueFull) {
						continue
					}
					switch {
					case err == nil && member == "Never":
						t.Error("what both policies deny was sent")
					case err != nil && member == "Always":
						t.Errorf("what both policies allow was not sent: %v", err)
					case err == nil:
						sent[i]++
					}
					break
				}
			}
		})
	}
	senders.Wait()
	done.Store(true)
	others.Wait()
	if total := sent[0] + sent[1] + sent[2] + sent[3]; received != total {
		t.Errorf("%d were sent, %d received", total, received)
	}
}

func TestDenialsAreLoggedButNotWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, `<policy context="default"><deny own="*"/></policy>`)
		c, other := connectAs(t, w.Bus, 1000), connectAs(t, w.Bus, 1001)
		deny := func(c *bus.Conn, n int) {
			for range n {
				c.AcquireName(service, 0)
				synctest.Wait()
			}
		}
		lines := func() (n int) {
			n = strings.Count(w.log.String(), "is not allowed to own")
			w.log.Reset()
			return n
		}
		deny(c, 10*maxDenials)
		if !strings.Contains(w.log.String(), `bus.conf:1 <deny own=`) {
			t.Errorf("no rule in %s", w.log)
		}
		if n := lines(); n != maxDenials {
			t.Errorf("%d lines", n)
		}
		if deny(other, 1); lines() != 1 {
			t.Error("nothing is logged of another user")
		}
		time.Sleep(time.Second)
		deny(c, 10)
		if !strings.Contains(w.log.String(), fmt.Sprintf("unlogged=%d", 9*maxDenials)) {
			t.Errorf("not said how many are missing: %s", w.log)
		}
		if n := lines(); n != denialsPerSecond {
			t.Errorf("%d lines after a second", n)
		}
	})
}

func TestWhatIsAllowedCanBeLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, `<policy context="default"><allow own="*"/><allow receive_type="*"/><allow send_type="*" log="true"/></policy>`)
		a, b := connectAs(t, w.Bus, 0), connectAs(t, w.Bus, 0)
		if _, err := post(a, call(a, b.UniqueName(), "a.b", "M"), b); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if log := w.log.String(); !strings.Contains(log, "Would reject message, 1 matched rules") || !strings.Contains(log, "path=/p") {
			t.Error(w.log)
		}
	})
}

func TestWhoSitsAtTheMachine(t *testing.T) {
	root := t.TempDir()
	put := func(file, content string) {
		path := filepath.Join(root, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	put("run/console/root", "")
	if !atConsole(root, 0) || atConsole(root, 1) {
		t.Error("without logind it is who has a file in /run/console")
	}
	put("run/systemd/seats/seat0", "")
	put("run/systemd/users/1000", "NAME=x\nSTATE=active\nSEATS=seat0\nONLINE_SEATS=\"seat0\"\n")
	put("run/systemd/users/1001", "NAME=y\nSTATE=online\nSEATS=seat0\nONLINE_SEATS=\n")
	for uid, want := range map[uint32]bool{1000: true, 1001: false, 0: false} {
		if atConsole(root, uid) != want {
			t.Errorf("%d: %t", uid, !want)
		}
	}
}
