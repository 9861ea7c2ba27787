package bench

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlanHasEveryRowOnce(t *testing.T) {
	all, err := plan(nil, []int{10, 50})
	if err != nil {
		t.Fatal(err)
	}
	var ids, groups []string
	for _, m := range all {
		for _, row := range m.rows() {
			ids = append(ids, row.ID)
		}
		groups = append(groups, m.group)
	}
	for _, want := range []string{
		"memory.10", "memory.50", "roundtrip.pinned.p50", "roundtrip.pinned.p99", "roundtrip.free.p50", "roundtrip.free.p99",
		"inflight.pinned", "inflight.free", "broadcast.20.pinned", "broadcast.200.free",
		"payload.8B.free.p50", "payload.8MiB.pinned.p50", "connect.free",
		"native.roundtrip.pinned.p50", "native.inflight.free", "native.broadcast.200.pinned", "native.payload.64MiB.free.p50",
		"endpoint.default.pinned.p50", "endpoint.custom.free.p50", "endpoint.proxy.pinned.p50",
	} {
		if !slices.Contains(ids, want) {
			t.Errorf("there is no row %s in %v", want, ids)
		}
	}
	slices.Sort(ids)
	if n := len(slices.Compact(slices.Clone(ids))); n != len(ids) {
		t.Errorf("of %d ids only %d are different: %v", len(ids), n, ids)
	}
	if got := slices.Compact(groups); !slices.Equal(got, Groups) {
		t.Errorf("groups come as %v, want each once and in order: %v", got, Groups)
	}
}

func TestPlanOfSomeGroups(t *testing.T) {
	some, err := plan([]string{"connect", "memory"}, []int{10})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range some {
		ids = append(ids, m.id)
	}
	if want := []string{"memory.10", "connect.pinned", "connect.free"}; !slices.Equal(ids, want) {
		t.Errorf("plan is %v, want %v", ids, want)
	}
}

func TestNativeRowsAreComparedWithThoseOfTheirKind(t *testing.T) {
	all, err := plan([]string{"native"}, []int{10})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]*Row{}
	for _, m := range all {
		for _, row := range m.rows() {
			rows[row.ID] = row
		}
	}
	for _, mode := range []string{"pinned", "free"} {
		short := func(atMost float64) Target { // too short to be judged where processes are free
			if mode == "free" {
				return Target{}
			}
			return Target{AtMost: atMost}
		}
		for _, test := range []struct {
			row, to string
			target  Target
		}{
			{"native.roundtrip.%.p50", "roundtrip.%.p50", short(1)},
			{"native.inflight.%", "inflight.%", Target{AtLeast: 1}},
			{"native.broadcast.1.%", "broadcast.1.%", Target{AtLeast: 1}},
			{"native.broadcast.20.%", "broadcast.20.%", Target{AtLeast: 1}},
			{"native.broadcast.200.%", "broadcast.200.%", Target{AtLeast: 1}},
			{"native.payload.64KiB.%.p50", "payload.64KiB.%.p50", short(1)},
			{"native.payload.1MiB.%.p50", "payload.1MiB.%.p50", Target{AtMost: 1}},
			{"native.payload.64MiB.%.p50", "native.payload.128KiB.%.p50", short(1.5)},
		} {
			id := strings.ReplaceAll(test.row, "%", mode)
			row := rows[id]
			if row == nil || row.Target == nil {
				t.Errorf("there is no row %s with a target", id)
				continue
			}
			want := test.target
			want.Bus, want.Row = Kdbus, strings.ReplaceAll(test.to, "%", mode)
			if diff := cmp.Diff(&want, row.Target); diff != "" {
				t.Errorf("%s: %s", id, diff)
			}
			if rows[want.Row] == nil {
				t.Errorf("%s is not measured with %s", want.Row, id)
			}
		}
	}
}

func TestComparedMeasurementsAreMadeTogether(t *testing.T) {
	all, err := plan(nil, []int{10})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		order := inTurn(all, round)
		place := map[string]int{}
		for at, i := range order {
			place[all[i].id] = at
		}
		if len(place) != len(all) || len(order) != len(all) {
			t.Fatalf("round %d has %d measurements, %d different ones; want %d", round, len(order), len(place), len(all))
		}
		for _, m := range all {
			want := 1 - 2*(round%2)
			if m.beside != "" && place[m.id]-place[m.beside] != want {
				t.Errorf("round %d: %s is %d places after %s, want %d", round, m.id, place[m.id]-place[m.beside], m.beside, want)
			}
		}
	}
}

func TestWrongOptionsAreExplained(t *testing.T) {
	good := Options{Start: []string{Kdbus}, Kdbus: []string{"/nonexistent"}, Worker: workerCommand, Rounds: 1, Duration: time.Millisecond, Connections: []int{1}, CPU: -1}
	for _, test := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no bus", func(o *Options) { o.Start = nil }, "the address of a bus"},
		{"address and buses", func(o *Options) { o.Address = "unix:path=/x" }, "either the address"},
		{"no rounds", func(o *Options) { o.Rounds = 0 }, "at least 1"},
		{"no time", func(o *Options) { o.Duration = 0 }, "from 1ms"},
		{"no connections", func(o *Options) { o.Connections = []int{5, -1} }, "at least 1"},
		{"no numbers of connections", func(o *Options) { o.Connections = nil }, "at least one"},
		{"more connections than files", func(o *Options) { o.Connections = []int{1 << 40} }, "hard limit"},
		{"unknown measurement", func(o *Options) { o.Only = []string{"speed"} }, "roundtrip"},
		{"unknown bus", func(o *Options) { o.Start = []string{"ibus"} }, "dbus-broker"},
		{"CPU that is not ours", func(o *Options) { o.CPU = 9999 }, "CPU 9999"},
		{"address that is none", func(o *Options) { o.Start, o.Address = nil, "nonsense" }, "nonsense"},
		{"address without a bus", func(o *Options) { o.Start, o.Address = nil, "unix:path=/nonexistent/bus" }, "is a bus running"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := good
			test.change(&o)
			_, err := Run(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestBusThatDoesNotStartIsAFailureAndTheFloorIsMeasured(t *testing.T) {
	privateTemp(t)
	report, err := Run(context.Background(), Options{
		Start: []string{Kdbus}, Kdbus: []string{"/nonexistent/kdbus"}, Worker: workerCommand,
		Only: []string{"roundtrip", "inflight"}, Rounds: 2, Duration: time.Millisecond, Connections: []int{1}, CPU: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	// Once each, and not again in the second round.
	if len(report.Failures) != 4 {
		t.Errorf("failures are %q, want 4 that name the bus", report.Failures)
	}
	for _, f := range report.Failures {
		if !strings.Contains(f, "start kdbus") || !strings.Contains(f, "/nonexistent/kdbus") {
			t.Errorf("failure does not say what is missing: %s", f)
		}
	}
	for _, row := range report.Rows {
		v := row.Values[Floor]
		if v == nil || len(v.Rounds) != 2 || v.Median <= 0 {
			t.Errorf("%s: floor is %+v, want two rounds", row.ID, v)
		}
	}
	expectEmpty(t)
}
