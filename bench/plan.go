package bench

import (
	"fmt"
	"slices"
	"strings"
)

// Groups are the names that [Options.Only] takes, in the order of measuring and of the
// table. Memory comes first because what other measurements leave behind in a bus that
// was running already would hide it.
var Groups = []string{"memory", "roundtrip", "inflight", "broadcast", "payload", "native", "endpoint", "connect"}

// callsInFlight is how many calls the pipelined client has under way.
const callsInFlight = 64

// broadcastReceivers are the numbers of receivers that broadcasts are measured with.
var broadcastReceivers = []int{1, 20, 200}

// payloads are the sizes of argument that calls are measured with.
var payloads = []struct {
	id    string
	bytes int
}{
	{"8B", 8}, {"1KiB", 1 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}, {"8MiB", 8 << 20},
}

// nativePayloads are those of the native protocol, and the measurements to compare them
// with. What a memfd costs does not depend on its size, says the target of the last one.
// Where processes are free, how long a short round trip takes depends on which of them the
// kernel has put together, by a factor of two: only what has to be much faster is judged then.
var nativePayloads = []struct {
	id     string
	bytes  int
	memfd  bool
	beside string
	atMost float64
	free   bool // there is a target where processes are free, too
}{
	{"64KiB", 64 << 10, false, "payload.64KiB", 1, false},
	{"128KiB", 128 << 10, true, "", 0, false},
	{"1MiB", 1 << 20, true, "payload.1MiB", 1, true},
	{"64MiB", 64 << 20, true, "native.payload.128KiB", 1.5, false},
}

// plan returns all measurements of the groups in only, of all groups when it is empty,
// and those they are compared with, with the given numbers of idle connections.
func plan(only []string, connections []int) ([]measurement, error) {
	for _, group := range only {
		if !slices.Contains(Groups, group) {
			return nil, fmt.Errorf("there is no measurement %q to do only; there are %s", group, strings.Join(Groups, ", "))
		}
	}
	var all []measurement
	for _, n := range connections {
		all = append(all, measurement{
			group: "memory", id: fmt.Sprintf("memory.%d", n), title: fmt.Sprintf("memory per idle connection of %d", n),
			once: true, run: memory(n),
			outputs: []output{{value: valueMemory, unit: KiB, target: &Target{Bus: Kdbus, AtMost: 10}}},
		})
	}
	for _, pinned := range []bool{true, false} {
		all = append(all, planModes(pinned)...)
	}
	// As a reader looks for them: the modes of a measurement beside each other.
	slices.SortStableFunc(all, func(a, b measurement) int {
		return slices.Index(Groups, a.group) - slices.Index(Groups, b.group)
	})
	if len(only) == 0 {
		return all, nil
	}
	wanted := map[string]bool{}
	for _, m := range all {
		if slices.Contains(only, m.group) {
			wanted[m.id], wanted[m.beside] = true, true
		}
	}
	return slices.DeleteFunc(all, func(m measurement) bool { return !wanted[m.id] }), nil
}

// inTurn returns the order, as indices, in which the measurements of a plan are made in a
// round: those that are compared with each other one directly after the other, and in every
// other round the other way round, so that what changes on the machine befalls both alike.
func inTurn(all []measurement, round int) []int {
	indices := map[string]int{}
	for i, m := range all {
		indices[m.id] = i
	}
	// The first of a family is compared with none, or with none of the plan.
	first := func(i int) int {
		for {
			beside, ok := indices[all[i].beside]
			if !ok {
				return i
			}
			i = beside
		}
	}
	families := make([][]int, len(all))
	for i := range all {
		families[first(i)] = append(families[first(i)], i)
	}
	if round%2 == 1 {
		for _, family := range families {
			slices.Reverse(family)
		}
	}
	return slices.Concat(families...)
}

