package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// example returns a report as Run makes it, of three buses.
func example() *Report {
	r := &Report{
		Machine:  Machine{CPU: "Example", CPUs: 2, Kernel: "6.1"},
		Rounds:   2,
		Duration: time.Second,
		Buses:    []Bus{{Name: Kdbus}, {Name: DBusDaemon, Version: "1.14.10"}, {Name: DBusBroker, Version: "33"}},
	}
	trip := Row{ID: "t", Title: "round trip", Unit: Microseconds, Values: map[string]*Values{}, Target: &Target{Bus: DBusBroker, AtMost: 0.95}}
	trip.add(Kdbus, 18)
	trip.add(Kdbus, 20)
	trip.add(DBusDaemon, 38)
	trip.add(DBusBroker, 25)
	trip.add(Floor, 9.5)
	rate := Row{ID: "r", Title: "calls", Unit: PerSecond, Values: map[string]*Values{}, Target: &Target{Bus: DBusBroker, AtLeast: 3}}
	rate.add(Kdbus, 250000)
	rate.add(DBusBroker, 100000)
	memory := Row{ID: "m", Title: "memory", Unit: KiB, Values: map[string]*Values{}, Target: &Target{Bus: Kdbus, AtMost: 10}}
	memory.add(Kdbus, 7.25)
	native := Row{ID: "n", Title: "native trip", Unit: Microseconds, Values: map[string]*Values{}, Target: &Target{Bus: Kdbus, Row: "t", AtMost: 1}}
	native.add(Kdbus, 15.6)
	r.Rows = []Row{trip, rate, memory, native}
	r.conclude()
	return r
}

func TestTable(t *testing.T) {
	r := example()
	r.Failures = []string{"dbus-daemon, calls: it fell over"}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	const want = `
Example, 2 CPUs, Linux 6.1
Medians of 2 rounds of 1s. dbus-daemon 1.14.10, dbus-broker 33.

             unit   kdbus  dbus-daemon  dbus-broker  socket pair  to dbus-daemon  to dbus-broker  to row  target
round trip     µs    19.0         38.0         25.0         9.50            0.50            0.76       -  <= 0.95 met
calls          /s  250000            -       100000            -               -            2.50       -  >= 3    MISSED
memory        KiB    7.25            -            -            -               -               -       -  <= 10   met
native trip    µs    15.6            -            -            -               -               -    0.82  <= 1    met    (to t)

not measured: dbus-daemon, calls: it fell over
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTableOfOneBusHasNoRatios(t *testing.T) {
	r := &Report{Rounds: 1, Buses: []Bus{{Name: "bus"}}, Rows: []Row{{Title: "trip", Values: map[string]*Values{}}}}
	r.Rows[0].Target = &Target{Bus: DBusBroker, AtMost: 1}
	r.Rows[0].add("bus", 5)
	r.conclude()
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"target", "to ", "<="} {
		if strings.Contains(b.String(), word) {
			t.Errorf("the table has %q:\n%s", word, b.String())
		}
	}
}

func TestTargets(t *testing.T) {
	yes, no := true, false
	for _, test := range []struct {
		name   string
		target Target
		values map[string]float64
		want   *bool
	}{
		{"ratio at most, met at the bound", Target{Bus: DBusBroker, AtMost: 0.5}, map[string]float64{Kdbus: 1, DBusBroker: 2}, &yes},
		{"ratio at most, missed", Target{Bus: DBusBroker, AtMost: 0.5}, map[string]float64{Kdbus: 1.1, DBusBroker: 2}, &no},
		{"ratio at least, met", Target{Bus: DBusBroker, AtLeast: 3}, map[string]float64{Kdbus: 7, DBusBroker: 2}, &yes},
		{"ratio at least, missed", Target{Bus: DBusBroker, AtLeast: 3}, map[string]float64{Kdbus: 5, DBusBroker: 2}, &no},
		{"value at most, met without another bus", Target{Bus: Kdbus, AtMost: 10}, map[string]float64{Kdbus: 9}, &yes},
		{"value at most, missed", Target{Bus: Kdbus, AtMost: 10}, map[string]float64{Kdbus: 11}, &no},
		{"other bus not measured", Target{Bus: DBusBroker, AtMost: 1}, map[string]float64{Kdbus: 1}, nil},
		{"ratio to another row, met", Target{Bus: Kdbus, Row: "other", AtMost: 1.5}, map[string]float64{Kdbus: 7}, &yes},
		{"ratio to another row, missed", Target{Bus: Kdbus, Row: "other", AtLeast: 1.5}, map[string]float64{Kdbus: 7}, &no},
		{"other row without a bound", Target{Bus: Kdbus, Row: "other"}, map[string]float64{Kdbus: 7}, nil},
		{"other row not there", Target{Bus: Kdbus, Row: "nowhere", AtMost: 1}, map[string]float64{Kdbus: 7}, nil},
		{"our bus not measured in either row", Target{Bus: Kdbus, Row: "other", AtMost: 1}, nil, nil},
		{"our bus not measured", Target{Bus: DBusBroker, AtMost: 1}, map[string]float64{DBusBroker: 1}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			row := Row{Values: map[string]*Values{}, Target: &test.target}
			for bus, v := range test.values {
				row.add(bus, v)
			}
			report := Report{Rows: []Row{row, {ID: "other", Values: map[string]*Values{Kdbus: {Median: 5}}}}}
			report.conclude()
			if diff := cmp.Diff(test.want, row.Target.Met); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJSONHasAllOfTheReport(t *testing.T) {
	want := example()
	var b bytes.Buffer
	if err := want.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	got := &Report{}
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
