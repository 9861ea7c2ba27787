package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
)

// Options say what to measure. Of Address and Start exactly one is set.
type Options struct {
	// Address is the D-Bus address of a running bus.
	Address string
	// PID is the process of the bus at Address; 0: the one that listens there.
	PID int
	// Start are the buses to start and compare, of Kdbus, DBusDaemon and DBusBroker.
	Start []string

	// Only are the Groups to measure; none means all.
	Only []string
	// Rounds is how often everything is measured, at least 1.
	Rounds int
	// Duration is how long one measurement takes, without its warm-up.
	Duration time.Duration
	// Connections are the numbers of idle connections that memory is measured with.
	Connections []int
	// Policies is how many policy files buses are started with; 0: they allow everything. It is not
	// for Address.
	Policies int
	// CPU is the one that pinned measurements use, or -1 for the last we may use.
	CPU int

	// Worker is the command that calls Worker in a new process.
	Worker []string
	// Kdbus is the command that starts our bus; --address and --print-address are
	// appended.
	Kdbus []string
	// Progress, if set, is told what is measured next.
	Progress func(string)
}

func (o *Options) check() error {
	switch {
	case (o.Address == "") == (len(o.Start) == 0):
		return errors.New("give either the address of a bus to measure or buses to compare")
	case o.Rounds < 1:
		return fmt.Errorf("the number of rounds is %d; it must be at least 1", o.Rounds)
	case o.Duration < time.Millisecond || o.Duration > 10*time.Minute:
		return fmt.Errorf("the duration of a measurement is %v; it must be from 1ms to 10m", o.Duration)
	case o.Policies < 0 || o.Policies > 0 && len(o.Start) == 0:
		return fmt.Errorf("the number of policy files is %d; it must be at least 1, and is for buses that are started", o.Policies)
	case len(o.Connections) == 0 || slices.Min(o.Connections) < 1:
		return fmt.Errorf("the numbers of idle connections are %v; give at least one, all of at least 1", o.Connections)
	}
	return nil
}

// run is a run under way.
type run struct {
	Options
	cpus   *unix.CPUSet
	socket string // of the running bus, if that is what is measured
	report *Report
	// failed has the measurements not to try again, by measurement and bus.
	failed map[[2]string]bool
}

// Run measures. It returns a report unless the options are wrong, a bus to start is
// missing or ctx is done; measurements that fail are named in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	planned, err := plan(o.Only, o.Connections)
	if err != nil {
		return nil, err
	}
	measurements, missing := withoutMissing(planned)
	r := &run{Options: o, failed: map[[2]string]bool{}}
	if r.cpus, err = oneCPU(o.CPU); err != nil {
		return nil, err
	}
	// A bus that is started inherits the limit.
	if err := raiseFileLimit(slices.Max(o.Connections) + 64); err != nil {
		return nil, err
	}
	r.report = &Report{Machine: thisMachine(), Rounds: o.Rounds, Duration: o.Duration, Policies: o.Policies, Missing: missing}
	if err := r.findBuses(ctx, measurements); err != nil {
		return nil, err
	}
	rows := make([][]*Row, len(measurements))
	for i, m := range measurements {
		rows[i] = m.rows()
	}
	for round := range o.Rounds {
		for _, i := range inTurn(measurements, round) {
			m := measurements[i]
			if m.once && o.Address != "" && round > 0 {
				continue
			}
			if err := r.round(ctx, round, m, rows[i]); err != nil {
				return nil, err
			}
		}
	}
	for _, group := range rows {
		for _, row := range group {
			if o.Address != "" {
				row.Target = nil // they are for comparisons
			}
			r.report.Rows = append(r.report.Rows, *row)
		}
	}
	r.report.conclude()
	return r.report, nil
}

// findBuses finds out what the columns are, that all of it is there, and what it speaks.
func (r *run) findBuses(ctx context.Context, measurements []measurement) error {
	if r.Address == "" {
		for _, kind := range r.Start {
			bus, err := describe(kind, r.Kdbus)
			if err != nil {
				return err
			}
			r.report.Buses = append(r.report.Buses, bus)
		}
		return nil
	}
	list, err := address.Parse(r.Address)
	if err != nil {
		return err
	}
	if r.socket, err = list[0].UnixName(); err != nil {
		return err
	}
	if r.PID == 0 {
		if r.PID, err = busPID(r.socket); err != nil {
			return err
		}
	}
	bus := Bus{Name: "bus", Address: r.Address}
	if slices.ContainsFunc(measurements, func(m measurement) bool { return m.native }) {
		if bus.Native, err = (site{worker: r.Worker, socket: r.socket}).speaksNative(ctx); err != nil {
			return fmt.Errorf("find out what the bus speaks: %w", err)
		}
	}
	r.report.Buses = []Bus{bus}
	return nil
}

// round measures one thing on every bus, each round beginning with another, so that
// what changes on the machine meanwhile befalls all alike.
func (r *run) round(ctx context.Context, round int, m measurement, rows []*Row) error {
	var names []string
	for _, b := range r.report.Buses {
		if b.Native || !m.native {
			names = append(names, b.Name)
		}
	}
	if m.onPair {
		names = append(names, Floor)
	}
	for i := range names {
		name := names[(i+round)%len(names)]
		if r.failed[[2]string{m.id, name}] {
			continue
		}
		if r.Progress != nil {
			r.Progress(fmt.Sprintf("round %d of %d: %s: %s", round+1, r.Rounds, m.title, name))
		}
		values, err := r.once(ctx, m, name)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.failed[[2]string{m.id, name}] = true
			r.report.Failures = append(r.report.Failures, fmt.Sprintf("%s, %s: %v", name, m.title, err))
			continue
		}
		for j, o := range m.outputs {
			rows[j].add(name, o.unit.scale(values[o.value]))
		}
	}
	return nil
}

// once measures one thing on one bus.
func (r *run) once(ctx context.Context, m measurement, name string) (map[string]float64, error) {
	s := site{worker: r.Worker, duration: r.Duration}
	if m.pinned {
		s.cpus = r.cpus
	}
	switch {
	case name == Floor:
	case r.Address != "":
		s.socket, s.pid = r.socket, r.PID
		if m.pinned {
			restore, err := pin(r.PID, r.cpus)
			if err != nil {
				return nil, err
			}
			values, err := m.measure(ctx, s)
			return values, errors.Join(err, restore())
		}
	default:
		server, err := startServer(ctx, name, r.Kdbus, r.Policies, s.cpus)
		if err != nil {
			return nil, err
		}
		defer server.stop()
		s.socket, s.pid, s.named = server.socket, server.pid, r.Policies > 0 && name != DBusBroker
		values, err := m.measure(ctx, s)
		if err != nil && ctx.Err() == nil {
			err = server.explain(err)
		}
		return values, err
	}
	return m.measure(ctx, s)
}

// oneCPU returns the set of one CPU: the given one or, for -1, the last of ours, as the
// first is often the one that handles interrupts.
func oneCPU(cpu int) (*unix.CPUSet, error) {
	var ours, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &ours); err != nil {
		return nil, fmt.Errorf("read our CPU affinity: %w", err)
	}
	if cpu == -1 {
		for i := range 64 * len(ours) {
			if ours.IsSet(i) {
				cpu = i
			}
		}
	}
	if cpu < 0 || !ours.IsSet(cpu) {
		return nil, fmt.Errorf("CPU %d is none of the %d that this process may use", cpu, ours.Count())
	}
	one.Set(cpu)
	return &one, nil
}
