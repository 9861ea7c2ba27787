package bus_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
)

// registry is the name registry as the D-Bus specification tells it (RequestName and ReleaseName in "Message Bus Messages"),
// in the plainest way. The one thing that it has from dbus-daemon is the place of who asks to replace and has to wait.
type registry struct {
	queues map[string][]wish // the primary owner first
	conns  map[bus.ID]*modelConn
	order  []bus.ID // the connections, oldest first
}

type wish struct {
	id         bus.ID
	allow, dnq bool
}

// modelConn is what should be true of a connection.
type modelConn struct {
	id                 bus.ID
	tellOwn, listening bool
	present, monitor   bool     // on the bus, and turned into a monitor
	asked              []string // names owned or waited for, first asked first
	owned              []string // first had first
	peak               int      // the most of them at a time
	heard              []string // all that it was ever told
}

const modelMaxNames = 2

// say is what the public is told, and whisper what one connection is told about itself. Monitors hear both.
func (r *registry) say(format string, args ...any) {
	for _, id := range r.order {
		if c := r.conns[id]; c.monitor || c.present && c.listening {
			c.heard = append(c.heard, fmt.Sprintf(format, args...))
		}
	}
}

func (r *registry) whisper(to *modelConn, format string, args ...any) {
	if !to.tellOwn {
		return
	}
	line := fmt.Sprintf(format, args...)
	for _, id := range r.order {
		if c := r.conns[id]; c.monitor || c == to {
			c.heard = append(c.heard, line)
		}
	}
}

// change compares the primary owner of a name before and after do, and tells about it.
func (r *registry) change(name string, do func([]wish) []wish) {
	old := primary(r.queues[name])
	q := do(slices.Clone(r.queues[name]))
	now := primary(q)
	if old != now && old != 0 {
		c := r.conns[old]
		c.owned = without(c.owned, name)
		r.whisper(c, "NameLost %s", name)
	}
	r.queues[name] = q
	if len(q) == 0 {
		delete(r.queues, name)
	}
	if old != now {
		r.say("NameChanged %s %d>%d", name, old, now)
	}
	if old != now && now != 0 {
		c := r.conns[now]
		c.owned = append(c.owned, name)
		c.peak = max(c.peak, len(c.owned))
		r.whisper(c, "NameAcquired %s", name)
	}
	for _, c := range r.conns {
		waits := position(q, c.id) >= 0
		if waits && !slices.Contains(c.asked, name) {
			c.asked = append(c.asked, name)
		} else if !waits {
			c.asked = without(c.asked, name)
		}
	}
}

func primary(q []wish) bus.ID {
	if len(q) == 0 {
		return 0
	}
	return q[0].id
}

func position(q []wish, id bus.ID) int {
	return slices.IndexFunc(q, func(w wish) bool { return w.id == id })
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == name })
}

// request is RequestName. 0 means that the connection has too many names.
func (r *registry) request(c *modelConn, name string, flags bus.NameFlags) bus.Ownership {
	if len(c.asked) >= modelMaxNames {
		return 0
	}
	w := wish{c.id, flags&bus.AllowReplacement != 0, flags&bus.DoNotQueue != 0}
	replace := flags&bus.ReplaceExisting != 0
	result := bus.InQueue
	r.change(name, func(q []wish) []wish {
		at := position(q, c.id)
		switch {
		case len(q) == 0:
			result = bus.PrimaryOwner
			return []wish{w}
		case at == 0:
			result = bus.AlreadyOwner
			q[0] = w
			return q
		}
		if replace || at < 0 {
			if at > 0 {
				q = slices.Delete(q, at, at+1)
			}
			switch {
			case replace && q[0].allow:
				result = bus.PrimaryOwner
				q = slices.Insert(q, 0, w)
			case replace:
				q = slices.Insert(q, 1, w)
			default:
				q = append(q, w)
			}
		} else {
			q[at] = w
		}
		// Whoever is not the primary owner and does not want to wait goes.
		rest := slices.DeleteFunc(q[1:], func(w wish) bool { return w.dnq })
		return q[:1+len(rest)]
	})
	if result == bus.InQueue && w.dnq {
		return bus.Exists
	}
	return result
}

func (r *registry) release(c *modelConn, name string) error {
	switch q := r.queues[name]; {
	case len(q) == 0:
		return bus.ErrNoSuchName
	case position(q, c.id) < 0:
		return bus.ErrNotOwner
	}
	r.remove(c, name)
	return nil
}

func (r *registry) remove(c *modelConn, name string) {
	r.change(name, func(q []wish) []wish {
		return slices.DeleteFunc(q, func(w wish) bool { return w.id == c.id })
	})
}

// depart takes c off the bus. What was asked for last is given up first.
func (r *registry) depart(c *modelConn) {
	c.present = false
	for len(c.asked) > 0 {
		r.remove(c, c.asked[len(c.asked)-1])
	}
	r.whisper(c, "NameLost %s", c.id)
	r.say("IDRemoved %d", c.id)
}

// registryTest runs the registry and its model side by side.
type registryTest struct {
	bus   *testBus
	model registry
	peers map[bus.ID]*peer
}

