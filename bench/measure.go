package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// measurement is one thing to measure.
type measurement struct {
	group   string // one of Groups
	id      string
	title   string
	pinned  bool     // with all processes on one CPU
	onPair  bool     // can be measured over a socket pair, for the floor
	once    bool     // tells something only the first time it is done with a bus
	native  bool     // only of buses that speak the native protocol
	program string   // that it needs; may be empty
	beside  string   // id of the measurement that this one is compared with; may be empty
	outputs []output // at least one
	run     func(ctx context.Context, s site) (map[string]float64, error)
}

// output is a row that a measurement yields.
type output struct {
	value string // which of the values of a run
	label string // added to the title; may be empty
	unit  Unit
	// target is judged by the same output of the measurement beside, if there is one.
	target *Target
}

// rowID returns the id of the output's row of a measurement.
func (o output) rowID(measurement string) string {
	if o.label == "" {
		return measurement
	}
	return measurement + "." + o.label
}

// rows returns the empty rows of a measurement, one per output.
func (m measurement) rows() []*Row {
	var rows []*Row
	for _, o := range m.outputs {
		row := &Row{ID: o.rowID(m.id), Title: m.title, Unit: o.unit, Values: map[string]*Values{}}
		if o.label != "" {
			row.Title += ", " + o.label
		}
		if o.target != nil {
			target := *o.target
			if m.beside != "" {
				target.Row = o.rowID(m.beside)
			}
			row.Target = &target
		}
		rows = append(rows, row)
	}
	return rows
}

// site is where a measurement takes place.
type site struct {
	worker   []string
	cpus     *unix.CPUSet // nil: all
	duration time.Duration
	socket   string // of the bus; empty for the floor
	pid      int    // of the bus; 0 for the floor
	named    bool   // there is a policy for serviceName
}

// setupTime is how long the processes of one measurement may take besides measuring.
const setupTime = 30 * time.Second

// errTimeout is why a measurement that takes too long is ended.
var errTimeout = errors.New("the bus did not answer in time")

// measure runs one measurement, within bounds of time.
func (m measurement) measure(ctx context.Context, s site) (map[string]float64, error) {
	limit := setupTime + 2*s.duration
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w (%v)", errTimeout, limit))
	defer cancel()
	return m.run(ctx, s)
}

func (s site) start(ctx context.Context, j job, side *os.File) (*worker, error) {
	j.Socket, j.Duration = s.socket, s.duration
	j.Named = j.Named || s.named && (j.Role == "service" || j.Role == "sender")
	return startWorker(ctx, s.worker, s.cpus, j, side)
}

// calls measures calls between two processes: j.Role calls a service.
func calls(j job) func(context.Context, site) (map[string]float64, error) {
	return func(ctx context.Context, s site) (map[string]float64, error) {
		var sides [2]*os.File
		if s.socket == "" {
			var err error
			if sides, err = socketPair(); err != nil {
				return nil, err
			}
			defer sides[0].Close()
			defer sides[1].Close()
		}
		service, err := s.start(ctx, job{Role: "service", Native: j.Native, Memfd: j.Memfd}, sides[0])
		if err != nil {
			return nil, err
		}
		defer service.stop()
		caller, err := s.start(ctx, j, sides[1])
		if err != nil {
			return nil, err
		}
		defer caller.stop()
		return measured(ctx, service, caller)
	}
}

// socketPair returns both ends of a connection without a bus.
func socketPair() (ends [2]*os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ends, fmt.Errorf("make a socket pair: %w", err)
	}
	return [2]*os.File{os.NewFile(uintptr(fds[0]), "socket pair"), os.NewFile(uintptr(fds[1]), "socket pair")}, nil
}

// measured lets first begin, who serves, then second, who measures, and returns what
// second reports. When first fails meanwhile, that is the error.
func measured(ctx context.Context, first, second *worker) (map[string]float64, error) {
	if err := first.begin(ctx, second); err != nil {
		return nil, err
	}
	if err := second.begin(ctx, first); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if _, err := first.report(ctx); err != nil {
			cancel(err)
			second.cancel()
		}
	}()
	r, err := second.report(ctx)
	first.stop()
	<-watched
	return r.Values, err
}

// broadcast measures deliveries to a number of receivers in one process.
func broadcast(count int, native bool) func(context.Context, site) (map[string]float64, error) {
	return func(ctx context.Context, s site) (map[string]float64, error) {
		creditsOut, creditsIn, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		defer creditsOut.Close()
		defer creditsIn.Close()
		receivers, err := s.start(ctx, job{Role: "receivers", Count: count, Native: native}, creditsIn)
		if err != nil {
			return nil, err
		}
		defer receivers.stop()
		sender, err := s.start(ctx, job{Role: "sender", Count: count, Native: native}, creditsOut)
		if err != nil {
			return nil, err
		}
		defer sender.stop()
		return measured(ctx, receivers, sender)
	}
}

// connects measures how many connections per second can be made, one after the other.
func connects(ctx context.Context, s site) (map[string]float64, error) {
	return s.alone(ctx, job{Role: "connector"})
}

// alone lets one worker do its work, and returns what it reports.
func (s site) alone(ctx context.Context, j job) (map[string]float64, error) {
	w, err := s.start(ctx, j, nil)
	if err != nil {
		return nil, err
	}
	defer w.stop()
	if err := w.begin(ctx, nil); err != nil {
		return nil, err
	}
	r, err := w.report(ctx)
	return r.Values, err
}

// speaksNative finds out whether the bus speaks the native protocol.
func (s site) speaksNative(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, setupTime, fmt.Errorf("%w (%v)", errTimeout, setupTime))
	defer cancel()
	values, err := s.alone(ctx, job{Role: "prober"})
	return values[valueNative] == 1, err
}

// memory measures by how much the bus grows with count connections that do nothing.
func memory(count int) func(context.Context, site) (map[string]float64, error) {
	return func(ctx context.Context, s site) (map[string]float64, error) {
		idle, err := s.start(ctx, job{Role: "idle", Count: count}, nil)
		if err != nil {
			return nil, err
		}
		defer idle.stop()
		before, err := settledMemory(ctx, s.pid)
		if err != nil {
			return nil, err
		}
		if err := idle.begin(ctx, nil); err != nil {
			return nil, err
		}
		if _, err := idle.report(ctx); err != nil {
			return nil, err
		}
		after, err := settledMemory(ctx, s.pid)
		if err != nil {
			return nil, err
		}
		return map[string]float64{valueMemory: float64(after-before) / float64(count)}, nil
	}
}
