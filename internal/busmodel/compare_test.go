package busmodel

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// look asks for p everything that it may ask.
func (w *world) look(p *peer, flags bus.ListFlags, id bus.ID, s string) {
	w.log("%d lists %#x, looks at %d %q", p.ID(), uint64(flags), id, s)
	m := w.model
	w.same(fmt.Sprintf("%+v", p.List(flags)), fmt.Sprintf("%+v", m.list(p.model, flags)))
	got, err := p.Inspect(id, s)
	want, errno := m.inspect(p.model, id, s)
	w.errs(err, errno)
	if err == nil {
		w.same(got.ID(), want.id)
	}
	var owner bus.ID
	if c := p.Lookup(s); c != nil {
		owner = c.ID()
	}
	var owners []bus.ID
	if n := m.names[s]; n != nil && m.sees(p.model, s) {
		for _, x := range n.wishes {
			if m.seesConn(p.model, x.conn) {
				owners = append(owners, x.conn.id)
			}
		}
	}
	w.same(p.ListOwners(s), owners)
	w.same(owner, append(owners, 0)[0])
	w.same(p.LookupID(id) != nil, m.conn(id) != nil && m.seesConn(p.model, m.conn(id)))
	if s != "" {
		w.same(p.Sees(s), m.sees(p.model, s))
	}
	names, ids := p.ListNames()
	slices.Sort(names)
	slices.Sort(ids)
	var wantNames []string
	for s, n := range m.names {
		if len(n.wishes) > 0 && m.sees(p.model, s) {
			wantNames = append(wantNames, s)
		}
	}
	slices.Sort(wantNames)
	var wantIDs []bus.ID
	for _, c := range m.conns {
		if c.present() && m.seesConn(p.model, c) {
			wantIDs = append(wantIDs, c.id)
		}
	}
	w.same(names, wantNames)
	w.same(ids, wantIDs)
}

// compare looks for differences.
func (w *world) compare() {
	w.t.Helper()
	for _, p := range w.peers {
		c := p.model
		if got, want := p.got[p.compared:], c.got[p.compared:]; !slices.Equal(got, want) {
			w.t.Fatalf("connection %d got\n\t%s\nand should have got\n\t%s", c.id, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		p.compared = len(p.got)
		for i, stamp := range c.order {
			if n, ok := w.numbers[stamp]; ok && n != p.order[i] && stamp != 0 {
				w.t.Fatalf("one message has the numbers %d and %d", n, p.order[i])
			}
			if stamp != 0 {
				w.numbers[stamp] = p.order[i]
			}
		}
		p.order, c.order = p.order[:0], c.order[:0]
		stats := p.QueueStats()
		stats.PeakBytes, stats.PeakFDs = 0, 0
		equal(w, c, "queue", stats, c.stats())
		equal(w, c, "wakes", p.wakes, c.wakes)
		equal(w, c, "calls", p.PendingCalls(), len(c.calls))
		equal(w, c, "claims", p.ClaimCount(), len(c.claims))
		equal(w, c, "is a monitor", p.IsMonitor(), c.monitor)
		equal(w, c, "connections of the user", w.bus.Domain().UserConns(c.uid), w.model.connsOf(payer{uid: c.uid}))
		equal(w, c, "info", p.Info(meta.AllKinds).Has, w.model.info(c))
		if got := p.Names(); !slices.Equal(got, c.owned) {
			w.t.Fatalf("connection %d has the names %v, want %v", c.id, got, c.owned)
		}
		if got, want := shares(p.QueueShares()), c.shares(); !slices.Equal(got, want) {
			w.t.Fatalf("connection %d: users hold %+v of the queue, want %+v", c.id, got, want)
		}
	}
}

func equal[T comparable](w *world, c *conn, what string, got, want T) {
	if got != want {
		w.t.Fatalf("connection %d: %s: %+v, want %+v", c.id, what, got, want)
	}
}

// shares orders them, and leaves out the most that users may have.
func shares(all []bus.QueueShare) []bus.QueueShare {
	for i := range all {
		all[i].MaxBytes = 0
	}
	slices.SortFunc(all, func(a, b bus.QueueShare) int { return cmp.Compare(fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b)) })
	return all
}