func (r *registryTest) connect(t *rapid.T) {
	c := &modelConn{
		tellOwn:   rapid.Bool().Draw(t, "told of its names"),
		listening: rapid.Bool().Draw(t, "listening"),
		present:   true,
	}
	limits := *roomy
	limits.MaxNames = modelMaxNames
	p := r.bus.connect(limited(limits), func(config *bus.ConnConfig) { config.TellOwn = c.tellOwn })
	c.id = p.ID()
	r.peers[c.id] = p
	r.model.say("IDAdded %d", c.id)
	r.model.conns[c.id] = c
	r.model.order = append(r.model.order, c.id)
	r.model.whisper(c, "NameAcquired %s", c.id)
	if c.listening {
		p.subscribe(notifications)
	}
}

func (r *registryTest) present() (ids []bus.ID) {
	for _, id := range r.model.order {
		if r.model.conns[id].present {
			ids = append(ids, id)
		}
	}
	return ids
}

func (r *registryTest) draw(t *rapid.T) (*peer, *modelConn) {
	if len(r.present()) == 0 {
		r.connect(t)
	}
	id := rapid.SampledFrom(r.present()).Draw(t, "connection")
	return r.peers[id], r.model.conns[id]
}

// Few names, so that there is a crowd at each; more than one may have.
var modelNames = []string{"a.a", "b.b", "c.c"}

func (r *registryTest) acquire(t *rapid.T) {
	p, c := r.draw(t)
	name := rapid.SampledFrom(modelNames).Draw(t, "name")
	flags := bus.NameFlags(rapid.IntRange(0, 7).Draw(t, "flags"))
	got, err := p.AcquireName(name, flags)
	p.Flush()
	want := r.model.request(c, name, flags)
	if got != want || (err == nil) == (want == 0) {
		t.Fatalf("got %d, %v, want %d", got, err, want)
	}
}

func (r *registryTest) release(t *rapid.T) {
	p, c := r.draw(t)
	name := rapid.SampledFrom(modelNames).Draw(t, "name")
	got := p.ReleaseName(name)
	p.Flush()
	want := r.model.release(c, name)
	if (got == nil) != (want == nil) || got != nil && !got.(*bus.Error).Is(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func (r *registryTest) close(t *rapid.T) {
	p, c := r.draw(t)
	heard := slices.Clone(c.heard)
	p.leave()
	r.model.depart(c)
	c.heard = heard // nothing reaches one that is gone
}

func (r *registryTest) becomeMonitor(t *rapid.T) {
	p, c := r.draw(t)
	p.monitor(all)
	r.model.depart(c)
	c.monitor = true
}

func (r *registryTest) check(t *rapid.T) {
	var wantIDs []bus.ID
	asking := r.bus.introduce()
	defer asking.Close()
	for _, id := range r.model.order {
		c, p := r.model.conns[id], r.peers[id]
		if !slices.Equal(c.heard, p.got) {
			t.Fatalf("connection %d heard (-want +got):\n%s", id, cmp.Diff(c.heard, p.got))
		}
		if got := p.Names(); !slices.Equal(got, c.owned) || !slices.Equal(p.Owned(), c.owned) {
			t.Fatalf("connection %d owns %q, in routing %q, want %q", id, got, p.Owned(), c.owned)
		}
		if got := p.PeakNames(); got != c.peak {
			t.Fatalf("connection %d owned %d names at most, want %d", id, got, c.peak)
		}
		if c.present {
			wantIDs = append(wantIDs, id)
		}
	}
	var wantNames []string
	for _, name := range modelNames {
		q := r.model.queues[name]
		var want []bus.ID
		for _, w := range q {
			want = append(want, w.id)
		}
		if got := asking.ListOwners(name); !slices.Equal(got, want) {
			t.Fatalf("owners of %s are %d, want %d", name, got, want)
		}
		owner := asking.Lookup(name)
		if len(q) == 0 != (owner == nil) || owner != nil && owner.ID() != q[0].id {
			t.Fatalf("owner of %s is %v, want %d", name, owner, primary(q))
		}
		if len(q) > 0 {
			wantNames = append(wantNames, name)
		}
	}
	names, ids := asking.ListNames()
	slices.Sort(names)
	slices.Sort(ids)
	if !slices.Equal(names, wantNames) || !slices.Equal(ids, wantIDs) {
		t.Fatalf("names %q and connections %d, want %q and %d", names, ids, wantNames, wantIDs)
	}
}

func TestNameRegistryFollowsTheSpecification(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &registryTest{
			bus:   newBus(t),
			model: registry{queues: map[string][]wish{}, conns: map[bus.ID]*modelConn{}},
			peers: map[bus.ID]*peer{},
		}
		for range 3 {
			r.connect(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"": r.check,
			"connect": func(t *rapid.T) {
				if len(r.present()) < 6 {
					r.connect(t)
				}
			},
			"acquire": r.acquire, "acquire again": r.acquire, "acquire once more": r.acquire, "acquire more": r.acquire,
			"release": r.release, "close": r.close, "become monitor": r.becomeMonitor,
		})
	})
}
