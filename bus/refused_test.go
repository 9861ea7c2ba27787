package bus_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
)

// Who made an endpoint is told what it does not let through, and nothing else.
func TestRefusalsAreTold(t *testing.T) {
	const hidden, seen, open, none = "com.example.Hidden", "com.example.Seen", "com.example.Open", "com.example.None"
	b := newBus(t)
	service, bare := b.connect(), b.connect()
	service.mustAcquire(hidden, 0)
	other := b.connect()
	other.mustAcquire(seen, 0)
	friend := b.connect()
	friend.mustAcquire(open, 0)
	var told []string
	e, err := b.NewEndpoint(bus.EndpointConfig{Name: "1000-test", UID: 1000, Policies: []bus.NamePolicy{
		permit(seen, world(bus.AccessSee)), permit(open, world(bus.AccessTalk)),
	}, Refused: func(r bus.Refused) {
		view := ""
		if r.Message != nil {
			view = fmt.Sprint(r.Message.View)
		}
		told = append(told, fmt.Sprintf("%d %s %s", r.Kind, r.Name, view))
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := b.connectBy(e)
	p.subscribe(ordinary)
	expect := func(what string, do func(), want ...string) {
		t.Helper()
		told = nil
		do()
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	see, talk, hear, own := bus.RefusedSee, bus.RefusedTalk, bus.RefusedHear, bus.RefusedOwn
	expect("a call of a hidden name", func() { p.post(withView(toName(hidden, "m"), "m")) }, fmt.Sprintf("%d %s m", talk, hidden))
	expect("a call of a name that is not there", func() { p.post(withView(toName(none, "m"), "m")) }, fmt.Sprintf("%d %s m", talk, none))
	expect("a call of a name that is seen", func() { p.post(withView(toName(seen, "m"), "m")) }, fmt.Sprintf("%d %s m", talk, seen))
	expect("a call by id", func() { p.post(withView(to(service.ID(), "m"), "m")) }, fmt.Sprintf("%d %s m", talk, hidden))
	expect("a call of somebody without a name", func() { p.post(withView(to(bare.ID(), "m"), "m")) }, fmt.Sprintf("%d %s m", talk, bare.UniqueName()))
	expect("a call that is permitted", func() { p.post(withView(toName(open, "m"), "m")) })
	expect("a broadcast", func() { service.mustPost(withView(to(bus.Broadcast, "s"), "s")) }, fmt.Sprintf("%d %s s", hear, hidden))
	expect("a broadcast that is permitted", func() { friend.mustPost(withView(to(bus.Broadcast, "s"), "s")) })
	expect("a name to own", func() { p.AcquireName(none, 0) }, fmt.Sprintf("%d %s ", own, none))
	expect("a question", func() { p.Lookup(hidden) }, fmt.Sprintf("%d %s ", see, hidden))
	expect("who waits for a name", func() { p.ListOwners(hidden) }, fmt.Sprintf("%d %s ", see, hidden))
	expect("who has a name", func() { p.Inspect(0, hidden) }, fmt.Sprintf("%d %s ", see, hidden))
	expect("a question that is answered", func() { p.Lookup(seen) })
	expect("starting", func() { p.AwaitOwner(none, func(error) *bus.Message { return nil }) }, fmt.Sprintf("%d %s ", talk, none))
}
