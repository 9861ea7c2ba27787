package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// A worker is one process of clients. It reads a job from its standard input, sets
// itself up and writes a report with its unique name. Told to begin, it does its work
// and writes a second report with what it measured. Workers that only serve others
// never write one; they are killed when they are no longer needed.

// job is what a worker is to do.
type job struct {
	Role string
	// Socket is where the bus listens, as in net.UnixAddr. Empty for the floor: there
	// file descriptor 3 is connected to the peer directly.
	Socket string
	// Duration is how long to measure, after a warm-up.
	Duration time.Duration
	Payload  int // bytes of the argument of a call
	Count    int // calls in flight, receivers, or connections
	// Native is to speak the native protocol, and Memfd to pass on payload in a memfd.
	Native, Memfd bool
	// Named is to own serviceName, as there is a policy that says who may call that, or it is called by that
	// name: ByName is to do so.
	Named, ByName bool
}

// begin tells a worker that all others are ready.
type begin struct {
	Peer string // the unique name of the other side, if there is one
}

// report is what a worker answers.
type report struct {
	Name   string             `json:",omitempty"`
	Values map[string]float64 `json:",omitempty"`
	Error  string             `json:",omitempty"`
}

// Values that workers report.
const (
	valueP50    = "p50"    // ns
	valueP99    = "p99"    // ns
	valueRate   = "rate"   // 1/s
	valueMemory = "memory" // bytes per connection
	valueNative = "native" // 1 if the bus speaks the native protocol, else 0
)

// sideFD is the descriptor that workers may be given besides the standard ones: the
// peer's socket for the floor, the pipe of credits for a broadcast.
const sideFD = 3

// role is one kind of worker. Its setup returns the unique name to report and the work
// to do when told to begin.
type role func(j job) (name string, work func(begin) (map[string]float64, error), err error)

var roles = map[string]role{
	"caller":    setupCaller,
	"service":   setupService,
	"pipeline":  setupPipeline,
	"sender":    setupSender,
	"receivers": setupReceivers,
	"connector": setupConnector,
	"idle":      setupIdle,
	"prober":    setupProber,
}

// Worker is the main function of a worker process; see [Options.Worker]. It reads its
// job from standard input, reports on standard output, and returns the exit status.
func Worker() int {
	// The measuring thread has the process to itself: no collector, no hand-over.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()

	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	if err := runWorker(in, out); err != nil {
		if err := out.Encode(report{Error: err.Error()}); err != nil {
			fmt.Fprintln(os.Stderr, "bench worker: report an error:", err)
		}
		return 1
	}
	return 0
}

