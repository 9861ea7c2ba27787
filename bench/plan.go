package bench

import (
	"fmt"
	"slices"
	"strings"
)

// Groups are the names that [Options.Only] takes, in the order of measuring and of the
// table. Memory comes first because what other measurements leave behind in a bus that
// was running already would hide it.
var Groups = []string{"memory", "roundtrip", "inflight", "broadcast", "payload", "connect"}

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

// plan returns all measurements of the groups in only, of all groups when it is empty,
// with the given numbers of idle connections.
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
	return slices.DeleteFunc(all, func(m measurement) bool {
		return len(only) > 0 && !slices.Contains(only, m.group)
	}), nil
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
			run: broadcast(n), outputs: []output{o},
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
	add(measurement{
		group: "connect", id: "connect", title: "connect and Hello", run: connects,
		outputs: []output{{value: valueRate, unit: PerSecond}},
	})
	return all
}