// planModes returns the measurements that are done both on one CPU and free.
func planModes(pinned bool) []measurement {
	mode, place := "free", "free"
	if pinned {
		mode, place = "pinned", "one CPU"
	}
	var all []measurement
	add := func(m measurement) {
		m.id += "." + mode
		m.title += ", " + place
		m.pinned = pinned
		if m.beside != "" {
			m.beside += "." + mode
		}
		all = append(all, m)
	}
	trip := output{value: valueP50, label: "p50", unit: Microseconds}
	if pinned {
		trip.target = &Target{Bus: DBusBroker, AtMost: 0.95}
	}
	add(measurement{
		group: "roundtrip", id: "roundtrip", title: "round trip", onPair: true, run: calls(job{Role: "caller"}),
		outputs: []output{trip, {value: valueP99, label: "p99", unit: Microseconds}},
	})
	add(measurement{
		group: "inflight", id: "inflight", title: fmt.Sprintf("%d calls in flight", callsInFlight), onPair: true,
		run:     calls(job{Role: "pipeline", Count: callsInFlight}),
		outputs: []output{{value: valueRate, unit: PerSecond, target: &Target{Bus: DBusBroker, AtLeast: 3}}},
	})
	for _, n := range broadcastReceivers {
		o := output{value: valueRate, unit: PerSecond}
		if n == 20 {
			o.target = &Target{Bus: DBusBroker, AtLeast: 5}
		}
		add(measurement{
			group: "broadcast", id: fmt.Sprintf("broadcast.%d", n), title: fmt.Sprintf("broadcast to %d", n),
			run: broadcast(n, false), outputs: []output{o},
		})
	}
	for _, p := range payloads {
		o := output{value: valueP50, label: "p50", unit: Microseconds}
		if p.bytes >= 64<<10 {
			o.target = &Target{Bus: DBusBroker, AtMost: 1.05}
		}
		add(measurement{
			group: "payload", id: "payload." + p.id, title: "round trip with " + p.id, onPair: true,
			run: calls(job{Role: "caller", Payload: p.bytes}), outputs: []output{o},
		})
	}
	for _, m := range planNative(pinned) {
		add(m)
	}
	for _, m := range planEndpoint(pinned) {
		add(m)
	}
	add(measurement{
		group: "connect", id: "connect", title: "connect and Hello", run: connects,
		outputs: []output{{value: valueRate, unit: PerSecond}},
	})
	return all
}

// planNative returns what is measured with the native protocol: the same as with D-Bus 1, and
// compared with that on the same bus.
func planNative(pinned bool) []measurement {
	time := func(atMost float64, free bool) *Target {
		if !pinned && !free {
			atMost = 0
		}
		return &Target{Bus: Kdbus, AtMost: atMost}
	}
	all := []measurement{
		{
			id: "roundtrip", title: "round trip", run: calls(job{Role: "caller", Native: true}),
			outputs: []output{
				{value: valueP50, label: "p50", unit: Microseconds, target: time(1, false)},
				{value: valueP99, label: "p99", unit: Microseconds},
			},
		},
		{
			id: "inflight", title: fmt.Sprintf("%d calls in flight", callsInFlight),
			run:     calls(job{Role: "pipeline", Count: callsInFlight, Native: true}),
			outputs: []output{{value: valueRate, unit: PerSecond, target: &Target{Bus: Kdbus, AtLeast: 1}}},
		},
	}
	for _, n := range broadcastReceivers {
		all = append(all, measurement{
			id: fmt.Sprintf("broadcast.%d", n), title: fmt.Sprintf("broadcast to %d", n), run: broadcast(n, true),
			outputs: []output{{value: valueRate, unit: PerSecond, target: &Target{Bus: Kdbus, AtLeast: 1}}},
		})
	}
	for i, m := range all {
		all[i].beside = m.id
	}
	for _, p := range nativePayloads {
		o := output{value: valueP50, label: "p50", unit: Microseconds}
		if p.beside != "" {
			o.target = time(p.atMost, p.free)
		}
		m := measurement{
			id: "payload." + p.id, title: "round trip with " + p.id, beside: p.beside,
			run:     calls(job{Role: "caller", Payload: p.bytes, Native: true, Memfd: p.memfd}),
			outputs: []output{o},
		}
		if p.memfd {
			m.title += " memfd"
		}
		all = append(all, m)
	}
	for i := range all {
		m := &all[i]
		m.group, m.native = "native", true
		m.id, m.title = "native."+m.id, "native "+m.title
	}
	return all
}