func runWorker(in *json.Decoder, out *json.Encoder) error {
	var j job
	if err := in.Decode(&j); err != nil {
		return fmt.Errorf("read the job from standard input: %w (workers are started by kdbus bench itself)", err)
	}
	setup, ok := roles[j.Role]
	if !ok {
		return fmt.Errorf("there is no role %q", j.Role)
	}
	name, work, err := setup(j)
	if err != nil {
		return err
	}
	if err := out.Encode(report{Name: name}); err != nil {
		return err
	}
	var b begin
	if err := in.Decode(&b); err == io.EOF {
		return nil
	} else if err != nil {
		return err
	}
	values, err := work(b)
	if err != nil {
		return err
	}
	if err := out.Encode(report{Values: values}); err != nil {
		return err
	}
	// What it has open stays open until it is no longer needed.
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// protocol returns what the clients of j speak.
func (j job) protocol() protocol {
	if j.Native {
		return newNative(j.Memfd)
	}
	return dbus1{}
}

// attach returns the client of j: on the bus, or on the socket pair of the floor.
func (j job) attach() (*client, error) {
	if j.Socket == "" {
		return newClient(sideFD, bufferSize, j.protocol()), nil
	}
	c, err := connect(j.Socket, bufferSize, j.protocol())
	if err != nil {
		return nil, err
	}
	if j.Named {
		if _, err := c.call(c.protocol.own()); err != nil {
			return nil, fmt.Errorf("own %s: %w", serviceName, err)
		}
	}
	if j.Memfd {
		c.passing = newPassing()
	}
	return c, nil
}

// Buffers that hold some hundred small messages, so that a client that is behind
// catches up with one read, and that are more than one read of a socket yields.
const bufferSize = 256 << 10

// warmUp is the part of a measurement's duration that passes before it begins.
func warmUp(d time.Duration) time.Duration { return d / 5 }

// Calls that take long are made this often, whatever the duration: the first ones, for
// which a bus may have to find memory, are not counted.
const (
	fewestWarmUps = 10
	fewestSamples = 20
)

// setupCaller makes the client that calls and waits, one call at a time.
func setupCaller(j job) (string, func(begin) (map[string]float64, error), error) {
	c, err := j.attach()
	if err != nil {
		return "", nil, err
	}
	if j.Memfd {
		memfd, err := newMemfd(benchBody(j.Payload))
		if err != nil {
			return "", nil, err
		}
		c.passing.rights = unix.UnixRights(memfd)
	}
	samples := make([]uint32, 0, 1<<20)
	return c.name, func(b begin) (map[string]float64, error) {
		if j.ByName {
			b.Peer = serviceName
		}
		call, err := c.protocol.call(b.Peer, j.Payload)
		if err != nil {
			return nil, err
		}
		start := time.Now()
		from, until := start.Add(warmUp(j.Duration)), start.Add(warmUp(j.Duration)+j.Duration)
		before := start
		for n := 0; before.Before(until) || len(samples) < fewestSamples; n++ {
			if _, err := c.call(call); err != nil {
				return nil, err
			}
			after := time.Now()
			if n >= fewestWarmUps && before.After(from) && len(samples) < cap(samples) {
				samples = append(samples, uint32(min(after.Sub(before), 1<<32-1)))
			}
			before = after
		}
		return map[string]float64{valueP50: percentile(samples, 50), valueP99: percentile(samples, 99)}, nil
	}, nil
}

// setupService makes the client that answers calls of one peer, as many at once as one
// read brought.
func setupService(j job) (string, func(begin) (map[string]float64, error), error) {
	c, err := j.attach()
	if err != nil {
		return "", nil, err
	}
	return c.name, func(b begin) (map[string]float64, error) {
		reply, err := c.protocol.reply(b.Peer)
		if err != nil {
			return nil, err
		}
		var out []byte
		for {
			for m := c.take(); m != nil; m = c.take() {
				switch c.protocol.kind(m) {
				case kindFailure:
					return nil, c.protocol.failure(m)
				case kindCall:
				default:
					continue
				}
				if j.Memfd {
					if err := c.passing.look(m); err != nil {
						return nil, err
					}
				}
				c.serial++
				c.protocol.number(reply, c.serial)
				c.protocol.answer(reply, m)
				out = append(out, reply...)
			}
			if err := c.write(out); err != nil {
				return nil, err
			}
			out = out[:0]
			if err := c.fill(); err != nil {
				return nil, err
			}
		}
	}, nil
}

// setupPipeline makes the client that keeps j.Count calls in flight: for every reply
// of a read it sends a call, all in one write.
func setupPipeline(j job) (string, func(begin) (map[string]float64, error), error) {
	c, err := j.attach()
	if err != nil {
		return "", nil, err
	}
	return c.name, func(b begin) (map[string]float64, error) {
		call, err := c.protocol.call(b.Peer, j.Payload)
		if err != nil {
			return nil, err
		}
		batch := make([]byte, 0, len(call)*j.Count)
		for range j.Count {
			batch = append(batch, call...)
		}
		replies := 0
		step := func(free int) error {
			for i := range free {
				c.serial++
				c.protocol.number(batch[i*len(call):], c.serial)
			}
			return c.write(batch[:free*len(call)])
		}
		if err := step(j.Count); err != nil {
			return nil, err
		}
		rate, err := measureRate(j.Duration, &replies, func() error {
			if err := c.fill(); err != nil {
				return err
			}
			free := 0
			for m := c.take(); m != nil; m = c.take() {
				switch c.protocol.kind(m) {
				case kindFailure:
					return c.protocol.failure(m)
				case kindReply:
					free++
				}
			}
			replies += free
			return step(free)
		})
		return map[string]float64{valueRate: rate}, err
	}, nil
}

// measureRate calls step for d after a warm-up and returns by how much per second count
// grew, from the end of one step to the end of another.
func measureRate(d time.Duration, count *int, step func() error) (float64, error) {
	start := time.Now()
	var from time.Time
	base := 0
	for {
		if err := step(); err != nil {
			return 0, err
		}
		now := time.Now()
		switch {
		case from.IsZero() && now.Sub(start) >= warmUp(d):
			from, base = now, *count
		case !from.IsZero() && now.Sub(from) >= d:
			return float64(*count-base) / now.Sub(from).Seconds(), nil
		}
	}
}

// setupConnector makes no client yet: it measures connecting.
func setupConnector(j job) (string, func(begin) (map[string]float64, error), error) {
	return "", func(begin) (map[string]float64, error) {
		connections := 0
		rate, err := measureRate(j.Duration, &connections, func() error {
			c, err := connect(j.Socket, 4096, j.protocol())
			if err != nil {
				return err
			}
			c.close()
			connections++
			return nil
		})
		return map[string]float64{valueRate: rate}, err
	}, nil
}

// setupIdle connects once, and j.Count times more when told to begin.
func setupIdle(j job) (string, func(begin) (map[string]float64, error), error) {
	if err := raiseFileLimit(j.Count + 16); err != nil {
		return "", nil, err
	}
	c, err := connect(j.Socket, 4096, j.protocol())
	if err != nil {
		return "", nil, err
	}
	return c.name, func(begin) (map[string]float64, error) {
		for i := range j.Count {
			if _, err := connect(j.Socket, 4096, j.protocol()); err != nil {
				return nil, fmt.Errorf("connection %d of %d: %w", i+1, j.Count, err)
			}
		}
		return nil, nil
	}, nil
}

// setupProber finds out whether the bus speaks the native protocol.
func setupProber(j job) (string, func(begin) (map[string]float64, error), error) {
	speaks := 1.0
	c, err := connect(j.Socket, 4096, newNative(false))
	switch {
	case errors.Is(err, errNotNative):
		speaks = 0
	case err != nil:
		return "", nil, err
	default:
		c.close()
	}
	return "", func(begin) (map[string]float64, error) { return map[string]float64{valueNative: speaks}, nil }, nil
}

// raiseFileLimit raises the soft limit on open files to the hard one, and fails when
// that does not do for need files.
func raiseFileLimit(need int) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit on open files: %w", err)
	}
	if l.Max < uint64(need) {
		return fmt.Errorf("%d open files are needed, but the hard limit is %d; raise it (ulimit -Hn) or ask for fewer", need, l.Max)
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("raise the limit on open files to %d: %w", l.Max, err)
	}
	return nil
}
