package bus_test

import (
	"fmt"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

// explained are rules that say why.
type explained struct{ *rules }

func (r explained) Explain(src, dst *bus.Conn, m *bus.Message) error {
	return fmt.Errorf("%s may not have %s of %s", name(dst), text(m), name(src))
}

// TestMonitorsSeeWhoGoesWithout checks that monitors see a refusal behind each message that the policy
// does not let somebody have, before anything else of its sender; and that nobody else does.
func TestMonitorsSeeWhoGoesWithout(t *testing.T) {
	policy := explained{&rules{deny: map[string]bool{"overhear 3 x": true, "send ->2 NameAcquired com.example.Name": true}}}
	b := newBusWith(t, bus.DomainConfig{}, func(c *bus.Config) {
		c.Policy = policy
		c.Refusal = func(_ *bus.Conn, _ *bus.Message, reason error) *bus.Message { return to(0, reason.Error()) }
	})
	monitor := b.monitor()
	p, q, r := b.connect(tellOwn), b.connect(), b.connect()
	q.subscribe(everything)
	r.subscribe(everything)
	for _, c := range []*peer{monitor, p, q, r} {
		c.take()
	}

	for _, text := range []string{"x", "y"} { // in one go
		m := to(bus.Broadcast, text)
		if err := p.Send(m); err != nil {
			t.Fatal(err)
		}
		m.Release()
	}
	p.Flush()
	monitor.expect("2: x", "0: 3 may not have x of 2", "2: y")
	q.expect("2: y")
	r.expect("2: x", "2: y")

	if _, err := p.AcquireName(example, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Deliver(to(0, "done")); err != nil {
		t.Fatal(err)
	}
	p.Flush()
	monitor.expect("NameChanged com.example.Name 0>2", "NameAcquired com.example.Name",
		"0: 2 may not have NameAcquired com.example.Name of -", "0: done")
	p.expect("0: done")
}
