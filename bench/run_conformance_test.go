//go:build conformance

package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// everything is a run of all there is, as short as can be.
func everything() Options {
	return Options{
		Start: []string{DBusDaemon, DBusBroker}, Worker: workerCommand,
		Rounds: 2, Duration: 5 * time.Millisecond, Connections: []int{50}, CPU: -1,
	}
}

func TestForeignBusesAreMeasured(t *testing.T) {
	privateTemp(t)
	report, err := Run(t.Context(), everything())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Failures {
		t.Error(f)
	}
	for _, b := range report.Buses {
		if b.Version == "" {
			t.Errorf("version of %s is not known", b.Name)
		}
		for _, row := range report.Rows {
			v := row.Values[b.Name]
			if strings.HasPrefix(row.ID, "native.") || strings.HasPrefix(row.ID, "endpoint.") {
				if v != nil {
					t.Errorf("%s of %s was measured, which does not speak it", row.ID, b.Name)
				}
				continue
			}
			if v == nil || len(v.Rounds) != 2 || v.Median <= 0 {
				t.Errorf("%s of %s is %+v, want two rounds", row.ID, b.Name, v)
			}
		}
	}
	expectEmpty(t)
}

func TestRunningBusIsMeasuredAndItsAffinityRestored(t *testing.T) {
	for _, kind := range []string{DBusDaemon, DBusBroker} {
		t.Run(kind, func(t *testing.T) {
			privateTemp(t)
			server, err := startServer(t.Context(), kind, nil, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				server.stop()
				expectEmpty(t)
			}()
			before := affinity(t, server.pid)
			o := everything()
			// The socket of dbus-broker was made by its controller, which is us.
			o.Only = []string{"memory", "roundtrip", "native", "connect"}
			o.Start, o.Address, o.PID = nil, "unix:path="+server.socket, server.pid
			report, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range report.Failures {
				t.Error(f)
			}
			if got := len(report.Rows[0].Values["bus"].Rounds); got != 1 {
				t.Errorf("memory of a running bus was measured %d times, want once", got)
			}
			if after := affinity(t, server.pid); after != before {
				t.Errorf("affinity of the bus was %v and is now %v", before, after)
			}
		})
	}
}

func TestInterruptEndsEverything(t *testing.T) {
	privateTemp(t)
	// Whenever it comes, the outcome must be the same; it is likely to come while a
	// measurement is under way.
	interrupt := errors.New("interrupt")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, interrupt)
	defer cancel()
	o := everything()
	o.Duration = time.Minute
	o.Only = []string{"roundtrip"}
	if _, err := Run(ctx, o); !errors.Is(err, interrupt) {
		t.Errorf("error is %v, want %v", err, interrupt)
	}
	expectEmpty(t)
}

func affinity(t *testing.T, pid int) unix.CPUSet {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &set); err != nil {
		t.Fatal(err)
	}
	return set
}
