package bus_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

// notes is a policy that keeps what it is told of connections.
type notes struct {
	bus.AllowAll
	title string
	needs bus.Parts
	seen  bus.Parts // that messages had
}

// note is what is kept of one.
type note struct {
	policy *notes
	told   []string
}

func (n *note) Claimed(name string) { n.told = append(n.told, "+"+name) }
func (n *note) Dropped(name string) { n.told = append(n.told, "-"+name) }

func (p *notes) Subject(*bus.Conn) bus.Subject { return &note{policy: p} }
func (p *notes) Needs() bus.Parts              { return p.needs }

func (p *notes) Send(src, dst *bus.Conn, m *bus.Message, _ bool) error {
	for _, c := range []*bus.Conn{src, dst} {
		if c != nil && c.Subject().(*note).policy != p {
			return &bus.Error{Errno: bus.ErrDenied, Detail: "the other policy's subject for " + p.title}
		}
	}
	p.seen = m.Has
	return nil
}

func TestSubjectsAreToldOfNames(t *testing.T) {
	b := newBusWithPolicy(t, &notes{})
	p, q := b.connect(), b.connect()
	told := func(c *peer, want ...string) {
		t.Helper()
		if n := c.Subject().(*note); !slices.Equal(n.told, want) {
			t.Errorf("%q, want %q", n.told, want)
		}
		c.Subject().(*note).told = nil
	}
	p.mustAcquire(example, bus.AllowReplacement)
	q.mustAcquire(example, 0)
	told(p, "+"+example)
	told(q, "+"+example) // it waits
	q.mustAcquire(example, bus.ReplaceExisting)
	told(q)
	told(p)
	expectError(t, p.ReleaseName(example), 0) // which it waits for now
	told(p, "-"+example)
	p.mustAcquire("com.example.Other", 0)
	b.SetPolicy(&notes{})
	told(p, "+com.example.Other")
	told(q, "+"+example)
	p.leave()
	told(q)
}

func TestPolicyIsExchanged(t *testing.T) {
	first, second := &notes{title: "first"}, &notes{title: "second", needs: bus.PartHeader}
	b := newBusWithPolicy(t, first)
	p, q := b.connect(), b.connect()
	late := b.introduce() // joins when there is another policy
	p.mustPost(to(q.ID(), "x"))
	b.SetPolicy(second)
	late.Hello()
	for _, dst := range []*peer{q, late} {
		expectError(t, p.post(to(dst.ID(), "y")), 0)
	}
	if second.seen&bus.PartHeader == 0 {
		t.Error("the policy does not get what it needs")
	}
	q.expect("1: x", "1: y")

	holder := b.connect(holding(permit(example, world(bus.AccessOwn))))
	b.SetPolicy(&rules{deny: map[string]bool{"send 1 z": true}})
	expectError(t, p.post(to(q.ID(), "z")), bus.ErrDenied)
	holder.leave()
	expectError(t, p.post(to(q.ID(), "z")), bus.ErrDenied)
	b.SetPolicy(nil)
	expectError(t, p.post(to(q.ID(), "z")), 0)
}

func TestEntriesStayWhenThePolicyIsExchanged(t *testing.T) {
	b := newBus(t)
	p := b.connect()
	b.connect(holding(permit(example)))
	b.SetPolicy(&notes{})
	_, err := p.AcquireName(example, 0)
	expectError(t, err, bus.ErrDenied)
}

func TestRepliesThatNobodyWaitsFor(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		t.Run(fmt.Sprintf("allowed=%t", allowed), func(t *testing.T) {
			b := newBusWithPolicy(t, &rules{unrequested: allowed})
			p, q, n := b.connect(), b.connect(), b.connect(native)
			err := p.post(reply(q.ID(), 7))
			toBus := p.SendToBus(reply(0, 7))
			if !allowed {
				expectError(t, err, bus.ErrUnrequested)
				expectError(t, toBus, bus.ErrUnrequested)
				return
			}
			expectError(t, err, 0)
			expectError(t, toBus, 0)
			q.expect("1: reply 7")
			expectError(t, p.post(reply(n.ID(), 7)), bus.ErrUnrequested)
		})
	}
}

func TestWhatTheBusMayNotSayVanishes(t *testing.T) {
	policy := &rules{deny: map[string]bool{"send - reply 3": true, "send - NameAcquired com.example.Name": true, "send - ReplyDead 4 of 4": true}}
	b := newBusWithPolicy(t, policy)
	p, n, callee := b.connect(tellOwn), b.connect(native), b.connect()
	_ = callee
	p.forget()
	if err := p.Deliver(reply(0, 3)); err != nil {
		t.Error(err)
	}
	p.mustAcquire(example, 0)
	p.expect()
	if err := n.Deliver(reply(0, 3)); err != nil {
		t.Error(err)
	}
	n.Flush()
	n.expect("ReplyDead 3 of 0") // or it would wait for ever
}
